"""Products in Tryton, as the owner of the catalogue has them.

A product needs a unit and an accounting category, which are an accountant's: they are looked for, and not created. Both
are Tryton's own once the product is there. A product that is sold no more is out of use, and is posted still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from canonical.cases import Finding
from canonical.faults import Rejected
from canonical.products import CatalogueProduct, ProductMatch
from system_apis.erp.tryton.books import NewProducts
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.mapping import Row
from system_apis.erp.tryton.master_data import MasterData, is_on_sale

PRODUCT, TEMPLATE = "model.product.product", "model.product.template"
FIELDS = [
    "code",
    "active",
    "template",
    "template.active",
    "template.name",
    "template.products",
    "default_uom.name",
    "account_category.name",
]


class TrytonProducts:
    """Read and write what of a catalogue Tryton has a copy of. Raises leaves of `PlatformFault`."""

    def __init__(self, client: TrytonClient, master_data: MasterData, names: NewProducts, *, allowed: bool) -> None:
        """`allowed` is whether products are written here at all."""
        self._client = client
        self._master_data = master_data
        self._names = names
        self._allowed = allowed

    async def match(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        """Return what Tryton has of products, and what it would not take. Writes nothing."""
        rows = await self._rows([each.sku for each in products])
        units = await self._ids("product.uom", {self._names.unit_of(each.unit) for each in products})
        categories = await self._ids("product.category", {self._names.category_of(each.category) for each in products})
        found: list[ProductMatch] = []
        for each in products:
            row = rows.get(each.sku)
            findings = tuple(self._findings(each, row, units, categories))
            present = None if row is None else self._product(row, each)
            found.append(ProductMatch(each.sku, present, findings))
        return tuple(found)

    async def put(self, product: CatalogueProduct) -> CatalogueProduct:
        """Let Tryton have a product, by its SKU. One that is sold no more and is not there is not created. Raises
        `Rejected` for what `match` finds."""
        (match,) = await self.match([product])
        if match.findings:
            raise Rejected("erp", match.findings[0].reason, field=match.findings[0].field)
        row = (await self._rows([product.sku])).get(product.sku)
        if row is None and product.active:
            await self._create(product)
        if row is not None:
            if row["template."]["name"] != product.name and product.active:
                await self._client.call(f"{TEMPLATE}.write", [row["template"]], {"name": product.name})
            if row["active"] != product.active:
                await self._client.call(f"{PRODUCT}.write", [row["id"]], {"active": product.active})
        return msgspec.structs.replace(product, prices=())

    async def _create(self, product: CatalogueProduct) -> None:
        unit, category = self._names.unit_of(product.unit), self._names.category_of(product.category)
        record: Row = {
            "name": product.name,
            "code": product.sku,
            "type": "service",
            "default_uom": (await self._ids("product.uom", {unit}))[unit],
            "account_category": (await self._ids("product.category", {category}))[category],
            "products": [["create", [{}]]],
        }
        context = {"company": await self._master_data.any_company()}
        await self._client.call(f"{TEMPLATE}.create", [record], context=context)

    async def _rows(self, skus: Sequence[str]) -> dict[str, Row]:
        """Return products by their codes. A code is that of one product in use at most (Tryton's own constraint)."""
        company = await self._master_data.any_company()
        found = await self._client.rows("product.product", [["code", "in", list(skus)]], FIELDS, company, inactive=True)
        return {each["code"]: each for each in sorted(found, key=is_on_sale)}

    async def _ids(self, model: str, names: set[str]) -> dict[str, int]:
        domain: list[object] = [["name", "in", sorted(names)]]
        if model == "product.category":
            domain.append(["accounting", "=", True])
        return {each["name"]: each["id"] for each in await self._client.rows(model, domain, ["name"], 0)}

    def _product(self, row: Row, wanted: CatalogueProduct) -> CatalogueProduct:
        """Return a product as Tryton has it, in the words of the owner where both mean the same."""
        unit, category = row["default_uom."]["name"], (row["account_category."] or {"name": ""})["name"]
        return CatalogueProduct(
            row["code"],
            row["template."]["name"],
            wanted.unit if unit == self._names.unit_of(wanted.unit) else unit,
            wanted.category if category == self._names.category_of(wanted.category) else category,
            active=is_on_sale(row),
        )

    def _findings(
        self, wanted: CatalogueProduct, row: Row | None, units: dict[str, int], categories: dict[str, int]
    ) -> Iterator[Finding]:
        if not self._allowed and self._differs(wanted, row):
            yield Finding("products", "products are not written here: set `products` of the ERP's settings", "erp")
        elif row is None and wanted.active:
            yield from self._missing(wanted, units, categories)
        elif row is not None and wanted.active:
            yield from self._differing(wanted, row)

    def _differs(self, wanted: CatalogueProduct, row: Row | None) -> bool:
        if row is None:
            return wanted.active
        is_renamed = wanted.active and row["template."]["name"] != wanted.name
        return is_renamed or is_on_sale(row) != wanted.active

    def _missing(
        self, wanted: CatalogueProduct, units: dict[str, int], categories: dict[str, int]
    ) -> Iterator[Finding]:
        unit, category = self._names.unit_of(wanted.unit), self._names.category_of(wanted.category)
        if unit not in units:
            yield Finding("unit", f"there is no unit {unit}: create it, or name another in the mapping", "erp")
        if not category:
            yield Finding("category", "neither the CRM nor the mapping says its accounting category", "erp")
        elif category not in categories:
            reason = f"there is no accounting category {category}: create it, or name another in the mapping"
            yield Finding("category", reason, "erp")

    def _differing(self, wanted: CatalogueProduct, row: Row) -> Iterator[Finding]:
        template, unit = row["template."], row["default_uom."]["name"]
        if wanted.unit and unit != self._names.unit_of(wanted.unit):
            reason = f"it is sold in {unit}, and a unit in use is never changed: give it a SKU of its own"
            yield Finding("unit", reason, "erp")
        if len(template["products"]) > 1 and template["name"] != wanted.name:
            yield Finding("name", "it is a variant of a product that has others: rename it in the ERP", "erp")
        if not template["active"]:
            yield Finding("active", "its template is out of use: put it in use in the ERP", "erp")
