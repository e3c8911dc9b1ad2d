"""What the pages say: in German too, all of it; and how amounts and times are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

import experience_apis.console
from canonical.cases import Action, CaseKind, CaseState, Team
from canonical.deals import DealLine, priced_line
from canonical.money import Money
from canonical.orders import PostingEntry, PostingState
from canonical.states import (
    MEANING,
    AmendmentState,
    ContractState,
    CorrectionState,
    DisputeState,
    DunningState,
    OrderState,
)
from experience_apis.console.cases import MEANS
from experience_apis.console.language import language_of, translations
from experience_apis.console.pages import PLACES

HERE = Path(experience_apis.console.__file__).parent
SAID = re.compile(r'_\(\s*"((?:[^"\\]|\\.)*)"')
SHOWN = (
    OrderState,
    ContractState,
    AmendmentState,
    CorrectionState,
    DunningState,
    DisputeState,
    PostingState,
    PostingEntry,
    Action,
    CaseKind,
    CaseState,
    Team,
)


def test_every_text_of_the_pages_is_there_in_german() -> None:
    texts = {each for path in (HERE / "templates").glob("*.html") for each in SAID.findall(path.read_text())}
    texts |= {*MEANS.values(), *MEANING.values(), *(each.name for each in PLACES)}

    assert sorted(texts - translations("de").keys()) == []


def test_every_state_is_there_in_german() -> None:
    names = {each.replace("_", " ") for kind in SHOWN for each in _leaves(kind)}

    assert sorted(names - translations("de").keys()) == []


def _leaves(kind: object) -> list[str]:
    return [leaf for each in get_args(kind) for leaf in ([each] if isinstance(each, str) else _leaves(each))]


def test_a_translation_has_the_values_of_its_text() -> None:
    values = re.compile(r"\{\w*\}")

    wrong = [
        text
        for text, said in translations("de").items()
        if sorted(values.findall(text)) != sorted(values.findall(said))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [("", "de-AT,de;q=0.9", "de"), ("en", "de", "en"), ("", "fr", "en"), ("", "", "en"), ("xx", "*", "en")],
)
def test_the_language_is_the_chosen_one_or_what_the_browser_takes(chosen: str, accepted: str, code: str) -> None:
    assert language_of(chosen, accepted, "").code == code


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "x" * 100, "/UTC", "\x00"])
def test_a_zone_that_is_none_is_utc(zone: str) -> None:
    assert language_of("", "", zone).zone is UTC


def test_amounts_and_times_are_written_as_the_language_has_them() -> None:
    german, english = language_of("de", "", "Europe/Berlin"), language_of("en", "", "Europe/Berlin")
    at = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)

    assert german.money(Money(123456, "EUR")) == "1.234,56\N{NO-BREAK SPACE}€"
    assert english.money(Money(-500, "JPY")) == "-JP¥500"
    assert english.money(Money(1500, "KWD")) == "KWD1.500"
    assert german.moment(at) == "2 Juli 2026, 00:30"
    assert english.exact(at) == "2026-07-01 22:30:00 UTC"


def test_a_line_is_shown_with_what_was_agreed_of_it() -> None:
    def of(quantity: str, price: str, meter: str = "") -> tuple[str, str]:
        line = priced_line(
            DealLine("l", "S", "S", Decimal(quantity), Decimal(price), "month", listed=True), "EUR", meter=meter
        )
        return german.quantity_of(line), german.price_of(line).replace("\xa0", " ")

    german = language_of("de", "", "Europe/Berlin")

    assert of("10", "12") == ("10", "12,00 €")
    assert of("2.5", "12") == ("2,5", "12,00 €")
    assert of("1", "0.0049", "calls") == ("nach Verbrauch", "0,0049 €")
