"""The products of an org with their prices, read in pages.

A product is known elsewhere by its code. Its prices are those of the price book that channels sell from, in every
currency (Object Reference: Product2, PricebookEntry).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from re import fullmatch
from typing import cast

from canonical.cases import Finding
from canonical.deals import INTERVALS
from canonical.faults import Rejected
from canonical.ids import KEY
from canonical.products import CatalogueProduct, ListInterval, ListPrice, OwnedProduct, OwnedProducts
from system_apis.crm.salesforce.client import SalesforceClient
from system_apis.crm.salesforce.columns import Reader, Row, Unreadable
from system_apis.crm.salesforce.org import CURRENCY, PRODUCT, Org, quoted

BEFORE = f"{PRODUCT}."


class SalesforceProducts:
    """Read the products of an org. Raises leaves of `PlatformFault`."""

    def __init__(self, client: SalesforceClient, org: Org) -> None:
        self._client = client
        self._org = org
        sku = org.line["sku"].column.field
        self._code = sku.removeprefix(BEFORE) if sku.startswith(BEFORE) else "ProductCode"
        interval = org.line["interval"]
        self._interval = interval if all(each.startswith(BEFORE) for each in interval.fields) else None
        """None where a line says it, and a product does not."""

    async def page(self, after: str, limit: int) -> OwnedProducts:
        """Return `limit` products from the one after `after` on, those that are out of use included, with what each
        costs. What cannot be read of one is in its findings."""
        readers = self._org.product.values()
        intervals = (each.removeprefix(BEFORE) for each in (self._interval.fields if self._interval else ()))
        wanted = self._org.fields(("Id", "Name", "IsActive", self._code, *intervals), readers)
        where = f" WHERE Id > {quoted(after)}" if after else ""
        query = f"SELECT {', '.join(wanted)} FROM {PRODUCT}{where} ORDER BY Id LIMIT {limit + 1}"
        rows = await self._client.query(query)
        more, rows = len(rows) > limit, rows[:limit]
        if not rows:
            return OwnedProducts(())
        found = await self._client.queries({"prices": self._prices_query(rows), "same": self._same_query(rows)})
        prices: dict[str, list[Row]] = {}
        for each in found["prices"]:
            prices.setdefault(each["Product2Id"], []).append(each)
        in_use = Counter(each[self._code] for each in found["same"] if each["IsActive"])
        first = {each[self._code]: each["Id"] for each in reversed(found["same"])}
        kept = [row for row in rows if row["IsActive"] or self._stands(row, in_use, first)]
        items = tuple(self._product(row, prices.get(row["Id"], []), in_use) for row in kept)
        return OwnedProducts(items, rows[-1]["Id"] if more else None)

    def _prices_query(self, rows: Iterable[Row]) -> str:
        currency = f", {CURRENCY}" if self._has_currencies else ""
        products = ", ".join(quoted(each["Id"]) for each in rows)
        return (
            f"SELECT Product2Id, UnitPrice{currency} FROM PricebookEntry"
            f" WHERE IsActive = true AND {self._org.price_book()} AND Product2Id IN ({products}) ORDER BY Id"
        )

    def _same_query(self, rows: Iterable[Row]) -> str:
        codes = ", ".join(sorted({quoted(each[self._code] or "") for each in rows}))
        return f"SELECT Id, IsActive, {self._code} FROM {PRODUCT} WHERE {self._code} IN ({codes}) ORDER BY Id"

    @property
    def _has_currencies(self) -> bool:
        return self._org.deal["currency"].column.field == CURRENCY

    def _stands(self, row: Row, in_use: Counter[str], first: dict[str, str]) -> bool:
        """Return whether a product that is out of use is the one of its code: not one that was replaced by another."""
        code = row[self._code]
        return bool(code) and not in_use[code] and first.get(code) == row["Id"]

    def _product(self, row: Row, prices: list[Row], in_use: Counter[str]) -> OwnedProduct:
        sku: str = row[self._code] or ""
        if not fullmatch(KEY, sku):
            reason = f"{PRODUCT}.{self._code} is {sku!r}: write a code of letters, digits and _ . : -, 120 at most"
            return OwnedProduct(row["Id"], sku, None, (Finding("sku", reason, "crm"),))
        if in_use[sku] > 1:
            reason = f"{in_use[sku]} products in use have the code {sku}: put all but one out of use"
            return OwnedProduct(row["Id"], sku, None, (Finding("sku", reason, "crm"),))
        try:
            category, unit = (self._org.product[name].text(row, "product") for name in ("category", "unit"))
        except Unreadable as error:
            return OwnedProduct(row["Id"], sku, None, (Finding(error.field, error.reason, "crm"),))
        listed: list[ListPrice] = []
        findings: list[Finding] = []
        for each in prices if row["IsActive"] else ():
            currency = self._currency(each)
            try:
                listed.append(self._price(row, each, currency))
            except ValueError as error:
                reason = error.reason if isinstance(error, Unreadable) else str(error)
                findings.append(Finding(f"prices.{currency}", reason, "crm"))
        product = CatalogueProduct(
            sku, row["Name"].strip(), unit, category, active=row["IsActive"], prices=tuple(listed)
        )
        return OwnedProduct(row["Id"], sku, product, tuple(findings))

    def _currency(self, price: Row) -> str:
        currency = self._org.deal["currency"].column
        known = price[CURRENCY] if self._has_currencies else currency.constant
        if not known:
            reason = f"the prices of products name no currency: the mapping reads it from {currency.field}"
            raise Rejected("crm", reason, field="deal.currency")
        return str(known)

    def _price(self, row: Row, price: Row, currency: str) -> ListPrice:
        if self._interval is None:
            raise Unreadable("interval", "a line says how often it is billed, and a product does not")
        interval = self._interval.text({PRODUCT: row}, "product")
        if interval not in INTERVALS:
            raise Unreadable("interval", f"{self._words(self._interval)} is {interval!r}, and no interval")
        return ListPrice(currency, Decimal(str(price["UnitPrice"])), cast("ListInterval", interval))

    def _words(self, reader: Reader) -> str:
        return reader.column.field or reader.words()
