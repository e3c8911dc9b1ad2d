"""How the Stripe connector hands usage over: once, into the period that it is of, before that is invoiced."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.faults import TRANSIENT, Rejected
from canonical.usage import UsageOfPeriod
from tests.support.connector_kit.loopback import Seen, Trouble
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import Sale, run, seat

SKU, CENTS = "CALLS", 2


class Metered:
    """A contract that is charged for calls, too, at two cents each, by a meter that a person has made."""

    def __init__(self, sale: Sale, formula: str = "sum", name: str = "calls") -> None:
        self.sale = sale
        self.api = sale.account.api.v1
        made: Any = {"display_name": name, "event_name": name, "default_aggregation": {"formula": formula}}
        self.meter = self.api.billing.meters.create(made)
        self.api.products.create({"id": SKU, "name": "Calls"})
        self.add(self.meter.id)
        (item, *_) = sale.subscriptions()[0]["items"]["data"]
        self.starts_at, self.ends_at = (
            datetime.fromtimestamp(item[each], UTC) for each in ("current_period_start", "current_period_end")
        )

    def add(self, meter: str) -> None:
        """Let the subscription of the contract be charged by a meter."""
        recurring = {"interval": "month", "usage_type": "metered", "meter": meter}
        price: Any = {"product": SKU, "currency": "eur", "unit_amount": CENTS, "recurring": recurring}
        item: Any = {"items": [{"price": self.api.prices.create(price).id}]}
        self.api.subscriptions.update(self.sale.contract.references["subscription"], item)

    def usage(self, quantity: str = "12.5", **more: Any) -> UsageOfPeriod:
        usual: dict[str, Any] = {"id": "usage:1:1", "contract": self.sale.contract, "sku": SKU}
        period: dict[str, Any] = {"starts_at": self.starts_at, "ends_at": self.ends_at, "quantity": Decimal(quantity)}
        return UsageOfPeriod(**(usual | period | more))

    async def put(self, usage: UsageOfPeriod) -> None:
        made = self.sale.made
        assert await made.call(lambda: made.connector.put_usage(usage)) == usage

    async def refused(self, usage: UsageOfPeriod) -> Rejected:
        """Return how a handover is refused. Nothing is used then."""
        before = self.used()
        with pytest.raises(Rejected) as refusal:
            await self.put(usage)
        assert self.used() == before
        return refusal.value

    def used(self) -> list[str]:
        """Return the value of each event that counts."""
        rows = self.sale.account.account.all("meter.usage")
        return [each["value"] for each in rows if not each["error"] and not each["is_cancelled"]]

    def billed(self) -> list[int]:
        """Return what the lines of calls come to that are on an invoice, with anything used."""
        lines = [line for each in self.sale.own("invoice") for line in each["lines"]["data"]]
        return [each["amount"] for each in lines if "Calls" in (each["description"] or "") and each["amount"]]

    def until_after_the_period(self) -> None:
        left = self.ends_at - self.sale.made.clock() + timedelta(minutes=15)
        self.sale.wait(left.total_seconds() / 86_400)


def test_what_was_used_is_on_the_invoice_of_its_period_once(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()

        await metered.put(metered.usage())
        await metered.put(metered.usage())
        sale.wait(2 / 24)

        assert metered.used() == ["12.5"]
        assert metered.billed() == [25]

    run(account, tmp_path, act)


def test_the_same_after_days_when_no_identifier_is_known_any_more_adds_nothing(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        await metered.put(metered.usage())
        sale.wait(3)

        await metered.put(metered.usage())

        assert metered.used() == ["12.5"]

    run(account, tmp_path, act)


def test_a_handover_whose_answer_is_lost_is_there_once(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered, loopback = Metered(sale), sale.made.loopback
        metered.until_after_the_period()

        def is_event(request: Seen) -> bool:
            return sale.account.is_write(request)

        loopback.trouble(Trouble("lost_answer", is_event))
        with contextlib.suppress(*TRANSIENT):
            await sale.made.call(lambda: sale.made.connector.put_usage(metered.usage()), 2.0)
        loopback.calm()
        lost = metered.used()
        await metered.put(metered.usage())

        assert lost == metered.used() == ["12.5"]

    run(account, tmp_path, act)


def test_nothing_that_was_used_is_no_event(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()

        await metered.put(metered.usage("0"))

        assert metered.used() == []

    run(account, tmp_path, act)


def test_what_comes_after_the_invoice_is_to_be_charged_by_hand(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        sale.wait(2 / 24)

        refusal = await metered.refused(metered.usage())

        assert refusal.field == "period"
        assert "charge 12.5 of CALLS until" in refusal.reason

    run(account, tmp_path, act)


def test_another_quantity_of_the_same_period_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        await metered.put(metered.usage())

        assert (await metered.refused(metered.usage("13"))).field == "quantity"

    run(account, tmp_path, act)


def test_what_would_not_be_billed_as_it_is_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale, formula="last")
        metered.until_after_the_period()

        assert (await metered.refused(metered.usage())).field == "meter"
        assert (await metered.refused(metered.usage(sku="OTHER"))).field == "lines"

    run(account, tmp_path, act)


def test_more_digits_than_billing_takes_are_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()

        assert (await metered.refused(metered.usage("1234567890.123456"))).field == "quantity"

    run(account, tmp_path, act)


def test_two_contracts_that_share_a_meter_are_not_both_billed_for_it(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        (item,) = (each for each in sale.subscriptions()[0]["items"]["data"] if each["price"]["product"] == SKU)
        other: Any = {"customer": sale.contract.references["customer"], "items": [{"price": item["price"]["id"]}]}
        metered.api.subscriptions.create(other)
        metered.until_after_the_period()

        refusal = await metered.refused(metered.usage())

        assert refusal.field == "meter"
        assert "share the meter" in refusal.reason

    run(account, tmp_path, act)


def items(sale: Sale) -> list[tuple[str, int | None]]:
    """Return what the items of the first subscription are of, and how much; None of what is charged by use."""
    rows = sale.subscriptions()[0]["items"]["data"]
    return [(each["price"]["product"], each.get("quantity")) for each in rows]


def test_a_contract_that_is_charged_by_use_is_changed_and_charged_by_use_on(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        change = sale.change(seat(15), seat(2, 500, "lin_2"), settlement="next_invoice")
        await sale.preview(change)
        await sale.amend(change)
        repriced = sale.change(seat(15, 900), key="amd_2", settlement="none")
        await sale.amend(repriced)

        assert items(sale) == [("SKU-lin_1", 15), (SKU, None)]
        metered.until_after_the_period()
        await metered.put(metered.usage())
        sale.wait(2 / 24)
        assert metered.billed() == [25]

    run(account, tmp_path, act)


@pytest.mark.parametrize("at_period_end", [True, False])
def test_a_contract_that_is_charged_by_use_can_end(
    account: StripeAccount, tmp_path: Path, *, at_period_end: bool
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        sale.wait(3)
        change = sale.change(at_period_end=at_period_end)
        await sale.preview(change)
        await sale.amend(change)

        assert sale.contract.state == "cancelled"
        sale.wait(40)
        assert {each["status"] for each in sale.subscriptions()} == {"canceled"}
        assert metered.billed() == []

    run(account, tmp_path, act)


def test_an_item_that_is_charged_by_use_takes_one_of_the_places_of_a_subscription(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        first = [seat(1, 100, f"lin_{place}") for place in range(18)]
        await sale.start(*first)
        Metered(sale)

        await sale.amend(sale.change(*first, seat(1, 100, "lin_18"), seat(1, 100, "lin_19")))

        assert [len(each["items"]["data"]) for each in sale.subscriptions()] == [20, 1]

    run(account, tmp_path, act)


def test_what_billing_began_by_itself_is_found_by_its_contract(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        named = {name: each for name, each in sale.contract.references.items() if name != "subscription"}
        metered.until_after_the_period()

        await metered.put(metered.usage(contract=msgspec.structs.replace(sale.contract, references=named)))

        assert metered.used() == ["12.5"]

    run(account, tmp_path, act)


def test_an_invoice_of_a_change_does_not_stand_for_that_of_the_period(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        await sale.amend(sale.change(seat(15), settlement="at_once"))

        await metered.put(metered.usage())
        sale.wait(2 / 24)

        assert metered.billed() == [25]

    run(account, tmp_path, act)


def test_a_draft_of_another_time_does_not_stand_for_that_of_the_period(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        sale.wait(2 / 24)
        key = sale.subscriptions()[0]["id"]
        owner = sale.contract.references["customer"]
        metered.api.invoices.create({"customer": owner, "subscription": key, "auto_advance": False})

        assert (await metered.refused(metered.usage())).field == "period"

    run(account, tmp_path, act)


def test_what_was_used_before_an_end_that_was_invoiced_at_once_is_to_be_charged_by_hand(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        await sale.amend(sale.change(at_period_end=True))
        metered.until_after_the_period()

        assert {each["status"] for each in sale.subscriptions()} == {"canceled"}
        assert (await metered.refused(metered.usage())).field == "period"

    run(account, tmp_path, act)
