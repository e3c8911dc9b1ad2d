"""Holds periods that are over against their records: what is charged and what they come to by now may differ.

Of a period that billing has charged, the difference is a usage correction, which people decide about. Of one that
people have charged by hand it is a case.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, CaseKind, Finding
from canonical.deals import plain
from canonical.usage import MICROSECONDS, Aggregation, unscaled
from policies.business.usage import METERS
from process_apis.amendments.contract import RunningContract, running
from process_apis.records.amendments import Amendments
from process_apis.records.database import usage_corrections, writing
from process_apis.records.usage import UsageRecords, level_before
from process_apis.records.usage_corrections import (
    ENDED,
    UNPRICED,
    UsageCorrections,
    settled_after,
    with_sender,
)
from process_apis.records.usage_periods import UsagePeriod, UsagePeriods
from process_apis.runtime.context import WorkflowContext
from process_apis.usage.contracts import MeteredContract, metered

LATE: CaseKind = "usage_after_handover"
QUANTITY, TWICE = "quantity", "charged"
"""What a case after a handover is about: other records came, or people have charged it as well."""
SETTLED, BY_NOW = "settled", "by_now"
"""What the input of such a case calls the quantity that is charged, and what the records come to. Once it is closed,
that is settled."""


class LateUsage:
    """Compare periods with their records."""

    def __init__(self, context: WorkflowContext, records: UsageRecords, periods: UsagePeriods) -> None:
        self._context = context
        self._records = records
        self._periods = periods
        self._corrections = UsageCorrections(context.database, context.clock)

    def came(self, rows: list[sa.Row[Any]], sent_by: str = "") -> None:
        """Compare periods that records came for, or were made void in, after they were closed; of a level those after
        them too. `sent_by` is who sent them."""
        meters = METERS.of(self._context.live_catalogue.current)
        for row in rows:
            meter = meters.get(row.meter)
            if meter is None:
                continue
            contract = metered(contract_of(self._context, row))
            concerned = [row]
            if meter.aggregation == "weighted":
                concerned = [each for each in self._periods.since(row) if each.state != "open"]
                with writing(self._context.database) as connection:
                    for each in concerned:
                        go_on(self._periods, contract, each, connection)
            for each in concerned:
                self._compare(each, contract, meter.aggregation, sent_by)

    def again(self, period_id: str) -> None:
        """Compare a period alone, whose correction has ended: records may have come meanwhile."""
        row = self._periods.row(period_id)
        meter = METERS.of(self._context.live_catalogue.current).get(row.meter)
        if meter is not None:
            self._compare(row, metered(contract_of(self._context, row)), meter.aggregation, "")

    def _compare(self, row: sa.Row[Any], contract: MeteredContract, aggregation: Aggregation, sent_by: str) -> None:
        was_reported = (
            self._context.cases.last_of(row.id, LATE, QUANTITY) is not None
        )  # what people settle so is in cases
        with self._periods.at(row.id) as one:
            period = one.row
            if not period.quantity or not period.is_whole:  # some records are kept no more, and all were charged
                return
            quantity = summed(self._records, contract, period, aggregation, one.connection)
            is_for_people = period.state == "by_hand" or was_reported
            if not is_for_people:
                self._correct(one.connection, period, quantity, sent_by)
        if is_for_people:
            self._tell(period, quantity)

    def _correct(self, connection: sa.Connection, period: sa.Row[Any], quantity: Decimal, sent_by: str) -> None:
        """Begin the next correction of a period, or change the one that nobody has approved yet. One that is being
        carried out stays as it is: once it has ended, the period is compared again."""
        last = self._corrections.last_in(connection, period.id)
        if last is None or last.state in ENDED:
            if settled_after(period, last).difference(quantity):
                self._corrections.begin(connection, period, last, quantity, sent_by)
            return
        one = self._corrections.one(connection, last.id)
        sent = with_sender(one.row.sent_by, sent_by)
        if one.row.state in ENDED:  # it has ended in this moment, and is to look at the period itself
            self._note(connection, last.id, sent)
            return
        difference = settled_after(period, one.row).difference(quantity)
        if "approved" in (one.row.state, one.row.held_in) or quantity == Decimal(one.row.quantity):
            self._note(connection, last.id, sent)
            return
        said = {"quantity": plain(quantity), "difference": plain(difference), "sent_by": sent, "held_in": ""}
        said |= UNPRICED | {"revision": one.row.revision + 1}
        one.advance("found" if difference else "gone", next_attempt_at=self._context.clock(), **said)

    def _note(self, connection: sa.Connection, correction_id: str, sent_by: str) -> None:
        this = usage_corrections.update().where(usage_corrections.c.id == correction_id)
        connection.execute(this.values(sent_by=sent_by))

    def _tell(self, row: sa.Row[Any], quantity: Decimal) -> None:
        """Ask people about a period that they have charged by hand, or have been asked about in this way before."""
        last = self._context.cases.last_of(row.id, LATE, QUANTITY)
        present = last if last and last.state == "open" else None
        settled = Decimal(row.quantity)
        if last is not None:
            settled = Decimal(last.input.get(SETTLED if present else BY_NOW) or row.quantity)
        given = {SETTLED: f"{settled:f}", BY_NOW: f"{quantity:f}"}
        if quantity == settled:
            if present:
                self._context.cases.restate(present, present.reason, present.input | given)
                self._context.cases.close(present, "it comes to the same again")
            return
        until = datetime.fromtimestamp(row.ends_at, UTC).isoformat()
        reason = f"{row.quantity} of {row.meter} were charged until {until}, and it is {quantity:f} by now"
        if settled != Decimal(row.quantity):
            reason = f"{reason}: {settled:f} is settled"
        if present is None:  # who has read one settles what it says: the rest is another one, once it is closed
            open_case(self._context, row, LATE, Finding(QUANTITY, reason), ("skip",), given)


def open_case(
    context: WorkflowContext,
    row: sa.Row[Any],
    kind: CaseKind,
    finding: Finding,
    actions: tuple[Action, ...],
    more: dict[str, str] | None = None,
    connection: sa.Connection | None = None,
) -> None:
    """Open a case about a period, in a transaction of its own or the caller's."""
    context.cases.open(
        kind,
        row.id,
        finding,
        actions,
        correlation_id=row.correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        connection=connection,
        given={"contract": row.contract_id, "meter": row.meter, "quantity": row.quantity} | (more or {}),
    )


