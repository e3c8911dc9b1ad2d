"""Schedules, which begin subscriptions and take them from phase to phase (API reference: Subscription Schedules)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.billing import SHOWN, Billing
from sandbox.stripe.changes import Change, Changes
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import rounded_amount
from sandbox.stripe.objects import Object, empty
from sandbox.stripe.phases import Phases
from sandbox.stripe.subscription_items import SubscriptionItems, counted
from sandbox.stripe.subscriptions import Subscriptions, behavior, billing_mode

RUNNING = ("not_started", "active")
ENDINGS = ("cancel", "release")
OF_A_PHASE = ("currency", "default_payment_method", "description", "metadata", "collection_method")


class Schedules:
    """Create, change and end schedules; `begin` and `advance` are what time does with them."""

    def __init__(
        self,
        account: Account,
        items: SubscriptionItems,
        coupons: Coupons,
        billing: Billing,
        subscriptions: Subscriptions,
        changes: Changes,
    ) -> None:
        self.account = account
        self.items = items
        self.coupons = coupons
        self.billing = billing
        self.subscriptions = subscriptions
        self.changes = changes
        self.phases = Phases(account, items, coupons)

    def create(self, params: Params) -> Object:
        """Create a schedule, which begins at once where its start has come."""
        if "from_subscription" in params:
            return self._from_subscription(params)
        customer = self.account.get("customer", params.get("customer", ""), "customer")
        schedule = self.account.make(
            "subscription_schedule",
            customer=customer["id"],
            metadata=params.get("metadata", {}),
            end_behavior=_ending(params),
            billing_mode=billing_mode(params),
            test_clock=customer["test_clock"],
        )
        self._settle(schedule, params)
        start = self.phases.moment(params.get("start_date", "now"))
        for place, each in enumerate(params.get("phases", [])):
            self.items.on_sale([*each.get("items", []), *each.get("add_invoice_items", [])], f"phases[{place}][items]")
        schedule["phases"] = self.phases.make(customer, schedule["default_settings"], params.get("phases", []), start)
        self.account.save(schedule, "subscription_schedule.created")
        return self.begin(schedule) if start <= self.account.clock.seconds() else schedule

    def _settle(self, schedule: Object, params: Params) -> None:
        settings: Params = params.get("default_settings", {})
        schedule["default_settings"] |= {
            key: settings[key]
            for key in ("collection_method", "default_payment_method", "description")
            if key in settings
        }
        if "invoice_settings" in settings:
            schedule["default_settings"]["invoice_settings"] |= self.phases.invoice_settings(
                settings["invoice_settings"]
            )
        if "automatic_tax" in settings:
            schedule["default_settings"]["automatic_tax"] = self.items.tax.wanted(settings, "default_settings")

    def _from_subscription(self, params: Params) -> Object:
        """Put a running subscription under a schedule, whose first phase is the present period.

        Nothing else can be said with it (API reference: Create a schedule, `from_subscription`).
        """
        if len(params) > 1:
            others = ", ".join(sorted(params.keys() - {"from_subscription"}))
            raise invalid(f"You cannot set {others} when `from_subscription` is set.", "from_subscription", "")
        subscription = self.account.get("subscription", params["from_subscription"], "from_subscription")
        if subscription["status"] == "canceled":
            raise invalid("You cannot migrate a subscription that is canceled.", "from_subscription", "")
        if subscription["schedule"]:
            raise invalid(
                "You cannot migrate a subscription that is already attached to a schedule: "
                f"{subscription['schedule']}.",
                "from_subscription",
                "",
            )
        first = subscription["items"]["data"][0]
        dates = {"start_date": first["current_period_start"], "end_date": first["current_period_end"]}
        schedule = self.account.make(
            "subscription_schedule",
            customer=subscription["customer"],
            status="active",
            subscription=subscription["id"],
            billing_mode=deepcopy(subscription["billing_mode"]),
            current_phase=dates,
            phases=[_of_subscription(subscription) | dates],
            test_clock=subscription["test_clock"],
        )
        before = dict(subscription)
        self.account.save(schedule, "subscription_schedule.created")
        self.account.save(subscription | {"schedule": schedule["id"]}, "customer.subscription.updated", before)
        return schedule

    def update(self, schedule: Object, params: Params) -> Object:
        """Change a schedule. Of one that runs, phases that are over stay, and the current one has to be passed.

        A changed current phase changes the subscription now (Subscription schedules: Update a schedule).
        """
        _check_runs(schedule, "update", "updated")
        how, before = behavior(params), deepcopy(schedule)
        schedule = deepcopy(schedule)
        if "metadata" in params:
            schedule["metadata"] |= params["metadata"]
        if "end_behavior" in params:
            schedule["end_behavior"] = _ending(params)
        self._settle(schedule, params)
        customer = self.account.get("customer", schedule["customer"], "customer")
        if schedule["status"] == "not_started":
            if "phases" in params:
                given = params["phases"][0].get("start_date", schedule["phases"][0]["start_date"])
                start = self.phases.moment(given)
                schedule["phases"] = self.phases.make(customer, schedule["default_settings"], params["phases"], start)
            self.account.save(schedule, "subscription_schedule.updated", before)
            starts = schedule["phases"][0]["start_date"]
            return self.begin(schedule) if starts <= self.account.clock.seconds() else schedule
        if "phases" in params:
            self._replan(schedule, customer, params["phases"])
        self.account.save(schedule, "subscription_schedule.updated", before)
        place = _current(schedule)
        old, new = before["phases"][_current(before)], schedule["phases"][place]
        if any(old[each] != new[each] for each in old if each not in ("start_date", "end_date", "proration_behavior")):
            self._enter(schedule, new, how, self.account.clock.seconds())
        return self.account.get("subscription_schedule", schedule["id"])

    def _replan(self, schedule: Object, customer: Object, wanted: list[Params]) -> None:
        """Put other phases behind those that are over."""
        place, now = _current(schedule), self.account.clock.seconds()
        start: int = schedule["current_phase"]["start_date"]
        begins = [self.phases.moment(each["start_date"]) if "start_date" in each else None for each in wanted]
        if start not in begins:
            raise invalid(
                "The current phase has to be among the phases, with the `start_date` that it has.", "phases", ""
            )
        first = begins.index(start)
        over = schedule["phases"][:place]
        for each, found in zip(wanted[:first], over[place - first :] if first <= place else [], strict=False):
            same = [(row["price"], row.get("quantity", "1")) for row in each.get("items", [])]
            if same != [(row["price"], str(row["quantity"])) for row in found["items"]]:
                raise invalid("You cannot update a phase that has already ended.", "phases[0]", "")
        if first > place:
            raise invalid("You cannot add a phase before the current one.", "phases[0][start_date]", "")
        planned = self.phases.make(customer, schedule["default_settings"], wanted[first:], start, first)
        if planned[0]["end_date"] <= now:
            raise invalid("The current phase has to end in the future.", f"phases[{first}][end_date]", "")
        schedule["phases"] = [*over, *planned]
        schedule["current_phase"] = {name: planned[0][name] for name in ("start_date", "end_date")}

    # ---- what time does

    def begin(self, schedule: Object) -> Object:
        """Begin the first phase. The invoice stays a draft for an hour, as with every schedule."""
        phase, before = schedule["phases"][0], dict(schedule)
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
            "description": phase["description"] or settings["description"],
            "discounts": _redeemable(phase["discounts"]),
            "billing_mode": schedule["billing_mode"],
        }
        rows = [each | {"discounts": _redeemable(each["discounts"])} for each in phase["items"]]
        subscription = self.subscriptions.begin(
            customer, params, [_quantified(each) for each in rows], phase["start_date"]
        )
        subscription["invoice_settings"] |= {name: invoicing[name] for name in SHOWN}
        self.billing.first(subscription, phase["add_invoice_items"])
        self.account.save(subscription | {"status": "active"}, "customer.subscription.created")
        schedule |= {
            "status": "active",
            "subscription": subscription["id"],
            "current_phase": {"start_date": phase["start_date"], "end_date": phase["end_date"]},
        }
        return self.account.save(schedule, "subscription_schedule.updated", before)

    def advance(self, schedule: Object) -> None:
        """Go on to the next phase, with prorations as that says, or end after the last one."""
        place, before = _current(schedule), deepcopy(schedule)
        if place + 1 == len(schedule["phases"]):
            self._end(schedule)
            return
        phase = schedule["phases"][place + 1]
        schedule["current_phase"] = {name: phase[name] for name in ("start_date", "end_date")}
        self.account.save(schedule, "subscription_schedule.updated", before)
        self._enter(schedule, phase, phase["proration_behavior"], phase["start_date"])

    def _enter(self, schedule: Object, phase: Object, how: str, at: int) -> None:
        """Make a subscription what a phase says. An item whose price stays is the same item."""
        subscription = self.account.get("subscription", schedule["subscription"])
        customer = self.account.get("customer", subscription["customer"])
        settings, after = schedule["default_settings"], deepcopy(subscription)
        rows = self._rows(after, phase, at)
        invoicing: Object = phase["invoice_settings"] or settings["invoice_settings"]
        after |= {
            "default_tax_rates": phase["default_tax_rates"],
            "automatic_tax": after["automatic_tax"] | phase["automatic_tax"],
            "collection_method": phase["collection_method"] or settings["collection_method"],
            "days_until_due": invoicing["days_until_due"],
            "default_payment_method": phase["default_payment_method"] or settings["default_payment_method"],
            "description": phase["description"] or settings["description"],
            "metadata": after["metadata"] | phase["metadata"],
            "invoice_settings": after["invoice_settings"] | {name: invoicing[name] for name in SHOWN},
        }
        owner = {"subscription": after["id"]}
        if not _kept(self.account, after["discounts"], phase["discounts"]):
            given = _redeemable(phase["discounts"])
            after["discounts"] = self.coupons.redeem(given, customer["id"], at, **owner)
        for each in phase["add_invoice_items"]:
            self._pending(after, each, at)
        end: int = subscription["items"]["data"][0]["current_period_end"]
        reset = phase["billing_cycle_anchor"] == "phase_start" and at < end
        self.changes.apply(subscription, after, rows, how, at, reset=reset)

    def _rows(self, after: Object, phase: Object, at: int) -> list[Change]:
        present: list[Object] = after["items"]["data"]
        start, end = present[0]["current_period_start"], present[0]["current_period_end"]
        known = {each["price"]["id"]: each for each in present}
        owner, items, changes = {"subscription": after["id"]}, list[Object](), list[Change]()
        for row in phase["items"]:
            found = known.pop(row["price"], None)
            before = deepcopy(found)
            price = self.account.get("price", row["price"])
            item = found or self.items.make(after, price, _quantified(row), start, end)
            counted(item, row["quantity"])
            item |= {"metadata": row["metadata"], "tax_rates": row["tax_rates"]}
            if not _kept(self.account, item["discounts"], row["discounts"]):
                given = _redeemable(row["discounts"])
                of_item = owner | {"subscription_item": item["id"]}
                item["discounts"] = self.coupons.redeem(given, after["customer"], at, **of_item)
            items.append(item)
            changes.append(Change(before, item))
        after["items"]["data"] = items
        return [*(Change(each, None) for each in known.values()), *changes]

    def _pending(self, subscription: Object, row: Object, at: int) -> None:
        """Leave what a phase charges once to the next invoice (API reference: `phases.add_invoice_items`)."""
        price = self.account.get("price", row["price"])
        details: Object = {"subscription": subscription["id"], "subscription_item": None}
        made = self.account.make(
            "invoiceitem",
            amount=rounded_amount(price["unit_amount_decimal"], row["quantity"]),
            currency=price["currency"],
            customer=subscription["customer"],
            date=at,
            description=self.account.get("product", price["product"])["name"],
            metadata=row["metadata"],
            parent={"type": "subscription_details", "subscription_details": details},
            period={"start": at, "end": at},
            pricing=self.billing.invoicing.pricing(price),
            quantity=row["quantity"],
            quantity_decimal=str(row["quantity"]),
            tax_rates=row["tax_rates"],
        )
        self.account.save(made, "invoiceitem.created")

    # ---- the end

    def cancel(self, schedule: Object, params: Params) -> Object:
        """Cancel a schedule and its subscription, which credits what is unused and bills what is pending, unless that
        is declined (API reference: Cancel a schedule)."""
        _check_runs(schedule, "cancel", "canceled")
        if schedule["subscription"]:
            found = self.account.get("subscription", schedule["subscription"])
            self.subscriptions.cancel(found, params, prorate=True, invoice_now=True)
            return self.account.get("subscription_schedule", schedule["id"])
        now = self.account.clock.seconds()
        return self.account.save(
            schedule | {"status": "canceled", "canceled_at": now}, "subscription_schedule.canceled"
        )

    def release(self, schedule: Object, params: Params) -> Object:
        """Let a subscription go on as it is, without its schedule (API reference: Release a schedule)."""
        _check_runs(schedule, "release", "released")
        now, key = self.account.clock.seconds(), schedule["subscription"]
        if subscription := self.account.find("subscription", key or ""):
            after: Object = subscription | {"schedule": None}
            if not forms.flag(params.get("preserve_cancel_date")):
                after |= {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
            self.account.save(after, "customer.subscription.updated", dict(subscription))
        over: Object = {"status": "released", "released_at": now, "released_subscription": key, "subscription": None}
        return self.account.save(schedule | over | {"current_phase": None}, "subscription_schedule.released")

    def _end(self, schedule: Object) -> None:
        """End a schedule after its last phase. Its subscription goes on, or is cancelled (API reference: The schedule
        object, `end_behavior` and `released_subscription`)."""
        if schedule["end_behavior"] != "cancel":
            self.release(schedule, {"preserve_cancel_date": "true"})
            return
        over: Object = {"status": "completed", "completed_at": self.account.clock.seconds(), "current_phase": None}
        self.account.save(schedule | over, "subscription_schedule.completed")
        found = self.account.get("subscription", schedule["subscription"])
        prorate = schedule["phases"][-1]["proration_behavior"] != "none"
        self.subscriptions.cancel(found, {}, prorate=prorate, invoice_now=True)


def _check_runs(schedule: Object, verb: str, past: str) -> None:
    """Refuse to do something with a schedule that is over, in Stripe's words."""
    if schedule["status"] not in RUNNING:
        raise invalid(
            f"You cannot {verb} a subscription schedule that is currently in the `{schedule['status']}` status. "
            f"It must be in `{', '.join(RUNNING)}` status to be {past}.",
            code="resource_invalid",
        )


