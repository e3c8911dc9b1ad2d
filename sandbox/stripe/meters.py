"""Meters: what customers use, reported event by event (API reference: Billing Meter, Meter Event; Billing: Record usage
for billing with the API)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.periods import DAY, HOUR

METER, EVENT, SUMMARY = "billing.meter", "billing.meter_event", "billing.meter_event_summary"
USAGE, SEEN = "meter.usage", "meter.identifier"
"""The kinds under which is kept what was reported, and which identifiers have been."""
FORMULAS = ("count", "last", "sum")
BACK, AHEAD = 35 * DAY, 300
"""How far the timestamp of an event may be from now (API reference: Create a meter event, `timestamp`)."""
UNIQUE = CANCELLABLE = DAY
"""For how long an identifier is taken, and an event can be cancelled (Create a meter event, `identifier`; Create a
meter event adjustment, `cancel.identifier`)."""
LONGEST = 100
"""How many characters an event's name and its identifier have at most (Create a meter event)."""
DIGITS = 15
NUMBER = re.compile(r"-?\d+(\.\d+)?")
WINDOWS = {"hour": HOUR, "day": DAY}
REASONS = {
    "meter_event_no_customer_defined": "The payload has no customer under the key that the meter maps.",
    "meter_event_customer_not_found": "The customer of the event does not exist.",
    "meter_event_invalid_value": "The value of the event is no number.",
    "meter_event_value_too_many_digits": f"The value of the event has more than {DIGITS} digits.",
    "archived_meter": "The meter of the event is inactive.",
    "no_meter": "No meter has the event name.",
}
"""What is wrong with an event that was accepted (Record usage with the API: Error codes)."""


