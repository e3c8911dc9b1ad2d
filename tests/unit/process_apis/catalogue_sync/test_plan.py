"""What a sync plans for one product on one platform."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from canonical.cases import Finding
from canonical.products import CatalogueProduct, ListPrice, OwnedProduct, PriceChange, ProductMatch
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Catalogue
from policies.outbound.ownership import OWNERSHIP, Ownership
from process_apis.catalogue_sync import plan
from process_apis.catalogue_sync.owners import copies, has_prices, owned_elsewhere
from process_apis.records.catalogue_syncs import PlannedItem

EUR, USD = ListPrice("EUR", Decimal(30), "month"), ListPrice("USD", Decimal(35), "month")
SEAT = CatalogueProduct("SEAT", "Seat", "Each", "Subscriptions", prices=(EUR, USD))
COPY = CatalogueProduct("SEAT", "Seat", prices=(EUR, USD))
WITHDRAWN = msgspec.structs.replace(SEAT, active=False, prices=())


def planned(
    wanted: CatalogueProduct, present: CatalogueProduct | None, *findings: Finding, unread: str = "", owner: str = ""
) -> list[PlannedItem]:
    match = ProductMatch(wanted.sku, present, findings)
    found = plan.items("billing", "stripe", wanted, match, owner=owner, prices=True, unread=frozenset({unread}))
    return sorted(found, key=lambda each: each.rank)


def said(items: list[PlannedItem]) -> list[tuple[str, str]]:
    return [(each.currency, each.action) for each in items]


def test_a_product_comes_before_its_prices() -> None:
    assert said(planned(SEAT, None)) == [("", "create"), ("EUR", "create"), ("USD", "create")]


def test_nothing_is_done_about_what_is_as_it_should_be() -> None:
    assert planned(SEAT, COPY) == []


def test_another_name_and_what_is_out_of_use_are_a_change() -> None:
    (renamed,) = planned(msgspec.structs.replace(SEAT, name="Chair"), COPY)
    (again,) = planned(SEAT, msgspec.structs.replace(COPY, active=False))

    assert (renamed.action, renamed.was, renamed.becomes) == ("change", "Seat", "Chair")
    assert (again.action, again.was, again.becomes) == ("change", "Seat (out of use)", "Seat")


def test_another_amount_or_interval_is_a_new_price_and_two_in_use_become_one() -> None:
    dearer = msgspec.structs.replace(SEAT, prices=(msgspec.structs.replace(EUR, unit_price=Decimal(31)), USD))
    yearly = msgspec.structs.replace(SEAT, prices=(msgspec.structs.replace(EUR, interval="year"), USD))
    twice = msgspec.structs.replace(COPY, prices=(EUR, EUR, USD))

    assert said(planned(dearer, COPY)) == said(planned(yearly, COPY)) == said(planned(SEAT, twice))
    (replaced,) = planned(dearer, COPY)
    assert (replaced.action, replaced.was, replaced.becomes) == ("replace", "30 EUR a month", "31 EUR a month")
    assert replaced.document == PriceChange("SEAT", "EUR", dearer.prices[0])


def test_what_is_withdrawn_goes_last_and_its_prices_before_it() -> None:
    assert said(planned(WITHDRAWN, COPY)) == [("EUR", "retire"), ("USD", "retire"), ("", "retire")]
    assert planned(WITHDRAWN, None) == []
    assert planned(WITHDRAWN, msgspec.structs.replace(WITHDRAWN, unit="", category="")) == []


def test_a_price_that_the_owner_took_away_is_retired_and_one_that_cannot_be_read_stays() -> None:
    without = msgspec.structs.replace(SEAT, prices=(EUR,))

    assert said(planned(without, COPY)) == [("USD", "retire")]
    assert planned(without, COPY, unread="USD") == []


def test_what_a_platform_would_not_take_is_refused_with_the_reason_and_the_rest_is_planned() -> None:
    unit, price = Finding("unit", "no such unit", "erp"), Finding("prices.USD", "too many digits", "billing")

    items = planned(SEAT, None, unit, price)

    assert said(items) == [("", "refuse"), ("EUR", "create"), ("USD", "refuse")]
    assert [(each.field, each.reason) for each in items if each.action == "refuse"] == [
        ("unit", "no such unit"),
        ("prices.USD", "too many digits"),
    ]
    assert planned(WITHDRAWN, None, unit) == []


def test_a_product_of_another_crm_is_refused() -> None:
    (first, *_) = planned(SEAT, COPY, owner="salesforce-us")

    assert (first.action, first.field) == ("refuse", "sku")
    assert "salesforce-us" in first.reason


def test_prices_go_where_there_is_a_copy_of_them_alone() -> None:
    found = plan.items("erp", "tryton", SEAT, ProductMatch("SEAT", None))

    assert [(each.currency, each.action) for each in found] == [("", "create")]


def test_what_cannot_be_read_is_refused_at_the_owner() -> None:
    wrong = OwnedProduct("01t1", "", None, (Finding("sku", "no code", "crm"),))
    half = OwnedProduct("01t2", "SEAT", SEAT, (Finding("prices.JPY", "no interval", "crm"),))

    (product,) = plan.unreadable("salesforce", wrong)
    (price,) = plan.unreadable("salesforce", half)

    assert (product.platform, product.sku, product.currency, product.document) == ("salesforce", "01t1", "", None)
    assert (price.platform, price.sku, price.currency, price.reason) == ("salesforce", "SEAT", "JPY", "no interval")


# ---- whose what is sold is


@pytest.fixture
def catalogue() -> Catalogue:
    return LiveCatalogue().current


def test_the_shipped_catalogue_brings_products_to_the_erp_first_and_prices_to_billing_alone(
    catalogue: Catalogue,
) -> None:
    assert owned_elsewhere(catalogue) == ""
    assert copies(catalogue, "salesforce") == [("erp", "tryton"), ("billing", "stripe")]
    assert [has_prices(catalogue, each) for each in ("erp", "billing")] == [False, True]


def test_nothing_goes_anywhere_where_another_system_owns_a_field(catalogue: Catalogue) -> None:
    fields = OWNERSHIP.of(catalogue)["product"]

    fields["name"] = Ownership("erp", frozenset({"billing"}))

    assert owned_elsewhere(catalogue) == "product.name is owned by erp"
