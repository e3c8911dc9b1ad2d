"""What billing takes back of an invoice that it has issued, and of the money that was paid for one."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from canonical.billing import Invoice, InvoiceLine, LineTax
from canonical.deals import Custom
from canonical.ids import Key
from canonical.money import Money, total
from canonical.tax import TaxTreatment

ReversalKind = Literal["refund", "dispute", "return", "reinstatement"]


class RefundPart(msgspec.Struct, frozen=True):
    """So much of a refund as is for one credit note. `id` is billing's, that of a `PaymentReversal`."""

    id: Key
    amount: Money


class CreditedPart(msgspec.Struct, frozen=True):
    """So much of a refund as is for one credit note, by billing's id of that."""

    credit_note_id: Key
    amount: Money


class CreditNote(msgspec.Struct, frozen=True):
    """A credit note as billing issued it. `id` is billing's, and so the natural key everywhere else.

    All amounts are above nothing, those of its `lines` too. What it is worth is `total`: so much of it is `off_due`,
    that is less to be paid for the invoice; is `refunded`; is `to_balance`, in credit for the customer's next invoices;
    or was settled `outside` of billing. Once it is `void`, on `cancelled_on`, it is worth nothing. `given_up` says that
    billing has given its invoice up since: what the ERP has written off for it is owed again before it is counted.
    """

    id: Key
    number: str
    invoice_id: Key
    customer_id: str
    contract_id: str | None
    legal_entity: str
    state: Literal["issued", "void"]
    issued_on: date
    total: Money
    tax: Money
    off_due: Money
    refunded: Money
    to_balance: Money
    outside: Money
    tax_treatment: TaxTreatment
    lines: tuple[InvoiceLine, ...]
    reason: str = ""
    custom: Custom = {}
    """The custom fields of its contract."""
    cancelled_on: date | None = None
    refunds: tuple[RefundPart, ...] = ()
    """What of the refunds it is for, that may have been made before it."""
    given_up: bool = False

    def as_invoice(self) -> Invoice:
        """Return what is booked for it: an invoice below nothing."""
        return Invoice(
            id=self.id,
            number=self.number,
            customer_id=self.customer_id,
            contract_id=self.contract_id,
            legal_entity=self.legal_entity,
            state="open",
            issued_on=self.issued_on,
            total=-self.total,
            tax=-self.tax,
            balance=-self.total,
            tax_treatment=self.tax_treatment,
            lines=tuple(map(below_nothing, self.lines)),
            custom=self.custom,
        )


class PaymentReversal(msgspec.Struct, frozen=True):
    """Money that was received for an invoice, and went back to the customer. `id` is billing's.

    What is refunded for credit notes says so much for which in `credited`. The rest leaves so much of the invoice to be
    paid again: of a refund without a credit note, of a disputed payment whose amount was withdrawn, of a direct debit
    that was returned.
    A `reinstatement` is money that is ours again after all that: of a dispute that was won, or a refund that failed.
    `payment_id` is the payment that it was part of; of a dispute that was won and is taken once more, the
    `reinstatement` by which it was ours again.
    """

    id: Key
    kind: ReversalKind
    invoice_id: Key
    payment_id: Key
    customer_id: str
    legal_entity: str
    amount: Money
    reversed_on: date
    credited: tuple[CreditedPart, ...] = ()

    @property
    def unexplained(self) -> Money:
        """Return what of it no credit note names."""
        return self.amount - total((each.amount for each in self.credited), self.amount.currency)

    def key_for(self, credit_note_id: str) -> str:
        """Return the natural key of what is for one credit note: the id itself where that is all of it."""
        return self.id if len(self.credited) == 1 and not self.unexplained.amount else f"{self.id}:{credit_note_id}"


def below_nothing(line: InvoiceLine) -> InvoiceLine:
    """Return the counterpart of a line: all its amounts, and its quantity, with the other sign."""
    agreed = line.agreed
    return msgspec.structs.replace(
        line,
        quantity=-line.quantity,
        net=-line.net,
        tax=-line.tax,
        taxes=tuple(LineTax(each.code, -each.amount, each.charged) for each in line.taxes),
        agreed=agreed and msgspec.structs.replace(agreed, quantity=-agreed.quantity),
    )
