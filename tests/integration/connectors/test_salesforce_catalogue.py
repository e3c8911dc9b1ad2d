"""How the Salesforce connector reads what is sold: page by page, in every currency, with what cannot be read."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.products import ListPrice, OwnedProduct
from system_apis.crm.port import Crm
from tests.integration.connectors.test_salesforce import PERSON, Org
from tests.integration.connectors.test_salesforce_plain import GroupOrg
from tests.support.connector_kit.subject import Bench, bench


class Shop(Org):
    """An org with products of the test's own."""

    def book(self) -> str:
        known = [each for each in self._org.live(self._org.sobject("Pricebook2")) if each["IsStandard"]]
        about = {"Name": "Standard", "IsActive": True, "IsStandard": True}
        return (known[0] if known else self._org.create("Pricebook2", about, PERSON))["Id"]

    def product(self, code: str | None, interval: str | None = "month", **fields: Any) -> str:
        about = {"Name": f" Product {code} ", "ProductCode": code, "IsActive": True, "BillingInterval__c": interval}
        written = self.dialect.fields(about | fields)
        return self._org.create("Product2", written, PERSON)["Id"]

    def price(self, product: str, amount: float, currency: str = "EUR", **fields: Any) -> str:
        about = {"Product2Id": product, "Pricebook2Id": self.book(), "UnitPrice": amount, "CurrencyIsoCode": currency}
        written = self.dialect.fields(about | {"IsActive": True} | fields)
        return self._org.create("PricebookEntry", written, PERSON)["Id"]

    def update(self, sobject: str, key: str, **fields: Any) -> None:
        self._org.update(sobject, key, self.dialect.fields(fields), PERSON)

    def put_in_the_bin(self, product: str) -> None:
        self._org.delete("Product2", product, PERSON)

    def other_book(self) -> str:
        return self._create("Pricebook2", Name="Partners")


class GroupShop(Shop, GroupOrg):
    """One that is in German, and has one currency."""


def read(org: Shop, folder: Path, limit: int = 50) -> list[OwnedProduct]:
    """Return the products that the test has made, read in pages of `limit`."""
    found: list[OwnedProduct] = []

    async def connected() -> None:
        async with bench(org, folder) as made:
            await pages(made)

    async def pages(made: Bench[Crm]) -> None:
        after = ""
        while True:
            page = await made.call(lambda after=after: made.connector.products(after, limit))
            found.extend(page.items)
            if page.next_cursor is None:
                return
            after = page.next_cursor

    asyncio.run(connected())
    return [each for each in found if each.sku.startswith("OWN") or not each.sku or each.product is None]


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_products_are_read_page_by_page_with_their_prices_in_every_currency(tmp_path: Path, limit: int) -> None:
    org = Shop(tmp_path)
    seat = org.product("OWN-SEAT", Family="Subscriptions", QuantityUnitOfMeasure="Each")
    org.price(seat, 30.5)
    org.price(seat, 4000, "JPY")
    org.price(org.product("OWN-OLD", IsActive=False), 10)
    org.product("OWN-BARE")

    found = [each.product for each in read(org, tmp_path, limit)]

    assert [(each.sku, each.name, each.active) for each in found if each] == [
        ("OWN-SEAT", "Product OWN-SEAT", True),
        ("OWN-OLD", "Product OWN-OLD", False),
        ("OWN-BARE", "Product OWN-BARE", True),
    ]
    first, old, bare = found
    assert first
    assert old
    assert bare
    assert (first.category, first.unit) == ("Subscriptions", "Each")
    assert first.prices == (ListPrice("EUR", Decimal("30.5"), "month"), ListPrice("JPY", Decimal(4000), "month"))
    assert old.prices == bare.prices == ()


def test_a_price_out_of_use_or_of_another_book_is_none(tmp_path: Path) -> None:
    org = Shop(tmp_path)
    seat = org.product("OWN-SEAT")
    entry = org.price(seat, 30)
    org.price(seat, 25, Pricebook2Id=org.other_book())
    org.update("PricebookEntry", entry, IsActive=False)

    (found,) = read(org, tmp_path)

    assert found.product
    assert found.product.prices == ()


@pytest.mark.parametrize(("code", "says"), [(None, "''"), ("OWN SEAT", "'OWN SEAT'"), ("OWN/SEAT", "letters, digits")])
def test_a_product_without_a_code_that_all_can_keep_is_named_and_holds_up_no_other(
    tmp_path: Path, code: str | None, says: str
) -> None:
    org = Shop(tmp_path)
    wrong = org.product(code)
    org.product("OWN-GOOD")

    found = {each.id: each for each in read(org, tmp_path)}

    unread = found.pop(wrong)
    assert unread.product is None
    assert [(each.field, says in each.reason) for each in unread.findings] == [("sku", True)]
    assert [each.sku for each in found.values()] == ["OWN-GOOD"]


def test_of_two_products_with_a_code_the_one_in_use_counts(tmp_path: Path) -> None:
    org = Shop(tmp_path)
    org.product("OWN-SEAT", IsActive=False)
    new = org.product("OWN-SEAT")

    assert [(each.id, each.findings) for each in read(org, tmp_path, 1)] == [(new, ())]


def test_two_products_in_use_with_a_code_are_refused(tmp_path: Path) -> None:
    org = Shop(tmp_path)
    org.product("OWN-SEAT")
    org.product("OWN-SEAT")

    found = read(org, tmp_path, 1)
    assert [each.product for each in found] == [None, None]
    assert "2 products in use have the code OWN-SEAT" in found[0].findings[0].reason


def test_a_deleted_product_is_there_no_more(tmp_path: Path) -> None:
    org = Shop(tmp_path)
    org.put_in_the_bin(org.product("OWN-SEAT"))

    assert read(org, tmp_path) == []


def test_a_price_without_an_interval_is_a_finding_and_the_product_is_read(tmp_path: Path) -> None:
    org = Shop(tmp_path)
    org.price(org.product("OWN-SEAT", interval=None), 30)

    (found,) = read(org, tmp_path)

    assert found.product
    assert found.product.prices == ()
    assert [(each.field, "no interval" in each.reason) for each in found.findings] == [("prices.EUR", True)]


def test_an_org_of_other_names_and_one_currency_is_read_by_its_mapping(tmp_path: Path) -> None:
    org = GroupShop(tmp_path)
    org.price(org.product("OWN-SEAT", "quarter"), 90)

    (found,) = read(org, tmp_path)

    assert found.product
    assert found.product.prices == (ListPrice("EUR", Decimal(90), "quarter"),)
