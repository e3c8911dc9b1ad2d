"""Credit review: what a customer owes and has ordered is held against its limit, in the currency of the books.

Customers under one account of the CRM have one limit: that of the one that leads. What all of them owe and have ordered
is held against it.
"""

from __future__ import annotations

from canonical.billing import Contract
from canonical.money import Money, total
from canonical.orders import Plan
from canonical.parties import Credit
from process_apis import onboarding
from process_apis.records import customers
from process_apis.runtime.context import WorkflowContext


def over_the_limit(context: WorkflowContext, order_id: str, plan: Plan) -> str:
    """Return why an order needs a yes, empty where the limit allows its first invoice.

    A customer that is in the ERP already owes what it owes there, so that it is looked for before. Raises `Held` when a
    person has to say which record it is, and leaves of `PlatformFault`.
    """
    contract = plan.contract
    group = customers.with_its_account(context.database, contract.customer_id)
    records = _records(context, plan, group)
    if not records:
        return ""  # who is new there owes nothing, and has no limit
    limited, record = next(iter(records.items()))

    def read(currencies: set[str]) -> Credit:
        return context.platforms.credit(limited, contract.legal_entity, currencies, record)

    credit = read({contract.currency})
    if credit.limit is None:
        return ""
    ordered = context.orders.on_their_way(order_id, contract, group)
    currencies = {contract.currency, *(each.currency for each in ordered)}
    if currencies - {contract.currency, credit.used.currency}:
        credit = read(currencies)
    books = credit.used.currency
    owed = total(
        (_owed(context, each, contract, books, its) for each, its in records.items() if each != limited), books
    )
    on_its_way = total((credit.in_books(each) for each in ordered), books)
    if credit.allows(owed + on_its_way + credit.in_books(contract.gross)):
        return ""
    ordering = f", {on_its_way} ordered" if on_its_way.amount else ""
    whose = f" of {limited}: all that {' and '.join(group)} owe and have ordered counts" if len(group) > 1 else ""
    more = _shown(contract.gross, credit)
    return f"{credit.used + owed} owed{ordering} and {more} more is over the limit of {credit.limit}{whose}"


def _owed(context: WorkflowContext, customer_id: str, contract: Contract, books: str, record: str) -> Money:
    """Return what another customer under the account owes, in the currency of the books."""
    return context.platforms.credit(customer_id, contract.legal_entity, {books}, record).used


def _records(context: WorkflowContext, plan: Plan, group: list[str]) -> dict[str, str]:
    """Return the ERP's ids of the records of the customers under one account, that whose limit counts first: the one
    that leads, or the buyer itself where that one is not in these books."""
    buyer, seller = plan.contract.customer_id, plan.contract.legal_entity
    erp = context.live_catalogue.current.instance_for("erp", seller) or ""
    found: dict[str, str] = {}
    for each in group:
        known = None if each == buyer else customers.last_seen(context.database, each)
        record = known.references.get(erp, "") if known else ""
        if each == buyer:
            record = onboarding.record_in_erp(context, plan.customer, seller)
        if record:
            found[each] = record
    first = (customers.shares_with(context.database, buyer) or buyer, buyer)
    return {each: found[each] for each in (*first, *group) if each in found}


def _shown(amount: Money, credit: Credit) -> str:
    """Return an amount in words, with what it is in the currency of the books."""
    same = amount.currency == credit.used.currency
    return f"{amount}" if same else f"{amount} ({credit.in_books(amount)})"
