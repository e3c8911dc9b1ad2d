"""How fast records of usage are taken over both layers, and a million of them summed up, and in how much memory.

Adds to `bench/out/scale.json`. What it costs at the least is measured beside it, in the same rounds: the same bytes are
decoded by msgspec and inserted into a table of SQLite, on the same disk and as safely, by one process.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import httpx
import msgspec
import psutil

from canonical.ids import utc_now
from canonical.usage import SCALE, ContractUsage, UsageReceipt, UsageRecord, microseconds
from policies.catalogue.model import SHIPPED
from policies.contract.operation import LINES
from process_apis.records.usage import UsageRow
from tests.support.answering_layer import no_workflows
from tests.support.process_context import TestClock, context_over
from tests.support.usage_bench import METERS, UsageBench, with_meters
from tiergate.dev.channels import Channels
from tiergate.dev.layers import START_SECONDS
from tiergate.dev.ports import choose_ports
from tiergate.dev.processes import Child, layer_process, stopped_at_the_end, wait_for
from tiergate.dev.sandbox import Sandbox, prepare_sandbox, templates_of
from tiergate.settings import load

OUT = Path("bench/out/scale.json")
FOLDER = Path(".tiergate")
CLIENT = "sales-app"
IN_ONE_CALL = 100_000
PERIOD = timedelta(days=20)
"""For so long the contract has run when the bench begins: one period of it."""
BATCH = 2_000
"""Rows that the plain insert commits together."""
AT_ONCE = 20_000
"""Rows that are written together where only their number matters."""
CREATE = "CREATE TABLE records (contract, meter, id, at, quantity, PRIMARY KEY (contract, meter, id))"
INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?)"
DECODER = msgspec.json.Decoder(UsageRecord)
MB = 1024 * 1024


class UsageMeasured(msgspec.Struct):
    """What was measured. Rates are records a second, memory is in MB."""

    taken_per_second: float = 0.0
    plain_per_second: float = 0.0
    ratio: float = 0.0
    """The former to the latter: the median of the rounds."""
    memory_of_a_call: dict[str, float] = {}
    """By how much the memory of each layer was more at its highest for ten times as many records in a call."""
    records: int = 0
    """How many records were summed up."""
    seconds: dict[str, float] = {}
    """How long that took, by the meter."""
    memory_of_a_sum: float = 0.0
    """By how much the memory of the process layer was more at its highest afterwards."""


def body(contract: str, prefix: str, number: int, began: datetime) -> bytes:
    """Return records of which the moments are all over the period."""
    step = PERIOD / number
    said = (
        UsageRecord(f"{prefix}-{each:07}", contract, "by_sum", began + each * step, f"{each % 1000}.25")
        for each in range(number)
    )
    return b"".join(msgspec.json.encode(each) + b"\n" for each in said)


def plain(path: Path, content: bytes) -> float:
    """Return the seconds in which content is decoded and inserted by as little as does it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(CREATE)
        began = time.perf_counter()
        rows: list[tuple[str, str, str, str, str | None]] = []
        for line in content.splitlines():
            found = DECODER.decode(line)
            rows.append((found.contract_id, found.meter, found.id, str(found.at), found.quantity))
            if len(rows) == BATCH:
                connection.executemany(INSERT, rows)
                connection.commit()
                rows.clear()
        connection.executemany(INSERT, rows)
        connection.commit()
        return time.perf_counter() - began


def highest(child: Child) -> float:
    """Return the most memory that a process has had, in MB (proc(5): VmHWM)."""
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def forget_highest(child: Child) -> None:
    """Let the most memory count from now on (proc(5): clear_refs)."""
    Path(f"/proc/{child.process.pid}/clear_refs").write_text("5")


