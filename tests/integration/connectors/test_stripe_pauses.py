"""How the Stripe connector lets a contract rest: what is billed meanwhile is void, and what comes after it is whole."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from canonical.amendments import ContractChange, Pause, Resume, months_after
from canonical.deals import PricedLine
from system_apis.billing.port import Billing
from tests.support.connector_kit.kit import MAX_WRITES
from tests.support.connector_kit.subject import Bench, bench
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import Sale, interrupted, run, seat


def quarterly(key: str = "lin_2") -> PricedLine:
    return msgspec.structs.replace(seat(1, 120_000, key, "year"), billing_months=3)


def rest(sale: Sale, wanted: Pause | Resume, key: str = "amd_1") -> ContractChange:
    """Return a pause of a contract, or its end, with the end of the period that runs."""
    rows = [each for each in sale.subscriptions() if each["status"] == "active"]
    turns_at = datetime.fromtimestamp(max(each["items"]["data"][0]["current_period_end"] for each in rows), UTC)
    return sale.change(*sale.contract.lines, key=key, effective_at=turns_at, at_period_end=True, pause=wanted)


def bills(sale: Sale) -> list[tuple[str, int]]:
    """Return which invoices are void and which are charged, by Stripe's own client, and what is owed or was paid."""
    rows = sale.account.api.v1.invoices.list({"customer": sale.contract.references["customer"]}).data[::-1]
    return [("void" if each.status == "void" else "charged", each.amount_remaining + each.amount_paid) for each in rows]


def paused(sale: Sale) -> list[tuple[str, int | None] | None]:
    """Return how the collection of each subscription is paused, by Stripe's own client."""
    query = {"customer": sale.contract.references["customer"]}
    rows = sale.account.api.v1.subscriptions.list(query).data  # pyright: ignore[reportArgumentType]
    return [
        each.pause_collection and (each.pause_collection.behavior, each.pause_collection.resumes_at) for each in rows
    ]


def first_days(sale: Sale, months: int) -> date:
    return months_after(sale.contract.starts_on, months)


