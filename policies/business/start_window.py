"""How far from the day on which an order arrives the first day of its contract may lie."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

import msgspec

from policies.catalogue.model import Catalogue, Fact
from policies.catalogue.sections import section

Days = Annotated[int, msgspec.Meta(ge=0, le=3650)]


class StartWindow(Fact, frozen=True):
    """How many days before and after the arrival of an order its contract may start.

    One that starts before is billed from the day on which it is delivered.
    """

    past_days: Days = 7
    future_days: Days = 730


def allowed_starts(catalogue: Catalogue, received_on: date) -> tuple[date, date]:
    """Return the first and the last day on which a contract may start whose order arrived on a day."""
    window = START_WINDOW.of(catalogue)
    return received_on - timedelta(days=window.past_days), received_on + timedelta(days=window.future_days)


START_WINDOW = section("start_window", StartWindow, title="Days for starts")