class UsageDeployment:
    """The process layer and the experience layer over a contract of all meters; no platform is asked for anything."""

    def __init__(self, folder: Path, children: list[Child]) -> None:
        sandbox = Sandbox(folder, templates_of(FOLDER), choose_ports(usual=False), utc_now().date())
        catalogue = folder / "catalogue.toml"
        catalogue.write_text(SHIPPED.read_text() + METERS)
        extra = {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue.resolve())}
        settings = load(sandbox.config, extra)
        clock = TestClock()
        clock.now = utc_now().replace(microsecond=0) - PERIOD - timedelta(minutes=1)
        self.began = clock.now
        with no_workflows(), context_over(settings.process_database(), clock) as context:
            self.contract = UsageBench(with_meters(context, folder), clock).sell()
        self.database = settings.process_database()
        for layer in ("process", "experience"):
            child = layer_process(layer, sandbox.config, folder, extra)
            children.append(child)
            wait_for(f"{sandbox.url(layer)}/health/live", child, START_SECONDS)
        self.layers = {each.name: each for each in children}
        self.url = sandbox.url("experience")
        self._channels = Channels(settings)

    def send(self, content: bytes, number: int) -> float:
        """Send records in one call. Return the seconds that it took."""
        began = time.perf_counter()
        headers = self._channels.headers(CLIENT) | {"content-type": LINES}
        answer = httpx.post(f"{self.url}/sales/v1/usage", content=content, headers=headers, timeout=60)
        receipt = msgspec.json.decode(answer.raise_for_status().content, type=UsageReceipt)
        if receipt.taken != number:
            raise SystemExit(f"of {number} records {receipt.taken} were taken: {receipt}")
        return time.perf_counter() - began

    def read(self) -> tuple[ContractUsage, float]:
        """Return what the meters say, and the seconds that it took."""
        began = time.perf_counter()
        path = f"{self.url}/sales/v1/contracts/{self.contract}/usage"
        answer = httpx.get(path, headers=self._channels.headers(CLIENT), timeout=60).raise_for_status()
        return msgspec.json.decode(answer.content, type=ContractUsage), time.perf_counter() - began

    def fill(self, meter: str, number: int) -> None:
        """Let a meter have so many records, past the layers: only their number matters."""
        with no_workflows(), context_over(self.database, TestClock()) as context:
            bench = UsageBench(context, TestClock())
            source, step = bench.records.source(self.contract, meter), PERIOD / number
            for start in range(0, number, AT_ONCE):
                places = range(start, min(start + AT_ONCE, number))
                moments = (microseconds(self.began + each * step) for each in places)
                rows = [
                    UsageRow(source, at, f"fill-{each:07}", (each % 1000) * SCALE, "")
                    for each, at in zip(places, moments, strict=True)
                ]
                bench.records.keep(rows, [])


def run(folder: Path, rounds: int, records: int) -> UsageMeasured:
    """Send calls and plain inserts in turn, then sum up many records."""
    measured = UsageMeasured(records=records)
    with stopped_at_the_end() as children:
        deployment = UsageDeployment(folder, children)
        for each in range(3):  # what is loaded once is no call's cost
            deployment.send(body(deployment.contract, f"warm-{each}", 5000, deployment.began), 5000)
        measured.memory_of_a_call = _memory_of_a_call(deployment)
        ratios, ours, least = list[float](), list[float](), list[float]()
        for each in range(rounds):
            content = body(deployment.contract, f"round-{each}", IN_ONE_CALL, deployment.began)
            ours.append(deployment.send(content, IN_ONE_CALL))
            least.append(plain(folder / f"plain-{each}.sqlite", content))
            ratios.append(least[-1] / ours[-1])
        measured.taken_per_second = round(IN_ONE_CALL / median(ours))
        measured.plain_per_second = round(IN_ONE_CALL / median(least))
        measured.ratio = round(median(ratios), 2)
        _sum_up(deployment, measured)
    return measured


def _memory_of_a_call(deployment: UsageDeployment) -> dict[str, float]:
    most: dict[str, list[float]] = {name: [] for name in deployment.layers}
    for number in (IN_ONE_CALL // 10, IN_ONE_CALL):
        content = body(deployment.contract, f"memory-{number}", number, deployment.began)
        for child in deployment.layers.values():
            forget_highest(child)
        deployment.send(content, number)
        for name, child in deployment.layers.items():
            most[name].append(highest(child))
    return {name: round(large - small, 1) for name, (small, large) in most.items()}


def _sum_up(deployment: UsageDeployment, measured: UsageMeasured) -> None:
    deployment.read()
    process = deployment.layers["process"]
    for meter in ("by_max", "by_weighted"):
        _, before = deployment.read()
        deployment.fill(meter, measured.records)
        forget_highest(process)
        held = psutil.Process(process.process.pid).memory_info().rss / MB
        found, after = deployment.read()
        counted = {each.meter: each.records for each in found.items}
        if counted[meter] != measured.records:
            raise SystemExit(f"{meter} counts {counted[meter]} records of {measured.records}")
        measured.seconds[meter] = round(after - before, 2)
        measured.memory_of_a_sum = round(max(measured.memory_of_a_sum, highest(process) - held), 1)


def main() -> None:
    """Measure, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=1_000_000)
    arguments = parser.parse_args()
    prepare_sandbox(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        measured = run(Path(folder), arguments.rounds, arguments.records)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = json.loads(OUT.read_text()) if OUT.exists() else {}
    OUT.write_text(json.dumps(known | {"usage": msgspec.to_builtins(measured)}, indent=2) + "\n")
    for name, value in _said(measured):
        sys.stdout.write(f"{name:40} {value}\n")


def _said(measured: UsageMeasured) -> Iterator[tuple[str, object]]:
    yield from msgspec.to_builtins(measured).items()


if __name__ == "__main__":
    main()