def test_two_periods_are_void_and_the_next_one_is_charged_whole(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        until = first_days(sale, 3)
        change = rest(sale, Pause(until))
        said = await sale.preview(change)

        assert (said.effective_at, said.invoices) == (change.effective_at, ())
        assert said.resumes_at
        assert said.resumes_at.date() == until
        assert await sale.amend(change) == []
        state = sale.state()
        assert (await sale.carry_out(change), sale.state()) == (sale.contract, state)
        assert paused(sale) == [("void", int((said.resumes_at - timedelta(hours=1)).timestamp()))]
        assert sale.contract.state == "active"

        for _ in range(4):
            sale.wait(26)
        gross = sale.own("invoice")[0]["total"]
        assert bills(sale) == [("charged", gross), ("void", 0), ("void", 0), ("charged", gross)]
        assert paused(sale) == [None]
        read = await sale.read(sale.own("invoice")[1]["id"])
        assert (read.state, read.payments) == ("void", ())

    run(account, tmp_path, act)


def test_a_contract_rests_until_it_is_resumed_and_goes_on_with_the_next_period(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        await sale.amend(rest(sale, Pause()))
        assert paused(sale) == [("void", None)]
        sale.wait(40)
        change = rest(sale, Resume(), "amd_2")
        said = await sale.preview(change)

        assert await sale.amend(change) == []

        assert (said.effective_at, said.resumes_at, paused(sale)) == (change.effective_at, None, [None])
        sale.wait(20)
        assert [status for status, _ in bills(sale)] == ["charged", "void", "charged"]

    run(account, tmp_path, act)


def test_a_pause_that_has_not_begun_leaves_no_trace_on_the_next_invoice(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        await sale.amend(rest(sale, Pause()))
        await sale.amend(rest(sale, Resume(), "amd_2"))
        sale.wait(30)
        assert [status for status, _ in bills(sale)] == ["charged", "charged"]

    run(account, tmp_path, act)


def test_a_day_on_which_no_period_begins_is_refused_with_those_that_are_possible(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(quarterly("lin_1"))
        sale.wait(10)
        six, nine = first_days(sale, 6), first_days(sale, 9)
        for day in (first_days(sale, 5), six + timedelta(days=1), first_days(sale, 3)):
            refused = await sale.refused(rest(sale, Pause(day)))
            assert (refused.field, str(six) in refused.reason) == ("actions[0].until", True)
        assert await sale.amend(rest(sale, Pause(nine))) == []

    run(account, tmp_path, act)


def test_lines_of_two_intervals_rest_and_go_on_together_or_not_at_all(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), quarterly())
        sale.wait(10)
        refused = await sale.refused(rest(sale, Pause()))
        assert refused.field == "actions[0]"
        assert f"end on different days, the last one on {first_days(sale, 3)}" in refused.reason

        for _ in range(3):
            sale.wait(23)
        early = await sale.refused(rest(sale, Pause(first_days(sale, 5))))
        assert (early.field, str(first_days(sale, 6)) in early.reason) == ("actions[0].until", True)
        assert await sale.amend(rest(sale, Pause(first_days(sale, 6)))) == []
        for _ in range(5):
            sale.wait(23)
        assert sorted(status for status, _ in bills(sale)) == [*["charged"] * 6, *["void"] * 4]

    run(account, tmp_path, act)


def test_what_is_settled_with_the_next_invoice_is_issued_before_a_pause(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        await sale.amend(sale.change(seat(12), settlement="next_invoice"))

        refused = await sale.refused(rest(sale, Pause(), "amd_2"))

        assert (refused.field, "settled with the next invoice" in refused.reason) == ("actions[0]", True)
        sale.wait(30)
        assert await sale.amend(rest(sale, Pause(), "amd_2")) == []

    run(account, tmp_path, act)


def test_a_pause_does_not_begin_with_the_end_of_the_contract(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), term_months=1)
        sale.wait(10)

        refused = await sale.refused(rest(sale, Pause()))

        assert (refused.field, "is the last one of" in refused.reason) == ("actions[0]", True)
        sale.wait(30)
        assert await sale.amend(rest(sale, Pause())) == []  # nobody has ended it, so it goes on after its term

    run(account, tmp_path, act)


def test_a_pause_that_comes_too_late_is_refused_and_voids_nothing(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        change = rest(sale, Pause())
        sale.wait(30)
        before = sale.state()

        with pytest.raises(Exception, match="does not run: give the change up") as late:
            await sale.carry_out(change)

        assert (getattr(late.value, "field", ""), sale.state()) == ("effective_at", before)

    run(account, tmp_path, act)


def test_a_contract_that_rests_is_ended_without_a_credit_or_a_charge(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        await sale.amend(rest(sale, Pause()))
        sale.wait(30)
        change = sale.change(key="amd_2", paused=True)

        assert (await sale.preview(change)).invoices == ()
        assert await sale.amend(change) == []

        assert [each["status"] for each in sale.subscriptions()] == ["canceled"]
        assert [status for status, _ in bills(sale)] == ["charged", "void"]
        customer = sale.account.account.get("customer", sale.contract.references["customer"])
        assert customer["balance"] == 0

    run(account, tmp_path, act)


def test_a_pause_that_was_interrupted_anywhere_goes_on_where_it_was(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        for place in range(MAX_WRITES):
            sale = Sale(account, made, str(place))
            await sale.start(seat(), quarterly())
            for _ in range(3):
                sale.wait(24)
            change = rest(sale, Pause(), f"amd_{place}")
            came_to_it = not place or await interrupted(sale, change, place)
            await made.settled(lambda change=change: made.connector.change(change, "correlation-1"))
            assert paused(sale) == [("void", None), ("void", None)], f"write {place}"
            if not came_to_it:
                return
        raise AssertionError("it writes more than that")

    async def connected() -> None:
        async with bench(account, tmp_path) as made:
            await act(made)

    asyncio.run(connected())


def test_what_a_part_has_of_a_pause_that_comes_too_late_for_the_other_is_taken_back(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), quarterly())
        for _ in range(3):
            sale.wait(24)
        change = rest(sale, Pause())
        await interrupted(sale, change, 2)  # the schedule is released, and one subscription paused
        assert sorted(map(str, paused(sale))) == ["('void', None)", "None"]
        sale.wait(30)

        for reason in ("give the change up", "on different days"):
            with pytest.raises(Exception, match=reason):
                await sale.carry_out(change)

        assert paused(sale) == [None, None]
        assert [each["metadata"].get("tiergate_changes", "") for each in sale.subscriptions()] == ["", ""]

    run(account, tmp_path, act)


def test_nothing_is_suspended_while_a_part_that_is_to_end_is_paid(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        sale.wait(10)
        await sale.amend(sale.change(seat(), key="amd_0", at_period_end=True))

        refused = await sale.refused(rest_of(sale, seat()))

        assert (refused.field, str(first_days(sale, 12)) in refused.reason) == ("actions[0]", True)

    run(account, tmp_path, act)


def rest_of(sale: Sale, line: PricedLine) -> ContractChange:
    """Return a pause with the end of the period of a line."""
    row = next(each for each in sale.subscriptions() if each["items"]["data"][0]["price"]["product"] == line.sku)
    turns_at = datetime.fromtimestamp(row["items"]["data"][0]["current_period_end"], UTC)
    return sale.change(line, key="amd_1", effective_at=turns_at, at_period_end=True, pause=Pause())
