"""Who owns what is sold, and which platforms have a copy of it, as the catalogue says."""

from __future__ import annotations

from canonical.products import CatalogueProduct
from policies.catalogue.model import Catalogue, Domain
from policies.outbound.ownership import OWNERSHIP

SYNCED: tuple[Domain, ...] = ("erp", "billing")
"""The domains that products are brought to, in their order."""


def owned_elsewhere(catalogue: Catalogue) -> str:
    """Return a field of a product that another system than the CRM owns, with its owner; empty where there is none."""
    owners = OWNERSHIP.of(catalogue).get("product", {})
    for field in CatalogueProduct.__struct_fields__:
        owner = owners[field].owner if field in owners else "nobody"
        if owner != "crm":
            return f"product.{field} is owned by {owner}"
    return ""


def copies(catalogue: Catalogue, crm: str) -> list[tuple[Domain, str]]:
    """Return the platforms that have a copy of a CRM's products, by their domains: those that serve a legal entity of
    the CRM's."""
    projections = OWNERSHIP.of(catalogue)["product"]["name"].projections
    sells = {each for each in catalogue.homes() if catalogue.platforms[crm].serves(each)}
    return [
        (domain, name)
        for domain in SYNCED
        if domain in projections
        for name in catalogue.instances(domain)
        if any(catalogue.platforms[name].serves(each) for each in sells)
    ]


def has_prices(catalogue: Catalogue, domain: Domain) -> bool:
    """Return whether the platforms of a domain have a copy of list prices."""
    return domain == "billing" and domain in OWNERSHIP.of(catalogue)["product"]["prices"].projections
