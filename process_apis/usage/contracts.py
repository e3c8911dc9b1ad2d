"""Under which contracts a caller may send records, which products they have, and when they run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from canonical.deals import MONTHS, PricedLine
from canonical.usage import microseconds
from policies.identity.authentication import Principal
from process_apis.amendments.contract import RunningContract, began, running
from process_apis.records import visibility
from process_apis.records.amendments import Amendments
from process_apis.records.database import orders, references
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

RECENT = timedelta(seconds=10)
"""For so long a contract is as it was read: thousands of records name the same one."""
MOST = 10_000
"""Contracts that are remembered at a time."""


class MeteredContract(msgspec.Struct, frozen=True):
    """What of a contract says whether a record can be taken. Moments are in microseconds since 1970 (UTC)."""

    order_id: str
    customer_id: str
    legal_entity: str
    began: datetime
    """The moment from which its periods count."""
    since: int
    until: int | None
    """The first moment at which it is over; None for one whose end nobody has agreed to."""
    rests: tuple[tuple[int, int | None], ...]
    """The times for which it is paused: nothing is used then, or charged."""
    months: dict[str, int]
    """How many months each invoice is for, by product."""

    def refuses(self, at: int) -> str:
        """Return why nothing can have been used at a moment; empty where it can."""
        if at < self.since:
            return "the contract had not begun then"
        if self.until is not None and at >= self.until:
            return "the contract was over then"
        if self.rests and any(since <= at and (until is None or at < until) for since, until in self.rests):
            return "the contract was paused then"
        return ""


class MeteredContracts:
    """Find contracts by the hundred."""

    def __init__(self, context: WorkflowContext) -> None:
        self._context = context
        self._amendments = Amendments(context.database, context.clock)
        self._known: dict[str, tuple[datetime, MeteredContract]] = {}

    def visible(self, contract_ids: Collection[str], principal: Principal) -> dict[str, MeteredContract]:
        """Return those of some contracts that are in force, or were, and that the caller may see. Whose they are is
        asked each time."""
        query = (
            sa.select(references.c.canonical_id, orders.c.id)
            .join(orders, orders.c.id == references.c.foreign_id)
            .where(
                references.c.kind == "con",
                references.c.platform == "order",
                references.c.canonical_id.in_(contract_ids),
                orders.c.state.in_(IN_FORCE),
                visibility.visible(orders, principal),
            )
        )
        with self._context.database.connect() as connection:
            rows = connection.execute(query).all()
        return {row.canonical_id: self._recent(row.canonical_id, row.id) for row in rows}

    def _recent(self, contract_id: str, order_id: str) -> MeteredContract:
        now = self._context.clock()
        read_at, known = self._known.get(contract_id, (now, None))
        if known is None or now - read_at >= RECENT:
            known = metered(running(self._context, self._amendments, self._context.orders.get(order_id)))
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[contract_id] = now, known
        return known


def metered(found: RunningContract) -> MeteredContract:
    """Return what of a contract says whether its records can be taken."""
    first = began(found.order, found.contract, found.zone)
    over_at = found.over_at
    rests = ((microseconds(each.since), each.until and microseconds(each.until)) for each in found.rests)
    contract = found.contract
    return MeteredContract(
        contract.order_id,
        contract.customer_id,
        contract.legal_entity,
        first,
        microseconds(first),
        over_at and microseconds(over_at),
        tuple(rests),
        _months(_lines(found)),
    )


def _lines(found: RunningContract) -> tuple[PricedLine, ...]:
    """Return all recurring lines that a contract has or had, those of now first: usage of a line that has ended may
    still come."""
    earlier = (line for each in reversed(found.versions) for line in (*each.preview.after, *each.preview.before))
    sold = (each.line for each in found.order.lines if each.state == "provisioned")
    return tuple(each for each in (*found.contract.lines, *earlier, *sold) if each.interval != "one_time")


def _months(lines: tuple[PricedLine, ...]) -> dict[str, int]:
    return {line.sku: line.billing_months or MONTHS[line.interval] for line in reversed(lines)}
