"""Usage: what was used under contracts, sent by the thousand, kept once each, and summed up for a contract's periods.

`contracts` says under which contracts a caller may send records, and when they run; `intake` takes the records,
`reading` sums them up, `handover` brings each period to billing, `late` compares what is charged with what came since,
`routes` are what others call. The catalogue says what is metered (`policies/business/usage.py`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from process_apis.records.database import usage_corrections
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_periods import UsagePeriods
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine
from process_apis.usage.contracts import MeteredContracts
from process_apis.usage.handover import NOT_BILLED, UsageHandovers
from process_apis.usage.intake import Intake
from process_apis.usage.late import LATE, LateUsage
from process_apis.usage.reading import MeterReader
from process_apis.usage.routes import routes


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what usage brings."""
    contracts, records = MeteredContracts(context), UsageRecords(context.database)
    periods = UsagePeriods(context.database, context.clock)
    late = LateUsage(context, records, periods)
    handovers = UsageHandovers(context, engine, records, periods, late)

    def came_late(rows: list[sa.Row[Any]], sent_by: str) -> None:
        late.came(rows, sent_by)
        engine.look_at(usage_corrections.name)

    intake = Intake(context, contracts, records, periods, came_late)
    return Capability(
        "usage",
        due=[Due(handovers.agenda, handovers.begin, handovers.in_hand)],
        cases=CaseOwner(frozenset({NOT_BILLED, LATE}), handovers.act, allowed=handovers.allowed),
        routes=routes(intake, MeterReader(context, contracts, records, periods)),
    )
