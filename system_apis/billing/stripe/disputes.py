"""Stripe's disputes to canonical ones, and what is done about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from canonical.disputes import Dispute, DisputeFee, Evidence
from canonical.faults import Rejected
from canonical.money import Money
from canonical.states import BilledDisputeState
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.client import StripeClient, at
from system_apis.billing.stripe.invoices import Reading, metadata_of
from system_apis.billing.stripe.mapping import EVIDENCE

Row = dict[str, Any]
STATES: dict[str, BilledDisputeState] = {
    "warning_needs_response": "inquired",
    "warning_under_review": "answered",
    "warning_closed": "closed",
    "needs_response": "open",
    "under_review": "answered",
    "appeal_needs_response": "open",
    "appeal_under_review": "answered",
    "won": "won",
    "lost": "lost",
    "prevented": "closed",
}
"""What each `status` is (API reference: The Dispute object). One that was prevented was settled before it was one."""
NEEDS_RESPONSE = ("inquired", "open")
CLOSABLE = "needs_response"
"""The only status in which a dispute can be closed (API reference: Close a dispute)."""


def dispute(source: Row, payment_id: str, of: Row, read: Reading) -> Dispute:
    """Return a Stripe dispute as a canonical one, of a payment of the invoice `of`, with which it is read.

    Raises `KeyError` or `TypeError` for one of an invoice of no contract of ours, and `Rejected` for one in a status
    that is not known.
    """
    metadata, state = metadata_of(of), state_of(source)
    until = source["evidence_details"]["due_by"]
    legal_entity = metadata["tiergate_legal_entity"]
    return Dispute(
        id=source["id"],
        invoice_id=of["id"],
        payment_id=payment_id,
        customer_id=metadata["tiergate_customer"],
        contract_id=metadata["tiergate_contract"],
        legal_entity=legal_entity,
        state=state,
        amount=read.money(source["amount"]),
        reason=str(source["reason"]).replace("_", " "),
        opened_at=datetime.fromtimestamp(source["created"], UTC),
        respond_by=datetime.fromtimestamp(until, UTC) if until else None,
        answered=state == "answered",
        fees=tuple(
            DisputeFee(each["id"], source["id"], legal_entity, _fee(each), read.day(each["created"]))
            for each in source["balance_transactions"]
            if each["fee"]
        ),
    )


def _fee(transaction: Row) -> Money:
    """Return the fee of a balance transaction, in the currency of the balance: that may be another than the dispute's
    (The Balance Transaction object, `fee`, `currency`)."""
    return from_stripe(transaction["fee"], transaction["currency"].upper())


def state_of(source: Row) -> BilledDisputeState:
    """Return the state of a Stripe dispute. Raises `Rejected` for a status that is not known."""
    state = STATES.get(source["status"])
    if state is None:
        raise Rejected("billing", f"{source['id']} is {source['status']}, which is not known here", field="status")
    return state


async def accept(client: StripeClient, dispute_id: str) -> None:
    """Give a dispute up, which cannot be taken back (API reference: Close a dispute). Do nothing for one that is lost.
    Raises `Rejected` (field `state`) for one that cannot be given up now."""
    row = await client.get(at("disputes", dispute_id))
    if row["status"] == "lost":
        return
    if row["status"] != CLOSABLE:
        raise Rejected("billing", f"{dispute_id} is {state_of(row)}, and cannot be accepted", field="state")
    await client.post(at("disputes", dispute_id, "close"), f"dispute:{dispute_id}:close")


async def answer(client: StripeClient, dispute_id: str, evidence: Evidence, now: datetime) -> None:
    """Submit evidence (API reference: Update a dispute). Do nothing where the same was submitted.

    Raises `Rejected` (field `state`) for one that takes no answer, and (field `respond_by`) after its time, which `now`
    (UTC) is held against.
    """
    row = await client.get(at("disputes", dispute_id))
    wanted = {EVIDENCE[name]: text for name, text in evidence.texts.items()}
    state, details = state_of(row), row["evidence_details"]
    if state not in NEEDS_RESPONSE:
        is_sent = all(row["evidence"][name] == text for name, text in wanted.items())
        if details["submission_count"] and is_sent:
            return  # the bank may have decided on it since
        raise Rejected("billing", f"{dispute_id} is {state}, and takes no answer", field="state")
    until = details["due_by"]
    if until is None or now.timestamp() > until:
        raise Rejected("billing", f"{dispute_id} takes no answer any more", field="respond_by")
    key = f"dispute:{dispute_id}:answer:{until}:{details['submission_count']}:{sorted(wanted.items())}"
    await client.post(at("disputes", dispute_id), key, evidence=wanted, submit=True)
