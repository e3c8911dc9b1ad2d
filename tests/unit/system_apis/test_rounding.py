"""The amount of a line is the same in a contract, in billing and in the ERP, whatever is sold at whatever price."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from canonical.billing import InvoiceLine
from canonical.deals import DealLine, LineTerms, PricedLine, priced_line
from canonical.money import Money, exponent
from canonical.proration import Period, share
from sandbox.stripe import currencies
from sandbox.stripe.invoicing import rounded_amount
from system_apis.billing.stripe import amounts, mapping, parts
from system_apis.billing.stripe.parts import Item
from system_apis.erp.tryton.mapping import quantity_and_price

DAY = date(2026, 1, 1)
CURRENCIES = st.sampled_from(["JPY", "EUR", "KWD"])
QUANTITIES = st.decimals(min_value="0.001", max_value=1_000, places=3)
PRICES = st.decimals(min_value=0, max_value=90, places=6)
"""Amounts that billing takes: of at most eight digits in minor units."""


def sold(quantity: Decimal, price: Decimal, currency: str, discount: Decimal = Decimal(0)) -> PricedLine:
    net = price * (100 - discount) / 100
    listed = price if discount else None
    return priced_line(DealLine("1", "SEAT", "Seat", quantity, net, "year", True, listed, discount), currency)


def billed(*lines: PricedLine) -> int:
    """Return what the stand-in of billing charges for lines that are one item, in its minor units."""
    price = mapping.price(lines[0], "con_1")
    unit = str(price.get("unit_amount", price.get("unit_amount_decimal")))
    currencies.unit_amount(unit, "unit_amount_decimal", price["currency"])
    return rounded_amount(unit, Item(lines).quantity or 0)


def is_billable(line: PricedLine) -> bool:
    """Return whether the last digit of a currency of three is 0, as billing wants it."""
    return line.unit_price.amount % 10 == 0 if exponent(line.unit_price.currency) > 2 else True


@given(QUANTITIES, PRICES, CURRENCIES, st.decimals(min_value=0, max_value=99, places=2))
@example(Decimal("2.5"), Decimal("33.33"), "EUR", Decimal(0))
@example(Decimal(3), Decimal("33.333333"), "EUR", Decimal(0))
@example(Decimal(10_000), Decimal("0.0049"), "EUR", Decimal(0))
def test_billing_charges_what_the_contract_says(
    quantity: Decimal, price: Decimal, currency: str, discount: Decimal
) -> None:
    line = sold(quantity, price, currency, discount)

    assert line.net == Money.of(quantity * price * (100 - discount) / 100, currency)
    if is_billable(line):
        assert billed(line) == amounts.to_stripe(line.net, "net")


@given(st.decimals(min_value=0, max_value=10_000, places=3), PRICES, st.sampled_from(["JPY", "EUR"]))
@example(Decimal(151), Decimal("0.0049"), "EUR")
def test_what_was_used_costs_the_same_in_billing_and_in_the_books(used: Decimal, price: Decimal, currency: str) -> None:
    deal = DealLine("1", "CALLS", "Calls", Decimal(1), price, "month", listed=True)
    line = priced_line(deal, currency, meter="api_calls")
    made = mapping.price(line, "con_1", "mtr_1")
    unit = str(made.get("unit_amount", made.get("unit_amount_decimal")))

    charged = amounts.from_stripe(rounded_amount(unit, used), currency)

    assert charged == Money.of(used * price, currency)
    assert (made["recurring"]["meter"], made["lookup_key"].endswith(":con_1:api_calls")) == ("mtr_1", True)
    assert (Item((line,)).quantity, line.net.amount) == (None, 0)
    agreed = None if used == used.to_integral_value() else LineTerms(used, charged.decimal / used)
    shown = InvoiceLine("CALLS", "Calls", int(used), charged, Money.zero(currency), DAY, DAY, agreed=agreed)
    quantity, unit_price = quantity_and_price(shown, 2)
    assert round(quantity * unit_price, exponent(currency)) == charged.decimal


@given(st.lists(st.tuples(QUANTITIES, PRICES), min_size=1, max_size=4), CURRENCIES)
def test_lines_that_billing_merges_cost_what_they_cost_apart(
    lines: list[tuple[Decimal, Decimal]], currency: str
) -> None:
    for quantity, price in lines:
        line = sold(quantity, price, currency)
        same = sold(quantity, price, currency)

        assert parts.price_key(line, "con_1") == parts.price_key(same, "con_1")
        if is_billable(line):
            assert billed(line, same) == 2 * amounts.to_stripe(line.net, "net")


@given(st.integers(1, 500), st.integers(1, 500), PRICES)
def test_lines_of_one_price_that_are_billed_by_their_units_are_merged(first: int, second: int, price: Decimal) -> None:
    lines = [sold(Decimal(quantity), round(price, 2), "EUR") for quantity in (first, second)]

    assert len({parts.price_key(line, "con_1") for line in lines}) == 1
    assert Item(tuple(lines)).quantity == first + second


@given(QUANTITIES, PRICES, CURRENCIES)
@example(Decimal("2.5"), Decimal("33.33"), "EUR")
@example(Decimal("0.005"), Decimal(1), "EUR")
def test_the_erp_makes_the_same_amount_of_the_units_that_were_agreed(
    quantity: Decimal, price: Decimal, currency: str
) -> None:
    line = sold(quantity, price, currency)
    of = InvoiceLine("SEAT", "", line.quantity, line.net, Money.zero(currency), DAY, DAY, agreed=line.agreed)

    units, unit_price = quantity_and_price(of, digits=3)

    smallest = Decimal(1).scaleb(-exponent(currency))
    assert (units * unit_price).quantize(smallest, ROUND_HALF_EVEN) == line.net.decimal  # as Tryton rounds it
    if quantity < 100 and currency != "KWD":
        assert units == quantity


def test_a_unit_that_takes_no_such_quantity_is_booked_as_one_piece() -> None:
    line = sold(Decimal("2.5"), Decimal(100), "EUR")
    of = InvoiceLine("SEAT", "", 1, line.net, Money.zero("EUR"), DAY, DAY, agreed=line.agreed)

    assert quantity_and_price(of, digits=0) == (Decimal(1), Decimal("250.00"))
    assert quantity_and_price(of, digits=1) == (Decimal("2.5"), Decimal(100))


@given(
    st.lists(
        st.tuples(st.integers(1, 10_000), PRICES, st.integers(0, 2_678_400), st.booleans()), min_size=1, max_size=20
    ),
    CURRENCIES,
)
@example([(15, Decimal("0.4"), 1_298_903, True)], "EUR")
def test_what_the_erp_makes_of_prorations_is_what_was_charged(
    parts: list[tuple[int, Decimal, int, bool]], currency: str
) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    period = Period(start, start + timedelta(days=31))
    charged, booked = Money.zero(currency), Decimal(0)
    for pieces, price, seconds, is_credit in parts:
        line = sold(Decimal(pieces), price, currency)
        share_of = share("seconds", period, period.end - timedelta(seconds=seconds), period.end)
        net = share_of.of_price(-line.net if is_credit else line.net)
        of = InvoiceLine("SEAT", "", pieces, net, Money.zero(currency), DAY, DAY, agreed=line.agreed)

        units, unit_price = quantity_and_price(of, digits=0)

        assert unit_price >= 0
        charged += net
        smallest = Decimal(1).scaleb(-exponent(currency))
        booked += (Decimal(str(float(units))) * unit_price).quantize(smallest, ROUND_HALF_EVEN)
    assert booked == charged.decimal
