"""What an ERP connector must do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from canonical.billing import ClosedPeriod, Invoice, InvoiceToPost, Payment, Posting
from canonical.credits import CreditNote, PaymentReversal
from canonical.disputes import DisputeFee
from canonical.faults import PlatformFault
from canonical.parties import Credit, Customer, CustomerCopy, CustomerMatch, LegalEntity, Product
from canonical.products import CatalogueProduct, ProductMatch
from policies.context import correlation


class Erp(Protocol):
    """What the process layer needs of an ERP. Every method raises leaves of `PlatformFault`.

    Every put finds what exists before it creates.
    """

    async def legal_entity(self, code: str) -> LegalEntity:
        """Return one of our selling companies, with its taxes and the rules that choose between them."""
        ...

    async def known_products(self, skus: Sequence[str]) -> dict[str, Product]:
        """Return those of `skus` that can be posted, those that are withdrawn included: contracts may have them."""
        ...

    async def match_products(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        """Return what the ERP has of each product, in their order, and what of it the ERP would not take: a unit or a
        category that it does not have, another unit than that in which it is sold. Nothing is written."""
        ...

    async def put_product(self, product: CatalogueProduct) -> CatalogueProduct:
        """Let the ERP have the product, by its SKU: created, renamed, put in use or out of use, and never deleted. Its
        unit and its category are used when it is created, and are the ERP's own from then on. Raises `Rejected` for
        what `match_products` finds."""
        ...

    async def credit(
        self, customer_id: str, legal_entity: str, currencies: Collection[str], record: str = ""
    ) -> Credit:
        """Return what a customer owes and may owe, in the currency of the books. One that the ERP does not know owes
        nothing.

        `record` is the ERP's id of the one that is to become the customer, if there is one. For a customer with a limit
        the rates of `currencies` are returned; raises `Rejected` with the field `currency` for one that is missing.
        """
        ...

    async def match_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        """Return the records that may be a customer whom we do not know here yet: with its tax number, its e-mail or
        its name, and the one that its `references` name. Records of other customers of ours are left out. Return the
        one record alone that has our id already.
        """
        ...

    async def customer_copy(self, customer: Customer) -> CustomerCopy:
        """Return what the platform holds of a customer of ours. `customer` is as its owners have it: what the platform
        does not keep, or holds in another form that says the same, is returned as it is there.

        Raises `NotFound` for one that is not there with our id.
        """
        ...

    async def put_customer(self, customer: Customer) -> str:
        """Create or update the customer; its natural key is the canonical id. Return the ERP's own id.

        A record that its `references` name, and that is no other customer's, is taken over: our id is written to it.
        """
        ...

    async def put_invoices(self, batch: Sequence[InvoiceToPost], closed: ClosedPeriod) -> list[Posting | PlatformFault]:
        """Post each invoice of a legal entity exactly once, the earliest first; its natural key is its id in billing.
        Return what is booked for each, or why it is not, in the order of the batch.

        What is wrong with one never stops the others. A fault that is raised is about all of them: each may be posted,
        or not. `closed` says what happens when the period of a day is closed: "next" posts it in the next open period,
        "wait" is a `Conflict` with the field `period`.
        """
        ...

    async def preview_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        """Return what would be booked for an invoice that does not exist yet, as the ERP itself works it out: without a
        number, nothing of it paid, on its day in the books. `closed` is as for an invoice.

        Nothing is left of it, and no number is used up. What a broken connection leaves behind is removed by the next
        preview or posting. Raises what posting it would: `Rejected` for what the ERP or its mapping does not know.
        Amounts that are not those of `invoice`, by more than rounding, are returned: they are what is asked for.
        """
        ...

    async def cancel_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        """Take back what is posted for an invoice that billing has voided or written off (its `state`): a credit note
        of all of it, or a write-off of what is still due, on the day of `cancelled_on`. Return what is booked for the
        invoice then, with nothing due. What is taken back already is left alone, but the write-off of an invoice that
        is voided after all: it is undone, and the invoice credited. `closed` is as for an invoice.

        Raises `NotFound` when nothing is posted, after removing drafts; `Rejected` when people have to decide: it is
        paid in part, people have written it off, or the mapping does not name the ERP's way to write off.
        """
        ...

    async def put_payment(self, payment: Payment, legal_entity: str, closed: ClosedPeriod) -> Posting:
        """Book the payment exactly once; its natural key is its id. `closed` is as for an invoice.

        Before one that is `recovered`, the write-off of its invoice is undone on its day. Raises `Conflict` while its
        invoice is not posted, and `Rejected` when people have written it off by another way.
        """
        ...

    async def put_credit_note(self, note: CreditNote, closed: ClosedPeriod) -> Posting:
        """Post a credit note exactly once; its natural key is its id. So much as it is `off_due` is no more due of its
        invoice; the rest is in credit for the customer until it is refunded. Return what is booked for the note.

        One that is `void` is taken back: what it took off is due again. Before one whose invoice is `given_up`, the
        write-off of that is undone where less is due than the note takes off. `closed` is as for an invoice. Raises
        `Conflict` while its invoice is not posted, `NotFound` for a void one that was never posted, and `Rejected` when
        less is due of the invoice than the note takes off, or what is void was refunded.
        """
        ...

    async def put_reversal(self, reversal: PaymentReversal, closed: ClosedPeriod) -> Posting:
        """Book money that went back to the customer exactly once; its natural key is its id, of a part that is for one
        of several credit notes `key_for`. What is for a credit note pays it, of the rest so much of the invoice is due
        again. Return what is booked for the invoice. `closed` is as for an invoice.

        Raises `Conflict` while the credit note, or the payment, is not booked, and `Rejected` for more than is in
        credit, or was paid.
        """
        ...

    async def put_fee(self, fee: DisputeFee, closed: ClosedPeriod) -> Posting:
        """Book what billing took for a dispute, or gave back, exactly once; its natural key is its id. It is an expense
        of the account that the mapping names, off the account on which payments come in. Return what is booked, with
        nothing due. `closed` is as for an invoice.

        Raises `Rejected` where the mapping names no account (field `payment_fees`), or one that is not there.
        """
        ...

    async def posting(self, invoice_id: str, legal_entity: str) -> Posting:
        """Return what is booked for an invoice. Raises `NotFound` when nothing is."""
        ...

    async def check(self) -> None:
        """Return when the platform answers."""
        ...


async def put_invoice(erp: Erp, invoice: Invoice, closed: ClosedPeriod) -> Posting:
    """Post one invoice, a batch of one. Raises leaves of `PlatformFault`."""
    (result,) = await erp.put_invoices([InvoiceToPost(invoice, correlation.current())], closed)
    if isinstance(result, PlatformFault):
        raise result
    return result
