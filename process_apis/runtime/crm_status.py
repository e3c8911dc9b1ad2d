"""What the CRM shows of an order: its state, why it waits, and the contract once it is in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import ceil

from canonical.amendments import AmendmentPreview, ends_on, months_between
from canonical.billing import Contract
from canonical.cases import Finding
from canonical.deals import DealStatus
from canonical.faults import TRANSIENT, NotFound, Rejected
from canonical.orders import Order
from canonical.states import OrderState
from policies.context.correlation import correlated
from process_apis.records import customers
from process_apis.records.amendments import Amendments, Applied, handovers
from process_apis.records.dunnings import owing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.holds import Held, open_cases

IN_FORCE: tuple[OrderState, ...] = ("partially_active", "active")
"""The states in which the contract is in force."""


def write_status_to_crm(context: WorkflowContext, order_id: str) -> None:
    """Write the order's state back to its deal. When the CRM is away, the sweep does it later."""
    order = context.orders.as_it_stands(order_id, with_lines=False)
    status = status_of(context, order)
    with correlated(order.correlation_id, "show status in the CRM"):
        try:
            context.platforms.put_deal_status(order.crm, order.deal_id, status)
        except TRANSIENT:
            return
        except (Rejected, NotFound) as fault:
            finding = Finding(fault.field or "crm", fault.reason, "crm")
            open_cases(context, order, Held("status_not_shown", [finding], ("retry", "skip")))
        else:
            context.cases.resolve(order.id, "the CRM shows it", kind="status_not_shown")
    context.orders.change(order.id, crm_status=order.state)


def status_of(context: WorkflowContext, order: Order) -> DealStatus:
    """Return what the CRM is to show of an order as it is now, with its contract once that is in force."""
    findings = context.cases.findings_of(order.id) if order.state == "on_hold" else ()
    if order.plan is None or order.state not in IN_FORCE:
        return DealStatus(
            order.id, order.state, order.blocked_reason, legal_entity=order.legal_entity, findings=findings
        )
    contract = order.plan.contract
    # What was followed since the order was accepted stays followed: the account's mark never goes back. An account
    # of two customers has the mark of the one that gets its deals.
    customer = customers.last_seen(context.database, order.customer_id) or order.plan.customer
    made = [each for each in Amendments(context.database, context.clock).versions(contract.id) if not each.is_future]
    until = _ends_on(contract, [each.preview for each in made])
    transferred_on = _transferred_on(order.customer_id, made)
    begins = transferred_on or contract.starts_on
    debt = owing(context.database, contract.id, order.customer_id)
    changed = made[-1].preview.in_words() if made else ""
    return DealStatus(
        order_id=order.id,
        state="past_due" if debt else order.state,
        detail=order.blocked_reason or (debt.in_words() if debt else changed),
        account_id=customer.references.get(order.crm, order.plan.account_id),
        customer_id="" if customers.shares_with(context.database, customer.id) else customer.id,
        contract_id=contract.id,
        starts_on=begins,
        term_months=ceil(months_between(begins, until)) if until else 0,
        legal_entity=order.legal_entity,
        revision=customer.revision,
        transferred_on=transferred_on,
    )


def _ends_on(contract: Contract, changes: Sequence[AmendmentPreview]) -> date | None:
    """Return the end of a contract as it is agreed now, None for one without end."""
    ends = [each.ends_on for each in changes if each.sets_end]
    return ends[-1] if ends else ends_on(contract)


def _transferred_on(customer_id: str, made: Sequence[Applied]) -> date | None:
    """Return the day since when the present customer has a contract that another one had before; None for the first."""
    every = [terms for each in handovers(made) if (terms := each.preview.transfer)]
    return next((each.transfers_on for each in reversed(every) if each.customer_id == customer_id), None)
