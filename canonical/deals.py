"""A deal as the CRM closed it: what was sold, to whom, at which price. Nothing is validated here."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from canonical.cases import Finding
from canonical.ids import Key
from canonical.money import Money, digits_of, exponent
from canonical.parties import Account, Recipient
from canonical.tax import STANDARD_CLASS

Interval = Literal["one_time", "month", "year"]
"""What the price of a line is for."""
MONTHS = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}
"""The intervals at which a line is billed, in months."""
INTERVALS = ("one_time", *MONTHS)
"""The intervals of a line of a deal."""
TOO_MUCH = Decimal(10) ** 15
"""What no quantity, no price and no amount of a line is, in major units: more is a slip of the pen."""
Custom = dict[str, str]
"""Fields of a company's own by names of its own, which travel unchanged from the deal to the books."""
CUSTOM_NAME = re.compile(r"[a-z][a-z0-9_]{0,32}")
"""A name that every platform can carry: with `custom_` before it, it has 40 characters at most."""
MOST_CUSTOM, LONGEST_CUSTOM = 40, 500
"""Custom fields of a deal, and the characters of one."""


class LineTerms(msgspec.Struct, frozen=True):
    """What was agreed for a line: a `quantity` in units of the product, at the `unit_price` of one.

    `unit_price` is net of tax and after the discount, in major units. It may have more digits than its currency.
    `list_price` is the price before the discount of `discount_percent`; None without one.
    """

    quantity: Decimal
    """How much, in units of the product, as a decimal number."""
    unit_price: Decimal
    """The price of one unit in major units of the currency, net of tax and after the discount, as a decimal number."""
    list_price: Decimal | None = None
    """The price of one unit before the discount, in major units of the currency; null without a discount."""
    discount_percent: Decimal = Decimal(0)
    """The discount from the list price, in percent."""

    @property
    def listed(self) -> Decimal:
        """Return the price of one unit before a discount, in major units."""
        return self.unit_price if self.list_price is None else self.list_price

    def times(self, factor: Decimal) -> LineTerms:
        """Return the terms for a longer or shorter time: the same quantity at `factor` times the price."""
        listed = None if self.list_price is None else self.list_price * factor
        return msgspec.structs.replace(self, unit_price=self.unit_price * factor, list_price=listed)

    def net(self, currency: str) -> Money:
        """Return the amount of the line: quantity times price, rounded half up once."""
        return Money.of(self.quantity * self.unit_price, currency)

    def in_words(self, currency: str) -> str:
        """Return what was agreed, as people read it: `2.5 × 100.00 EUR less 15 %`."""
        return f"{plain(self.quantity)} × {self.price_in_words(currency)}"

    def price_in_words(self, currency: str) -> str:
        """Return the price of one unit, as people read it: `100.00 EUR less 15 %`."""
        price = round(self.listed, max(exponent(currency), digits_of(self.listed)))
        less = f" less {plain(self.discount_percent)} %" if self.discount_percent else ""
        return f"{price:,f} {currency}{less}"


class DealLine(msgspec.Struct, frozen=True):
    """One product of a deal. `listed` says whether the price list has it in the deal's currency.

    `unit_price` is what one costs per `interval` (one of `INTERVALS`), after the discount of `discount_percent` from
    `list_price`, if there is one.
    """

    id: str
    sku: str
    name: str
    quantity: Decimal
    unit_price: Decimal
    interval: str
    listed: bool
    list_price: Decimal | None = None
    discount_percent: Decimal = Decimal(0)

    @property
    def terms(self) -> LineTerms:
        return LineTerms(self.quantity, self.unit_price, self.list_price, self.discount_percent)


class InvoiceTerms(msgspec.Struct, frozen=True):
    """What was agreed for the invoices of a deal. What is left out is as it is for all invoices of the customer.

    `purchase_order` is the buyer's number. With `days_until_due` the customer pays by invoice, also one that has a
    payment method. `bill_to` is who gets the invoices; what is owed stays owed by the customer.
    """

    purchase_order: str = ""
    days_until_due: int | None = None
    bill_to: Recipient | None = None


class Deal(msgspec.Struct, frozen=True):
    """A closed opportunity with all that an order is made from. Its id and the lines' ids are the CRM's.

    `revision` starts at 1. An `evergreen` deal has no end, and no term: its `term_months` are 0.

    With a `contract_id` it changes a contract that runs, and is no new sale: the quantity of a line is how many units
    more, or less, than the contract has. One that is not ours is named by the CRM's own id.
    """

    id: str
    name: str
    revision: int
    account: Account
    currency: str
    legal_entity: str | None
    starts_on: date
    term_months: int
    lines: tuple[DealLine, ...]
    won: bool
    placed_by: str = ""
    """Who asked for it: the CRM's user, or the partner that placed the order."""
    evergreen: bool = False
    custom: Custom = {}
    invoicing: InvoiceTerms = InvoiceTerms()
    contract_id: str = ""
    change: Literal["amendment", "renewal", "cancellation"] = "amendment"
    """What it makes of the contract that it names. The lines of a renewal are all that the next term has, and its term
    is that of the next; without lines, they are as they run."""


