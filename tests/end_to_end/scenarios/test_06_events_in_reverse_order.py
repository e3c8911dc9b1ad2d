"""Billing's events about an invoice arrive in reverse order, and a stale one comes after the recovery: all ends in
billing's present state."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal

import httpx
import pytest

from canonical.orders import Order
from sandbox.salesperson import SaleLine
from system_apis.billing.stripe.setup import EVENTS
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.stripe_account import bank_transfer

PATHS = {
    "paid": ("invoice.finalized", "invoice.marked_uncollectible", "invoice.paid"),
    "void": ("invoice.finalized", "invoice.marked_uncollectible", "invoice.voided"),
}
"""What happens to an invoice, by the state in which it ends."""


@contextmanager
def silence(environment: Environment) -> Generator[None]:
    """Let billing report nothing by itself."""
    (endpoint,) = environment.stripe.v1.webhook_endpoints.list().data
    environment.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": ["customer.deleted"]})
    try:
        yield
    finally:
        environment.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": list(EVENTS)})  # pyright: ignore[reportArgumentType]


def events_of(environment: Environment, invoice: str, kinds: tuple[str, ...]) -> list[str]:
    """Return the ids of billing's events of some types about an invoice, in the order of the types."""
    found = {
        each.type: each.id
        for each in environment.stripe.v1.events.list({"limit": 100}).data
        if each.type in kinds and each.data.object["id"] == invoice
    }
    return [found[each] for each in kinds]


def report(environment: Environment, event_id: str) -> None:
    """Let billing report one event now, and wait until it was taken in."""
    httpx.post(f"{environment.sandbox.url('control')}/billing/events/{event_id}").raise_for_status()
    known = "SELECT count(*) FROM events WHERE id = ?"
    wait_until(lambda: environment.record(known, event_id) == 1, 20, f"the event {event_id}")


def booked(environment: Environment, order: Order, state: str) -> bool:
    """Return whether the books have what billing has: the payment or the credit note, nothing due, and nothing else."""
    invoice = order.plan.contract.references["invoice"] if order.plan else ""
    contract = order.plan.contract.id if order.plan else ""
    found = environment.in_erp("account.invoice", ("reference", "=", invoice), ("state", "in", ["posted", "paid"]))
    notes = environment.in_erp("account.invoice", ("reference", "=", f"{invoice}/credit"))
    lines = environment.in_erp("account.move.line", ("move.description", "=", invoice))
    written_off = sum((each.debit - each.credit for each in lines if each.account.type.expense), Decimal())
    postings = environment.channels.postings(contract)
    if {each.state for each in postings} != {"posted"} and state == "paid":
        return False
    if state == "paid":
        paid = [each.credit for one in found for each in one.payment_lines]
        return (
            [each.amount_to_pay for each in found] == [0] and paid == [Decimal(1190)] and not notes and not written_off
        )
    return all(each.amount_to_pay == 0 for each in (*found, *notes)) and len(notes) == len(found) and not written_off


@pytest.mark.parametrize("ends", list(PATHS))
def test_reversed_and_stale_events_end_in_the_present_state(environment: Environment, ends: str) -> None:
    with silence(environment):
        line = (SaleLine("SEAT", 1, 1000.0),)
        _, deal = environment.sell(environment.sale(f"Backwards {ends}", lines=line, payment_method=None))
        order = environment.order_in(deal, "active")
        assert order.plan
        invoice = order.plan.contract.references["invoice"]
        environment.stripe.v1.invoices.mark_uncollectible(invoice)
        if ends == "paid":
            bank_transfer(environment.stripe, invoice, 1190_00)
        else:
            environment.stripe.v1.invoices.void_invoice(invoice)
    issued, written_off, ended = events_of(environment, invoice, PATHS[ends])

    for each in (ended, written_off, issued):
        report(environment, each)
    # what is reported while its posting is at work waits for the end of that run's claim, which lasts a minute
    wait_until(lambda: booked(environment, order, ends), 100, f"the books as billing has it: {ends}")
    for each in (written_off, issued):
        report(environment, each)
    waiting = "SELECT count(*) FROM postings WHERE invoice_id = ? AND next_attempt_at IS NOT NULL"

    def at_rest() -> bool:
        """Return whether nothing waits, and all is booked: a repeat lets a posting be checked once more."""
        return environment.record(waiting, invoice) == 0 and booked(environment, order, ends)

    wait_until(at_rest, 90, "nothing that waits")  # a run that was overtaken leaves it to the next one, in a minute
    subjects = (order.id, f"invoice:{invoice}", f"payment:{invoice}")
    assert [each.kind for one in subjects for each in environment.cases_of(one)] == []
    assert environment.stripe.v1.invoices.retrieve(invoice).status == ends
