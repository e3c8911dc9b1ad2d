"""How Tiergate grows: deals a second with one, two and four process layers, memory, and lists of many orders.

Adds to `bench/out/scale.json`. The platforms answer at once (`bench.instant_system`), so that what is measured is ours;
PostgreSQL, which all share, runs on the same machine and takes its part of the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import psutil
import psycopg

from canonical.events import DEAL_CLOSED, Event
from canonical.ids import utc_now
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Layer
from policies.http.client import EXCHANGE
from policies.outbound.layer_client import LayerClient
from tests.support.postgresql_server import PostgresqlServer
from tiergate import composition
from tiergate.dev.layers import LAYERS, START_SECONDS
from tiergate.dev.ports import choose_ports, free_port
from tiergate.dev.processes import Child, layer_process, stop_all, wait_for
from tiergate.dev.sandbox import Sandbox
from tiergate.settings import load

OUT = Path("bench/out/scale.json")
FOLDER = Path(".tiergate")
WORKERS = (1, 2, 4)
LISTED = (10_000, 100_000)
ASKED = 100
"""How often each list is asked for."""
DEADLINE = 300.0
FIRST = 10_000_000
"""The number of the first deal: its digits make a tax number, which begins with no zero."""
SECRET = {"TIERGATE_PLATFORMS_STRIPE_WEBHOOK_SECRET": "whsec_none"}
"""What a sandbox has after its set-up alone."""
ACTIVE = "SELECT COUNT(*) FROM orders WHERE state = 'active'"
COPY = """
    INSERT INTO orders ({columns}) SELECT {values} FROM orders CROSS JOIN generate_series(%s::bigint, %s::bigint) AS n
    WHERE orders.seq = (SELECT MIN(seq) FROM orders)
"""
OWN = {"id": "'ord_' || lpad(n::text, 32, '0')", "deal_id": "'copy' || n"}
"""What differs between the copies of an order."""


class Deployment:
    """Some process layers over one PostgreSQL, and a system layer that answers at once."""

    def __init__(self, folder: Path, database_url: str, workers: int) -> None:
        sandbox = Sandbox(folder, FOLDER / "templates", choose_ports(usual=False), utc_now().date(), database_url)
        self.config, self.database_url = sandbox.config, database_url
        self._settings = load(sandbox.config, {})
        self._urls = [f"http://127.0.0.1:{free_port()}" for _ in range(workers)]
        self.children: list[Child] = []
        plan = {"port": sandbox.ports.system, "config": str(sandbox.config), "processes": self._urls}
        command = [sys.executable, "-m", "bench.instant_system"]
        self.children.append(Child("system", command, folder / "system.log", f"{json.dumps(plan)}\n".encode()))
        wait_for(sandbox.url("system"), self.children[0], START_SECONDS)
        for number, url in enumerate(self._urls):
            port = {"TIERGATE_SERVER_PROCESS_PORT": url.rpartition(":")[2]}
            self.children.append(layer_process("process", sandbox.config, folder / str(number), port))
        for url, child in zip(self._urls, self.children[1:], strict=True):
            wait_for(f"{url}/health/live", child, START_SECONDS)

    def token(self, client: str) -> str:
        return composition.issuer(self._settings).token(client, load_catalogue().clients[client])

    def close_deals(self, first: int, count: int) -> float:
        """Report deals to the process layers in turn, and return how many seconds it took until all were active."""
        token = self.token("system-layer")
        clients = cycle([LayerClient(each, "process", lambda: token, 30.0) for each in self._urls])
        began = time.monotonic()
        for number in range(first, first + count):
            deal = f"006{FIRST + number:012}AAA"
            data = {"revision": "1", "digest": "1" * 16}
            event = Event(
                id=f"{deal}:1", source="crm/salesforce", type=DEAL_CLOSED, subject=deal, time=utc_now(), data=data
            )
            next(clients).call("POST", "/process/v1/events", dict[str, bool], event)
        until = began + DEADLINE
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while connection.execute(ACTIVE).fetchone() != (first + count,):
                if time.monotonic() > until:
                    raise SystemExit(f"not all deals were active within {DEADLINE:.0f} s: see {self.config.parent}")
                time.sleep(0.05)
        return time.monotonic() - began

    def list_milliseconds(self) -> float:
        """Return the 95th percentile of what a page of orders takes, the first one and those after it."""
        took: list[float] = []
        headers = {"authorization": f"Bearer {self.token('experience-layer')}", EXCHANGE: "1"}
        with httpx.Client(base_url=self._urls[0], headers=headers, timeout=30) as client:
            cursor = ""
            for _ in range(ASKED):
                before = time.perf_counter()
                answer = client.get("/process/v1/orders", params={"limit": 50} | ({"cursor": cursor} if cursor else {}))
                took.append(1000 * (time.perf_counter() - before))
                cursor = answer.raise_for_status().json()["next_cursor"] or ""
        return quantiles(took, n=20)[-1]

    def stop(self) -> None:
        stop_all(self.children)


def cpu(numbers: Iterable[int]) -> float:
    """Return the seconds of CPU that processes have used, with all that they have started."""
    families = [each for number in numbers for each in (psutil.Process(number), *psutil.Process(number).children())]
    return sum(sum(each.cpu_times()) for each in families)  # its children that have ended are in its own times


def fill(database_url: str, orders: int) -> None:
    """Copy the first order until there are so many."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' AND column_name <> 'seq'"
        ).fetchall()
        there = connection.execute("SELECT COUNT(*) FROM orders").fetchone() or (0,)
        columns = [str(name) for (name,) in found]
        values = [OWN.get(each, f"orders.{each}") for each in columns]
        query = COPY.format(columns=", ".join(columns), values=", ".join(values))
        connection.execute(query.encode(), (there[0] + 1, orders))
        connection.execute("ANALYZE orders")


