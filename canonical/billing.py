"""Contracts, invoices and payments, as every layer speaks of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from canonical.cases import Finding
from canonical.deals import Custom, InvoiceTerms, LineTerms, PricedLine
from canonical.faults import TRANSIENT, PlatformFault
from canonical.ids import Key
from canonical.money import Money, total
from canonical.parties import Recipient, References
from canonical.states import BilledState
from canonical.tax import ChargedTax, TaxTreatment

ClosedPeriod = Literal["wait", "next"]
"""What happens to a posting whose day lies in a closed period.

It waits, or is booked on the first day of the next open period.
"""
LARGEST_BATCH = 100
"""Invoices that are posted together at the most."""
InvoiceState = Literal["draft", "open", "paid", "void", "uncollectible"]


class Contract(msgspec.Struct, frozen=True):
    """A contract: what a customer has bought, and for how long. Billing owns its state and schedule once it exists.

    `starts_on` is its first day; `term_months` are 0 for one without end. `ends_on` is the first day on which it is
    over, where that was agreed later: billing ends with it. `renewed_until` is the end of the term that the last
    renewal has agreed; without the two, its first term says its end. `tax` and `tax_percent` are those of each
    line that names no other; where it is `taxed_by_billing`, its own engine decides, and these are what is expected at
    most. Lines of the interval `one_time` are charged once. `group` names the lines that are billed
    together: "main", or a line that was provisioned later than the others.
    """

    id: Key
    order_id: Key
    customer_id: Key
    legal_entity: str
    currency: str
    starts_on: date
    term_months: int
    lines: tuple[PricedLine, ...]
    tax: TaxTreatment
    tax_percent: str
    group: str = "main"
    state: BilledState = "pending"
    references: References = {}
    custom: Custom = {}
    invoicing: InvoiceTerms = InvoiceTerms()
    taxed_by_billing: bool = False
    ends_on: date | None = None
    renewed_until: date | None = None

    @property
    def net(self) -> Money:
        """Return the net amount of the first invoice: all lines before tax."""
        return total((line.net for line in self.lines), self.currency)

    @property
    def gross(self) -> Money:
        """Return the amount of the first invoice with its tax, rounded for each line."""
        taxes = (line.net.times(Decimal(self.tax_of(line)[1]) / 100) for line in self.lines)
        return self.net + total(taxes, self.currency)

    def named(self, name: str) -> list[str]:
        """Return the ids of the records that the contract names once or several times: `name`, `name.2` and so on."""
        further = [each for each in self.references if each.startswith(f"{name}.")]
        ordered = sorted(further, key=lambda each: int(each.rpartition(".")[2]))
        return [self.references[each] for each in (name, *ordered) if each in self.references]

    def tax_of(self, line: PricedLine) -> tuple[str, str]:
        """Return the code and the percentage of the tax of one of the lines."""
        return (line.tax, line.tax_percent) if line.tax else (self.tax, self.tax_percent)


class LineTax(msgspec.Struct, frozen=True):
    """A tax on a line as billing charged it. `code` is its code in the mapping of the ERP.

    It is empty where billing's own engine decided, and `charged` says what; the mapping has a code for that.
    """

    code: str
    amount: Money
    charged: ChargedTax | None = None


class InvoiceLine(msgspec.Struct, frozen=True):
    """A line of an invoice. `net` is for the whole line, `tax` is the sum of its `taxes`.

    `quantity` is how many pieces billing charged; where they are not units of the product, or a discount was given,
    `agreed` says what was agreed. `period_start` and `period_end` bound the service that it pays for (both inclusive).
    `taxes` is empty where the treatment of the invoice says which one it is. `id` is billing's; of a line of a credit
    note it is that of the invoice's line that it credits, empty where it credits none.
    """

    sku: str
    description: str
    quantity: int
    net: Money
    tax: Money
    period_start: date
    period_end: date
    taxes: tuple[LineTax, ...] = ()
    agreed: LineTerms | None = None
    id: str = ""


class Payment(msgspec.Struct, frozen=True):
    """Money received for an invoice. `id` is billing's, and so the natural key everywhere else.

    `overpaid` is the part of it that was more than what was due for the invoice: the customer has it in credit, or owed
    it. `settles` are the earlier invoices of which nothing is left with this payment, because it includes what they
    carried over to the customer's balance, or was smaller by what they had left there. Where nothing at all had to be
    paid for that, its amount is zero. `recovered` says that billing had given the invoice up: what the ERP has written
    off for it is owed again before the payment is booked.
    """

    id: Key
    invoice_id: Key
    amount: Money
    received_on: date
    overpaid: Money | None = None
    settles: tuple[str, ...] = ()
    recovered: bool = False


class Invoice(msgspec.Struct, frozen=True):
    """An invoice as billing issued it. `id` is billing's, and so the natural key everywhere else.

    `due_on` is the day until which the customer is asked to pay; None for one that is charged. `purchase_order` is the
    buyer's number; `bill_to` is who gets the invoice, where that is not the customer itself.
    """

    id: Key
    number: str
    customer_id: str
    contract_id: str | None
    legal_entity: str
    state: InvoiceState
    issued_on: date
    total: Money
    tax: Money
    balance: Money
    tax_treatment: TaxTreatment
    lines: tuple[InvoiceLine, ...]
    payments: tuple[Payment, ...] = ()
    custom: Custom = {}
    """The custom fields of its contract."""
    cancelled_on: date | None = None
    """The day on which billing voided it or wrote it off; None for any other one."""
    due_on: date | None = None
    purchase_order: str = ""
    bill_to: Recipient | None = None


class Posting(msgspec.Struct, frozen=True):
    """An entry that the ERP booked for an invoice or a payment, or would book: the ERP's own number, empty for a draft,
    and what is still due, below nothing for a credit. `posted_on` is its day in the books."""

    number: str
    total: Money
    tax: Money
    balance: Money
    posted_on: date
    reference: str


class InvoiceToPost(msgspec.Struct, frozen=True):
    """An invoice of a batch, with the id that correlates all that follows from its own sale."""

    invoice: Invoice
    correlation_id: Key


class InvoiceBatch(msgspec.Struct, frozen=True):
    """Invoices of one legal entity that are posted together, each once."""

    items: Annotated[tuple[InvoiceToPost, ...], msgspec.Meta(min_length=1, max_length=LARGEST_BATCH)]


class PostingResult(msgspec.Struct, frozen=True):
    """What became of one invoice of a batch.

    One that is `posted` has a `posting`, any other a `finding`. What is `waiting` is tried again, no sooner than after
    `retry_after` seconds; what is `rejected` needs a person.
    """

    id: Key
    outcome: Literal["posted", "waiting", "rejected"]
    posting: Posting | None = None
    finding: Finding | None = None
    retry_after: float | None = None


class PostingResults(msgspec.Struct, frozen=True):
    """What became of each invoice of a batch, in its order."""

    items: tuple[PostingResult, ...]


def result_of(key: str, result: Posting | PlatformFault) -> PostingResult:
    """Return what became of an invoice: what is booked for it, or the fault that it ended with."""
    if isinstance(result, Posting):
        return PostingResult(key, "posted", result)
    finding = Finding(result.field, result.reason, result.platform)
    outcome = "waiting" if isinstance(result, TRANSIENT) else "rejected"
    return PostingResult(key, outcome, finding=finding, retry_after=result.retry_after)