class Meters:
    """Define meters, take events, and sum them up."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def create(self, params: Params) -> Object:
        """Create a meter. No other active one may have its event name."""
        require(params, "display_name", "event_name", "default_aggregation")
        formula = params["default_aggregation"].get("formula", "")
        if formula not in FORMULAS:
            reason = f"Invalid default_aggregation[formula]: must be one of {', '.join(FORMULAS)}"
            raise invalid(reason, "default_aggregation[formula]", "")
        name = _short(params, "event_name")
        self._check_free(name)
        mapping: Params = params.get("customer_mapping") or {"event_payload_key": "stripe_customer_id"}
        require(mapping, "event_payload_key")
        if mapping.get("type", "by_id") != "by_id":
            raise invalid("Invalid customer_mapping[type]: must be one of by_id", "customer_mapping[type]", "")
        value: Params = params.get("value_settings") or {"event_payload_key": "value"}
        require(value, "event_payload_key")
        made = self.account.make(
            METER,
            customer_mapping={"event_payload_key": mapping["event_payload_key"], "type": "by_id"},
            default_aggregation={"formula": formula},
            display_name=params["display_name"],
            event_name=name,
            value_settings={"event_payload_key": value["event_payload_key"]},
        )
        return self.account.save(made | {"updated": made["created"]}, "billing.meter.created")

    def update(self, meter: Object, params: Params) -> Object:
        """Change the name, which is all that a meter lets change."""
        require(params, "display_name")
        return self._changed(meter, "updated", display_name=params["display_name"])

    def deactivate(self, meter: Object) -> Object:
        """Take no more events. What was reported is billed all the same."""
        if meter["status"] != "active":
            raise invalid("This meter is already inactive.", "", "")
        now = self.account.clock.seconds()
        return self._changed(meter, "deactivated", status="inactive", status_transitions={"deactivated_at": now})

    def reactivate(self, meter: Object) -> Object:
        """Take events again."""
        if meter["status"] == "active":
            raise invalid("This meter is already active.", "", "")
        self._check_free(meter["event_name"])
        return self._changed(meter, "reactivated", status="active", status_transitions={"deactivated_at": None})

    def _changed(self, meter: Object, event: str, **values: object) -> Object:
        changed = meter | values | {"updated": self.account.clock.seconds()}
        return self.account.save(changed, f"billing.meter.{event}", meter)

    def _check_free(self, name: str) -> None:
        if self._named(name, "active"):
            raise invalid(f"There is an active meter with the event name {name} already.", "event_name", "")

    def _named(self, name: str, *states: str) -> Object | None:
        rows = (each for each in self.account.all(METER) if each["event_name"] == name and each["status"] in states)
        return next(rows, None)

    # ---- events

    def record(self, params: Params) -> Object:
        """Take an event. Only its time and its identifier are checked at once: what else is wrong is reported later.

        (Record usage with the API: Handle meter event errors; langfuse issue 16292 shows the refusal of an identifier.)
        """
        require(params, "event_name", "payload")
        name, payload = _short(params, "event_name"), params["payload"]
        if not isinstance(payload, dict) or not all(isinstance(each, str) for each in cast("Params", payload).values()):
            raise invalid("Invalid payload: must be a map of strings.", "payload", "")
        identifier = _short(params, "identifier") if params.get("identifier") else secrets.token_hex(16)
        now = self.account.clock.seconds()
        at = forms.whole(params, "timestamp", default=now)
        if at < now - BACK:
            raise invalid("The timestamp is more than 35 days in the past.", "timestamp", "timestamp_too_far_in_past")
        if at > now + AHEAD:
            raise invalid("The timestamp is more than 5 minutes in the future.", "timestamp", "timestamp_in_future")
        seen = self.account.find(SEEN, identifier)
        if seen and seen["received"] > now - UNIQUE:
            reason = f"An event already exists with identifier {identifier}."
            raise invalid(reason, "identifier", "duplicate_meter_event")
        usage = self._usage(name, cast("Params", payload), at)
        self.account.save(usage)
        self.account.save({"object": SEEN, "id": identifier, "received": now, "usage": usage["id"], "event_name": name})
        made = self.account.make(EVENT, event_name=name, identifier=identifier, payload=payload, timestamp=at)
        return {key: each for key, each in made.items() if key != "id"}

    def _usage(self, name: str, payload: Params, at: int) -> Object:
        meter = self._named(name, "active") or self._named(name, "inactive")
        usage: Object = {"object": USAGE, "id": f"mtrusg_{secrets.token_hex(8)}", "at": at, "name": name}
        usage |= {"meter": None, "customer": None, "value": "0", "is_cancelled": False, "is_reported": False}
        if meter is None:
            return usage | {"error": "no_meter"}
        customer = payload.get(meter["customer_mapping"]["event_payload_key"])
        value = payload.get(meter["value_settings"]["event_payload_key"], "")
        usage |= {"meter": meter["id"], "customer": customer}
        if meter["status"] != "active":
            return usage | {"error": "archived_meter"}
        if not customer:
            return usage | {"error": "meter_event_no_customer_defined"}
        if self.account.find("customer", customer) is None:
            return usage | {"error": "meter_event_customer_not_found"}
        if meter["default_aggregation"]["formula"] == "count":
            return usage | {"error": None, "value": "1"}
        if not NUMBER.fullmatch(value):
            return usage | {"error": "meter_event_invalid_value"}
        if sum(each.isdigit() for each in value) > DIGITS:
            return usage | {"error": "meter_event_value_too_many_digits"}
        return usage | {"error": None, "value": value}

    def owner(self, path: list[str], params: Params) -> str | None:
        """Return the customer of an event that is to be recorded or cancelled, whose time it has."""
        if path == ["billing", "meter_event_adjustments"]:
            seen = self.account.find(SEEN, _cancelled(params).get("identifier", ""))
            return self.account.get(USAGE, seen["usage"])["customer"] if seen else None
        if path != ["billing", "meter_events"]:
            return None
        meter = self._named(params.get("event_name", ""), "active")
        payload: Params = params["payload"] if isinstance(params.get("payload"), dict) else {}
        return payload.get(meter["customer_mapping"]["event_payload_key"]) if meter else None

    def adjust(self, params: Params) -> Object:
        """Cancel an event that was received within a day: it counts no longer."""
        require(params, "event_name", "type")
        if params["type"] != "cancel":
            raise invalid("Invalid type: must be one of cancel", "type", "")
        cancel = _cancelled(params)
        if not cancel.get("identifier"):
            raise invalid("Missing required param: cancel[identifier].", "cancel[identifier]", "parameter_missing")
        seen = self.account.find(SEEN, cancel["identifier"])
        if seen is None or seen["event_name"] != params["event_name"]:
            reason = f"No such meter event: '{cancel['identifier']}'"
            raise invalid(reason, "cancel[identifier]", "resource_missing")
        if seen["received"] <= self.account.clock.seconds() - CANCELLABLE:
            reason = "You can only cancel events within 24 hours of Stripe receiving them."
            raise invalid(reason, "cancel[identifier]", "")
        usage = self.account.get(USAGE, seen["usage"])
        self.account.save(usage | {"is_cancelled": True})
        return {
            "object": "billing.meter_event_adjustment",
            "cancel": {"identifier": cancel["identifier"]},
            "event_name": params["event_name"],
            "livemode": False,
            "status": "complete",
            "type": "cancel",
        }

    # ---- sums

    def used(self, meter: str, customer: str, start: int, end: int) -> Decimal:
        """Return what a customer used from `start` until before `end`, as the meter sums up. It is never below zero
        (Record usage with the API: negative usage is billed as none)."""
        rows = [
            each
            for each in self.account.all(USAGE)
            if (each["meter"], each["customer"]) == (meter, customer)
            and start <= each["at"] < end
            and not each["error"]
            and not each["is_cancelled"]
        ]
        formula = self.account.get(METER, meter)["default_aggregation"]["formula"]
        if formula == "last":
            rows = sorted(rows, key=lambda each: each["at"])[-1:]
        return max(sum((Decimal(each["value"]) for each in rows), Decimal(0)), Decimal(0))

    def summaries(self, meter: Object, params: Params) -> list[Object]:
        """Return what a customer used, in one or by hour or day, the newest first (List billing meter event
        summaries)."""
        require(params, "customer", "start_time", "end_time")
        start, end = forms.whole(params, "start_time"), forms.whole(params, "end_time")
        window = params.get("value_grouping_window", "")
        if window and window not in WINDOWS:
            reason = "Invalid value_grouping_window: must be one of day, hour"
            raise invalid(reason, "value_grouping_window", "")
        step = WINDOWS.get(window, 60)
        for name, each in (("start_time", start), ("end_time", end)):
            if each % step:
                raise invalid(f"{name} must be aligned with {window or 'minute'} boundaries.", name, "")
        if start >= end:
            raise invalid("start_time must be before end_time.", "start_time", "")
        size = WINDOWS.get(window, end - start)
        customer = self.account.get("customer", params["customer"], "customer")["id"]
        return [
            {
                "object": SUMMARY,
                "id": f"mtrusg_{meter['id'].removeprefix('mtr_')}_{customer}_{begin}_{size}",
                "aggregated_value": float(self.used(meter["id"], customer, begin, begin + size)),
                "end_time": begin + size,
                "livemode": False,
                "meter": meter["id"],
                "start_time": begin,
            }
            for begin in range(start, end, size)
        ][::-1]

    # ---- what was wrong

    def tick(self, clock: str | None) -> None:
        """Report the events that were accepted and do not count, in one event for each meter."""
        wrong: dict[str, list[Object]] = {}
        for each in self.account.all(USAGE) if clock is None else ():
            if each["error"] and not each["is_reported"]:
                wrong.setdefault(each["meter"] or "", []).append(each)
        for meter, rows in wrong.items():
            self._report(meter, rows)

    def moments(self, clock: str | None) -> Iterator[int]:
        """Return nothing: no day brings anything about usage."""
        del clock
        yield from ()

    def _report(self, meter: str, rows: list[Object]) -> None:
        """Keep an event of the second version, which has no snapshot (Types of events: `v1.billing.meter.…`)."""
        seen = {each["usage"]: each["id"] for each in self.account.all(SEEN)}
        moment = datetime.fromtimestamp(self.account.clock.seconds(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        types = [
            {
                "code": code,
                "error_count": len(found),
                "sample_errors": [
                    {"error_message": REASONS[code], "request": {"identifier": seen.get(each["id"], "")}}
                    for each in found[:5]
                ],
            }
            for code in REASONS
            if (found := [each for each in rows if each["error"] == code])
        ]
        related: Object = {"id": meter, "type": METER, "url": f"/v1/billing/meters/{meter}"}
        event: Object = {
            "object": "v2.core.event",
            "id": f"evt_{secrets.token_hex(12)}",
            "context": None,
            "created": moment,
            "data": {
                "developer_message_summary": f"There are {len(rows)} invalid events",
                "reason": {"error_count": len(rows), "error_types": types},
                "validation_start": moment,
                "validation_end": moment,
            },
            "livemode": False,
            "reason": None,
            "type": f"v1.billing.meter.{'error_report_triggered' if meter else 'no_meter_found'}",
        }
        self.account.save(event | ({"related_object": related} if meter else {}))
        for each in rows:
            self.account.save(each | {"is_reported": True})


def _cancelled(params: Params) -> Params:
    return params["cancel"] if isinstance(params.get("cancel"), dict) else {}


def _short(params: Params, name: str) -> str:
    value: str = params[name]
    if len(value) > LONGEST:
        raise invalid(f"Invalid string: {value[:20]}…; must be at most {LONGEST} characters", name, "")
    return value
