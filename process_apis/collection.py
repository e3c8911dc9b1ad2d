"""Collection: what a customer owes is collected on when a contract of it has ended.

Billing may stop to collect all that a customer owes with the end of any contract, other contracts included.
"""

from __future__ import annotations

from collections.abc import Iterator

from canonical.billing import Contract
from canonical.events import CONTRACT_ENDED, Event
from policies.context.correlation import correlated
from process_apis.amendments.contract import of_former, order_of
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE
from process_apis.runtime.engine import Engine


def _handed_over(context: WorkflowContext, customer_id: str) -> Iterator[Contract]:
    """Yield the contracts that a customer had before they went to others, each as billing knows it of that customer."""
    for each in context.orders.handed_over_by(customer_id):
        if (contract := of_former(context, each, customer_id)) is not None:
            yield contract


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what collection brings: a reaction to the end of a contract in billing."""
    del engine  # the event log tries a reaction that failed again

    def contract_ended(event: Event, correlation_id: str) -> None:
        """Let billing go on with the contracts of the customer, the one that has ended included, and what it had before
        it went to another customer. What was invoiced for an order that was taken back is left to finance."""
        order_id = order_of(context, event.subject)
        if not order_id:
            return
        customer_id = event.data.get("customer") or context.orders.row(order_id).customer_id
        with correlated(correlation_id):
            for contract in (*context.orders.contracts_of(customer_id, IN_FORCE), *_handed_over(context, customer_id)):
                context.platforms.collect_open_invoices(contract)

    return Capability("collection", reactions={CONTRACT_ENDED: contract_ended})
