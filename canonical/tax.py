"""How a sale between two countries is taxed."""

from __future__ import annotations

from canonical.parties import TaxTreatment

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


def treatment(seller_country: str, buyer_country: str, *, buyer_is_registered: bool) -> TaxTreatment:
    """Return the tax treatment of a service sold to a business.

    At home, and to a buyer in the Union without a valid VAT number: the seller's standard rate. To a registered
    business in another member state: reverse charge (Directive 2006/112/EC, articles 44 and 196). Elsewhere: outside
    the scope of the seller's tax. Countries are ISO 3166-1 alpha-2.
    """
    if buyer_country == seller_country:
        return "standard"
    if seller_country in EU and buyer_country in EU:
        return "reverse_charge" if buyer_is_registered else "standard"
    return "outside_scope"
