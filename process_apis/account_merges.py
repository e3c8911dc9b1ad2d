"""Merged accounts: two accounts of the CRM become one, and the customers that they were go on.

The account that is left takes over the customer of one that was merged into it. Where it is a customer itself, there
are two in billing and in the ERP, and neither can join them: both go on under the one account, whose name and address
they have, and a person may say which of them gets new deals.
"""

from __future__ import annotations

from canonical.cases import Case, Finding
from canonical.parties import Account, Customer
from policies.context import correlation
from process_apis.records import cross_references, customers
from process_apis.runtime.context import WorkflowContext

FIELD = "customer.account"
SHARED = "shares_with"
"""What a case is given that is about two customers with one account: the other one."""


def customer_of(context: WorkflowContext, crm: str, account: Account, before: str = "") -> str:
    """Return our id for an account: that of a customer which was merged into it, if it is none itself.

    `before` is the account that was asked for, if that is another. The database gives each account one id.
    """
    database = context.database
    merged = [each for each in (before, *account.merged) if each and each != account.id]
    if merged:
        known = cross_references.known(database, "cus", crm, (account.id, *merged))
        own, others = known.get(account.id), [known[each] for each in merged if each in known]
        if own is None or customers.last_seen(database, own) is None:
            bought = (each for each in others if customers.last_seen(database, each) is not None)
            follows = next(bought, own or next(iter(others), None))
            if follows and follows != own:
                cross_references.move(database, "cus", crm, account.id, own, follows)
    return cross_references.canonical_id(database, "cus", crm, account.id)


def settle(context: WorkflowContext, customer: Customer, account: Account, before: str) -> bool:
    """Return whether the account is this customer's alone, or first of all; let its orders be shown there.

    `before` is the account that it had. Where another customer has the account, too, that is a case for sales, and the
    other one is looked after next.
    """
    owner = customer_of(context, customer.crm, account, before)
    if before != account.id:
        for case in context.cases.open_of(customer.id, "status_not_shown"):
            context.orders.change(case.subject, crm_status="")  # the poll shows it, and closes the case
    if owner == customer.id:
        customers.share(context.database, customer.id, "")
        return True
    if customers.shares_with(context.database, customer.id) != owner:
        _ask(context, customer, owner, account.id)
        customers.share(context.database, customer.id, owner)
        customers.expect_change(context.database, owner, correlation.current(), context.clock())
    return False


def _ask(context: WorkflowContext, customer: Customer, owner: str, account: str) -> None:
    reason = (
        f"its account was merged into {account}, which is the customer {owner}: there are two of it in billing and in"
        " the ERP. Both have the name and the address of the account from now on. What was sold to each goes on in its"
        f" own records; new deals are those of {owner}. Skip: it stays so. Retry: new deals are those of {customer.id}."
    )
    context.cases.open(
        "duplicate_customer",
        customer.id,
        Finding(FIELD, reason, "crm"),
        ("retry", "skip"),
        correlation_id=correlation.current(),
        legal_entity=customer.legal_entity,
        customer_id=customer.id,
        given={"account": account, SHARED: owner},
    )


def lead(context: WorkflowContext, case: Case) -> None:
    """Let the customer that a case is about get the new deals. Both are looked after next."""
    database, chosen = context.database, case.subject
    known = customers.last_seen(database, chosen)
    owner = customers.shares_with(database, chosen)
    if known is None or not owner:
        return  # it gets them already
    cross_references.move(database, "cus", known.crm, known.references[known.crm], owner, chosen)
    customers.lead(database, chosen, owner)
    for each in (chosen, owner):
        customers.expect_change(database, each, case.correlation_id, context.clock())
