"""How many invoices a second the ERP posts one by one, and in batches: the same Tryton, by the same route.

Adds to `bench/out/scale.json`. What the process layer sends is sent here: batches of one and of as many as the
catalogue says, in turn, so that both meet the same busy machine. Each invoice is of another customer and has two lines,
as one of a monthly contract has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import psutil

from canonical.billing import Invoice, InvoiceLine, InvoiceToPost
from canonical.ids import identifiers, utc_now
from canonical.money import Money, total
from canonical.parties import Address, Customer
from policies.outbound.layer_client import LayerClient
from process_apis.batch_sizes import BatchSizes
from process_apis.system_client import Platforms
from tiergate import composition
from tiergate.dev.layers import START_SECONDS
from tiergate.dev.ports import choose_ports
from tiergate.dev.processes import Child, layer_process, stopped_at_the_end, wait_for
from tiergate.dev.sandbox import Sandbox, prepare_sandbox, templates_of
from tiergate.settings import load

OUT = Path("bench/out/scale.json")
FOLDER = Path(".tiergate")
LEGAL_ENTITY = "DE01"
CALLER = "process-layer"
LINES = (("PLATFORM", "Platform fee", 1, 50000), ("SEAT", "Seat", 25, 2000))
"""SKU, name, quantity, and the price of a piece in cents."""
SINGLES = 5
"""Invoices that are posted one by one for each batch."""
TIMEOUT = 120.0


class Poster:
    """Posts invoices of today, each with a customer of its own."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms
        self._new_id = identifiers()

    def customers(self, count: int) -> list[str]:
        """Create customers. Return their ids."""
        made = [self._new_id("cus") for _ in range(count)]
        for each in made:
            address = Address("Hauptstraße 1", "10115", "Berlin", "DE")
            self._platforms.put_erp_customer(Customer(each, f"Bench {each}", address, legal_entity=LEGAL_ENTITY))
        return made

    def post(self, customers: list[str]) -> None:
        """Post an invoice for each customer, in one batch."""
        batch = tuple(InvoiceToPost(self._invoice(each), self._new_id("cor")) for each in customers)
        failed = [
            each.finding for each in self._platforms.put_erp_invoices(batch, LEGAL_ENTITY, "next") if each.finding
        ]
        if failed:
            raise SystemExit(f"an invoice was not posted: {failed[0]}")

    def _invoice(self, customer_id: str) -> Invoice:
        key, today = self._new_id("act"), utc_now().date()
        lines = tuple(_line(*each, today) for each in LINES)
        tax = total((each.tax for each in lines), "EUR")
        gross = total((each.net for each in lines), "EUR") + tax
        return Invoice(
            key, key[-12:], customer_id, None, LEGAL_ENTITY, "open", today, gross, tax, gross, "standard", lines
        )


def _line(sku: str, name: str, quantity: int, cents: int, today: date) -> InvoiceLine:
    net = Money(quantity * cents, "EUR")
    return InvoiceLine(sku, name, quantity, net, net.times(Decimal("0.19")), today, today)


def main() -> None:
    """Post invoices both ways, and print how fast each was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=0, help="invoices of a batch (as the catalogue says if not given)")
    arguments = parser.parse_args()
    prepare_sandbox(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        measured = run(Path(folder), arguments.rounds, arguments.batch)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = json.loads(OUT.read_text()) if OUT.exists() else {}
    OUT.write_text(json.dumps(known | measured, indent=2) + "\n")
    for name, value in measured.items():
        print(f"{name:40} {value}")


def run(folder: Path, rounds: int, batch: int) -> dict[str, float]:
    """Start the sandbox and the system layer, and measure."""
    sandbox = Sandbox(folder, templates_of(FOLDER), choose_ports(usual=False), utc_now().date())
    settings = load(sandbox.config, {})
    live_catalogue = composition.open_catalogue(settings)
    size = batch or BatchSizes(live_catalogue).of(LEGAL_ENTITY)
    with stopped_at_the_end() as children:
        children.append(sandbox.start())
        sandbox.ready(children[0])
        children.append(layer_process("system", sandbox.config, settings.state))
        wait_for(f"{settings.server.url_of_system()}/health/live", children[1], START_SECONDS)
        signer, client = composition.issuer(settings), live_catalogue.current.clients[CALLER]
        calls = LayerClient(settings.server.url_of_system(), "system", lambda: signer.token(CALLER, client), TIMEOUT)
        poster = Poster(Platforms(calls))
        customers = poster.customers(max(size, SINGLES))
        poster.post(customers[:1])  # what is loaded once is no invoice's cost
        poster.post(customers[:2])
        seconds = {"single": 0.0, "batch": 0.0}
        cpu = {"single": 0.0, "batch": 0.0}
        for _ in range(rounds):
            for name, parts in (("single", [[each] for each in customers[:SINGLES]]), ("batch", [customers[:size]])):
                before, began = _cpu(children[0]), time.perf_counter()
                for part in parts:
                    poster.post(part)
                seconds[name] += time.perf_counter() - began
                cpu[name] += _cpu(children[0]) - before
    posted = {"single": rounds * SINGLES, "batch": rounds * size}
    each_second = {name: posted[name] / seconds[name] for name in posted}
    return {
        "invoices_of_a_batch": size,
        "invoices_per_second_single": round(each_second["single"], 2),
        "invoices_per_second_batch": round(each_second["batch"], 2),
        "invoices_per_second_vs_single": round(each_second["batch"] / each_second["single"], 2),
        "erp_cpu_ms_per_invoice_single": round(1000 * cpu["single"] / posted["single"]),
        "erp_cpu_ms_per_invoice_batch": round(1000 * cpu["batch"] / posted["batch"]),
    }


def _cpu(sandbox: Child) -> float:
    """Return the seconds of CPU that the sandbox has used: nothing but the ERP works in it meanwhile."""
    processes = [psutil.Process(sandbox.process.pid)]
    processes += processes[0].children(recursive=True)
    return sum(times.user + times.system for times in (each.cpu_times() for each in processes))


if __name__ == "__main__":
    main()
