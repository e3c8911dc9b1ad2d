"""The console's words: English as the pages have them, and German from `texts/de.po`; numbers, money and times as each
language writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from babel.core import negotiate_locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_currency, format_decimal

from canonical.deals import PricedLine
from canonical.money import Money

Code = Literal["en", "de"]
CODES: tuple[Code, ...] = get_args(Code)
TEXTS = Path(__file__).parent / "texts"
LOCALES: Mapping[Code, str] = {"en": "en_GB", "de": "de_DE"}
LONGEST_ZONE = 60
ROUNDED = 100_000
"""A count from which on it is written with fewer digits."""


class Language(msgspec.Struct, frozen=True):
    """A language, and the zone in which its times are shown."""

    code: Code
    zone: tzinfo

    @property
    def locale(self) -> str:
        """Return the name of the locale by which numbers and dates are written."""
        return LOCALES[self.code]

    def text(self, text: str, **values: object) -> str:
        """Return a text of the pages in this language, with its `{values}`; as it is, where nobody has translated
        it."""
        said = translations(self.code).get(text, text)
        return said.format(**values) if values else said

    def money(self, amount: Money) -> str:
        """Return an amount with its currency."""
        value = amount.decimal
        return format_currency(value, amount.currency, locale=self.locale)

    def quantity_of(self, line: PricedLine) -> str:
        """Return how much there is of a line of a contract: as it was agreed, or that it is charged by use."""
        if line.meter:
            return self.text("by use")
        return self.number(line.agreed.quantity if line.agreed else line.quantity)

    def price_of(self, line: PricedLine) -> str:
        """Return what one unit of a line of a contract costs, with all the digits that were agreed."""
        if line.agreed is None:
            return self.money(line.unit_price)
        currency = line.unit_price.currency
        least = Money.of(line.agreed.unit_price, currency)
        if least.decimal == line.agreed.unit_price:
            return self.money(least)
        return format_currency(line.agreed.unit_price, currency, locale=self.locale, decimal_quantization=False)

    def number(self, value: Decimal | int | str) -> str:
        """Return a number with the marks of the language."""
        return format_decimal(Decimal(value), locale=self.locale)

    def count(self, value: int) -> str:
        """Return a count in a few characters: 12K for 12,345."""
        return format_compact_decimal(value, locale=self.locale) if value >= ROUNDED else self.number(value)

    def moment(self, at: datetime) -> str:
        """Return a moment in the zone of who reads."""
        return format_datetime(at.astimezone(self.zone), "d MMM y, HH:mm", locale=self.locale)

    def exact(self, at: datetime) -> str:
        """Return a moment to the second, in UTC."""
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def day(self, day: date) -> str:
        """Return a day."""
        return format_date(day, "d MMM y", locale=self.locale)

    def span(self, length: timedelta) -> str:
        """Return how long something took or takes, roughly."""
        return format_timedelta(length, locale=self.locale, threshold=1.5)

    def ago(self, at: datetime, now: datetime) -> str:
        """Return how long ago a moment was, or in how long it will be."""
        return format_timedelta(at - now, locale=self.locale, threshold=1.5, add_direction=True)


def language_of(chosen: str, accepted: str, zone: str) -> Language:
    """Return the language that somebody has chosen, or the first that the browser takes (RFC 9110, section 12.5.4),
    with the zone that the browser is in; UTC where that is none."""
    named = [each.partition(";")[0].strip().replace("-", "_") for each in accepted.split(",")]
    wanted = chosen if chosen in CODES else negotiate_locale(named, CODES)
    code: Code = "de" if wanted == "de" else "en"
    return Language(code, _zone(zone))


@cache
def translations(code: Code) -> Mapping[str, str]:
    """Return the texts of a language by the English ones."""
    if code == "en":
        return {}
    with (TEXTS / f"{code}.po").open("rb") as file:
        found = read_po(file, locale=code)
    return {str(each.id): str(each.string) for each in found if each.id and each.string}


def _zone(name: str) -> tzinfo:
    if not name or len(name) > LONGEST_ZONE or name.startswith((".", "/")) or ".." in name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
