"""OrderIntake: what a channel orders for a customer becomes a deal of the CRM, which owns what was sold, and then an
order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from canonical.amendments import Meters
from canonical.deals import PlacedDeal
from canonical.faults import NotFound, Rejected
from canonical.orders import NewOrder, Order
from policies.business.start_window import allowed_starts
from policies.business.usage import meters_by_product
from policies.context import correlation
from policies.contract.operation import operation
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, OUTSIDE_REGION, FieldError, ProblemError
from process_apis.records import customers, visibility
from process_apis.runtime.context import WorkflowContext

UNFULFILLABLE = "The order could never be fulfilled."


class OpenOrder(Protocol):
    """Opens the order of a deal's revision, or finds it. Returns its id. `known` are columns of its record."""

    def __call__(self, crm: str, deal_id: str, revision: int, correlation_id: str, **known: str) -> str: ...


class OrderIntake:
    """Takes orders that do not begin in the CRM."""

    def __init__(self, context: WorkflowContext, open_order: OpenOrder) -> None:
        self._context = context
        self._open_order = open_order

    def place(self, wanted: NewOrder, principal: Principal, correlation_id: str) -> Order:
        """Return the order, whose key makes it one. Raises `ProblemError`: 404 for a customer that is not there for
        this caller, 422 for an order that could never be fulfilled, 403 for one whose records are kept in another
        region."""
        context = self._context
        customer = customers.visible(context.database, wanted.customer_id, principal)
        if customer is None:
            raise ProblemError(MISSING, f"There is no customer {wanted.customer_id}.")
        self._check(wanted, principal)
        context.residency.check(wanted.legal_entity)
        deal = PlacedDeal(
            key=wanted.key,
            name=wanted.name,
            account_id=customer.references[customer.crm],
            legal_entity=wanted.legal_entity,
            currency=wanted.currency,
            starts_on=wanted.starts_on,
            term_months=wanted.term_months,
            lines=wanted.lines,
            placed_by=principal.subject,
        )
        try:
            placed = context.platforms.put_deal(customer.crm, deal)
        except (NotFound, Rejected) as fault:
            raise _refusal(fault) from fault
        order_id = self._open_order(
            customer.crm,
            placed.id,
            1,
            correlation_id,
            name=wanted.name,
            legal_entity=wanted.legal_entity,
            customer_id=customer.id,
            partner=customer.partner,
            placed_by=principal.subject,
        )
        return context.orders.get(order_id)

    def _check(self, wanted: NewOrder, principal: Principal) -> None:
        """Raise `ProblemError` (422) for what is known to be wrong before the CRM is asked."""
        context = self._context
        found: list[FieldError] = []
        try:
            known = principal.may_see(wanted.legal_entity) and context.platforms.legal_entity(wanted.legal_entity)
        except NotFound:
            known = None
        if not known:
            found.append(FieldError("$.legal_entity", f"there is no legal entity {wanted.legal_entity}"))
        first, last = allowed_starts(context.live_catalogue.current, context.clock().date())
        if not first <= wanted.starts_on <= last:
            found.append(FieldError("$.starts_on", f"it has to be from {first} to {last}"))
        found += _by_use(wanted, meters_by_product(context.live_catalogue.current))
        if found:
            raise ProblemError(INVALID, UNFULFILLABLE, tuple(found))


def _by_use(wanted: NewOrder, meters: Meters) -> Iterator[FieldError]:
    """Yield what is wrong with lines that are charged by use: such a one has no quantity, and a contract has one."""
    sold: set[str] = set()
    for place, line in enumerate(wanted.lines):
        if line.sku in meters and line.quantity != 1:
            yield FieldError(f"$.lines[{place}].quantity", f"{line.sku} is charged by use: its quantity is 1")
        if line.sku in meters and line.sku in sold:
            yield FieldError(f"$.lines[{place}].sku", f"{line.sku} is charged by use, and is sold once")
        sold.add(line.sku)


def _refusal(fault: NotFound | Rejected) -> Exception:
    """Return what a caller hears of a CRM that does not take an order: a wrong field, where the fault is about one of
    the order's own."""
    member = fault.field.removeprefix("deal.")
    if re.split(r"[.\[]", member)[0] in NewOrder.__struct_fields__:
        return ProblemError(INVALID, UNFULFILLABLE, (FieldError(f"$.{member}", fault.reason),))
    return fault


def routes(order_intake: OrderIntake) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes by which channels place orders."""

    @operation(
        "place_order",
        "POST",
        "/orders",
        summary="Place an order for a customer, once for each key",
        problems=(MISSING, OUTSIDE_REGION),
        asks_platforms=True,
        links={"get_order": ("order_id", "/id")},
        sync_to_thread=True,
    )
    def place_order(principal: NamedDependency[Principal], data: JSONBody[NewOrder]) -> Order:
        """Brings the order into the CRM as a won deal and starts its fulfilment. The same key again is the same
        order."""
        return visibility.order_for(principal, order_intake.place(data, principal, correlation.current()))

    return (place_order,)
