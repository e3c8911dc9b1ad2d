"""Hands a period over to billing once it is over: its quantity is fixed, and then charged by billing, once.

Each look decides by what is there: a quantity that is fixed is never worked out again, and billing finds what it has by
the period's own id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.states import IllegalTransition
from canonical.usage import UsageOfPeriod, period_at, unscaled
from policies.business.usage import METERS
from policies.context.correlation import correlated
from process_apis.amendments.contract import running
from process_apis.records.amendments import Amendments
from process_apis.records.database import usage_periods as usage_periods_table
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_periods import UsagePeriod, UsagePeriods
from process_apis.runtime.agenda import Agenda, retry
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome
from process_apis.usage.contracts import metered

NOT_BILLED: CaseKind = "usage_not_billed"
LATE: CaseKind = "usage_after_handover"
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
        with correlated(row.correlation_id):
            try:
                row = self._closed(row)
                self._put(row)
            except TRANSIENT as fault:
                self._failed(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                self._block(row, fault)
                return "stopped"
            with self._periods.at(row.id) as one:
                one.advance("handed_over", next_attempt_at=None)
            self._context.cases.resolve(row.id, "billing has it", NOT_BILLED)
        return "done"

    def _closed(self, row: sa.Row[Any]) -> sa.Row[Any]:
        """Fix the quantity of a period, unless it is fixed. What comes after that is late."""
        if row.state != "open":
            return row
        meter = METERS.of(self._context.live_catalogue.current).get(row.meter)
        if meter is None:
            raise Rejected("process", f"the catalogue has no meter {row.meter} any more", field="meter")
        with self._periods.at(row.id) as one:
            if one.row.state == "open":
                of = row.source, meter.aggregation, row.starts_at, row.ends_at
                found, _ = self._records.quantity_in(one.connection, *of)
                quantity = f"{unscaled(found):f}"
                one.advance("closed", next_attempt_at=self._context.stalled_at(), quantity=quantity)
            closed = one.row
        if meter.aggregation == "weighted" and Decimal(closed.quantity):
            self._go_on(closed)
        return closed

    def _go_on(self, row: sa.Row[Any]) -> None:
        """Let a level go on into the next period, where nobody may send it again."""
        found = metered(running(self._context, self._amendments(), self._context.orders.get(row.order_id)))
        months = found.months.get(row.sku)
        next_one = datetime.fromtimestamp(row.ends_at, UTC)
        if months and not found.refuses(row.ends_at * 1_000_000):
            start, end = period_at(found.began, months, next_one)
            present = UsagePeriod(*(getattr(row, name) for name in UsagePeriod._fields))
            self._periods.open(present._replace(starts_at=int(start.timestamp()), ends_at=int(end.timestamp())))

    def _put(self, row: sa.Row[Any]) -> None:
        contract = running(self._context, self._amendments(), self._context.orders.get(row.order_id)).contract
        starts_at, ends_at = (datetime.fromtimestamp(each, UTC) for each in (row.starts_at, row.ends_at))
        self._context.platforms.put_usage(
            UsageOfPeriod(row.id, contract, row.sku, starts_at, ends_at, Decimal(row.quantity))
        )

    def _amendments(self) -> Amendments:
        return Amendments(self._context.database, self._context.clock)

    def _failed(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Try again later; what fails again and again is for people to see, and tried on all the same."""
        attempts = row.attempts + 1
        again = retry(self._context, attempts, fault.retry_after)
        if again.needs_case:
            self._tell(row, fault)
        with self._periods.at(row.id) as one:
            reason = f"{fault.platform}: {fault.reason}"
            one.advance(one.row.state, next_attempt_at=again.at, blocked_reason=reason, attempts=attempts)

    def _block(self, row: sa.Row[Any], fault: Rejected | NotFound) -> None:
        with self._periods.at(row.id) as one:
            one.advance("blocked", next_attempt_at=None, blocked_reason=fault.reason)
        self._tell(row, fault)

    def _tell(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        finding = Finding(fault.field or fault.platform, fault.reason, fault.platform)
        open_case(self._context, row, "usage_not_billed", finding, ("retry", "skip"))


class UsageHandovers:
    """Starts what is due, looks at what came late, and acts on cases."""

    def __init__(self, context: WorkflowContext, engine: Engine, records: UsageRecords, periods: UsagePeriods) -> None:
        self._context = context
        self._engine = engine
        self._records = records
        self._periods = periods
        self.handover = UsageHandover(context, records, periods)
        self.agenda = Agenda(context, usage_periods_table)

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.handover.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a period that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(_run(row.id, row.run)) else None

    def came_late(self, rows: list[sa.Row[Any]]) -> None:
        """Ask people about periods whose records come to something else than what was handed over. Those about which
        they are asked already are not summed up again."""
        for row in rows:
            if not row.quantity or self._context.cases.is_open(row.id, LATE):
                continue
            meter = METERS.of(self._context.live_catalogue.current)[row.meter]
            found, _ = self._records.quantity(row.source, meter.aggregation, row.starts_at, row.ends_at)
            quantity = unscaled(found)
            if quantity != Decimal(row.quantity):
                until = datetime.fromtimestamp(row.ends_at, UTC).isoformat()
                reason = f"{row.quantity} of {row.meter} were handed over until {until}, and it is {quantity:f} by now"
                open_case(self._context, row, "usage_after_handover", Finding("quantity", reason), ("skip",))

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its period has come to."""
        if case.kind == LATE:
            return case.actions
        return () if self._periods.row(case.subject).state in OVER else case.actions

    def act(self, case: Case, action: Action) -> Next:
        """Hand a period over again, or leave it to people. Raises `IllegalTransition` for one that is over."""
        if case.kind == LATE:
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


def open_case(
    context: WorkflowContext, row: sa.Row[Any], kind: CaseKind, finding: Finding, actions: tuple[Action, ...]
) -> None:
    """Open a case about a period."""
    context.cases.open(
        kind,
        row.id,
        finding,
        actions,
        correlation_id=row.correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        given={"contract": row.contract_id, "meter": row.meter, "quantity": row.quantity},
    )


def _run(period_id: str, run: int) -> str:
    """Return the identity of a handover."""
    return f"usage:{period_id}:{run}"
