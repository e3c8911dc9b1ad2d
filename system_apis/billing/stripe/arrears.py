"""What is left to be paid of a contract, and how Stripe collects it: attempts, the next one, and why the last failed.

Stripe tries again by itself, as the account's settings say (Billing: Revenue recovery: Automate payment retries).
Nothing here makes it try.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from canonical.billing import Contract
from canonical.dunning import OpenInvoice, OpenInvoices
from canonical.ids import Clock
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.client import StripeClient, at
from system_apis.billing.stripe.contracts import NOT_COLLECTED, contract_of, is_of, reference, subscriptions_of

Row = dict[str, Any]
HARD = frozenset(
    {
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "transaction_not_allowed",
    }
)
"""Declines after which a means of payment is not charged again: retries charge another one only (Automate payment
retries: Non-retryable decline codes)."""
WITH_CHARGE = ["data.payment.payment_intent.latest_charge"]


class Arrears:
    """Reads the open invoices of one account."""

    def __init__(self, client: StripeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def of(self, contract: Contract) -> OpenInvoices:
        """Return what the contract's customer has left to pay of it, the oldest first, and whether all that bills the
        contract is cancelled. What people have marked as not collected is left out: they see to it."""
        owner = reference(contract, "customer")
        rows = await self._client.listed(at("invoices"), customer=owner, status="open")
        own = [each for each in rows if contract_of(each) == contract.id and each["amount_remaining"] > 0]
        found = [await self._open(each) for each in own if NOT_COLLECTED not in each["metadata"].items()]
        is_over = {each["status"] for each in await self._subscriptions(contract, owner)} == {"canceled"}
        return OpenInvoices(tuple(sorted(found, key=lambda each: (each.since, each.id))), is_over)

    async def _subscriptions(self, contract: Contract, owner: str) -> list[Row]:
        """Return what bills a contract: what it names; all of the customer's that are of it where it names none, as one
        that was transferred does."""
        if named := contract.named("subscription"):
            return [await self._client.get(at("subscriptions", each)) for each in named]
        return [each for each in await subscriptions_of(self._client, owner) if is_of(each, contract)]

    async def _open(self, row: Row) -> OpenInvoice:
        """Return an open invoice as it is collected now. The customer may pay one that is sent by a means that takes
        days, which Stripe does not try by itself."""
        is_sent = row["collection_method"] == "send_invoice"
        intent = await self._intent(row["id"]) if is_sent or row["attempted"] else None
        is_on_its_way = intent is not None and intent["status"] == "processing"
        failed = row["attempt_count"] - is_on_its_way
        due = row["due_date"] or row["status_transitions"]["finalized_at"] or row["created"]
        is_late = due <= self._clock().timestamp() if is_sent else failed > 0
        error: Row = (intent or {}).get("last_payment_error") or {}
        code = error.get("decline_code") or error.get("code") or ""
        is_refused = code in HARD and not is_sent and not is_on_its_way
        needs_means = is_refused and await self._is_charged_again(row, intent or {})
        return OpenInvoice(
            id=row["id"],
            number=row["number"] or "",
            due=from_stripe(row["amount_remaining"], row["currency"].upper()),
            since=_moment(due),
            is_overdue=is_late,
            attempts=row["attempt_count"],
            next_attempt_at=_moment(row["next_payment_attempt"]) if row["next_payment_attempt"] else None,
            reason=str(code).replace("_", " "),
            needs_means=needs_means,
            in_collection=is_on_its_way,
        )

    async def _intent(self, invoice_id: str) -> Row | None:
        """Return the payment by which an invoice is charged, with its last charge; None where there is none (The
        Invoice Payment object, `is_default`)."""
        rows = await self._client.listed(at("invoice_payments"), invoice=invoice_id, expand=WITH_CHARGE)
        found: list[Row] = [each["payment"]["payment_intent"] for each in rows if each["is_default"]]
        return found[0] if found else None

    async def _is_charged_again(self, row: Row, intent: Row) -> bool:
        """Return whether what was refused is still what the invoice is charged to: its own means, the subscription's
        or the customer's (Automate payment retries: which payment method is charged)."""
        charge: Row = intent.get("latest_charge") or {}
        subscription = row["parent"]["subscription_details"]["subscription"]
        present = row["default_payment_method"]
        present = present or (await self._client.get(at("subscriptions", subscription)))["default_payment_method"]
        if not present:
            customer = await self._client.get(at("customers", row["customer"]))
            present = customer["invoice_settings"]["default_payment_method"]
        return not present or present == charge.get("payment_method")


def _moment(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
