"""Onboarding: a customer that exists once, everywhere, however many deals it closes at once."""

from __future__ import annotations

import msgspec

from canonical.deals import Deal
from canonical.orders import Plan
from process_apis.records import cross_references, customers
from process_apis.runtime.context import WorkflowContext


def identify(context: WorkflowContext, crm: str, deal: Deal) -> tuple[str, str | None]:
    """Return our ids for the deal's account and its parent, if it has one. The database gives each account one id."""
    customer_id = cross_references.canonical_id(context.database, "cus", crm, deal.account.id, context.new_id)
    parents = deal.account.ancestors[:1]
    parent_id = (
        cross_references.canonical_id(context.database, "cus", crm, parents[0], context.new_id) if parents else None
    )
    return customer_id, parent_id


def duplicates(context: WorkflowContext, crm: str, deal: Deal) -> list[str]:
    """Customers of ours that are other accounts with the same tax number."""
    known = cross_references.known(context.database, "cus", crm, deal.account.potential_duplicates)
    return [each for each in known.values() if customers.last_seen(context.database, each) is not None]


def onboard(context: WorkflowContext, plan: Plan) -> Plan:
    """Create or find the customer in billing and in the ERP. Returns the plan with its ids there.

    There is nothing to undo: a customer without a contract owes and costs nothing, and the next deal finds it.
    """
    billing = context.platforms.put_billing_customer(plan.customer)
    erp = context.platforms.put_erp_customer(plan.customer)
    platforms, seller = context.live_catalogue.current, plan.contract.legal_entity
    ids = {
        name: given
        for name, given in (
            (platforms.instance_for("billing", seller), billing),
            (platforms.instance_for("erp", seller), erp),
        )
        if name
    }
    customer = msgspec.structs.replace(plan.customer, references=plan.customer.references | ids)
    contract = msgspec.structs.replace(plan.contract, references=plan.contract.references | {"customer": billing})
    customers.keep(context.database, customer)
    return msgspec.structs.replace(plan, customer=customer, contract=contract)
