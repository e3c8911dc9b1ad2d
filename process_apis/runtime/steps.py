"""How a step of an order is taken: its state is kept, trouble that passes is waited out, the rest becomes a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import stamina
import structlog

from canonical.cases import Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.orders import Order
from canonical.states import IllegalTransition, OrderState
from policies.context.correlation import correlated
from process_apis.runtime import outages
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import RetryPolicy, WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE, write_status_to_crm
from process_apis.runtime.holds import Held, open_cases

T = TypeVar("T")
AT_ONCE = 2.0
"""Seconds that are waited for another try before the work is put aside."""
Outcome = Literal["done", "stopped"]
"""`stopped`: the order waits, and somebody or something else will start it again."""
WAITS = ("blocked_reason", "blocked_by", "blocked_since", "attempts")
"""The columns that say what an order waits for."""
GIVEN_UP: tuple[OrderState, ...] = ("compensating", "cancelled")
"""Where an order is that is not to be fulfilled any more."""
PATH: tuple[OrderState, ...] = ("validating", "credit_review", "onboarding", "subscribing", "provisioning")
log = structlog.get_logger("tiergate.orders")


def passes_by_itself(fault: Exception) -> bool:
    """Return whether trying again in a moment may help. A closed period is opened by people, in hours or days."""
    return isinstance(fault, TRANSIENT) and fault.field != "period"


def _passes_soon(fault: Exception) -> bool:
    """Return whether it passes by itself before the work is put aside: not when the platform asks for a longer
    pause."""
    return passes_by_itself(fault) and not (isinstance(fault, PlatformFault) and (fault.retry_after or 0.0) > AT_ONCE)


def with_retries(retry_policy: RetryPolicy, act: Callable[[], T]) -> T:
    """Try again what passes by itself, with growing pauses. Raises the last fault."""
    for attempt in stamina.retry_context(
        on=_passes_soon, attempts=retry_policy.tries, wait_initial=retry_policy.first, wait_max=AT_ONCE
    ):
        with attempt:
            return act()
    raise AssertionError("unreachable")  # retry_context ends with a result or an exception


def enter_state(
    context: WorkflowContext,
    order_id: str,
    state: OrderState,
    act: Callable[[Order], Outcome],
    also_in: OrderState | None = None,
) -> Outcome:
    """Bring an order into `state` and do its work there. Work that is behind the order already is not done again, but
    for an order that is in `also_in`, and stays there. `act` is given the order without its lines, which change while
    it works. One that waits for a platform does so until its work is done."""
    with context.orders.at(order_id) as one:
        present: OrderState = one.row.state
        if present != also_in:
            if present in IN_FORCE or (present in PATH and PATH.index(present) > PATH.index(state)):
                return "done"
            if present not in (*PATH, "received", "awaiting_approval"):
                return "stopped"
            waits = {name: getattr(one.row, name) for name in WAITS} if present == state else {}
            one.advance(state, next_attempt_at=context.stalled_at(), **waits)
        order = one.order(with_lines=False)
    with correlated(order.correlation_id, f"order: {state}"):
        return run_step(context, order, act)


def run_step(context: WorkflowContext, order: Order, act: Callable[[Order], Outcome]) -> Outcome:
    """Do the work of a state; what cannot proceed is put aside or becomes a case. When an order that has waited for a
    platform goes on, all that waits for the same one does."""
    try:
        outcome: Outcome = with_retries(context.retry_policy, lambda: act(order))
    except TRANSIENT as fault:
        reschedule(context, order, fault)
        return "stopped"
    except (Rejected, NotFound) as fault:
        finding = Finding.of(fault)
        hold(context, order, Held("platform_rejected", [finding], ("retry", "compensate")))
        return "stopped"
    except Held as held:
        hold(context, order, held)
        return "stopped"
    except IllegalTransition:
        if context.orders.row(order.id).state in GIVEN_UP:
            return "stopped"  # while this was at work
        raise
    if order.queue:
        context.orders.went_on(order.id)
        outages.is_over(context, order.queue.platform)
    return outcome


def reschedule(context: WorkflowContext, order: Order, fault: PlatformFault) -> None:
    """Let the order stay where it is, to be tried again later, ever more seldom: it waits for the platform, whose
    outage is one case for all (`process_apis/incidents.py`)."""
    with context.orders.at(order.id) as one:
        row = one.row
        if row.state != order.state:
            return  # it was given up meanwhile
        attempts = row.attempts + 1
        one.advance(
            order.state,
            next_attempt_at=retry(context, attempts, fault.retry_after).at,
            blocked_reason=f"{fault.platform}: {fault.reason}",
            attempts=attempts,
            **outages.blocked(context, row, fault.platform, row.legal_entity, crm=row.crm),
        )


def hold(context: WorkflowContext, order: Order, held: Held) -> None:
    """Stop the order, with a case for each finding; the CRM shows why. One that was given up meanwhile is left
    alone."""
    reasons = "; ".join(f"{each.field}: {each.reason}" for each in held.findings)
    open_cases(context, order, held)
    with context.orders.at(order.id) as one:
        is_there = one.row.state == order.state
        if is_there:
            one.advance("on_hold", next_attempt_at=None, blocked_reason=reasons, held_in=order.state)
    if is_there:
        about = {"order": order.id, "state": order.state, "kind": held.kind}
        log.warning("order on hold", **about, correlation_id=order.correlation_id)
        write_status_to_crm(context, order.id)
    else:
        context.cases.resolve(order.id, "the order was given up", held.kind)
