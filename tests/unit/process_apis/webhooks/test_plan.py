"""When a delivery is attempted again, and when a webhook is stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from process_apis.webhooks.plan import (
    DELAYS,
    JITTER,
    LONGEST_ASKED,
    QUIET,
    STOPPED_AFTER,
    delay,
    failing_since,
    is_over,
)

RANDOM = st.floats(0, 1, exclude_max=True)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GAPS = st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=9)), max_size=20)


@given(st.integers(1, 12), RANDOM, st.none() | st.floats(0, 1e9))
def test_a_next_attempt_is_about_as_late_as_the_schedule_says_or_as_is_asked_for(
    failures: int, random: float, asked: float | None
) -> None:
    found = delay(failures, random, asked)

    if failures > len(DELAYS):
        assert found is None
        return
    assert found is not None
    own = DELAYS[failures - 1]
    assert found >= own * (1 - JITTER) - 1e-6
    assert found <= max(own * (1 + JITTER), LONGEST_ASKED)
    if asked is not None:
        assert found >= min(asked, LONGEST_ASKED)


def test_the_schedule_lasts_for_more_than_a_day() -> None:
    assert timedelta(hours=27) < timedelta(seconds=sum(DELAYS)) < timedelta(hours=29)
    assert timedelta(seconds=max(*DELAYS, LONGEST_ASKED) * (1 + JITTER)) < QUIET, "attempts of one event are no pause"


@given(GAPS)
def test_a_webhook_is_stopped_after_days_of_failures_without_a_pause_among_them(gaps: list[timedelta]) -> None:
    now, since, last = NOON, None, None
    unbroken = timedelta(0)
    for gap in gaps:
        now += gap
        unbroken = unbroken + gap if last is not None and gap <= QUIET else timedelta(0)
        since = failing_since(since, last, now)
        last = now
        assert is_over(since, now) == (unbroken >= STOPPED_AFTER)


@pytest.mark.parametrize("known", [None, NOON])
def test_the_first_failure_is_the_beginning(known: datetime | None) -> None:
    assert failing_since(known, None, NOON) == NOON
