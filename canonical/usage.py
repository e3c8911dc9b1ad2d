"""Usage: what customers have used of a product that is charged by it, record by record and summed up for a period."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Literal

import msgspec

from canonical.billing import Contract
from canonical.ids import Instant, Key
from canonical.money import Money

Aggregation = Literal["sum", "max", "last", "unique", "weighted"]
"""How the records of a period become one quantity: added up, the largest, the latest, how many different values, or
the average of a level over the time that it had each value."""
DIGITS = 6
"""Digits after the point that a quantity may have."""
SCALE = 10**DIGITS
"""A quantity is kept as a whole number of so many parts of one."""
WIDE = Context(prec=60)
"""Digits enough for the sum of all that can be sent."""
QUANTITY = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?")
"""A quantity as it is sent: with its digits after the point it fits into 64 bits."""
MOST_NAMED = 100
"""So many broken lines are named in one answer."""
MICROSECONDS = 1_000_000
CorrectionOfPeriod = Literal["open", "carried_out", "rejected", "by_hand"]
"""What became of the difference between what was charged of a period and what its records come to."""


class UsageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of what is sent: so much of a meter was used under a contract at a moment.

    `id` is the sender's own key: under a contract and a meter, the same key is the same record. A record with `void`
    names one that counts no more, and says nothing else.
    """

    id: Key
    """Your own key of the record: under the same contract and meter, the same key is the same record."""
    contract_id: Key
    """The contract under which it was used."""
    meter: Annotated[str, msgspec.Meta(max_length=40)]
    """What was used, by its name among the meters."""
    at: Instant | None = None
    """The moment at which it was used, with its offset from UTC (RFC 3339)."""
    quantity: Annotated[str, msgspec.Meta(max_length=19)] | None = None
    """How much, as a decimal number without a sign: at most 12 digits before the point and 6 after it."""
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None
    """Of a meter that counts different values, which one; in the place of the quantity. It is kept as a digest."""
    void: bool = False
    """Whether the record with this key counts no more. Nothing but its key, contract and meter is said then."""


class UsageError(msgspec.Struct, frozen=True):
    """One line that was not taken."""

    line: int
    """Its number in what was sent, from 1."""
    path: str
    """Which field of it, as a JSON path such as `$.quantity`."""
    reason: str
    """What is wrong with it, in words."""


class UsageReceipt(msgspec.Struct, frozen=True):
    """What became of the records that were sent: each line with something on it is in one of the three numbers."""

    taken: int
    """How many were new, and are kept."""
    repeated: int
    """How many were there already, just as they were sent."""
    refused: int
    """How many were not taken."""
    errors: tuple[UsageError, ...] = ()
    """Why, line by line: the first 100 of them."""

    def plus(self, later: UsageReceipt) -> UsageReceipt:
        """Return the receipt of both parts of what was sent."""
        errors = (*self.errors, *later.errors)[:MOST_NAMED]
        return UsageReceipt(
            self.taken + later.taken, self.repeated + later.repeated, self.refused + later.refused, errors
        )


class MeterReading(msgspec.Struct, frozen=True):
    """What a meter says for one period of a contract, up to a moment."""

    meter: str
    """The name of the meter."""
    sku: str
    """The product that is charged by it."""
    unit: str
    """What one of it is, in words."""
    aggregation: Aggregation
    """How its records become one quantity."""
    starts_at: Instant
    """The first moment of the period."""
    ends_at: Instant
    """The first moment after it."""
    quantity: Decimal
    """What the records come to, as a decimal number of at most six digits after the point."""
    records: int
    """How many records count."""
    billed: Decimal | None = None
    """What billing has charged of the period by now, corrections included; null while it has nothing yet."""
    correction: CorrectionOfPeriod | None = None
    """What became of the difference last, where records came after that; null where there was none."""


class ContractUsage(msgspec.Struct, frozen=True):
    """What was used under a contract in one period of each of its meters."""

    contract_id: str
    """The contract under which it was used."""
    as_of: Instant
    """Up to when, this moment not included; the last second of a period is counted to its end. A level counts as an
    average up to then."""
    items: tuple[MeterReading, ...]
    """One for each meter of the contract's products."""


class UsageOfPeriod(msgspec.Struct, frozen=True):
    """What was used of one product under a contract in one period that is over, on its way to billing.

    `id` is its natural key: a period of a meter is handed over once. The period is that of the invoice for it.
    """

    id: Key
    """The natural key of it, of at most 100 characters."""
    contract: Contract
    """The contract, with billing's own names of its records."""
    sku: str
    """The product that is charged by it."""
    starts_at: Instant
    """The first moment of the period."""
    ends_at: Instant
    """The first moment after it."""
    quantity: Decimal
    """What was used, as a decimal number of at most six digits after the point."""


