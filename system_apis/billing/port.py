"""What a billing connector must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import Contract, Invoice
from canonical.corrections import Correctable, CreditOrder, InvoiceEnd, Refund, RefundOrder
from canonical.credits import CreditNote, PaymentReversal
from canonical.disputes import Dispute, Evidence
from canonical.dunning import OpenInvoices
from canonical.events import Event
from canonical.parties import Customer, CustomerCopy, CustomerMatch
from canonical.products import CatalogueProduct, PriceChange, ProductMatch
from canonical.usage import UsageCharge, UsageOfPeriod, UsageOrder
from system_apis.feed import Look
from system_apis.intake import Intake


class Reported(msgspec.Struct, frozen=True):
    """An event that a platform reported, with the correlation id that we had written to the record."""

    event: Event
    correlation_id: str


class Billing(Protocol):
    """What the process layer needs of billing. Every method raises leaves of `PlatformFault`.

    Every put finds what exists before it creates. The ids of invoices and payments are natural keys everywhere else:
    a connector whose platform numbers them for each account qualifies them.
    """

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
        """Create or update the customer with its tax number and payment method. Return billing's own id.

        A record that its `references` name, and that is no other customer's, is taken over: our id is written to it.
        """
        ...

    async def put_contract(self, contract: Contract, correlation_id: str) -> Contract:
        """Create the contract's schedule, which bills nothing before `start`. Return the contract with its
        references.
        """
        ...

    async def start(self, contract: Contract) -> Contract:
        """Begin the service of exactly the lines given: the first invoice is issued, and charged where agreed.

        Return the contract as active, with the references of its subscription and its first invoice.
        """
        ...

    async def preview_change(self, change: ContractChange, correlation_id: str) -> BillingPreview:
        """Return the invoices that `change` would issue, to the minor unit, and the moment from which it counts. The
        moment may lie ahead, within the period that runs.

        Nothing of the contract is written. What its lines are sold as (a product, a price, a tax rate) may be created:
        it bills nothing, and is found again by its key. What `change` would refuse is refused.
        """
        ...

    async def change(self, change: ContractChange, correlation_id: str) -> Contract:
        """Bill a contract from a moment on, which has come, as it is said to be then. Return the contract as it runs,
        with the invoices that were issued for the change, and no other ones, as its references `invoice`, `invoice.2`
        and so on. It is `cancelled` when it has no line left.

        The same change again, also days later or after it was interrupted, changes nothing and returns the same. Raises
        `NotFound` for a contract that is not there, and `Rejected` for one that has ended, that is billed otherwise
        than it says, or for a moment before the period that runs (field `effective_at`).

        With a `pause` nothing of what is billed from the end of the present period on is charged, up to the period that
        begins on its day or until the contract is resumed, and that period is charged whole. `Rejected` names the days
        that are possible, and says where a part of the contract would be paid for any longer.

        With a `handover` the customer that it names is billed for all that the contract has, from the end of the
        present period on, and the present one until then: at every moment one of the two, also where this was
        interrupted. A handover that is `taken_back` before that leaves it at the present one; one that was not
        completed is by the id of the change itself, which can be tried again then. What is refused leaves the present
        customer billed on; where its last period is over by then, the reason says so.
        """
        ...

    async def cancel(self, contract: Contract) -> None:
        """Undo `put_contract` and what followed from it. Do nothing for a contract that does not exist."""
        ...

    async def collect(self, contract: Contract) -> None:
        """Let the open invoices of a contract be collected on, where the end of it, or of another one of its customer,
        has stopped that. What people have taken out of collection stays out of it."""
        ...

    async def put_usage(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        """Let a contract be billed for what was used in a period that is over, before the period's invoice is issued.

        The same again, also days later or after it was interrupted, adds nothing and returns the same. Raises
        `Rejected` where billing does not charge the contract by use of the product, has another quantity, or has issued
        the invoice already (field `period`): then it is charged by hand. So it is, too, while billing does not collect
        the contract's invoices.
        """
        ...

    async def price_usage(self, order: UsageOrder) -> UsageCharge:
        """Return where a period is charged, and what `charge_usage` would charge for what is more of it. Nothing is
        written.

        Raises `Rejected` where that is not known exactly: the price is not so much for each unit, or a discount is on
        it; where the period is on no invoice that is to be paid; and for what `charge_usage` would refuse.
        """
        ...

    async def charge_usage(self, order: UsageOrder) -> UsageCharge:
        """Charge what is more of a period with the contract's next invoice, exactly once for the order's id, at the
        price of each unit on the invoice of the period. Raises `Rejected` as `price_usage` does, where no further
        invoice comes, and while billing does not collect them."""
        ...

    async def match_products(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        """Return what billing has of each product, in their order, and what of it billing would not take. Nothing is
        written."""
        ...

    async def put_product(self, product: CatalogueProduct) -> CatalogueProduct:
        """Let billing have the product, by its SKU: created, renamed, put in use or out of use, and never deleted."""
        ...

    async def put_price(self, change: PriceChange) -> PriceChange:
        """Let the product have this list price in a currency, or none. A price in use is never changed: another amount
        is another price, and the former one is put out of use. Contracts keep the prices that they have."""
        ...

    async def invoice(self, invoice_id: str) -> Invoice:
        """Return an invoice as it is now, with its lines and payments."""
        ...

    async def open_invoices(self, contract: Contract) -> OpenInvoices:
        """Return what the contract's customer has left to pay of it, as billing collects that now, the oldest first,
        and whether billing has ended the contract. An invoice that is not to be paid yet is there, too, and not
        overdue; one that people have said is not to be collected is not."""
        ...

    async def credit_note(self, credit_note_id: str) -> CreditNote:
        """Return a credit note as it is now, with its lines and where its amount went."""
        ...

    async def reversal(self, reversal_id: str) -> PaymentReversal:
        """Return money that went back to a customer. Raises `Conflict` (field `status`) while it has not,
        `NotFound` (that field, too) when it never will, and `Rejected` when it was no payment of an invoice."""
        ...

    async def correctable(self, invoice_id: str) -> Correctable:
        """Return what of an invoice can still be credited, refunded, voided or written off, as it is now."""
        ...

    async def preview_credit_note(self, order: CreditOrder) -> CreditNote:
        """Return the credit note that `issue_credit_note` would issue, under our id of it, with its taxes and with what
        of it is off what is due. Nothing is written. What that would refuse is refused."""
        ...

    async def issue_credit_note(self, order: CreditOrder) -> CreditNote:
        """Issue a credit note exactly once for the order's id, and return it. Raises `Rejected` for more than is left
        of a line or of the invoice, for amounts that do not add up to what was paid of it, and while a payment is on
        its way."""
        ...

    async def refund_payment(self, order: RefundOrder) -> Refund:
        """Refund a payment, or a part of it, exactly once for the order's id, and return the refund, which may be
        pending. Raises `Rejected` for more than is left of it, for one that is disputed, and for one that billing has
        not received itself."""
        ...

    async def void_invoice(self, end: InvoiceEnd) -> Invoice:
        """Void an open invoice, or one that is written off, and return it. One that is void stays so. Raises `Rejected`
        for any other."""
        ...

    async def write_off_invoice(self, end: InvoiceEnd) -> Invoice:
        """Let an open invoice be uncollectible, and return it. One that is uncollectible stays so. Raises `Rejected`
        for any other."""
        ...

    async def dispute(self, dispute_id: str) -> Dispute:
        """Return a dispute as it is now, with what it has cost. Raises `Rejected` when it is about no payment of an
        invoice of ours."""
        ...

    async def accept_dispute(self, dispute_id: str) -> Dispute:
        """Give a dispute up, and return it as it is then: lost. One that is lost already stays as it is.

        Raises `Rejected` (field `state`) for one that cannot be given up, as one that was answered.
        """
        ...

    async def answer_dispute(self, dispute_id: str, evidence: Evidence) -> Dispute:
        """Submit evidence, and return the dispute as it is then. The same answer again changes nothing.

        Raises `Rejected` for one that takes no answer (field `state`), or none any more (field `respond_by`).
        """
        ...

    async def reported(self, headers: Mapping[str, str], body: bytes) -> Reported | None:
        """Return the canonical event of a webhook, verified on its raw bytes; None for one that is of no interest.

        What the webhook does not say, or says in another version of the platform's API, is read from the platform.
        """
        ...

    def taken(self, event: Event) -> None:
        """Remember that the event of a webhook was taken: `look` need not offer it."""
        ...

    async def begin(self) -> None:
        """Begin to look at the stored position: another process may have looked since this one did."""
        ...

    async def look(self, intake: Intake) -> Look:
        """Offer to `intake` what `reported` would return of all that happened since the last look, whether its webhook
        came or not. Return when to look again.

        A webhook that was taken is not sent again: after a restore of an older backup, and where none came for longer
        than the platform tries, this alone brings what was lost. The same event offered twice is the same event.
        """
        ...

    async def check(self) -> None:
        """Return when the platform answers."""
        ...
