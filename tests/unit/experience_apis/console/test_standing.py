"""Where a record stands: the steps that it took, and what may follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canonical.lineage import LineageEntry
from experience_apis.console.records import happenings
from experience_apis.console.standing import standing


@pytest.mark.parametrize(
    ("kind", "state", "history", "reached", "to_come", "follows"),
    [
        ("contract", "pending", (), ["pending"], ["active"], ["active", "cancelled"]),
        ("contract", "past_due", (), ["pending", "active", "past_due"], [], ["active", "cancelled", "expired"]),
        ("contract", "cancelled", (), ["pending", "cancelled"], [], []),
        (
            "amendment",
            "on_hold",
            (),
            ["requested", "checking", "on_hold"],
            [],
            ["applying", "checking", "given_up", "provisioning"],
        ),
        (
            "order",
            "on_hold",
            ("received", "validating"),
            ["received", "validating", "on_hold"],
            [],
            [
                "cancelled",
                "compensating",
                "credit_review",
                "onboarding",
                "partially_active",
                "provisioning",
                "subscribing",
                "validating",
            ],
        ),
        (
            "order",
            "provisioning",
            ("received", "validating", "credit_review", "onboarding", "subscribing"),
            ["received", "validating", "credit_review", "onboarding", "subscribing", "provisioning"],
            ["active"],
            ["active", "compensating", "failed", "on_hold", "partially_active"],
        ),
    ],
)
def test_a_record_shows_what_it_passed_and_what_may_follow(
    kind: str, state: str, history: tuple[str, ...], reached: list[str], to_come: list[str], follows: list[str]
) -> None:
    found = standing(kind, state, history)

    assert found
    assert [each.state for each in found.steps if each.is_reached] == reached
    assert [each.state for each in found.steps if not each.is_reached] == to_come
    assert [each.state for each in found.steps if each.is_present] == [state]
    assert sorted(each.state for each in found.follows) == follows


@pytest.mark.parametrize(("kind", "state"), [("customer", ""), ("invoice", "posted"), ("contract", "")])
def test_a_record_without_a_table_of_states_has_no_steps(kind: str, state: str) -> None:
    assert standing(kind, state) is None


def test_a_timeline_says_how_long_something_took() -> None:
    at = datetime(2026, 7, 1, tzinfo=UTC)
    moments = (at, at + timedelta(seconds=5), at + timedelta(hours=2))

    found = happenings([LineageEntry(each, "tiergate", "x", ()) for each in moments])

    assert [each.after for each in found] == [timedelta(hours=1, minutes=59, seconds=55), None, None]
    assert happenings(()) == []
