"""What Stripe can charge in which currency (docs.stripe.com/currencies).

Amounts are in Stripe's own minor units, which are not those of ISO 4217 everywhere.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from sandbox.stripe.errors import invalid

PRESENTMENT = (
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp "
    "cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr "
    "isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn "
    "myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle "
    "sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar "
    "zmw"
)
"""Supported presentment currencies, separated by blanks. Those without decimals are in whole units."""
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
"""Three-decimal currencies: the last digit of an amount must be 0."""
WRITTEN_WITH_TWO = frozenset(["isk", "ugx"])
"""Special cases: zero-decimal currencies that are written with two decimals, which are always 00."""
LARGEST = 99_999_999
"""The largest amount: it has at most eight digits (API reference: Create a PaymentIntent)."""
LARGEST_OF = {"idr": 999_999_999_999}
"""Currencies whose amounts may have more digits."""
SMALLEST = {
    "usd": 50,
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1_500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17_500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1_000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1_000,
}
"""Minimum and maximum charge amounts: the least that is charged. What a currency without one has is not known here."""
DECIMALS = 12
"""How many decimal places `unit_amount_decimal` takes (API reference: Create a price)."""


def known(currency: str) -> str:
    """Return the currency in lower case. Raises `StripeError` for one that Stripe does not present."""
    lower = currency.lower()
    if lower not in PRESENTMENT.split():
        supported = ", ".join(PRESENTMENT.split())
        raise invalid(f"Invalid currency: {lower}. Stripe currently supports these currencies: {supported}", "currency")
    return lower


def step(currency: str) -> int:
    """Return what every amount that is charged is a multiple of."""
    return 100 if currency in WRITTEN_WITH_TWO else 10 if currency in THREE_DECIMAL else 1


def rounded(amount: Decimal, currency: str) -> int:
    """Return the amount as an invoice shows it: rounded half up to what can be charged."""
    size = step(currency)
    return int((amount / size).quantize(Decimal(1), ROUND_HALF_UP)) * size


def too_small(amount: int, currency: str) -> bool:
    """Return whether an amount is below the minimum charge."""
    return 0 < amount < SMALLEST.get(currency, 0)


def unit_amount(value: str, param: str, currency: str) -> Decimal:
    """Return the amount of a price. Raises `StripeError` for what is none (API reference: Create a price)."""
    if not value.replace(".", "", 1).isdecimal() or (param == "unit_amount" and "." in value):
        kind = "integer" if param == "unit_amount" else "decimal"
        raise invalid(f"Invalid {kind}: {value}", param, "parameter_invalid_integer")
    amount = Decimal(value)
    if len(value.partition(".")[2]) > DECIMALS:
        raise invalid(f"Invalid decimal: {value}; must contain at maximum twelve decimal places.", param)
    _at_most(amount, param, currency)
    return amount


def chargeable(amount: int, currency: str) -> None:
    """Raise `StripeError` for an amount that no payment can have (Error codes: invalid_charge_amount)."""
    _at_most(Decimal(amount), "amount", currency)
    if amount % step(currency):
        reason = f"Amounts in {currency} must be a multiple of {step(currency)}."
        raise invalid(reason, "amount", "invalid_charge_amount")


def _at_most(amount: Decimal, param: str, currency: str) -> None:
    largest = LARGEST_OF.get(currency, LARGEST)
    if amount > largest:
        raise invalid(f"Amount must be no more than {largest} in the smallest unit.", param, "amount_too_large")
