"""Money in Stripe's minor units: both ways, in every currency, and refused where Stripe cannot bill it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.faults import Rejected
from canonical.money import CODES, Money, smallest_charge
from system_apis.billing.stripe import mapping
from system_apis.billing.stripe.amounts import from_stripe, to_stripe

ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
THREE_DECIMAL = "BHD JOD KWD OMR TND"
"""As docs.stripe.com/currencies lists them; all other currencies that Stripe takes have two."""
NOT_AT_STRIPE = {"IQD", "LYD", "UYI", "CLF", "UYW"}
CURRENCIES = sorted(set(CODES) - NOT_AT_STRIPE)


STEPS: dict[str, int] = {"MGA": 100, "BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10}
"""In minor units of ISO 4217: an ariary has no fifths at Stripe, and the last digit of three is 0."""
MINOR = st.integers(-(10**12), 10**12)


def digits_at_stripe(currency: str) -> int:
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


@pytest.mark.parametrize("currency", CURRENCIES)
def test_a_deal_may_be_for_what_stripe_can_bill_and_nothing_else(currency: str) -> None:
    assert smallest_charge(currency).amount == STEPS.get(currency, 1)


@given(MINOR, st.sampled_from(CURRENCIES))
def test_what_is_sent_to_stripe_is_the_same_sum_and_comes_back_as_it_was(minor: int, currency: str) -> None:
    amount = Money(minor * STEPS.get(currency, 1), currency)

    sent = to_stripe(amount, "line.unit_price")

    assert Decimal(sent).scaleb(-digits_at_stripe(currency)) == amount.decimal
    assert from_stripe(sent, currency) == amount


@given(MINOR, st.sampled_from(sorted(STEPS)), st.data())
def test_what_lies_between_the_steps_of_stripe_is_refused_by_its_field(
    steps: int, currency: str, data: st.DataObject
) -> None:
    between = data.draw(st.integers(1, STEPS[currency] - 1))
    amount = Money(steps * STEPS[currency] + between, currency)

    with pytest.raises(Rejected) as refused:
        to_stripe(amount, "line.unit_price")

    assert refused.value.field == "line.unit_price"


@pytest.mark.parametrize(
    ("amount", "sent"),
    [
        (Money(5_000, "ISK"), 500_000),
        (Money(5_000, "UGX"), 500_000),
        (Money(12_300, "MGA"), 123),
        (Money(1_230, "KWD"), 1_230),
        (Money(9_950, "EUR"), 9_950),
        (Money(500, "JPY"), 500),
    ],
)
def test_stripe_writes_some_currencies_with_other_digits_than_iso_4217(amount: Money, sent: int) -> None:
    assert to_stripe(amount, "line.unit_price") == sent


@pytest.mark.parametrize(("amount", "step"), [(Money(1_234, "KWD"), "0.010 KWD"), (Money(12_345, "MGA"), "1.00 MGA")])
def test_an_amount_between_two_steps_of_stripe_is_refused_with_the_step(amount: Money, step: str) -> None:
    with pytest.raises(Rejected, match=f"steps of {step}") as refused:
        to_stripe(amount, "line.unit_price")

    assert refused.value.field == "line.unit_price"


def test_a_fraction_of_a_krona_that_stripe_shows_is_refused() -> None:
    with pytest.raises(Rejected, match="no whole ISK"):
        from_stripe(150, "ISK")


def test_the_code_of_a_tax_may_have_a_colon() -> None:
    row = {"percentage": 19.0, "effective_percentage": None, "country": None, "state": None}

    codes = [
        mapping.rate({**row, "metadata": metadata}).code
        for metadata in ({"tiergate_key": "DE01:de:19:19"}, {"tiergate_key": "DE01:standard:19"}, {})
    ]

    assert codes == ["de:19", "standard", ""]


def test_a_schedule_that_people_made_says_of_no_other_recipient() -> None:
    assert mapping.recipient([{"status": "active", "phases": [{"metadata": None}]}]) == ""
