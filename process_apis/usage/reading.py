"""Sums up what was used under a contract, in the period of each meter that a moment is in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import sqlalchemy as sa

from canonical.usage import (
    EPOCH,
    MICROSECOND,
    MICROSECONDS,
    ContractUsage,
    CorrectionOfPeriod,
    MeterReading,
    microseconds,
    unscaled,
)
from policies.business.usage import METERS
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, FieldError, ProblemError
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_corrections import ENDED, UsageCorrections, settled_after
from process_apis.records.usage_periods import UsagePeriods
from process_apis.runtime.context import WorkflowContext
from process_apis.usage.contracts import MeteredContracts


class MeterReader:
    """Read the meters of contracts."""

    def __init__(
        self, context: WorkflowContext, contracts: MeteredContracts, records: UsageRecords, periods: UsagePeriods
    ) -> None:
        self._context = context
        self._contracts = contracts
        self._records = records
        self._periods = periods
        self._corrections = UsageCorrections(context.database, context.clock)

    def of(self, contract_id: str, principal: Principal, as_of: datetime | None) -> ContractUsage:
        """Return what was used in the periods that `as_of` is in, up to then, and in the last second of a period to its
        end; now where it is None. Raises `ProblemError`: 404 for a contract that the caller may not see or that was
        never in force, 422 for a moment before it, or before a partner's customer had it."""
        contract = self._contracts.visible((contract_id,), principal).get(contract_id)
        if contract is None:
            raise ProblemError(MISSING, f"There is no contract {contract_id} in force.")
        now = self._context.clock()
        moment = min(as_of, now) if as_of else now
        own_since = contract.own_since(principal, microseconds(now))
        if microseconds(moment) < own_since:
            begins = (EPOCH + own_since * MICROSECOND).isoformat()
            wrong = FieldError("$.as_of", f"the contract is the customer's since {begins}")
            raise ProblemError(INVALID, "The contract had not begun then.", (wrong,))
        items: list[MeterReading] = []
        for name, meter in METERS.of(self._context.live_catalogue.current).items():
            if meter.sku not in contract.turns:
                continue
            source = self._records.found(contract_id, name)
            second = int(moment.timestamp())
            since, ends_at = contract.period(meter.sku, second)
            found, records = Fraction(0), 0
            billed: Decimal | None = None
            correction: CorrectionOfPeriod | None = None
            row = None if source is None else self._periods.holding(source, contract.last_second(second))
            if row and (row.ends_at > second or row.starts_at == since):
                since, ends_at = row.starts_at, contract.end_of(meter.sku, row.starts_at, row.ends_at)
                if row.state == "handed_over":
                    last = self._corrections.last_of(row.id)
                    billed, correction = settled_after(row, last).charged, _shown(last)
            if own_since > contract.since:  # what another customer used before, in the same second too
                since = max(since, -(-own_since // MICROSECONDS))
            if source is not None:
                until = ends_at if second + 1 == ends_at else second  # nothing of the period comes after its last one
                rests = contract.level_rests(until)
                found, records = self._records.quantity(source, meter.aggregation, since, until, rests)
            starts, ends = (datetime.fromtimestamp(each, UTC) for each in (since, ends_at))
            said = meter.sku, meter.unit, meter.aggregation, starts, ends
            items.append(MeterReading(name, *said, unscaled(found), records, billed, correction))
        return ContractUsage(contract_id, moment, tuple(items))


def _shown(last: sa.Row[Any] | None) -> CorrectionOfPeriod | None:
    """Return what became of the newest correction of a period; None where there is none, or its ground is gone."""
    if last is None or last.state == "gone":
        return None
    return cast("CorrectionOfPeriod", last.state) if last.state in ENDED else "open"
