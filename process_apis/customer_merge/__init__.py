"""Merges of customers: what people see of them and decide about them, and when it is looked whether one was undone.

`overview` shows a merge with what each customer has, `decisions` does what people choose, and `routes` are what others
call. Whose customer an account is stands in `account_merges`, which those use that know no capability.
"""

from __future__ import annotations

from canonical.events import CUSTOMER_CHANGED, Event
from canonical.faults import TRANSIENT, Rejected
from policies.context.correlation import correlated
from process_apis import account_merges
from process_apis.customer_merge.decisions import MergeDecisions
from process_apis.customer_merge.overview import MergeOverview
from process_apis.customer_merge.routes import routes
from process_apis.records import customers
from process_apis.records.amendments import Amendments
from process_apis.runtime.agenda import retry
from process_apis.runtime.capability import Capability, CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what merges of customers bring."""
    del engine  # a customer is looked after by the run that follows its account
    records = account_merges.records(context)
    overview = MergeOverview(context, records, Amendments(context.database, context.clock))
    decisions = MergeDecisions(context, records)

    def account_changed(event: Event, _: str) -> None:
        if account := event.data.get("account"):
            account_merges.suspect(context, event.subject, account)

    def look_again() -> None:
        for row in records.due_looks():
            try:
                with correlated(row.correlation_id):
                    has_news = account_merges.has_news(context, row)
            except TRANSIENT as fault:
                records.look_sooner(row, retry(context, 1, fault.retry_after).at)
                return  # the others stay due
            except Rejected:
                has_news = True  # who looks after the customer tells people why it cannot be read
            if has_news:
                customers.expect_change(context.database, row.customer_id, row.correlation_id, context.clock())

    return Capability(
        "customer_merge",
        reactions={CUSTOMER_CHANGED: account_changed},
        periodic_jobs=[look_again],
        cases=CaseOwner(frozenset({"merge_undone"}), Signed(decisions.act)),
        routes=routes(records, overview, decisions),
    )
