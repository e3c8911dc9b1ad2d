"""Hands a period over to billing once it is over: its quantity is fixed, and then charged by billing, once.

Each look decides by what is there: a quantity that is fixed is never worked out again, and billing finds what it has by
the period's own id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.states import IllegalTransition
from canonical.usage import UsageOfPeriod
from policies.business.usage import METERS
from policies.context.correlation import correlated
from process_apis.amendments.contract import of_former
from process_apis.records.database import usage_periods as usage_periods_table
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_periods import BEFORE_THE_LAST, SETTLES, OneUsagePeriod, UsagePeriods
from process_apis.runtime.agenda import Agenda, retry
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome
from process_apis.usage.contracts import MeteredContract, metered
from process_apis.usage.late import LATE, QUANTITY, TWICE, LateUsage, contract_of, go_on, open_case, summed

NOT_BILLED: CaseKind = "usage_not_billed"
OVER = ("handed_over", "by_hand")
"""The states of a period that nobody has to see to any more."""


@DBOS.dbos_class("UsageHandover")
class UsageHandover(DBOSConfiguredInstance):
    """The workflow of a period that is over."""

    def __init__(self, context: WorkflowContext, records: UsageRecords, periods: UsagePeriods) -> None:
        super().__init__("usage_handover")
        self._context = context
        self._records = records
        self._periods = periods
        self._running = partial(contract_of, context)

    @DBOS.workflow(name="UsageHandover.run")
    def run(self, period_id: str) -> Outcome:
        return self.hand_over(period_id)

    @DBOS.step(name="UsageHandover.hand_over")
    @resumable
    def hand_over(self, period_id: str) -> Outcome:
        """Bring a period to billing, or plan when to try again."""
        row = self._periods.row(period_id)
        if row.next_attempt_at is None:
            return "done"
        if row.state in OVER:  # people have charged it while this was on its way
            with self._periods.at(row.id) as one:
                one.advance(one.row.state, next_attempt_at=None, blocked_reason=one.row.blocked_reason)
            return "done"
        with correlated(row.correlation_id):
            try:
                row = self._closed(row)
                if row.state == "open":
                    return "done"
                self._put(row)
            except TRANSIENT as fault:
                self._failed(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                self._block(row, fault)
                return "stopped"
            with self._periods.at(row.id) as one:
                if is_by_hand := one.row.state == "by_hand":
                    self._tell_of_both(one)
                else:
                    one.advance("handed_over", next_attempt_at=None)
            if not is_by_hand:
                self._context.cases.resolve(row.id, "billing has it", NOT_BILLED)
        return "done"

    def _closed(self, row: sa.Row[Any]) -> sa.Row[Any]:
        """Fix the quantity of a period, unless it is fixed, and return it as it is then; what comes after that is late.
        One that is to end later is open still."""
        if row.state != "open":
            return row
        meter = METERS.of(self._context.live_catalogue.current).get(row.meter)
        if meter is None:
            raise Rejected("process", f"the catalogue has no meter {row.meter} any more", field="meter")
        contract = metered(self._running(row))
        ends_at = contract.end_of(row.sku, row.starts_at, row.ends_at)
        due = self._due(contract, row, ends_at)
        with self._periods.at(row.id) as one:
            if one.row.state != "open":
                return one.row
            if self._context.clock() < due:  # the end of a contract may be moved until it comes
                whole = contract.interval_end(row.sku, row.starts_at, row.ends_at)
                one.advance("open", next_attempt_at=due, ends_at=whole)
                return one.row
            one.advance("open", next_attempt_at=due, ends_at=ends_at)
            found = summed(self._records, contract, one.row, meter.aggregation, one.connection)
            one.advance("closed", next_attempt_at=self._context.stalled_at(), quantity=f"{found:f}")
            if meter.aggregation == "weighted":
                go_on(self._periods, contract, one.row, one.connection)
            return one.row

    def _due(self, contract: MeteredContract, row: sa.Row[Any], ends_at: int) -> datetime:
        """Return when a period is to be closed that ends at `ends_at`: once its last records have come; but before the
        end, where billing issues its last invoice then, and what comes later is late."""
        end = datetime.fromtimestamp(ends_at, UTC)
        is_last = self._context.clock() < end and contract.is_last(row.sku, row.starts_at, ends_at)
        return end - BEFORE_THE_LAST if is_last else end + SETTLES

    def _put(self, row: sa.Row[Any]) -> None:
        if row.starts_at == row.ends_at:
            return  # the contract was over before: there is nothing to charge, and no subscription to charge it on
        self._context.platforms.put_usage(usage_of(self._context, row))

    def _failed(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Try again later; what fails again and again is for people to see, and tried on all the same."""
        attempts = row.attempts + 1
        again = retry(self._context, attempts, fault.retry_after)
        with self._periods.at(row.id) as one:
            if one.row.state in OVER:
                return
            reason = f"{fault.platform}: {fault.reason}"
            one.advance(one.row.state, next_attempt_at=again.at, blocked_reason=reason, attempts=attempts)
        if again.needs_case:
            self._tell(row, fault)

    def _block(self, row: sa.Row[Any], fault: Rejected | NotFound) -> None:
        with self._periods.at(row.id) as one:
            if one.row.state in OVER:
                return
            one.advance("blocked", next_attempt_at=None, blocked_reason=fault.reason)
        self._tell(row, fault)

    def _tell_of_both(self, one: OneUsagePeriod) -> None:
        """Ask people about a period that billing has taken while somebody left it to be charged by hand."""
        reason = (
            f"billing has taken {one.row.quantity} of {one.row.meter} after all, which was left to be charged by hand: "
            "see that it is charged once"
        )
        finding = Finding(TWICE, reason)
        open_case(self._context, one.row, "usage_after_handover", finding, ("skip",), connection=one.connection)

    def _tell(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        finding = Finding.of(fault)
        open_case(self._context, row, "usage_not_billed", finding, ("retry", "skip"))


class UsageHandovers:
    """Starts what is due, and acts on cases."""

    def __init__(
        self,
        context: WorkflowContext,
        engine: Engine,
        records: UsageRecords,
        periods: UsagePeriods,
        late: LateUsage,
    ) -> None:
        self._context = context
        self._engine = engine
        self._periods = periods
        self._late = late
        self.handover = UsageHandover(context, records, periods)
        self.agenda = Agenda(context, usage_periods_table)

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.handover.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a period that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(_run(row.id, row.run)) else None

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its period has come to."""
        if case.kind == LATE:
            return case.actions
        return () if self._periods.row(case.subject).state in OVER else case.actions

    def act(self, case: Case, action: Action) -> Next:
        """Hand a period over again, or leave it to people. Raises `IllegalTransition` for one that is over."""
        if case.kind == LATE:
            if case.field == QUANTITY:  # more may have come since people have read it
                return partial(self._late.came, [self._periods.row(case.subject)])
            return nothing
        with self._periods.at(case.subject) as one:
            if one.row.state in OVER:
                raise IllegalTransition(f"a period that is {one.row.state} allows no {action}")
            if action == "retry":
                state = "closed" if one.row.quantity else "open"
                one.advance(state, next_attempt_at=self._context.clock())
            else:
                one.advance("by_hand", next_attempt_at=None, blocked_reason=f"{action}: {case.reason}")
        return nothing


def usage_of(context: WorkflowContext, row: sa.Row[Any]) -> UsageOfPeriod:
    """Return what billing is asked to charge for a period, with the contract of the customer who had it then. Raises
    `Rejected` where billing is not known to have that customer."""
    found = contract_of(context, row)
    contract, customer = found.contract, metered(found).customer_of(row.starts_at, row.ends_at)
    if customer != contract.customer_id:
        former = of_former(context, contract, customer)
        if former is None:
            reason = f"billing is not known to have {customer}, who had the contract: charge it by hand"
            raise Rejected("process", reason, field="customer")
        contract = former
    starts_at, ends_at = (datetime.fromtimestamp(each, UTC) for each in (row.starts_at, row.ends_at))
    return UsageOfPeriod(row.id, contract, row.sku, starts_at, ends_at, Decimal(row.quantity))


def _run(period_id: str, run: int) -> str:
    """Return the identity of a handover."""
    return f"usage:{period_id}:{run}"
