"""Products with a meter are sold through the CRM like all others: to cash, changed, and ended."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.amendments import AmendmentPreview
from canonical.orders import Order
from canonical.states import ORDER_STATES
from sandbox.salesperson import SaleLine, close_deal, open_change
from tests.support.amending import amend, amendment_in, amendment_of, contract_of, line_of, preview, timeline
from tests.support.by_use import (
    CENTS,
    billed,
    charged_by_use,
    closed,
    end_of_period,
    hour_prices,
    invoices_of,
    metering,
    posted,
    record_of,
    until,
    use,
)
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.renewing import invoices

STATES = ("received", "validating", "credit_review", "onboarding", "subscribing", "provisioning", "active")
SLOW = ("crm", "erp", "billing", "provisioning")


@pytest.fixture
def metered(tmp_path: Path, templates: Path) -> Generator[Environment]:
    environment = metering(tmp_path, templates)
    yield environment
    environment.stop()


def price(order: Order, wanted: str, **more: Any) -> dict[str, Any]:
    """Return a request for another price of an hour."""
    return {"actions": [{"action": "price", "line": line_of(order, "SEAT"), "unit_price": wanted}]} | more


def seen(environment: Environment, deal: str, state: str) -> bool:
    """Return whether the order of a deal has come to a state, or is behind it."""
    present = environment.record("SELECT state FROM orders WHERE deal_id = ?", deal)
    return present in ORDER_STATES[ORDER_STATES.index(state) :]


@pytest.mark.extended
def test_a_sale_by_use_alone_that_is_killed_after_each_state_has_one_meter_and_no_invoice(
    metered: Environment,
) -> None:
    for platform in SLOW:
        metered.fault(platform, kind="slow", milliseconds=120, times=0)
    deal = closed(metered, "Killed by the hour")

    for state in STATES:
        wait_until(lambda state=state: seen(metered, deal, state), 30, f"the state {state}")
        metered.kill("process")
        metered.start("process")
    metered.calm()

    order = metered.order_in(deal, "active")
    meters = [each.event_name for each in metered.stripe.v1.billing.meters.list({"limit": 100}).auto_paging_iter()]
    assert meters.count(f"{contract_of(order).id}:seat_hours") == 1
    assert (hour_prices(metered, order), invoices(metered, order)) == ([CENTS], [])
    assert [(each["sku"], each["quantity"]) for each in metered.jobs(order.id)] == [("SEAT", "1")]
    assert timeline(metered, order).versions[0].mrr.amount == 0


def test_an_end_at_once_leaves_what_was_used_to_people_by_name(metered: Environment) -> None:
    order = charged_by_use(metered, "Ended by the hour", SaleLine("PLATFORM", 1))
    metered.settled(order)
    metered.wait(timedelta(days=40))
    use(metered, order, "40")
    metered.wait(timedelta(minutes=5))
    body = {"actions": [{"action": "cancel"}]}
    said = preview(metered, order, body)

    asked = amend(metered, order, body, "ended-by-the-hour")
    waiting = amendment_in(metered, asked, "awaiting_approval", "applied")
    for each in metered.cases_of(waiting.id):
        metered.decide(each.id, "approve", "agreed", on_behalf_of="kim@finance.example")
    done = amendment_in(metered, asked, "applied")

    assert done.preview
    assert [each.total for each in said.invoices] == [each.total for each in done.preview.invoices]
    period = "SELECT id FROM usage_periods WHERE contract_id = ?"
    key = str(wait_until(lambda: metered.record(period, contract_of(order).id), 30, "the period"))
    assert done.effective_at
    until(metered, done.effective_at, after=timedelta(minutes=20))
    (case,) = wait_until(lambda: metered.cases_of(key), 60, "the case of finance")
    assert (case.kind, case.input["quantity"]) == ("usage_not_billed", "40")
    assert "charge 40 of SEAT" in case.reason


def test_another_price_counts_from_the_next_period_on_and_the_last_one_is_billed_as_it_was(
    metered: Environment,
) -> None:
    order = charged_by_use(metered, "Dearer by the hour", SaleLine("PLATFORM", 1))
    ends_at = end_of_period(metered, order)
    use(metered, order, "10")
    said: AmendmentPreview = preview(metered, order, price(order, "0.05", effective="period_end"))
    path = f"/sales/v1/contracts/{contract_of(order).id}/amendments/preview"
    url, headers = metered.sandbox.url("experience"), metered.channels.headers("sales-app")
    at_once = httpx.post(f"{url}{path}", json=price(order, "0.05"), headers=headers).json()

    asked = amend(metered, order, price(order, "0.05", effective="period_end"), "dearer-by-the-hour")
    amendment_in(metered, asked, "scheduled")
    billed(metered, order, ends_at)
    done = amendment_in(metered, asked, "applied")

    assert (said.invoices, said.effective_at, said.deltas[0].mrr.amount) == ((), ends_at, 0)
    assert [each["path"] for each in at_once["errors"]] == ["$.effective"]
    assert (hour_prices(metered, order), done.effective_at, done.invoices) == ([5], ends_at, ())
    (invoice,) = invoices_of(metered, order, 10 * CENTS)
    posted(metered, invoice)
    assert [each.since for each in timeline(metered, order).versions][-1] == ends_at
    use(metered, order, "20")
    billed(metered, order, end_of_period(metered, order))
    assert len(wait_until(lambda: invoices_of(metered, order, 20 * 5), 30, "the invoice at the new price")) == 1


def test_what_is_sold_no_more_in_the_crm_is_billed_for_its_last_period(metered: Environment) -> None:
    order = charged_by_use(metered, "No hours any more", SaleLine("PLATFORM", 1))
    ends_at = end_of_period(metered, order)
    use(metered, order, "30")
    today = metered.wait(timedelta()).date()
    deal = open_change(metered.crm, record_of(metered, order), (SaleLine("SEAT", -1, CENTS / 100),), today)
    close_deal(metered.crm, deal)
    made = "SELECT amendment_id FROM amending_deals WHERE deal_id = ? AND amendment_id <> ''"
    asked = amendment_of(metered, str(wait_until(lambda: metered.record(made, deal), 30, "the amendment")))

    amendment_in(metered, asked, "scheduled")
    assert hour_prices(metered, order) == [CENTS]
    billed(metered, order, ends_at)
    amendment_in(metered, asked, "applied")

    assert hour_prices(metered, order) == []
    (invoice,) = invoices_of(metered, order, 30 * CENTS)
    posted(metered, invoice)
    wait_until(lambda: metered.jobs(order.id)[-1]["quantity"] == "0", 30, "the target takes it back")