def _ending(params: Params) -> str:
    wanted: str = params.get("end_behavior", "release")
    if wanted not in ENDINGS:
        raise invalid(f"Invalid end_behavior: must be one of {', '.join(ENDINGS)}", "end_behavior", "")
    return wanted


def _current(schedule: Object) -> int:
    """Return the place of the current phase."""
    start = schedule["current_phase"]["start_date"]
    return next(place for place, each in enumerate(schedule["phases"]) if each["start_date"] == start)


def _quantified(row: Object) -> Object:
    """Return an item of a phase as one that is asked for: one by usage has no quantity."""
    return {name: each for name, each in row.items() if name != "quantity" or each is not None}


def _redeemable(rows: list[Object]) -> list[Object]:
    return [{name: each for name, each in row.items() if each is not None} for row in rows]


def _kept(account: Account, present: list[str], wanted: list[Object]) -> bool:
    """Return whether a subscription or an item has the discounts that a phase says already."""
    has = [account.get("discount", each)["source"]["coupon"] for each in present]
    return has == [each["coupon"] for each in wanted] or present == [each["discount"] for each in wanted]


def _of_subscription(subscription: Object) -> Object:
    """Return the phase that a running subscription is in."""
    none = empty("coupon discount promotion_code")
    shown: Any = {name: subscription[name] for name in OF_A_PHASE}
    return shown | {
        **empty("application_fee_percent billing_cycle_anchor billing_thresholds on_behalf_of transfer_data trial_end"),
        "add_invoice_items": [],
        "automatic_tax": dict(subscription["automatic_tax"]),
        "default_tax_rates": list(subscription["default_tax_rates"]),
        "discounts": [none | {"discount": each} for each in subscription["discounts"]],
        "invoice_settings": None,
        "items": [
            {
                "price": each["price"]["id"],
                "plan": each["price"]["id"],
                "quantity": each.get("quantity"),
                "discounts": [none | {"discount": key} for key in each["discounts"]],
                "metadata": dict(each["metadata"]),
                "tax_rates": list(each["tax_rates"]),
                "billing_thresholds": None,
            }
            for each in subscription["items"]["data"]
        ],
        "proration_behavior": "create_prorations",
    }
