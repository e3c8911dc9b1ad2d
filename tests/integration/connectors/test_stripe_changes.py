"""How the Stripe connector changes contracts that run, and what it previews of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from canonical.amendments import (
    BillingPreview,
    ChangeTerm,
    ChargedPart,
    ContractChange,
    Renew,
    Settlement,
    months_after,
)
from canonical.billing import Invoice
from canonical.deals import PricedLine, with_terms
from canonical.events import INVOICE_FINALIZED, INVOICE_PAID
from canonical.faults import NotFound, Rejected
from canonical.money import Money, smallest_charge
from canonical.proration import Period, share
from system_apis.billing.stripe.change_plan import CHANGES, changes_of, with_change
from system_apis.billing.stripe.changes import term_end
from system_apis.billing.stripe.parts import MAX_VALUE
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import MAX_WRITES
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import AMENDMENT, DAY, Sale, interrupted, run, seat


def amounts(invoice: Invoice) -> tuple[Any, ...]:
    """Return what an invoice says of money, and of what it is for."""
    lines = [
        (
            *(each.sku, each.description, each.quantity, each.net, each.tax, each.taxes, each.agreed),
            *(each.period_start, each.period_end),
        )
        for each in invoice.lines
    ]
    return lines, invoice.total, invoice.tax, invoice.tax_treatment, invoice.contract_id, invoice.due_on


def nets(invoice: Invoice) -> list[int]:
    return [each.net.amount for each in invoice.lines]


def unexplained(preview: BillingPreview) -> list[tuple[ChargedPart, Money]]:
    """Return the parts of previewed invoices whose amounts are not what their seconds make of their prices."""
    found: list[tuple[ChargedPart, Money]] = []
    for each in preview.invoices:
        for part, line in zip(each.parts, each.invoice.lines, strict=True):
            period = Period(part.period_starts_at, part.period_ends_at, part.months)
            step = smallest_charge(part.price.currency).amount
            expected = share("seconds", period, part.starts_at, part.ends_at).of_price(part.price, step)
            if part.prorated and expected != line.net:
                found.append((part, line.net))
    return found


def test_a_change_is_charged_to_the_cent_as_it_was_previewed_and_its_schedule_takes_nothing_back(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        before = await sale.start(seat(), seat(3, 500, "lin_2"))
        sale.wait(10)
        before_preview = sale.state()
        change = sale.change(seat(15), seat(3, 500, "lin_2"))
        preview = await sale.preview(change)
        assert sale.state() == before_preview
        (invoice,) = await sale.amend(change)

        (previewed,) = preview.invoices
        assert (preview.effective_at, previewed.invoice.state) == (change.effective_at, "draft")
        assert previewed.invoice.id == "amd_1:preview"
        assert amounts(previewed.invoice) == amounts(invoice)
        assert invoice.state == "paid"
        assert len(invoice.lines) == 2
        assert nets(invoice)[0] < 0 < sum(nets(invoice))
        assert [(each.lines, each.prorated, each.price.amount) for each in previewed.parts] == [
            (("lin_1",), True, -10_000),
            (("lin_1",), True, 15_000),
        ]
        assert unexplained(preview) == []
        assert sale.contract.lines == change.lines
        assert sale.contract.references["subscription"] == before.references["subscription"]
        assert sale.items() == [[(1_000, 15), (500, 3)]]
        sale.wait(400)
        assert sale.items() == [[(1_000, 15), (500, 3)]]
        assert sale.totals()[-1] == 16_500

    run(account, tmp_path, act)


def test_the_same_change_again_changes_nothing_also_when_another_one_came_after_it(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 9_000, "lin_2", "year"))
        sale.wait(3)
        first = sale.change(seat(12), seat(1, 9_000, "lin_2", "year"), seat(2, 700, "lin_3"))
        after_first = await sale.carry_out(first)
        sale.contract = after_first
        sale.wait(2)
        state = sale.state()
        assert await sale.carry_out(first) == after_first
        second = sale.change(seat(12), seat(2, 9_000, "lin_2", "year"), key="amd_2")
        after_second = await sale.carry_out(second)
        assert after_second.named("invoice")
        assert set(after_second.named("invoice")) & set(after_first.named("invoice")) == set()
        sale.wait(40)
        state = sale.state()

        assert await sale.carry_out(first) == after_first
        assert await sale.carry_out(second) == after_second
        assert (await sale.preview(second)).invoices == ()
        assert sale.state() == state

    run(account, tmp_path, act)


def test_what_goes_on_is_changed_while_another_subscription_waits_for_its_end(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        yearly = seat(1, 120_000, "lin_2", "year")
        await sale.start(seat(), yearly)
        sale.wait(10)
        await sale.amend(sale.change(yearly, at_period_end=True))
        change = sale.change(seat(2, 120_000, "lin_2", "year"), key="amd_2")
        (previewed,) = (await sale.preview(change)).invoices
        (invoice,) = await sale.amend(change)

        assert amounts(previewed.invoice) == amounts(invoice)
        sale.wait(30)
        assert sale.items() == [[(120_000, 2)]]

    run(account, tmp_path, act)


def test_a_monthly_and_a_yearly_line_that_change_together_are_two_invoices(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        sale.wait(10)
        change = sale.change(seat(8), seat(1, 150_000, "lin_2", "year"))
        preview = await sale.preview(change)
        issued = await sale.amend(change)

        assert [each.invoice.id for each in preview.invoices] == ["amd_1:preview", "amd_1:preview.2"]
        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert [[part.months for part in each.parts] for each in preview.invoices] == [[1, 1], [12, 12]]
        assert unexplained(preview) == []
        assert sale.items() == [[(1_000, 8)], [(150_000, 1)]]

    run(account, tmp_path, act)


def test_a_change_that_is_settled_with_the_next_invoice_is_previewed_as_that(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        change = sale.change(seat(15), settlement="next_invoice")
        (previewed,) = (await sale.preview(change)).invoices
        assert await sale.amend(change) == []
        assert sale.totals() == [10_000]
        sale.wait(25)

        (subscription,) = sale.subscriptions()
        invoice = await sale.read(subscription["latest_invoice"])
        assert amounts(previewed.invoice) == amounts(invoice)
        assert [each.prorated for each in previewed.parts] == [False, True, True]
        assert [each.price.amount for each in previewed.parts] == [15_000, -10_000, 15_000]
        assert [each.lines for each in previewed.parts] == [("lin_1",)] * 3

    run(account, tmp_path, act)


@pytest.mark.parametrize(("settlement", "at_period_end"), [("none", False), ("at_once", True)])
def test_a_change_that_is_not_settled_has_no_invoice_and_the_next_one_has_the_new_lines(
    account: StripeAccount, tmp_path: Path, settlement: Settlement, *, at_period_end: bool
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 500, "lin_2"))
        sale.wait(10)
        change = sale.change(seat(15, 900), seat(2, 700, "lin_3"), settlement=settlement, at_period_end=at_period_end)
        preview = await sale.preview(change)
        assert await sale.amend(change) == []

        ends = sale.subscriptions()[0]["items"]["data"][0]["current_period_end"]
        counts = datetime.fromtimestamp(ends, UTC) if at_period_end else change.effective_at
        assert (preview.effective_at, preview.invoices) == (counts, ())
        assert sale.items() == [[(900, 15), (700, 2)]]
        sale.wait(25)
        assert sale.totals() == [10_500, 13_500 + 1_400]

    run(account, tmp_path, act)


@pytest.mark.parametrize("settlement", ["at_once", "next_invoice", "none"])
@pytest.mark.parametrize("months", [0, 12])
def test_a_contract_that_ends_now_is_credited_from_the_moment_on_as_previewed_and_bills_nothing_more(
    account: StripeAccount, tmp_path: Path, settlement: Settlement, months: int
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"), term_months=months)
        sale.wait(10)
        change = sale.change(settlement=settlement)
        sale.wait(2)  # it is carried out later, and counts from when it was wanted
        preview = await sale.preview(change)
        issued = await sale.amend(change)

        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert unexplained(preview) == []
        assert (sale.contract.state, sale.contract.lines) == ("cancelled", ())
        assert {each["status"] for each in sale.subscriptions()} == {"canceled"}
        assert {each["status"] for each in account.account.all("subscription_schedule")} == {"canceled"}
        assert len(issued) == (0 if settlement == "none" else 2)
        for each in preview.invoices:
            assert {part.starts_at for part in each.parts} == {change.effective_at}
            assert each.invoice.total.amount < 0
        state = sale.state()
        assert await sale.carry_out(change) == sale.contract
        sale.wait(400)
        assert sale.totals() == [each["subtotal"] for each in state[2]]

    run(account, tmp_path, act)


def test_a_contract_that_ends_with_its_period_is_billed_until_then_and_no_longer(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        sale.wait(10)
        change = sale.change(at_period_end=True)
        preview = await sale.preview(change)
        assert await sale.amend(change) == []
        state = sale.state()
        assert await sale.carry_out(change) == sale.contract

        assert sale.state() == state
        assert sale.contract.state == "cancelled"
        ends = [each["items"]["data"][0]["current_period_end"] for each in sale.subscriptions()]
        assert (preview.effective_at, preview.invoices) == (datetime.fromtimestamp(max(ends), UTC), ())
        assert [each["cancel_at"] for each in sale.subscriptions()] == ends
        sale.wait(30)
        sale.wait(400)
        assert sale.totals() == [10_000, 120_000]
        assert {each["status"] for each in sale.subscriptions()} == {"canceled"}

    run(account, tmp_path, act)


def test_an_end_with_the_period_that_is_taken_back_in_time_lets_the_same_subscription_go_on(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 500, "lin_2"))
        sale.wait(10)
        await sale.amend(sale.change(at_period_end=True))
        assert sale.statuses() == [("active", True)]
        again = sale.change(seat(), seat(1, 500, "lin_2"), key="amd_again", at_period_end=True)
        preview = await sale.preview(again)
        assert await sale.amend(again) == []
        state = sale.state()
        await sale.carry_out(again)

        assert (sale.state(), preview.invoices) == (state, ())
        assert sale.statuses() == [("active", False)]
        assert (sale.contract.state, len(sale.contract.lines)) == ("active", 2)
        sale.wait(30)
        assert sale.totals() == [10_500, 10_500]

    run(account, tmp_path, act)


def test_another_end_of_a_contract_ends_its_subscriptions_with_a_period_and_may_be_replaced(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        lines = seat(), seat(1, 120_000, "lin_2", "year")
        await sale.start(*lines)
        sale.wait(10)
        first = sale.contract.starts_on
        year, two = (months_after(first, each) for each in (12, 24))
        change = sale.change(*lines, term=ChangeTerm(two))
        preview = await sale.preview(change)
        assert await sale.amend(change) == []
        state = sale.state()
        assert (await sale.carry_out(change), sale.state()) == (sale.contract, state)
        assert (sale.contract.state, sale.contract.ends_on, preview.invoices) == ("active", two, ())
        assert preview.ends_at
        assert max(each["cancel_at"] for each in sale.subscriptions()) == int(preview.ends_at.timestamp())

        await sale.amend(sale.change(*lines, key="amd_2", term=ChangeTerm(None)))
        assert {each["cancel_at"] for each in sale.subscriptions()} == {None}

        await sale.amend(sale.change(*lines, key="amd_3", term=ChangeTerm(year)))
        more = seat(12), lines[1]
        await sale.amend(sale.change(*more, key="amd_4", settlement="none"))
        refused = await sale.refused(sale.change(*more, seat(1, 300, "lin_3", "quarter"), key="amd_5"))
        assert f"ends on {year}" in refused.reason
        sale.wait(400)
        sale.wait(400)
        assert {each["status"] for each in sale.subscriptions()} == {"canceled"}
        assert sorted(sale.totals()) == [10_000, *[12_000] * 11, 120_000]

    run(account, tmp_path, act)


def test_an_end_that_was_agreed_stays_when_an_end_with_the_period_is_taken_back(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        day = months_after(sale.contract.starts_on, 3)
        await sale.amend(sale.change(seat(), term=ChangeTerm(day)))
        (agreed,) = [each["cancel_at"] for each in sale.subscriptions()]
        running = sale.contract
        await sale.amend(sale.change(key="amd_2", at_period_end=True))
        sale.contract = msgspec.structs.replace(sale.contract, lines=(), state="active")
        await sale.amend(sale.change(*running.lines, key="amd_3", at_period_end=True))
        assert [(each["cancel_at"], each["cancel_at_period_end"]) for each in sale.subscriptions()] == [(agreed, False)]

    run(account, tmp_path, act)


def test_a_line_that_ended_comes_back_under_its_own_id(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        for place, lines in enumerate([(seat(),), (seat(), seat(1, 120_000, "lin_2", "year"))]):
            sale.wait(5)
            change = sale.change(*lines, key=f"amd_{place}")
            preview = await sale.preview(change)
            issued = await sale.amend(change)
            assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
            assert unexplained(preview) == []
        assert sale.statuses() == [("active", False), ("canceled", False), ("active", False)]

    run(account, tmp_path, act)


def test_an_end_inside_of_a_period_is_refused_with_the_days_on_which_one_ends(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        yearly = seat(1, 120_000, "lin_1", "year")
        await sale.start(yearly)
        sale.wait(40)
        year, two = (months_after(sale.contract.starts_on, each) for each in (12, 24))
        for day in (months_after(year, -3), months_after(year, 3), year - timedelta(days=1)):
            refused = await sale.refused(sale.change(yearly, term=ChangeTerm(day)))
            assert refused.field == "actions[0].ends_on"
            assert f"take {year}" in refused.reason
        assert await sale.amend(sale.change(yearly, term=ChangeTerm(two))) == []

    run(account, tmp_path, act)


@pytest.mark.parametrize("months", [0, 1])
def test_a_contract_without_end_and_one_after_its_term_are_changed_as_any_other(
    account: StripeAccount, tmp_path: Path, months: int
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), term_months=months)
        sale.wait(45)
        assert [each["schedule"] for each in sale.subscriptions()] == [None]
        change = sale.change(seat(20))
        (previewed,) = (await sale.preview(change)).invoices
        (invoice,) = await sale.amend(change)

        assert amounts(previewed.invoice) == amounts(invoice)
        await sale.amend(sale.change(key="amd_2", at_period_end=True))
        sale.wait(60)
        assert [each["status"] for each in sale.subscriptions()] == ["canceled"]

    run(account, tmp_path, act)


def test_the_last_line_of_one_of_two_subscriptions_ends_that_one(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        sale.wait(10)
        change = sale.change(seat(), settlement="next_invoice")
        preview = await sale.preview(change)
        (invoice,) = await sale.amend(change)

        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(invoice)]
        assert (sale.contract.state, sale.items()) == ("active", [[(1_000, 10)]])
        assert invoice.total.amount < 0

    run(account, tmp_path, act)


def test_new_lines_go_where_there_is_room_and_else_begin_a_subscription_of_their_own(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        full = [seat(1, 100 + place, f"lin_{place}") for place in range(19)]
        await sale.start(*full)
        sale.wait(10)
        more = [seat(1, 200 + place, f"lin_{place}") for place in range(19, 22)]
        yearly = seat(2, 9_000, "lin_y", "year")
        change = sale.change(*full, *more, yearly)
        preview = await sale.preview(change)
        issued = await sale.amend(change)

        assert [len(each) for each in sale.items()] == [20, 2, 1]
        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert [[part.lines for part in each.parts] for each in preview.invoices] == [
            [("lin_19",)],
            [("lin_20",), ("lin_21",)],
            [("lin_y",)],
        ]
        assert {each.state for each in issued} == {"paid"}
        assert len(sale.contract.named("subscription")) == 3
        state = sale.state()
        assert await sale.carry_out(change) == sale.contract
        assert sale.state() == state
        last = sale.change(*(seat(2, 100 + place, f"lin_{place}") for place in range(19)), key="amd_2")
        preview = await sale.preview(last)
        issued = await sale.amend(last)
        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert [len(each.invoice.lines) for each in preview.invoices] == [39, 2, 1]
        assert [len(each) for each in sale.items()] == [19]

    run(account, tmp_path, act)


def test_lines_that_were_one_item_are_several_when_their_prices_differ_and_twenty_is_not_exceeded(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        others = [seat(1, 100 + place, f"lin_{place}") for place in range(19)]
        twins = [msgspec.structs.replace(seat(2, 500, key), sku="TWIN") for key in ("lin_a", "lin_b")]
        await sale.start(*others, *twins)
        assert [len(each) for each in sale.items()] == [20]
        sale.wait(10)
        dearer = msgspec.structs.replace(twins[1], unit_price=Money(600, "EUR"))
        change = sale.change(*others, twins[0], dearer)
        preview = await sale.preview(change)
        issued = await sale.amend(change)

        assert [len(each) for each in sale.items()] == [20, 1]
        assert sale.items()[1] == [(600, 2)]
        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert [part.lines for part in preview.invoices[0].parts] == [("lin_a", "lin_b"), ("lin_a",)]
        items: list[Any] = sale.subscriptions()[0]["items"]["data"]
        assert items[-1]["metadata"] == {"tiergate_line": "lin_a"}

    run(account, tmp_path, act)


def test_all_twenty_prices_of_a_subscription_change_at_once_each_in_its_place(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(*(seat(1, 100 + place, f"lin_{place}") for place in range(20)))
        sale.wait(10)
        change = sale.change(*(seat(1, 300 + place, f"lin_{place}") for place in range(20)))
        (previewed,) = (await sale.preview(change)).invoices
        (invoice,) = await sale.amend(change)

        assert amounts(previewed.invoice) == amounts(invoice)
        assert [len(each) for each in sale.items()] == [20]
        assert {len(each.lines) for each in previewed.parts} == {1}

    run(account, tmp_path, act)


def test_a_line_that_was_delivered_late_is_changed_with_the_others(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        contract = await sale.start(seat())
        sale.wait(5)
        late = seat(4, 500, "lin_2")
        own = msgspec.structs.replace(contract, group=late.id, lines=(late,))
        put = await sale.made.call(lambda: sale.made.connector.put_contract(own, "correlation-1"))
        await sale.made.call(lambda: sale.made.connector.start(put))
        sale.contract = msgspec.structs.replace(contract, lines=(seat(), late))
        sale.wait(5)
        change = sale.change(seat(9), seat(5, 500, "lin_2"))
        preview = await sale.preview(change)
        issued = await sale.amend(change)

        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        assert len(issued) == 2
        assert sale.items() == [[(1_000, 9)], [(500, 5)]]

    run(account, tmp_path, act)


def test_a_second_change_in_a_period_credits_what_the_first_one_charged(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(7, 333))
        for place, quantity in enumerate((11, 5, 23), 1):
            sale.wait(4.3)
            change = sale.change(seat(quantity, 333), key=f"amd_{place}")
            preview = await sale.preview(change)
            (invoice,) = await sale.amend(change)
            assert amounts(preview.invoices[0].invoice) == amounts(invoice)
            assert unexplained(preview) == []

    run(account, tmp_path, act)


def test_what_an_earlier_change_has_left_to_the_next_invoice_is_billed_when_the_contract_ends(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        await sale.amend(sale.change(seat(20), settlement="next_invoice"))
        sale.wait(5)
        change = sale.change(key="amd_2", settlement="none")
        preview = await sale.preview(change)
        (invoice,) = await sale.amend(change)

        assert [amounts(each.invoice) for each in preview.invoices] == [amounts(invoice)]
        assert invoice.total.amount > 0

    run(account, tmp_path, act)


def test_what_was_agreed_for_a_line_is_on_its_invoices_when_it_changes(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        terms = msgspec.structs.replace(seat().terms, unit_price=seat().terms.unit_price * 9 / 10)
        cheaper = with_terms(
            seat(), msgspec.structs.replace(terms, list_price=seat().terms.unit_price, discount_percent=terms.quantity)
        )
        change = sale.change(cheaper)
        (previewed,) = (await sale.preview(change)).invoices
        (invoice,) = await sale.amend(change)

        assert amounts(previewed.invoice) == amounts(invoice)
        assert [each.agreed and each.agreed.in_words("EUR") for each in invoice.lines] == [
            None,
            "10 × 10.00 EUR less 10 %",
        ]
        shown = account.account.get("invoice", invoice.id)["description"]
        assert shown == "Platform fee: 10 × 10.00 EUR less 10 %"

    run(account, tmp_path, act)


def test_an_invoice_below_nothing_is_reported_and_its_credit_is_settled_with_the_one_that_uses_it(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        (credit,) = await sale.amend(sale.change(seat(2)))

        assert (credit.state, credit.balance.amount, credit.payments) == ("paid", 0, ())
        assert credit.total.amount == sum(nets(credit)) + credit.tax.amount < 0
        reported: list[str] = []
        for event in sale.account.account.all("event"):
            if event["data"]["object"]["id"] == credit.id:
                body = msgspec.json.encode(event)
                headers = sale.account.sign(body, sale.made.clock(), sale.account.webhook_secret)
                found = await sale.made.call(
                    lambda body=body, headers=headers: sale.made.connector.reported(headers, body)
                )
                reported += [found.event.type] if found else []
        assert reported == [INVOICE_FINALIZED, INVOICE_PAID]
        for days in (31, 31, 31, 1, 1):
            sale.wait(days)
        following = [await sale.read(each["id"]) for each in sale.account.account.all("invoice")][2:]
        settled = [(each.settles, each.amount.amount) for one in following for each in one.payments]
        assert [one.total.amount for one in following] == [2_380] * len(following)
        (settling,) = (each for each in settled if each[0])
        used = [one.id for one in following if not one.payments]
        assert set(settling[0]) == {credit.id, *used}
        assert settling[1] == credit.total.amount + 2_380 * (len(used) + 1)

    run(account, tmp_path, act)


def test_of_the_changes_of_a_subscription_metadata_holds_the_latest() -> None:
    named: dict[str, str] = {}
    for place in range(30):
        named = {CHANGES: with_change(named, f"amd_{place:032x}")}

    kept = changes_of(named)
    assert kept == [f"amd_{place:032x}" for place in range(30 - len(kept), 30)]
    assert (len(kept), len(named[CHANGES]) <= MAX_VALUE) == (13, True)


# ---- interruptions, and changes drawn at random


def renewal(sale: Sale, *lines: PricedLine, months: int = 12, key: str = AMENDMENT) -> ContractChange:
    """Return a renewal for as long again of a contract that has lasted so many months."""
    first = sale.contract.starts_on
    begins = datetime.combine(months_after(first, months), time(), UTC)
    wanted = Renew(months_after(first, 2 * months))
    change = sale.change(*lines, key=key, effective_at=begins, at_period_end=True, renewal=wanted)
    return msgspec.structs.replace(change, contract=msgspec.structs.replace(change.contract, term_months=months))


def days_until(sale: Sale, day: date) -> int:
    return (day - sale.made.clock().date()).days


def test_a_renewal_is_billed_from_the_first_period_of_its_term_on_as_previewed(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        yearly = seat(1, 120_000, "lin_2", "year")
        await sale.start(seat(), yearly)
        sale.wait(40)
        change = renewal(sale, seat(10, 1_050), seat(1, 126_000, "lin_2", "year"))
        early = await sale.preview(change)
        assert (early.invoices, abs(early.effective_at - change.effective_at) < timedelta(days=2)) == ((), True)
        with pytest.raises(Rejected, match="is renewed in the last period of its term") as refused:
            await sale.carry_out(change)
        assert refused.value.field == "effective_at"

        sale.wait(days_until(sale, change.effective_at.date()) - 3)
        before = sale.state()
        preview = await sale.preview(change)
        assert (preview.effective_at, sale.state()) == (early.effective_at, before)
        assert await sale.amend(change) == []
        assert sale.contract.renewed_until == months_after(sale.contract.starts_on, 24)
        assert len(sale.totals()) == 13

        state = sale.state()
        assert (await sale.carry_out(change), sale.state()) == (sale.contract, state)
        sale.wait(4)
        made = [each["id"] for each in sale.own("invoice")][13:]
        billed = [amounts(await sale.read(each)) for each in made]
        assert sorted(billed, key=str) == sorted((amounts(each.invoice) for each in preview.invoices), key=str)
        assert sorted(sale.totals()[13:]) == [10_500, 126_000]
        assert unexplained(preview) == []
        assert {part.lines: part.price.amount for each in preview.invoices for part in each.parts} == {
            ("lin_1",): 10_500,
            ("lin_2",): 126_000,
        }

    run(account, tmp_path, act)


def test_a_renewal_takes_an_end_that_was_agreed_before_away(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(1)
        day = months_after(sale.contract.starts_on, 1)
        await sale.amend(sale.change(seat(), term=ChangeTerm(day)))
        sale.wait(days_until(sale, day) - 2)
        change = renewal(sale, seat(10, 1_050), months=1, key="amd_2")
        preview = await sale.preview(change)
        assert [each.invoice.total.amount > 0 for each in preview.invoices] == [True]
        await sale.amend(change)
        assert [each["cancel_at"] for each in sale.subscriptions()] == [None]
        assert (sale.contract.ends_on, sale.contract.renewed_until) == (None, months_after(sale.contract.starts_on, 2))
        sale.wait(60)
        assert sale.totals() == [10_000, 10_500, 10_500]

    run(account, tmp_path, act)


def test_a_renewal_may_end_a_line_and_begin_one_that_needs_a_subscription_of_its_own(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        quarterly = sold_by(3, seat(1, 120_000, "lin_2", "year"))
        await sale.start(seat(), quarterly)
        sale.wait(1)
        sale.wait(days_until(sale, months_after(sale.contract.starts_on, 12)) - 2)
        change = renewal(sale, seat(), seat(1, 120_000, "lin_3", "year"))
        preview = await sale.preview(change)
        assert sorted(each.invoice.total.amount > 0 for each in preview.invoices) == [True, True]
        await sale.amend(change)
        before = len(sale.totals())
        sale.wait(4)
        assert sorted(sale.totals()[before:]) == [10_000, 120_000]
        assert sorted(each["status"] for each in sale.subscriptions()) == ["active", "active", "canceled"]

    run(account, tmp_path, act)


def test_a_renewal_is_refused_where_no_period_ends_with_the_term(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"))
        sale.wait(40)
        lines = seat(), seat(1, 126_000, "lin_2", "year")
        refused = await sale.refused(renewal(sale, *lines, months=18))
        assert refused.field == "actions[0]"
        assert "no period of 12 months ends with it" in refused.reason

        year, two = (months_after(sale.contract.starts_on, each) for each in (12, 24))
        change = renewal(sale, *lines)
        longer = msgspec.structs.replace(change, renewal=Renew(months_after(year, 7)))
        with pytest.raises(Rejected, match=f"has to end with the new term: take .*{two}") as other:
            await sale.preview(longer)
        assert other.value.field == "actions[0].ends_on"
        as_long = msgspec.structs.replace(change, renewal=Renew(year + timedelta(days=1)))
        with pytest.raises(Rejected, match="has to end with the new term") as too_short:
            await sale.preview(as_long)
        assert f"take {year}" not in too_short.value.reason
        begun = msgspec.structs.replace(longer, lines=(seat(), sold_by(6, seat(1, 9_000, "lin_3", "year"))))
        with pytest.raises(Rejected, match="has to end with the new term"):
            await sale.preview(begun)
        monthly = msgspec.structs.replace(longer, lines=(seat(),))
        assert (await sale.preview(monthly)).invoices == ()

    run(account, tmp_path, act)


@pytest.mark.parametrize("months", range(1, 13))
@pytest.mark.parametrize(
    "first", [date(2026, 7, 1), date(2027, 3, 1), date(2026, 12, 1), date(2026, 10, 31), date(2027, 1, 29)]
)
def test_a_period_ends_with_the_term_though_billing_counts_months_in_utc(first: date, months: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    anchor = datetime.combine(first, time(), zone).astimezone(UTC)
    until = datetime.combine(months_after(first, months), time(), zone)
    paid = datetime.combine(months_after(anchor.date(), months), anchor.timetz())
    row = {
        "billing_cycle_anchor": int(anchor.timestamp()),
        "items": {
            "data": [
                {
                    "current_period_start": int(anchor.timestamp()),
                    "current_period_end": int(paid.timestamp()),
                    "price": {"recurring": {"interval": "month", "interval_count": 1}},
                }
            ]
        },
    }
    lines = (seat(),)
    contract = msgspec.structs.replace(samples.contract("con_1", "", "", lines, first), term_months=months)
    change = ContractChange("amd_1", contract, lines, until, at_period_end=True, renewal=Renew(date(2030, 1, 1)))

    assert term_end(change, row, zone) == paid


@pytest.mark.parametrize("how", [{}, {"settlement": "next_invoice"}, {"at_period_end": True}])
def test_a_change_that_was_interrupted_anywhere_goes_on_where_it_was(
    account: StripeAccount, tmp_path: Path, how: dict[str, Any]
) -> None:
    """Change two of three subscriptions, end the third, and begin a fourth one, while each write in turn is the last
    that comes through."""

    async def act(first: Sale) -> None:
        made, undisturbed = first.made, list[Any]()
        for place in range(MAX_WRITES):
            sale = Sale(account, made, str(place))
            await sale.start(seat(), seat(1, 120_000, "lin_2", "year"), sold_by(3, seat(2, 9_000, "lin_3", "year")))
            account.wait(DAY)
            made.offset += timedelta(days=1)
            lines = (seat(12), seat(2, 120_000, "lin_2", "year"), sold_by(6, seat(1, 50_000, "lin_4", "year")))
            change = sale.change(*lines, key=f"amd_{place}", **how)
            came_to_it = not place or await interrupted(sale, change, place)
            after = await made.settled(lambda change=change: made.connector.change(change, "correlation-1"))
            found = (sale.items(), len(sale.totals()), len(after.named("invoice")), sale.statuses())
            undisturbed = undisturbed or [found]
            assert found == undisturbed[0], f"write {place}"
            if not came_to_it:
                return
        raise AssertionError("it writes more than that")

    run(account, tmp_path, act)


def test_a_renewal_that_was_interrupted_anywhere_goes_on_where_it_was(account: StripeAccount, tmp_path: Path) -> None:
    async def act(first: Sale) -> None:
        made, undisturbed = first.made, list[Any]()
        for place in range(MAX_WRITES):
            sale = Sale(account, made, str(place))
            await sale.start(
                seat(), sold_by(6, seat(1, 120_000, "lin_2", "year")), sold_by(3, seat(1, 9_000, "lin_3", "year"))
            )
            sale.wait(1)
            sale.wait(days_until(sale, months_after(sale.contract.starts_on, 6)) - 2)
            lines = seat(10, 1_050), sold_by(6, seat(2, 126_000, "lin_2", "year")), seat(1, 90_000, "lin_4", "year")
            change = renewal(sale, *lines, months=6, key=f"amd_{place}")
            of_years = Renew(months_after(sale.contract.starts_on, 18))
            change = msgspec.structs.replace(change, renewal=of_years)
            came_to_it = not place or await interrupted(sale, change, place)
            await made.settled(lambda change=change: made.connector.change(change, "correlation-1"))
            sale.wait(4)
            found = (sale.items(), sorted(sale.totals()), sorted(sale.statuses()))
            undisturbed = undisturbed or [found]
            assert found == undisturbed[0], f"write {place}"
            if not came_to_it:
                return
        raise AssertionError("it writes more than that")

    run(account, tmp_path, act)


def sold_by(months: int, line: PricedLine) -> PricedLine:
    """Return a yearly line that is billed every so many months."""
    return msgspec.structs.replace(line, billing_months=months)


CURRENCIES = st.sampled_from([("JPY", 1), ("EUR", 1), ("KWD", 10)])
PRICES = st.lists(st.integers(1, 30_000), min_size=1, max_size=4)
QUANTITIES = st.lists(st.integers(1, 40), min_size=6, max_size=6)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    currency=CURRENCIES,
    before=PRICES,
    after=PRICES,
    quantities=QUANTITIES,
    parts=st.lists(st.floats(0, 13.9), min_size=2, max_size=2),
    settlement=st.sampled_from(["at_once", "next_invoice"]),
)
@example(("JPY", 1), [1], [1, 492], [1] * 6, [2.0, 4.0], "next_invoice")
def test_any_change_is_charged_as_it_was_previewed_and_each_part_is_its_share_of_the_seconds(
    tmp_path: Path,
    currency: tuple[str, int],
    before: list[int],
    after: list[int],
    quantities: list[int],
    parts: list[float],
    settlement: Settlement,
) -> None:
    name, step = currency
    folder = Path(mkdtemp(dir=tmp_path))

    def sold(prices: list[int], more: int) -> list[PricedLine]:
        return [
            samples.priced_line(f"lin_{each}", f"SKU-{each % 2}", Money(price * step, name), "month", quantities[each])
            for each, price in enumerate(prices, more)
        ]

    async def act(sale: Sale) -> None:
        await sale.start(*sold(before, 0))
        for number, prices in enumerate((after, before)):
            sale.wait(parts[number])
            change = sale.change(*sold(prices, number), key=f"amd_{number}", settlement=settlement)
            if change.lines == sale.contract.lines:
                continue
            preview = await sale.preview(change)
            issued = await sale.amend(change)
            assert unexplained(preview) == []
            if settlement == "at_once":
                assert [amounts(each.invoice) for each in preview.invoices] == [amounts(each) for each in issued]
        if settlement == "next_invoice":
            last = sale.change(*sold(after, 2), key="amd_9", settlement=settlement)
            (previewed,) = (await sale.preview(last)).invoices
            await sale.carry_out(last)
            sale.wait(31)
            (subscription,) = sale.subscriptions()
            assert amounts(previewed.invoice) == amounts(await sale.read(subscription["latest_invoice"]))

    run(StripeAccount(folder), folder, act)


# ---- what is refused


def test_a_moment_outside_of_the_period_that_runs_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(40)
        item = sale.subscriptions()[0]["items"]["data"][0]
        starts, ends = (datetime.fromtimestamp(item[f"current_period_{each}"], UTC) for each in ("start", "end"))
        second = timedelta(seconds=1)
        early = await sale.refused(sale.change(seat(20), effective_at=starts - second))
        late = await sale.refused(sale.change(seat(20), effective_at=ends + second))
        new = await sale.refused(sale.change(seat(), seat(1, 1, "lin_2"), effective_at=starts - timedelta(days=40)))

        assert [each.field for each in (early, late, new)] == ["effective_at"] * 3
        assert starts.isoformat() in early.reason
        assert ends.isoformat() in late.reason
        ahead = await sale.preview(sale.change(seat(20), effective_at=ends - second))
        assert len(ahead.invoices) == 1

    run(account, tmp_path, act)


def test_a_contract_that_is_not_there_has_not_begun_or_has_ended_is_refused(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        ours = sale.contract
        sale.contract = msgspec.structs.replace(ours, id="con_2")
        with pytest.raises(NotFound):
            await sale.preview(sale.change(seat(2)))
        sale.contract = ours
        await sale.amend(sale.change())
        assert (await sale.refused(sale.change(seat(2), key="amd_2"))).field == "contract.state"
        later = sale.made.clock().date() + timedelta(days=40)
        await sale.start(seat(), id="con_3", starts_on=later)
        refused = await sale.refused(sale.change(seat(2)))
        assert (refused.field, str(later) in refused.reason) == ("effective_at", True)

    run(account, tmp_path, act)


def test_a_contract_that_is_billed_otherwise_than_it_says_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        contract = await sale.start(seat(), seat(1, 500, "lin_2"))
        sale.contract = msgspec.structs.replace(contract, lines=(*contract.lines, seat(1, 1, "lin_3")))
        assert (await sale.refused(sale.change(seat(2)))).field == "contract.lines"
        sale.contract = msgspec.structs.replace(contract, lines=(seat(),))
        assert (await sale.refused(sale.change(seat(2)))).field == "contract.lines"
        sale.contract = contract
        item = sale.subscriptions()[0]["items"]["data"][0]["id"]
        account.api.v1.subscription_items.update(item, {"quantity": 11})
        assert (await sale.refused(sale.change(seat(2), seat(1, 500, "lin_2")))).field == "contract.lines"
        account.api.v1.subscription_items.update(item, {"quantity": 10})
        yearly = seat(1, 500, "lin_2", "year")
        assert (await sale.refused(sale.change(seat(), yearly))).field == "lines"
        assert await sale.amend(sale.change(seat(12), seat(1, 500, "lin_2")))

    run(account, tmp_path, act)


def test_phases_that_people_have_planned_are_not_overridden(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        contract = await sale.start(seat())
        schedule = account.account.get("subscription_schedule", contract.references["schedule"])
        (now,) = schedule["phases"]
        item = {name: now["items"][0][name] for name in ("price", "quantity", "metadata")}
        rates = [each["id"] for each in now["default_tax_rates"]]
        planned: Any = {"metadata": now["metadata"], "default_tax_rates": rates}
        first: Any = planned | {"items": [item], "start_date": now["start_date"]}
        first |= {"end_date": now["end_date"]}
        second: Any = planned | {"items": [item | {"quantity": 30}]}
        account.api.v1.subscription_schedules.update(schedule["id"], {"phases": [first, second]})

        refused = await sale.refused(sale.change(seat(2)))
        assert (refused.field, schedule["id"] in refused.reason) == ("contract.references", True)

    run(account, tmp_path, act)


def test_a_line_that_begins_with_the_next_period_is_billed_from_then_on_and_changed_no_sooner(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(10)
        change = sale.change(seat(), seat(1, 9_000, "lin_2", "year"), at_period_end=True)
        assert await sale.amend(change) == []
        state = sale.state()
        assert await sale.carry_out(change) == sale.contract
        assert sale.state() == state
        sooner = sale.change(seat(), seat(2, 9_000, "lin_2", "year"), key="amd_2")
        assert (await sale.refused(sooner)).field == "effective_at"
        sale.wait(25)

        assert sale.items() == [[(1_000, 10)], [(9_000, 1)]]
        assert sorted(sale.totals()) == [9_000, 10_000, 10_000]
        assert len(await sale.amend(sale.change(*sooner.lines, key="amd_3"))) == 1

    run(account, tmp_path, act)


def test_what_a_contract_owes_is_collected_on_after_an_end_has_stopped_it(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        owing = msgspec.structs.replace(sale.contract.invoicing, days_until_due=30)
        await sale.start(seat(), seat(1, 120_000, "lin_2", "year"), invoicing=owing)
        await sale.amend(sale.change(settlement="none"))
        assert [each["auto_advance"] for each in sale.own("invoice")] == [False, False]
        first, second = sale.own("invoice")
        account.account.save(second | {"metadata": {"tiergate_collection": "stopped"}})

        other = msgspec.structs.replace(sale.contract, id="con_other")
        await sale.made.call(lambda: sale.made.connector.collect(other))
        assert [each["auto_advance"] for each in sale.own("invoice")] == [False, False]
        for _ in range(2):
            await sale.made.call(lambda: sale.made.connector.collect(sale.contract))
        collected = {each["id"]: each["auto_advance"] for each in sale.own("invoice")}
        assert collected == {first["id"]: True, second["id"]: False}

        again = account.account.get("invoice", first["id"])
        account.account.save(again | {"auto_advance": False})  # another end has stopped it since
        sale.wait(1 / 24)
        await sale.made.call(lambda: sale.made.connector.collect(sale.contract))
        assert account.account.get("invoice", first["id"])["auto_advance"]

    run(account, tmp_path, act)


@pytest.mark.parametrize(
    ("late", "line"),
    [(5, seat()), (12, seat(1, 120_000, "lin_1", "year")), (9, sold_by(3, seat(1, 4_000, "lin_1", "year")))],
    ids=["monthly", "yearly", "quarterly"],
)
def test_a_contract_is_renewed_though_billing_began_days_after_it(
    account: StripeAccount, tmp_path: Path, late: float, line: PricedLine
) -> None:
    async def act(sale: Sale) -> None:
        began = sale.made.clock().date()
        sale.wait(late)
        await sale.start(line)
        sale.contract = msgspec.structs.replace(sale.contract, starts_on=began)
        until = months_after(began, 12)
        while days_until(sale, until) > 3:
            sale.wait(min(25, days_until(sale, until) - 3))
        dearer = msgspec.structs.replace(line, unit_price=line.unit_price + line.unit_price)
        change = renewal(sale, dearer)
        before = sale.totals()
        odd = Renew(months_after(until, 12) + timedelta(days=9))
        assert (await sale.refused(msgspec.structs.replace(change, renewal=odd))).field == "actions[0].ends_on"

        said = await sale.preview(change)
        await sale.amend(msgspec.structs.replace(change, effective_at=said.effective_at))

        assert timedelta(days=late - 1) <= said.effective_at.date() - until <= timedelta(days=late + 1)
        assert sale.totals() == before
        while sale.made.clock() < said.effective_at + timedelta(days=1):
            sale.wait(4)
        assert sale.totals()[len(before) :] == [2 * before[0]]

    run(account, tmp_path, act)


@pytest.mark.parametrize(
    ("late", "line"),
    [
        (0.5, seat()),
        (5, seat()),
        (10, seat(1, 120_000, "lin_1", "year")),
        (27, sold_by(3, seat(1, 4_000, "lin_1", "year"))),
    ],
    ids=["hours", "days", "yearly", "nearly-a-month"],
)
def test_a_contract_ends_with_its_term_though_billing_began_days_after_it(
    account: StripeAccount, tmp_path: Path, late: float, line: PricedLine
) -> None:
    async def act(sale: Sale) -> None:
        began = sale.made.clock().date()
        sale.wait(late)
        await sale.start(line)
        sale.contract = msgspec.structs.replace(sale.contract, starts_on=began)
        until = months_after(began, sale.contract.term_months)
        while (left := (until - sale.made.clock().date()).days) > 5:
            sale.wait(min(25, left - 5))
        issued = len(sale.totals())
        paid = max(each["items"]["data"][0]["current_period_end"] for each in sale.subscriptions())

        said = await sale.preview(sale.change(line, term=ChangeTerm(until)))
        await sale.amend(sale.change(line, term=ChangeTerm(until)))

        assert said.ends_at
        assert said.ends_at.timestamp() >= paid
        while sale.made.clock() < said.ends_at + timedelta(days=1):
            sale.wait(9)
        assert len(sale.totals()) - issued == (said.ends_at.timestamp() > paid)
        assert [each["status"] for each in sale.subscriptions()] == ["canceled"]

    run(account, tmp_path, act)
