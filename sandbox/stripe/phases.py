"""The phases of a schedule: what is asked for, as it is shown (API reference: Create a schedule, `phases`)."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, empty
from sandbox.stripe.periods import later
from sandbox.stripe.subscription_items import SubscriptionItems, metered
from sandbox.stripe.subscriptions import behavior

KNOWN = {
    *("add_invoice_items", "automatic_tax", "billing_cycle_anchor", "collection_method", "currency"),
    *("default_payment_method", "default_tax_rates", "description", "discounts", "duration", "end_date"),
    *("invoice_settings", "items", "metadata", "proration_behavior", "start_date"),
}
"""What a phase takes here. `iterations` is gone (Changelog: `duration` takes its place)."""
MAX_FIELDS, MAX_NAME, MAX_TEXT = 4, 40, 140
"""How many custom fields an invoice shows, and how long their names and values are (API reference: Create an invoice,
`custom_fields`)."""


def check_custom_fields(fields: list[Params]) -> None:
    if len(fields) > MAX_FIELDS:
        raise invalid(f"You may only pass up to {MAX_FIELDS} custom fields.", "custom_fields", "array_too_long")
    for each in fields:
        for name, most in (("name", MAX_NAME), ("value", MAX_TEXT)):
            if not 1 <= len(each.get(name, "")) <= most:
                reason = f"Invalid string: {each.get(name, '')}; must be from 1 to {most} characters"
                raise invalid(reason, f"custom_fields[0][{name}]", "parameter_invalid_string")


class Phases:
    """Make phases of what is asked for, each from where the one before it ends."""

    def __init__(self, account: Account, items: SubscriptionItems, coupons: Coupons) -> None:
        self.account = account
        self.items = items
        self.coupons = coupons

    def make(
        self, customer: Object, settings: Object, wanted: list[Params], start: int, first: int = 0
    ) -> list[Object]:
        """Return the phases. `start` is that of the first of them, and `first` its place among those of the request."""
        if not wanted:
            raise invalid("Missing required param: phases.", "phases", "parameter_missing")
        phases: list[Object] = []
        for place, each in enumerate(wanted, first):
            at = f"phases[{place}]"
            for name in each:
                if name not in KNOWN:
                    raise invalid(f"Received unknown parameter: {at}[{name}]", f"{at}[{name}]", "parameter_unknown")
            begins = each.get("start_date")
            if phases and begins is not None and self.moment(begins) != start:
                raise invalid("Each phase has to start when the one before it ends.", f"{at}[start_date]", "")
            self.items.priced(customer, each.get("items", []), each.get("add_invoice_items", []), at)
            automatic_tax = self.items.automatic_tax(customer, {"automatic_tax": settings["automatic_tax"]} | each, at)
            phases.append(self._phase(each, start, at) | {"automatic_tax": automatic_tax})
            start = phases[-1]["end_date"]
        return phases

    def moment(self, value: Any) -> int:
        return self.account.clock.seconds() if value == "now" else int(value)

    def _phase(self, wanted: Params, start: int, at: str) -> Object:
        price = self.account.get("price", wanted["items"][0]["price"])
        settings, currency = wanted.get("invoice_settings"), price["currency"]
        return {
            **empty("application_fee_percent billing_cycle_anchor billing_thresholds on_behalf_of"),
            **empty("transfer_data trial_end"),
            **{name: wanted.get(name) for name in ("collection_method", "default_payment_method", "description")},
            "add_invoice_items": [self._extra(each) for each in wanted.get("add_invoice_items", [])],
            "billing_cycle_anchor": wanted.get("billing_cycle_anchor"),
            "currency": currency,
            "default_tax_rates": self.items.rates(wanted.get("default_tax_rates")),
            "discounts": self._discounts(wanted.get("discounts"), currency, f"{at}[discounts]"),
            "end_date": self._end(wanted, start, price, at),
            "invoice_settings": self.invoice_settings(settings) if settings else None,
            "items": [
                self._item(each, currency, f"{at}[items][{place}]") for place, each in enumerate(wanted["items"])
            ],
            "metadata": wanted.get("metadata", {}),
            "proration_behavior": behavior(wanted),
            "start_date": start,
        }

    def _end(self, wanted: Params, start: int, price: Object, at: str) -> int:
        """Return when a phase ends: by default after one interval of its price (API reference: `phases.duration`)."""
        if "end_date" in wanted and "duration" in wanted:
            reason = "You may only specify one of these parameters: duration, end_date."
            raise invalid(reason, f"{at}[duration]", "")
        if "end_date" in wanted:
            end = self.moment(wanted["end_date"])
        else:
            duration = wanted.get("duration", price["recurring"])
            end = later(start, duration["interval"], int(duration.get("interval_count", 1)))
        if end <= start:
            raise invalid("The end date of a phase has to be after its start date.", f"{at}[end_date]", "")
        return end

    def _discounts(self, given: Any, currency: str, at: str) -> list[Object]:
        none = empty("coupon discount promotion_code")
        return [none | each for each in self.coupons.wanted(given, currency, at)]

    def invoice_settings(self, wanted: Params) -> Object:
        """Return what is said of a phase's invoices: how soon they are due, and what is shown on them."""
        made = empty("account_tax_ids issuer days_until_due custom_fields description footer")
        for name in wanted:
            if name not in made:
                place = f"phases[0][invoice_settings][{name}]"
                raise invalid(f"Received unknown parameter: {place}", place, "parameter_unknown")
        fields: list[Params] = wanted.get("custom_fields") or []
        check_custom_fields(fields)
        due = "days_until_due"
        days = forms.whole(wanted, due, "phases[0][invoice_settings]") if due in wanted else None
        return made | wanted | {"custom_fields": fields or None, "days_until_due": days}

    def _extra(self, item: Params) -> Object:
        return {
            "price": item["price"],
            "quantity": forms.whole(item, "quantity", "phases[0][add_invoice_items][0]"),
            "discounts": [],
            "tax_rates": self.items.rates(item.get("tax_rates", [])),
            "metadata": item.get("metadata", {}),
            "period": {"end": {"type": "min_item_period_end"}, "start": {"type": "phase_start"}},
        }

    def _item(self, item: Params, currency: str, at: str) -> Object:
        usage = metered(self.account.get("price", item["price"]))
        return {
            "price": item["price"],
            "plan": item["price"],
            "quantity": None if usage else forms.whole(item, "quantity", at),
            "discounts": self._discounts(item.get("discounts"), currency, f"{at}[discounts]"),
            "metadata": item.get("metadata", {}),
            "tax_rates": self.items.rates(item.get("tax_rates", [])),
            "billing_thresholds": None,
        }
