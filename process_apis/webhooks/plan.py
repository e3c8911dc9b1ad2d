"""When a delivery is attempted again, and when a webhook has failed for so long that it is stopped. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Seconds from each failure to the next attempt: eight attempts in 28 hours, as others do it
(https://docs.svix.com/retries)."""
JITTER = 0.1
"""By what part a delay is longer or shorter at random: what failed together does not come back together (Standard
Webhooks specification, "Deliverability and reliability")."""
LONGEST_ASKED = 6 * 3600.0
"""Seconds for which an endpoint may ask to be left alone."""
STOPPED_AFTER = timedelta(days=5)
"""How long all attempts have failed of a webhook that is stopped."""
QUIET = timedelta(days=2)
"""After so long without an attempt the failures before are of the past: a webhook with few events is not stopped at
the first one that fails."""


def delay(failures: int, random: float, asked: float | None = None) -> float | None:
    """Return the seconds until the next attempt after `failures` in a row, None when there is none any more. `random`
    is from 0 up to 1, `asked` is for how many seconds the endpoint asks to be left alone."""
    if failures > len(DELAYS):
        return None
    own = DELAYS[failures - 1] * (1 - JITTER + 2 * JITTER * random)
    return max(own, min(asked or 0.0, LONGEST_ASKED))


def failing_since(since: datetime | None, last: datetime | None, now: datetime) -> datetime:
    """Return since when every attempt fails, given that one fails `now`: it did before `since`, and at `last`."""
    return since if since is not None and last is not None and now - last <= QUIET else now


def is_over(since: datetime, now: datetime) -> bool:
    """Return whether a webhook has failed for so long that it is stopped."""
    return now - since >= STOPPED_AFTER
