"""Sums up what was used under a contract, in the period of each meter that a moment is in."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

from canonical.usage import ContractUsage, MeterReading, period_at, unscaled
from policies.business.usage import METERS
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, FieldError, ProblemError
from process_apis.records.usage import UsageRecords
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

    def of(self, contract_id: str, principal: Principal, as_of: datetime | None) -> ContractUsage:
        """Return what was used in the periods that `as_of` is in, up to then; now where it is None. Raises
        `ProblemError`: 404 for a contract that the caller may not see or that was never in force, 422 for a moment
        before it."""
        contract = self._contracts.visible((contract_id,), principal).get(contract_id)
        if contract is None:
            raise ProblemError(MISSING, f"There is no contract {contract_id} in force.")
        now = self._context.clock()
        moment = min(as_of, now) if as_of else now
        items: list[MeterReading] = []
        for name, meter in METERS.of(self._context.live_catalogue.current).items():
            if meter.sku not in contract.months:
                continue
            try:
                starts_at, ends_at = period_at(contract.began, contract.months[meter.sku], moment)
            except ValueError as error:
                wrong = FieldError("$.as_of", f"the contract began at {contract.began.isoformat()}")
                raise ProblemError(INVALID, "The contract had not begun then.", (wrong,)) from error
            source = self._records.found(contract_id, name)
            since, until = int(starts_at.timestamp()), int(moment.timestamp())
            found, records, billed = Fraction(0), 0, None
            if source is not None:
                found, records = self._records.quantity(source, meter.aggregation, since, until)
                billed = self._periods.billed(source, since)
            said = meter.sku, meter.unit, meter.aggregation, starts_at, ends_at
            items.append(MeterReading(name, *said, unscaled(found), records, billed))
        return ContractUsage(contract_id, moment, tuple(items))