class PlacedLine(msgspec.Struct, frozen=True):
    """A product and how much of it. The price list says what it costs."""

    sku: str
    """The product, by its number in the price list."""
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    """How many of the product, from 1 to 1,000,000."""


class PlacedDeal(msgspec.Struct, frozen=True):
    """An order that came in through a channel, on its way to the CRM, which owns what was sold.

    `key` is its natural key in the CRM.
    """

    key: Key
    name: str
    account_id: str
    legal_entity: str
    currency: str
    starts_on: date
    term_months: int
    lines: tuple[PlacedLine, ...]
    placed_by: str


class RenewalLine(msgspec.Struct, frozen=True):
    """What is offered again of one line of a contract. The price is that of one unit for an invoice, in major units."""

    sku: str
    quantity: Decimal
    unit_price: Decimal
    interval: str


class RenewalDeal(msgspec.Struct, frozen=True):
    """An opportunity that offers another term of a contract, on its way to the CRM. It is open, and people close it.

    `key` is its natural key in the CRM. `sold_with` is the CRM's own id of the deal that the contract came of: whose it
    was, this is. The term begins on `starts_on`, by which it is to be closed.
    """

    key: Key
    renewal_id: str
    name: str
    sold_with: str
    contract_id: str
    legal_entity: str
    currency: str
    starts_on: date
    term_months: int
    lines: tuple[RenewalLine, ...]


class DealReference(msgspec.Struct, frozen=True):
    """The CRM's own id of a deal."""

    id: str


class ContractCopy(msgspec.Struct, frozen=True):
    """What the CRM holds of a contract of ours now. `id` and `account_id` are the CRM's own."""

    id: str
    account_id: str
    starts_on: date | None
    term_months: int
    """0 for one without end."""


class DealStatus(msgspec.Struct, frozen=True):
    """What the CRM shows of an order, or of the amendment that a deal has become: a projection.

    `order_id` is the id of either. `findings` say why it stopped and replace `detail`: the CRM shows each with its own
    label of the field. With a `contract_id`, the CRM gets that contract too, as activated. One without end has 0
    `term_months`. One that was transferred begins, for its present customer, on `transferred_on`.
    """

    order_id: str
    state: str
    detail: str = ""
    account_id: str = ""
    customer_id: str = ""
    contract_id: str = ""
    starts_on: date | None = None
    term_months: int = 0
    legal_entity: str = ""
    revision: str = ""
    """The revision of the account that the customer's data was read from."""
    findings: tuple[Finding, ...] = ()
    transferred_on: date | None = None


class PricedLine(msgspec.Struct, frozen=True):
    """A line whose product, quantity and price are validated. `unit_price` is per interval, net of tax.

    `billing_months` is how many months each of its invoices is for, where that is not its interval: a line that is
    billed each quarter has the price of a year, and 3.

    `quantity` times `unit_price` is its amount to the minor unit, always. Where whole units at a price in minor units
    are not what was agreed (2.5 units, a price of 0.0049, a discount), `agreed` says what was; a line that cannot be
    written as whole units at such a price is one piece of its whole amount.

    A line with a `meter` is charged by use, after each period: it has no quantity, and its amount is nothing. `agreed`
    says what one unit costs, whatever its interval.

    `tax` is the code of its tax, `tax_percent` the rate; both are empty where they are the contract's. `tax_class` is
    that of its product.
    """

    id: Key
    sku: str
    name: str
    quantity: int
    unit_price: Money
    interval: Interval
    tax: str = ""
    tax_percent: str = ""
    agreed: LineTerms | None = None
    billing_months: Annotated[int, msgspec.Meta(ge=1, le=36)] | None = None
    tax_class: str = STANDARD_CLASS
    meter: str = ""
    """The name of the meter by which it is charged; empty for a line that has a quantity."""

    @property
    def billed_part(self) -> Decimal:
        """Return the part of its interval that one invoice is for: 0.25 of a year for a quarter."""
        if self.interval == "one_time" or self.billing_months is None:
            return Decimal(1)
        return Decimal(self.billing_months) / MONTHS[self.interval]

    @property
    def charge(self) -> Money:
        """Return what one piece costs on one invoice."""
        return self.unit_price.times(self.billed_part)

    @property
    def net(self) -> Money:
        """Return the amount of the line on one invoice."""
        return self.charge.times(self.quantity)

    @property
    def terms(self) -> LineTerms:
        """Return what was agreed for one invoice, whether it is said beside the whole quantity or by it."""
        said = self.agreed or LineTerms(Decimal(self.quantity), self.unit_price.decimal)
        return said if self.meter else said.times(self.billed_part)

    def in_words(self) -> str:
        """Return what was agreed for one invoice, as people read it."""
        currency = self.unit_price.currency
        return f"{self.terms.price_in_words(currency)} by use" if self.meter else self.terms.in_words(currency)


