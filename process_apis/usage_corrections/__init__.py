"""Usage corrections: what records that came after their period was charged change of it.

`process_apis/usage/late.py` finds them. `workflow` lets billing say what each is worth, and credit or charge it once
somebody has approved it; `decisions` takes what people decide, `routes` are what others call. A credit is a correction
of the invoice (`process_apis/corrections/`), a charge an item of the contract's next invoice.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from process_apis.records.database import usage_corrections
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_corrections import UsageCorrections
from process_apis.records.usage_periods import UsagePeriods
from process_apis.runtime.agenda import Agenda, Due
from process_apis.runtime.capability import Capability, CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.usage.late import LateUsage
from process_apis.usage_corrections.decisions import UsageCorrectionDecisions
from process_apis.usage_corrections.routes import routes
from process_apis.usage_corrections.workflow import KINDS, UsageCorrecting


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what usage corrections bring."""
    records, periods = UsageCorrections(context.database, context.clock), UsagePeriods(context.database, context.clock)
    late = LateUsage(context, UsageRecords(context.database), periods)
    correcting = UsageCorrecting(context, records, periods, late)
    decisions = UsageCorrectionDecisions(context.clock, records, lambda: engine.look_at(usage_corrections.name))

    def begin(row: sa.Row[Any], run: int) -> Work:
        return Work(f"usage_correction:{row.id}:{run}", correcting.run, (row.id,), row.contract_id)

    return Capability(
        "usage_corrections",
        due=[Due(Agenda(context, usage_corrections), begin)],
        cases=CaseOwner(KINDS, Signed(decisions.act), allowed=decisions.allowed),
        routes=routes(records, decisions),
    )
