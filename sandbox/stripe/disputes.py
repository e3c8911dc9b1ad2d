"""Disputes: charges that the bank of a customer takes back, or asks about (API reference: Disputes; Disputes: How
disputes work)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.ledger import Ledger
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import unknown
from sandbox.stripe.periods import DAY


class Claim(NamedTuple):
    """Why a charge is disputed, and whether its bank only asks first."""

    reason: str
    is_inquiry: bool = False


DISPUTED = {
    "pm_card_createDispute": Claim("fraudulent"),
    "pm_card_createDisputeProductNotReceived": Claim("product_not_received"),
    "pm_card_createDisputeInquiry": Claim("fraudulent", is_inquiry=True),
    "pm_disputed_de": Claim("debit_not_authorized"),
}
"""Test payment methods whose charges are disputed once they have succeeded (Testing: Disputes; SEPA Direct Debit: Test
your integration)."""
RETURNS = ("customer_initiated", "debit_not_authorized", "incorrect_account_details", "insufficient_funds", "general")
"""Why a direct debit is returned (The Dispute object, `reason`)."""
CARD_FEE, DEBIT_FEE = 2_000, 750
"""What a dispute costs (stripe.com/de/pricing: disputes; stripe.com/de/pricing/local-payment-methods: SEPA Direct
Debit)."""
RESPONSE_DAYS = 20
"""How long evidence is taken: until the end of that day (Respond to disputes: seven to twenty-one days)."""
INQUIRY_DAYS = 120
"""After how long an inquiry that became no dispute is closed (How disputes work: Inquiries)."""
OPEN = ("needs_response", "warning_needs_response")
REVIEWED = ("under_review", "warning_under_review")
MOST_TEXT = 150_000
"""How many characters all evidence may have (API reference: Update a dispute, `evidence`)."""
WORDS = {"winning_evidence": "won", "losing_evidence": "lost", "escalate_inquiry_evidence": "escalated"}
"""What a test dispute comes to by its `uncategorized_text` (Testing: Evidence)."""


class Disputes:
    """Open disputes of the charges that are to have one, take evidence, and decide."""

    def __init__(self, account: Account, ledger: Ledger) -> None:
        self.account = account
        self.ledger = ledger

    def update(self, dispute: Object, params: Params) -> Object:
        """Keep evidence, and submit it unless `submit` is false. What is submitted is under review."""
        given: Params = params.get("evidence") or {}
        if given or "submit" in params:
            self._check_open(dispute)
        previous = dict(dispute)
        for name in given:
            if name not in dispute["evidence"] or name == "enhanced_evidence":
                raise unknown(f"evidence[{name}]")
        evidence: Object = dispute["evidence"] | {name: each or None for name, each in given.items()}
        if sum(len(each) for each in evidence.values() if isinstance(each, str)) > MOST_TEXT:
            raise invalid(f"Evidence may have up to {MOST_TEXT} characters.", "evidence", "")
        kept: Object = {**dispute["metadata"], **(params.get("metadata") or {})}
        dispute |= {"evidence": evidence, "metadata": {key: each for key, each in kept.items() if each != ""}}
        details: Object = dispute["evidence_details"] | {"has_evidence": any(evidence.values())}
        submits = forms.flag(params.get("submit", bool(given))) and details["has_evidence"]
        if submits:
            details["submission_count"] += 1
            dispute["status"] = "under_review" if dispute["status"] == "needs_response" else "warning_under_review"
        return self.account.save(dispute | {"evidence_details": details}, "charge.dispute.updated", previous)

    def close(self, dispute: Object) -> Object:
        """Accept a dispute: it is lost (API reference: Close a dispute)."""
        if dispute["status"] != "needs_response":
            raise invalid(f"You cannot close a dispute with status {dispute['status']}.", "", "")
        return self._ended(dispute, "lost")

    def decide(self, dispute: Object, outcome: str) -> Object:
        """Let the bank decide: `won` gives the money back, `lost` does not, `escalated` makes a dispute of an inquiry.
        A dispute that was won may be `lost` after all: its amount is withdrawn once more (How disputes work: the
        issuer may reopen it).

        Raises `StripeError` for a dispute that is over, and for an outcome that it cannot have.
        """
        is_inquiry = dispute["status"].startswith("warning")
        if (dispute["status"], outcome) == ("won", "lost"):
            return self._ended(self._moved(dispute, -dispute["amount"], 0, "dispute"), "lost")
        if dispute["status"] not in (*OPEN, *REVIEWED) or (outcome == "escalated" and not is_inquiry):
            raise invalid(f"A dispute with status {dispute['status']} cannot be {outcome}.", "", "")
        if outcome == "escalated":
            return self._escalated(dispute)
        if outcome == "won" and not is_inquiry:
            fee = -dispute["balance_transactions"][0]["fee"]
            return self._ended(self._moved(dispute, dispute["amount"], fee, "dispute_reversal"), "won")
        return self._ended(dispute, outcome)

    def returned(self, charge: Object, reason: str) -> Object:
        """Return a direct debit weeks after it succeeded: its dispute is lost at once, and nobody can answer it.

        (SEPA Direct Debit: Disputes; support.stripe.com: SEPA Direct Debit payment disputes.) Raises `StripeError` for
        a charge that is no direct debit which succeeded, and for one that has a dispute already.
        """
        if reason not in RETURNS:
            raise invalid(f"Invalid reason: must be one of {', '.join(RETURNS)}", "reason", "")
        if charge["payment_method_details"]["type"] != "sepa_debit" or not _is_disputable(charge):
            raise invalid("Only a direct debit that succeeded can be returned, once.", "charge", "")
        return self._open(charge, Claim(reason))

    # ---- what the time brings

    def tick(self, clock: str | None) -> None:
        """Open the disputes that are to be, and end those whose time is over, of one test clock or of none."""
        now = self.account.clock.seconds()
        claims = {
            each["id"]: DISPUTED[each["metadata"]["token"]]
            for each in self.account.all("payment_method")
            if each["metadata"].get("token") in DISPUTED
        }
        for charge in self.account.all("charge") if claims else ():
            claim = claims.get(charge["payment_method"] or "")
            if claim and _is_disputable(charge) and self.account.clock_of(charge["customer"]) == clock:
                self._open(charge, claim)
        for dispute in self._of(clock):
            word = WORDS.get(dispute["evidence"]["uncategorized_text"] or "")
            is_inquiry = dispute["status"].startswith("warning")
            if word and dispute["status"] in REVIEWED and (word != "escalated" or is_inquiry):
                self.decide(dispute, word)
            elif is_inquiry and dispute["created"] + INQUIRY_DAYS * DAY <= now:
                self._ended(dispute, "warning_closed")
            elif dispute["status"] == "needs_response" and dispute["evidence_details"]["due_by"] < now:
                late: Object = dispute["evidence_details"] | {"past_due": True}
                self._ended(dispute | {"evidence_details": late}, "lost")

    def moments(self, clock: str | None) -> Iterator[int]:
        """Return when the time of a dispute is over."""
        for each in self._of(clock):
            if each["status"].startswith("warning"):
                yield each["created"] + INQUIRY_DAYS * DAY
            elif each["status"] == "needs_response":
                yield each["evidence_details"]["due_by"] + 1

    def _of(self, clock: str | None) -> Iterator[Object]:
        for each in self.account.all("dispute"):
            customer = self.account.get("charge", each["charge"])["customer"]
            if each["status"] in (*OPEN, *REVIEWED) and self.account.clock_of(customer) == clock:
                yield each

    # ---- how it goes on

    def _open(self, charge: Object, claim: Claim) -> Object:
        now, kind = self.account.clock.seconds(), charge["payment_method_details"]["type"]
        end = (now // DAY + RESPONSE_DAYS + 1) * DAY - 1
        details: Object = {"due_by": end if kind == "card" else None, "has_evidence": False, "past_due": False}
        card: Object = {
            "brand": charge["payment_method_details"].get("card", {}).get("brand"),
            "case_type": "inquiry" if claim.is_inquiry else "chargeback",
            "network_reason_code": "10.4" if claim.reason == "fraudulent" else "13.1",
        }
        dispute = self.account.make(
            "dispute",
            amount=charge["amount"] - charge["amount_refunded"],
            charge=charge["id"],
            currency=charge["currency"],
            evidence_details=details | {"submission_count": 0, "enhanced_eligibility": {}},
            is_charge_refundable=claim.is_inquiry,
            payment_intent=charge["payment_intent"],
            payment_method_details={"card": card, "type": "card"} if kind == "card" else None,
            reason=claim.reason,
            status="warning_needs_response" if claim.is_inquiry else "needs_response",
        )
        self.account.save(charge | {"disputed": True})
        self.account.save(dispute, "charge.dispute.created")
        if claim.is_inquiry:
            return dispute
        dispute = self._withdrawn(dispute, CARD_FEE if kind == "card" else DEBIT_FEE)
        return dispute if kind == "card" else self._ended(dispute, "lost")

    def _escalated(self, inquiry: Object) -> Object:
        """Make a dispute of an inquiry: the funds are withdrawn, and evidence is asked for again."""
        now, card = self.account.clock.seconds(), inquiry["payment_method_details"]["card"]
        details: Object = inquiry["evidence_details"] | {"due_by": (now // DAY + RESPONSE_DAYS + 1) * DAY - 1}
        changed: Object = {
            "evidence_details": details,
            "is_charge_refundable": False,
            "payment_method_details": {"card": card | {"case_type": "chargeback"}, "type": "card"},
            "status": "needs_response",
        }
        dispute = self.account.save(inquiry | changed, "charge.dispute.updated", inquiry)
        return self._withdrawn(dispute, CARD_FEE)

    def _withdrawn(self, dispute: Object, fee: int) -> Object:
        return self._moved(dispute, -dispute["amount"], fee, "dispute")

    def _moved(self, dispute: Object, amount: int, fee: int, category: str) -> Object:
        """Move the disputed amount, with the fee (pinax-stripe-light issue 590 shows the transaction)."""
        word, event = ("withdrawal", "withdrawn") if category == "dispute" else ("reversal", "reinstated")
        about = dispute | {"description": f"Chargeback {word} for {dispute['charge']}"}
        made = self.ledger.book("adjustment", amount, about, fee=fee, category=category)
        moved = dispute | {"balance_transactions": [*dispute["balance_transactions"], dict(made)]}
        return self.account.save(moved, f"charge.dispute.funds_{event}")

    def _ended(self, dispute: Object, status: str) -> Object:
        ended = dispute | {"status": status, "is_charge_refundable": False}
        return self.account.save(ended, "charge.dispute.closed", dispute)

    def _check_open(self, dispute: Object) -> None:
        if dispute["status"] not in OPEN:
            raise invalid(f"A dispute with status {dispute['status']} takes no evidence.", "", "")


def _is_disputable(charge: Object) -> bool:
    """Return whether a charge can be disputed: one that was refunded whole cannot (Refund and cancel payments)."""
    return charge["status"] == "succeeded" and not charge["disputed"] and not charge["refunded"]