def priced_line(
    line: DealLine,
    currency: str,
    tax: str = "",
    tax_percent: str = "",
    tax_class: str = STANDARD_CLASS,
    meter: str = "",
) -> PricedLine:
    """Return a line of a deal as one of a contract, with a `meter` as one that is charged by use. Raises `ValueError`
    for an interval that is none of `INTERVALS`."""
    interval, billing_months = _interval(line.interval)
    made = PricedLine(
        line.id,
        line.sku,
        line.name,
        1,
        Money.zero(currency),
        interval,
        tax,
        tax_percent,
        billing_months=billing_months,
        tax_class=tax_class,
        meter=meter,
    )
    return with_terms(made, line.terms)


def with_terms(line: PricedLine, terms: LineTerms) -> PricedLine:
    """Return a line of a contract for which `terms` are agreed for one invoice, and nothing else is changed."""
    currency = line.unit_price.currency
    if line.meter:
        nothing = Money.zero(currency)
        return msgspec.structs.replace(line, quantity=int(terms.quantity), unit_price=nothing, agreed=terms)
    price = Money.of(terms.unit_price, currency)
    by_unit = is_whole(terms.quantity) and price.decimal == terms.unit_price
    said = by_unit and not terms.discount_percent
    invoices = 1 / line.billed_part
    return msgspec.structs.replace(
        line,
        quantity=int(terms.quantity) if by_unit else 1,
        unit_price=(price if by_unit else terms.net(currency)).times(invoices),
        agreed=None if said else terms.times(invoices),
    )


def nothing_of(line: PricedLine) -> PricedLine:
    """Return a line in a quantity of 0: what a target is to have of one that it takes back."""
    return with_terms(line, msgspec.structs.replace(line.terms, quantity=line.terms.quantity * 0))


def deal_line(line: PricedLine) -> DealLine:
    """Return a recurring line of a contract as one of a deal, which `priced_line` makes the same line of."""
    months = MONTHS[line.interval] if line.billing_months is None else line.billing_months
    interval = next(name for name, each in MONTHS.items() if each == months)
    terms = line.terms
    return DealLine(
        line.id,
        line.sku,
        line.name,
        terms.quantity,
        terms.unit_price,
        interval,
        listed=True,
        list_price=terms.list_price,
        discount_percent=terms.discount_percent,
    )


def _interval(name: str) -> tuple[Interval, int | None]:
    """Return what the price of a line is for, and the months of an invoice where that is something else."""
    match name:
        case "one_time" | "month" | "year":
            return name, None
        case "quarter" | "half_year":
            return "year", MONTHS[name]
        case unknown:
            raise ValueError(f"a line with the interval {unknown!r} has findings")


def is_whole(quantity: Decimal) -> bool:
    return quantity == quantity.to_integral_value()


def plain(number: Decimal) -> str:
    """Return a number without an exponent and without zeros at its end."""
    return f"{number.normalize():f}"


class OrderReference(msgspec.Struct, frozen=True):
    """An order by its id."""

    id: str


class Suspension(msgspec.Struct, frozen=True):
    """Whether the service of an order is suspended, as a change of its contract wants it. Nothing that was delivered is
    taken back: what the customer has stays.

    `change_id` tells one suspension from the next: what the target has heard under it once is done once.
    """

    order_id: Key
    change_id: Key
    suspended: bool
    legal_entity: str = ""


class Holder(msgspec.Struct, frozen=True):
    """Who has what was delivered for an order, since its contract went to another customer. Nothing is delivered for
    that, and nothing is taken back.

    `change_id` is the id of the change that it came with: what the target has heard under it once is done once.
    """

    order_id: Key
    change_id: Key
    customer_id: Key
    legal_entity: str = ""


class ProvisioningRequest(msgspec.Struct, frozen=True):
    """The lines of an order that are to be delivered. `attempt` starts at 1; a higher number is a new attempt."""

    order_id: Key
    lines: tuple[PricedLine, ...]
    attempt: int = 1
    legal_entity: str = ""
