"""How a step of an order is taken: its state is kept, trouble that passes is waited out, the rest becomes a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
import stamina

from canonical.cases import Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.orders import Order
from canonical.states import OrderState
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
PATH: tuple[OrderState, ...] = ("validating", "credit_review", "onboarding", "subscribing", "provisioning")


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
    it works, and with the reason why it has waited."""
    with context.orders.at(order_id) as one:
        present: OrderState = one.row.state
        waited = one.row.blocked_reason
        if present != also_in:
            if present in IN_FORCE or (present in PATH and PATH.index(present) > PATH.index(state)):
                return "done"
            if present not in (*PATH, "received", "awaiting_approval"):
                return "stopped"
            one.advance(state, next_attempt_at=context.stalled_at())
        order, again = msgspec.structs.replace(one.order(with_lines=False), blocked_reason=waited), one.row.run > 1
    with correlated(order.correlation_id):
        return run_step(context, order, act, again=again)


def run_step(context: WorkflowContext, order: Order, act: Callable[[Order], Outcome], *, again: bool = True) -> Outcome:
    """Do the work of a state; what cannot proceed is put aside or becomes a case. `again`: it may have been put aside
    before."""
    try:
        outcome: Outcome = with_retries(context.retry_policy, lambda: act(order))
    except TRANSIENT as fault:
        reschedule(context, order, fault)
        return "stopped"
    except (Rejected, NotFound) as fault:
        finding = Finding(fault.field or fault.platform, fault.reason, fault.platform)
        hold(context, order, Held("platform_rejected", [finding], ("retry", "compensate")))
        return "stopped"
    except Held as held:
        hold(context, order, held)
        return "stopped"
    if again:
        context.cases.resolve(order.id, "it went on by itself", kind="waiting_for_platform")
        outages.is_over(context, order.blocked_reason, order.legal_entity)
    return outcome


def reschedule(context: WorkflowContext, order: Order, fault: PlatformFault) -> None:
    """Let the order stay where it is, to be tried again later, ever more seldom. A case is opened after the fifth
    time."""
    with context.orders.at(order.id) as one:
        again = retry(context, one.row.run, fault.retry_after)  # each run of an order that waits ends with a failure
        one.advance(order.state, next_attempt_at=again.at, blocked_reason=f"{fault.platform}: {fault.reason}")
    if again.needs_case:
        open_cases(
            context,
            order,
            Held("waiting_for_platform", [Finding(fault.platform, fault.reason, fault.platform)], ("retry",)),
        )


def hold(context: WorkflowContext, order: Order, held: Held) -> None:
    """Stop the order, with a case for each finding; the CRM shows why."""
    reasons = "; ".join(f"{each.field}: {each.reason}" for each in held.findings)
    open_cases(context, order, held)
    context.orders.advance(order.id, "on_hold", next_attempt_at=None, blocked_reason=reasons, held_in=order.state)
    write_status_to_crm(context, order.id)
