"""Changes of a running subscription (API reference: Update a subscription, Subscription Items; Billing: Prorations)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import msgspec

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.billing import SHOWN, Billing
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import check_due
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.periods import next_after
from sandbox.stripe.phases import check_custom_fields
from sandbox.stripe.prorations import Prorations
from sandbox.stripe.subscription_items import SubscriptionItems, at_most, check_quantity, counted, metered
from sandbox.stripe.subscriptions import Subscriptions, behavior, days

AFTER_THE_END = {"cancellation_details", "metadata"}
STOPS = {"cancel_at", "cancel_at_period_end"}
PAUSES = ("keep_as_draft", "mark_uncollectible", "void")
HOW = ("proration_behavior", "proration_date", "payment_behavior", "off_session")
"""What a request about an item says of the change, not of the item."""


class Change(msgspec.Struct, frozen=True):
    """An item before and after: None is one that is added, or deleted."""

    before: Object | None
    after: Object | None
    discounts: list[Params] | None = None
    """What is to be redeemed for it, in the place of the discounts that it has."""

    def matters(self) -> bool:
        """Return whether it costs something else now (Prorations: What triggers prorations)."""
        if self.before is None or self.after is None:
            return True
        return any(self.before.get(name) != self.after.get(name) for name in ("price", "quantity"))


class Changes:
    """Change subscriptions and their items, with prorations and invoices as asked for."""

    def __init__(
        self,
        account: Account,
        items: SubscriptionItems,
        prorations: Prorations,
        billing: Billing,
        coupons: Coupons,
        subscriptions: Subscriptions,
    ) -> None:
        self.account = account
        self.items = items
        self.prorations = prorations
        self.billing = billing
        self.coupons = coupons
        self.subscriptions = subscriptions

    def update(self, subscription: Object, params: Params) -> Object:
        """Change what `params` name, and return the subscription. A change that is refused changes nothing."""
        self._check(subscription, params)
        if "items" in params:
            at_most("items", params["items"])
        extra = self._extra(subscription, params)
        at = self._moment(subscription, params)
        how = behavior(params)
        after = deepcopy(subscription)
        rows = self._rows(after, params.get("items", []), "items")
        self._shape(after, params)
        self._redeem(after, rows, params)
        return self.apply(subscription, after, rows, how, at, reset=self._resets(params), extra=extra)

    def apply(
        self,
        subscription: Object,
        after: Object,
        rows: list[Change],
        how: str,
        at: int,
        *,
        reset: bool = False,
        extra: list[Params] | None = None,
    ) -> Object:
        """Store the subscription as it is `after`, with what that costs from `at` on.

        With another interval, or with `reset`, a new period begins now and is billed at once (Billing cycle: Change the
        billing date).
        """
        before, now = deepcopy(subscription), self.account.clock.seconds()
        recurring = after["items"]["data"][0]["price"]["recurring"]
        was = before["items"]["data"][0]["price"]["recurring"]
        reset = reset or any(recurring[each] != was[each] for each in ("interval", "interval_count"))
        changed = [Change(each, each) for each in before["items"]["data"]] if reset else rows
        made: list[Object | None] = []
        if how != "none":
            for each in changed:
                if each.before and (reset or each.matters()):
                    made += self.prorations.credit(before, each.before, min(at, each.before["current_period_end"]))
            for each in () if reset else rows:
                if each.after and each.matters():
                    made.append(self.prorations.debit(after, each.after, min(at, each.after["current_period_end"])))
        if reset:
            after["billing_cycle_anchor"] = now
            for each in after["items"]["data"]:
                each |= {"current_period_start": now, "current_period_end": next_after(now, now, recurring)}
        made += self._stopped(before, after, how)
        self.account.save(after)
        if reset or extra or (how == "always_invoice" and any(made)):
            used = (before["items"]["data"][0]["current_period_start"], now) if reset else None
            invoice = self.billing.bill(after, extra or [], "subscription_update", periods=reset, used=used)
            self.billing.issue(after, invoice)
            after = self.account.get("subscription", after["id"])
        if after != before:
            self.account.save(after, "customer.subscription.updated", before)
        return after

    # ---- items (API reference: Subscription Items)

    def add_item(self, params: Params) -> Object:
        """Add an item to a subscription."""
        require(params, "subscription", "price")
        subscription = self.account.get("subscription", params.pop("subscription"), "subscription")
        known = {each["id"] for each in subscription["items"]["data"]}
        row = {name: each for name, each in params.items() if name not in HOW}
        after = self.update(subscription, _said(params) | {"items": [row]})
        return next(each for each in after["items"]["data"] if each["id"] not in known)

    def change_item(self, key: str, params: Params) -> Object:
        """Change one item."""
        _, subscription = self.items.find(key)
        row = {name: each for name, each in params.items() if name not in HOW}
        after = self.update(subscription, _said(params) | {"items": [row | {"id": key}]})
        return next(each for each in after["items"]["data"] if each["id"] == key)

    def delete_item(self, key: str, params: Params) -> Object:
        """Delete one item."""
        _, subscription = self.items.find(key)
        row: Params = {"id": key, "deleted": "true"}
        if "clear_usage" in params:
            row["clear_usage"] = params["clear_usage"]
        self.update(subscription, _said(params) | {"items": [row]})
        return {"id": key, "object": "subscription_item", "deleted": True}

    def _rows(self, subscription: Object, wanted: list[Params], name: str) -> list[Change]:
        """Put the wanted items into a subscription, and return what changes."""
        present: list[Object] = subscription["items"]["data"]
        period = (present[0]["current_period_start"], present[0]["current_period_end"])
        changes: list[Change] = []
        for place, row in enumerate(wanted):
            at = f"{name}[{place}]"
            if "id" not in row:
                made = self._new(subscription, row, period, at)
                changes.append(Change(None, made, self._wanted(subscription, row, at)))
                present.append(made)
                continue
            found = next((each for each in present if each["id"] == row["id"]), None)
            if found is None:
                raise StripeError(
                    400,
                    "invalid_request_error",
                    f"No such subscription item: '{row['id']}'",
                    code="resource_missing",
                    param=f"{at}[id]",
                )
            before = deepcopy(found)
            if forms.flag(row.get("clear_usage")) and not metered(found["price"]):
                raise invalid("`clear_usage` is allowed for metered prices only.", f"{at}[clear_usage]", "")
            if forms.flag(row.get("deleted")):
                present.remove(found)
                changes.append(Change(before, None))
                continue
            self._change(subscription, found, row, at)
            changes.append(Change(before, found, self._wanted(subscription, row, at)))
        if not present:
            raise invalid("A subscription must have at least one active plan. To cancel it, delete it.", name, "")
        at_most(name, present)
        self.items.together([each["price"] for each in present], name)
        return changes

    def _new(self, subscription: Object, row: Params, period: tuple[int, int], at: str) -> Object:
        require(row, "price")
        price = self._recurring(subscription, row["price"], at)
        check_quantity(price, row, at)
        return self.items.make(subscription, price, row, *period)

    def _change(self, subscription: Object, item: Object, row: Params, at: str) -> None:
        if "price" in row and row["price"] != item["price"]["id"]:
            price = self._recurring(subscription, row["price"], at)
            self.items.repriced(item, price)
            counted(item, None if metered(price) else 1)
        check_quantity(item["price"], row, at)
        if "quantity" in row:
            item["quantity"] = forms.whole(row, "quantity", at)
        if "tax_rates" in row:
            item["tax_rates"] = self.items.rates(row["tax_rates"])
        if "metadata" in row:
            item["metadata"] = _merged(item["metadata"], row["metadata"])

    def _price(self, subscription: Object, key: str, at: str) -> Object:
        """Return a price that the subscription can have (Billing: Subscriptions, currencies)."""
        price = self.account.get("price", key, f"{at}[price]")
        if not price["active"]:
            raise invalid(f"The price specified is inactive: {key}.", f"{at}[price]", "")
        if price["currency"] != subscription["currency"]:
            raise invalid(
                f"The price specified only supports `{price['currency']}`. This doesn't match the expected currency: "
                f"`{subscription['currency']}`.",
                f"{at}[price]",
                "",
            )
        return price

    def _recurring(self, subscription: Object, key: str, at: str) -> Object:
        price = self._price(subscription, key, at)
        self.items.together([price], at)
        return price

    def _wanted(self, subscription: Object, row: Params, at: str) -> list[Params] | None:
        if row.get("discounts", []) == []:
            return None
        return self.coupons.wanted(row["discounts"], subscription["currency"], f"{at}[discounts]")

    def _redeem(self, after: Object, rows: list[Change], params: Params) -> None:
        """Redeem coupons, once nothing can be refused any more. An empty list changes nothing, and `""` ends all."""
        now, owner = self.account.clock.seconds(), {"subscription": after["id"]}
        if params.get("discounts", []) != []:
            given: list[Params] = params["discounts"] or []
            after["discounts"] = self.coupons.redeem(given, after["customer"], now, **owner)
        for each in rows:
            if each.after is not None and each.discounts is not None:
                of_item = owner | {"subscription_item": each.after["id"]}
                each.after["discounts"] = self.coupons.redeem(each.discounts, after["customer"], now, **of_item)

    # ---- the subscription itself

    def _check(self, subscription: Object, params: Params) -> None:
        if subscription["status"] == "canceled" and not params.keys() <= AFTER_THE_END:
            raise invalid("A canceled subscription can only update its cancellation_details and metadata.", "", "")
        if subscription["schedule"] and params.keys() & STOPS:
            raise invalid(
                f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating "
                "any cancelation behavior directly is not allowed. Please update the schedule instead.",
                "",
                "",
            )
        if params.keys() >= STOPS:
            reason = "You may only specify one of these parameters: cancel_at, cancel_at_period_end."
            raise invalid(reason, "cancel_at_period_end", "")

    def _moment(self, subscription: Object, params: Params) -> int:
        """Return from when on a change costs, in the present period (API reference: `proration_date`)."""
        items, now = subscription["items"]["data"], self.account.clock.seconds()
        at = int(params.get("proration_date") or now)
        start, end = items[0]["current_period_start"], items[0]["current_period_end"]
        if "proration_date" in params and not start <= at <= end:
            raise invalid(
                "Cannot specify proration date outside of current subscription period or current phase",
                "proration_date",
                "",
            )
        return at

    def _resets(self, params: Params) -> bool:
        """Return whether a new billing cycle begins now.

        (Changelog, endive: Unifies the billing cycle anchor format across Subscriptions and Invoices.)
        """
        given: Any = params.get("billing_cycle_anchor", {"type": "unchanged"})
        wanted = cast("Params", given).get("type") if isinstance(given, dict) else None
        if wanted not in ("now", "unchanged"):
            raise invalid(
                "Invalid billing_cycle_anchor[type]: must be one of now, unchanged", "billing_cycle_anchor", ""
            )
        return wanted == "now"

    def _extra(self, subscription: Object, params: Params) -> list[Params]:
        rows: list[Params] = params.get("add_invoice_items", [])
        at_most("add_invoice_items", rows)
        for place, each in enumerate(rows):
            self._price(subscription, each.get("price", ""), f"add_invoice_items[{place}]")
        return rows

    def _shape(self, after: Object, params: Params) -> None:
        """Change all but the items."""
        customer = self.account.get("customer", after["customer"])
        if "automatic_tax" in params:
            prices = [each["price"] for each in after["items"]["data"]]
            wanted = self.items.tax.wanted(params)
            if wanted["enabled"]:
                self.items.tax.check(customer, prices, after["default_tax_rates"], "default_tax_rates")
            after["automatic_tax"] = after["automatic_tax"] | wanted
        if "collection_method" in params or "days_until_due" in params:
            due = {"collection_method": after["collection_method"], "days_until_due": after["days_until_due"]} | params
            if due["collection_method"] != "send_invoice" and "days_until_due" not in params:
                due["days_until_due"] = None
            check_due(due)
            after |= {"collection_method": due["collection_method"], "days_until_due": days(due["days_until_due"])}
        for name in ("default_payment_method", "description"):
            if name in params:
                after[name] = params[name] or None
        if "default_tax_rates" in params:
            after["default_tax_rates"] = self.items.rates(params["default_tax_rates"])
        for name in ("metadata", "cancellation_details"):
            if name in params:
                after[name] = _merged(after[name], params[name], keep=name == "cancellation_details")
        if "discounts" in params:
            self.coupons.wanted(params["discounts"], after["currency"], "discounts")
        if "invoice_settings" in params:
            after["invoice_settings"] = after["invoice_settings"] | _shown(params["invoice_settings"])
        if "pause_collection" in params:
            after["pause_collection"] = self._pause(params["pause_collection"])
        self._stop(after, params)

    def _pause(self, wanted: Any) -> Object | None:
        """Return how collection is paused; `""` ends that (Pause payment collection)."""
        if wanted == "":
            return None
        for name in wanted:
            if name not in ("behavior", "resumes_at"):
                at = f"pause_collection[{name}]"
                raise invalid(f"Received unknown parameter: {at}", at, "parameter_unknown")
        if wanted.get("behavior") not in PAUSES:
            name = "pause_collection[behavior]"
            raise invalid(f"Invalid {name}: must be one of {', '.join(PAUSES)}", name, "")
        until = forms.whole(wanted, "resumes_at", "pause_collection") if wanted.get("resumes_at") else None
        if until is not None and until <= self.account.clock.seconds():
            raise invalid("`resumes_at` must be in the future.", "pause_collection[resumes_at]", "")
        return {"behavior": wanted["behavior"], "resumes_at": until}

    def _stop(self, after: Object, params: Params) -> None:
        """Set when the subscription ends, or that it does not (Cancel subscriptions)."""
        now, first = self.account.clock.seconds(), after["items"]["data"][0]
        end = next_after(after["billing_cycle_anchor"], first["current_period_start"], first["price"]["recurring"])
        if "cancel_at_period_end" in params:
            ends = forms.flag(params["cancel_at_period_end"])
            after |= {
                "cancel_at_period_end": ends,
                "cancel_at": first["current_period_end"] if ends else None,
                "canceled_at": now if ends else None,
            }
        elif "cancel_at" in params:
            at = self.subscriptions.moment(params["cancel_at"], end) if params["cancel_at"] else None
            after |= {"cancel_at_period_end": False, "cancel_at": at, "canceled_at": now if at else None}
        if params.keys() & STOPS:
            for each in after["items"]["data"]:
                each["current_period_end"] = min(end, after["cancel_at"] or end)

    def _stopped(self, before: Object, after: Object, how: str) -> list[Object | None]:
        """Credit what is paid for the time after an earlier end of the period, or charge it again."""
        kept = {each["id"]: each for each in after["items"]["data"]}
        made: list[Object | None] = []
        for each in before["items"]["data"] if how != "none" else ():
            was, ends = each["current_period_end"], kept.get(each["id"], each)["current_period_end"]
            if kept.get(each["id"], each)["current_period_start"] != each["current_period_start"]:
                continue
            if ends < was:
                made += self.prorations.credit(before, kept[each["id"]] | {"current_period_end": was}, ends)
            elif ends > was:
                made.append(self.prorations.debit(after, kept[each["id"]], was))
        return made


def _shown(wanted: Params) -> Object:
    """Return what is shown on the invoices of a subscription; an empty text is none (API reference: Update a
    subscription, `invoice_settings`)."""
    for name in wanted:
        if name not in SHOWN:
            at = f"invoice_settings[{name}]"
            raise invalid(f"Received unknown parameter: {at}", at, "parameter_unknown")
    check_custom_fields(wanted.get("custom_fields") or [])
    return {name: value or None for name, value in wanted.items()}


def _said(params: Params) -> Params:
    return {name: each for name, each in params.items() if name in HOW}


def _merged(present: Object, given: Any, *, keep: bool = False) -> Object:
    """Return members with those that are given; an empty one is unset, and `""` unsets all (Metadata)."""
    if given == "":
        return dict.fromkeys(present) if keep else {}
    merged: Object = present | given
    return (
        {name: each or None for name, each in merged.items()} if keep else {k: v for k, v in merged.items() if v != ""}
    )
