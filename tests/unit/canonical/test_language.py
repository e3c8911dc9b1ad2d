"""Identifiers, events and credit of the shared language."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from time import time_ns
from uuid import RFC_4122, UUID

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from canonical.events import DEAL_CLOSED, INVOICE_FINALIZED, INVOICE_PAID, LINE_PROVISIONED, TYPE, Event
from canonical.ids import derived, identifiers, is_identifier
from canonical.money import Money
from canonical.parties import Credit

START = datetime(2026, 1, 31, tzinfo=UTC)


def test_identifiers_sort_by_the_time_they_were_made() -> None:
    new_id = identifiers()
    made = [new_id("ord") for _ in range(1000)]

    assert made == sorted(made)
    assert all(each.startswith("ord_") and len(each) == 36 for each in made)


def test_an_identifier_is_a_version_7_uuid() -> None:
    earliest = time_ns() // 1_000_000
    made = UUID(identifiers()("cus").removeprefix("cus_"))

    assert (made.version, made.variant) == (7, RFC_4122)
    assert earliest <= made.int >> 80 <= time_ns() // 1_000_000


def test_a_derived_identifier_is_that_of_its_record_alone_and_never_changes() -> None:
    made = derived("ord", "salesforce", "006A", "1")

    assert made == "ord_f68a027597445fcf9bcb7861b4ef160e"
    assert is_identifier(made, "ord")
    others = [derived("ord", "salesforce", "006A", "11"), derived("ord", "salesforce", "006A1", "1")]
    others += [derived("con", "salesforce", "006A", "1"), derived("ord", "salesforce006A", "1")]
    assert len({made, *others}) == 1 + len(others)


def test_identifiers_can_be_repeated_with_uuids_that_are_passed_in() -> None:
    numbered = (uuid_utils.UUID(int=number) for number in count(1))
    new_id = identifiers(lambda: next(numbered))

    assert [new_id("ord"), new_id("cas")] == [f"ord_{1:032x}", f"cas_{2:032x}"]


@pytest.mark.parametrize("kind", [DEAL_CLOSED, LINE_PROVISIONED, INVOICE_FINALIZED, INVOICE_PAID])
def test_our_event_names_keep_the_rule(kind: str) -> None:
    assert TYPE.fullmatch(kind)


@pytest.mark.parametrize(
    "kind", ["invoice.paid", "com.tiergate.billing.invoice.v1", "com.tiergate.Billing.invoice.paid.v1"]
)
def test_an_event_name_that_breaks_the_rule_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="breaks"):
        Event(id="1", source="s", type=kind, subject="x", time=START)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_credit_allows_exactly_up_to_the_limit(used: int, limit: int, more: int) -> None:
    credit = Credit(Money(used, "EUR"), Money(limit, "EUR"))

    assert credit.allows(Money(more, "EUR")) is (used + more <= limit)
    assert Credit(Money(used, "EUR"), None).allows(Money(more, "EUR"))
