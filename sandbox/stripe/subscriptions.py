"""Subscriptions and the schedules that start them (API reference: Subscriptions, Subscription Schedules)."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.invoicing import DAY, Invoicing, check_due
from sandbox.stripe.objects import Object, empty, listing
from sandbox.stripe.payments import Payments

HOUR = 3600
GRACE = 5
"""Seconds in which the client that finalized an invoice may also charge it, before the platform does."""
MONTHS = {"month": 1, "year": 12}


def later(start: int, interval: str, count: int) -> int:
    """Return the time `count` intervals after `start`, on the same day of the month or its last day.

    Times are in seconds since 1970, UTC.
    """
    if interval in ("day", "week"):
        return start + count * DAY * (7 if interval == "week" else 1)
    at = datetime.fromtimestamp(start, UTC)
    month = at.month - 1 + count * MONTHS[interval]
    year, month = at.year + month // 12, month % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


MAX_ITEMS = 20
"""The most items of a subscription or a phase (API reference: Create a subscription; Create a schedule)."""


SHOWN = ("custom_fields", "description", "footer")
"""What is said of the invoices of a subscription, and shown on each (API reference: Create a schedule,
`phases.invoice_settings`)."""
OVER = ("canceled", "completed", "released")
"""The states in which a subscription or schedule no longer binds its customer to a currency."""


MAX_FIELDS, MAX_NAME, MAX_TEXT = 4, 40, 140
"""How many custom fields an invoice shows, and how long their names and values are (API reference: Create an invoice,
`custom_fields`)."""


def _days(value: Any) -> int | None:
    """Return a number of days; 0 is due at once, and None is never."""
    return None if value in (None, "") else int(value)


def _check_custom_fields(fields: list[Params]) -> None:
    if len(fields) > MAX_FIELDS:
        raise invalid(f"You may only pass up to {MAX_FIELDS} custom fields.", "custom_fields", "array_too_long")
    for each in fields:
        for name, most in (("name", MAX_NAME), ("value", MAX_TEXT)):
            if not 1 <= len(each.get(name, "")) <= most:
                reason = f"Invalid string: {each.get(name, '')}; must be from 1 to {most} characters"
                raise invalid(reason, f"custom_fields[0][{name}]", "parameter_invalid_string")


class Subscriptions:
    """Turn schedules into subscriptions and bill them; `tick` does what is due."""

    def __init__(self, account: Account, invoicing: Invoicing, items: InvoiceItems, payments: Payments) -> None:
        self.account = account
        self.invoicing = invoicing
        self.items = items
        self.payments = payments

    # ---- subscriptions

    def create(self, params: Params) -> Object:
        """Create a subscription. Its first invoice is finalized, and charged where that is the collection method."""
        customer = self.account.get("customer", params.get("customer", ""), "customer")
        check_due(params)
        params["automatic_tax"] = self._automatic_tax(customer, params)
        subscription = self._subscription(customer, params, params.get("items", []), self.account.clock.seconds())
        invoice = self._bill(subscription, params.get("add_invoice_items", []), "subscription_create")
        self._advance(subscription, self.invoicing.finalize(invoice))
        return self.account.save(self.account.get("subscription", subscription["id"]), "customer.subscription.created")

    def cancel(self, subscription: Object) -> Object:
        now = self.account.clock.seconds()
        return self.account.save(
            subscription | {"status": "canceled", "canceled_at": now, "ended_at": now}, "customer.subscription.deleted"
        )

    def end_all(self, customer: Object) -> None:
        """Cancel all that bills a customer, and collect nothing more (API reference: Delete a customer)."""
        for schedule in self.account.all("subscription_schedule"):
            if schedule["customer"] == customer["id"] and schedule["status"] in ("not_started", "active"):
                self.cancel_schedule(schedule)
        for subscription in self.account.all("subscription"):
            if subscription["customer"] == customer["id"] and subscription["status"] != "canceled":
                self.cancel(subscription)
        for invoice in self.account.all("invoice"):
            if invoice["customer"] == customer["id"] and invoice["status"] in ("draft", "open"):
                self.account.save(invoice | {"auto_advance": False, "next_payment_attempt": None}, "invoice.updated")

    def _subscription(self, customer: Object, params: Params, items: list[Params], start: int) -> Object:
        account = self.account
        prices = self._priced(customer, items, params.get("add_invoice_items", []))
        recurring = prices[0]["recurring"]
        subscription = account.make(
            "subscription",
            customer=customer["id"],
            currency=prices[0]["currency"],
            start_date=start,
            billing_cycle_anchor=start,
            metadata=params.get("metadata", {}),
            default_tax_rates=self._rates(params.get("default_tax_rates", [])),
            collection_method=params.get("collection_method", "charge_automatically"),
            schedule=params.get("schedule"),
            days_until_due=_days(params.get("days_until_due")),
            automatic_tax=params["automatic_tax"],
            default_payment_method=params.get("default_payment_method"),
        )
        end = later(start, recurring["interval"], recurring["interval_count"])
        made = [self._item(subscription, price, each, start, end) for price, each in zip(prices, items, strict=True)]
        subscription["items"] = listing(f"/v1/subscription_items?subscription={subscription['id']}", made)
        return account.save(subscription)

    def _priced(self, customer: Object, items: list[Params], extra: list[Params], at: str = "") -> list[Object]:
        """Return the prices of recurring items, which one subscription may have together.

        (API reference: Create a subscription, Create a schedule; Billing: Subscriptions with multiple products.)
        """
        name, extras = (f"{at}[items]", f"{at}[add_invoice_items]") if at else ("items", "add_invoice_items")
        if not items:
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        for param, wanted in ((name, items), (extras, extra)):
            if len(wanted) > MAX_ITEMS:
                raise invalid(f"You may only pass up to {MAX_ITEMS} items.", param, "parameter_invalid_integer")
        prices = [self.account.get("price", each.get("price", ""), f"{name}[0][price]") for each in items]
        once = [self.account.get("price", each.get("price", ""), f"{extras}[0][price]") for each in extra]
        if any(each["recurring"] is None for each in prices):
            raise invalid(
                "The price specified is set to `type=one_time` "
                "but this field only accepts prices with `type=recurring`.",
                f"{name}[0][price]",
            )
        for place, each in enumerate(prices):
            if each["id"] in [other["id"] for other in prices[:place]]:
                raise invalid(f"Cannot add multiple subscription items with the same plan: {each['id']}", "plan")
        first = prices[0]["recurring"]
        same = ("interval", "interval_count")
        if any(each["recurring"][key] != first[key] for each in prices for key in same):
            raise invalid(
                "All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`.",
                name,
            )
        self._of_one_currency(customer, [each["currency"] for each in (*prices, *once)])
        return prices

    def _automatic_tax(self, customer: Object, params: Params, at: str = "") -> Object:
        """Return the `automatic_tax` of a subscription or a phase. Raises `StripeError` where it cannot be used.

        (Collect tax on subscriptions; API reference: Create a schedule, `phases.automatic_tax`.)
        """
        wanted = self.invoicing.tax.wanted(params, at)
        if wanted["enabled"]:
            items = [*params.get("items", []), *params.get("add_invoice_items", [])]
            rates = [*params.get("default_tax_rates", []), *(each.get("tax_rates") for each in items)]
            prices = [self.account.get("price", each.get("price", ""), "price") for each in items]
            self.invoicing.tax.check(customer, prices, rates, f"{at}[default_tax_rates]" if at else "default_tax_rates")
        return wanted

    def _of_one_currency(self, customer: Object, currencies: list[str]) -> None:
        """Refuse a second currency of what a customer has now (Billing: Customers; Subscriptions: currencies)."""
        present = [
            each["currency"] if each["object"] == "subscription" else each["phases"][0]["currency"]
            for kind in ("subscription", "subscription_schedule")
            for each in self.account.all(kind)
            if each["customer"] == customer["id"] and each["status"] not in OVER
        ]
        currencies = [*present, *currencies]
        if len(set(currencies)) > 1:
            raise invalid(
                "You cannot combine currencies on a single customer. This customer has an active subscription, "
                f"subscription schedule, discount, quote, or invoice item with currency {currencies[0]}.",
                code="",
            )

    def _item(self, subscription: Object, price: Object, item: Params, start: int, end: int) -> Object:
        plan: Object = {
            **empty("meter nickname tiers_mode transform_usage trial_period_days"),
            **{name: price[name] for name in ("id", "currency", "created", "product")},
            "object": "plan",
            "active": True,
            "amount": price["unit_amount"],
            "amount_decimal": price["unit_amount_decimal"],
            "billing_scheme": "per_unit",
            "interval": price["recurring"]["interval"],
            "interval_count": price["recurring"]["interval_count"],
            "livemode": False,
            "metadata": {},
            "usage_type": "licensed",
        }
        return self.account.make(
            "subscription_item",
            price=price,
            plan=plan,
            quantity=forms.whole(item, "quantity", "items[0]"),
            subscription=subscription["id"],
            metadata=item.get("metadata", {}),
            tax_rates=self._rates(item.get("tax_rates", [])),
            current_period_start=start,
            current_period_end=end,
        )

    def _rates(self, keys: list[Any]) -> list[Object]:
        """Return tax rates by their ids; those of a phase are expanded already."""
        ids: list[str] = [each if isinstance(each, str) else each["id"] for each in keys]
        return [self.account.get("tax_rate", each, "tax_rates") for each in ids]

    def _bill(self, subscription: Object, extra: list[Params], reason: str) -> Object:
        """Create a draft for the present period, with one-off prices beside the recurring ones.

        The metadata of a recurring line is its subscription's, not its item's (Invoice Line Item, `metadata`).
        """
        account, key = self.account, subscription["id"]
        rates = subscription["default_tax_rates"]
        items = subscription["items"]["data"]
        period = (items[0]["current_period_start"], items[0]["current_period_end"])
        unprorated: Object = {"proration": False, "proration_details": None, "subscription": key}
        lines: list[Object] = []
        for each in items:
            details = unprorated | {"invoice_item": None, "subscription_item": each["id"]}
            parent = {"type": "subscription_item_details", "invoice_item_details": None}
            lines.append(
                self.invoicing.line(
                    each["price"],
                    each["quantity"],
                    each["tax_rates"] or rates,
                    period,
                    subscription=key,
                    metadata=dict(subscription["metadata"]),
                    parent=parent | {"subscription_item_details": details},
                )
            )
        for each in extra:
            price = account.get("price", each.get("price", ""), "add_invoice_items[0][price]")
            details = unprorated | {"invoice_item": f"ii_{each['price']}"}
            parent = {"type": "invoice_item_details", "subscription_item_details": None}
            lines.append(
                self.invoicing.line(
                    price,
                    forms.whole(each, "quantity", "add_invoice_items[0]"),
                    self._rates(each.get("tax_rates", [])) or rates,
                    (period[0], period[0]),
                    subscription=key,
                    metadata=each.get("metadata", {}),
                    parent=parent | {"invoice_item_details": details},
                )
            )
        days, now = subscription["days_until_due"], account.clock.seconds()
        invoice = self.invoicing.draft(
            account.get("customer", subscription["customer"]),
            subscription["currency"],
            lines,
            subscription=key,
            billing_reason=reason,
            collection_method=subscription["collection_method"],
            automatically_finalizes_at=now + HOUR,
            period_start=period[0],
            period_end=period[1],
            due_date=None if days is None else now + days * DAY,
            **{name: subscription["invoice_settings"][name] for name in SHOWN},
            default_tax_rates=rates,
            automatic_tax=subscription["automatic_tax"] | {"status": None, "provider": None},
            parent={
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {"subscription": key, "metadata": dict(subscription["metadata"])},
            },
        )
        self.items.take_pending(invoice)
        subscription["latest_invoice"] = invoice["id"]
        account.save(subscription)
        return invoice

    def _advance(self, subscription: Object, invoice: Object) -> None:
        """Charge the finalized invoice where that is the collection method, and update the subscription."""
        if invoice["collection_method"] == "charge_automatically" and invoice["status"] == "open":
            self.payments.collect(invoice)
        self.follow(subscription["id"])

    def follow(self, key: str) -> None:
        """Set the status of a subscription to what follows from its latest invoice."""
        subscription = self.account.get("subscription", key)
        if subscription["status"] == "canceled":
            return
        invoice = self.account.get("invoice", subscription["latest_invoice"])
        by_invoice = invoice["collection_method"] == "send_invoice"
        if invoice["status"] == "paid" or by_invoice or not invoice["attempted"] or self._on_its_way(invoice):
            status = "active"
        else:
            status = "past_due" if subscription["status"] in ("active", "past_due") else "incomplete"
        if status != subscription["status"]:
            self.account.save(
                subscription | {"status": status}, "customer.subscription.updated", {"status": subscription["status"]}
            )

    def _on_its_way(self, invoice: Object) -> bool:
        """Return whether a direct debit is processing (Billing: Subscriptions with delayed notification payments)."""
        return invoice["status"] == "open" and self.invoicing.intent(invoice)["status"] == "processing"

    # ---- schedules

    def schedule(self, params: Params) -> Object:
        customer = self.account.get("customer", params.get("customer", ""), "customer")
        schedule = self.account.make(
            "subscription_schedule",
            customer=customer["id"],
            metadata=params.get("metadata", {}),
            end_behavior=params.get("end_behavior", "release"),
        )
        settings = params.get("default_settings", {})
        schedule["default_settings"] |= {
            key: settings[key]
            for key in ("collection_method", "default_payment_method", "description")
            if key in settings
        }
        if "automatic_tax" in settings:
            schedule["default_settings"]["automatic_tax"] = self.invoicing.tax.wanted(settings, "default_settings")
        start = self._moment(params.get("start_date", "now"))
        schedule["phases"] = self._phases(customer, schedule, params.get("phases", []), start)
        self.account.save(schedule, "subscription_schedule.created")
        return self.start(schedule) if start <= self.account.clock.seconds() else schedule

    def reschedule(self, schedule: Object, params: Params) -> Object:
        if schedule["status"] != "not_started":
            raise invalid(f"You cannot update a schedule that is {schedule['status']}.", code="resource_invalid")
        if "metadata" in params:
            schedule["metadata"] |= params["metadata"]
        if "phases" in params:
            start = self._moment(params["phases"][0].get("start_date", schedule["phases"][0]["start_date"]))
            customer = self.account.get("customer", schedule["customer"], "customer")
            schedule["phases"] = self._phases(customer, schedule, params["phases"], start)
        self.account.save(schedule, "subscription_schedule.updated")
        return self.start(schedule) if schedule["phases"][0]["start_date"] <= self.account.clock.seconds() else schedule

    def cancel_schedule(self, schedule: Object) -> Object:
        if schedule["status"] not in ("not_started", "active"):
            raise invalid(f"You cannot cancel a schedule that is {schedule['status']}.", code="resource_invalid")
        if schedule["subscription"]:
            self.cancel(self.account.get("subscription", schedule["subscription"]))
        now = self.account.clock.seconds()
        return self.account.save(
            schedule | {"status": "canceled", "canceled_at": now}, "subscription_schedule.canceled"
        )

    def start(self, schedule: Object) -> Object:
        """Begin the first phase. The invoice stays a draft for an hour, as with every schedule."""
        phase = schedule["phases"][0]
        customer = self.account.get("customer", schedule["customer"])
        settings = schedule["default_settings"]
        invoicing: Object = phase["invoice_settings"] or settings["invoice_settings"]
        params: Params = {
            "metadata": dict(phase["metadata"]),
            "default_tax_rates": phase["default_tax_rates"],
            "automatic_tax": dict(phase["automatic_tax"]),
            "collection_method": phase["collection_method"] or settings["collection_method"],
            "schedule": schedule["id"],
            "days_until_due": invoicing["days_until_due"],
            "default_payment_method": phase["default_payment_method"] or settings["default_payment_method"],
        }
        subscription = self._subscription(customer, params, phase["items"], phase["start_date"])
        subscription["invoice_settings"] |= {name: invoicing[name] for name in SHOWN}
        self._bill(subscription, phase["add_invoice_items"], "subscription_create")
        self.account.save(subscription | {"status": "active"}, "customer.subscription.created")
        schedule |= {
            "status": "active",
            "subscription": subscription["id"],
            "current_phase": {"start_date": phase["start_date"], "end_date": phase["end_date"]},
        }
        return self.account.save(schedule, "subscription_schedule.updated")

    def _moment(self, value: Any) -> int:
        return self.account.clock.seconds() if value == "now" else int(value)

    def _phases(self, customer: Object, schedule: Object, wanted: list[Params], start: int) -> list[Object]:
        if not wanted:
            raise invalid("Missing required param: phases.", "phases", "parameter_missing")
        phases: list[Object] = []
        for place, each in enumerate(wanted):
            at = f"phases[{place}]"
            self._priced(customer, each.get("items", []), each.get("add_invoice_items", []), at)
            default = schedule["default_settings"]["automatic_tax"]
            automatic_tax = self._automatic_tax(customer, {"automatic_tax": default} | each, at)
            phases.append(self._phase(each, start) | {"automatic_tax": automatic_tax})
            start = phases[-1]["end_date"]
        return phases

    def _phase(self, wanted: Params, start: int) -> Object:
        items = [self._phase_item(each) for each in wanted["items"]]
        price = self.account.get("price", items[0]["price"])
        duration = wanted.get("duration", {"interval": price["recurring"]["interval"], "interval_count": "1"})
        if "end_date" in wanted:
            end = int(wanted["end_date"])
        else:
            end = later(start, duration["interval"], int(duration.get("interval_count", 1)))
        settings = wanted.get("invoice_settings")
        return {
            **empty("application_fee_percent billing_cycle_anchor billing_thresholds on_behalf_of"),
            **empty("transfer_data trial_end"),
            **{name: wanted.get(name) for name in ("collection_method", "default_payment_method", "description")},
            "add_invoice_items": [self._phase_extra(each) for each in wanted.get("add_invoice_items", [])],
            "currency": price["currency"],
            "default_tax_rates": self._rates(wanted.get("default_tax_rates", [])),
            "discounts": [],
            "end_date": end,
            "invoice_settings": self._invoice_settings(settings) if settings else None,
            "items": items,
            "metadata": wanted.get("metadata", {}),
            "proration_behavior": wanted.get("proration_behavior", "create_prorations"),
            "start_date": start,
        }

    def _invoice_settings(self, wanted: Params) -> Object:
        """Return what is said of a phase's invoices: how soon they are due, and what is shown on them."""
        made = empty("account_tax_ids issuer days_until_due custom_fields description footer")
        for name in wanted:
            if name not in made:
                place = f"phases[0][invoice_settings][{name}]"
                raise invalid(f"Received unknown parameter: {place}", place, "parameter_unknown")
        fields: list[Params] = wanted.get("custom_fields") or []
        _check_custom_fields(fields)
        due = "days_until_due"
        days = forms.whole(wanted, due, "phases[0][invoice_settings]") if due in wanted else None
        return made | wanted | {"custom_fields": fields or None, "days_until_due": days}

    def _phase_extra(self, item: Params) -> Object:
        return {
            "price": item["price"],
            "quantity": forms.whole(item, "quantity", "phases[0][add_invoice_items][0]"),
            "discounts": [],
            "tax_rates": self._rates(item.get("tax_rates", [])),
            "metadata": item.get("metadata", {}),
            "period": {"end": {"type": "min_item_period_end"}, "start": {"type": "phase_start"}},
        }

    def _phase_item(self, item: Params) -> Object:
        return {
            "price": item["price"],
            "plan": item["price"],
            "quantity": forms.whole(item, "quantity", "phases[0][items][0]"),
            "discounts": [],
            "metadata": item.get("metadata", {}),
            "tax_rates": self._rates(item.get("tax_rates", [])),
            "billing_thresholds": None,
        }

    def _end(self, schedule: Object) -> None:
        """End a schedule after its last phase. Its subscription goes on, or is cancelled (API reference: The schedule
        object, `end_behavior` and `released_subscription`)."""
        now, key = self.account.clock.seconds(), schedule["subscription"]
        subscription = self.account.get("subscription", key)
        if schedule["end_behavior"] == "cancel":
            self.cancel(subscription)
            ended: Object = {"status": "completed", "completed_at": now}
        else:
            self.account.save(subscription | {"schedule": None}, "customer.subscription.updated")
            ended = {"status": "released", "released_at": now, "released_subscription": key, "subscription": None}
        self.account.save(schedule | ended | {"current_phase": None}, f"subscription_schedule.{ended['status']}")

    # ---- time

    def tick(self) -> None:
        """Do what is due: start schedules, roll periods, finalize drafts, retry payments."""
        now = self.account.clock.seconds()
        for schedule in self.account.all("subscription_schedule"):
            if schedule["status"] == "not_started" and schedule["phases"][0]["start_date"] <= now:
                self.start(schedule)
            elif schedule["status"] == "active" and schedule["phases"][-1]["end_date"] <= now:
                self._end(schedule)
        for subscription in self.account.all("subscription"):
            if subscription["status"] in ("active", "past_due"):
                self._roll(subscription, now)
        for each in self.payments.tick():
            if each["subscription"]:
                self.follow(each["subscription"])
        for each in self.account.all("invoice"):
            invoice = each
            if (
                invoice["status"] == "draft"
                and invoice["auto_advance"]
                and (invoice["automatically_finalizes_at"] or now + 1) <= now
            ):
                invoice = self.invoicing.finalize(invoice, by_itself=True)
                self._without_tax(invoice)
            attempt = invoice["next_payment_attempt"]
            if invoice["status"] == "open" and attempt and attempt + GRACE <= now:
                self.payments.collect(invoice)
                if invoice["subscription"]:
                    self.follow(invoice["subscription"])

    def _without_tax(self, invoice: Object) -> None:
        """Stop to tax what went on without tax (Collect customer addresses: Invoice finalization errors)."""
        if not invoice["automatic_tax"]["disabled_reason"] or not invoice["subscription"]:
            return
        subscription = self.account.get("subscription", invoice["subscription"])
        off = {"enabled": False, "disabled_reason": "requires_location_inputs"}
        subscription["automatic_tax"] |= off
        self.account.save(subscription, "customer.subscription.updated")
        if schedule := self.account.find("subscription_schedule", subscription["schedule"] or ""):
            for each in (schedule["default_settings"], schedule["phases"][0]):
                each["automatic_tax"] |= off
            self.account.save(schedule, "subscription_schedule.updated")

    def _roll(self, subscription: Object, now: int) -> None:
        items = subscription["items"]["data"]
        if items[0]["current_period_end"] > now:
            return
        for each in items:
            recurring = each["price"]["recurring"]
            start = each["current_period_end"]
            each |= {
                "current_period_start": start,
                "current_period_end": later(start, recurring["interval"], recurring["interval_count"]),
            }
        self.account.save(subscription, "customer.subscription.updated")
        self._bill(subscription, [], "subscription_cycle")
