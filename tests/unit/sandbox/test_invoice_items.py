"""An invoice item of the Stripe stand-in may have a price of its own, which nothing else can be sold at."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe.errors import StripeError
from sandbox.stripe.invoice_items import InvoiceItems
from tests.support.stripe_account import StripeAccount

OWN = {"currency": "eur", "product": "CALLS", "unit_amount_decimal": "0.25"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StripeAccount:
    shop = StripeAccount(tmp_path_factory.mktemp("stripe"))
    shop.account.save({"object": "customer", "id": "cus_1"})
    shop.account.save({"object": "product", "id": "CALLS", "name": "Calls"})
    return shop


def made(shop: StripeAccount, **params: Any) -> Any:
    items: InvoiceItems = shop.stand_in.pending
    return items.create({"customer": "cus_1"} | params)


def test_a_price_of_its_own_is_charged_by_a_decimal_quantity_and_is_inactive(shop: StripeAccount) -> None:
    item = made(shop, price_data=OWN, quantity_decimal="10.5")

    price = shop.account.get("price", item["pricing"]["price_details"]["price"])
    assert (item["amount"], item["quantity_decimal"]) == (3, "10.5")
    assert (price["active"], price["type"], price["product"]) == (False, "one_time", "CALLS")


@pytest.mark.parametrize(
    "params",
    [
        {"price_data": OWN, "amount": "5"},
        {"price_data": OWN, "pricing": {"price": "price_1"}},
        {"price_data": OWN | {"recurring": {"interval": "month"}}},
        {"price_data": {"currency": "eur", "unit_amount": "5"}},
        {"price_data": {"currency": "eur", "product": "CALLS"}},
    ],
)
def test_what_is_no_price_of_an_item_is_refused(shop: StripeAccount, params: dict[str, Any]) -> None:
    with pytest.raises(StripeError):
        made(shop, **params)
