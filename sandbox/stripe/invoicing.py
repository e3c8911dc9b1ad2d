"""Invoices: lines, taxes, finalization, and what ends them (API reference: Invoices; Billing: Invoice workflow)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.balances import Balances, due_of, shown
from sandbox.stripe.discounts import Discounts, net
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.periods import HOUR
from sandbox.stripe.tax import NO_LOCATION, Tax


def check_due(params: Params) -> None:
    """Raise `StripeError` for an invoice that is sent and never due, and for one that is charged and has days.

    0 days are at once (API reference: Create an invoice, Create a subscription, `days_until_due`).
    """
    is_sent = params.get("collection_method") == "send_invoice"
    days = params.get("days_until_due")
    if is_sent and days in (None, ""):
        reason = "You must specify `days_until_due` when `collection_method` is `send_invoice`."
        raise invalid(reason, "days_until_due", "parameter_missing")
    if not is_sent and days not in (None, ""):
        raise invalid(
            "You can only set `days_until_due` if `collection_method` is `send_invoice`.", "days_until_due", ""
        )


def rounded_amount(unit: str, quantity: int | Decimal) -> int:
    """Return the amount of a line, rounded half up to the minor unit (Decimal amounts for pricing: Rounding)."""
    return int((Decimal(unit) * quantity).quantize(Decimal(1), ROUND_HALF_UP))


class Invoicing:
    """Draft, finalize, settle, void and write off invoices."""

    def __init__(self, account: Account, balances: Balances) -> None:
        self.account = account
        self.balances = balances
        self.tax = Tax(account)
        self.discounts = Discounts(account)
        self.counted: Callable[[Object], Object] = lambda draft: draft
        """Counts the usage on a draft again, before it is finalized."""

    def draft(self, customer: Object, currency: str, lines: list[Object], **values: Any) -> Object:
        """Create a draft with `lines` made by `line`, and compute its totals."""
        account = self.account
        invoice = account.make("invoice", customer=customer["id"], currency=currency, **values)
        for line in lines:
            line["invoice"] = invoice["id"]
        tax_ids = [each for each in account.all("tax_id") if each["customer"] == customer["id"]]
        invoice |= {f"customer_{name}": customer[name] for name in ("address", "email", "name", "tax_exempt")} | {
            "account_country": "DE",
            "account_name": "Sandbox",
            "customer_tax_ids": [{"type": each["type"], "value": each["value"]} for each in tax_ids],
            "starting_balance": customer["balance"],
            "lines": listing(f"/v1/invoices/{invoice['id']}/lines", lines),
        }
        return account.save(self.totalled(invoice), "invoice.created")

    def line(self, price: Object, quantity: int, rates: list[Object], period: tuple[int, int], **values: Any) -> Object:
        """Return a line for `quantity` of `price`; taxes are rounded for each line."""
        amount = rounded_amount(price["unit_amount_decimal"], quantity)
        product = self.account.get("product", price["product"])
        return self.account.make(
            "line_item",
            amount=amount,
            subtotal=amount,
            currency=price["currency"],
            quantity=quantity,
            quantity_decimal=str(quantity),
            description=f"{quantity} × {product['name']}",
            period={"start": period[0], "end": period[1]},
            taxes=self.taxes(amount, price["currency"], rates),
            pricing=self.pricing(price),
            **values,
        )

    def pricing(self, price: Object) -> Object:
        return {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        }

    def taxes(self, amount: int, currency: str, rates: list[Object]) -> list[Object]:
        """Return the taxes of a line, rounded to what can be charged: its invoice could not be paid otherwise."""
        return [
            {
                "amount": currencies.rounded(amount * Decimal(str(rate["percentage"])) / 100, currency),
                "taxable_amount": amount,
                "tax_behavior": "exclusive",
                "tax_rate_details": {"tax_rate": rate["id"]},
                "type": "tax_rate_details",
                "taxability_reason": "not_available",
            }
            for rate in rates
        ]

    def _taxed(self, invoice: Object) -> Object:
        """Let each line have the taxes that Stripe Tax knows now, where it is asked (The Invoice object)."""
        automatic: Object = invoice["automatic_tax"]
        if not automatic["enabled"]:
            return invoice
        customer = self.account.get("customer", invoice["customer"])
        known = self.tax.place(customer) is not None
        for line in invoice["lines"]["data"]:
            pricing: Object = line["pricing"] or {"price_details": {"product": ""}}
            product = self.account.find("product", pricing["price_details"]["product"])
            line["taxes"] = self.tax.of(customer, product, net(line), line["currency"]) if known else []
        status = "complete" if known else "requires_location_inputs"
        return invoice | {"automatic_tax": automatic | {"status": status, "provider": "stripe"}}

    def totalled(self, invoice: Object) -> Object:
        """Return a draft with its discounts, taxes and totals: tax is on what is left after discounts."""
        lines = invoice["lines"]["data"]
        self.discounts.apply(invoice)
        for line in lines:
            rates = [self.account.get("tax_rate", each["tax_rate_details"]["tax_rate"]) for each in line["taxes"]]
            line["taxes"] = self.taxes(net(line), line["currency"], rates)
        invoice = self._taxed(invoice)
        subtotal = sum(each["amount"] for each in lines)
        by_rate: dict[str, Object] = {}
        for line in lines:
            for tax in line["taxes"]:
                rate = tax["tax_rate_details"]["tax_rate"]
                sums = by_rate.setdefault(rate, tax | {"amount": 0, "taxable_amount": 0})
                sums["amount"] += tax["amount"]
                sums["taxable_amount"] += tax["taxable_amount"]
        discounts = self.discounts.totals(lines)
        before_tax = subtotal - sum(each["amount"] for each in discounts)
        total = before_tax + sum(each["amount"] for each in by_rate.values())
        return invoice | {
            "subtotal": subtotal,
            "subtotal_excluding_tax": subtotal,
            "total_discount_amounts": discounts,
            "total_excluding_tax": before_tax,
            "total_taxes": list(by_rate.values()),
            "total": total,
            **shown(invoice, total, invoice["starting_balance"]),
        }

    # ---- transitions (Billing: Status transitions and finalization)

    def finalize(self, invoice: Object, *, by_itself: bool = False) -> Object:
        """Open a draft. One of which nothing is due is paid at once, without a payment.

        Tax is that of the moment. Where the place of a customer is not known, a request is refused, and what finalizes
        `by_itself` goes on without tax (Collect customer addresses: Invoice finalization errors).
        """
        if invoice["status"] != "draft":
            raise invalid(
                "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
                code="invoice_not_editable",
            )
        account, now = self.account, self.account.clock.seconds()
        customer = account.get("customer", invoice["customer"], "customer")
        invoice = self.counted(invoice)
        if invoice["automatic_tax"]["enabled"]:
            invoice = self._with_tax(invoice, by_itself=by_itself)
        due, left = due_of(invoice["total"], customer["balance"], invoice["currency"])
        currencies.chargeable(due, invoice["currency"])
        invoice |= self._numbered(customer, invoice) | {
            "starting_balance": customer["balance"],
            "ending_balance": left,
            "amount_due": due,
            "amount_remaining": due,
            "next_payment_attempt": now if due and invoice["collection_method"] == "charge_automatically" else None,
        }
        self._carry(customer, invoice)
        if due:
            self._request(invoice)
        account.save(invoice, "invoice.finalized")
        return invoice if due else self.settled(invoice)

    def _numbered(self, customer: Object, invoice: Object) -> Object:
        """Give the customer's next number to an invoice, and return what it has with it."""
        now, sequence = self.account.clock.seconds(), customer["next_invoice_sequence"]
        customer |= {"next_invoice_sequence": sequence + 1, "currency": invoice["currency"]}
        self.account.save(customer)
        return {
            "status": "open",
            "number": f"{customer['invoice_prefix']}-{sequence:04d}",
            "effective_at": now,
            "automatically_finalizes_at": None,
            "status_transitions": invoice["status_transitions"] | {"finalized_at": now},
        }

    def _with_tax(self, invoice: Object, *, by_itself: bool) -> Object:
        found = self.totalled(invoice)
        if found["automatic_tax"]["status"] == "complete":
            return found
        error = invalid(NO_LOCATION, "", "customer_tax_location_invalid")
        found["last_finalization_error"] = error.body["error"]
        if not by_itself:
            self.account.save(found, "invoice.finalization_failed")
            raise error
        off: Object = {"enabled": False, "status": None, "disabled_reason": "finalization_requires_location_inputs"}
        return self.totalled(found | {"automatic_tax": found["automatic_tax"] | off})

    def _carry(self, customer: Object, invoice: Object) -> None:
        """Use the customer's balance, and add what is too small to be charged or was credited.

        (API reference: Invoice, `amount_due` and `ending_balance`; Customer balance: Types.)
        """
        change = invoice["ending_balance"] - invoice["starting_balance"]
        if change:
            kind = "invoice_too_small" if invoice["ending_balance"] > 0 else "applied_to_invoice"
            self.balances.change(customer, change, kind, invoice["currency"], invoice=invoice["id"])

    def _request(self, invoice: Object) -> None:
        """Make the payment that the invoice asks for, which is kept at what remains to be paid."""
        account = self.account
        intent = account.make(
            "payment_intent",
            amount=invoice["amount_due"],
            currency=invoice["currency"],
            customer=invoice["customer"],
            description=f"Invoice {invoice['number']}",
            payment_method=self.method(invoice),
        )
        intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
        account.save(intent, "payment_intent.created")
        payment = account.make(
            "invoice_payment",
            amount_requested=invoice["amount_due"],
            currency=invoice["currency"],
            invoice=invoice["id"],
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )
        account.save(payment)

    def settled(self, invoice: Object, *, by_payment: bool = True) -> Object:
        """Mark the invoice as paid. What was paid outside of Stripe is no payment that succeeded (Types of events)."""
        now = self.account.clock.seconds()
        invoice |= {
            "status": "paid",
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "attempted": True,
            "next_payment_attempt": None,
            "status_transitions": invoice["status_transitions"] | {"paid_at": now},
        }
        self.account.save(invoice, "invoice.paid")
        return self.account.save(invoice, "invoice.payment_succeeded") if by_payment else invoice

    def stop_collection(self, customer: str, *statuses: str) -> None:
        """Collect the invoices of a customer that are in one of these states no more by itself."""
        for each in self.account.all("invoice"):
            if each["customer"] == customer and each["status"] in statuses and each["auto_advance"]:
                before = dict(each)
                stopped: Object = {"auto_advance": False, "next_payment_attempt": None}
                self.account.save(each | stopped, "invoice.updated", before)

    def advance(self, invoice: Object, *, wanted: bool) -> Object:
        """Return an invoice that is to be collected by itself, or no more. An hour later it is tried (Automatic invoice
        advancement: only a draft or an open invoice has it)."""
        if invoice["status"] not in ("draft", "open"):
            reason = "You can only update automatic advancement of invoices that are draft or open."
            raise invalid(reason, "auto_advance", "invoice_not_editable")
        is_tried = wanted and invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically"
        attempt = self.account.clock.seconds() + HOUR if is_tried else None
        return invoice | {"auto_advance": wanted, "next_payment_attempt": invoice["next_payment_attempt"] or attempt}

    def void(self, invoice: Object) -> Object:
        """Void the invoice: it is owed no longer, and a balance that was used for it is given back."""
        if invoice["status"] not in ("open", "uncollectible"):
            raise invalid("You can only void open or uncollectible invoices.", code="status_transition_invalid")
        self.withdraw(invoice)
        used = invoice["ending_balance"] - invoice["starting_balance"]
        if used:
            customer = self.account.get("customer", invoice["customer"], "customer")
            self.balances.change(customer, -used, "unapplied_from_invoice", invoice["currency"], invoice=invoice["id"])
        return self._ended(invoice | {"amount_remaining": 0}, "void", "voided_at", "invoice.voided")

    def void_at_once(self, draft: Object) -> Object:
        """Void an invoice of a paused collection: it asks for no payment, and uses nothing of the customer's balance
        (Pause payment collection)."""
        customer = self.account.get("customer", draft["customer"], "customer")
        invoice = self._with_tax(draft, by_itself=True) if draft["automatic_tax"]["enabled"] else draft
        unused = {f"{name}_balance": customer["balance"] for name in ("starting", "ending")}
        unused["amount_due"] = invoice["total"]
        final = invoice | self._numbered(customer, invoice) | unused
        self.account.save(final, "invoice.finalized")
        return self._ended(final | {"amount_remaining": 0}, "void", "voided_at", "invoice.voided")

    def write_off(self, invoice: Object) -> Object:
        """Mark the invoice as one that will not be paid. It may be paid or voided all the same."""
        if invoice["status"] != "open":
            raise invalid("You can only mark open invoices as uncollectible.", code="status_transition_invalid")
        return self._ended(invoice, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")

    def delete(self, invoice: Object) -> Object:
        """Delete a draft that no subscription made (API reference: Delete a draft invoice)."""
        if invoice["status"] != "draft" or invoice["subscription"]:
            raise invalid(
                "You can only delete draft invoices that are not of a subscription.", code="invoice_not_editable"
            )
        return self.account.remove(invoice, "invoice.deleted")

    def _ended(self, invoice: Object, status: str, moment: str, event: str) -> Object:
        transitions = invoice["status_transitions"] | {moment: self.account.clock.seconds()}
        ended: Object = {"status": status, "status_transitions": transitions, "next_payment_attempt": None}
        return self.account.save(invoice | ended, event)

    # ---- what belongs to an invoice

    def payments(self, invoice_id: str) -> list[Object]:
        return [each for each in self.account.all("invoice_payment") if each["invoice"] == invoice_id]

    def request(self, invoice: Object) -> Object:
        """Return the payment that the invoice asks for by itself."""
        return next(each for each in self.payments(invoice["id"]) if each["is_default"])

    def intent(self, invoice: Object) -> Object:
        return self.account.get("payment_intent", self.request(invoice)["payment"]["payment_intent"])

    def withdraw(self, invoice: Object) -> None:
        """Cancel the payment that an invoice asks for: it needs none, or was paid in another way."""
        request, intent, now = self.request(invoice), self.intent(invoice), self.account.clock.seconds()
        transitions = request["status_transitions"] | {"canceled_at": now}
        self.account.save(request | {"status": "canceled", "status_transitions": transitions})
        self.account.save(intent | {"status": "canceled", "canceled_at": now}, "payment_intent.canceled")

    def method(self, invoice: Object) -> str | None:
        """Return the payment method that an invoice is charged to."""
        subscription = self.account.find("subscription", invoice["subscription"] or "") or {}
        customer = self.account.get("customer", invoice["customer"])
        return (
            invoice["default_payment_method"]
            or subscription.get("default_payment_method")
            or customer["invoice_settings"]["default_payment_method"]
        )