class UsageOrder(msgspec.Struct, frozen=True):
    """How much more of a period is to be charged than billing has charged of it; below nothing, how much less.

    `id` is our id of what asks for it. `attempt` counts how often it was asked for: people have it tried again after a
    refusal.
    """

    id: Key
    """Our id of what asks for it, of at most 100 characters."""
    period: UsageOfPeriod
    """The period, with the quantity that was handed over."""
    more: Decimal
    """How much more than was charged, as a decimal number of at most six digits after the point."""
    attempt: int = 1
    """How often it was asked for."""


class UsageCharge(msgspec.Struct, frozen=True):
    """Where billing has charged a period, and what it would charge for more of it; or what it does. What is less is
    credited of the line."""

    invoice_id: str = ""
    """The invoice of the period; empty while it is not issued, and of what is charged more."""
    line: str = ""
    """Billing's id of the line."""
    net: Money | None = None
    """What billing would charge for what is more, before tax; null for less, and while the invoice is not issued."""
    reference: str = ""
    """Billing's id of what charges it; empty before."""


class Level(msgspec.Struct, frozen=True):
    """A quantity from a moment on, until the next one; the moment is in microseconds since 1970 (UTC)."""

    at: int
    scaled: int


def scaled(quantity: str) -> int:
    """Return a quantity as a whole number of millionths. Raises `ValueError` for what is no such number."""
    found = QUANTITY.fullmatch(quantity)
    if found is None:
        raise ValueError("it is to be a number such as 12 or 0.25, of at most 12 digits and 6 after the point")
    return int(found[1]) * SCALE + int((found[2] or "").ljust(DIGITS, "0"))


def unscaled(found: Fraction | int) -> Decimal:
    """Return a number of millionths as a quantity, rounded half up once to six digits after the point."""
    exact = Fraction(found)
    whole = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    quantity = Decimal(whole).scaleb(-DIGITS, WIDE).normalize(WIDE)
    return quantity.quantize(Decimal(1), context=WIDE) if quantity == quantity.to_integral_value() else quantity


def weighted(levels: Iterable[Level], since: int, until: int, rests: Sequence[tuple[int, int]] = ()) -> Fraction:
    """Return the average level from `since` up to `until`, by second; both in seconds since 1970 (UTC).

    During `rests`, of which no two have a second in common, the level is 0, whatever is said of it. `levels` come in
    the order of their moments. The last one before `since` is the level then; without one it is 0. Of several within
    one second the last counts. It is 0 for a time that has no second.
    """

    def counted(start: int, end: int) -> int:
        return end - start - sum(max(0, min(end, over) - max(start, begun)) for begun, over in rests)

    total, level, reached = 0, 0, since
    for each in levels:
        at = min(max(each.at // MICROSECONDS, since), until)
        total += level * counted(reached, at)
        level, reached = each.scaled, at
    total += level * counted(reached, until)
    return Fraction(total, until - since) if until > since else Fraction(0)


def period_at(anchor: datetime, months: int, moment: datetime) -> tuple[datetime, datetime]:
    """Return the period that a moment is in, of those of so many months from `anchor` on: its first moment, and the
    first one after it, in UTC to the second.

    Each begins on the anchor's day of the month, or on the last one of a month that lacks it (Stripe: Set the
    subscription billing cycle). Raises `ValueError` for a moment before the anchor.
    """
    first = anchor.astimezone(UTC).replace(microsecond=0)
    at = moment.astimezone(UTC)
    if at < first:
        raise ValueError(f"{at} is before the first period, from {first} on")
    turn = (12 * (at.year - first.year) + at.month - first.month) // months
    while _later(first, turn * months) > at:
        turn -= 1
    while _later(first, (turn + 1) * months) <= at:
        turn += 1
    return _later(first, turn * months), _later(first, (turn + 1) * months)


def _later(first: datetime, months: int) -> datetime:
    place = first.month - 1 + months
    year, month = first.year + place // 12, place % 12 + 1
    return first.replace(year=year, month=month, day=min(first.day, calendar.monthrange(year, month)[1]))


def microseconds(moment: datetime) -> int:
    """Return a moment with a zone as microseconds since 1970 (UTC)."""
    return (moment - EPOCH) // MICROSECOND


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