def summed(
    records: UsageRecords,
    contract: MeteredContract,
    row: sa.Row[Any],
    aggregation: Aggregation,
    connection: sa.Connection | None = None,
) -> Decimal:
    """Return what the records of a period come to, in a transaction of its own or the caller's."""
    until, rests = row.ends_at, list[tuple[int, int]]()
    if aggregation == "weighted":
        until, rests = contract.level_time(row.sku, row.starts_at, row.ends_at)
    of = row.source, aggregation, row.starts_at, until, rests
    found, _ = records.quantity(*of) if connection is None else records.quantity_in(connection, *of)
    return unscaled(found)


def go_on(periods: UsagePeriods, contract: MeteredContract, row: sa.Row[Any], connection: sa.Connection) -> None:
    """Let a level go on into the next period, where nobody may send it again, also while the contract is paused."""
    is_over = row.sku not in contract.turns or contract.is_over(row.ends_at * MICROSECONDS)
    if is_over or not level_before(connection, row.source, row.ends_at):
        return
    middle = sum(contract.period(row.sku, row.ends_at)) // 2  # billing may count a change from a few seconds later
    if not contract.sells(row.sku, middle * MICROSECONDS):
        return
    former = UsagePeriod(*(getattr(row, name) for name in UsagePeriod._fields))

    def meant(_source: int, second: int) -> UsagePeriod:
        start, end = contract.period(row.sku, second)
        customer = contract.customer_of(start, end)
        return former._replace(starts_at=start, ends_at=end, customer_id=customer)

    periods.locked(connection, [(row.source, row.ends_at * MICROSECONDS)], meant)


def contract_of(context: WorkflowContext, row: sa.Row[Any]) -> RunningContract:
    return running(context, Amendments(context.database, context.clock), context.orders.get(row.order_id))
