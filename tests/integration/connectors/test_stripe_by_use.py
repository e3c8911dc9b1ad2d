"""How the Stripe connector bills lines that are charged by use: with a meter and a price of the contract's own, and
without a quantity."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.amendments import Handover, Renew, months_after
from canonical.deals import DealLine, PricedLine, priced_line, with_terms
from canonical.faults import Conflict, Rejected
from canonical.money import Money
from canonical.usage import UsageOfPeriod, UsageOrder
from process_apis.records.usage_periods import BEFORE_THE_LAST
from system_apis.billing.stripe.periods import moment_of
from tests.support.connector_kit import samples
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import Sale, interrupted, run, seat

SKU, METER = "CALLS", "api_calls"


def calls(price: str = "0.02", interval: str = "month", discount: str = "0") -> PricedLine:
    """Return a line of calls, at a price of one before its discount."""
    listed, off = Decimal(price), Decimal(discount)
    net = listed * (100 - off) / 100
    sold = DealLine("lin_calls", SKU, "Calls", Decimal(1), net, interval, True, listed if off else None, off)
    return priced_line(sold, "EUR", meter=METER)


def by_use(sale: Sale) -> list[tuple[str, str]]:
    """Return the price of one unit, in cents, and the event of each item that is charged by use."""
    return [(each["price"]["unit_amount_decimal"], event_of(sale, each)) for each in items_by_use(sale)]


def items_by_use(sale: Sale) -> Iterator[dict[str, Any]]:
    for subscription in sale.subscriptions():
        for each in subscription["items"]["data"] if subscription["status"] != "canceled" else ():
            if each["price"]["recurring"]["usage_type"] == "metered":
                assert "quantity" not in each
                yield each


def event_of(sale: Sale, item: dict[str, Any]) -> str:
    return sale.account.account.get("billing.meter", item["price"]["recurring"]["meter"])["event_name"]


def meters(sale: Sale) -> list[str]:
    return [each["event_name"] for each in sale.account.account.all("billing.meter")]


async def use(
    sale: Sale,
    quantity: str,
    key: str = "usage:1",
    *,
    after: timedelta = timedelta(minutes=15),
) -> UsageOfPeriod:
    """Let the period that runs pass, until some time after it, and hand over what was used in it."""
    item = next(items_by_use(sale))
    starts_at, ends_at = (moment_of(item[each]) for each in ("current_period_start", "current_period_end"))
    sale.wait((ends_at - sale.made.clock() + after).total_seconds() / 86_400)
    usage = UsageOfPeriod(key, sale.contract, SKU, starts_at, ends_at, Decimal(quantity))
    assert await sale.made.call(lambda: sale.made.connector.put_usage(usage)) == usage
    return usage


def until_the_period_is_billed(sale: Sale) -> None:
    """Let the period that runs pass, and two hours."""
    item = next(items_by_use(sale))
    left = moment_of(item["current_period_end"]) - sale.made.clock() + timedelta(hours=2)
    sale.wait(left.total_seconds() / 86_400)


def lines_of_calls(sale: Sale) -> list[int]:
    lines = [line for each in sale.own("invoice") for line in each["lines"]["data"]]
    return [each["amount"] for each in lines if "Calls" in (each["description"] or "") and each["amount"]]


def test_a_line_by_use_is_an_item_without_a_quantity_and_is_billed_by_its_meter(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls("0.0049"))
        await use(sale, "151")
        sale.wait(2 / 24)

        assert by_use(sale) == [("0.49", "con_1:api_calls")]
        assert sale.totals()[0] == 10_000
        assert lines_of_calls(sale) == [74]
        (invoice,) = [each for each in sale.own("invoice") if each["subtotal"] == 10_074]
        line = next(each for each in (await sale.read(invoice["id"])).lines if each.sku == SKU)
        assert (line.quantity, line.net.amount, line.agreed) == (151, 74, None)

    run(account, tmp_path, act)


def test_a_discount_is_read_back_from_an_invoice_of_usage(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(calls("0.02", discount="10"))
        await use(sale, "100")
        sale.wait(2 / 24)

        (invoice,) = sale.own("invoice")
        (line,) = (await sale.read(invoice["id"])).lines
        assert (line.net.amount, line.agreed and line.agreed.discount_percent) == (180, Decimal(10))
        assert line.agreed
        assert (line.agreed.quantity, line.agreed.unit_price) == (Decimal(100), Decimal("0.018"))

    run(account, tmp_path, act)


def test_a_contract_that_is_charged_by_use_alone_has_no_first_invoice(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        started = await sale.start(calls())

        assert (started.state, started.named("invoice"), sale.own("invoice")) == ("active", [], [])
        assert await sale.made.call(lambda: sale.made.connector.start(started)) == started

    run(account, tmp_path, act)


def test_a_contract_has_a_meter_of_its_own_which_is_made_once(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        other = Sale(account, sale.made, "2")
        await sale.start(calls())
        await other.start(calls())
        sale.wait(2)  # Stripe forgets idempotency keys after a day
        again = msgspec.structs.replace(sale.contract, lines=(calls("0.03"),), references=sale.contract.references)
        change = sale.change(*again.lines, at_period_end=True)
        await sale.preview(change)

        assert sorted(meters(sale)) == ["con_1:api_calls", "con_2:api_calls"]

    run(account, tmp_path, act)


def test_a_start_that_is_interrupted_at_any_write_makes_one_meter_and_one_item(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        place = 0
        while place < 20:
            place += 1
            change = sale.change(seat(), calls(), key="amd_add")
            if not await interrupted(sale, change, place):
                break
            await sale.carry_out(change)
            assert (len(by_use(sale)), len(meters(sale))) == (1, 1)

        assert by_use(sale) == [("2", "con_1:api_calls")]

    run(account, tmp_path, act)


def test_a_line_by_use_is_added_at_once_and_charges_nothing_then(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        sale.wait(3)
        change = sale.change(seat(), calls())

        said = await sale.preview(change)
        issued = await sale.amend(change)

        assert (said.invoices, issued, by_use(sale)) == ((), [], [("2", "con_1:api_calls")])
        await use(sale, "10")
        sale.wait(2 / 24)
        assert lines_of_calls(sale) == [20]

    run(account, tmp_path, act)


@pytest.mark.parametrize("price", ["0.05", None])
def test_a_line_by_use_changes_once_its_period_is_billed_and_not_before(
    account: StripeAccount, tmp_path: Path, price: str | None
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        after = (seat(), calls(price)) if price else (seat(),)
        asked = sale.change(*after, at_period_end=True)
        said = await sale.preview(asked)
        change = msgspec.structs.replace(asked, effective_at=said.effective_at)

        with pytest.raises(Rejected, match="runs, and is billed as it is"):
            await sale.carry_out(change)
        await use(sale, "10")
        with pytest.raises(Conflict, match="not billed yet"):
            await sale.carry_out(change)
        sale.wait(2 / 24)
        assert (await sale.preview(change)).effective_at == said.effective_at
        await sale.amend(change)

        assert said.invoices == ()
        assert lines_of_calls(sale) == [20]
        assert by_use(sale) == ([("5", "con_1:api_calls")] if price else [])
        if price:
            await use(sale, "10", "usage:2")
            sale.wait(2 / 24)
            assert lines_of_calls(sale) == [20, 50]

    run(account, tmp_path, act)


def test_a_line_by_use_that_gets_another_price_keeps_its_item_when_another_ends(
    account: StripeAccount, tmp_path: Path
) -> None:
    def mails(price: str) -> PricedLine:
        sold = DealLine("lin_mails", "MAILS", "Mails", Decimal(1), Decimal(price), "month", listed=True)
        return priced_line(sold, "EUR", meter="mails")

    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls(), mails("0.07"))
        sale.wait(3)
        (mail,) = (each["id"] for each in items_by_use(sale) if each["price"]["product"] == "MAILS")
        asked = sale.change(seat(), mails("0.08"), at_period_end=True)
        change = msgspec.structs.replace(asked, effective_at=(await sale.preview(asked)).effective_at)
        await use(sale, "10")
        sale.wait(2 / 24)
        await sale.amend(change)

        assert [each["id"] for each in items_by_use(sale)] == [mail]
        assert by_use(sale) == [("8", "con_1:mails")]

    run(account, tmp_path, act)


def test_what_comes_late_is_charged_and_credited_after_the_line_was_taken_away(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        asked = sale.change(seat(), at_period_end=True)
        change = msgspec.structs.replace(asked, effective_at=(await sale.preview(asked)).effective_at)
        usage = await use(sale, "10")
        sale.wait(2 / 24)
        await sale.amend(change)
        assert by_use(sale) == []
        billing = sale.made.connector

        less = await sale.made.call(lambda: billing.price_usage(UsageOrder("ucr_1", usage, Decimal(-3))))
        more = UsageOrder("ucr_2", usage, Decimal(5))
        priced = await sale.made.call(lambda: billing.price_usage(more))
        charged = await sale.made.call(lambda: billing.charge_usage(more))

        invoice = await sale.read(less.invoice_id)
        assert [each.net.amount for each in invoice.lines if each.id == less.line] == [20]
        assert (priced.invoice_id, priced.net, charged.net) == (less.invoice_id, Money(10, "EUR"), Money(10, "EUR"))

    run(account, tmp_path, act)


def test_another_moment_or_a_period_that_is_over_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        at_once = await sale.refused(sale.change(seat()))
        late = sale.change(seat(), at_period_end=True)
        until_the_period_is_billed(sale)

        over = await sale.refused(late)
        assert "at the end of one period" in at_once.reason
        assert (at_once.field, over.field) == ("effective_at", "effective_at")
        assert "give the change up" in over.reason

    run(account, tmp_path, act)


def test_what_else_changes_leaves_a_line_by_use_as_it_is(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        change = sale.change(seat(20), calls())
        (said,) = (await sale.preview(change)).invoices
        (issued,) = await sale.amend(change)

        assert said.invoice.total == issued.total
        assert by_use(sale) == [("2", "con_1:api_calls")]

    run(account, tmp_path, act)


def test_a_renewal_keeps_a_line_by_use_at_its_price(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(interval="year"), calls(interval="year"), term_months=12)
        sale.wait(363)
        until = months_after(sale.contract.starts_on, 12)
        dearer = with_terms(seat(interval="year"), msgspec.structs.replace(seat().terms, unit_price=Decimal(11)))
        renewal = Renew(months_after(until, 12), Decimal(10))
        change = sale.change(dearer, calls(interval="year"), renewal=renewal, at_period_end=True)

        said = await sale.preview(change)
        await sale.amend(msgspec.structs.replace(change, effective_at=said.effective_at))

        assert said.invoices[0].invoice.total.amount == said.invoices[0].invoice.lines[0].net.amount * 119 // 100
        assert by_use(sale) == [("2", "con_1:api_calls")]

    run(account, tmp_path, act)


def test_another_customer_is_charged_by_use_from_the_transfer_on(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        former, buyer = sale.contract, samples.customer("cus_9", payment_method="pm_card_visa")
        reference = await sale.made.call(lambda: sale.made.connector.put_customer(buyer))
        to = msgspec.structs.replace(former, customer_id=buyer.id, references={"customer": reference})
        asked = sale.change(seat(), calls(), at_period_end=True, handover=Handover(to))
        said = await sale.preview(asked)
        moved = await sale.carry_out(msgspec.structs.replace(asked, effective_at=said.effective_at))
        await use(sale, "3", after=-BEFORE_THE_LAST)
        sale.contract = moved
        sale.wait((said.effective_at - sale.made.clock() + timedelta(hours=1)).total_seconds() / 86_400)
        (begun,) = said.invoices
        assert [each.sku for each in begun.invoice.lines] == ["SKU-lin_1"]

        await use(sale, "7", "usage:2")
        sale.wait(2 / 24)

        assert lines_of_calls(sale) == [14]
        sale.contract = former
        assert lines_of_calls(sale) == [6]
        assert meters(sale) == ["con_1:api_calls"]

    run(account, tmp_path, act)


def test_what_is_used_up_to_the_end_of_a_contract_is_on_its_last_invoice(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        await sale.amend(sale.change(at_period_end=True))
        await use(sale, "10", after=-BEFORE_THE_LAST)
        sale.wait(2 / 24)

        assert (lines_of_calls(sale), by_use(sale)) == ([20], [])
        (last, *_) = [each for each in sale.own("invoice") if each["subtotal"] == 20]
        assert last["status"] in ("open", "paid")

    run(account, tmp_path, act)


def test_a_contract_ends_at_once_with_what_it_is_charged_for_by_use(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat(), calls())
        sale.wait(3)
        change = sale.change()
        said = await sale.preview(change)

        issued = await sale.amend(change)

        assert [each.invoice.total for each in said.invoices] == [each.total for each in issued]
        assert (sale.contract.state, by_use(sale)) == ("cancelled", [])

    run(account, tmp_path, act)


def test_a_price_that_no_event_can_be_billed_at_is_refused_before_anything_is_made(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        with pytest.raises(Rejected, match="more digits than Stripe bills"):
            await sale.start(seat(), calls("0.000000000000001"))

        assert (meters(sale), [*sale.account.account.all("price")]) == ([], [])

    run(account, tmp_path, act)
