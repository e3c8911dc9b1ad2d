"""What a customer has in credit or owes beside its invoices (API reference: Customer Balance Transactions)."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.account import Account
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require


class Balances:
    """Change the balance of a customer: below zero it is a credit, above zero a debt that the next invoice adds."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def change(self, customer: Object, amount: int, kind: str, currency: str, **values: Any) -> Object:
        """Add `amount` to the balance, with a transaction of this kind. Return the transaction."""
        balance = customer["balance"] + amount
        previous = {"balance": customer["balance"]}
        customer |= {"balance": balance}
        self.account.save(customer, "customer.updated", previous)
        made = self.account.make(
            "customer_balance_transaction",
            amount=amount,
            currency=currency,
            customer=customer["id"],
            ending_balance=balance,
            type=kind,
            **values,
        )
        return self.account.save(made, "customer_balance_transaction.created")

    def adjust(self, customer: Object, params: Params) -> Object:
        """Change the balance by hand."""
        require(params, "amount", "currency")
        description = params.get("description")
        return self.change(customer, int(params["amount"]), "adjustment", params["currency"], description=description)
