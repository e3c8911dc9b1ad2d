"""What comes after the first deal, in virtual time: more seats, another price from the next period on, fewer seats."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from canonical.amendments import Amendment, months_after
from canonical.cases import Case
from canonical.orders import Order, Page, PostingStatus
from tiergate.dev.channels import Channels, DemoFailed
from tiergate.dev.platform_views import PlatformViews, plan_of, platform_views, systems_table
from tiergate.dev.sandbox import Sandbox

SECONDS = 60.0
"""How long a change may take."""
BOTH = 2
"""An invoice, and what was paid for it; a credit is nothing to pay, and booked as paid."""
MID_TERM = timedelta(days=150)
UPLIFT = Decimal("1.05")
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
        price = {"action": "price", "line": seat.id, "unit_price": f"{seat.terms.unit_price * UPLIFT:.2f}"}
        self._change("Seats 5 % dearer from the next period on", [price], effective="period_end")
        next_year = datetime.combine(months_after(began.date(), 12), began.timetz())
        self._pass(next_year + timedelta(hours=1) - began - MID_TERM)
        self._console.print("\n[bold]The next period, at the new price[/]")
        self._show(self._posted(lambda each: each.invoice_id not in self._known))
        self._change("Seats 40 → 30, with a credit", [quantity | {"quantity": "30"}])

    def _pass(self, span: timedelta) -> None:
        """Set the time of every system forward."""
        url = f"{self._sandbox.url('control')}/clock"
        answer = httpx.post(url, json={"seconds": span.total_seconds()}, timeout=30).raise_for_status()
        now = datetime.fromisoformat(answer.json()["now"])
        self._console.print(f"\n[bold]{span.days} days later[/], on {now:%-d %B %Y}:")

    def _change(self, title: str, actions: list[dict[str, Any]], effective: str = "now") -> None:
        """Ask for a change, let finance approve it where that is needed, and show what came of it."""
        body = {"actions": actions, "effective": effective}
        path = f"/sales/v1/contracts/{self._contract.id}/amendments"
        began, key = time.monotonic(), f"change-{next(self._numbers)}"
        self._console.print(f"\n[bold]{title}[/]")
        asked: Amendment = self._channels.post("sales-app", path, body, Amendment, SALES, key)
        done = self._applied(asked.id)
        self._console.print(f"{time.monotonic() - began:6.2f} s  applied")
        for each in done.preview.explanations if done.preview else ():
            verdict = "as its rule says" if each.explained else f"off by {each.difference}"
            self._console.print(f"{each.charged!s:>18}  {each.description}")
            self._console.print(f"{'':20}[dim]{each.share}, {verdict}[/]")
        for each in done.invoices:
            self._show(each)

    def _applied(self, amendment_id: str) -> Amendment:
        deadline, is_approved = time.monotonic() + SECONDS, False
        while time.monotonic() < deadline:
            found: Amendment = self._channels.get("sales-app", f"/sales/v1/amendments/{amendment_id}", Amendment)
            if found.state == "applied":
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
        self._console.print(f"  in the CRM: {found.crm.detail}")
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
