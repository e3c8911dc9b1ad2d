"""What is done about payments that fail: retries, and what follows when the last one has failed too.

(Billing: Revenue recovery: Automate payment retries; How subscriptions work: Payment status.)
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sandbox.stripe.account import Account
from sandbox.stripe.billing import Billing
from sandbox.stripe.objects import Object
from sandbox.stripe.payments import DECLINED, RETRIES, RETRY_DAYS
from sandbox.stripe.subscriptions import Subscriptions

MOST_RETRIES = 8
"""How many retries the account may ask for (Automate payment retries: Smart Retries)."""


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The account's settings: after how many days each retry comes, counted from the attempt before, and what becomes
    of a subscription and its invoice after the last one."""

    days: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=60)]], msgspec.Meta(min_length=1, max_length=MOST_RETRIES)
    ]
    subscription: Literal["canceled", "unpaid", "past_due"] = "past_due"
    invoice: Literal["open", "uncollectible"] = "open"


class Declines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decline code with which a bank refuses a card from now on; None where it pays again."""

    code: str | None


class Dunning:
    """Keep the settings, and do what they say."""

    def __init__(self, account: Account, billing: Billing, subscriptions: Subscriptions) -> None:
        self.account = account
        self.billing = billing
        self.subscriptions = subscriptions

    def settings(self) -> Retries:
        """Return the settings. An account that has set nothing retries four times, and leaves all as it is then."""
        kept = self.account.find(RETRIES, RETRIES)
        return msgspec.convert(kept["settings"], Retries) if kept else Retries(list(RETRY_DAYS))

    def configure(self, settings: Retries) -> None:
        self.account.save({"object": RETRIES, "id": RETRIES, "settings": msgspec.to_builtins(settings)})

    def refuse(self, method: str, declines: Declines) -> None:
        """Let the bank of a payment method refuse it from now on, or no more."""
        self.account.get("payment_method", method)
        self.account.save({"object": DECLINED, "id": method, "code": declines.code})

    def follow(self, invoice: Object) -> None:
        """Let a subscription follow from an attempt that the platform has made, or has not made any more."""
        key: str | None = invoice["subscription"]
        if key is None:
            return
        self.billing.follow(key)
        settings = self.settings()
        now = self.account.get("invoice", invoice["id"])
        subscription = self.account.get("subscription", key)
        is_over = now["attempt_count"] > len(settings.days) and not now["next_payment_attempt"]
        if now["status"] != "open" or not is_over or subscription["status"] != "past_due":
            return
        if settings.invoice == "uncollectible":
            self.billing.invoicing.write_off(now)
        if settings.subscription == "canceled":
            self.subscriptions.cancel(subscription, {}, reason="payment_failed")
        elif settings.subscription == "unpaid":
            changed: Object = {"status": "unpaid"}
            self.account.save(subscription | changed, "customer.subscription.updated", {"status": "past_due"})
