"""Takes records of usage: each line is judged for itself, and all that are good are kept together, once each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.usage import (
    MOST_NAMED,
    UsageError,
    UsageReceipt,
    UsageRecord,
    microseconds,
    scaled,
)
from policies.business.usage import LONGEST_LINE, METERS, MOST_AHEAD, TOO_LONG, Meter
from policies.contract.bodies import decoded_body
from policies.contract.conformance import unfit
from policies.identity.authentication import Principal
from policies.problems import FieldError, ProblemError, bounded
from process_apis.records.usage import UsageRecords, UsageRow, Void
from process_apis.records.usage_periods import UsagePeriod, UsagePeriods
from process_apis.runtime.context import WorkflowContext
from process_apis.usage.contracts import MeteredContract, MeteredContracts

DECODER = msgspec.json.Decoder(UsageRecord)
DIGEST = 16
"""Bytes that stand for a value: no two of a trillion are taken for the same."""


class LineRefused(ValueError):
    """A record that is not taken: `field` is what of it is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class Intake:
    """Take the records of one call, or of a part of it."""

    def __init__(
        self,
        context: WorkflowContext,
        contracts: MeteredContracts,
        records: UsageRecords,
        periods: UsagePeriods,
        came_late: Callable[[list[sa.Row[Any]], str], None],
    ) -> None:
        """`came_late` is called with the periods that records came for which are closed, and with who sent them."""
        self._context = context
        self._contracts = contracts
        self._records = records
        self._periods = periods
        self._came_late = came_late

    def take(self, body: bytes, first_line: int, principal: Principal) -> UsageReceipt:
        """Keep the records in `body`, which is lines of JSON of which the first has the number `first_line`. Return
        what became of them; a line that is not taken stops no other."""
        broken: dict[int, UsageError] = {}
        refused = 0
        found: list[tuple[int, UsageRecord]] = []
        for number, line in enumerate(body.split(b"\n"), first_line):
            try:
                if len(line) <= LONGEST_LINE:
                    found.append((number, DECODER.decode(line)))
                    continue
            except (msgspec.DecodeError, UnicodeDecodeError):
                if not line.strip():
                    continue
            refused += 1
            if len(broken) < MOST_NAMED:
                broken[number] = _unread(number, line)
        rows, voids, numbers, wrong, finder = self._judged(found, principal)
        closed: list[sa.Row[Any]] = []

        def lock(connection: sa.Connection, moments: Sequence[tuple[int, int]]) -> None:
            locked = self._periods.locked(connection, moments, finder.period)
            closed.extend(row for row in locked if row.state != "open")

        kept = self._records.keep(rows, voids, lock)
        if closed:  # also of records that were there: who sent them may have heard nothing of it
            self._came_late(closed, principal.subject)
        wrong += [(numbers[place], "$.id", "another record has this key already") for place in kept.other]
        for number, path, reason in wrong:
            broken[number] = UsageError(number, path, reason)
        errors = tuple(broken[number] for number in sorted(broken))[:MOST_NAMED]
        return UsageReceipt(kept.taken, kept.repeated, refused + len(wrong), errors)

    def _judged(
        self, found: list[tuple[int, UsageRecord]], principal: Principal
    ) -> tuple[list[UsageRow], list[Void], list[int], list[tuple[int, str, str]], PeriodFinder]:
        """Return what can be kept of records, the numbers of its lines, what is wrong with the others, and what finds
        the periods of what can be kept."""
        meters = METERS.of(self._context.live_catalogue.current)
        contracts = self._contracts.visible({each.contract_id for _, each in found}, principal)
        now = self._context.clock()
        ahead = microseconds(now + timedelta(seconds=MOST_AHEAD))
        oldest = {name: microseconds(now - timedelta(days=meter.late_days)) for name, meter in meters.items()}
        sources: dict[tuple[str, str], int] = {}
        finder = PeriodFinder()
        rows, voids, numbers = list[UsageRow](), list[Void](), list[int]()
        wrong: list[tuple[int, str, str]] = []
        for number, record in found:
            of = record.contract_id, record.meter
            try:
                meter, contract = _measured(record, meters, contracts)
                row = _row(record, meter, contract, oldest[record.meter], ahead)
                own_since = contract.own_since(principal, microseconds(now))
                _check_own(row, own_since)
                if (source := sources.get(of)) is None:
                    source = sources[of] = self._records.source(*of)
                    finder.add(source, record, meter, contract)
                if row is None:
                    if contract.is_shared(principal):
                        self._check_there(source, record.id, own_since)
                    voids.append(Void(source, record.id))
                else:
                    rows.append(UsageRow(source, *row))
                    numbers.append(number)
            except LineRefused as refusal:
                wrong.append((number, f"$.{refusal.field}", str(refusal)))
        return rows, voids, numbers, wrong, finder

    def _check_there(self, source: int, key: str, own_since: int) -> None:
        """Raise `LineRefused` for what a partner makes void, and is not there or of the time of another customer."""
        if not self._records.holds(source, key, own_since):
            raise LineRefused("id", "there is no record with this key since the customer has the contract")


