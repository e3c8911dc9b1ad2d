"""What a customer has in credit or owes beside its invoices (API reference: Customer Balance Transactions)."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require


def due_of(total: int, balance: int, currency: str) -> tuple[int, int]:
    """Return what is to be paid of an invoice after the customer's balance is used, and what that balance is then: what
    is too small to be charged, or below nothing, is carried over (API reference: Invoice, `amount_due`)."""
    owed = total + balance
    return (0, owed) if owed < 0 or currencies.too_small(owed, currency) else (owed, 0)


def shown(draft: Object, total: int, balance: int) -> Object:
    """Return what a draft says is to be paid: it has the present balance of its customer, which is used once it is
    finalized (API reference: Invoice, `starting_balance` and `amount_due`)."""
    due, _ = due_of(total, balance, draft["currency"])
    return {"starting_balance": balance, "amount_due": due, "amount_remaining": due - draft["amount_paid"]}


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
        for draft in self.account.all("invoice"):
            if draft["customer"] == customer["id"] and draft["status"] == "draft":
                self.account.save(draft | shown(draft, draft["total"], balance))
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
