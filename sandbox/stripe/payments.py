"""Payments: charging an invoice by card or direct debit, in parts, or outside of Stripe (Billing: Pay an invoice)."""

from __future__ import annotations

import secrets

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import StripeError, declined, invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import Invoicing
from sandbox.stripe.ledger import Ledger
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.periods import DAY

RETRY_DAYS = (1, 3, 5, 7)
"""After how many days each retry comes, where the account has set nothing."""
HARD = (
    *("authentication_required", "highest_risk_level", "incorrect_number", "lost_card", "pickup_card", "stolen_card"),
    *("revocation_of_all_authorizations", "revocation_of_authorization", "transaction_not_allowed"),
)
"""Declines after which a card is not charged again: retries are scheduled on, and charge another one only (Automate
payment retries: Non-retryable decline codes)."""
RETRIES, DECLINED = "settings.retries", "bank.decline"
"""The kinds under which is kept what people set in the dashboard, and which cards their banks refuse."""
DECLINES = {
    "pm_card_chargeCustomerFail": "generic_decline",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
}
REFUSED_AT_ATTACH = {"pm_card_chargeDeclined": "generic_decline", "pm_card_visa_chargeDeclined": "generic_decline"}
SEPA_TOKENS = {"pm_success_de": True, "pm_failed_de": False, "pm_disputed_de": True}
"""Test payment methods of SEPA Direct Debit, and whether they pay (SEPA Direct Debit: Test your integration)."""
SEPA_DAYS = 5
"""How long a direct debit is on its way (SEPA Direct Debit: a delayed notification payment method)."""


