"""What amounts Stripe takes in which currency, as its own Python client sees it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe


def price(api: stripe.StripeClient, currency: str, **amount: Any) -> stripe.Price:
    product = api.v1.products.create({"name": "Seat"}).id
    params: Any = {"product": product, "currency": currency, "recurring": {"interval": "month"}} | amount
    return api.v1.prices.create(params)


def invoice(api: stripe.StripeClient, currency: str, amount: int, percent: float = 0) -> stripe.Invoice:
    """Return the first invoice of a customer that pays by card."""
    buyer = api.v1.customers.create(
        {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    )
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": percent})
    item = {"price": price(api, currency, unit_amount=amount).id}
    params: Any = {"customer": buyer.id, "items": [item], "default_tax_rates": [rate.id], "expand": ["latest_invoice"]}
    made = api.v1.subscriptions.create(params).latest_invoice
    assert isinstance(made, stripe.Invoice)
    return made


@pytest.mark.parametrize("currency", ["xau", "iqd", "euro", "mro"])
def test_a_currency_that_is_not_presented_is_refused(api: stripe.StripeClient, currency: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=f"Invalid currency: {currency}"):
        price(api, currency, unit_amount=100)


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ({"unit_amount": 100_000_000}, "amount_too_large"),
        ({"unit_amount_decimal": "100000000"}, "amount_too_large"),
        ({"unit_amount": -1}, "parameter_invalid_integer"),
        ({"unit_amount": "1.5"}, "parameter_invalid_integer"),
        ({"unit_amount_decimal": "1e3"}, "parameter_invalid_integer"),
        ({"unit_amount_decimal": "0.1234567890123"}, "parameter_invalid_empty"),
        ({"unit_amount": 1, "unit_amount_decimal": "1"}, "parameter_invalid_empty"),
        ({}, "parameter_missing"),
    ],
)
def test_an_amount_of_more_than_eight_digits_or_in_another_form_is_refused(
    api: stripe.StripeClient, amount: dict[str, Any], code: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        price(api, "eur", **amount)

    assert refused.value.code == code


def test_a_price_has_up_to_twelve_decimal_places(api: stripe.StripeClient) -> None:
    made = price(api, "eur", unit_amount_decimal="0.123456789012")

    assert made.unit_amount is None
    assert str(made.unit_amount_decimal) == "0.123456789012"
    assert price(api, "eur", unit_amount=99_999_999).unit_amount == 99_999_999


@pytest.mark.parametrize(
    ("currency", "amount"), [("isk", 150), ("ugx", 101), ("kwd", 1_234), ("bhd", 5_001), ("eur", 60_000_000)]
)
def test_what_no_payment_can_have_is_not_invoiced(api: stripe.StripeClient, currency: str, amount: int) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        invoice(api, currency, amount, percent=100)

    assert refused.value.code == ("amount_too_large" if currency == "eur" else "invalid_charge_amount")


@pytest.mark.parametrize(
    ("currency", "amount", "tax"),
    [("isk", 1_234_500, 234_600), ("kwd", 12_340, 2_340), ("jpy", 12_345, 2_346), ("mga", 12_345, 2_346)],
)
def test_tax_is_rounded_to_what_can_be_charged(api: stripe.StripeClient, currency: str, amount: int, tax: int) -> None:
    made = invoice(api, currency, amount, percent=19)

    assert (made.status, made.total - made.subtotal, made.amount_paid) == ("paid", tax, amount + tax)
