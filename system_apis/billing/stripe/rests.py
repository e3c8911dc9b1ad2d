"""Contracts that rest: the collection of their subscriptions is paused, and what is billed meanwhile is void at once.

Stripe bills on while collection is paused (Pause payment collection, `behavior=void`), so the periods of a contract
stay where they are, and the first one after the pause is charged whole. A contract rests and goes on as a whole: at a
moment at which no part of it is paid for any further.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import msgspec

from canonical.amendments import ContractChange, Pause, Resume, ends_on
from canonical.faults import Rejected
from system_apis.billing.stripe.periods import ends_near, moment_of, months_of, period_of

Row = dict[str, Any]
BEFORE_IT_GOES_ON = timedelta(hours=1)
"""How long before the first period that is charged again a pause is over: Stripe voids what is created before its end,
and nothing is created in that hour."""


class Rest(msgspec.Struct, frozen=True):
    """When a contract begins to rest, or goes on, and when a pause is over by itself; null where people ask for that.

    Both are null where all is done already.
    """

    turns_at: datetime | None
    resumes_at: datetime | None = None


def rest(change: ContractChange, rows: Sequence[Row], zone: tzinfo) -> Rest:
    """Return when the subscriptions of a contract begin to rest, or go on: with the end of the periods that run.

    Raises `Rejected` where these do not all end on one day, and for an end of a pause with which not all begin one.
    """
    ends = [moment_of(period_of(each)[1]) for each in rows]
    if len({each.astimezone(zone).date() for each in ends}) > 1:
        reason = (
            f"the periods of {change.contract.id} end on different days, the last one on "
            f"{max(ends).astimezone(zone):%Y-%m-%d}: ask once all that run end on one day. Those that begin on "
            "different days of a month never do"
        )
        raise Rejected("billing", reason, field="actions[0]")
    turns_at = max(ends, default=None)
    until = change.pause.until if isinstance(change.pause, Pause) else None
    if until is None or turns_at is None:
        return Rest(turns_at)
    resumes: list[datetime] = []
    for row in rows:
        starts = ends_near(moment_of(row["billing_cycle_anchor"]), months_of(row), until)
        later = [each for each in starts if each > turns_at]
        if not (found := [each for each in later if each.astimezone(zone).date() == until]):
            days = " or ".join(f"{each.astimezone(zone):%Y-%m-%d}" for each in later)
            reason = f"a period of {change.contract.id} has to begin on the day: take {days}"
            raise Rejected("billing", reason, field="actions[0].until")
        resumes += found
    return Rest(turns_at, max(resumes))


def check_in_time(change: ContractChange, found: Rest, zone: tzinfo) -> None:
    """Raise `Rejected` where the period is over with which a contract was to rest, or to go on: what has come after it
    is charged, or void. A part of it may be done already: what is left may turn at another moment of the same day."""
    if found.turns_at and found.turns_at.astimezone(zone).date() != change.effective_at.astimezone(zone).date():
        at = f"{change.effective_at:%Y-%m-%d %H:%M} UTC"
        reason = f"the period of {change.contract.id} that ends at {at} does not run: give the change up, and ask again"
        raise Rejected("billing", reason, field="effective_at")


def check_begins(change: ContractChange, found: Rest, now: datetime, zone: tzinfo) -> None:
    """Raise `Rejected` for a pause that would begin when the contract is over. One that has gone on after its term has
    no such end."""
    over, turns_at = ends_on(change.contract), found.turns_at
    if over is None or turns_at is None or over <= now.astimezone(zone).date():
        return
    if turns_at.astimezone(zone).date() >= over:
        reason = (
            f"the period that is paid is the last one of {change.contract.id}, which ends on {over}: renew it first"
        )
        raise Rejected("billing", reason, field="actions[0]")


def check_paid(change: ContractChange, found: Rest, others: Iterable[Row], zone: tzinfo) -> None:
    """Raise `Rejected` where a part of a contract that is to end is paid beyond the moment at which the others would
    begin to rest: its service would be suspended though it is paid."""
    paid = max((moment_of(period_of(each)[1]) for each in others), default=None)
    if paid and found.turns_at and paid.astimezone(zone).date() > found.turns_at.astimezone(zone).date():
        until = f"{paid.astimezone(zone):%Y-%m-%d}"
        reason = f"a part of {change.contract.id} that is to end is paid until {until}: ask once that is over"
        raise Rejected("billing", reason, field="actions[0]")


def check_settled(has_pending: Iterable[bool]) -> None:
    """Raise `Rejected` where a subscription has what is settled with its next invoice, which would be void."""
    if any(has_pending):
        reason = "an earlier change is settled with the next invoice, which would be void: ask once that is issued"
        raise Rejected("billing", reason, field="actions[0]")


def collection(wanted: Pause | Resume, found: Rest) -> Row | str:
    """Return how the collection of a subscription is paused; an empty text ends that."""
    if isinstance(wanted, Resume):
        return ""
    until = {"resumes_at": int((found.resumes_at - BEFORE_IT_GOES_ON).timestamp())} if found.resumes_at else {}
    return {"behavior": "void"} | until
