"""Invoices and their payment: lines, taxes, finalization, attempts to charge."""

from __future__ import annotations

import secrets
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.errors import StripeError, declined, invalid
from sandbox.stripe.objects import Object, listing

RETRY_DAYS = (1, 3, 5, 7)
DECLINES = {
    "pm_card_chargeCustomerFail": "generic_decline",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
}
REFUSED_AT_ATTACH = {"pm_card_chargeDeclined": "generic_decline", "pm_card_visa_chargeDeclined": "generic_decline"}
DAY = 24 * 3600


class Invoicing:
    """Draft, finalize, charge and void invoices."""

    def __init__(self, account: Account) -> None:
        self.account = account

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
            "lines": listing(f"/v1/invoices/{invoice['id']}/lines", lines),
        }
        return account.save(self.totalled(invoice), "invoice.created")

    def line(self, price: Object, quantity: int, rates: list[Object], period: tuple[int, int], **values: Any) -> Object:
        """Return a line for `quantity` of `price`; taxes are rounded for each line."""
        amount = int((Decimal(price["unit_amount_decimal"]) * quantity).quantize(Decimal(1), ROUND_HALF_UP))
        product = self.account.get("product", price["product"])
        pricing: Object = {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
        return self.account.make(
            "line_item",
            amount=amount,
            subtotal=amount,
            currency=price["currency"],
            quantity=quantity,
            description=f"{quantity} × {product['name']}",
            period={"start": period[0], "end": period[1]},
            taxes=[_tax(amount, price["currency"], rate) for rate in rates],
            pricing=pricing,
            **values,
        )

    def totalled(self, invoice: Object) -> Object:
        lines = invoice["lines"]["data"]
        subtotal = sum(each["amount"] for each in lines)
        by_rate: dict[str, Object] = {}
        for line in lines:
            for tax in line["taxes"]:
                rate = tax["tax_rate_details"]["tax_rate"]
                sums = by_rate.setdefault(rate, tax | {"amount": 0, "taxable_amount": 0})
                sums["amount"] += tax["amount"]
                sums["taxable_amount"] += tax["taxable_amount"]
        total = subtotal + sum(each["amount"] for each in by_rate.values())
        return invoice | {
            "subtotal": subtotal,
            "subtotal_excluding_tax": subtotal,
            "total_excluding_tax": subtotal,
            "total_taxes": list(by_rate.values()),
            "total": total,
            "amount_due": total,
            "amount_remaining": total - invoice["amount_paid"],
        }

    def finalize(self, invoice: Object) -> Object:
        if invoice["status"] != "draft":
            raise invalid(
                "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
                code="invoice_not_editable",
            )
        currencies.chargeable(invoice["total"], invoice["currency"])
        account, now = self.account, self.account.clock.seconds()
        customer = account.get("customer", invoice["customer"])
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        account.save(
            customer | {"next_invoice_sequence": customer["next_invoice_sequence"] + 1, "currency": invoice["currency"]}
        )
        invoice |= {
            "status": "open",
            "number": number,
            "effective_at": now,
            "automatically_finalizes_at": None,
            "status_transitions": invoice["status_transitions"] | {"finalized_at": now},
            "next_payment_attempt": now if invoice["collection_method"] == "charge_automatically" else None,
        }
        intent = account.make(
            "payment_intent",
            amount=invoice["total"],
            currency=invoice["currency"],
            customer=invoice["customer"],
            description=f"Invoice {number}",
            payment_method=self._method(invoice),
        )
        intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
        account.save(intent, "payment_intent.created")
        payment = account.make(
            "invoice_payment",
            amount_requested=invoice["total"],
            currency=invoice["currency"],
            invoice=invoice["id"],
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )
        account.save(payment)
        account.save(invoice, "invoice.finalized")
        return self._settled(invoice, 0) if invoice["total"] == 0 else invoice

    def pay(self, invoice: Object, method: str = "", *, out_of_band: bool = False) -> Object:
        """Charge the invoice now. Raises the card error of a decline, after the attempt is recorded."""
        if invoice["status"] == "paid":
            raise invalid("Invoice is already paid", code="invoice_already_paid")
        if invoice["status"] == "draft":
            invoice = self.finalize(invoice)
        if out_of_band:
            return self._settled(invoice, invoice["amount_remaining"])
        chosen = self.account.find("payment_method", method or self._method(invoice) or "")
        if chosen is None:
            raise invalid("There is no `default_payment_method` set on this Customer or Invoice.", code="missing")
        reason = DECLINES.get(chosen["metadata"].get("token", ""))
        intent = self._intent(invoice)
        charge = self._charge(invoice, intent, chosen, reason)
        now = self.account.clock.seconds()
        invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if reason is None:
            self.account.save(
                intent
                | {
                    "status": "succeeded",
                    "amount_received": invoice["total"],
                    "latest_charge": charge["id"],
                    "payment_method": chosen["id"],
                },
                "payment_intent.succeeded",
            )
            return self._settled(invoice, invoice["amount_remaining"])
        error = declined(reason, charge=charge["id"], payment_intent={"id": intent["id"]})
        self.account.save(
            intent
            | {
                "status": "requires_payment_method",
                "latest_charge": charge["id"],
                "last_payment_error": error.body["error"],
            },
            "payment_intent.payment_failed",
        )
        tries = invoice["attempt_count"]
        invoice["next_payment_attempt"] = now + RETRY_DAYS[tries - 1] * DAY if tries <= len(RETRY_DAYS) else None
        self.account.save(invoice, "invoice.payment_failed")
        raise error

    def collect(self, invoice: Object) -> Object:
        """Charge the invoice as the platform itself does: a decline is recorded and raises nothing."""
        try:
            return self.pay(invoice)
        except StripeError:
            return self.account.get("invoice", invoice["id"]) | {}

    def void(self, invoice: Object) -> Object:
        if invoice["status"] not in ("open", "uncollectible"):
            raise invalid("You can only void open or uncollectible invoices.", code="status_transition_invalid")
        now = self.account.clock.seconds()
        transitions = invoice["status_transitions"] | {"voided_at": now}
        return self.account.save(
            invoice | {"status": "void", "amount_remaining": 0, "status_transitions": transitions}, "invoice.voided"
        )

    def payments(self, invoice_id: str) -> list[Object]:
        return [each for each in self.account.all("invoice_payment") if each["invoice"] == invoice_id]

    def _intent(self, invoice: Object) -> Object:
        (payment,) = self.payments(invoice["id"])
        return self.account.get("payment_intent", payment["payment"]["payment_intent"])

    def _method(self, invoice: Object) -> str | None:
        subscription = self.account.find("subscription", invoice["subscription"] or "") or {}
        customer = self.account.get("customer", invoice["customer"])
        return (
            invoice["default_payment_method"]
            or subscription.get("default_payment_method")
            or customer["invoice_settings"]["default_payment_method"]
        )

    def _charge(self, invoice: Object, intent: Object, method: Object, reason: str | None) -> Object:
        paid = reason is None
        card = {key: method["card"][key] for key in ("brand", "country", "exp_month", "exp_year", "funding", "last4")}
        failure: Object = {"failure_code": "card_declined", "failure_message": "Your card was declined."}
        charge = self.account.make(
            "charge",
            amount=invoice["total"],
            amount_captured=invoice["total"] if paid else 0,
            captured=paid,
            paid=paid,
            currency=invoice["currency"],
            customer=invoice["customer"],
            payment_intent=intent["id"],
            payment_method=method["id"],
            payment_method_details={"type": "card", "card": card},
            status="succeeded" if paid else "failed",
            description=intent["description"],
            **({} if paid else failure),
        )
        return self.account.save(charge, "charge.succeeded" if paid else "charge.failed")

    def _settled(self, invoice: Object, amount: int) -> Object:
        now = self.account.clock.seconds()
        for each in self.payments(invoice["id"]):
            transitions = each["status_transitions"] | {"paid_at": now}
            self.account.save(
                each | {"status": "paid", "amount_paid": amount, "status_transitions": transitions},
                "invoice_payment.paid",
            )
        invoice |= {
            "status": "paid",
            "amount_paid": amount,
            "amount_remaining": 0,
            "attempted": True,
            "next_payment_attempt": None,
            "status_transitions": invoice["status_transitions"] | {"paid_at": now},
        }
        self.account.save(invoice, "invoice.paid")
        return self.account.save(invoice, "invoice.payment_succeeded")


def _tax(amount: int, currency: str, rate: Object) -> Object:
    """Return the tax of a line, rounded to what can be charged: its invoice could not be paid otherwise."""
    share = Decimal(str(rate["percentage"])) / 100
    return {
        "amount": currencies.rounded(amount * share, currency),
        "taxable_amount": amount,
        "tax_behavior": "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "type": "tax_rate_details",
        "taxability_reason": "not_available",
    }
