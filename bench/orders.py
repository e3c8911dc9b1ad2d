"""What an order costs in CPU, beside the bare engine with as many no-op steps, in one run.

Writes `bench/out/orders.json`. The platforms' own work is not counted: only our three processes are. The bare engine runs in
the same seconds, a workflow for each order, so that both wait for the same ERP on the same busy machine; afterwards it runs
once more alone, one workflow right after the other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from canonical.ids import utc_now
from sandbox.salesperson import Line, Sale, close_deal, open_deal
from tiergate.local import LAYERS, Sandbox, choose_ports, prepare_sandbox, start_layers, templates_of
from tiergate.serving import Child, stopped_at_the_end
from tiergate.settings import load

OUT = Path("bench/out/orders.json")
FOLDER = Path(".tiergate")
LINES = (Line("PLATFORM", 1), Line("SEAT", 25), Line("ONBOARDING", 1))
DEADLINE = 600.0


class BareEngine:
    """The durable engine without Tiergate, in a process of its own."""

    def __init__(self, steps: float) -> None:
        command = [sys.executable, "-m", "bench.bare_engine"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write(round(steps))
        self._read()

    def run(self, workflows: int) -> None:
        """Let it run so many, now. Its CPU is counted from the first call."""
        self._write(workflows)

    def stop(self) -> float:
        """Milliseconds of CPU for a workflow."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        used = float(json.loads(self._read())["cpu_ms"])
        self._process.wait()
        return used

    def _write(self, number: int) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{number}\n")
        stdin.flush()

    def _read(self) -> str:
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
    alone = BareEngine(measured["steps_per_order"])
    alone.run(orders)
    measured["bare_engine_cpu_ms_back_to_back"] = alone.stop()
    for name in ("", "_back_to_back"):
        ratio = measured["own_cpu_ms_per_order"] / measured[f"bare_engine_cpu_ms{name}"]
        measured[f"cpu_ratio{name}"] = round(ratio, 2)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(measured, indent=2) + "\n")
    for name, value in measured.items():
        print(f"{name:40} {value}")


def run_orders(folder: Path, orders: int) -> dict[str, Any]:
    """Close `orders` deals, wait until every one is active, posted and paid, and count what our processes used."""
    sandbox = Sandbox(folder, templates_of(FOLDER), choose_ports(usual=False), utc_now().date(), poll_seconds=1.0)
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
        bare = BareEngine(steps_per_order(database))
        bare.run(0)
        before, began = cpu_by_layer(children), time.monotonic()
        for deal in deals[1:]:
            close_deal(crm, deal)
        wait_for_payments(database, orders + 1, bare)
        took = time.monotonic() - began
        after = cpu_by_layer(children)
        beside = bare.stop()
        crm.close()
        used = {name: 1000 * (after[name] - before[name]) / orders for name in LAYERS}
        return {
            "orders": orders,
            "steps_per_order": steps_per_order(database),
            "orders_per_second": round(orders / took, 2),
            "own_cpu_ms_per_order": round(sum(used.values()), 1),
            "own_cpu_ms_by_layer": {name: round(value, 1) for name, value in used.items()},
            "bare_engine_cpu_ms": beside,
        }


def cpu_by_layer(children: list[Child]) -> dict[str, float]:
    """Seconds of CPU, user and system, of each of our processes so far."""
    found: dict[str, float] = {}
    for child in children:
        times = psutil.Process(child.process.pid).cpu_times()
        found[child.name] = times.user + times.system
    return found


def wait_for_payments(database: sa.Engine, orders: int, bare: BareEngine | None = None) -> None:
    """Until each order has its payment booked, and so its invoice. `bare` is told of each."""
    deadline, seen = time.monotonic() + DEADLINE, 1
    query = sa.text("SELECT count(*) FROM postings WHERE kind = 'payment' AND state = 'posted'")
    while time.monotonic() < deadline:
        with database.connect() as connection:
            paid: int = connection.execute(query).scalar_one()
        if bare is not None and paid > seen:
            bare.run(paid - seen)
            seen = paid
        if paid == orders:
            return
        time.sleep(0.1)
    raise SystemExit(f"not every payment was booked within {DEADLINE:.0f} s")


def steps_per_order(database: sa.Engine) -> float:
    """Durable operations that the engine recorded, over the orders."""
    with database.connect() as connection:
        steps = connection.execute(sa.text("SELECT count(*) FROM operation_outputs")).scalar_one()
        orders = connection.execute(sa.text("SELECT count(*) FROM orders")).scalar_one()
    return round(steps / orders, 2)


if __name__ == "__main__":
    main()
