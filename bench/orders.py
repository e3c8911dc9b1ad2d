"""What an order costs in CPU, beside the bare engine with as many no-op steps, in one run.

Writes `bench/out/orders.json`. The platforms' own work is not counted: only our three processes are.
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

import msgspec
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
PACED = 30
"""Workflows of the bare engine that are run one by one, as far apart as the orders are."""


def main() -> None:
    """Run the orders, then the bare engine, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100)
    orders = parser.parse_args().orders
    prepare_sandbox(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        measured = run_orders(Path(folder), orders)
    for name, pause, workflows in (
        ("", 0.0, orders),
        ("_at_the_orders_pace", 1 / measured["orders_per_second"], PACED),
    ):
        bare = _bare(workflows, measured["steps_per_order"], pause)
        measured[f"bare_engine_cpu_ms{name}"] = bare
        measured[f"cpu_ratio{name}"] = round(measured["own_cpu_ms_per_order"] / bare, 2)
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
        wait_for_postings(database, 1)
        before, began = cpu_by_layer(children), time.monotonic()
        for deal in deals[1:]:
            close_deal(crm, deal)
        wait_for_postings(database, orders + 1)
        took = time.monotonic() - began
        after = cpu_by_layer(children)
        crm.close()
        used = {name: 1000 * (after[name] - before[name]) / orders for name in LAYERS}
        return {
            "orders": orders,
            "steps_per_order": steps_per_order(database),
            "orders_per_second": round(orders / took, 2),
            "own_cpu_ms_per_order": round(sum(used.values()), 1),
            "own_cpu_ms_by_layer": {name: round(value, 1) for name, value in used.items()},
        }


def cpu_by_layer(children: list[Child]) -> dict[str, float]:
    """Seconds of CPU, user and system, of each of our processes so far."""
    found: dict[str, float] = {}
    for child in children:
        times = psutil.Process(child.process.pid).cpu_times()
        found[child.name] = times.user + times.system
    return found


def wait_for_postings(database: sa.Engine, orders: int) -> None:
    """Until each order has its invoice and its payment posted."""
    deadline = time.monotonic() + DEADLINE
    query = sa.text("SELECT count(*) FROM postings WHERE state = 'posted'")
    while time.monotonic() < deadline:
        with database.connect() as connection:
            if connection.execute(query).scalar_one() == 2 * orders:
                return
        time.sleep(0.1)
    raise SystemExit(f"not every posting came within {DEADLINE:.0f} s")


def steps_per_order(database: sa.Engine) -> float:
    """Durable operations that the engine recorded, over the orders."""
    with database.connect() as connection:
        steps = connection.execute(sa.text("SELECT count(*) FROM operation_outputs")).scalar_one()
        orders = connection.execute(sa.text("SELECT count(*) FROM orders")).scalar_one()
    return round(steps / orders, 2)


def _bare(workflows: int, steps: float, pause: float) -> float:
    """Milliseconds of CPU that the bare engine takes for a workflow, in a process of its own."""
    plan = msgspec.json.encode({"workflows": workflows, "steps": round(steps), "pause": pause})
    done = subprocess.run([sys.executable, "-m", "bench.bare_engine"], input=plan, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout)["cpu_ms"])


if __name__ == "__main__":
    main()
