"""Credit review: what a customer owes and has ordered is held against its limit, in the currency of the books."""

from __future__ import annotations

from canonical.money import Money, total
from canonical.orders import Plan
from canonical.parties import Credit
from process_apis import onboarding
from process_apis.runtime.context import WorkflowContext


def over_the_limit(context: WorkflowContext, order_id: str, plan: Plan) -> str:
    """Return why an order needs a yes, empty where the limit allows its first invoice.

    A customer that is in the ERP already owes what it owes there, so that it is looked for before. Raises `Held` when a
    person has to say which record it is, and leaves of `PlatformFault`.
    """
    contract = plan.contract
    record = onboarding.record_in_erp(context, plan.customer, contract.legal_entity)
    if not record:
        return ""  # who is new there owes nothing, and has no limit

    def read(currencies: set[str]) -> Credit:
        return context.platforms.credit(contract.customer_id, contract.legal_entity, currencies, record)

    credit = read({contract.currency})
    if credit.limit is None:
        return ""
    ordered = context.orders.on_their_way(order_id, contract)
    currencies = {contract.currency, *(each.currency for each in ordered)}
    if currencies - {contract.currency, credit.used.currency}:
        credit = read(currencies)
    on_its_way = total((credit.in_books(each) for each in ordered), credit.used.currency)
    if credit.allows(on_its_way + credit.in_books(contract.gross)):
        return ""
    others = f", {on_its_way} ordered" if on_its_way.amount else ""
    return f"{credit.used} owed{others} and {_shown(contract.gross, credit)} more is over the limit of {credit.limit}"


def _shown(amount: Money, credit: Credit) -> str:
    """Return an amount in words, with what it is in the currency of the books."""
    same = amount.currency == credit.used.currency
    return f"{amount}" if same else f"{amount} ({credit.in_books(amount)})"
