"""How the Stripe connector bills contracts that one subscription cannot hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.billing import Contract, InvoiceLine
from canonical.deals import DealLine, PricedLine, priced_line
from canonical.faults import Rejected
from canonical.money import Money
from system_apis.billing.port import Billing
from tests.support.connector_kit import samples
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount

Act = Callable[[StripeAccount, Bench[Billing]], Awaitable[None]]
DAY = 24 * 3600


def line(place: int, sku: str, cents: int = 1_000, quantity: int = 1, interval: str = "month") -> PricedLine:
    return samples.priced_line(f"lin_{place}", sku, Money(cents, "EUR"), interval, quantity)


def run(account: StripeAccount, folder: Path, act: Act) -> None:
    run_over(account, folder, lambda made: act(account, made))


async def put(made: Bench[Billing], *lines: PricedLine, key: str = "con_1", **terms: Any) -> Contract:
    """Put a contract of a customer that pays by card."""
    buyer = samples.customer("cus_1", payment_method="pm_card_visa")
    reference = await made.call(lambda: made.connector.put_customer(buyer))
    wanted = samples.contract(key, "cus_1", reference, lines, made.clock().date())
    wanted = msgspec.structs.replace(wanted, **terms)
    return await made.call(lambda: made.connector.put_contract(wanted, "correlation-1"))


async def start(made: Bench[Billing], contract: Contract, *lines: PricedLine) -> Contract:
    delivered = msgspec.structs.replace(contract, lines=lines or contract.lines)
    return await made.call(lambda: made.connector.start(delivered))


def items(account: StripeAccount) -> list[list[tuple[int, int]]]:
    """Return amount and quantity of all items of each subscription."""
    return [
        [(each["price"]["unit_amount"], each["quantity"]) for each in subscription["items"]["data"]]
        for subscription in account.account.all("subscription")
    ]


def nets(account: StripeAccount) -> list[int]:
    return [each["subtotal"] for each in account.account.all("invoice")]


def test_lines_of_one_product_at_one_price_are_one_item_that_names_them_all(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = (line(1, "SEAT", quantity=2), line(2, "SEAT", quantity=3), line(3, "SEAT", 900))
        once = (line(4, "SETUP", 500, interval="one_time"), line(5, "SETUP", 500, interval="one_time"))
        await start(made, await put(made, *lines, *once))

        (subscription,) = account.account.all("subscription")
        named = [each["metadata"] for each in subscription["items"]["data"]]
        assert items(account) == [[(1_000, 5), (900, 1)]]
        assert named == [{"tiergate_line": "lin_1 lin_2"}, {"tiergate_line": "lin_3"}]
        assert nets(account) == [5_000 + 900 + 1_000]

    run(account, tmp_path, act)


def test_only_what_was_delivered_of_a_merged_item_is_billed(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        first, second = line(1, "SEAT", quantity=2), line(2, "SEAT", quantity=3)
        await start(made, await put(made, first, second), second)

        assert items(account) == [[(1_000, 3)]]

    run(account, tmp_path, act)


def test_three_hundred_lines_at_one_price_are_all_named_within_what_metadata_holds(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = [samples.priced_line(f"lin_{place:032d}", "SEAT", Money(100, "EUR"), "month") for place in range(300)]
        await start(made, await put(made, *lines))

        (subscription,) = account.account.all("subscription")
        values: dict[str, str] = subscription["items"]["data"][0]["metadata"]
        assert items(account) == [[(100, 300)]]
        assert sorted(" ".join(values.values()).split()) == [each.id for each in lines]
        assert max(map(len, values.values())) <= 500

    run(account, tmp_path, act)


def test_more_prices_than_a_subscription_takes_are_several_that_start_together_and_are_found_again(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = [line(place, f"SKU-{place}", 100 + place) for place in range(45)]
        once = [line(100 + place, f"ONCE-{place}", 10, interval="one_time") for place in range(21)]
        contract = await put(made, *lines, *once)
        again = await put(made, *lines, *once)
        started = await start(made, contract)
        repeated = await start(made, contract)

        assert contract.references == again.references
        assert started.references == repeated.references
        assert [len(each) for each in items(account)] == [20, 20, 5]
        assert sum(nets(account)) == sum(100 + place for place in range(45)) + 210
        assert {each["status"] for each in account.account.all("invoice")} == {"paid"}
        named = [started.references[name] for name in ("invoice", "invoice.2", "invoice.3")]
        assert sorted(named) == sorted(each["id"] for each in account.account.all("invoice"))

    run(account, tmp_path, act)


def test_monthly_and_yearly_lines_are_two_subscriptions_of_one_contract(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        monthly, yearly = line(1, "SEAT"), line(2, "PLATFORM", 9_000, interval="year")
        setup = line(3, "SETUP", 500, interval="one_time")
        started = await start(made, await put(made, monthly, yearly, setup))

        assert items(account) == [[(1_000, 1)], [(9_000, 1)]]
        assert nets(account) == [1_500, 9_000]
        for name in ("invoice", "invoice.2"):
            reference = started.references[name]
            read = await made.call(lambda reference=reference: made.connector.invoice(reference))
            assert (read.contract_id, read.state) == ("con_1", "paid")

    run(account, tmp_path, act)


def test_quarterly_and_half_yearly_lines_are_billed_every_three_and_six_months_at_what_was_agreed(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = (
            sold(1, "2", "100.01", "quarter"),
            sold(2, "2.5", "33.33", "half_year"),
            sold(3, "10000", "0.0049", "quarter"),
            sold(4, "1", "12", "month"),
        )
        started = await start(made, await put(made, *lines))

        recurring = [each["recurring"] for each in account.account.all("price")]
        assert [(each["interval"], each["interval_count"]) for each in recurring] == [
            ("month", 3),
            ("month", 3),
            ("month", 6),
            ("month", 1),
        ]
        assert nets(account) == [200_02 + 49_00, 83_33, 12_00]
        half_yearly = await made.call(lambda: made.connector.invoice(started.references["invoice.2"]))
        assert [each.agreed and each.agreed.in_words("EUR") for each in half_yearly.lines] == ["2.5 × 33.33 EUR"]
        (quarter,) = {(each.period_end - each.period_start).days for each in await first_lines(made, started)}
        assert quarter in range(88, 92)
        account.wait(93 * DAY)
        assert nets(account).count(200_02 + 49_00) == 2
        assert nets(account).count(83_33) == 1

    run(account, tmp_path, act)


async def first_lines(made: Bench[Billing], started: Contract) -> tuple[InvoiceLine, ...]:
    return (await made.call(lambda: made.connector.invoice(started.references["invoice"]))).lines


def test_a_contract_without_end_is_billed_until_it_is_cancelled(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        contract = await put(made, sold(1, "1", "30", "quarter"), term_months=0)
        started = await start(made, contract)
        (schedule,) = account.account.all("subscription_schedule")
        first = schedule["phases"][0]
        assert (first["end_date"] - first["start_date"]) // DAY in range(89, 93)
        for _ in range(3):
            account.wait(93 * DAY)

        (schedule,) = account.account.all("subscription_schedule")
        (subscription,) = account.account.all("subscription")
        assert (schedule["status"], schedule["subscription"]) == ("released", None)
        assert (subscription["status"], subscription["schedule"]) == ("active", None)
        assert nets(account) == [30_00] * 4
        newest = await made.call(lambda: made.connector.invoice(subscription["latest_invoice"]))
        assert newest.contract_id == "con_1"
        again = await start(made, contract)
        assert again.references["subscription"] == started.references["subscription"]
        await made.call(lambda: made.connector.cancel(contract))
        await made.call(lambda: made.connector.cancel(contract))
        assert account.account.get("subscription", subscription["id"])["status"] == "canceled"

    run(account, tmp_path, act)


def test_a_subscription_of_which_nothing_was_delivered_is_not_started(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        monthly, yearly = line(1, "SEAT"), line(2, "PLATFORM", 9_000, interval="year")
        setup = line(3, "SETUP", 500, interval="one_time")
        contract = await put(made, monthly, yearly, setup)
        await start(made, contract, yearly, setup)
        await start(made, contract, yearly, setup)

        assert items(account) == [[(9_000, 1)]]
        assert nets(account) == [9_500]
        assert [each["status"] for each in account.account.all("subscription_schedule")] == ["canceled", "active"]

    run(account, tmp_path, act)


def test_cancelling_ends_all_subscriptions_of_the_contract_and_no_other(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = (line(1, "SEAT"), line(2, "PLATFORM", 9_000, interval="year"))
        contract = await put(made, *lines)
        await put(made, *lines, key="con_1:main")
        await start(made, contract)
        await made.call(lambda: made.connector.cancel(contract))

        states = [each["status"] for each in account.account.all("subscription_schedule")]
        assert states == ["canceled", "canceled", "not_started", "not_started"]

    run(account, tmp_path, act)


@pytest.mark.parametrize(("place", "currency"), [(21, "EUR"), (1, "USD")])
def test_what_stripe_cannot_bill_is_refused_by_its_field(
    account: StripeAccount, tmp_path: Path, place: int, currency: str
) -> None:
    async def act(_: StripeAccount, made: Bench[Billing]) -> None:
        await put(made, line(1, "SEAT"))
        once: Any = [
            samples.priced_line(f"lin_{each}", f"ONCE-{each}", Money(100, currency), "one_time")
            for each in range(1, place + 1)
        ]
        seat = samples.priced_line("lin_0", "SEAT", Money(100, currency), "month")
        with pytest.raises(Rejected) as refused:
            await put(made, seat, *once, key="con_2")
        assert refused.value.field == ("lines" if currency == "EUR" else "currency")

    run(account, tmp_path, act)


@pytest.mark.parametrize("price", [Money(1_234, "KWD"), Money(12_345, "MGA"), Money(10**10, "EUR")])
def test_a_price_that_stripe_cannot_bill_is_refused_and_leaves_no_price_behind(
    account: StripeAccount, tmp_path: Path, price: Money
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        good = samples.priced_line("lin_1", "GOOD", Money(price.amount // 1_000_000 * 100, price.currency), "month")
        with pytest.raises(Rejected) as refused:
            await put(made, good, samples.priced_line("lin_2", "SEAT", price, "month"))

        assert refused.value.field == "line.unit_price"
        assert "SEAT" not in [each["product"] for each in account.account.all("price")]

    run(account, tmp_path, act)


def sold(place: int, quantity: str, price: str, interval: str = "year", **changes: Decimal) -> PricedLine:
    """Return a line of any quantity, at a price in major units."""
    deal = DealLine(f"lin_{place}", f"SKU-{place}", "Fee", Decimal(quantity), Decimal(price), interval, listed=True)
    return priced_line(msgspec.structs.replace(deal, **changes), "EUR")


def test_parts_of_a_unit_and_discounts_are_billed_to_the_cent_and_read_back_as_they_were_agreed(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        lines = (
            sold(1, "2.5", "33.33"),
            sold(2, "10000", "0.0049"),
            sold(3, "25", "85", list_price=Decimal(100), discount_percent=Decimal(15)),
            sold(4, "0.5", "120", interval="one_time"),
        )
        started = await start(made, await put(made, *lines))
        found = await made.call(lambda: made.connector.invoice(started.references["invoice"]))

        assert [each.net.amount for each in found.lines] == [83_33, 49_00, 2125_00, 60_00]
        assert [each.agreed and each.agreed.in_words("EUR") for each in found.lines] == [
            "2.5 × 33.33 EUR",
            None,
            "25 × 100.00 EUR less 15 %",
            "0.5 × 120.00 EUR",
        ]
        assert [each.quantity for each in found.lines] == [1, 10_000, 25, 1]
        shown = account.account.get("invoice", started.references["invoice"])["description"]
        assert shown == "Fee: 2.5 × 33.33 EUR\nFee: 25 × 100.00 EUR less 15 %\nFee: 0.5 × 120.00 EUR"
        again = await made.call(lambda: made.connect().invoice(started.references["invoice"]))
        assert again == found

    run(account, tmp_path, act)


def test_two_lines_of_the_same_part_of_a_unit_are_one_item_of_two_pieces(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        first = sold(1, "2.5", "33.33")
        started = await start(made, await put(made, first, msgspec.structs.replace(first, id="lin_9")))
        found = await made.call(lambda: made.connector.invoice(started.references["invoice"]))

        assert items(account) == [[(83_33, 2)]]
        assert [(each.net.amount, each.agreed and each.agreed.quantity) for each in found.lines] == [
            (166_66, Decimal(5))
        ]

    run(account, tmp_path, act)


def test_an_invoice_item_of_two_and_a_half_hours_is_read_as_such(account: StripeAccount, tmp_path: Path) -> None:
    async def act(account: StripeAccount, made: Bench[Billing]) -> None:
        contract = await put(made, line(1, "SEAT"))
        price = account.api.v1.prices.create(
            {"product": "SEAT", "currency": "eur", "unit_amount": 12_000, "lookup_key": "by-hand"}
        )
        started = await start(made, contract)
        draft = account.api.v1.invoices.create(
            {"customer": started.references["customer"], "subscription": started.references["subscription"]}
        )
        account.api.v1.invoice_items.create(
            {
                "customer": started.references["customer"],
                "invoice": draft.id,
                "pricing": {"price": price.id},
                "quantity_decimal": Decimal("2.5"),
            }
        )
        found = await made.call(lambda: made.connector.invoice(str(draft.id)))

        assert [(each.net.amount, each.agreed and each.agreed.in_words("EUR")) for each in found.lines] == [
            (300_00, "2.5 × 120.00 EUR")
        ]

    run(account, tmp_path, act)
