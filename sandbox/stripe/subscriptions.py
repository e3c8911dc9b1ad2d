"""Subscriptions: how one begins, goes on from period to period, and ends (API reference: Subscriptions)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.billing import Billing
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.errors import invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import check_due
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.periods import next_after
from sandbox.stripe.prorations import BEHAVIORS, Prorations
from sandbox.stripe.subscription_items import SubscriptionItems, metered

MODES = ("classic", "flexible")


def billing_mode(params: Params) -> Object:
    """Return the billing mode that is asked for; it is flexible by default (Changelog, clover: Makes flexible billing
    mode the default for new subscriptions)."""
    given: Params = params.get("billing_mode") or {"type": "flexible"}
    if given.get("type") not in MODES:
        raise invalid(f"Invalid billing_mode[type]: must be one of {', '.join(MODES)}", "billing_mode[type]", "")
    if given["type"] == "classic":
        return {"type": "classic", "flexible": None}
    of_flexible: Params = given.get("flexible") or {}
    shown = of_flexible.get("proration_discounts", "included")
    if shown not in ("included", "itemized"):
        name = "billing_mode[flexible][proration_discounts]"
        raise invalid(f"Invalid {name}: must be one of included, itemized", name, "")
    return {"type": "flexible", "flexible": {"proration_discounts": shown}}


def behavior(params: Params, default: str = "create_prorations") -> str:
    """Return how a change is prorated. Raises `StripeError` for another word than Stripe's three."""
    wanted: str = params.get("proration_behavior", default)
    if wanted not in BEHAVIORS:
        raise invalid(f"Invalid proration_behavior: must be one of {', '.join(BEHAVIORS)}", "proration_behavior", "")
    return wanted


def days(value: Any) -> int | None:
    """Return a number of days; 0 is due at once, and None is never."""
    return None if value in (None, "") else int(value)