class Payments:
    """Pay invoices, at once or after days; `tick` does what is due."""

    def __init__(self, account: Account, invoicing: Invoicing, ledger: Ledger) -> None:
        self.account = account
        self.invoicing = invoicing
        self.ledger = ledger

    def pay(self, invoice: Object, method: str = "", *, out_of_band: bool = False, by_itself: bool = False) -> Object:
        """Charge the invoice now. Raises the card error of a decline, after the attempt is recorded.

        A direct debit leaves it open while it is on its way. The first attempt counts, and those that the platform
        makes `by_itself` (The Invoice object, `attempt_count`).
        """
        if invoice["status"] == "paid":
            raise invalid("Invoice is already paid", code="invoice_already_paid")
        if invoice["status"] == "void":
            raise invalid("Voided invoices cannot be paid.", code="status_transition_invalid")
        if invoice["status"] == "draft":
            invoice = self.invoicing.finalize(invoice)
            if invoice["status"] == "paid":
                return invoice
        if out_of_band:
            self.invoicing.withdraw(invoice)
            return self.invoicing.settled(invoice, by_payment=False)
        intent = self.invoicing.intent(invoice)
        if intent["status"] == "processing":
            raise invalid("The payment of this invoice is processing.", code="payment_intent_unexpected_state")
        chosen = self.account.find("payment_method", method or self.invoicing.method(invoice) or "")
        if chosen is None:
            raise invalid("There is no `default_payment_method` set on this Customer or Invoice.", code="missing")
        counts = by_itself or not invoice["attempt_count"]
        invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + counts}
        if chosen["type"] == "sepa_debit":
            return self._debit(invoice, intent, chosen)
        reason = self._decline(chosen)
        charge = self._charge(intent, chosen, "failed" if reason else "succeeded", _of(invoice), reason)
        if reason is None:
            return self._paid(invoice, charge)
        error = declined(reason, charge=charge["id"], payment_intent={"id": intent["id"]})
        self._failed(invoice, charge, error, schedules=counts)
        raise error

    def collect(self, invoice: Object) -> Object:
        """Charge the invoice as the platform itself does: a decline is recorded and raises nothing.

        A card that was declined for good is not charged, and what was scheduled counts all the same.
        """
        if self._is_refused(invoice):
            skipped = invoice | {"attempt_count": invoice["attempt_count"] + 1}
            return self.account.save(skipped | self._next(skipped), "invoice.updated", invoice)
        try:
            return self.pay(invoice, by_itself=True)
        except StripeError:
            return self.account.get("invoice", invoice["id"]) | {}

    def attach(self, invoice: Object, params: Params) -> Object:
        """Count a payment that was made apart towards an invoice, in part or whole (Attach a payment to an Invoice)."""
        if invoice["status"] not in ("open", "uncollectible"):
            raise invalid("Payments can only be attached to open invoices.", code="status_transition_invalid")
        kind, key, currency, received = self._received(params)
        if currency != invoice["currency"]:
            raise invalid("The payment has to be in the invoice's currency.", kind, "")
        if any(each["payment"].get(kind) == key for each in self.account.all("invoice_payment")):
            raise invalid("This payment is attached to an invoice already.", kind, "")
        paid, now = min(received, invoice["amount_remaining"]), self.account.clock.seconds()
        made = self.account.make(
            "invoice_payment",
            amount_requested=received,
            amount_paid=paid,
            currency=invoice["currency"],
            invoice=invoice["id"],
            is_default=False,
            status="paid",
            payment={"type": kind, kind: key},
            status_transitions={"paid_at": now, "canceled_at": None},
        )
        self.account.save(made, "invoice_payment.paid")
        invoice |= {
            "amount_paid": invoice["amount_paid"] + paid,
            "amount_remaining": invoice["amount_remaining"] - paid,
            "amount_overpaid": received - paid,
        }
        if invoice["amount_overpaid"]:
            customer = self.account.get("customer", invoice["customer"])
            self.invoicing.balances.change(
                customer,
                -invoice["amount_overpaid"],
                "invoice_overpaid",
                invoice["currency"],
                invoice=invoice["id"],
            )
        if not invoice["amount_remaining"]:
            self.invoicing.withdraw(invoice)
            return self.invoicing.settled(invoice)
        self.account.save(self.invoicing.request(invoice) | {"amount_requested": invoice["amount_remaining"]})
        self.account.save(self.invoicing.intent(invoice) | {"amount": invoice["amount_remaining"]})
        return self.account.save(invoice, "invoice.updated")

    def _received(self, params: Params) -> tuple[str, str, str, int]:
        """Return the kind, id, currency and amount of a payment that has succeeded."""
        if key := params.get("payment_record"):
            record = self.account.get("payment_record", key, "payment_record")
            amount = record["amount_guaranteed"]
            found = ("payment_record", key, amount["currency"], amount["value"])
        else:
            require(params, "payment_intent")
            intent = self.account.get("payment_intent", params["payment_intent"], "payment_intent")
            found = ("payment_intent", intent["id"], intent["currency"], intent["amount_received"])
        if not found[3]:
            raise invalid("The payment has not succeeded.", found[0], "")
        return found

    def intent(self, params: Params) -> Object:
        """Create a payment and confirm it (API reference: Create a PaymentIntent)."""
        require(params, "amount", "currency")
        currency = currencies.known(params["currency"])
        amount = int(params["amount"])
        currencies.chargeable(amount, currency)
        if currencies.too_small(amount, currency):
            raise invalid("Amount must convert to at least the minimum charge.", "amount", "amount_too_small")
        made = self.account.make(
            "payment_intent",
            amount=amount,
            currency=currency,
            customer=params.get("customer"),
            metadata=params.get("metadata", {}),
            payment_method=params.get("payment_method"),
        )
        made["client_secret"] = f"{made['id']}_secret_{secrets.token_hex(12)}"
        if forms.flag(params.get("confirm")):
            method = self.account.get("payment_method", params.get("payment_method", ""), "payment_method")
            charge = self._charge(made, method, "succeeded", params.get("description"))
            made |= {"status": "succeeded", "amount_received": amount, "latest_charge": charge["id"]}
        return self.account.save(made, f"payment_intent.{'succeeded' if made['status'] == 'succeeded' else 'created'}")

    # ---- by direct debit

    def _debit(self, invoice: Object, intent: Object, method: Object) -> Object:
        """Begin a direct debit. It is processing for days, and then it has succeeded or failed."""
        if invoice["currency"] != "eur":
            raise invalid("The payment method type `sepa_debit` only supports eur.", "payment_method")
        charge = self._charge(intent, method, "pending", _of(invoice))
        self.account.save(
            intent
            | {"status": "processing", "latest_charge": charge["id"], "payment_method": method["id"], "processing": {}},
            "payment_intent.processing",
        )
        return self.account.save(invoice | {"next_payment_attempt": None}, "invoice.updated")

    def tick(self, clock: str | None) -> list[Object]:
        """End the direct debits of one test clock, or of none, that were on their way for long enough.

        Return the invoices concerned.
        """
        until = self.account.clock.seconds() - SEPA_DAYS * DAY
        return [
            self._arrive(charge)
            for charge in self.account.all("charge")
            if charge["status"] == "pending"
            and charge["created"] <= until
            and self.account.clock_of(charge["customer"]) == clock
        ]

    def _arrive(self, charge: Object) -> Object:
        method = self.account.get("payment_method", charge["payment_method"])
        (payment,) = (
            each
            for each in self.account.all("invoice_payment")
            if each["payment"].get("payment_intent") == charge["payment_intent"]
        )
        invoice = self.account.get("invoice", payment["invoice"])
        if SEPA_TOKENS[method["metadata"]["token"]]:
            amount = {"amount_captured": charge["amount"], "captured": True, "paid": True}
            self.account.save(self.ledger.charged(charge | amount | {"status": "succeeded"}), "charge.succeeded")
            return self._paid(invoice, charge)
        failure = {"failure_code": "debit_not_authorized", "failure_message": "The direct debit was not authorized."}
        self.account.save(charge | failure | {"status": "failed"}, "charge.failed")
        error = invalid(failure["failure_message"], code=failure["failure_code"])
        self._failed(invoice, charge, error, schedules=True)
        return invoice

    # ---- how it ends

    def _paid(self, invoice: Object, charge: Object) -> Object:
        request, now = self.invoicing.request(invoice), self.account.clock.seconds()
        self.account.save(
            self.invoicing.intent(invoice)
            | {
                "status": "succeeded",
                "amount_received": charge["amount"],
                "latest_charge": charge["id"],
                "payment_method": charge["payment_method"],
            },
            "payment_intent.succeeded",
        )
        transitions = request["status_transitions"] | {"paid_at": now}
        paid: Object = {"status": "paid", "amount_paid": charge["amount"], "status_transitions": transitions}
        self.account.save(request | paid, "invoice_payment.paid")
        return self.invoicing.settled(invoice)

    def _decline(self, method: Object) -> str | None:
        """Return the code with which a card is declined."""
        kept = self.account.find(DECLINED, method["id"])
        return kept["code"] if kept else DECLINES.get(method["metadata"].get("token", ""))

    def _is_refused(self, invoice: Object) -> bool:
        """Return whether the card that an invoice would be charged to was declined for good already."""
        if invoice["status"] != "open":
            return False
        charge = self.account.find("charge", self.invoicing.intent(invoice)["latest_charge"] or "")
        return (
            charge is not None
            and charge["outcome"]["reason"] in HARD
            and charge["payment_method"] == self.invoicing.method(invoice)
        )

    def _next(self, invoice: Object) -> Object:
        """Return when an invoice is tried again (Automate payment retries: Custom retry schedule)."""
        kept = self.account.find(RETRIES, RETRIES)
        days = kept["settings"]["days"] if kept else RETRY_DAYS
        tries, now = invoice["attempt_count"], self.account.clock.seconds()
        return {"next_payment_attempt": now + days[tries - 1] * DAY if tries <= len(days) else None}

    def _failed(self, invoice: Object, charge: Object, error: StripeError, *, schedules: bool) -> None:
        """Record an attempt that failed. The platform tries again after days."""
        self.account.save(
            self.invoicing.intent(invoice)
            | {
                "status": "requires_payment_method",
                "latest_charge": charge["id"],
                "last_payment_error": error.body["error"],
            },
            "payment_intent.payment_failed",
        )
        self.account.save(invoice | (self._next(invoice) if schedules else {}), "invoice.payment_failed")

    def _charge(
        self, intent: Object, method: Object, status: str, description: str | None, reason: str | None = None
    ) -> Object:
        paid = status == "succeeded"
        kind = method["type"]
        failure: Object = {"failure_code": "card_declined", "failure_message": "Your card was declined."}
        charge = self.account.make(
            "charge",
            amount=intent["amount"],
            amount_captured=intent["amount"] if paid else 0,
            captured=paid,
            paid=paid,
            currency=intent["currency"],
            customer=intent["customer"],
            payment_intent=intent["id"],
            payment_method=method["id"],
            payment_method_details={"type": kind, kind: _shown(method)},
            status=status,
            description=description,
            **(failure if status == "failed" else {}),
        )
        if reason:
            refusal: Object = {"reason": reason, "network_status": "declined_by_network", "type": "issuer_declined"}
            charge["outcome"] |= refusal
        return self.account.save(self.ledger.charged(charge) if paid else charge, f"charge.{status}")


def _of(invoice: Object) -> str:
    return f"Invoice {invoice['number']}"


def _shown(method: Object) -> Object:
    """Return what a charge shows of its payment method."""
    hidden = ("checks", "networks", "three_d_secure_usage", "wallet", "generated_from", "display_brand", "fingerprint")
    return {name: each for name, each in method[method["type"]].items() if name not in hidden}
