"""What is to be done so that a platform has the products and prices of their owner: worked out, and not written."""

from __future__ import annotations

from collections.abc import Iterator

from canonical.cases import Finding
from canonical.products import CatalogueProduct, ListPrice, OwnedProduct, PriceChange, ProductMatch
from policies.catalogue.model import Domain
from process_apis.records.catalogue_syncs import PlannedItem

PRODUCT_RANK: dict[Domain, int] = {"crm": 0, "erp": 1, "billing": 2}
PRICE, RETIRED_PRICE, RETIRED_PRODUCT = 3, 4, 5
"""The ranks: a product comes before its prices, and what is sold no more goes last."""


def unreadable(crm: str, owned: OwnedProduct) -> Iterator[PlannedItem]:
    """Yield what of a product, or of its prices, cannot be read at the owner: it stays as it is everywhere."""
    for each in owned.findings:
        sku = (owned.sku or owned.id)[:120]
        yield PlannedItem(
            crm,
            "crm",
            sku,
            PRODUCT_RANK["crm"],
            "refuse",
            None,
            currency=_currency(each) if owned.product else "",
            field=each.field,
            reason=each.reason,
        )


def items(
    domain: Domain,
    platform: str,
    wanted: CatalogueProduct,
    match: ProductMatch,
    *,
    owner: str = "",
    prices: bool = False,
    unread: frozenset[str] = frozenset(),
) -> Iterator[PlannedItem]:
    """Yield what is to be done about one product on one platform.

    `owner` is another CRM whose catalogue has the product there already. With `prices` its list prices are brought
    there too, but for the currencies `unread`.
    """
    findings = tuple(each for each in match.findings if not _currency(each))
    if owner:
        findings = (Finding("sku", of_another(owner)), *findings)
    yield from _of_product(domain, platform, wanted, match.present, findings)
    if prices:
        yield from _of_prices(platform, wanted, match, unread)


def of_another(crm: str) -> str:
    """Return why a product of another CRM's catalogue stays as it is."""
    return f"it is of the catalogue of {crm}: give one of the two another SKU"


def _of_product(
    domain: Domain,
    platform: str,
    wanted: CatalogueProduct,
    present: CatalogueProduct | None,
    findings: tuple[Finding, ...],
) -> Iterator[PlannedItem]:
    document = CatalogueProduct(wanted.sku, wanted.name, wanted.unit, wanted.category, active=wanted.active)
    rank, was, becomes = PRODUCT_RANK[domain], _words(present), _words(wanted)
    if findings and (wanted.active or (present is not None and present.active)):
        first = findings[0]
        reason = "; ".join(each.reason for each in findings)
        yield PlannedItem(
            platform,
            domain,
            wanted.sku,
            rank,
            "refuse",
            document,
            was=was,
            becomes=becomes,
            field=first.field,
            reason=reason,
        )
    elif present is None:
        if wanted.active:
            yield PlannedItem(platform, domain, wanted.sku, rank, "create", document, becomes=becomes)
    elif not wanted.active:
        if present.active:
            yield PlannedItem(platform, domain, wanted.sku, RETIRED_PRODUCT, "retire", document, was=was)
    elif not present.active or present.name != wanted.name:
        yield PlannedItem(platform, domain, wanted.sku, rank, "change", document, was=was, becomes=becomes)


def _of_prices(
    platform: str, wanted: CatalogueProduct, match: ProductMatch, unread: frozenset[str]
) -> Iterator[PlannedItem]:
    refused = {_currency(each): each for each in match.findings if _currency(each)}
    there: dict[str, list[ListPrice]] = {}
    for each in match.present.prices if match.present else ():
        there.setdefault(each.currency, []).append(each)
    listed = {each.currency: each for each in wanted.prices} if wanted.active else {}
    for currency, price in listed.items():
        present = there.get(currency, [])
        if present == [price]:
            continue
        finding = refused.get(currency)
        yield PlannedItem(
            platform,
            "billing",
            wanted.sku,
            PRICE,
            "refuse" if finding else "replace" if present else "create",
            PriceChange(wanted.sku, currency, price),
            currency=currency,
            was=_prices(present),
            becomes=price.in_words(),
            field=finding.field if finding else "",
            reason=finding.reason if finding else "",
        )
    for currency in sorted(there.keys() - listed.keys() - unread):
        document = PriceChange(wanted.sku, currency, None)
        was = _prices(there[currency])
        yield PlannedItem(
            platform, "billing", wanted.sku, RETIRED_PRICE, "retire", document, currency=currency, was=was
        )


def _currency(finding: Finding) -> str:
    """Return the currency of the price that a finding is about, empty where it is about the product itself."""
    before, _, currency = finding.field.partition(".")
    return currency if before == "prices" else ""


def _words(product: CatalogueProduct | None) -> str:
    if product is None:
        return ""
    return product.name if product.active else f"{product.name} (out of use)"


def _prices(prices: list[ListPrice]) -> str:
    return ", ".join(each.in_words() for each in prices)
