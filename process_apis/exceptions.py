"""What people may do about a case, and what it sets in motion."""

from __future__ import annotations

from typing import assert_never

from canonical.cases import Action, Case
from canonical.states import IllegalTransition, OrderState
from policies.authentication import Principal
from policies.problems import FORBIDDEN, INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.desk import Desk
from process_apis.events.subscribers import Subscribers
from process_apis.steps import show


class Exceptions:
    """Acts on cases. Doing the same twice is doing it once: a closed case allows nothing."""

    def __init__(self, desk: Desk, subscribers: Subscribers) -> None:
        self._desk = desk
        self._subscribers = subscribers

    def act(self, case_id: str, action: Action, reason: str, principal: Principal) -> Case:
        """Raises `ProblemError`: 404 when there is no such case for this caller, 409 when the case does not allow it, 403
        when the approval is the caller's own request."""
        case = self._desk.cases.get(case_id, principal)
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
                self._act_on_order(case, action)
            elif case.subject.startswith("cus_"):
                self._act_on_customer(case, action)
            else:
                self._act_on_posting(case, action)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
        note = f"{action} by {principal.subject}" + (f": {reason}" if reason else "")
        self._desk.cases.resolve(case.subject, note)
        return self._desk.cases.get(case_id, principal) or case

    def _check_duties(self, case: Case, action: Action, principal: Principal) -> None:
        """Who asked for an approval does not grant it."""
        if action == "approve" and principal.subject == self._desk.orders.row(case.subject).placed_by:
            raise ProblemError(FORBIDDEN, "Whoever placed the order cannot approve it; ask somebody else.")

    def _act_on_order(self, case: Case, action: Action) -> None:
        desk, order_id = self._desk, case.subject
        row = desk.orders.row(order_id)
        match action:
            case "retry":
                self._retry(case)
            case "skip":
                self._skip(case)
            case "approve":
                desk.orders.advance(order_id, "onboarding", look_at=None)
                self._subscribers.restart_order(order_id)
            case "reject":
                desk.orders.advance(order_id, "cancelled", look_at=None, waits_for=f"rejected: {case.reason}")
                show(desk, order_id)
            case "compensate":
                before_creation = row.held_in in ("validating", "credit_review")
                wanted: OrderState = "cancelled" if before_creation else "compensating"
                desk.orders.advance(order_id, wanted, look_at=None)
                if before_creation:
                    show(desk, order_id)
                else:
                    self._subscribers.restart_order(order_id)
            case _:
                assert_never(action)

    def _retry(self, case: Case) -> None:
        desk, order_id = self._desk, case.subject
        row = desk.orders.row(order_id)
        if case.kind == "status_not_shown":
            show(desk, order_id)
            return
        if case.kind in ("line_failed", "provisioning_failed", "not_delivered"):
            for each in desk.orders.lines(order_id):
                if each.state == "failed":
                    desk.orders.set_line(order_id, each.line.id, "waiting")
            desk.orders.change(order_id, provisioning_attempt=row.provisioning_attempt + 1)
        if row.state == "on_hold":
            desk.orders.advance(order_id, row.held_in, look_at=None)
        self._subscribers.restart_order(order_id)

    def _skip(self, case: Case) -> None:
        desk, order_id = self._desk, case.subject
        match case.kind:
            case "duplicate_customer":
                desk.orders.change(order_id, accepts_duplicate=True)
                self._retry(case)
            case "line_failed":
                for each in desk.orders.lines(order_id):
                    if each.state == "failed":
                        desk.orders.set_line(order_id, each.line.id, "skipped", each.reason)
                self._subscribers.restart_order(order_id)
            case "charge_by_hand":
                desk.orders.set_billed(order_id, [each.line.id for each in desk.orders.lines(order_id, unbilled=True)])
                desk.orders.advance(order_id, desk.orders.row(order_id).held_in, look_at=None)
                self._subscribers.restart_order(order_id)
            case _:
                return

    def _act_on_customer(self, case: Case, action: Action) -> None:
        if action == "retry":
            self._subscribers.follow(case.subject, case.correlation_id)

    def _act_on_posting(self, case: Case, action: Action) -> None:
        kind, _, key = case.subject.partition(":")
        if action == "retry" and kind in ("invoice", "payment"):
            now = self._desk.clock().isoformat()
            self._desk.postings.change(
                "invoice" if kind == "invoice" else "payment", key, state="waiting", waits_for="", look_at=now
            )
