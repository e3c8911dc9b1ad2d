"""Previews: the invoice that is to come, of which nothing is stored (API reference: Create a preview invoice).

What is asked for is done to a copy of the account, until that makes an invoice: so a preview is what then comes.
"""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.changes import Changes
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.due import Due
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.periods import HOUR
from sandbox.stripe.subscriptions import behavior

DETAILS = {
    "subscription_details": {
        *("billing_cycle_anchor", "billing_mode", "cancel_at", "cancel_at_period_end", "cancel_now"),
        *("default_tax_rates", "items", "metadata", "proration_behavior", "proration_date", "start_date"),
    },
    "schedule_details": {"billing_mode", "end_behavior", "phases", "proration_behavior"},
}
OF_INVOICES = ("account_tax_ids", "days_until_due", "issuer")
"""What a preview takes of a phase's invoices (API reference: Create a preview invoice,
`schedule_details.phases.invoice_settings`)."""
MODES = ("next", "recurring")
NEW_ALONE = {"billing_mode", "start_date"}
"""What is said of a subscription that is to begin only."""
STEPS = 100
"""How many phases and periods without an invoice are gone through."""


class Previews:
    """Preview invoices on an account that is a copy."""

    def __init__(self, account: Account, changes: Changes, pending: InvoiceItems, due: Due, coupons: Coupons) -> None:
        self.account = account
        self.changes = changes
        self.pending = pending
        self.due = due
        self.coupons = coupons
        self.before: set[str] = set()

    def create(self, params: Params) -> Object:
        """Return the next invoice of a subscription or a schedule, or with `recurring` one of a whole period alone."""
        self._check(params)
        customer = self._customer(params)
        recurring = params.get("preview_mode", "next") == "recurring"
        for each in params.get("invoice_items", []):
            self.pending.create(each | {"customer": customer["id"]})
        if recurring:
            self._forget(customer)
        self.before = {each["id"] for each in self.account.all("invoice")}
        if "schedule" in params or "schedule_details" in params:
            key = self._schedule(customer, params)
        elif "subscription" in params:
            details = dict(params.get("subscription_details", {}))
            key = self._change(params["subscription"], details, params, recurring=recurring)
        else:
            key = self._begin(customer, dict(params.get("subscription_details", {})), params)
        if recurring:
            self._forget(customer)
            self.before |= {each["id"] for each in self.account.all("invoice")}
        return self._shown(self._next(customer, key))

    def _check(self, params: Params) -> None:
        mode = params.get("preview_mode", "next")
        if mode not in MODES:
            raise invalid(f"Invalid preview_mode: must be one of {', '.join(MODES)}", "preview_mode", "")
        if not params.keys() & {"customer", "subscription", "schedule"}:
            raise invalid("You must specify one of `customer`, `subscription` or `schedule`.", "customer", "")
        of_a_schedule = params.keys() & {"schedule", "schedule_details"}
        of_none = params.keys() & {"subscription", "subscription_details", "automatic_tax", "discounts"}
        if of_a_schedule and of_none:
            one, other = min(of_a_schedule), min(of_none)
            raise invalid(f"You may only specify one of these parameters: {one}, {other}.", one, "")
        for name, known in DETAILS.items():
            for each in params.get(name, {}):
                if each not in known:
                    raise invalid(f"Received unknown parameter: {name}[{each}]", f"{name}[{each}]", "parameter_unknown")
        details: Params = params.get("subscription_details", {})
        if "proration_date" in details and details.get("proration_behavior") == "none":
            raise invalid(
                "You cannot set `proration_date` when `proration_behavior` is `none`.",
                "subscription_details[proration_date]",
                "",
            )
        if "proration_date" in details and "subscription" not in params:
            raise invalid(
                "Cannot specify proration date without specifying a subscription",
                "subscription_details[proration_date]",
                "",
            )

    def _customer(self, params: Params) -> Object:
        for kind in ("subscription", "schedule"):
            if kind in params:
                stored = "subscription_schedule" if kind == "schedule" else kind
                owner = self.account.get(stored, params[kind], kind)["customer"]
                if params.get("customer", owner) != owner:
                    raise invalid(f"The customer does not have the {kind} {params[kind]}.", kind, "resource_missing")
                return self.account.get("customer", owner)
        return self.account.get("customer", params["customer"], "customer")

    # ---- what is asked for

    def _begin(self, customer: Object, details: Params, params: Params) -> str:
        require(details, "items")
        anchor: Any = details.pop("billing_cycle_anchor", {"type": "now"})
        wanted: Params = {"customer": customer["id"], **details}
        wanted.pop("cancel_now", None)
        if "discounts" in params:
            wanted["discounts"] = params["discounts"] or []
        if "automatic_tax" in params:
            wanted["automatic_tax"] = params["automatic_tax"]
        if anchor.get("type") == "timestamp":
            wanted["billing_cycle_anchor"] = anchor["timestamp"]
        if "start_date" in wanted:
            start = int(wanted.pop("start_date"))
            if start > self.account.clock.seconds():
                self.account.clock.held = start
            else:
                wanted["backdate_start_date"] = start
        return self.changes.subscriptions.create(wanted)["id"]

    def _change(self, key: str, details: Params, params: Params, *, recurring: bool) -> str:
        subscription = self.account.get("subscription", key)
        if names := details.keys() & NEW_ALONE:
            name = f"subscription_details[{min(names)}]"
            raise invalid(f"You cannot pass {name} for a subscription that exists.", name, "")
        if forms.flag(details.pop("cancel_now", None)):
            prorate = behavior(details) != "none"
            self.changes.subscriptions.cancel(subscription, {}, prorate=prorate, invoice_now=True)
            return key
        details |= {name: params[name] for name in ("automatic_tax", "discounts") if name in params}
        if recurring:
            details["proration_behavior"] = "none"
        if details:
            self.changes.update(subscription, details)
        return key

    def _schedule(self, customer: Object, params: Params) -> str:
        details: Params = dict(params.get("schedule_details", {}))
        self._check_phases(details.get("phases", []))
        if "schedule" not in params:
            first: Params = details["phases"][0] if details.get("phases") else {}
            if "start_date" not in first:
                name = "schedule_details[phases][0][start_date]"
                raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
            start = first["start_date"]
            return self.due.schedules.create({"customer": customer["id"], **details, "start_date": start})["id"]
        found = self.account.get("subscription_schedule", params["schedule"])
        if "billing_mode" in details:
            name = "schedule_details[billing_mode]"
            raise invalid(f"You cannot pass {name} for a schedule that exists.", name, "")
        if details:
            self.due.schedules.update(found, details)
        return found["id"]

    def _check_phases(self, phases: list[Params]) -> None:
        """Refuse what is said of a phase's invoices that a preview does not take: what would be shown on them."""
        for place, each in enumerate(phases):
            for name in each.get("invoice_settings", {}):
                if name not in OF_INVOICES:
                    at = f"schedule_details[phases][{place}][invoice_settings][{name}]"
                    raise invalid(f"Received unknown parameter: {at}", at, "parameter_unknown")

    def _forget(self, customer: Object) -> None:
        """Leave out what is billed once: prorations and other pending items (`preview_mode`)."""
        for each in self.account.all("invoiceitem"):
            if each["customer"] == customer["id"] and each["invoice"] is None:
                self.account.remove(each)

    # ---- what then comes

    def _next(self, customer: Object, key: str) -> Object:
        for _ in range(STEPS):
            made = [each for each in self.account.all("invoice") if each["id"] not in self.before]
            if made:
                return made[-1]
            if not self.due.bill_next(customer["test_clock"], key):
                break
        raise StripeError(
            404,
            "invalid_request_error",
            f"No upcoming invoices for customer: {customer['id']}",
            code="invoice_upcoming_none",
        )

    def _shown(self, invoice: Object) -> Object:
        """Return an invoice as a preview: a draft with what is to be paid, and no payment."""
        if invoice["status"] == "draft":
            invoice = self.due.invoicing.finalize(invoice)
        key = f"upcoming_in_{secrets.token_hex(8)}"
        lines: Object = invoice["lines"]
        rows = [each | {"invoice": key} for each in lines["data"]]
        by_itself = invoice["collection_method"] == "charge_automatically"
        return invoice | {
            "id": key,
            "status": "draft",
            "billing_reason": "upcoming",
            "number": None,
            "effective_at": None,
            "attempted": False,
            "attempt_count": 0,
            "amount_paid": 0,
            "amount_remaining": invoice["amount_due"],
            "automatically_finalizes_at": None,
            "next_payment_attempt": invoice["created"] + HOUR if by_itself else None,
            "status_transitions": dict.fromkeys(invoice["status_transitions"]),
            "lines": lines | {"data": rows, "url": f"/v1/invoices/{key}/lines"},
        }
