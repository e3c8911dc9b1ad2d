"""What the account has at Stripe: a balance transaction for all that moves it (API reference: Balance Transactions)."""

from __future__ import annotations

from decimal import Decimal

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.objects import Object
from sandbox.stripe.periods import DAY

CARD_PERCENT, CARD_FEE = Decimal("1.5"), 25
"""What a payment by a card costs: 1.5 % and 0.25 (stripe.com/de/pricing: standard cards of the European Economic
Area)."""
DEBIT_FEE = 35
"""What a direct debit costs (stripe.com/de/pricing/local-payment-methods: SEPA Direct Debit)."""
PAYOUT_DAYS = 7
"""After how many days the funds of a payment are available (Balances and settlement time: the first payouts)."""
CATEGORIES = {
    "charge": "charge",
    "payment": "charge",
    "refund": "refund",
    "payment_refund": "refund",
    "refund_failure": "refund_failure",
}
"""What each type is in accounting (Reporting categories). An adjustment says itself what it is of."""


class Ledger:
    """Book what comes in and goes out. Amounts are in Stripe's minor units; what goes out is below zero."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def book(self, kind: str, amount: int, source: Object, *, fee: int = 0, category: str = "") -> Object:
        """Book `amount` less `fee` for a charge, refund or dispute. Return the transaction.

        What is paid is available after days; all else counts at once (The Balance Transaction object, `available_on`).
        """
        now = self.account.clock.seconds()
        waits = category == "" and kind in ("charge", "payment")
        details = {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Dispute fee" if category else "Stripe processing fees",
            "type": "stripe_fee",
        }
        made = self.account.make(
            "balance_transaction",
            amount=amount,
            available_on=now + PAYOUT_DAYS * DAY if waits else now,
            currency=source["currency"],
            description=source.get("description"),
            fee=fee,
            fee_details=[details] if fee else [],
            net=amount - fee,
            reporting_category=category or CATEGORIES[kind],
            source=source["id"],
            status="pending" if waits else "available",
            type=kind,
        )
        return self.account.save(made)

    def charged(self, charge: Object) -> Object:
        """Book a payment, and return the charge with it."""
        if charge["payment_method_details"]["type"] == "sepa_debit":
            made = self.book("payment", charge["amount"], charge, fee=DEBIT_FEE)
        else:
            share = currencies.rounded(charge["amount"] * CARD_PERCENT / 100, charge["currency"])
            made = self.book("charge", charge["amount"], charge, fee=share + CARD_FEE)
        return charge | {"balance_transaction": made["id"]}

    def tick(self) -> None:
        """Make the funds available whose day has come."""
        now = self.account.clock.seconds()
        for each in self.account.all("balance_transaction"):
            if each["status"] == "pending" and each["available_on"] <= now:
                self.account.save(each | {"status": "available"})
