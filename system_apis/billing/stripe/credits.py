"""Stripe's credit notes and refunds to canonical ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from canonical.credits import CreditedPart, CreditNote, PaymentReversal, RefundPart, ReversalKind
from canonical.events import DISPUTE, PAYMENT_REINSTATED, PAYMENT_REVERSED
from system_apis.billing.port import Reported
from system_apis.billing.stripe import mapping
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.invoices import Reading, metadata_of, treatment
from system_apis.billing.stripe.webhooks import TYPES, StripeEvent, about_contract, sold_with

Row = dict[str, Any]
AGAIN = ":reinstated"
"""What the id of money ends with that is ours again; what stands before is that of what went back."""


def lines(rows: list[Row], of: list[Row]) -> list[Row]:
    """Return the lines of a credit note as lines of its invoice, whose lines are `of`: with price and period.

    One that was made by hand is of the price that most of the invoice is about (API reference: The Credit Note Line
    Item object).
    """
    by_id = {each["id"]: each for each in of}
    most = max(of, key=lambda each: each["amount"])
    found: list[Row] = []
    for row in rows:
        about = by_id.get(row["invoice_line_item"] or "", most)
        discounts: list[Row] = row["discount_amounts"] or []
        own = {
            "amount": row["amount"] - sum(each["amount"] for each in discounts),
            "description": row["description"] or about["description"],
            "quantity": row["quantity"] or 1,
            "quantity_decimal": None,
            "taxes": row["taxes"],
            "id": row["invoice_line_item"],
        }
        found.append(about | own)
    return found


def credit_note(source: Row, made: list[Row], of: Row, read: Reading) -> CreditNote:
    """Return a Stripe credit note as a canonical one. `made` are all its `lines`, `of` is its invoice, with which it is
    read. Raises `KeyError` or `TypeError` for one of an invoice of no contract of ours."""
    metadata = metadata_of(of)
    credited = tuple(read.line(each) for each in made)
    refunds: list[Row] = source["refunds"] or []
    refunded = sum(each["amount_refunded"] for each in refunds)
    outside = source["out_of_band_amount"] or 0
    return CreditNote(
        id=source["id"],
        number=source["number"],
        invoice_id=of["id"],
        customer_id=metadata["tiergate_customer"],
        contract_id=metadata["tiergate_contract"],
        legal_entity=metadata["tiergate_legal_entity"],
        state="void" if source["status"] == "void" else "issued",
        issued_on=read.day(source["effective_at"] or source["created"]),
        total=read.money(source["total"]),
        tax=read.sum(source["total_taxes"]),
        off_due=read.money(source["pre_payment_amount"]),
        refunded=read.money(refunded),
        to_balance=read.money(source["post_payment_amount"] - refunded - outside),
        outside=read.money(outside),
        tax_treatment=treatment(metadata["tiergate_tax"], credited),
        lines=credited,
        reason=source["reason"] or "",
        custom=mapping.custom(metadata),
        cancelled_on=read.day(source["voided_at"]) if source["voided_at"] else None,
        refunds=tuple(RefundPart(each["refund"], read.money(each["amount_refunded"])) for each in refunds),
        given_up=bool(of["status_transitions"]["marked_uncollectible_at"]),
    )


class Went(NamedTuple):
    """Of which refund or dispute money went back, for which time, from 1 on, and whether it is ours `again`."""

    about: str
    time: int
    again: bool

    @property
    def key(self) -> str:
        """Return our id of it. A bank that has decided for us may take the money once more."""
        return f"{self.about}{f':{self.time}' if self.time > 1 else ''}{AGAIN if self.again else ''}"


def went_of(reversal_id: str) -> Went:
    """Return what an id of ours is of."""
    about, _, time = reversal_id.removesuffix(AGAIN).partition(":")
    return Went(about, int(time or 1), reversal_id.endswith(AGAIN))


def newest(source: Row, *, again: bool) -> Went:
    """Return what moved last of a refund or a dispute, one way or the other."""
    times = len(_transactions(source, again=again)) if source["object"] == "dispute" else 1
    return Went(source["id"], max(times, 1), again)


def _transactions(dispute: Row, *, again: bool) -> list[Row]:
    """Return by what the amount of a dispute was withdrawn, or reinstated, the oldest first."""
    of_it = [each for each in dispute["balance_transactions"] if (each["amount"] > 0) == again]
    return sorted(of_it, key=lambda each: each["created"])


def moved(source: Row, *, again: bool, time: int = 1) -> tuple[ReversalKind, int] | None:
    """Return how the money of a refund or a dispute went back for the nth `time`, and when (seconds since 1970); or,
    `again`, how it is ours again. Return None where it did not.

    A refund is booked once the money is with the customer (The Refund object, `status`), a dispute once its amount was
    withdrawn (The Dispute object, `balance_transactions`).
    """
    if source["object"] == "refund":
        wanted, kind = ("failed", "reinstatement") if again else ("succeeded", "refund")
        return (cast("ReversalKind", kind), source["created"]) if source["status"] == wanted else None
    of_it = _transactions(source, again=again)
    if len(of_it) < time:
        return None
    return "reinstatement" if again else "dispute", of_it[time - 1]["created"]


def reversal(
    source: Row,
    went: Went,
    how: tuple[ReversalKind, int],
    payment_id: str,
    notes: list[Row],
    of: Row,
    read: Reading,
) -> PaymentReversal:
    """Return a refund or a dispute as money that went back, for those of its invoice's credit `notes` that name it.
    What is taken once more is what came in again, and no more the payment. Raises as `credit_note` does."""
    metadata, (kind, at) = metadata_of(of), how
    credited = tuple(
        CreditedPart(note["id"], read.money(each["amount_refunded"]))
        for note in notes
        for each in note["refunds"] or ()
        if each["refund"] == source["id"] and note["status"] != "void"
    )
    return PaymentReversal(
        id=went.key,
        kind=kind,
        invoice_id=of["id"],
        payment_id=payment_id if went.time == 1 else Went(went.about, went.time - 1, again=True).key,
        customer_id=metadata["tiergate_customer"],
        legal_entity=metadata["tiergate_legal_entity"],
        amount=read.money(source["amount"]),
        reversed_on=read.day(at),
        credited=credited,
    )


def canonical_event(source: StripeEvent, of: Row, event_source: str) -> Reported | None:
    """Return the canonical event about a credit note, a refund or a dispute of an invoice `of`; None for one of no
    contract of ours."""
    thing, type_ = source.data.object, TYPES[source.type]
    moves = type_ in (PAYMENT_REVERSED, PAYMENT_REINSTATED)
    subject = newest(thing, again=type_ == PAYMENT_REINSTATED).key if moves else thing["id"]
    more = {"invoice": of["id"]} | _of_dispute(thing)
    return about_contract(source, sold_with(of), event_source, subject, more)


def _of_dispute(thing: Row) -> dict[str, str]:
    """Return what an event says of a dispute: which it is, of what and why, how far it is, and until when an answer is
    taken (UTC), where one is."""
    if thing["object"] != "dispute":
        return {}
    until = thing["evidence_details"]["due_by"]
    return {
        DISPUTE: thing["id"],
        "amount": str(from_stripe(thing["amount"], thing["currency"].upper())),
        "reason": str(thing["reason"]).replace("_", " "),
        "state": thing["status"],
        "respond_by": f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M}" if until else "",
    } | ({"inquiry": "true"} if thing["status"].startswith("warning") else {})
