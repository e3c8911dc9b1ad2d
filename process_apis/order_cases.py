"""What people may do about an order's cases. The order is watched before anything is done: a crash in between is
found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

from canonical.cases import Action, Case, CaseKind
from canonical.states import BEFORE_CREATION, OrderState
from process_apis import account_merges
from process_apis.amendments.contract import running
from process_apis.records import matches
from process_apis.records.amendments import Amendments
from process_apis.records.cases import HOLDING
from process_apis.records.orders import BEING_DELIVERED, OneOrder
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE, write_status_to_crm
from process_apis.runtime.steps import GIVEN_UP, PATH

KINDS: frozenset[CaseKind] = frozenset(
    {
        "deal_invalid",
        "duplicate_customer",
        "outside_region",
        "credit_limit",
        "platform_rejected",
        "status_not_shown",
        "not_delivered",
        "line_failed",
        "provisioning_failed",
        "charge_by_hand",
        "cannot_undo",
        "deal_changed",
    }
)
NOTHING_CREATED: tuple[OrderState, ...] = ("received", *BEFORE_CREATION, "awaiting_approval")
"""Where an order is for which nothing was created yet."""
APPROVED: tuple[OrderState, ...] = (*PATH[PATH.index("onboarding") :], *IN_FORCE)
"""Where an order is that was approved."""
OUTLIVE: frozenset[CaseKind] = frozenset({"cannot_undo"})
"""What an order leaves behind that has ended: it is still to be done."""


class OrderCases:
    """Acts on the cases of orders."""

    def __init__(self, context: WorkflowContext, restart: Callable[[str], None]) -> None:
        """`restart` begins a new run of an order, where it stands."""
        self._context = context
        self._restart = restart

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its order has come to. An order that goes on is not undone for
        what once held it."""
        if account_merges.SHARED in case.input:
            return case.actions  # it is about a customer
        row = self._context.orders.row(case.subject)
        is_waiting = row.blocked_by is not None and row.state not in GIVEN_UP
        goes_on = case.kind not in HOLDING and (is_waiting or row.state in BEING_DELIVERED)
        if case.kind == "line_failed" and self._is_over(case.subject):
            return tuple(each for each in case.actions if each != "retry")
        if row.state == "on_hold" or goes_on:
            return case.actions
        return tuple(each for each in case.actions if each != "compensate")

    def _is_over(self, order_id: str) -> bool:
        """Return whether the contract of an order has expired, or was cancelled by now or with the period that runs."""
        order = self._context.orders.get(order_id)
        if order.plan is None or order.state not in IN_FORCE:
            return False
        records = Amendments(self._context.database, self._context.clock)
        return running(self._context, records, order).is_over

    def asked_by(self, case: Case) -> str:
        """Return who placed the order."""
        return str(self._context.orders.row(case.subject).placed_by)

    def decide(self, case: Case, action: Action, by: str, reason: str) -> Next:
        """Do as `act` does; for a case about two customers under one account, let one of them lead, and keep who said
        which, and why, in the record of the merge."""
        if account_merges.SHARED not in case.input:
            return self.act(case, action)
        account_merges.decide(self._context, case, "switch" if action == "retry" else "keep", by, reason)
        return nothing

    def act(self, case: Case, action: Action) -> Next:
        """Do what `action` means for the order. Raises `IllegalTransition` when the order does not allow it any
        more."""
        context, order_id = self._context, case.subject
        match action:
            case "retry":
                return self._retry(case)
            case "skip":
                return self._skip(case)
            case "approve":
                if context.orders.row(order_id).state in APPROVED:
                    return nothing  # it was approved, and nobody came to close the case
                context.orders.advance(order_id, "onboarding", next_attempt_at=context.stalled_at())
                return partial(self._restart, order_id)
            case "reject":
                context.orders.advance(
                    order_id, "cancelled", next_attempt_at=None, blocked_reason=f"rejected: {case.reason}"
                )
                return self._show(order_id)
            case "compensate":
                with context.orders.at(order_id) as one:
                    return self.give_up(one)
            case _:
                assert_never(action)

    def give_up(self, one: OneOrder, why: str = "") -> Next:
        """Take an order off its way, in the caller's transaction. Return what is to be done after it: what was created
        for it is taken back, or the CRM shows that it is cancelled. Raises `IllegalTransition` for one that cannot be
        given up any more."""
        order_id, row = one.row.id, one.row
        if (row.held_in if row.state == "on_hold" else row.state) in NOTHING_CREATED:
            one.advance("cancelled", next_attempt_at=None, blocked_reason=why, crm_status="")  # the poll shows it
            return partial(write_status_to_crm, self._context, order_id)
        one.advance("compensating", next_attempt_at=self._context.stalled_at(), blocked_reason=why)
        return partial(self._restart, order_id)

    def _retry(self, case: Case) -> Next:
        context, order_id = self._context, case.subject
        if case.kind == "status_not_shown":
            return self._show(order_id)
        if "record" in case.input:
            return self._match(case, case.input["record"])
        self._watch(order_id)
        if case.kind == "provisioning_failed":
            context.orders.retry_lines(order_id)
        elif case.kind in ("line_failed", "not_delivered"):
            context.orders.retry_lines(order_id, case.input["line"])
        context.orders.release(order_id, context.stalled_at())
        return partial(self._restart, order_id)

    def _skip(self, case: Case) -> Next:
        context, order_id = self._context, case.subject
        match case.kind:
            case "duplicate_customer" if "record" in case.input:
                return self._match(case, matches.NEW)
            case "duplicate_customer":
                context.orders.change(order_id, accepts_duplicate=True)
                return self._retry(case)
            case "line_failed":
                held = context.orders.row(order_id).state == "on_hold"  # by a case of its own, which is still open
                if not held:
                    self._watch(order_id)
                context.orders.skip_line(order_id, case.input["line"])
                return nothing if held else partial(self._restart, order_id)
            case "charge_by_hand":
                context.orders.set_billed(order_id, [case.input["line"]])
                return self._retry(case)
            case _:
                return nothing

    def _match(self, case: Case, record: str) -> Next:
        """Keep which record of a platform a customer is. Every order of the customer that waits for the answer goes
        on: it is not asked for twice."""
        context, platform = self._context, case.input["platform"]
        customer_id = context.orders.row(case.subject).customer_id
        matches.decide(context.database, customer_id, platform, record)
        asked = context.cases.open_of(customer_id, case.kind)
        same = [each for each in asked if each.input.get("platform") == platform]
        waiting = sorted({case.subject, *(each.subject for each in same)})
        for order_id in waiting:
            self._watch(order_id)
            context.orders.release(order_id, context.stalled_at())
        for each in same:
            if each.subject != case.subject:
                context.cases.close(each, f"decided with {case.id}")

        def go_on() -> None:
            for order_id in waiting:
                self._restart(order_id)

        return go_on

    def _watch(self, order_id: str) -> None:
        """Let the order be attempted even if this process dies before it is restarted."""
        self._context.orders.change(order_id, next_attempt_at=self._context.stalled_at().isoformat())

    def _show(self, order_id: str) -> Next:
        self._context.orders.change(order_id, crm_status="")  # the poll writes it if this process dies before it does
        return partial(write_status_to_crm, self._context, order_id)
