"""What people may do about a case, and what it sets in motion."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import assert_never, get_args

from canonical.cases import Action, Case, CaseKind
from canonical.states import IllegalTransition, OrderState
from policies.identity.authentication import Principal
from policies.problems import FORBIDDEN, INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.events.dispatch import Dispatcher
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.steps import write_status_to_crm

ENDING: tuple[Action, ...] = ("compensate", "reject")
"""Actions that end an order. What else was wrong with it is no trouble any more."""
OUTLIVES: frozenset[CaseKind] = frozenset({"cannot_undo"})
"""What an order leaves behind that has ended: it is still to be done."""
Next = Callable[[], object]


class CaseActions:
    """Acts on cases. Doing the same twice is doing it once: a closed case allows nothing."""

    def __init__(self, context: WorkflowContext, dispatcher: Dispatcher) -> None:
        self._context = context
        self._dispatcher = dispatcher

    def act(self, case_id: str, action: Action, reason: str, principal: Principal) -> Case:
        """Act on a case and resolve it, with the cases of its subject that are the same trouble.

        Raises `ProblemError`: 404 when there is no such case for this caller, 409 when the case does not allow it, 403
        when the approval is the caller's own request.
        """
        case = self._context.cases.get(case_id, principal)
        if case is None:
            raise ProblemError(MISSING, f"There is no case {case_id}.")
        if case.state != "open" or action not in case.actions:
            allowed = ", ".join(case.actions) if case.state == "open" else "nothing: it is resolved"
            raise ProblemError(NOT_ALLOWED_NOW, f"The case allows {allowed}.")
        self._check_duties(case, action, principal)
        if action == "skip" and not reason.strip():
            raise ProblemError(INVALID, "Skipping needs a reason.", (FieldError("$.reason", "say why"),))
        try:
            if case.subject.startswith("ord_"):
                go_on = self._act_on_order(case, action)
            elif case.subject.startswith("cus_"):
                go_on = self._act_on_customer(case, action)
            else:
                go_on = self._act_on_posting(case, action)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
        note = f"{action} by {principal.subject}" + (f": {reason}" if reason else "")
        self._context.cases.close(case, note, self._same_trouble(case, action))
        go_on()  # after the case is closed: what fails again opens another
        return self._context.cases.get(case_id, principal) or case

    def _same_trouble(self, case: Case, action: Action) -> Collection[CaseKind]:
        """The kinds of which all open cases of the subject are resolved together with this one."""
        if action in ENDING:
            return frozenset[CaseKind](get_args(CaseKind)) - OUTLIVES
        return self._context.live_catalogue.current.case_routing[case.kind].resolves

    def _check_duties(self, case: Case, action: Action, principal: Principal) -> None:
        """Who asked for an approval does not grant it."""
        if action == "approve" and principal.subject == self._context.orders.row(case.subject).placed_by:
            raise ProblemError(FORBIDDEN, "Whoever placed the order cannot approve it; ask somebody else.")

    def _act_on_order(self, case: Case, action: Action) -> Next:
        context, order_id = self._context, case.subject
        row = context.orders.row(order_id)
        match action:
            case "retry":
                return self._retry(case)
            case "skip":
                return self._skip(case)
            case "approve":
                context.orders.advance(order_id, "onboarding", next_attempt_at=None)
                return self._restart(order_id)
            case "reject":
                context.orders.advance(
                    order_id, "cancelled", next_attempt_at=None, blocked_reason=f"rejected: {case.reason}"
                )
                return self._show(order_id)
            case "compensate":
                before_creation = row.held_in in ("validating", "credit_review")
                wanted: OrderState = "cancelled" if before_creation else "compensating"
                context.orders.advance(order_id, wanted, next_attempt_at=None)
                return self._show(order_id) if before_creation else self._restart(order_id)
            case _:
                assert_never(action)

    def _retry(self, case: Case) -> Next:
        context, order_id = self._context, case.subject
        if case.kind == "status_not_shown":
            return self._show(order_id)
        if case.kind == "provisioning_failed":
            context.orders.retry_lines(order_id)
        elif case.kind in ("line_failed", "not_delivered"):
            context.orders.retry_lines(order_id, case.input["line"])
        row = context.orders.row(order_id)
        if row.state == "on_hold":
            context.orders.advance(order_id, row.held_in, next_attempt_at=None)
        return self._restart(order_id)

    def _skip(self, case: Case) -> Next:
        context, order_id = self._context, case.subject
        match case.kind:
            case "duplicate_customer":
                context.orders.change(order_id, accepts_duplicate=True)
                return self._retry(case)
            case "line_failed":
                context.orders.skip_line(order_id, case.input["line"])
                held = context.orders.row(order_id).state == "on_hold"  # by a case of its own, which is still open
                return _stay if held else self._restart(order_id)
            case "charge_by_hand":
                context.orders.set_billed(order_id, [case.input["line"]])
                return self._retry(case)
            case _:
                return _stay

    def _act_on_customer(self, case: Case, action: Action) -> Next:
        return partial(self._dispatcher.follow, case.subject, case.correlation_id) if action == "retry" else _stay

    def _act_on_posting(self, case: Case, action: Action) -> Next:
        kind, _, key = case.subject.partition(":")
        if action == "retry" and kind in ("invoice", "payment"):
            now = self._context.clock().isoformat()
            return partial(
                self._context.postings.change, kind, key, state="waiting", blocked_reason="", next_attempt_at=now
            )
        return _stay

    def _restart(self, order_id: str) -> Next:
        return partial(self._dispatcher.restart_order, order_id)

    def _show(self, order_id: str) -> Next:
        return partial(write_status_to_crm, self._context, order_id)


def _stay() -> None:
    """Nothing follows."""
