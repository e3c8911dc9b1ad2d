"""Products and their list prices, as their owner has them and as the copies of them are."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from canonical.amendments import NumberRefused, Price, check_number
from canonical.cases import Finding
from canonical.deals import plain
from canonical.ids import Key
from canonical.money import CurrencyCode, exponent

ListInterval = Literal["one_time", "month", "quarter", "half_year", "year", "other"]
"""What a list price is for; `other` is what somebody has made by hand in billing."""
MOST = 100
"""Products of a page, or of a batch that is asked for."""


class ListPrice(msgspec.Struct, frozen=True):
    """What one of a product costs per `interval`, net of tax and before any discount."""

    currency: CurrencyCode
    """The currency, an ISO 4217 code."""
    unit_price: Price
    interval: ListInterval

    def __post_init__(self) -> None:
        exponent(self.currency)
        check_number(self.unit_price, "unit_price")
        if self.unit_price < 0:
            raise NumberRefused("unit_price", "it is to be 0 or more")

    def in_words(self) -> str:
        """Return the price as people read it: `240 EUR a year`."""
        each = "once" if self.interval == "one_time" else f"a {self.interval.replace('_', ' ')}"
        return f"{plain(self.unit_price)} {self.currency} {each}"


class CatalogueProduct(msgspec.Struct, frozen=True):
    """A product that is sold, known everywhere by its `sku`.

    `unit` and `category` are the owner's words, empty where it says nothing. One that is not `active` is sold no more:
    the contracts that have it keep it. `prices` has one for each currency; a platform returns those that it has a copy
    of.
    """

    sku: Key
    name: str
    unit: str = ""
    category: str = ""
    active: bool = True
    prices: tuple[ListPrice, ...] = ()


class OwnedProduct(msgspec.Struct, frozen=True):
    """A product of its owner: `id` is the owner's own. One that cannot be read is None, and `findings` say why."""

    id: str
    sku: str
    product: CatalogueProduct | None
    findings: tuple[Finding, ...] = ()


class OwnedProducts(msgspec.Struct, frozen=True):
    """A page of products. `next_cursor` asks for the next one; it is None on the last one."""

    items: tuple[OwnedProduct, ...]
    next_cursor: str | None = None


class ProductBatch(msgspec.Struct, frozen=True):
    """Products that a platform is asked about, or is to know."""

    items: Annotated[tuple[CatalogueProduct, ...], msgspec.Meta(min_length=1, max_length=MOST)]


class ProductMatch(msgspec.Struct, frozen=True):
    """What a platform has under a SKU now: `present` is None for nothing. `findings` say why it would not take the
    product that it was asked about, or one of its prices (the field `prices.<currency>`)."""

    sku: Key
    present: CatalogueProduct | None
    findings: tuple[Finding, ...] = ()


class ProductMatches(msgspec.Struct, frozen=True):
    """What a platform has of the products that it was asked about, in their order."""

    items: tuple[ProductMatch, ...]


class PriceChange(msgspec.Struct, frozen=True):
    """The list price that a product is to have in a currency: None for none any more."""

    sku: Key
    currency: CurrencyCode
    price: ListPrice | None

    def __post_init__(self) -> None:
        exponent(self.currency)
