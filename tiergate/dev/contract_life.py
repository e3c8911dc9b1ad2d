"""What comes after the first deal, in virtual time: more seats, a renewal at higher prices, a card that is declined, a
credit note, fewer seats."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from canonical.amendments import Amendment, months_after
from canonical.cases import Case
from canonical.orders import Order, Page, PostingStatus
from canonical.states import AmendmentState
from tiergate.dev.channels import Channels, DemoFailed
from tiergate.dev.money_back_and_forth import CustomersMoney
from tiergate.dev.platform_views import PlatformViews, plan_of, platform_views, systems_table
from tiergate.dev.sandbox import Sandbox

SECONDS = 60.0
"""How long a change may take."""
BOTH = 2
"""An invoice, and what was paid for it; a credit is nothing to pay, and booked as paid."""
MID_TERM = timedelta(days=150)
UPLIFT = "5"
"""Percent."""
BEFORE_A_TERM = timedelta(days=2)
"""When a renewal is carried out by."""
SALES, FINANCE = "sales@example.com", "finance@example.com"


class ContractLife:
    """Change a contract as sales would, move the time of all systems, and show what each of them has then."""

    def __init__(self, console: Console, sandbox: Sandbox, channels: Channels, order: Order) -> None:
        self._console = console
        self._sandbox = sandbox
        self._channels = channels
        self._order = order
        self._contract = plan_of(order).contract
        self._numbers = itertools.count(1)
        self._known = {each.invoice_id for each in channels.postings(self._contract.id)}

    def go_on(self) -> None:
        """Raise `DemoFailed` when a change is not carried out, or not posted, in time."""
        seat = next(each.line for each in self._order.lines if each.line.sku == "SEAT")
        quantity = {"action": "quantity", "line": seat.id}
        began = self._channels.clock()
        self._pass(MID_TERM)
        self._change("Seats 25 → 40 in mid-term", [quantity | {"quantity": "40"}])
        first, second = (months_after(self._contract.starts_on, each) for each in (12, 24))
        renew = {"action": "renew", "ends_on": f"{second}", "uplift_percent": UPLIFT}
        renewal = self._ask("Renewed for another year, 5 % dearer", [renew])
        self._in(renewal.id, "scheduled")
        self._console.print("        agreed, and waits for the end of the term")
        next_year = datetime.combine(first, began.timetz())
        self._pass(next_year - BEFORE_A_TERM - began - MID_TERM)
        self._carried_out(renewal)
        money = CustomersMoney(self._console, self._sandbox, self._channels, self._order)
        money.bank_says("insufficient_funds")
        self._pass(BEFORE_A_TERM + timedelta(hours=1))
        self._console.print("\n[bold]The card is declined for the first invoice of the new term[/]")
        owing = money.dunning("past_due")
        money.show_overdue(owing)
        money.bank_says(None)
        self._pass(money.until_next_attempt(owing) + timedelta(hours=1))
        money.dunning("recovered")
        money.show_recovered()
        renewed = self._posted(lambda each: each.invoice_id not in self._known)
        self._show(renewed)
        self._console.print("\n[bold]Two seats of it are credited[/]")
        money.credit(renewed, "SEAT", 2)
        self._change("Seats 40 → 30, with a credit", [quantity | {"quantity": "30"}])

    def _pass(self, span: timedelta) -> None:
        """Set the time of every system forward."""
        url = f"{self._sandbox.url('control')}/clock"
        answer = httpx.post(url, json={"seconds": span.total_seconds()}, timeout=30).raise_for_status()
        now = datetime.fromisoformat(answer.json()["now"])
        later = "A day" if span.days == 1 else f"{span.days} days"
        self._console.print(f"\n[bold]{later} later[/], on {now:%-d %B %Y}:")

    def _change(self, title: str, actions: list[dict[str, Any]]) -> None:
        """Ask for a change, and show what came of it."""
        self._carried_out(self._ask(title, actions))

    def _ask(self, title: str, actions: list[dict[str, Any]]) -> Amendment:
        path, key = f"/sales/v1/contracts/{self._contract.id}/amendments", f"change-{next(self._numbers)}"
        self._console.print(f"\n[bold]{title}[/]")
        return self._channels.post("sales-app", path, {"actions": actions}, Amendment, SALES, key)

    def _carried_out(self, asked: Amendment) -> None:
        """Let finance approve a change where that is needed, and show what came of it."""
        began = time.monotonic()
        done = self._in(asked.id, "applied")
        self._console.print(f"{time.monotonic() - began:6.2f} s  applied")
        for each in done.preview.explanations if done.preview else ():
            verdict = "as its rule says" if each.explained else f"off by {each.difference}"
            self._console.print(f"{each.charged!s:>18}  {each.description}")
            self._console.print(f"{'':20}[dim]{each.share}, {verdict}[/]")
        for each in done.invoices:
            self._show(each)

    def _in(self, amendment_id: str, state: AmendmentState) -> Amendment:
        deadline, is_approved = time.monotonic() + SECONDS, False
        while time.monotonic() < deadline:
            found: Amendment = self._channels.get("sales-app", f"/sales/v1/amendments/{amendment_id}", Amendment)
            if found.state == state:
                return found
            if found.state in ("on_hold", "given_up"):
                raise DemoFailed(f"the change is {found.state}: {found.blocked_reason}")
            if found.state == "awaiting_approval" and not is_approved:
                is_approved = self._approve(found)
            time.sleep(0.1)
        raise DemoFailed(f"the change was not carried out within {SECONDS:.0f} s")

    def _approve(self, amendment: Amendment) -> bool:
        """Approve a change as finance does, and return whether there was a case for it."""
        cases: Page[Case] = self._channels.get("support-desk", "/support/v1/cases?limit=100", Page[Case])
        for each in cases.items:
            if each.subject == amendment.id and each.kind == "amendment_approval":
                self._console.print(f"  approved: {each.reason}")
                path = f"/finance/v1/cases/{each.id}/approval"
                self._channels.post("finance-app", path, {"decision": "approve"}, Case, FINANCE)
                return True
        return False

    def _posted(self, wanted: Callable[[PostingStatus], bool]) -> str:
        """Return the id of the invoice that finance sees as posted, with all that was paid for it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            found = [each for each in self._channels.postings(self._contract.id) if wanted(each)]
            kinds = {each.kind for each in found if each.state == "posted"}
            if len(kinds) == BOTH:
                self._known |= {each.invoice_id for each in found}
                return found[0].invoice_id
            time.sleep(0.1)
        raise DemoFailed(f"the invoice was not posted within {SECONDS:.0f} s")

    def _show(self, invoice_id: str) -> None:
        """Print what each system holds of an invoice, once it is posted."""
        self._posted(lambda each: each.invoice_id == invoice_id)
        found = platform_views(self._sandbox, self._order, invoice_id)
        self._console.print(f"  in the CRM: {found.crm.detail.partition(': ')[0]}")  # of a renewal without its lines
        self._console.print(by_system(found))


def by_system(found: PlatformViews) -> Table:
    """Return what each system says of an invoice, side by side."""
    table = systems_table()
    crm, billing, erp = found.crm, found.billing, found.erp
    table.add_row("invoice", "–", billing.invoice_number, erp.invoice_number)
    table.add_row("total", "–", f"{billing.total}", f"{erp.total}")
    table.add_row("tax", "–", f"{billing.tax}", f"{erp.tax}")
    table.add_row("status", crm.status, billing.status, erp.status)
    return table
