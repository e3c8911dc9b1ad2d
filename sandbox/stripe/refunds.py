"""Refunds: money that goes back the way it came (API reference: Refunds; Payments: Refund and cancel payments)."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.ledger import Ledger
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.periods import DAY

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
PENDING_CARD, FAILING_CARD = "pm_card_pendingRefund", "pm_card_refundFail"
"""Test cards: a refund that is pending first, and one that has succeeded and fails afterwards (Testing: Refunds)."""
LATER = 180
"""Seconds until the refund of a test card turns out otherwise. Testing: Refunds says no more than "some time later"."""
DEBIT_DAYS = 4
"""How long a refund of a direct debit takes (SEPA Direct Debit: Refunds: three to four business days)."""
DEBIT_LIMIT_DAYS = 180
"""How long after the payment a direct debit can be refunded (SEPA Direct Debit: Refunds)."""
BACK = ("pending", "succeeded")
"""The states in which the money of a refund is no longer ours."""
WITHOUT_END = ("won", "warning_needs_response", "warning_under_review", "warning_closed")
"""The states of a dispute in which its charge can be refunded: no funds are withdrawn then (The Dispute object,
`is_charge_refundable`)."""


class Refunds:
    """Create refunds, in part or several, and let them succeed or fail later where the payment method does."""

    def __init__(self, account: Account, ledger: Ledger) -> None:
        self.account = account
        self.ledger = ledger

    def create(self, params: Params) -> Object:
        """Refund a charge, or the charge of a payment intent: all that is left of it, or `amount`."""
        charge = self._charge(params)
        reason = params.get("reason")
        if reason is not None and reason not in REASONS:
            raise invalid(f"Invalid reason: must be one of {', '.join(REASONS)}", "reason", "")
        amount = self._amount(charge, params)
        kind: str = charge["payment_method_details"]["type"]
        made = self.account.make(
            "refund",
            amount=amount,
            charge=charge["id"],
            currency=charge["currency"],
            customer=charge["customer"],
            metadata=params.get("metadata") or {},
            payment_intent=charge["payment_intent"],
            payment_method=charge["payment_method"],
            reason=reason,
            destination_details={"type": kind, kind: {"type": "refund"} if kind == "card" else {}},
        )
        made["balance_transaction"] = self.ledger.book(
            "refund" if kind == "card" else "payment_refund", -amount, made | {"description": charge["description"]}
        )["id"]
        waits = kind == "sepa_debit" or self._token(charge) == PENDING_CARD
        made |= {"status": "pending", "pending_reason": "processing"} if waits else {"status": "succeeded"}
        self.account.save(made, "refund.created")
        self.account.save(self.counted(charge), "charge.refunded")
        return made

    def update(self, refund: Object, params: Params) -> Object:
        """Change the metadata, which is all that a refund lets change (API reference: Update a refund)."""
        kept: Object = {**refund["metadata"], **(params.get("metadata") or {})}
        metadata = {} if params.get("metadata") == "" else {key: each for key, each in kept.items() if each != ""}
        return self.account.save(refund | {"metadata": metadata}, "refund.updated", refund)

    def cancel(self, refund: Object) -> Object:
        """Refuse: only what waits for an action of the customer is cancelled, and no method here asks for one.

        (API reference: Cancel a refund.)
        """
        raise invalid(f"You cannot cancel a refund with status {refund['status']}.", "", "")

    def counted(self, charge: Object) -> Object:
        """Return a charge with what has been refunded of it."""
        rows = self.of(charge)[::-1]
        back = sum(each["amount"] for each in rows if each["status"] in BACK)
        shown = listing(f"/v1/charges/{charge['id']}/refunds", [dict(each) for each in rows])
        return charge | {"amount_refunded": back, "refunded": back == charge["amount"], "refunds": shown}

    def of(self, charge: Object) -> list[Object]:
        """Return the refunds of a charge, the oldest first."""
        return [each for each in self.account.all("refund") if each["charge"] == charge["id"]]

    # ---- which charge, and how much

    def _charge(self, params: Params) -> Object:
        given = [name for name in ("charge", "payment_intent") if params.get(name)]
        if len(given) != 1:
            reason = "One of the following params should be provided for this request: payment_intent or charge."
            raise invalid(reason, "", "parameter_missing" if not given else "")
        if given == ["payment_intent"]:
            intent = self.account.get("payment_intent", params["payment_intent"], "payment_intent")
            charge = self.account.find("charge", intent["latest_charge"] or "")
            if charge is None or charge["status"] != "succeeded":
                reason = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
                raise invalid(reason, "", "payment_intent_unexpected_state")
        else:
            charge = self.account.get("charge", params["charge"], "charge")
        self._check(charge)
        return charge

    def _check(self, charge: Object) -> None:
        """Raise `StripeError` for a charge that cannot be refunded (Error codes: `charge_disputed`,
        `charge_already_refunded`, `charge_not_refundable`)."""
        if charge["status"] != "succeeded":
            raise invalid(
                f"Charge {charge['id']} has not succeeded; cannot issue a refund.", "", "charge_not_refundable"
            )
        disputes = (each for each in self.account.all("dispute") if each["charge"] == charge["id"])
        if any(each["status"] not in WITHOUT_END for each in disputes):
            reason = f"Charge {charge['id']} has been charged back; cannot issue a refund."
            raise invalid(reason, "", "charge_disputed")
        if charge["refunded"]:
            raise invalid(f"Charge {charge['id']} has already been refunded.", "", "charge_already_refunded")
        age = self.account.clock.seconds() - charge["created"]
        if charge["payment_method_details"]["type"] == "sepa_debit" and age > DEBIT_LIMIT_DAYS * DAY:
            reason = f"A direct debit can be refunded within {DEBIT_LIMIT_DAYS} days of its payment."
            raise invalid(reason, "", "charge_not_refundable")

    def _amount(self, charge: Object, params: Params) -> int:
        """Return the amount: of more than is left, Stripe says so without a code (woocommerce-gateway-stripe 1315)."""
        left: int = charge["amount"] - charge["amount_refunded"]
        amount = forms.whole(params, "amount", default=left)
        if amount < 1:
            raise invalid("Invalid positive integer", "amount", "parameter_invalid_integer")
        if amount > left:
            of = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
            reason = f"Refund amount ({shown(amount, charge)}) is greater than {of} ({shown(left, charge)})"
            raise invalid(reason, "amount", "")
        return amount

    # ---- how it ends

    def tick(self, clock: str | None) -> None:
        """End the refunds of one test clock, or of none, that turn out otherwise by now."""
        now = self.account.clock.seconds()
        for refund, moment in self._waiting(clock):
            if moment <= now:
                self._fail(refund) if refund["status"] == "succeeded" else self._succeed(refund)

    def moments(self, clock: str | None) -> Iterator[int]:
        """Return when refunds turn out otherwise."""
        yield from (moment for _, moment in self._waiting(clock))

    def _waiting(self, clock: str | None) -> Iterator[tuple[Object, int]]:
        for each in self.account.all("refund"):
            if each["status"] not in BACK or self.account.clock_of(each["customer"]) != clock:
                continue
            charge = self.account.get("charge", each["charge"])
            if each["status"] == "pending":
                is_debit = charge["payment_method_details"]["type"] == "sepa_debit"
                yield each, each["created"] + (DEBIT_DAYS * DAY if is_debit else LATER)
            elif self._token(charge) == FAILING_CARD:
                yield each, each["created"] + LATER

    def _succeed(self, refund: Object) -> None:
        ended: Object = {"status": "succeeded", "pending_reason": None}
        self._changed(self.account.save(refund | ended, "refund.updated", dict(refund)))

    def _fail(self, refund: Object) -> None:
        """Take the money back: a refund that failed counts no longer (Refund and cancel payments: Failed refunds)."""
        charge = self.account.get("charge", refund["charge"])
        back = self.ledger.book("refund_failure", refund["amount"], refund | {"description": charge["description"]})
        ended: Object = {
            "status": "failed",
            "failure_reason": "unknown",
            "failure_balance_transaction": back["id"],
        }
        failed = self.account.save(refund | ended, "refund.updated", dict(refund))
        self.account.save(failed, "refund.failed")
        self._changed(failed)

    def _changed(self, refund: Object) -> None:
        self.account.save(self.counted(self.account.get("charge", refund["charge"])))
        self.account.save(refund, "charge.refund.updated")

    def _token(self, charge: Object) -> str:
        method = self.account.find("payment_method", charge["payment_method"] or "")
        return method["metadata"].get("token", "") if method else ""


def shown(amount: int, thing: Object) -> str:
    """Return an amount as Stripe's messages write it."""
    return f"{amount // 100}.{amount % 100:02} {thing['currency'].upper()}"
