"""How the Stripe connector lets a contract go to another customer: one is billed up to a second, the other since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.amendments import ContractChange, Handover
from canonical.billing import Contract
from canonical.faults import Rejected
from canonical.money import Money
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import MAX_WRITES
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import Sale, interrupted, run, seat

GROSS = 11_900
"""Cents of a month, with 19 percent."""


async def other(sale: Sale, **terms: Any) -> Contract:
    """Return the contract as another customer would have it, which pays by card and has the tax of another country."""
    buyer = samples.customer("cus_other", payment_method="pm_card_visa")
    owner = await sale.made.call(lambda: sale.made.connector.put_customer(buyer))
    how = {"customer_id": buyer.id, "references": {"customer": owner}, "tax": "reverse_charge", "tax_percent": "0"}
    lines = tuple(msgspec.structs.replace(each, tax="", tax_percent="") for each in sale.contract.lines)
    return msgspec.structs.replace(sale.contract, lines=lines, **how | terms)


def transfer(sale: Sale, to: Contract, key: str = "amd_1", taken_back: str = "") -> ContractChange:
    """Return a transfer of a contract with the end of the period that runs, or the end of one."""
    ends = [each["items"]["data"][0]["current_period_end"] for each in sale.subscriptions()]
    at = datetime.fromtimestamp(max(ends), UTC)
    return sale.change(*to.lines, key=key, effective_at=at, at_period_end=True, handover=Handover(to, taken_back))


def charged(sale: Sale, contract: Contract) -> list[tuple[str, int, str]]:
    """Return what a customer was billed for, by Stripe's own client, the first one first."""
    rows = sale.account.api.v1.invoices.list({"customer": contract.references["customer"]}).data[::-1]
    return [(each.billing_reason or "", each.total, each.status or "") for each in rows]


def subscriptions(sale: Sale, contract: Contract) -> list[tuple[str, int]]:
    """Return the states of the subscriptions of a customer, with when each was begun."""
    query = {"customer": contract.references["customer"], "status": "all"}
    rows = sale.account.api.v1.subscriptions.list(query).data  # pyright: ignore[reportArgumentType]
    return [(each.status, each.start_date) for each in rows]


def schedules(sale: Sale, contract: Contract) -> list[str]:
    query = {"customer": contract.references["customer"]}
    return [each.status for each in sale.account.api.v1.subscription_schedules.list(query).data]  # pyright: ignore[reportArgumentType]


