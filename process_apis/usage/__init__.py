"""Usage: what was used under contracts, sent by the thousand, kept once each, and summed up for a contract's periods.

`contracts` says under which contracts a caller may send records, and when they run; `intake` takes the records,
`reading` sums them up, `routes` are what others call. The catalogue says what is metered
(`policies/business/usage.py`).
"""

from __future__ import annotations

from process_apis.records.usage import UsageRecords
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine
from process_apis.usage.contracts import MeteredContracts
from process_apis.usage.intake import Intake
from process_apis.usage.reading import MeterReader
from process_apis.usage.routes import routes


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what usage brings."""
    del engine  # nothing of it is durable work: a record is kept when it is answered
    contracts, records = MeteredContracts(context), UsageRecords(context.database)
    return Capability(
        "usage", routes=routes(Intake(context, contracts, records), MeterReader(context, contracts, records))
    )
