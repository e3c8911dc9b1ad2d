"""Changes of contracts, as the sales channel asks for them, and what every platform then has."""

from __future__ import annotations

from typing import Any

from canonical.amendments import Amendment, AmendmentPreview, ContractTimeline
from canonical.billing import Contract
from canonical.orders import Order, PostingStatus
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def contract_of(order: Order) -> Contract:
    assert order.plan
    return order.plan.contract


def line_of(order: Order, sku: str) -> str:
    """Return the id of the line of a product."""
    return next(each.line.id for each in order.lines if each.line.sku == sku)


def quantity(order: Order, sku: str, wanted: int | str) -> dict[str, Any]:
    """Return a request for another quantity of a line."""
    return {"actions": [{"action": "quantity", "line": line_of(order, sku), "quantity": str(wanted)}]}


def amend(environment: Environment, order: Order, body: dict[str, Any], key: str) -> Amendment:
    path = f"/sales/v1/contracts/{contract_of(order).id}/amendments"
    return environment.channels.post("sales-app", path, body, Amendment, key=key)


def preview(environment: Environment, order: Order, body: dict[str, Any]) -> AmendmentPreview:
    path = f"/sales/v1/contracts/{contract_of(order).id}/amendments/preview"
    return environment.channels.post("sales-app", path, body, AmendmentPreview)


def timeline(environment: Environment, order: Order) -> ContractTimeline:
    return environment.channels.get("sales-app", f"/sales/v1/contracts/{contract_of(order).id}", ContractTimeline)


def amendment_of(environment: Environment, amendment_id: str) -> Amendment:
    return environment.channels.get("sales-app", f"/sales/v1/amendments/{amendment_id}", Amendment)


def amendment_in(environment: Environment, found: Amendment, *states: str, seconds: float = 60.0) -> Amendment:
    """Return an amendment once it is in one of some states."""

    def look() -> Amendment | None:
        if environment.record("SELECT state FROM amendments WHERE id = ?", found.id) not in states:
            return None
        return amendment_of(environment, found.id)

    return wait_until(look, seconds, f"the amendment {found.id} in {states}")


def extra_invoice(environment: Environment, order: Order, done: Amendment) -> Any:
    """Return the one invoice that billing has issued for an amendment, which is the only one beside the first."""
    issued = environment.stripe.v1.invoices.list({"customer": contract_of(order).references["customer"]}).data
    assert len(issued) == 2
    (extra,) = [each for each in issued if each.id in done.invoices]
    return extra


def booked(environment: Environment, order: Order, invoice_id: str) -> PostingStatus:
    """Return the posting of an invoice once the ERP has all of it."""

    def look() -> PostingStatus | None:
        found = [each for each in environment.channels.postings(contract_of(order).id) if each.invoice_id == invoice_id]
        if not found or any(each.state != "posted" for each in found):
            return None
        return next((each for each in found if each.kind == "invoice"), None)

    return wait_until(look, 60, f"the postings of {invoice_id}")


def agrees_everywhere(environment: Environment, order: Order, done: Amendment) -> None:
    """Check that what billing previewed is what it charged, and what the ERP has booked, to the minor unit."""
    assert done.preview
    (previewed,) = done.preview.invoices
    extra = extra_invoice(environment, order, done)
    assert (extra.total, extra.subtotal) == (previewed.total.amount, (previewed.total - previewed.tax).amount)
    assert all(each.explained for each in done.preview.explanations)
    posting = booked(environment, order, extra.id)
    assert (posting.amount, posting.tax) == (previewed.total, previewed.tax)
