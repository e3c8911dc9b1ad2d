"""Onboarding: a customer that exists once, everywhere, however many deals it closes at once."""

from __future__ import annotations

import msgspec

from canonical.cases import Finding
from canonical.deals import Deal
from canonical.orders import Plan
from canonical.parties import Account, Customer
from policies.context import correlation
from process_apis import validation
from process_apis.records import cross_references, customers
from process_apis.runtime.context import WorkflowContext


def identify(context: WorkflowContext, crm: str, deal: Deal) -> tuple[str, str | None]:
    """Return our ids for the deal's account and its parent, if it has one. The database gives each account one id."""
    customer_id = cross_references.canonical_id(context.database, "cus", crm, deal.account.id, context.new_id)
    return customer_id, _parent(context, crm, deal.account)


def _parent(context: WorkflowContext, crm: str, account: Account) -> str | None:
    for parent in account.ancestors[:1]:
        return cross_references.canonical_id(context.database, "cus", crm, parent, context.new_id)
    return None


def duplicates(context: WorkflowContext, crm: str, deal: Deal) -> list[str]:
    """Customers of ours that are other accounts with the same tax number."""
    known = cross_references.known(context.database, "cus", crm, deal.account.potential_duplicates)
    return [each for each in known.values() if customers.last_seen(context.database, each) is not None]


def refreshed(context: WorkflowContext, customer: Customer) -> Customer:
    """Return a customer with name, address, contact, parent and partner as its account has them in the CRM now. Its tax
    stays as it was decided: a change of what it depends on becomes a case for finance."""
    account = context.platforms.account(customer.crm, customer.references[customer.crm])
    number = validation.compact(account.tax_number, account.address.country)
    for field, was, now in (
        ("customer.tax_number", customer.tax_number, number),
        ("customer.address.country", customer.address.country, account.address.country),
    ):
        if was != now:
            reason = f"it was {was or 'empty'} and is {now or 'empty'}: does the tax of running contracts change?"
            context.cases.open(
                "customer_tax_changed",
                customer.id,
                Finding(field, reason),
                ("skip",),
                correlation_id=correlation.current(),
                legal_entity=customer.legal_entity,
                customer_id=customer.id,
                given={"account": account.id},
            )
    return msgspec.structs.replace(
        customer,
        name=account.name,
        address=account.address,
        contact=account.contact,
        partner=account.partner,
        parent_id=_parent(context, customer.crm, account),
        revision=account.revision,
    )


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