class Subscriptions:
    """Create subscriptions, take them into their next period, and cancel them."""

    def __init__(
        self, account: Account, items: SubscriptionItems, billing: Billing, coupons: Coupons, prorations: Prorations
    ) -> None:
        self.account = account
        self.items = items
        self.billing = billing
        self.coupons = coupons
        self.prorations = prorations

    def create(self, params: Params) -> Object:
        """Create a subscription. Its first invoice is finalized, and charged where that is the collection method."""
        customer = self.account.get("customer", params.get("customer", ""), "customer")
        check_due(params)
        self.items.on_sale([*params.get("items", []), *params.get("add_invoice_items", [])], "items")
        params["automatic_tax"] = self.items.automatic_tax(customer, params)
        free = behavior(params) == "none"
        start, now = int(params.get("backdate_start_date", self.account.clock.seconds())), self.account.clock.seconds()
        if start > now:
            raise invalid("`backdate_start_date` has to be in the past.", "backdate_start_date", "")
        since = start if start < now and "billing_cycle_anchor" not in params else None
        subscription = self.begin(customer, params, params.get("items", []), now if since else start)
        subscription["start_date"] = start
        extra = params.get("add_invoice_items", [])
        if invoice := self.billing.first(subscription, extra, free=free, since=since):
            self.billing.issue(subscription, invoice)
        else:
            self.billing.follow(subscription["id"])
        return self.account.save(self.account.get("subscription", subscription["id"]), "customer.subscription.created")

    def begin(self, customer: Object, params: Params, items: list[Params], start: int) -> Object:
        """Store a new subscription, which bills nothing yet."""
        account = self.account
        prices = self.items.priced(customer, items, params.get("add_invoice_items", []))
        currency, recurring = prices[0]["currency"], prices[0]["recurring"]
        redeemed = self.coupons.wanted(params.get("discounts"), currency, "discounts")
        of_items = [
            self.coupons.wanted(each.get("discounts"), currency, f"items[{place}][discounts]")
            for place, each in enumerate(items)
        ]
        anchor = int(params.get("billing_cycle_anchor", start))
        end = next_after(anchor, start, recurring)
        if anchor > end or (anchor != start and anchor < account.clock.seconds()):
            raise invalid(
                "billing_cycle_anchor cannot be later than next natural billing date for plan, or be in the past.",
                "billing_cycle_anchor",
                "",
            )
        subscription = account.make(
            "subscription",
            customer=customer["id"],
            currency=currency,
            start_date=start,
            billing_cycle_anchor=anchor,
            billing_mode=billing_mode(params),
            metadata=params.get("metadata", {}),
            default_tax_rates=self.items.rates(params.get("default_tax_rates", [])),
            collection_method=params.get("collection_method", "charge_automatically"),
            schedule=params.get("schedule"),
            days_until_due=days(params.get("days_until_due")),
            automatic_tax=params["automatic_tax"],
            default_payment_method=params.get("default_payment_method"),
            description=params.get("description"),
            test_clock=customer["test_clock"],
        )
        self._stop(subscription, params, end)
        end = min(end, subscription["cancel_at"] or end)
        made = [
            self.items.make(subscription, price, each, start, end) for price, each in zip(prices, items, strict=True)
        ]
        owner = {"subscription": subscription["id"]}
        subscription["discounts"] = self.coupons.redeem(redeemed, customer["id"], start, **owner)
        for item, rows in zip(made, of_items, strict=True):
            item["discounts"] = self.coupons.redeem(rows, customer["id"], start, **owner, subscription_item=item["id"])
        subscription["items"] = listing(f"/v1/subscription_items?subscription={subscription['id']}", made)
        return account.save(subscription)

    def _stop(self, subscription: Object, params: Params, end: int) -> None:
        now = self.account.clock.seconds()
        if forms.flag(params.get("cancel_at_period_end")):
            subscription |= {"cancel_at_period_end": True, "cancel_at": end, "canceled_at": now}
        elif params.get("cancel_at"):
            subscription |= {"cancel_at": self.moment(params["cancel_at"], end), "canceled_at": now}

    def moment(self, value: str, end: int) -> int:
        """Return when a subscription is to be cancelled, `end` being that of its period (API reference: Update a
        subscription, `cancel_at`)."""
        at = end if value in ("min_period_end", "max_period_end", "max_billed_until") else int(value)
        if at <= self.account.clock.seconds():
            raise invalid("`cancel_at` must be in the future.", "cancel_at", "")
        return at

    # ---- the next period

    def roll(self, subscription: Object) -> None:
        """Take a subscription into its next period, and bill that. One that is to end then ends instead."""
        items = subscription["items"]["data"]
        end: int = items[0]["current_period_end"]
        stop: int | None = subscription["cancel_at"]
        if stop is not None and stop <= end:
            self.expire(subscription)
            return
        before, used = deepcopy(subscription), (items[0]["current_period_start"], end)
        for each in items:
            following = next_after(subscription["billing_cycle_anchor"], end, each["price"]["recurring"])
            each |= {"current_period_start": end, "current_period_end": min(following, stop or following)}
            each["discounts"] = self.coupons.holding(each["discounts"], end)
        subscription["discounts"] = self.coupons.holding(subscription["discounts"], end)
        self.account.save(subscription, "customer.subscription.updated", before)
        self.billing.held(subscription, self.billing.bill(subscription, [], "subscription_cycle", used=used))

    # ---- the end

    def cancel(
        self,
        subscription: Object,
        params: Params,
        *,
        prorate: bool | None = None,
        invoice_now: bool | None = None,
        reason: str = "cancellation_requested",
    ) -> Object:
        """End a subscription now. What is unused is credited with `prorate`, and what is pending is billed with
        `invoice_now`; neither is, where nothing is said, and pending prorations are removed then. All invoices of the
        customer that are open, those of other subscriptions too, are collected no more by themselves.

        (API reference: Cancel a subscription.)
        """
        if subscription["status"] == "canceled":
            raise missing("subscription", subscription["id"])
        credit = forms.flag(params.get("prorate", prorate))
        now = self.account.clock.seconds()
        subscription = deepcopy(subscription)
        if credit:
            for each in subscription["items"]["data"]:
                self.prorations.credit(subscription, each, min(now, each["current_period_end"]))
        bills = forms.flag(params.get("invoice_now", invoice_now))
        if not bills and not credit:
            for each in self.billing.pending.of(subscription):
                if each["proration"]:
                    self.account.remove(each, "invoiceitem.deleted")
        first: Object = subscription["items"]["data"][0]
        used = (first["current_period_start"], min(now + 1, first["current_period_end"]))
        if bills and (self.billing.pending.of(subscription) or self._has_used(subscription, used)):
            final = self.billing.bill(subscription, [], "subscription_update", periods=False, used=used)
            self.billing.issue(subscription, final)
            subscription = deepcopy(self.account.get("subscription", subscription["id"]))
        reasons = {name: each or None for name, each in params.get("cancellation_details", {}).items()}
        ended: Object = {
            "status": "canceled",
            "canceled_at": subscription["canceled_at"] or now,
            "ended_at": now,
            "cancellation_details": subscription["cancellation_details"] | reasons | {"reason": reason},
        }
        gone = self.account.save(subscription | ended, "customer.subscription.deleted")
        self.billing.invoicing.stop_collection(subscription["customer"], "open")
        schedule = self.account.find("subscription_schedule", subscription["schedule"] or "")
        if schedule and schedule["status"] == "active":
            over: Object = {"status": "canceled", "canceled_at": now, "current_phase": None}
            self.account.save(schedule | over, "subscription_schedule.canceled")
        return gone

    def _has_used(self, subscription: Object, period: tuple[int, int]) -> bool:
        rows = [each for each in subscription["items"]["data"] if metered(each["price"])]
        return any(self.billing.usage.of(subscription, each, period) for each in rows)

    def expire(self, subscription: Object) -> None:
        """End a subscription at the time that was set for it. What is pending is billed (Cancel subscriptions)."""
        self.cancel(subscription, {}, invoice_now=True)
