"""Money as an integer of minor units and an ISO 4217 code. No floats come near it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated

import msgspec
from iso4217 import Currency


class UnknownCurrency(ValueError):
    """The code is not an ISO 4217 currency with a defined minor unit."""

    member = "currency"
    """The field that a record has it in."""


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were combined."""


@lru_cache(maxsize=256)
def exponent(currency: str) -> int:
    """Return how many decimal digits a currency has (ISO 4217 table A.1): JPY 0, EUR 2, KWD 3.

    Raises `UnknownCurrency`, also for codes such as XAU that have no minor unit.
    """
    try:
        digits = Currency(currency).exponent
    except ValueError as error:
        raise UnknownCurrency(f"{currency!r} is not an ISO 4217 currency code") from error
    if digits is None:
        raise UnknownCurrency(f"{currency} has no minor unit")
    return digits


def digits_of(number: Decimal) -> int:
    """Return how many digits a number has after the point."""
    return max(0, -int(number.normalize().as_tuple().exponent))


HUNDREDTHS = 2


def smallest_charge(currency: str) -> Money:
    """Return what every amount that is charged is a multiple of: the minor unit, but hundredths where it is less (KWD),
    and whole ariary, of which nobody pays a fifth (docs.stripe.com/currencies: Three-decimal, Zero-decimal currencies).

    Raises `UnknownCurrency`.
    """
    digits = exponent(currency)
    return Money(10 ** (digits if currency == "MGA" else max(digits - HUNDREDTHS, 0)), currency)


def scaled_price(price: Decimal, factor: Decimal, currency: str) -> Decimal:
    """Return another price of one unit, in major units: `factor` times the present one, rounded half up to the digits
    that it has, or to those of what is charged in the currency where these are more.

    Raises `UnknownCurrency`.
    """
    digits = max(digits_of(smallest_charge(currency).decimal), digits_of(price))
    return (price * factor).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


CODES = sorted(each.code for each in Currency if each.exponent is not None)
CurrencyCode = Annotated[str, msgspec.Meta(extra_json_schema={"enum": CODES})]
"""An ISO 4217 code with a minor unit."""


class Money(msgspec.Struct, frozen=True, order=False):
    """An amount of money: `amount` minor units of `currency`. `Money(11900, "EUR")` is 119.00 EUR."""

    amount: int
    """The amount in minor units of the currency: 11900 is 119.00 EUR, and 119 is 119 JPY."""
    currency: CurrencyCode
    """The currency, an ISO 4217 code."""

    def __post_init__(self) -> None:
        exponent(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(0, currency)

    @classmethod
    def of(cls, value: Decimal | str | int, currency: str) -> Money:
        """Return `value`, in major units, as money. Digits beyond the minor unit are rounded half up."""
        scaled = Decimal(value).scaleb(exponent(currency))
        return cls(int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP)), currency)

    @property
    def decimal(self) -> Decimal:
        """Return the amount in major units, with exactly the currency's digits."""
        return Decimal(self.amount).scaleb(-exponent(self.currency))

    def __str__(self) -> str:
        return f"{self.decimal:,f} {self.currency}"

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other).amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def times(self, factor: Decimal | Fraction | int) -> Money:
        """Return the amount multiplied by `factor`, rounded half up (away from zero) to the minor unit."""
        if isinstance(factor, Fraction):
            product = self.amount * factor
            rounded = int(abs(product) + Fraction(1, 2))
            return Money(rounded if product > 0 else -rounded, self.currency)
        scaled = (Decimal(self.amount) * factor).quantize(Decimal(1), rounding=ROUND_HALF_UP)
        return Money(int(scaled), self.currency)

    def allocate(self, weights: Sequence[int]) -> tuple[Money, ...]:
        """Split the amount by `weights` so that the parts add up to it (largest remainder; ties go to the first).

        Raises `ValueError` unless `weights` are non-negative and not all zero.
        """
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ValueError("weights must be non-negative and not all zero")
        shares = [divmod(self.amount * weight, total) for weight in weights]
        parts = [quotient for quotient, _ in shares]
        by_remainder = sorted(range(len(weights)), key=lambda index: -shares[index][1])
        for index in by_remainder[: self.amount - sum(parts)]:
            parts[index] += 1
        return tuple(Money(part, self.currency) for part in parts)

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"cannot combine {self.currency} with {other.currency}")
        return other


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum of `amounts`, zero of `currency` when there are none.

    Raises `CurrencyMismatch` for an amount in another currency.
    """
    result = Money.zero(currency)
    for amount in amounts:
        result += amount
    return result
