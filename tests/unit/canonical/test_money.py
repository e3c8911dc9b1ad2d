"""Money never loses a minor unit, in any currency."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import CurrencyMismatch, Money, UnknownCurrency, exponent, total

CURRENCIES = st.sampled_from(["JPY", "EUR", "USD", "KWD", "CLF"])
AMOUNTS = st.integers(-(10**15), 10**15)
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any)


@given(AMOUNTS, CURRENCIES, WEIGHTS)
def test_the_parts_of_an_allocation_add_up_to_the_whole(amount: int, currency: str, weights: list[int]) -> None:
    parts = Money(amount, currency).allocate(weights)

    assert total(parts, currency) == Money(amount, currency)
    assert len(parts) == len(weights)


@given(AMOUNTS, CURRENCIES, WEIGHTS)
def test_no_part_is_a_minor_unit_or_more_from_its_exact_share(amount: int, currency: str, weights: list[int]) -> None:
    for part, weight in zip(Money(amount, currency).allocate(weights), weights, strict=True):
        assert abs(part.amount * sum(weights) - amount * weight) < sum(weights)


@given(AMOUNTS, CURRENCIES)
def test_major_units_and_back_is_the_same_money(amount: int, currency: str) -> None:
    money = Money(amount, currency)

    assert Money.of(money.decimal, currency) == money
    assert money.decimal == round(money.decimal, exponent(currency))


@given(AMOUNTS, AMOUNTS, CURRENCIES)
def test_addition_and_subtraction_undo_each_other(left: int, right: int, currency: str) -> None:
    assert Money(left, currency) + Money(right, currency) - Money(right, currency) == Money(left, currency)


@given(AMOUNTS, CURRENCIES)
def test_money_survives_the_wire(amount: int, currency: str) -> None:
    money = Money(amount, currency)

    assert msgspec.json.decode(msgspec.json.encode(money), type=Money) == money


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4)])
def test_a_currency_has_the_digits_that_iso_4217_gives_it(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XAU", "XXX"])
def test_what_is_no_currency_with_a_minor_unit_is_refused(currency: str) -> None:
    with pytest.raises(UnknownCurrency):
        Money(1, currency)


def test_two_currencies_do_not_mix() -> None:
    with pytest.raises(CurrencyMismatch):
        _ = Money(1, "EUR") + Money(1, "USD")


@pytest.mark.parametrize(
    ("amount", "factor", "result"), [(5, "0.5", 3), (-5, "0.5", -3), (100, "1.19", 119), (1, "0.4", 0)]
)
def test_products_are_rounded_half_up(amount: int, factor: str, result: int) -> None:
    assert Money(amount, "EUR").times(Decimal(factor)) == Money(result, "EUR")


@pytest.mark.parametrize("weights", [[0], [1, -1, 2], []])
def test_weights_that_cannot_be_split_by_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(1, "EUR").allocate(weights)


def test_money_reads_as_people_write_it() -> None:
    assert (str(Money(1_606_500, "EUR")), str(Money(5, "JPY")), str(Money(1, "KWD"))) == (
        "16,065.00 EUR",
        "5 JPY",
        "0.001 KWD",
    )