def test_one_customer_is_billed_until_the_other_is(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        sale.wait(10)
        change = transfer(sale, to)
        said = await sale.preview(change)

        assert said.effective_at == change.effective_at
        ((invoice, parts),) = [(each.invoice, each.parts) for each in said.invoices]
        assert (invoice.customer_id, invoice.total, invoice.tax) == ("cus_other", Money(10_000, "EUR"), Money(0, "EUR"))
        assert [each.prorated for each in parts] == [False]
        unknown = msgspec.structs.replace(to, references={})
        assert (await sale.preview(transfer(sale, unknown))).invoices == ()
        after = await sale.carry_out(change)
        assert (after.customer_id, after.state) == ("cus_other", "active")
        assert schedules(sale, to) == ["not_started"]
        assert await sale.carry_out(change) == after

        for days in (15, 15, 10, 1):
            sale.wait(days)
        at = int(change.effective_at.timestamp())
        assert [state for state, _ in subscriptions(sale, former)] == ["canceled"]
        assert subscriptions(sale, to) == [("active", at)]
        assert charged(sale, former) == [("subscription_create", GROSS, "paid")]
        assert [(total, state) for _, total, state in charged(sale, to)] == [(10_000, "paid")]
        ((one, _),) = [(each["id"], each) for each in sale.account.account.all("invoice") if each["total"] == 10_000]
        read = await sale.read(one)
        assert (read.customer_id, read.contract_id, read.tax_treatment) == ("cus_other", former.id, "reverse_charge")
        running = msgspec.structs.replace(after, references={"customer": to.references["customer"]})
        more = ContractChange("amd_2", running, (seat(12),), sale.made.clock().replace(microsecond=0))
        changed = await sale.carry_out(more)
        assert len(changed.named("invoice")) == 1

    run(account, tmp_path, act)


def test_a_transfer_that_is_taken_back_in_time_leaves_all_as_it_was(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        await sale.carry_out(transfer(sale, to))
        back = transfer(sale, to, "amd_2", "amd_1")
        assert (await sale.preview(back)).invoices == ()
        for _ in range(2):
            assert await sale.carry_out(back) == sale.contract
        for _ in range(3):
            sale.wait(15)
        assert [state for state, _ in subscriptions(sale, former)] == ["active"]
        assert (subscriptions(sale, to), schedules(sale, to), charged(sale, to)) == ([], ["canceled"], [])
        assert len(charged(sale, former)) == 2

    run(account, tmp_path, act)


def test_a_change_does_not_let_a_subscription_go_on_that_ends_with_a_transfer(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        sale.wait(1)
        await sale.amend(sale.change(seat(11), key="amd_0"))
        done = sale.change(seat(11), key="amd_0")
        await sale.carry_out(transfer(sale, to))
        refused = await sale.refused(sale.change(seat(12), key="amd_2"))
        assert refused.field == "actions[0]"
        assert "amd_1" in refused.reason
        await sale.carry_out(done)
        assert sale.statuses() == [("active", True)]

        await sale.carry_out(transfer(sale, to, "amd_3", "amd_1"))
        sale.wait(1)
        await sale.amend(sale.change(seat(12), key="amd_4"))
        assert [state for state, _ in subscriptions(sale, former)] == ["active"]
        assert sale.statuses() == [("active", False)]

    run(account, tmp_path, act)


def test_the_former_customer_is_billed_on_where_the_other_cannot_be(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        dear = msgspec.structs.replace(to, currency="CHF", lines=(_in_francs(to),))
        owner = to.references["customer"]
        sale.account.api.v1.subscriptions.create({"customer": owner, "items": [{"price": _price(sale)}]})
        before = sale.state()
        for _ in range(2):
            with pytest.raises(Rejected) as refused:
                await sale.carry_out(transfer(sale, dear))
            assert refused.value.field == "currency"
        (row,) = sale.subscriptions()
        assert (row["cancel_at_period_end"], row["status"]) == (False, "active")
        assert len(before) == len(sale.state())
        assert schedules(sale, to) == []
        await sale.carry_out(transfer(sale, to))
        for _ in range(3):
            sale.wait(15)
        assert [state for state, _ in subscriptions(sale, former)] == ["canceled"]
        assert [state for state, _ in subscriptions(sale, to)] == ["active", "active"]

    run(account, tmp_path, act)


@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_transfer_that_was_cut_short_is_taken_back_and_tried_again(
    account: StripeAccount, tmp_path: Path, *, places: int
) -> None:
    """The former customer is billed on, also where nobody knows the other one in billing yet."""

    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        change = transfer(sale, to)
        await interrupted(sale, change, places)
        has_begun = bool(schedules(sale, to))
        unknown = to if has_begun else msgspec.structs.replace(to, references={})
        for _ in range(2):
            assert await sale.carry_out(transfer(sale, unknown, taken_back=change.id)) == sale.contract
        assert sale.statuses() == [("active", False)]
        assert schedules(sale, to) == (["canceled"] if has_begun else [])
        again = transfer(sale, to, "amd_2" if has_begun else change.id)
        await sale.carry_out(again)
        assert sale.statuses() == [("active", True)]
        for _ in range(3):
            sale.wait(15)
        assert [state for state, _ in subscriptions(sale, former)] == ["canceled"]
        assert [state for state, _ in subscriptions(sale, to)] == ["active"]

    run(account, tmp_path, act)


def test_what_the_other_customer_is_billed_for_already_is_completed_and_not_taken_back(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        to = await other(sale)
        change = transfer(sale, to)
        await sale.carry_out(change)
        back = transfer(sale, to, taken_back=change.id)
        for _ in range(3):
            sale.wait(15)
        with pytest.raises(Rejected) as refused:
            await sale.carry_out(back)
        assert "try again" in refused.value.reason
        assert [state for state, _ in subscriptions(sale, to)] == ["active"]

    run(account, tmp_path, act)


def test_an_end_that_came_with_something_else_is_not_taken_back(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        former = await sale.start(seat())
        to = await other(sale)
        sale.wait(1)
        await sale.carry_out(sale.change(key="amd_0", at_period_end=True))
        assert sale.statuses() == [("active", True)]
        before = sale.state()
        await sale.carry_out(transfer(sale, to, taken_back="amd_1"))
        assert sale.state() == before
        sale.wait(40)
        assert [state for state, _ in subscriptions(sale, former)] == ["canceled"]

    run(account, tmp_path, act)


def _in_francs(contract: Contract) -> Any:
    (line,) = contract.lines
    return msgspec.structs.replace(line, unit_price=Money(line.unit_price.amount, "CHF"))


def _price(sale: Sale) -> str:
    (row,) = sale.subscriptions()
    return str(row["items"]["data"][0]["price"]["id"])


@pytest.mark.parametrize("late", [False, True])
def test_a_transfer_that_is_interrupted_anywhere_bills_everything_once(
    account: StripeAccount, tmp_path: Path, *, late: bool
) -> None:
    """Also where it goes on when the period is over by then."""
    places: list[int] = []

    async def act(sale: Sale) -> None:
        for place in range(1, MAX_WRITES):
            one = Sale(sale.account, sale.made, f"place-{place}")
            former = await one.start(seat())
            to = await other(one)
            change = transfer(one, to)
            if not await interrupted(one, change, place):
                break
            places.append(place)
            has_begun = one.subscriptions()[0]["cancel_at_period_end"]
            if late and has_begun:
                one.wait((change.effective_at - one.made.clock()) / timedelta(days=1) + 2)
            await one.carry_out(change)
            while one.made.clock() < change.effective_at + timedelta(days=5):
                one.wait(6)
            assert [state for state, _ in subscriptions(one, former)] == ["canceled"]
            at = int(change.effective_at.timestamp())
            assert [each for each in subscriptions(one, to) if each[1] == at and each[0] == "active"] == [
                ("active", at)
            ]
            assert len(charged(one, former)) == 1

    run(account, tmp_path, act)
    assert len(places) >= 2


def test_a_transfer_is_refused_where_more_than_one_subscription_bills(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        refused = await sale.refused(transfer(sale, await other(sale)))
        assert refused.field == "actions[0]"
        assert "2 subscriptions" in refused.reason

    run(account, tmp_path, act)


def test_a_transfer_waits_for_what_the_next_invoice_is_to_settle(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(5)
        await sale.amend(sale.change(seat(12), key="amd_0", settlement="next_invoice"))
        refused = await sale.refused(transfer(sale, await other(sale)))
        assert "next invoice" in refused.reason

    run(account, tmp_path, act)


def test_a_transfer_is_refused_once_the_period_is_over(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        change = transfer(sale, await other(sale))
        sale.wait(40)
        with pytest.raises(Rejected) as refused:
            await sale.carry_out(change)
        assert refused.value.field == "effective_at"
        assert sale.statuses() == [("active", False)]

    run(account, tmp_path, act)


@pytest.mark.parametrize("late", [False, True])
def test_a_transfer_that_is_taken_back_and_interrupted_anywhere_charges_nobody_twice(
    account: StripeAccount, tmp_path: Path, *, late: bool
) -> None:
    """Where it goes on in time the former customer is billed on; else billing says who is."""
    ends: list[str] = []

    async def act(sale: Sale) -> None:
        for place in range(1, MAX_WRITES):
            one = Sale(sale.account, sale.made, f"place-{place}")
            former = await one.start(seat())
            to = await other(one)
            change = transfer(one, to)
            await one.carry_out(change)
            back = transfer(one, to, "amd_2", "amd_1")
            if not await interrupted(one, back, place):
                break
            if late:
                one.wait((change.effective_at - one.made.clock()) / timedelta(days=1) + 2)
            try:
                await one.carry_out(back)
            except Rejected as refused:
                ends.append(refused.reason)
            else:
                ends.append("done")
            while one.made.clock() < change.effective_at + timedelta(days=5):
                one.wait(6)
            at = int(change.effective_at.timestamp())
            others = [each for each in subscriptions(one, to) if each == ("active", at)]
            running = [state for state, _ in subscriptions(one, former) if state == "active"]
            assert len(running) + len(others) == (0 if "nobody is billed" in ends[-1] else 1)
            assert ends[-1] == "done" or late

    run(account, tmp_path, act)
    assert len(ends) == 2
    assert ends[-1] == "done"
