"""Cancellation: an order that waits for a platform is given up. There is no case of its own for it: the outage is one
for all that waits."""

from __future__ import annotations

from collections.abc import Callable

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from canonical.orders import Cancellation, Order
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.order_cases import KINDS, OUTLIVE, OrderCases
from process_apis.records import visibility
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.steps import GIVEN_UP


class Cancellations:
    """Gives up orders that wait. The same again changes nothing."""

    def __init__(self, context: WorkflowContext, order_cases: OrderCases) -> None:
        self._context = context
        self._order_cases = order_cases

    def give_up(self, order_id: str, reason: str, principal: Principal) -> Order:
        """Return the order, which is cancelled, or on its way to it where something was created for it.

        Raises `ProblemError`: 404 for an order that is not there for this caller, 422 without a reason, 409 for an
        order that waits for no platform.
        """
        context = self._context
        if context.orders.visible(order_id, principal) is None:
            raise ProblemError(MISSING, f"There is no order {order_id}.")
        if not reason.strip():
            raise ProblemError(INVALID, "Giving up needs a reason.", (FieldError("$.reason", "say why"),))
        go_on = self._begin(order_id, reason)
        if go_on is not None:
            context.cases.end(order_id, f"given up by {principal.subject}: {reason}", KINDS - OUTLIVE)
            go_on()
        return context.orders.get(order_id)

    def _begin(self, order_id: str, reason: str) -> Callable[[], object] | None:
        """Take an order off its way. Return what follows, None for one that was given up before."""
        with self._context.orders.at(order_id) as one:
            if one.row.state in GIVEN_UP:
                return None
            if one.row.blocked_by is None:
                raise ProblemError(
                    NOT_ALLOWED_NOW,
                    f"The order is {one.row.state} and waits for no platform: act on its cases.",
                )
            return self._order_cases.give_up(one, f"given up: {reason}")


def routes(cancellations: Cancellations) -> tuple[HTTPRouteHandler, ...]:
    """Return the route by which people give up an order."""

    @operation(
        "give_up_order",
        "POST",
        "/orders/{order_id:str}/cancellation",
        summary="Give up an order that waits for a platform",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        asks_platforms=True,
        sync_to_thread=True,
    )
    def give_up_order(
        principal: NamedDependency[Principal], order_id: CanonicalId, data: JSONBody[Cancellation]
    ) -> Order:
        """Cancel an order that waits for a platform that is away. What was created for it is taken back, as soon as the
        platforms that have it answer. Any other order is refused: people act on its cases."""
        return visibility.order_for(principal, cancellations.give_up(order_id, data.reason, principal))

    return (give_up_order,)
