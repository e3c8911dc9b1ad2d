"""What was used in a period is on its invoice once, and in the books, whatever is killed on the way."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.salesperson import SaleLine
from tests.support.amending import contract_of
from tests.support.by_use import (
    CENTS,
    HANDED_OVER,
    charged_by_use,
    end_of_period,
    invoices_of,
    metering,
    posted,
    until,
    use,
)
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.renewing import invoices


@pytest.fixture
def metered(tmp_path: Path, templates: Path) -> Generator[Environment]:
    environment = metering(tmp_path, templates)
    yield environment
    environment.stop()


def test_usage_is_on_the_invoice_of_its_period_once_and_in_the_books(metered: Environment) -> None:
    order = charged_by_use(metered, "Used by the hour", SaleLine("PLATFORM", 1))
    metered.settled(order)
    contract = contract_of(order).id
    (first,) = invoices(metered, order)
    ends_at = end_of_period(metered, order)
    assert first.subtotal == 600_000
    for hours in ("100", "50"):
        use(metered, order, hours)

    metered.fault("billing", kind="late", matching="meter_events", milliseconds=2000)
    until(metered, ends_at, after=timedelta(minutes=20))
    wait_until(lambda: metered.faults_left("billing") == 0, 60, "the event is at billing, and its answer is not here")
    metered.kill_and_start("process")
    metered.wait(timedelta(minutes=3))
    wait_until(lambda: metered.record(HANDED_OVER, contract) == "handed_over", 60, "the handover")
    metered.wait(timedelta(hours=2))

    (invoice,) = wait_until(lambda: invoices_of(metered, order, 150 * CENTS), 30, "the invoice with what was used")

    posted(metered, invoice)
