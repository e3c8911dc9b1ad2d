"""How the Stripe connector keeps products and list prices: an amount never changes, and nothing is deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.faults import Rejected
from canonical.money import Money
from canonical.products import CatalogueProduct, ListInterval, ListPrice, PriceChange
from system_apis.billing.port import Billing
from tests.integration.connectors.test_stripe_contracts import line, put, start
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount

Act = Callable[[Bench[Billing]], Awaitable[None]]
SEAT = CatalogueProduct("SEAT", "Seat")
KEY = "list:SEAT:EUR"


def costs(price: str, currency: str = "EUR", interval: ListInterval = "month") -> PriceChange:
    return PriceChange("SEAT", currency, ListPrice(currency, Decimal(price), interval))


async def have(made: Bench[Billing], *changes: PriceChange) -> None:
    await made.call(lambda: made.connector.put_product(SEAT))
    for each in changes:
        await made.call(lambda each=each: made.connector.put_price(each))


def listed(account: StripeAccount) -> list[tuple[Any, bool, str | None]]:
    prices = [each for each in account.account.all("price") if "tiergate_list" in each["metadata"]]
    return [(each["unit_amount_decimal"], each["active"], each["lookup_key"]) for each in prices]


def test_the_same_price_again_is_the_same_one(account: StripeAccount, tmp_path: Path) -> None:
    run_over(account, tmp_path, lambda made: have(made, costs("30"), costs("30.00"), costs("30")))

    assert listed(account) == [("3000", True, KEY)]


def test_another_amount_is_another_price_also_when_it_is_the_first_one_again(
    account: StripeAccount, tmp_path: Path
) -> None:
    run_over(account, tmp_path, lambda made: have(made, costs("30"), costs("35"), costs("30")))

    assert sorted(listed(account), key=str) == [("3000", False, None), ("3000", True, KEY), ("3500", False, None)]


def test_prices_of_several_currencies_and_intervals_are_read_as_they_were_put(
    account: StripeAccount, tmp_path: Path
) -> None:
    wanted = [
        costs("0.0049"),
        costs("4000", "JPY", "year"),
        costs("1.23", "KWD", "quarter"),
        costs("5", "USD", "one_time"),
    ]

    async def act(made: Bench[Billing]) -> None:
        await have(made, *wanted)
        (match,) = await made.call(lambda: made.connector.match_products([SEAT]))
        assert match.present
        assert {each.currency: each for each in match.present.prices} == {each.currency: each.price for each in wanted}

    run_over(account, tmp_path, act)


@pytest.mark.parametrize("broken", range(1, 4))
def test_a_change_of_price_that_breaks_off_anywhere_leaves_one_in_use(
    account: StripeAccount, tmp_path: Path, broken: int
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await have(made, costs("30"))
        account.account.save(account.account.get("product", "SEAT") | {"default_price": listed_ids(account)[0]})
        writes = 0
        real = account.stand_in.handle

        def handle(method: str, path: list[str], params: Any) -> Any:
            nonlocal writes
            writes += method == "POST"
            if method == "POST" and writes == broken:
                real(method, path, params)  # it is done, and nobody hears of it
                raise ConnectionError
            return real(method, path, params)

        account.stand_in.handle = handle
        with pytest.raises(Exception, match=r".*"):
            await made.connector.put_price(costs("35"))
        account.stand_in.handle = real
        await made.call(lambda: made.connector.put_price(costs("35")))

    run_over(account, tmp_path, act)

    assert listed(account) == [("3000", False, None), ("3500", True, KEY)]
    assert account.account.get("product", "SEAT")["default_price"] == listed_ids(account)[1]


def listed_ids(account: StripeAccount) -> list[str]:
    return [each["id"] for each in account.account.all("price") if "tiergate_list" in each["metadata"]]


def test_a_withdrawn_product_is_out_of_use_with_its_prices_and_a_contract_keeps_both(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await have(made, costs("30"))
        contract = await put(made, line(1, "SEAT", 3000))
        running = await start(made, contract)
        await made.call(lambda: made.connector.put_price(PriceChange("SEAT", "EUR", None)))
        await made.call(lambda: made.connector.put_product(CatalogueProduct("SEAT", "SEAT", active=False)))
        account.wait(32 * 24 * 3600)
        account.wait(2 * 3600)  # the invoice is open an hour after it was made
        account.wait(60)
        assert running.state == "active"

    run_over(account, tmp_path, act)

    product = account.account.get("product", "SEAT")
    assert (product["active"], product["name"]) == (False, "Seat")
    assert listed(account) == [("3000", False, KEY)]
    assert [each["status"] for each in account.account.all("invoice")] == ["paid", "paid"]
    assert [each["subtotal"] for each in account.account.all("invoice")] == [3000, 3000]


def test_a_product_that_is_sold_no_more_is_not_created(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await made.call(lambda: made.connector.put_product(CatalogueProduct("SEAT", "Seat", active=False)))

    run_over(account, tmp_path, act)

    assert list(account.account.all("product")) == []


def test_a_product_that_an_order_made_is_renamed_and_its_prices_stay(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await put(made, line(1, "SEAT", 3000))
        await made.call(lambda: made.connector.put_product(CatalogueProduct("SEAT", "Chair")))

    run_over(account, tmp_path, act)

    assert account.account.get("product", "SEAT")["name"] == "Chair"
    assert [each["active"] for each in account.account.all("price")] == [True]


def test_a_price_that_cannot_be_billed_is_said_before_it_is_put(account: StripeAccount, tmp_path: Path) -> None:
    wrong = CatalogueProduct("SEAT", "Seat", prices=(ListPrice("KWD", Decimal("0.005"), "month"),))

    async def act(made: Bench[Billing]) -> None:
        (match,) = await made.call(lambda: made.connector.match_products([wrong]))
        assert [each.field for each in match.findings] == ["prices.KWD"]
        assert str(Money(10, "KWD")) in match.findings[0].reason
        await have(made)
        with pytest.raises(Rejected, match="cannot be billed"):
            await made.call(lambda: made.connector.put_price(PriceChange("SEAT", "KWD", wrong.prices[0])))

    run_over(account, tmp_path, act)
    assert listed(account) == []
