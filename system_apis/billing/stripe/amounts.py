"""Money in Stripe's minor units (docs.stripe.com/currencies), which are not those of ISO 4217 everywhere."""

from __future__ import annotations

from decimal import Decimal

from canonical.faults import Rejected
from canonical.money import Money, digits_of, exponent

DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}
"""How many digits Stripe writes after the point where ISO 4217 has another number of them.

ISK and UGX are written with two, which are always 00 (special cases); the ariary is a zero-decimal currency.
"""
STEP = {"ISK": 100, "UGX": 100} | dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 10)
"""What an amount has to be a multiple of, in Stripe's minor units: the last digit of three has to be 0."""

PRICE_DIGITS = 12


def to_stripe(amount: Money, field: str) -> int:
    """Return the amount as Stripe writes it. Raises `Rejected`, with `field`, for one that Stripe cannot bill."""
    shift = DIGITS.get(amount.currency, exponent(amount.currency)) - exponent(amount.currency)
    scaled, rest = (amount.amount * 10**shift, 0) if shift >= 0 else divmod(amount.amount, 10**-shift)
    step = STEP.get(amount.currency, 1)
    if rest or scaled % step:
        raise Rejected(
            "billing", f"{amount} cannot be billed: Stripe bills in steps of {_smallest(amount)}", field=field
        )
    return scaled


def price_to_stripe(price: Decimal, currency: str) -> Decimal:
    """Return a price in major units as Stripe writes it, with digits after the point where it has more than its
    currency."""
    return price.scaleb(DIGITS.get(currency, exponent(currency)))


def price_from_stripe(price: Decimal, currency: str) -> Decimal:
    """Return a price in major units that Stripe has, with whatever digits."""
    return price.scaleb(-DIGITS.get(currency, exponent(currency))).normalize()


def takes_decimals(price: Decimal, currency: str) -> bool:
    """Return whether Stripe takes a price of more digits than its currency has (Decimal amounts for pricing).

    It takes twelve digits after the point. A currency of which the last digit has to be 0 is left out: what is charged
    would not be a multiple of its step for every quantity.
    """
    return currency not in STEP and digits_of(price_to_stripe(price, currency)) <= PRICE_DIGITS


def from_stripe(amount: int, currency: str) -> Money:
    """Return what Stripe wrote as money. Raises `Rejected` for a part of the smallest unit that ISO 4217 knows."""
    shift = exponent(currency) - DIGITS.get(currency, exponent(currency))
    scaled, rest = (amount * 10**shift, 0) if shift >= 0 else divmod(amount, 10**-shift)
    if rest:
        raise Rejected("billing", f"Stripe has an amount of {amount}, which is no whole {currency}", field="amount")
    return Money(scaled, currency)


def _smallest(amount: Money) -> Money:
    """Return the step in which Stripe bills a currency."""
    return from_stripe(STEP.get(amount.currency, 1), amount.currency)
