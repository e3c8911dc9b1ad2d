"""The companies whose books a sandbox opens: each sells from a CRM, an ERP and a billing account of its own."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Site(msgspec.Struct, frozen=True):
    """A selling company.

    `suffix` is what the names of its platforms end with in the catalogue; `tax_name` is the name of its standard tax in
    the ERP, `tax_percent` its rate; `reduced_name` and `reduced_percent` are those of printed matter. Where it is
    `taxed_by_billing`, Stripe Tax decides about tax, and not the rules of the mapping.
    """

    suffix: str
    code: str
    company: str
    country: str
    tax_number: str
    tax_name: str
    tax_percent: Decimal
    reduced_name: str
    reduced_percent: Decimal
    taxed_by_billing: bool = False


GERMANY = Site("", "DE01", "Tiergate Muster GmbH", "DE", "DE136695976", "VAT19", Decimal(19), "VAT7", Decimal(7))
FRANCE = Site(
    "-fr", "FR01", "Tiergate Exemple SAS", "FR", "FR40303265045", "TVA20", Decimal(20), "TVA5.5", Decimal("5.5")
)
SITES = (GERMANY, FRANCE)
