"""Customers, and the legal entities that sell to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from canonical.ids import Key
from canonical.money import Money
from canonical.tax import STANDARD_CLASS, Tax, TaxRule, TaxTreatment

References = dict[str, str]
"""The platforms' own ids of a record, by the platform's name in the catalogue.

For example `{"crm-eu": "001…", "billing-eu": "cus_…"}`.
"""


class Address(msgspec.Struct, frozen=True):
    """A postal address. `country` is ISO 3166-1 alpha-2, `state` its code without the country's (ISO 3166-2: `CA`)."""

    street: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = ""
    state: str = ""


class Contact(msgspec.Struct, frozen=True):
    """A person at a customer."""

    name: str
    email: str


class Recipient(msgspec.Struct, frozen=True):
    """Who gets the invoices of a deal, where that is not the customer itself: a person, or a department."""

    name: str
    email: str = ""
    address: Address = Address()

    def in_words(self) -> str:
        """Return name, address and e-mail in one line, as an invoice shows them."""
        address = self.address
        city = " ".join(filter(None, (address.postal_code, address.city)))
        parts = (self.name, *address.street.splitlines(), city, address.country, self.email)
        return ", ".join(filter(None, parts))


class Customer(msgspec.Struct, frozen=True):
    """A company that buys. The CRM owns its identity, hierarchy and contacts."""

    id: Key
    name: str
    address: Address
    tax_number: str | None = None
    contact: Contact | None = None
    parent_id: str | None = None
    payment_method: str | None = None
    """The billing platform's token of a card or mandate; without one the customer pays by invoice."""
    tax_treatment: TaxTreatment = "standard"
    partner: str = ""
    """The partner that serves this customer, by its name in the catalogue; it sees the customer's records."""
    legal_entity: str = ""
    """The code of our legal entity that it is a customer of: its records stay in that entity's region."""
    revision: str = ""
    """The revision of the account in the CRM that this data was read from."""
    references: References = {}
    crm: str = ""
    """The CRM that its account is in, by the platform's name in the catalogue."""


class Account(msgspec.Struct, frozen=True):
    """A company as the CRM has it, before it is a customer of ours. `id` is the CRM's.

    `ancestors` are the ids of its parents, nearest first, each once: a circle ends with the id it started from.
    """

    id: str
    name: str
    address: Address
    tax_number: str | None = None
    contact: Contact | None = None
    payment_method: str | None = None
    ancestors: tuple[str, ...] = ()
    potential_duplicates: tuple[str, ...] = msgspec.field(default=(), name="namesakes")
    """Other accounts with the same tax number: duplicates, most likely."""
    tax_exempt: bool = False
    """Whether the buyer has shown that it owes no tax."""
    partner: str = ""
    """The client name of the partner that serves the account; empty when there is none."""
    revision: str = ""
    """A fingerprint that changes when a field changes that the CRM owns, and only then."""
    merged: tuple[str, ...] = ()
    """Accounts that were merged into this one, as long as the CRM still shows them."""


class AccountSync(msgspec.Struct, frozen=True):
    """What is written to an account in the CRM: our customer's id, and the revision of the account it was synced to."""

    customer_id: Key
    revision: str
    legal_entity: str = ""


class PlatformId(msgspec.Struct, frozen=True):
    """A platform's own id of a record that was created or found."""

    id: str


def compact_number(number: str) -> str:
    """Return the letters and digits of a tax number, in upper case: two of one company are equal then."""
    return re.sub(r"[^0-9A-Z]", "", number.upper())


def folded(text: str) -> str:
    """Return a name or an address as it is compared: whatever its letters' case and its blanks."""
    return " ".join(text.casefold().split())


class CustomerMatch(msgspec.Struct, frozen=True):
    """A record of a platform that may be a customer of ours, by what the platform says of it.

    `same_tax_number` is whether its tax number is the customer's, in whatever form the platform keeps it. `customer_id`
    is our id of the customer that it is already; records of other customers are no matches.
    """

    id: str
    name: str
    email: str = ""
    city: str = ""
    tax_number: str = ""
    same_tax_number: bool = False
    active: bool = True
    customer_id: str = ""


class CustomerMatches(msgspec.Struct, frozen=True):
    """The records of a platform that may be a customer."""

    items: tuple[CustomerMatch, ...]


class CustomerCopy(msgspec.Struct, frozen=True):
    """What a platform holds of a customer of ours now. `id` is the platform's own.

    What it does not keep, and what it writes in a form of its own that says the same, is as it was asked with.
    """

    id: str
    name: str
    address: Address
    email: str = ""
    tax_number: str = ""


class Product(msgspec.Struct, frozen=True):
    """What the ERP says of a product: its tax class, and how many digits after the point its quantities may have. One
    that is `withdrawn` is posted still, for contracts that have it, and sold no more."""

    tax_class: str = STANDARD_CLASS
    quantity_digits: int = 0
    withdrawn: bool = False


class KnownProducts(msgspec.Struct, frozen=True):
    """Those of the SKUs asked for that the ERP can post, with the tax class of each.

    `quantity_digits` is how many digits after the point a quantity of each may have: none for pieces, two for hours.
    Those that are `withdrawn` are sold no more, but to contracts that have them.
    """

    skus: tuple[str, ...]
    tax_classes: dict[str, str] = {}
    quantity_digits: dict[str, int] = {}
    withdrawn: tuple[str, ...] = ()

    @classmethod
    def of(cls, products: Mapping[str, Product]) -> KnownProducts:
        return cls(
            tuple(products),
            {sku: each.tax_class for sku, each in products.items()},
            {sku: each.quantity_digits for sku, each in products.items()},
            tuple(sku for sku, each in products.items() if each.withdrawn),
        )

    @property
    def by_sku(self) -> dict[str, Product]:
        return {
            sku: Product(
                self.tax_classes.get(sku, STANDARD_CLASS), self.quantity_digits.get(sku, 0), sku in self.withdrawn
            )
            for sku in self.skus
        }


class LegalEntity(msgspec.Struct, frozen=True):
    """A company of ours that sells, with its taxes. The ERP owns it.

    The first of the `tax_rules` that fits a sale chooses its tax, unless it is `taxed_by_billing`: then billing's own
    engine does. `tax_rates` holds the rate of the first tax of each treatment.
    """

    code: str
    name: str
    country: str
    currency: str
    tax_rates: dict[TaxTreatment, Decimal]
    taxes: tuple[Tax, ...] = ()
    tax_rules: tuple[TaxRule, ...] = ()
    taxed_by_billing: bool = False


class Credit(msgspec.Struct, frozen=True):
    """What a customer owes, and the most it may owe, in the currency of the books. `limit` is None when none is set.
    The ERP owns both.

    `rates` are what one unit of each other currency is worth in that of the books today, by the ERP's own rates.
    """

    used: Money
    limit: Money | None
    rates: dict[str, Decimal] = {}

    def in_books(self, amount: Money) -> Money:
        """Return an amount in the currency of the books. Raises `KeyError` for a currency of which no rate was
        asked."""
        if amount.currency == self.used.currency:
            return amount
        return Money.of(amount.decimal * self.rates[amount.currency], self.used.currency)

    def allows(self, more: Money) -> bool:
        """Return whether `more` can be sold on credit without exceeding the limit."""
        return self.limit is None or (self.used + more).amount <= self.limit.amount
