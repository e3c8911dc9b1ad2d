"""Money that does not come, and money that goes back: a card that is declined until its bank lets it pass, and seats of
an invoice that are credited. In virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import msgspec
from rich.console import Console

from canonical.cases import Case
from canonical.corrections import Correction, CorrectionPreview
from canonical.dunning import Dunning
from canonical.money import Money
from canonical.orders import Order, Page, PostingStatus
from canonical.states import CorrectionState, DunningState
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.client import at
from tiergate.dev.channels import Channels, DemoFailed
from tiergate.dev.platform_views import billing_of, plan_of, systems_table
from tiergate.dev.sandbox import Sandbox

T = TypeVar("T")
SECONDS = 60.0
"""How long any of it may take."""
CLERK, LEAD = "clerk@example.com", "finance@example.com"


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """Return the first value of `look` that is true. Raises `DemoFailed` when there is none in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise DemoFailed(f"{what}: not within {SECONDS:.0f} s")


class CustomersMoney:
    """What becomes of one customer's money, as its bank and our finance decide it."""

    def __init__(self, console: Console, sandbox: Sandbox, channels: Channels, order: Order) -> None:
        self._console = console
        self._sandbox = sandbox
        self._channels = channels
        self._order = order
        self._contract = plan_of(order).contract

    # ---- that does not come

    def bank_says(self, code: str | None) -> None:
        """Let the bank refuse the customer's card from now on, for a reason, or no more."""
        url = f"{self._sandbox.url('control')}/billing/payment_methods/{asyncio.run(self._card())}"
        httpx.post(url, json={"code": code}, timeout=30).raise_for_status()

    async def _card(self) -> str:
        async with billing_of(self._sandbox) as client:
            (card,) = await client.listed(at("customers", self._contract.references["customer"], "payment_methods"))
        return str(card["id"])

    def dunning(self, state: DunningState) -> Dunning:
        """Return what the contract owes by finance's own list, once that is in a state."""
        path = f"/finance/v1/dunnings?customer_id={self._order.customer_id}"

        def look() -> Dunning | None:
            rows: Page[Dunning] = self._channels.get("finance-app", path, Page[Dunning])
            found = [each for each in rows.items if each.contract_id == self._contract.id and each.state == state]
            return found[0] if found else None

        return wait_for(look, f"the contract is {state}")

    def show_overdue(self, owing: Dunning) -> None:
        """Print what is owed, why, and what billing does about it, as finance and the CRM have it."""
        (invoice,) = owing.invoices
        again = f"tried again on {owing.next_attempt_at:%-d %B}" if owing.next_attempt_at else "not tried again"
        self._console.print(f"  declined: {invoice.due}, {invoice.reason}; {again}")
        self._console.print(f"  finance has a case, and in the CRM: {self._in_crm('past_due')}")

    def until_next_attempt(self, owing: Dunning) -> timedelta:
        """Return how long it is until billing tries again. Raises `DemoFailed` where it does not."""
        if owing.next_attempt_at is None:
            raise DemoFailed("billing does not try to charge the card again")
        return owing.next_attempt_at - self._channels.clock()

    def show_recovered(self) -> None:
        self._console.print(f"  paid: the case is closed, and in the CRM: {self._in_crm('active')}")

    def _in_crm(self, state: str) -> str:
        crm = self._sandbox.crm()
        query = f"SELECT TiergateStatus__c FROM Opportunity WHERE Id = '{self._order.deal_id}'"  # noqa: S608 - an id of ours
        try:
            return wait_for(lambda: state if crm.query(query)[0]["TiergateStatus__c"] == state else None, "in the CRM")
        finally:
            crm.close()

    # ---- that goes back

    async def _note(self, credit_note_id: str) -> dict[str, Any]:
        async with billing_of(self._sandbox) as client:
            return await client.get(at("credit_notes", credit_note_id))

    def credit(self, invoice_id: str, sku: str, quantity: int) -> None:
        """Let finance credit so many of what an invoice has of a product, refund that, and print what it comes to."""
        path = f"/finance/v1/invoices/{invoice_id}/corrections"
        text = {"text": f"{quantity} seats were closed"}
        seen: CorrectionPreview = self._channels.post(
            "finance-app", f"{path}/preview", {"kind": "refund", **text}, CorrectionPreview
        )
        line = next(each for each in seen.invoice.lines if each.sku == sku)
        back = Money((line.net + line.tax).amount * quantity // int(line.quantity), line.net.currency)
        wanted: dict[str, Any] = {"kind": "credit_note", "reason": "order_change", **text, "key": "closed-seats"}
        wanted |= {"lines": [{"line": line.id, "quantity": quantity}], "refund": msgspec.to_builtins(back)}
        began = time.monotonic()
        asked: Correction = self._channels.post("finance-app", path, wanted, Correction, CLERK, "closed-seats")
        if asked.state != "booked":
            self._approve(asked)
        done = self._come(asked, "booked")
        self._console.print(f"{time.monotonic() - began:6.2f} s  credited and refunded")
        for each in done.preview.explanations if done.preview else ():
            self._console.print(f"{each.amount!s:>18}  {each.of}")
            self._console.print(f"{'':20}[dim]{each.rule.partition(', ')[0]}[/]")
        self._show(done)

    def _come(self, asked: Correction, *states: CorrectionState) -> Correction:
        def look() -> Correction | None:
            found: Correction = self._channels.get("finance-app", f"/finance/v1/corrections/{asked.id}", Correction)
            if found.state in ("on_hold", "given_up"):
                raise DemoFailed(f"the correction is {found.state}: {found.blocked_reason}")
            return found if found.state in states else None

        return wait_for(look, f"the correction is {' or '.join(states)}")

    def _approve(self, asked: Correction) -> None:
        """Let somebody else in finance approve it, where the catalogue wants that."""
        if self._come(asked, "awaiting_approval", "booked").state == "booked":
            return
        cases: Page[Case] = self._channels.get("support-desk", "/support/v1/cases?limit=100", Page[Case])
        (case,) = (each for each in cases.items if each.subject == asked.id)
        self._console.print(f"  approved: {case.reason}")
        decision = {"decision": "approve"}
        self._channels.post("finance-app", f"/finance/v1/cases/{case.id}/approval", decision, Case, LEAD)

    def _show(self, done: Correction) -> None:
        """Print what billing and the ERP have of a credit note."""

        def look() -> list[PostingStatus] | None:
            found = [each for each in self._channels.postings(self._contract.id) if each.invoice_id == done.invoice_id]
            booked = [each for each in found if each.entry in ("credit", "reversal") and each.state == "posted"]
            return booked if {each.entry for each in booked} == {"credit", "reversal"} else None

        booked = {each.entry: each for each in wait_for(look, "the credit note is booked")}
        note = asyncio.run(self._note(done.reference))
        table = systems_table()
        table.add_row("credit note", "–", note["number"], booked["credit"].number)
        table.add_row(
            "total", "–", f"{from_stripe(-note['total'], done.amount.currency)}", f"{booked['credit'].amount}"
        )
        back = from_stripe(-note["post_payment_amount"], done.amount.currency)
        table.add_row("went back", "–", f"{back}", f"{booked['reversal'].amount}")
        self._console.print(table)
