"""What the Stripe connector charges of a period after its invoice: at the price of each unit, once, or not at all."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.corrections import CreditedLine, CreditOrder
from canonical.faults import TRANSIENT, Rejected
from canonical.money import Money
from canonical.usage import UsageCharge, UsageOrder
from tests.integration.connectors.test_stripe_usage import SKU, Metered
from tests.support.connector_kit.loopback import Seen, Trouble
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_sale import Sale, run, seat


class Invoiced:
    """A contract of which a period with some calls is invoiced."""

    def __init__(self, sale: Sale, metered: Metered) -> None:
        self.sale = sale
        self.metered = metered

    def order(self, more: str, of: str = "ucr_1") -> UsageOrder:
        return UsageOrder(of, self.metered.usage(), Decimal(more))

    async def price(self, more: str) -> UsageCharge:
        made = self.sale.made
        return await made.call(lambda: made.connector.price_usage(self.order(more)))

    async def charge(self, more: str, of: str = "ucr_1") -> UsageCharge:
        made = self.sale.made
        return await made.call(lambda: made.connector.charge_usage(self.order(more, of)))

    async def refused(self, more: str = "5") -> str | None:
        """Return the field for which neither a price is said nor anything is charged."""
        before = self.items()
        with pytest.raises(Rejected) as unpriced:
            await self.price(more)
        with pytest.raises(Rejected) as uncharged:
            await self.charge(more)
        assert self.items() == before
        assert unpriced.value.field == uncharged.value.field
        return unpriced.value.field

    def items(self) -> list[int]:
        """Return what each invoice item comes to."""
        return [each["amount"] for each in self.sale.account.account.all("invoiceitem")]

    def change(self, **values: Any) -> None:
        self.metered.api.subscriptions.update(self.sale.contract.references["subscription"], values)  # pyright: ignore[reportArgumentType]


async def invoiced(sale: Sale, price: dict[str, Any] | None = None) -> Invoiced:
    await sale.start(seat())
    metered = Metered(sale)
    if price is not None:
        subscription = sale.contract.references["subscription"]
        items = metered.api.subscription_items.list({"subscription": subscription}).data
        (item,) = (each for each in items if each.price.product == SKU)
        recurring = {"interval": "month", "usage_type": "metered", "meter": metered.meter.id}
        made: Any = {"product": SKU, "currency": "eur", "recurring": recurring} | price
        changed: Any = {"items": [{"id": item.id, "price": metered.api.prices.create(made).id}]}
        metered.api.subscriptions.update(subscription, changed)
    metered.until_after_the_period()
    await metered.put(metered.usage())
    sale.wait(2 / 24)
    return Invoiced(sale, metered)


def test_more_of_a_period_is_priced_by_billing_and_charged_with_the_next_invoice_once(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        it = await invoiced(sale)

        priced = await it.price("10.5")
        first = await it.charge("10.5")
        sale.wait(2)
        again = await it.charge("10.5")
        sale.wait(32)
        late = await it.charge("10.5")

        assert (priced.net, priced.reference) == (Money(21, "EUR"), "")
        assert first == again == late == UsageCharge(net=priced.net, reference=first.reference)
        lines = [line for each in sale.own("invoice") for line in each["lines"]["data"]]
        own = [each for each in lines if each["metadata"].get("tiergate_usage_correction") == "ucr_1"]
        assert [(each["amount"], each["quantity_decimal"]) for each in own] == [(21, "10.5")]
        assert [each["pricing"]["price_details"]["product"] for each in own] == [SKU]
        assert own[0]["taxes"]
        assert own[0]["period"]["end"] == int(it.metered.ends_at.timestamp())

    run(account, tmp_path, act)


def test_what_is_less_names_the_line_that_is_to_be_credited(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        it = await invoiced(sale)

        said = await it.price("-3")

        lines = {each["id"]: each for each in sale.account.account.get("invoice", said.invoice_id)["lines"]["data"]}
        assert (lines[said.line]["amount"], said.net) == (25, None)

    run(account, tmp_path, act)


def test_what_is_less_of_a_line_without_whole_pieces_is_credited_by_what_as_much_would_cost(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(sale: Sale) -> None:
        it = await invoiced(sale)  # 12.5 at two cents
        billing, said = sale.made.connector, await it.price("-2.5")
        as_much = (await it.price("2.5")).net
        left = await sale.made.call(lambda: billing.correctable(said.invoice_id))
        (line,) = (each for each in left.lines if each.line.id == said.line)
        zero, credited = Money(0, "EUR"), (CreditedLine(said.line, amount=as_much),)
        order = CreditOrder("crc_1", said.invoice_id, "DE01", credited, zero, zero, zero)
        note = await sale.made.call(lambda: billing.preview_credit_note(order))

        assert (line.quantity, line.net, as_much) == (None, Money(25, "EUR"), Money(5, "EUR"))
        assert note.total - note.tax == as_much

    run(account, tmp_path, act)


def test_a_charge_whose_answer_is_lost_is_there_once(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        it = await invoiced(sale)

        def is_item(request: Seen) -> bool:
            return request.path.endswith("/invoiceitems") and sale.account.is_write(request)

        sale.made.loopback.trouble(Trouble("lost_answer", is_item))
        with contextlib.suppress(*TRANSIENT):
            await sale.made.call(lambda: sale.made.connector.charge_usage(it.order("5")), 2.0)
        sale.made.loopback.calm()
        lost = it.items()
        await it.charge("5")
        other = await it.charge("5", of="ucr_2")

        assert (lost, it.items()) == ([10], [10, 10])
        assert other.reference

    run(account, tmp_path, act)


def test_an_invoice_that_is_not_issued_yet_is_waited_for(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        metered.until_after_the_period()
        await metered.put(metered.usage())

        assert await Invoiced(sale, metered).price("5") == UsageCharge("")

    run(account, tmp_path, act)


@pytest.mark.parametrize(
    "price",
    [
        {"unit_amount": 5, "transform_quantity": {"divide_by": 10, "round": "up"}},
        {
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [{"up_to": 10, "unit_amount": 3}, {"up_to": "inf", "unit_amount": 1}],
        },
    ],
)
def test_packages_and_tiers_are_left_to_people(account: StripeAccount, tmp_path: Path, price: dict[str, Any]) -> None:
    async def act(sale: Sale) -> None:
        assert await (await invoiced(sale, price)).refused() == "price"

    run(account, tmp_path, act)


def test_nothing_is_charged_that_no_invoice_would_collect(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        it = await invoiced(sale)
        it.change(pause_collection={"behavior": "void"})
        paused = await it.refused()
        it.change(pause_collection="")
        await it.charge("5", of="ucr_0")
        it.metered.api.subscriptions.cancel(sale.contract.references["subscription"])

        assert (paused, await it.refused()) == ("pause_collection", "contract")
        assert (await it.charge("5", of="ucr_0")).net == Money(10, "EUR")

    run(account, tmp_path, act)


def test_usage_is_not_handed_over_while_nothing_is_collected(account: StripeAccount, tmp_path: Path) -> None:
    async def act(sale: Sale) -> None:
        await sale.start(seat())
        metered = Metered(sale)
        Invoiced(sale, metered).change(pause_collection={"behavior": "keep_as_draft"})
        metered.until_after_the_period()

        refusal = await metered.refused(metered.usage())
        await metered.put(metered.usage("0"))

        assert refusal.field == "pause_collection"
        assert "resume it in billing, or charge it by hand" in refusal.reason

    run(account, tmp_path, act)
