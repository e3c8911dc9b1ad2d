"""Under which contracts a caller may send records, which products they have, and when they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from canonical.amendments import changed_lines
from canonical.deals import MONTHS, PricedLine
from canonical.usage import MICROSECONDS, microseconds, period_at
from policies.identity.authentication import Principal
from process_apis.amendments.contract import RunningContract, began, running
from process_apis.records import visibility
from process_apis.records.amendments import Amendments, handovers
from process_apis.records.database import orders, references
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

RECENT = timedelta(seconds=10)
"""For so long a contract is as it was read: thousands of records name the same one."""
MOST = 10_000
"""Contracts that are remembered at a time."""


class Turn(NamedTuple):
    """From when on a product is invoiced for so many months at a time."""

    since: datetime
    months: int


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
    turns: dict[str, tuple[Turn, ...]]
    """For how many months each invoice is, by product, the earliest first."""
    holders: tuple[tuple[int, str], ...]
    """From when on which customer has or had it, or is to have it, where it goes or went to another one."""
    first_customer_id: str
    """Who has or had it before."""
    by_use: dict[str, tuple[tuple[int, int | None], ...]] = {}
    """From when up to when lines are charged by use, by product; none for a product whose price people have added."""

    def refuses(self, sku: str, at: int) -> str:
        """Return why nothing of a product can have been used at a moment; empty where it can."""
        if at < self.since:
            return "the contract had not begun then"
        if self.until is not None and at >= self.until:
            return "the contract was over then"
        if self.rests and any(since <= at and (until is None or at < until) for since, until in self.rests):
            return "the contract was paused then"
        return "" if self.sells(sku, at) else f"the contract had no {sku} then"

    def sells(self, sku: str, at: int) -> bool:
        """Return whether what is used of a product at a moment is charged."""
        times = self.by_use.get(sku, ((self.since, None),))
        return any(since <= at and (until is None or at < until) for since, until in times)

    def is_over(self, at: int) -> bool:
        """Return whether the contract is over at a moment."""
        return self.until is not None and at >= self.until

    def is_last(self, sku: str, starts_at: int, ends_at: int) -> bool:
        """Return whether who has the contract in a period is billed nothing more for it after its end: it is over then,
        or another customer's. Billing may count that from a few seconds later."""
        following = sum(self.period(sku, ends_at)) // 2 if sku in self.turns else ends_at
        after = max(ends_at, following) * MICROSECONDS
        return self.is_over(after) or self._holder(after)[1] != self.customer_of(starts_at, ends_at)

    def last_second(self, second: int) -> int:
        """Return a moment, or the last second of the contract where it is over by then."""
        return second if self.until is None else min(second, -(-self.until // MICROSECONDS) - 1)

    def period(self, sku: str, second: int) -> tuple[int, int]:
        """Return the first second of the period of a product that a moment is in, and the first one after it. It ends
        where other intervals begin. Raises `ValueError` for a moment before the contract."""
        start, whole_end = self._whole(sku, second)
        later = (int(each.since.timestamp()) for each in self.turns[sku])
        return start, min([whole_end, *(each for each in later if start < each)])

    def _whole(self, sku: str, second: int) -> tuple[int, int]:
        moment = datetime.fromtimestamp(second, UTC)
        turn = next((each for each in reversed(self.turns[sku]) if each.since <= moment), self.turns[sku][0])
        start, end = period_at(turn.since, turn.months, moment)
        return int(start.timestamp()), int(end.timestamp())

    def end_of(self, sku: str, starts_at: int, ends_at: int) -> int:
        """Return where a period ends that was to end at `ends_at`, as the contract is now."""
        end = self.interval_end(sku, starts_at, ends_at)
        return max(starts_at, end if self.until is None else min(end, -(-self.until // MICROSECONDS)))

    def interval_end(self, sku: str, starts_at: int, ends_at: int) -> int:
        """Return where a period ends that was to end at `ends_at`, whether the contract is over before that or not."""
        return min(ends_at, self.period(sku, starts_at)[1]) if sku in self.turns else ends_at

    def level_time(self, sku: str, starts_at: int, ends_at: int) -> tuple[int, list[tuple[int, int]]]:
        """Return up to when the level of a period is averaged, and the times in which it is 0: for a period that ends
        early, too, billing's price is for all of its months."""
        until = max(ends_at, self._whole(sku, starts_at)[1]) if sku in self.turns else ends_at
        return until, [*self.paused(ends_at), (ends_at, until)]

    def level_rests(self, until: int) -> list[tuple[int, int]]:
        """Return the times before a moment in which a level is 0: the contract is paused, or over."""
        over = until if self.until is None else min(until, -(-self.until // MICROSECONDS))
        return [*self.paused(over), (over, until)]

    def paused(self, until: int) -> list[tuple[int, int]]:
        """Return the times before a moment for which the contract is paused, in seconds."""
        ends = ((each, until if end is None else min(until, end // MICROSECONDS)) for each, end in self.rests)
        return [(start // MICROSECONDS, end) for start, end in ends if start // MICROSECONDS < end]

    def customer_of(self, starts_at: int, ends_at: int) -> str:
        """Return who has the contract in a period. A handover is at the end of one, which billing may count from a few
        seconds later."""
        return self._holder((starts_at + ends_at) // 2 * MICROSECONDS)[1]

    def own_since(self, principal: Principal, now: int) -> int:
        """Return the moment before which nothing of the contract is the caller's: a partner sees and changes nothing of
        the time in which another customer had it."""
        return self._holder(now)[0] if principal.partner else self.since

    def is_shared(self, principal: Principal) -> bool:
        """Return whether a part of what was used is not the caller's."""
        return bool(principal.partner and self.holders)

    def _holder(self, at: int) -> tuple[int, str]:
        return next((each for each in reversed(self.holders) if each[0] <= at), (self.since, self.first_customer_id))


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
    moves = [(each, terms) for each in handovers(found.versions) if (terms := each.preview.transfer)]
    return MeteredContract(
        contract.order_id,
        contract.customer_id,
        contract.legal_entity,
        first,
        microseconds(first),
        over_at and microseconds(over_at),
        tuple(rests),
        _turns(found, first.replace(microsecond=0)),
        tuple((microseconds(each.since), terms.customer_id) for each, terms in moves),
        moves[0][1].former_id if moves else contract.customer_id,
        _by_use(found, first),
    )


def _by_use(found: RunningContract, first: datetime) -> dict[str, tuple[tuple[int, int | None], ...]]:
    """Return from when up to when lines of a contract are charged by use, by product: also of what is to end, and is
    left as it is until its last period is billed."""
    times: dict[str, list[tuple[int, int | None]]] = {}
    for each in found.order.lines:
        if each.line.meter and each.state == "provisioned":
            times[each.line.sku] = [(microseconds(first), None)]
    for version in found.versions:
        since = microseconds(version.since)
        for was, now in changed_lines(version.preview.before, version.preview.after):
            if was and was.meter and now is None and times.get(was.sku):
                times[was.sku][-1] = times[was.sku][-1][0], since
            elif now and now.meter and was is None:
                times.setdefault(now.sku, []).append((since, None))
    return {sku: tuple(each) for sku, each in times.items()}


def _turns(found: RunningContract, first: datetime) -> dict[str, tuple[Turn, ...]]:
    """Return for how many months each invoice is of the recurring products that a contract has or had: usage of a line
    that has ended may still come. Lines of other intervals begin periods of their own."""
    sold = tuple(each.line for each in found.order.lines if each.state == "provisioned")
    made = [(each.since.replace(microsecond=0), each.preview.after) for each in found.versions if not each.is_future]
    turns: dict[str, list[Turn]] = {}
    for since, lines in [(first, sold), *made]:
        for sku, months in _months(lines).items():
            known = turns.setdefault(sku, [Turn(first, min(months))])
            if known[-1].months not in months:
                if known[-1].since >= since:
                    known.pop()
                known.append(Turn(since, min(months)))
    to_come = (line for each in found.versions for line in (*each.preview.before, *each.preview.after))
    for sku, months in _months((*found.contract.lines, *to_come)).items():
        turns.setdefault(sku, [Turn(first, min(months))])
    return {sku: tuple(each) for sku, each in turns.items()}


def _months(lines: Iterable[PricedLine]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for line in lines:
        if line.interval != "one_time":
            found.setdefault(line.sku, set()).add(line.billing_months or MONTHS[line.interval])
    return found