class PeriodFinder:
    """Say where the periods of records are."""

    def __init__(self) -> None:
        self._sources: dict[int, tuple[UsageRecord, Meter, MeteredContract]] = {}

    def add(self, source: int, record: UsageRecord, meter: Meter, contract: MeteredContract) -> None:
        """Let records of a source be found, of which one is given."""
        self._sources[source] = record, meter, contract

    def period(self, source: int, second: int) -> UsagePeriod:
        """Return the period of a source that a moment (seconds since 1970, UTC) is in."""
        record, meter, contract = self._sources[source]
        bounds = contract.period(meter.sku, second)
        whose = contract.order_id, contract.customer_of(*bounds), contract.legal_entity
        return UsagePeriod(source, *bounds, record.contract_id, *whose, record.meter, meter.sku)


def _measured(
    record: UsageRecord, meters: Mapping[str, Meter], contracts: Mapping[str, MeteredContract]
) -> tuple[Meter, MeteredContract]:
    """Return the meter and the contract of a record. Raises `LineRefused`; of somebody else's contract it says the same
    as of one that is not there."""
    meter, contract = meters.get(record.meter), contracts.get(record.contract_id)
    if meter is None:
        raise LineRefused("meter", f"there is no meter of this name; there are {', '.join(sorted(meters)) or 'none'}")
    if contract is None:
        raise LineRefused("contract_id", "there is no such contract in force")
    if meter.sku not in contract.turns:
        raise LineRefused("meter", f"the contract has no {meter.sku}, which this meter is for")
    return meter, contract


def _row(
    record: UsageRecord, meter: Meter, contract: MeteredContract, oldest: int, ahead: int
) -> tuple[int, str, int, str] | None:
    """Return the moment, the key, the quantity and the digest of a record, None for one that makes another void. Raises
    `LineRefused`."""
    if record.void:
        return _check_void(record)
    if record.at is None:
        raise LineRefused("at", "it is missing")
    at = microseconds(record.at)
    if at > ahead:
        raise LineRefused("at", f"it is more than {MOST_AHEAD // 60} minutes ahead")
    if at < oldest:
        raise LineRefused("at", f"it is more than {meter.late_days} days ago")
    if reason := contract.refuses(meter.sku, at):
        raise LineRefused("at", reason)
    if meter.aggregation == "unique":
        if record.value is None or record.quantity is not None:
            raise LineRefused("value", "the meter counts different values: give the value, and no quantity")
        return at, record.id, 0, _digest(record)
    if record.quantity is None or record.value is not None:
        raise LineRefused("quantity", "the meter adds up or compares quantities: give the quantity, and no value")
    try:
        return at, record.id, scaled(record.quantity), ""
    except ValueError as error:
        raise LineRefused("quantity", str(error)) from error


def _check_own(row: tuple[int, str, int, str] | None, own_since: int) -> None:
    """Raise `LineRefused` for a record of the time in which another customer had the contract."""
    if row is not None and row[0] < own_since:
        raise LineRefused("at", "another customer had the contract then")


def _check_void(record: UsageRecord) -> None:
    """Raise `LineRefused` for a record that is void and says how much it is for all that."""
    for field in ("at", "quantity", "value"):
        if getattr(record, field) is not None:
            raise LineRefused(field, "a record that is void has no moment, quantity or value")


def _digest(record: UsageRecord) -> str:
    """Return what stands for a value, which may name a person: equal for equal values under one contract and meter, and
    for no other reason."""
    of = f"{record.contract_id}\0{record.meter}\0{record.value}".encode()
    return blake2b(of, digest_size=DIGEST).hexdigest()


def _unread(number: int, line: bytes) -> UsageError:
    """Return what is wrong with a line that is no record."""
    if len(line) > LONGEST_LINE:
        return UsageError(number, "$", TOO_LONG)
    found, *_ = bounded(_faults(line))
    return UsageError(number, found.path, found.reason)


def _faults(line: bytes) -> Iterator[FieldError]:
    try:
        yield from unfit(UsageRecord, decoded_body(line))
    except ProblemError as error:
        yield from error.errors
