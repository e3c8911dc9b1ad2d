"""How a sale is taxed: the taxes of a legal entity, and the rules that choose one for a line.

The rules are the company's own, in the mapping of its ERP.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

TaxTreatment = Literal["standard", "reverse_charge", "outside_scope"]
"""How a sale is treated: taxed, taxed by the buyer, or not taxed (sold elsewhere, or to a buyer that is exempt)."""
Place = Literal["home", "union", "elsewhere"]
"""Where a buyer is, seen from the seller: in its country, in another member state of the Union, or outside."""
STANDARD_CLASS = "standard"
"""The tax class of a product that nobody put in another one."""
EU = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)


class Tax(msgspec.Struct, frozen=True):
    """A tax of a legal entity, by its code in the mapping. `percent` is that of the ERP's own record."""

    code: str
    treatment: TaxTreatment
    percent: Decimal


class ChargedTax(msgspec.Struct, frozen=True):
    """A tax as billing's own engine charged it: at which rate, where, and why.

    `country` is ISO 3166-1 alpha-2, `state` ISO 3166-2 (US-NY) or empty. `reason` is the engine's own word, such as
    standard_rated, reverse_charge or not_collecting.
    """

    percent: Decimal
    country: str = ""
    state: str = ""
    reason: str = ""


class TaxRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a line gets the tax with the code `tax`: where all that the rule names is so.

    Countries are ISO 3166-1 alpha-2, `states` are ISO 3166-2 (US-CA). Both days of its validity are included.
    """

    tax: str
    buyer: Place | None = None
    countries: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    registered: bool | None = None
    exempt: bool | None = None
    product_classes: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None

    def fits(self, sale: TaxedSale) -> bool:
        """Return whether the rule is about a sale."""
        return (
            self.buyer in (None, sale.place)
            and sale.country in (self.countries or (sale.country,))
            and sale.state in (self.states or (sale.state,))
            and self.registered in (None, sale.registered)
            and self.exempt in (None, sale.exempt)
            and sale.product_class in (self.product_classes or (sale.product_class,))
            and (self.valid_from or sale.on) <= sale.on <= (self.valid_until or sale.on)
        )


class TaxedSale(msgspec.Struct, frozen=True):
    """What decides about the tax of a line. `on` is the first day of the service; `state` is ISO 3166-2, or empty."""

    seller_country: str
    country: str
    on: date
    state: str = ""
    registered: bool = False
    exempt: bool = False
    product_class: str = STANDARD_CLASS

    @property
    def place(self) -> Place:
        if self.country == self.seller_country:
            return "home"
        return "union" if {self.country, self.seller_country} <= EU else "elsewhere"


def code_for(sale: TaxedSale, rules: Iterable[TaxRule]) -> str | None:
    """Return the code of the tax that the first rule about a sale names, None when no rule is about it."""
    return next((rule.tax for rule in rules if rule.fits(sale)), None)
