"""The companies whose books a sandbox opens: each sells from a CRM, an ERP and a billing account of its own."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Site(msgspec.Struct, frozen=True):
    """A selling company.

    `suffix` is what the names of its platforms end with in the catalogue; `tax_name` is the name of its standard tax in
    the ERP, `tax_percent` its rate.
    """

    suffix: str
    code: str
    company: str
    country: str
    tax_number: str
    tax_name: str
    tax_percent: Decimal


GERMANY = Site("", "DE01", "Tiergate Muster GmbH", "DE", "DE136695976", "VAT19", Decimal(19))
FRANCE = Site("-fr", "FR01", "Tiergate Exemple SAS", "FR", "FR40303265045", "TVA20", Decimal(20))
SITES = (GERMANY, FRANCE)
