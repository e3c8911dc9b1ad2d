"""How the Stripe stand-in takes usage, as Stripe's own Python client sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import stripe
from stripe import billing as metering

from tests.end_to_end.peers.test_stripe_payments import DAY
from tests.support.stripe_account import StripeAccount

HOUR = 3600


class Metered:
    """A meter, and a customer whose usage it counts."""

    def __init__(self, account: StripeAccount, formula: str = "sum", **values: Any) -> None:
        self.account = account
        self.api = account.api.v1.billing
        asked: Any = {"display_name": "Calls", "event_name": "call", "default_aggregation": {"formula": formula}}
        self.meter = self.api.meters.create(asked | values)
        self.customer = account.api.v1.customers.create({}).id

    def now(self) -> int:
        return self.account.account.clock.seconds()

    def use(self, value: str = "1", at: int | None = None, **values: Any) -> metering.MeterEvent:
        asked: Any = {"event_name": "call", "payload": {"stripe_customer_id": self.customer, "value": value}}
        return self.api.meter_events.create(asked | ({"timestamp": at} if at else {}) | values)

    def refused(self, **values: Any) -> str | None:
        with pytest.raises(stripe.InvalidRequestError) as error:
            self.use(**values)
        return error.value.code

    def sums(self, start: int, end: int, **values: Any) -> list[tuple[int, float]]:
        asked: Any = {"customer": self.customer, "start_time": start, "end_time": end} | values
        found = self.api.meters.event_summaries.list(self.meter.id, asked).auto_paging_iter()
        return [(each.start_time - start, each.aggregated_value) for each in found][::-1]

    def total(self) -> float:
        now = self.now() // 60 * 60
        return self.sums(now - 40 * DAY, now + HOUR)[0][1]


@pytest.fixture
def metered(account: StripeAccount) -> Metered:
    return Metered(account)


def events(account: StripeAccount, key: str) -> list[str]:
    found = account.api.v1.events.list({"limit": 100}).data[::-1]
    return [each.type for each in found if each.data.object["id"] == key]


def test_a_meter_is_made_named_switched_off_and_on_again(account: StripeAccount, metered: Metered) -> None:
    made, meters = metered.meter, metered.api.meters

    named = meters.update(made.id, {"display_name": "API calls"})
    off = meters.deactivate(made.id)
    inactive = [each.id for each in meters.list({"status": "inactive"}).data]
    on = meters.reactivate(made.id)

    assert (made.status, made.customer_mapping.event_payload_key, made.value_settings.event_payload_key) == (
        "active",
        "stripe_customer_id",
        "value",
    )
    assert (named.display_name, off.status, off.status_transitions.deactivated_at is None) == (
        "API calls",
        "inactive",
        False,
    )
    assert (inactive, on.status, on.status_transitions.deactivated_at) == ([made.id], "active", None)
    kinds = ("created", "updated", "deactivated", "reactivated")
    assert events(account, made.id) == [f"billing.meter.{each}" for each in kinds]


def test_an_event_name_belongs_to_one_active_meter(account: StripeAccount, metered: Metered) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="active meter with the event name"):
        Metered(account)
    metered.api.meters.deactivate(metered.meter.id)

    Metered(account)

    with pytest.raises(stripe.InvalidRequestError, match="active meter with the event name"):
        metered.api.meters.reactivate(metered.meter.id)


@pytest.mark.parametrize(("formula", "expected"), [("sum", 9.5), ("count", 3), ("last", 4)])
def test_usage_is_summed_up_as_the_meter_says(account: StripeAccount, formula: str, expected: float) -> None:
    metered = Metered(account, formula)
    now = metered.now()

    for value, at in (("3", now - 60), ("4", now - 20), ("2.5", now - 40)):
        metered.use(value, at)

    assert metered.total() == expected


def test_another_key_may_name_the_customer_and_the_value(account: StripeAccount) -> None:
    mapping = {"type": "by_id", "event_payload_key": "who"}
    metered = Metered(account, value_settings={"event_payload_key": "bytes"}, customer_mapping=mapping)

    metered.use(payload={"who": metered.customer, "bytes": "7"})

    assert metered.total() == 7


def test_the_time_of_an_event_is_from_35_days_back_to_5_minutes_ahead(metered: Metered) -> None:
    """Worked example U07: docs.stripe.com/api/v2/billing/meter-event/create."""
    now = metered.now()

    taken = [metered.use("1", at).timestamp - now for at in (now - 35 * DAY + 5, now + 295)]

    assert taken == [-35 * DAY + 5, 295]
    assert metered.refused(at=now - 35 * DAY - 5) == "timestamp_too_far_in_past"
    assert metered.refused(at=now + 310) == "timestamp_in_future"
    assert metered.total() == 2


def test_an_identifier_is_unique_for_a_rolling_day(account: StripeAccount, metered: Metered) -> None:
    """Worked example U07: docs.stripe.com/api/v2/billing/meter-event/create."""
    key = str(uuid4())

    assert metered.use("5", identifier=key).identifier == key
    again = metered.refused(value="5", identifier=key)
    account.wait(DAY + 5)
    metered.use("6", identifier=key)

    assert (again, metered.total()) == ("duplicate_meter_event", 11)
    assert metered.use().identifier != metered.use().identifier


def test_an_event_is_cancelled_within_a_day(account: StripeAccount, metered: Metered) -> None:
    first, second = metered.use("5").identifier, metered.use("7").identifier

    def cancelled(key: str, name: str = "call") -> metering.MeterEventAdjustment:
        asked: Any = {"event_name": name, "type": "cancel", "cancel": {"identifier": key}}
        return metered.api.meter_event_adjustments.create(asked)

    done = cancelled(first)
    account.wait(DAY + 5)
    for key, name, words in ((second, "call", "24 hours"), ("none", "call", "No such"), (first, "other", "No such")):
        with pytest.raises(stripe.InvalidRequestError, match=words):
            cancelled(key, name)

    assert (done.cancel and done.cancel.identifier, done.type, metered.total()) == (first, "cancel", 7)


def test_summaries_are_by_hour_by_day_or_in_one(metered: Metered) -> None:
    today = metered.now() // DAY * DAY
    start = today - 2 * DAY
    for value, at in (("1", start), ("2", start + HOUR - 1), ("4", start + HOUR), ("8", start + DAY), ("16", today)):
        metered.use(value, at)

    assert metered.sums(start, today) == [(0, 15)]
    assert metered.sums(start, today, value_grouping_window="day") == [(0, 7), (DAY, 8)]
    hours = metered.sums(start, today, value_grouping_window="hour")
    assert (len(hours), hours[:3], hours[24]) == (48, [(0, 3), (HOUR, 4), (2 * HOUR, 0)], (DAY, 8))
    for window, moment in (("hour", start + 60), ("day", start + HOUR), (None, start + 1), ("week", start)):
        with pytest.raises(stripe.InvalidRequestError):
            metered.sums(moment, today, **({"value_grouping_window": window} if window else {}))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"value": "1"}, "meter_event_no_customer_defined"),
        ({"stripe_customer_id": "cus_none", "value": "1"}, "meter_event_customer_not_found"),
        ({"stripe_customer_id": "OWN"}, "meter_event_invalid_value"),
        ({"stripe_customer_id": "OWN", "value": "many"}, "meter_event_invalid_value"),
        ({"stripe_customer_id": "OWN", "value": "1234567890123456"}, "meter_event_value_too_many_digits"),
    ],
)
def test_an_event_that_does_not_count_is_accepted_and_reported_later(
    account: StripeAccount, metered: Metered, payload: dict[str, str], code: str
) -> None:
    own = {key: metered.customer if each == "OWN" else each for key, each in payload.items()}

    identifier = metered.use(payload=own).identifier
    account.wait(1)
    account.wait(1)

    (found,) = account.api.v2.core.events.list({"object_id": metered.meter.id}).data
    event: Any = account.api.v2.core.events.retrieve(found.id)
    assert event.type == "v1.billing.meter.error_report_triggered"
    assert (event.related_object.id, event.data.reason.error_count) == (metered.meter.id, 1)
    (kind,) = event.data.reason.error_types
    assert (kind.code, kind.sample_errors[0].request.identifier) == (code, identifier)
    assert metered.total() == 0


def test_an_event_without_an_active_meter_is_reported_too(account: StripeAccount, metered: Metered) -> None:
    metered.use(event_name="unknown")
    metered.api.meters.deactivate(metered.meter.id)
    metered.use()
    account.wait(1)

    found: list[Any] = account.api.v2.core.events.list().data
    codes: dict[str, str] = {}
    for each in found:
        event: Any = account.api.v2.core.events.retrieve(each.id)
        codes[each.type] = event.data.reason.error_types[0].code
    assert codes == {
        "v1.billing.meter.error_report_triggered": "archived_meter",
        "v1.billing.meter.no_meter_found": "no_meter",
    }


@pytest.mark.parametrize(
    "values",
    [
        {"default_aggregation": {"formula": "max"}},
        {"customer_mapping": {"type": "by_name", "event_payload_key": "who"}},
        {"event_name": "x" * 101},
        {"event_time_window": "week"},
    ],
)
def test_a_meter_that_stripe_does_not_know_is_refused(account: StripeAccount, values: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        Metered(account, **values)


def test_usage_of_a_customer_on_a_test_clock_has_the_time_of_that_clock(account: StripeAccount) -> None:
    metered = Metered(account)
    at = int(datetime(2021, 9, 16, tzinfo=UTC).timestamp())
    clock = account.api.v1.test_helpers.test_clocks.create({"frozen_time": at}).id
    metered.customer = account.api.v1.customers.create({"test_clock": clock}).id

    assert metered.use().timestamp == at
    assert metered.refused(at=at + 400) == "timestamp_in_future"
