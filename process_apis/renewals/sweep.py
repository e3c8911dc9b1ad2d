"""The sweep: finds the contracts whose terms end soon, a few at a time, once a day.

Of several processes that take the same page, each finds the same. A contract that cannot be read stops no other, and
the next pass comes by again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
import structlog

from canonical.amendments import ends_on, mrr
from canonical.ids import derived
from policies.business.renewals import RENEWALS, RenewalPolicy
from process_apis.amendments.contract import RunningContract, running
from process_apis.records.amendments import Amendments
from process_apis.records.database import orders
from process_apis.records.renewals import Renewals
from process_apis.records.sweeps import SweepPlace
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

PAGE = 50
"""Contracts that a page has."""
PACE = timedelta(minutes=1)
"""From one page to the next: some 70,000 contracts a day."""
PASS = timedelta(days=1)
"""From the end of a pass to the next one."""
log = structlog.get_logger("tiergate.renewals")


class RenewalSweep:
    """Finds the terms that end, page by page."""

    def __init__(self, context: WorkflowContext, records: Renewals) -> None:
        self._context = context
        self._records = records
        self._amendments = Amendments(context.database, context.clock)
        self._not_before: datetime | None = None

    def go_on(self) -> None:
        """Look at the next page of contracts, if it is time. Without a policy none is read."""
        policies = RENEWALS.of(self._context.live_catalogue.current)
        now = self._context.clock()
        if policies and (self._not_before is None or now >= self._not_before):
            self._not_before = self._go_on(policies, now)

    def _go_on(self, policies: dict[str, RenewalPolicy], now: datetime) -> datetime:
        """Return when to come by again."""
        place = SweepPlace(self._context.database, "renewals")
        position, due = place.read(first_at=now)
        if due > now:
            return due
        page = (
            sa.select(orders.c.seq, orders.c.id, orders.c.legal_entity)
            .where(orders.c.seq > position, orders.c.state.in_(IN_FORCE), orders.c.legal_entity.in_(sorted(policies)))
            .order_by(orders.c.seq)
            .limit(PAGE)
        )
        with self._context.database.connect() as connection:
            rows = connection.execute(page).all()
        for row in rows:
            self._look_at(row.id, policies[row.legal_entity])
        is_last = len(rows) < PAGE
        due = now + (PASS if is_last else PACE)
        place.move(position, 0 if is_last else rows[-1].seq, due)
        return due

    def _look_at(self, order_id: str, policy: RenewalPolicy) -> None:
        try:
            found = running(self._context, self._amendments, self._context.orders.get(order_id))
            self._find(found, policy)
        except (msgspec.MsgspecError, LookupError, ValueError) as error:  # what is kept of it is broken
            log.warning("contract not read", order=order_id, reason=f"{type(error).__name__}: {error}")

    def _find(self, found: RunningContract, policy: RenewalPolicy) -> None:
        """Keep that a term ends within the days of notice, unless the contract ends then as was agreed."""
        contract, until = found.contract, ends_on(found.contract)
        if found.is_over or until is None or contract.ends_on is not None:
            return
        if found.today < until <= found.today + timedelta(days=policy.notice_days):
            before = mrr(contract.lines, contract.currency).amount
            self._records.find(
                contract.id,
                until,
                order_id=contract.order_id,
                customer_id=contract.customer_id,
                legal_entity=contract.legal_entity,
                mode=policy.mode,
                currency=contract.currency,
                mrr_before=before,
                mrr_after=before,
                correlation_id=derived("cor", "renewal", contract.id, until.isoformat()),
            )
