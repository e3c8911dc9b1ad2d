"""Products and list prices in Stripe, as their owner has them.

The amount of a price never changes (API reference: Update a price). A changed one is a new price, which takes over the
lookup key, and the former one is put out of use: who has it keeps it. Contracts are billed by prices of their own
(`price_list`), which nothing here touches. Nothing is deleted: a product that has prices cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from canonical.cases import Finding
from canonical.faults import Conflict, NotFound, Rejected
from canonical.products import CatalogueProduct, ListPrice, PriceChange, ProductMatch
from policies.context import correlation
from system_apis.billing.stripe import mapping
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.mapping import LIST


class StripeProducts:
    """Read and write what of a catalogue Stripe has a copy of. Raises leaves of `PlatformFault`."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def match(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        """Return what Stripe has of products, and what it would not take. Writes nothing."""
        rows = await self._client.listed(at("products"), ids=[each.sku for each in products])
        present = {row["id"]: await self._present(row) for row in rows}
        return tuple(ProductMatch(each.sku, present.get(each.sku), tuple(_findings(each))) for each in products)

    async def _present(self, row: Row) -> CatalogueProduct:
        prices = tuple(mapping.listed_price(each) for each in await self._prices(row["id"]) if each["active"])
        return CatalogueProduct(row["id"], row["name"], active=row["active"], prices=prices)

    async def put(self, product: CatalogueProduct) -> CatalogueProduct:
        """Let Stripe have a product, by its SKU. One that is sold no more and is not there is not created, and
        one that is there keeps its name: contracts that run may have it."""
        row = await self._product(product.sku)
        if row is None and product.active:
            key = f"product:{product.sku}:{correlation.current()}"
            try:
                await self._client.create(at("products"), key, id=product.sku, name=product.name)
            except Conflict:  # an order made it in this moment
                row = await self._product(product.sku)
        if row is not None:
            wanted: Row = {"name": product.name, "active": True} if product.active else {"active": False}
            changes = {name: value for name, value in wanted.items() if row[name] != value}
            if changes:
                key = f"product:{product.sku}:{sorted(changes.items())}:{correlation.current()}"
                await self._client.post(at("products", product.sku), key, **changes)
        return msgspec.structs.replace(product, unit="", category="", prices=())

    async def put_price(self, change: PriceChange) -> PriceChange:
        """Let a product have one list price in a currency, or none. The same again, also after it was interrupted
        anywhere, leaves one."""
        key = mapping.list_price_key(change.sku, change.currency)
        known = [each for each in await self._prices(change.sku) if each["metadata"][LIST] == key]
        kept = None if change.price is None else await self._kept(change.sku, change.price, known)
        former = [each["id"] for each in known if each["active"] and each["id"] != kept]
        if former:
            product = await self._client.get(at("products", change.sku))
            if product["default_price"] in former:  # which cannot be put out of use
                marker = f"default_price:{change.sku}:{kept}:{correlation.current()}"
                await self._client.post(at("products", change.sku), marker, default_price=kept or "")
        for each in former:
            await self._client.post(at("prices", each), f"retired:{each}:{correlation.current()}", active=False)
        return change

    async def _kept(self, sku: str, price: ListPrice, known: Sequence[Row]) -> str:
        """Return the id of the price in use that is as it is wanted: there already, or new."""
        wanted = mapping.list_price(sku, price)
        key: str = wanted["lookup_key"]
        in_use = (each for each in known if each["active"] and mapping.listed_price(each) == price)
        same = sorted(in_use, key=lambda row: (row["created"], row["id"]))
        before = " ".join(sorted(each["id"] for each in known))  # a price that comes back is another one
        marker = f"{key}:{price.in_words()}:{before}"
        if not same:
            return (await self._client.create(at("prices"), marker, **wanted))["id"]
        if same[0]["lookup_key"] != key:
            changed: Row = {"lookup_key": key, "transfer_lookup_key": True}
            await self._client.post(at("prices", same[0]["id"]), f"{same[0]['id']}:{marker}", **changed)
        return same[0]["id"]

    async def _product(self, sku: str) -> Row | None:
        try:
            row = await self._client.get(at("products", sku))
        except NotFound:
            return None
        return None if row.get("deleted") else row

    async def _prices(self, sku: str) -> list[Row]:
        """Return the list prices of a product, those that are out of use included."""
        rows = await self._client.listed(at("prices"), product=sku)
        return [each for each in rows if LIST in each["metadata"]]


def _findings(product: CatalogueProduct) -> list[Finding]:
    found: list[Finding] = []
    for each in product.prices:
        try:
            mapping.list_price(product.sku, each)
        except Rejected as refused:
            found.append(Finding(f"prices.{each.currency}", refused.reason, "billing"))
    return found
