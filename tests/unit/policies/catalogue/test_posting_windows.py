"""When the books take postings: the next opening is always the first moment at which they do."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.business.posting_windows import PostingWindow

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
WINDOWS = st.builds(
    PostingWindow,
    st.just("wait"),
    st.sampled_from(ZONES),
    st.times().map(lambda at: at.replace(microsecond=0)),
    st.times().map(lambda at: at.replace(microsecond=0)),
).filter(lambda window: window.opens != window.closes)
MOMENTS = st.integers(0, 730 * 86_400).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(WINDOWS, MOMENTS)
def test_the_next_opening_lies_ahead_within_a_day_and_is_open(window: PostingWindow, now: datetime) -> None:
    opening = window.next_opening(now)

    if opening is not None:
        assert now < opening <= now + timedelta(hours=25)  # the day on which clocks go back has 25 hours
        assert window.next_opening(opening) is None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-28T21:00:00", "2026-03-29T04:00:00"),  # the night in which Berlin goes over to summer time
        ("2026-10-24T21:00:00", "2026-10-25T05:00:00"),  # and back
        ("2026-06-01T03:59:59", "2026-06-01T04:00:00"),
        ("2026-06-01T04:00:00", None),
        ("2026-06-01T19:59:59", None),
        ("2026-06-01T20:00:00", "2026-06-02T04:00:00"),
    ],
)
def test_hours_are_those_of_the_legal_entitys_own_clock(now: str, expected: str | None) -> None:
    window = PostingWindow("wait", "Europe/Berlin", time(6), time(22))

    opening = window.next_opening(datetime.fromisoformat(now).replace(tzinfo=UTC))

    assert opening == (datetime.fromisoformat(expected).replace(tzinfo=UTC) if expected else None)


def test_without_hours_it_is_always_open() -> None:
    assert PostingWindow("next").next_opening(datetime(2026, 1, 1, tzinfo=UTC)) is None