def resident(child: Child) -> float:
    """Return the megabytes that a process has in memory."""
    return round(psutil.Process(child.process.pid).memory_info().rss / 2**20, 1)


def memory(folder: Path) -> dict[str, float]:
    """Return the megabytes that each layer has in memory at rest."""
    sandbox = Sandbox(folder, FOLDER / "templates", choose_ports(usual=False), utc_now().date())
    children: list[Child] = []

    def start(layer: Layer) -> Child:
        made = layer_process(layer, sandbox.config, folder, SECRET)
        children.append(made)
        wait_for(f"{sandbox.url(layer)}/health/live", made, START_SECONDS)
        return made

    try:
        start("process").stop()  # its first start makes the tables, with what no other one needs
        layers = [start(each) for each in LAYERS]
        time.sleep(5)
        return {each.name: resident(each) for each in layers}
    finally:
        stop_all(children)


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deals", type=int, default=200)
    deals = parser.parse_args().deals
    measured: dict[str, Any] = {"deals_per_second": {}, "cpu_ms_per_deal": {}, "list_p95_ms": {}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured["memory_mb"] = memory(folder / "rest")
        server = PostgresqlServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(server.stop)
        for workers in WORKERS:
            deployment = Deployment(folder / str(workers), server.new_database(), workers)
            stack.callback(deployment.stop)
            deployment.close_deals(0, 10)  # what is loaded once is no deal's cost
            system, *processes = (each.process.pid for each in deployment.children)
            parts = {"process": processes, "postgresql": [server.pid], "stand-in": [system]}
            before = {part: cpu(numbers) for part, numbers in parts.items()}
            took = deployment.close_deals(10, deals)
            measured["deals_per_second"][workers] = round(deals / took, 2)
            measured["cpu_ms_per_deal"][workers] = {
                part: round(1000 * (cpu(numbers) - before[part]) / deals, 1) for part, numbers in parts.items()
            }
            if workers == 1:
                measured["memory_mb"]["process, after the deals"] = resident(deployment.children[1])
            if workers == WORKERS[-1]:
                for orders in LISTED:
                    fill(deployment.database_url, orders)
                    measured["list_p95_ms"][orders] = round(deployment.list_milliseconds(), 1)
            deployment.stop()
    rates = measured["deals_per_second"]
    measured["scaling"] = round(rates[2] / rates[1], 2)
    measured["cores"] = os.cpu_count()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = json.loads(OUT.read_text()) if OUT.exists() else {}
    OUT.write_text(json.dumps(known | measured, indent=2) + "\n")
    for name, value in measured.items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
