"""Webhooks: partners are sent the events of their customers' records.

`routes` are what partners call, `delivering` sends, `places` says how many at once and `plan` when again, and `secrets`
makes what signs. The records
are in `records/webhooks.py`, `records/webhook_deliveries.py`, and in `records/webhook_fanout.py`, which says who gets
an event.
"""

from __future__ import annotations

from functools import partial

from canonical.cases import Action, Case
from canonical.states import IllegalTransition
from process_apis.records.webhook_deliveries import WebhookDeliveries
from process_apis.records.webhooks import Webhooks
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine
from process_apis.webhooks.delivering import KIND, Delivering
from process_apis.webhooks.routes import delivery_routes, routes
from process_apis.webhooks.secrets import WebhookSecrets


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what sending events to partners brings."""
    del engine  # a delivery is no workflow: it is one request, and its row says all that a next attempt needs
    records = Webhooks(context.database, context.clock, context.webhooks.salt)
    deliveries = WebhookDeliveries(context.database, context.clock)
    secrets = WebhookSecrets(context.webhooks.key)
    delivering = Delivering(context, deliveries, secrets)
    return Capability(
        "webhooks",
        background=[delivering.deliver],
        measures=[delivering.measures],
        cases=CaseOwner(frozenset({KIND}), partial(act, records)),
        routes=[*routes(context, records, secrets), *delivery_routes(records, deliveries, delivering)],
    )


def act(records: Webhooks, case: Case, action: Action) -> Next:
    """Switch the webhook on again, or leave that to its partner."""
    if action == "retry" and not records.resume(case.subject):
        raise IllegalTransition("the webhook is not there any more")
    return nothing
