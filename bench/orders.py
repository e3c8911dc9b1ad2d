"""What an order costs in CPU, beside the bare engine with as many no-op steps, in one run.

Writes `bench/out/orders.json`. The platforms' own work is not counted: only our three processes are. The bare engine
runs beside the orders: it begins a workflow when an order begins and takes a step when an order has taken one, so that
both meet the same busy machine. Afterwards it runs once more alone, as fast as it can.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import sqlalchemy as sa

from canonical.ids import utc_now
from sandbox.salesperson import Sale, SaleLine, close_deal, open_deal
from tiergate.dev.layers import LAYERS, start_layers
from tiergate.dev.ports import choose_ports
from tiergate.dev.processes import Child, stopped_at_the_end
from tiergate.dev.sandbox import Sandbox, prepare_sandbox, templates_of
from tiergate.settings import load

OUT = Path("bench/out/orders.json")
FOLDER = Path(".tiergate")
LINES = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25), SaleLine("ONBOARDING", 1))
DEADLINE = 600.0
LOOK = 0.05
"""Seconds between two checks of how far the orders are."""


class BareEngine:
    """Run the durable engine without Tiergate, in a process of its own."""

    def __init__(self, steps: float) -> None:
        command = [sys.executable, "-m", "bench.bare_engine"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._steps = round(steps)
        self._begun = self._taken = 0
        self._send(f"{self._steps}")
        self._receive()

    def keep_up(self, begun: int, taken: int) -> None:
        """Let the engine have begun so many workflows, and taken so many steps of them all.

        Its CPU is counted from the first call.
        """
        self._send(f"{begun - self._begun} {taken - self._taken}")
        self._begun, self._taken = begun, taken

    def whole(self, workflows: int) -> float:
        """Run so many workflows, one right after the other. Return the milliseconds of CPU of one."""
        for _ in range(workflows):
            self._send("whole")
        return self.end()

    def end(self) -> float:
        """Return the milliseconds of CPU that a workflow took, once all have taken their last step."""
        self.keep_up(self._begun, max(self._taken, self._begun * self._steps))
        self._send("")
        used = float(self._receive())
        self._process.wait()
        return used

    def _send(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{line}\n")
        stdin.flush()

    def _receive(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        return stdout.readline()


def main() -> None:
    """Run the orders, then the bare engine, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100)
    orders = parser.parse_args().orders
    prepare_sandbox(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        measured = run_orders(Path(folder), orders)
    alone = BareEngine(measured["steps_per_order"]).whole(orders)
    measured["bare_engine_cpu_ms_back_to_back"] = alone
    for name in ("", "_back_to_back"):
        ratio = measured["own_cpu_ms_per_order"] / measured[f"bare_engine_cpu_ms{name}"]
        measured[f"cpu_ratio{name}"] = round(ratio, 2)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(measured, indent=2) + "\n")
    for name, value in measured.items():
        print(f"{name:40} {value}")


def run_orders(folder: Path, orders: int) -> dict[str, Any]:
    """Close `orders` deals, wait until every one is active, posted and paid, and count what our processes used."""
    sandbox = Sandbox(folder, templates_of(FOLDER), choose_ports(usual=False), utc_now().date(), poll_seconds=15.0)
    settings = load(sandbox.config, {})
    with stopped_at_the_end() as children:
        children.append(sandbox.start())
        sandbox.ready(children[0])
        crm = sandbox.crm()
        deals = [
            open_deal(crm, Sale(buyer=f"Bench {number:04} GmbH", lines=LINES), utc_now().date())[1]
            for number in range(orders + 1)
        ]
        start_layers(settings, sandbox.config, children)
        database = sa.create_engine(settings.process_database())
        close_deal(crm, deals[0])  # what is loaded once is not an order's cost
        wait_for_payments(database, 1)
        first = counted(database)
        bare = BareEngine(first.steps / first.orders)
        bare.keep_up(0, 0)
        before = cpu_by_layer(children)
        for deal in deals[1:]:
            close_deal(crm, deal)
        seen_at: list[float] = []

        def follow(now: Counts) -> None:
            if now.orders > first.orders:  # the CRM is checked every fifteen seconds, as by default
                seen_at.append(time.monotonic())
            bare.keep_up(now.orders - first.orders, now.steps - first.steps)

        wait_for_payments(database, orders + 1, follow)
        took = time.monotonic() - seen_at[0]
        after = cpu_by_layer(children)
        beside = bare.end()
        last = counted(database)  # by now the last step of all is recorded too
        crm.close()
        used = {name: 1000 * (after[name] - before[name]) / orders for name in LAYERS}
        return {
            "orders": orders,
            "steps_per_order": round(last.steps / last.orders, 2),
            "orders_per_second": round(orders / took, 2),
            "own_cpu_ms_per_order": round(sum(used.values()), 1),
            "own_cpu_ms_by_layer": {name: round(value, 1) for name, value in used.items()},
            "bare_engine_cpu_ms": beside,
        }


def cpu_by_layer(children: list[Child]) -> dict[str, float]:
    """Return the seconds of CPU, user and system, that each of our processes has used."""
    found: dict[str, float] = {}
    for child in children:
        times = psutil.Process(child.process.pid).cpu_times()
        found[child.name] = times.user + times.system
    return found


class Counts(NamedTuple):
    """Orders, durable operations that the engine recorded, and payments that are booked, so far."""

    orders: int
    steps: int
    paid: int


def wait_for_payments(database: sa.Engine, orders: int, tell: Callable[[Counts], None] = lambda _: None) -> None:
    """Wait until each order has its payment booked, and so its invoice. `tell` is called at each change."""
    deadline, seen = time.monotonic() + DEADLINE, Counts(0, 0, 0)
    while time.monotonic() < deadline:
        now = counted(database)
        if now != seen:
            tell(now)
        seen = now
        if now.paid == orders:
            return
        time.sleep(LOOK)
    raise SystemExit(f"not every payment was booked within {DEADLINE:.0f} s")


def counted(database: sa.Engine) -> Counts:
    queries = (
        "SELECT count(*) FROM orders",
        "SELECT count(*) FROM operation_outputs",
        "SELECT count(*) FROM postings WHERE kind = 'payment' AND state = 'posted'",
    )
    with database.connect() as connection:
        return Counts(*(int(connection.execute(sa.text(each)).scalar_one()) for each in queries))


if __name__ == "__main__":
    main()
