"""What was used and reported after the invoice of its period is charged or credited once, when finance has approved it,
and is in the books, whatever is killed on the way."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.orders import Order, Page
from canonical.usage import ContractUsage
from canonical.usage_corrections import UsageCorrection
from sandbox.salesperson import SaleLine
from tests.support.amending import contract_of
from tests.support.by_use import CENTS, HANDED_OVER, charged_by_use, end_of_period, invoices_of, metering, until, use
from tests.support.environment import Environment
from tests.support.platforms import wait_until

LEAD = "lead@example.com"
POSTED = "SELECT state FROM postings WHERE kind = ? AND invoice_id = ?"


@pytest.fixture
def metered(tmp_path: Path, templates: Path) -> Generator[Environment]:
    environment = metering(tmp_path, templates)
    yield environment
    environment.stop()


class Late:
    """A contract of which a period of 150 hours is invoiced, and what is reported after that."""

    def __init__(self, environment: Environment, order: Order, ends_at: datetime) -> None:
        self.environment, self.order, self.ends_at = environment, order, ends_at
        self.contract = contract_of(order).id

    def send(self, **said: Any) -> None:
        url, headers = self.environment.sandbox.url("experience"), self.environment.channels.headers("sales-app")
        typed = headers | {"content-type": "application/x-ndjson"}
        record = {"contract_id": self.contract, "meter": "seat_hours"} | said
        answer = httpx.post(f"{url}/sales/v1/usage", content=json.dumps(record), headers=typed)
        assert answer.json()["taken"] == 1, answer.text

    def newest(self, state: str) -> UsageCorrection:
        """Wait until the newest usage correction of the contract is in a state."""

        def look() -> UsageCorrection | None:
            path = f"/finance/v1/usage-corrections?contract_id={self.contract}"
            found = self.environment.channels.get("finance-app", path, Page[UsageCorrection]).items
            self.environment.wait(timedelta(seconds=20))
            return found[0] if found and found[0].state == state else None

        return wait_until(look, 90, f"a usage correction that is {state}")

    def approve(self, one: UsageCorrection) -> None:
        body = {"decision": "approve", "revision": one.revision, "reason": "a device was offline"}
        path = f"/finance/v1/usage-corrections/{one.id}/decision"
        self.environment.channels.post("finance-app", path, body, UsageCorrection, on_behalf_of=LEAD)

    def billed(self) -> tuple[str, str | None]:
        """Return what sales reads as charged of the period, and what became of the difference."""
        moment = (self.ends_at - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
        path = f"/sales/v1/contracts/{self.contract}/usage?as_of={moment}"
        (found,) = self.environment.channels.get("sales-app", path, ContractUsage).items
        return f"{found.billed:f}", found.correction


def test_late_records_are_charged_and_void_ones_credited_when_finance_approves(metered: Environment) -> None:
    order = charged_by_use(metered, "Used late by the hour", SaleLine("PLATFORM", 1))
    api, late = metered.stripe.v1, Late(metered, order, end_of_period(metered, order))
    for hours in ("100", "50"):
        use(metered, order, hours)
    until(metered, late.ends_at, after=timedelta(minutes=20))
    wait_until(lambda: metered.record(HANDED_OVER, late.contract) == "handed_over", 60, "the handover")
    metered.wait(timedelta(hours=2))
    (invoice,) = wait_until(lambda: invoices_of(metered, order, 150 * CENTS), 30, "the invoice with what was used")
    wait_until(lambda: metered.record(POSTED, "invoice", invoice) == "posted", 60, "the invoice in the books")

    late.send(id="late", quantity="10.5", at=(late.ends_at - timedelta(hours=2)).isoformat())
    more = late.newest("proposed")
    assert more.amount
    assert (f"{more.charged:f}", f"{more.quantity:f}", more.amount.amount) == ("150", "160.5", 32)
    metered.fault("billing", kind="late", matching="invoiceitems", milliseconds=2000)
    late.approve(more)
    wait_until(lambda: metered.faults_left("billing") == 0, 60, "the item is at billing, and its answer is not here")
    metered.kill_and_start("process")
    done = late.newest("carried_out")

    customer = contract_of(order).references["customer"]
    items = [each for each in api.invoice_items.list({"customer": customer}).data if each.amount == 32]
    assert [each.id for each in items] == [done.reference]
    assert late.billed() == ("160.5", "carried_out")

    late.send(id="hours-100", void=True)
    less = late.newest("proposed")
    assert less.amount
    assert (f"{less.difference:f}", less.amount.amount) == ("-100", -300)
    late.approve(less)
    late.newest("carried_out")

    (note,) = api.credit_notes.list({"invoice": invoice}).data
    assert note.total == 357
    wait_until(lambda: metered.record(POSTED, "credit", invoice) == "posted", 90, "the credit note in the books")
    assert late.billed() == ("60.5", "carried_out")
    wanted: Any = {"customer": customer, "subscription": contract_of(order).references["subscription"]}
    by_hand = api.invoices.create(wanted | {"pending_invoice_items_behavior": "include"})
    further = str(api.invoices.finalize_invoice(str(by_hand.id)).id)
    wait_until(lambda: metered.record(POSTED, "invoice", further) == "posted", 90, "what is more in the books")
