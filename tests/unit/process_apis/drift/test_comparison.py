"""What differs in form alone is no drift, and what differs in anything else is one."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from canonical.parties import Address
from process_apis.drift.comparison import Value, compared, in_words

WORDS = st.lists(st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=8), min_size=1, max_size=4)
BLANKS = st.sampled_from((" ", "  ", "\t", "\n", "\r\n", " \u00a0"))
CODES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), min_size=2, max_size=2)
IDS = st.text(st.sampled_from("0123456789abcdefghijABCDEFGHIJ"), min_size=15, max_size=15)
TAILS = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"), min_size=3, max_size=3)


def differs(field: str, owned: Value, held: Value) -> bool:
    one, other = (
        compared(field, "crm", *sides, "DE01").differs for sides in ((owned, "stripe", held), (held, "stripe", owned))
    )
    assert one == other, "who is asked first makes no difference"
    return one


@given(words=WORDS, between=BLANKS, around=BLANKS, composed=st.booleans())
def test_blanks_line_ends_and_composed_letters_are_form(
    words: list[str], between: str, around: str, *, composed: bool
) -> None:
    written = unicodedata.normalize("NFC" if composed else "NFD", f"{around}{between.join(words)}{around}")
    plain = " ".join(words)

    assert not differs("customer.name", plain, written)
    assert not differs("customer.address", Address(plain, "1", plain, "DE"), Address(written, " 1 ", written, "DE"))


@given(WORDS, CODES, CODES)
def test_codes_are_the_same_in_small_letters_and_others_are_not(words: list[str], country: str, other: str) -> None:
    street = " ".join(words)
    address = Address(street, "10115", "Berlin", country, "BE")

    assert not differs("customer.address", address, Address(street, "10115", "Berlin", f" {country.lower()}", "be "))
    assert differs("customer.address", address, Address(street, "10115", "Berlin", other, "BE")) == (country != other)


@given(IDS, TAILS, IDS)
def test_an_id_is_the_same_with_and_without_its_check_letters(plain: str, tail: str, other: str) -> None:
    assert not differs("contract.customer_id", plain, plain + tail)
    assert differs("contract.customer_id", plain, other + tail) == (plain != other)


@given(WORDS, WORDS)
def test_another_name_is_drift(one: list[str], other: list[str]) -> None:
    first, second = (unicodedata.normalize("NFC", " ".join(each)) for each in (one, other))
    assume(first != second)

    assert differs("customer.name", first, second)
    assert differs("customer.name", first, "")


@pytest.mark.parametrize(
    ("field", "owned", "held", "is_drift"),
    [
        ("customer.name", "ACME GmbH", "Acme GmbH", True),
        ("customer.name", None, "", False),
        ("customer.contact", "kim@example.com", "kim@EXAMPLE.com ", False),
        ("customer.contact", "kim@example.com", "Kim@example.com", True),
        ("customer.contact", "", "kim@example.com", True),
        ("customer.tax_number", "CHE-116.281.710 MWST", "che116281710mwst", False),
        ("customer.tax_number", "DE129273398", "DE136695976", True),
        ("customer.tax_number", None, "DE136695976", True),
        ("customer.address", Address("A 1", "1", "B", "DE"), Address("A 1", "1", "b", "DE"), True),
        ("customer.address", Address("A 1\nback", "1", "B", "DE"), Address("A 1 back", "1", "B", "DE"), False),
        ("customer.address", Address(), None, False),
        ("contract.starts_on", date(2026, 3, 1), date(2026, 3, 1), False),
        ("contract.starts_on", date(2026, 3, 1), None, True),
        ("contract.term_months", 12, 12, False),
        ("contract.term_months", 12, 0, True),
        ("contract.customer_id", "001gK0000000001", "001gk0000000001", True),
    ],
)
def test_what_is_drift(field: str, owned: Value, held: Value, is_drift: bool) -> None:  # noqa: FBT001
    assert differs(field, owned, held) == is_drift


def test_both_values_are_shown_in_words() -> None:
    found = compared("customer.address", "crm", Address("A 1\nback", "10115", "Berlin", "DE"), "stripe", None, "DE01")

    assert (found.owner_value, found.value) == ("A 1, back, 10115 Berlin, DE", "")
    assert [in_words(each) for each in (None, 12, date(2026, 3, 1))] == ["", "12", "2026-03-01"]
