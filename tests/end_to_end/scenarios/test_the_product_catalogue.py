"""Products and list prices go from the CRM to the ERP and to billing, once somebody has seen the preview. A contract
that runs keeps its price, and is billed and booked when its product is sold no more."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from canonical.cases import Case
from canonical.catalogue_sync import CatalogueItem, CatalogueSync
from canonical.orders import Page
from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until

SYNCS = "/sales/v1/catalogue-syncs"


class SoldProduct:
    """A product of the CRM that no other test has."""

    def __init__(self, environment: Environment, sku: str, **fields: Any) -> None:
        self.environment = environment
        self.sku = sku
        crm = environment.crm
        about = {"IsActive": True, "Family": "Subscriptions", "BillingInterval__c": "month"} | fields
        self.product = crm.create("Product2", Name=f"Product {sku}", ProductCode=sku, **about)
        (book,) = crm.query("SELECT Id FROM Pricebook2 WHERE IsStandard = true")
        self.entry = crm.create(
            "PricebookEntry",
            Pricebook2Id=book["Id"],
            Product2Id=self.product,
            UnitPrice=30.0,
            CurrencyIsoCode="EUR",
            IsActive=True,
        )

    def in_erp(self) -> list[dict[str, Any]]:
        fields = ["name", "active", "default_uom.name", "account_category.name"]
        context = self.environment.erp.context
        proxy = self.environment.erp.get_proxy("product.product")
        return proxy.search_read([("code", "=", self.sku)], 0, None, None, fields, context | {"active_test": False})

    def in_billing(self) -> Any:
        return self.environment.stripe.v1.products.retrieve(self.sku)

    def list_prices(self) -> list[tuple[int | None, bool, str | None]]:
        """Return the list prices that billing has, the oldest first: the amount, whether it is in use, its key."""
        found = self.environment.stripe.v1.prices.list({"product": self.sku, "limit": 100}).data
        of_list = [each for each in found if "tiergate_list" in each.metadata]
        return [(each.unit_amount, each.active, each.lookup_key) for each in reversed(of_list)]


def preview(environment: Environment) -> CatalogueSync:
    """Return a preview, once it is whole."""
    asked: CatalogueSync = environment.channels.post("sales-app", SYNCS, {}, CatalogueSync, key=uuid4().hex)
    return settled(environment, asked.id, "planned")


def start(environment: Environment, sync_id: str) -> CatalogueSync:
    return environment.channels.post("sales-app", f"{SYNCS}/{sync_id}/start", None, CatalogueSync)


def settled(environment: Environment, sync_id: str, state: str) -> CatalogueSync:
    """Return a sync once it is in a state."""

    def look() -> CatalogueSync | None:
        found: CatalogueSync = environment.channels.get("sales-app", f"{SYNCS}/{sync_id}", CatalogueSync)
        return found if found.state == state else None

    return wait_until(look, 60, f"the sync {sync_id} {state}")


def items(environment: Environment, sync_id: str, sku: str) -> list[CatalogueItem]:
    found: list[CatalogueItem] = []
    cursor = ""
    while True:
        path = f"{SYNCS}/{sync_id}/items?limit=100{cursor}"
        page: Page[CatalogueItem] = environment.channels.get("sales-app", path, Page[CatalogueItem])
        found += [each for each in page.items if each.sku == sku]
        if page.next_cursor is None:
            return found
        cursor = f"&cursor={page.next_cursor}"


def synced(environment: Environment) -> str:
    """Preview, start, and return the id of the sync once it is applied."""
    found = preview(environment)
    start(environment, found.id)
    return settled(environment, found.id, "applied").id


@pytest.fixture(scope="module")
def sold(running: Environment) -> Generator[SoldProduct]:
    """Yield a product that is brought everywhere; the CRM has it out of use in the end."""
    running.calm()
    made = SoldProduct(running, "CAT-SOLD")
    yield made
    running.crm.update("Product2", made.product, IsActive=False)


def of(found: list[CatalogueItem]) -> list[tuple[str, str, str, str]]:
    return [(each.platform, each.currency, each.action, each.state) for each in found]


def test_a_preview_says_what_would_be_written_and_writes_nothing(environment: Environment, sold: SoldProduct) -> None:
    found = preview(environment)

    assert of(items(environment, found.id, sold.sku)) == [
        ("tryton", "", "create", "planned"),
        ("stripe", "", "create", "planned"),
        ("stripe", "EUR", "create", "planned"),
    ]
    assert sold.in_erp() == []
    assert sold.list_prices() == []


def test_a_new_product_is_brought_to_the_erp_and_billing_and_can_be_sold(
    environment: Environment, sold: SoldProduct
) -> None:
    sync = synced(environment)

    assert of(items(environment, sync, sold.sku)) == [
        ("tryton", "", "create", "done"),
        ("stripe", "", "create", "done"),
        ("stripe", "EUR", "create", "done"),
    ]
    (product,) = sold.in_erp()
    assert (product["name"], product["active"]) == ("Product CAT-SOLD", True)
    assert (product["default_uom."]["name"], product["account_category."]["name"]) == ("Unit", "Subscriptions")
    assert sold.in_billing().name == "Product CAT-SOLD"
    assert sold.list_prices() == [(3000, True, "list:CAT-SOLD:EUR")]

    again = preview(environment)
    assert items(environment, again.id, sold.sku) == []

    order = environment.paid_order(environment.sale("Catalogue", lines=(SaleLine("CAT-SOLD", 2),)))
    assert order.plan
    assert [each.unit_price.amount for each in order.plan.contract.lines] == [3000]


def test_a_changed_price_is_a_new_one_and_a_contract_keeps_what_it_has(
    environment: Environment, sold: SoldProduct
) -> None:
    def billed() -> list[str]:
        lasting = environment.stripe.v1.subscriptions.list({"status": "active", "limit": 100}).data
        prices = [each.price for one in lasting for each in one["items"].data]
        return [each.id for each in prices if each.product == sold.sku and each.active and each.unit_amount == 3000]

    before = billed()
    assert before
    environment.crm.update("PricebookEntry", sold.entry, UnitPrice=35.0)
    environment.crm.update("Product2", sold.product, Name="Renamed CAT-SOLD")

    sync = synced(environment)

    assert of(items(environment, sync, sold.sku)) == [
        ("tryton", "", "change", "done"),
        ("stripe", "", "change", "done"),
        ("stripe", "EUR", "replace", "done"),
    ]
    (price,) = [each for each in items(environment, sync, sold.sku) if each.currency]
    assert (price.before, price.after) == ("30 EUR a month", "35 EUR a month")
    assert sold.list_prices() == [(3000, False, None), (3500, True, "list:CAT-SOLD:EUR")]
    assert billed() == before
    assert ([each["name"] for each in sold.in_erp()], sold.in_billing().name) == (
        ["Renamed CAT-SOLD"],
        "Renamed CAT-SOLD",
    )


def test_what_is_refused_is_a_case_stops_nothing_else_and_is_done_after_it_was_corrected(
    environment: Environment,
) -> None:
    wrong = SoldProduct(environment, "CAT-WRONG", Family="No such category")
    right = SoldProduct(environment, "CAT-RIGHT")

    sync = synced(environment)

    assert of(items(environment, sync, "CAT-WRONG")) == [
        ("tryton", "", "refuse", "refused"),
        ("stripe", "", "create", "done"),
        ("stripe", "EUR", "create", "done"),
    ]
    assert {each.state for each in items(environment, sync, "CAT-RIGHT")} == {"done"}
    (case,) = environment.cases_of("tryton/CAT-WRONG")
    assert (case.kind, case.team, case.field, case.state) == ("catalogue_item_refused", "finance", "category", "open")
    assert "No such category" in case.reason

    (made,) = environment.rows_in_erp("product.category", ["id"], ("name", "=", "Printed matter"))
    environment.erp.get_proxy("product.category").write([made["id"]], {"name": "No such category"}, {})
    try:
        environment.act(case.id, "retry")
        wait_until(wrong.in_erp, 20, "the product in the ERP")
        settled(environment, sync, "applied")
    finally:
        environment.erp.get_proxy("product.category").write([made["id"]], {"name": "Printed matter"}, {})
    assert {each.state for each in items(environment, sync, "CAT-WRONG")} == {"done"}
    for each in (wrong, right):
        environment.crm.update("Product2", each.product, IsActive=False)


def test_a_product_that_was_withdrawn_or_deleted_is_put_out_of_use_and_not_deleted(
    environment: Environment, sold: SoldProduct
) -> None:
    deleted = SoldProduct(environment, "CAT-GONE")
    synced(environment)
    environment.crm.update("Product2", sold.product, IsActive=False)
    environment.crm.delete("Product2", deleted.product)

    sync = synced(environment)

    for each in (sold, deleted):
        assert of(items(environment, sync, each.sku)) == [
            ("stripe", "EUR", "retire", "done"),
            ("tryton", "", "retire", "done"),
            ("stripe", "", "retire", "done"),
        ]
        assert [row["active"] for row in each.in_erp()] == [False]
        assert not each.in_billing().active
        assert not any(is_active for _, is_active, _ in each.list_prices())


@pytest.mark.extended
def test_a_sync_that_is_killed_goes_on_and_leaves_one_of_everything(environment: Environment) -> None:
    made = [SoldProduct(environment, f"CAT-KILL-{place}") for place in range(3)]
    found = preview(environment)
    environment.fault("billing", kind="late", matching="products", milliseconds=500, times=2)
    start(environment, found.id)
    wait_until(lambda: any(each.in_erp() for each in made), 20, "a product in the ERP")

    environment.kill_and_start("process")
    settled(environment, found.id, "applied")

    for each in made:
        assert len(each.in_erp()) == 1
        assert each.list_prices() == [(3000, True, f"list:{each.sku}:EUR")]
        environment.crm.update("Product2", each.product, IsActive=False)


def test_an_older_preview_is_not_carried_out_after_a_later_one(environment: Environment) -> None:
    older, later = preview(environment), preview(environment)
    start(environment, later.id)
    settled(environment, later.id, "applied")

    headers = environment.channels.headers("sales-app")
    answer = httpx.post(f"{environment.channels.url}{SYNCS}/{older.id}/start", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/preview-outdated")
    cases: Page[Case] = environment.channels.get("support-desk", "/support/v1/cases?limit=100", Page[Case])
    assert not [each for each in cases.items if each.kind == "catalogue_not_synced"]
