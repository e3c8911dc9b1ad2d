"""Corrections of invoices: which of them somebody else has to approve, and the problems of those that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from canonical.corrections import CorrectionKind
from canonical.money import Money, UnknownCurrency, exponent
from policies.catalogue.model import Catalogue, Fact, Report
from policies.catalogue.sections import section
from policies.problems import problem_type

NOTHING_DONE = "Nothing was done on any platform."
CREDIT_TOO_LARGE = problem_type(
    "credit-too-large",
    409,
    "The credit note is above what is left",
    "Preview it without lines: that shows what is left of each.",
    f"An invoice, and each line of it, is credited up to its amount. Earlier credit notes count. {NOTHING_DONE}",
)
REFUND_TOO_LARGE = problem_type(
    "refund-too-large",
    409,
    "The refund is above what is left of the payment",
    "Ask for at most what the detail says. What was paid past billing goes back past it, too: `outside`.",
    f"A payment goes back up to its amount, and the way it came. Earlier refunds count. {NOTHING_DONE}",
)
INVOICE_PAID = problem_type(
    "invoice-paid",
    409,
    "The invoice is paid",
    "Credit it, and say where what was paid goes back to.",
    f"What was paid, in whole or in part, is neither void nor written off as if it never was. {NOTHING_DONE}",
)
INVOICE_VOID = problem_type(
    "invoice-void",
    409,
    "The invoice is void",
    "There is nothing to correct: read where its posting stands.",
    f"Nothing is owed of an invoice that is void, and nothing can be paid for it. {NOTHING_DONE}",
)
INVOICE_WRITTEN_OFF = problem_type(
    "invoice-written-off",
    409,
    "The invoice is written off",
    "Void it if nothing was owed of it. If it is paid after all, that is booked by itself.",
    f"Billing credits no invoice that is uncollectible, and writes it off once. {NOTHING_DONE}",
)
INVOICE_CREDITED = problem_type(
    "invoice-credited",
    409,
    "The invoice was credited in part",
    "Credit what is left of it.",
    f"An invoice that is void is taken back as a whole, and a part of this one was taken back already. {NOTHING_DONE}",
)
PAYMENT_DISPUTED = problem_type(
    "payment-disputed",
    409,
    "The payment is disputed",
    "Answer the dispute in billing, or accept it: then its amount is with the customer.",
    f"The bank has withdrawn the amount: a refund would pay it back twice. {NOTHING_DONE}",
)
PAYMENT_PROCESSING = problem_type(
    "payment-processing",
    409,
    "A payment is on its way",
    "Wait until it has succeeded or failed, which for a direct debit takes days.",
    f"Until then nobody knows what of the invoice is paid. {NOTHING_DONE}",
)
INVOICE_RESERVED = problem_type(
    "invoice-reserved",
    409,
    "Another correction of the invoice comes first",
    "Read the corrections that are named: decide or withdraw them, or wait until they are carried out.",
    f"What is asked for counts from then on, so that two together never take more than there is. {NOTHING_DONE}",
)
WRONG_CURRENCY = problem_type(
    "wrong-currency",
    422,
    "The amount is in another currency",
    "Say it in the currency of the invoice.",
    f"An invoice is corrected in its own currency. {NOTHING_DONE}",
)
AMOUNT_NOT_POSSIBLE = problem_type(
    "amount-not-possible",
    422,
    "There is no such amount",
    "Correct what the errors name.",
    "An amount is above nothing, and a multiple of what is paid in its currency: cents of euros, whole yen, hundredths "
    f"of dinars. {NOTHING_DONE}",
)
AMOUNTS_DO_NOT_ADD_UP = problem_type(
    "amounts-do-not-add-up",
    422,
    "The amounts are not what was paid",
    "Let `refund`, `to_balance`, `outside` and `refunds` add up to what the detail says.",
    "A credit note takes off first what is open. What of it was paid goes back, and to where has to be said. "
    f"{NOTHING_DONE}",
)
CORRECTION_REFUSED = problem_type(
    "correction-refused",
    422,
    "The invoice does not allow this correction",
    "Correct what the errors name.",
    "It names a line, a payment or a refund that the invoice does not have, or what its kind does not take. "
    f"{NOTHING_DONE}",
)
PROBLEMS = (
    CREDIT_TOO_LARGE,
    REFUND_TOO_LARGE,
    INVOICE_PAID,
    INVOICE_VOID,
    INVOICE_WRITTEN_OFF,
    INVOICE_CREDITED,
    PAYMENT_DISPUTED,
    PAYMENT_PROCESSING,
    WRONG_CURRENCY,
    AMOUNT_NOT_POSSIBLE,
    AMOUNTS_DO_NOT_ADD_UP,
    CORRECTION_REFUSED,
)
"""With what a correction can be refused."""
SHOWN: dict[CorrectionKind, str] = {
    "credit_note": "a credit note",
    "refund": "a refund",
    "void": "voiding an invoice",
    "write_off": "writing off",
}
_Limits = dict[str, Annotated[int, msgspec.Meta(ge=0)]]


class CorrectionApprovals(Fact, frozen=True):
    """The largest correction of each kind that needs no yes of somebody else, in minor units by currency. One in a
    currency that is not named always does, and so does what support asks for."""

    credit_note: _Limits = msgspec.field(default_factory=dict[str, int])
    refund: _Limits = msgspec.field(default_factory=dict[str, int])
    void: _Limits = msgspec.field(default_factory=dict[str, int])
    write_off: _Limits = msgspec.field(default_factory=dict[str, int])

    def of(self, kind: CorrectionKind) -> dict[str, int]:
        """Return the limits of a kind, by currency."""
        return {"credit_note": self.credit_note, "refund": self.refund, "void": self.void, "write_off": self.write_off}[
            kind
        ]


def approvals_for(catalogue: Catalogue, kind: CorrectionKind, amount: Money, *, proposed: bool) -> tuple[str, ...]:
    """Return why somebody else has to approve a correction of this amount, each in a sentence; of what was only
    `proposed` finance decides in any case."""
    limits = CORRECTION_APPROVALS.of(catalogue).of(kind)
    found = ["support has asked for it"] if proposed else []
    most = Money(limits.get(amount.currency, 0), amount.currency)
    if amount.currency not in limits or amount.amount > most.amount:
        found.append(f"{SHOWN[kind]} of {amount}, and {most} needs no approval")
    return tuple(found)


def _check(catalogue: Catalogue) -> Iterator[Report]:
    limits = CORRECTION_APPROVALS.of(catalogue)
    for kind in SHOWN:
        for currency in limits.of(kind):
            try:
                exponent(currency)
            except UnknownCurrency as error:
                yield ("correction_approvals", kind, currency), str(error), "write an ISO 4217 code, as in EUR"


CORRECTION_APPROVALS = section(
    "correction_approvals", CorrectionApprovals, check=_check, title="Corrections to approve"
)
