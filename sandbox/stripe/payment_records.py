"""Payments that were received outside of Stripe and reported to it (API reference: Payment Record)."""

from __future__ import annotations

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import accept, require


class PaymentRecords:
    """Record what was paid by a bank transfer or in cash."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def report(self, params: Params) -> Object:
        """Record a payment that was made, or one that failed (Report a payment)."""
        accept("payment_record", params)
        require(params, "amount_requested", "initiated_at", "payment_method_details")
        asked: Params = params["amount_requested"]
        currency, value = currencies.known(asked["currency"]), int(asked["value"])
        outcome = params.get("outcome", "")
        if outcome not in ("guaranteed", "failed"):
            raise invalid("Invalid outcome: must be one of guaranteed, failed", "outcome", "")

        def sum_of(amount: int) -> Object:
            return {"currency": currency, "value": amount}

        paid = value if outcome == "guaranteed" else 0
        made = self.account.make(
            "payment_record",
            amount=sum_of(value),
            amount_authorized=sum_of(0),
            amount_canceled=sum_of(0),
            amount_refunded=sum_of(0),
            amount_requested=sum_of(value),
            amount_guaranteed=sum_of(paid),
            amount_failed=sum_of(value - paid),
            description=params.get("description"),
            metadata=params.get("metadata", {}),
            payment_method_details={"payment_method": None, "type": "custom", "billing_details": None},
        )
        return self.account.save(made)
