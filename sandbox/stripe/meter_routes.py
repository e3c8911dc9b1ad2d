"""The routes of meters and their events."""

from __future__ import annotations

from sandbox.stripe.account import Account
from sandbox.stripe.errors import missing, unrecognized
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING, Lists
from sandbox.stripe.meters import METER, SUMMARY, Meters
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import accept

THIN = "v2.core.event"


class MeterRoutes:
    """Answer the requests about usage."""

    def __init__(self, account: Account, lists: Lists, meters: Meters) -> None:
        self.account = account
        self.lists = lists
        self.meters = meters

    def answer(self, method: str, path: list[str], params: Params) -> Object | None:
        """Return the answer of a request below `/v1/billing`, None for another one."""
        match method, path:
            case "POST", ["billing", "meters"]:
                accept(METER, params)
                return self.meters.create(params)
            case "GET", ["billing", "meters"]:
                return self.lists.page(METER, "/v1/billing/meters", params)
            case "GET", ["billing", "meters", key]:
                return self.account.get(METER, key)
            case "GET", ["billing", "meters", key, "event_summaries"]:
                asked = {name: params.pop(name) for name in tuple(params) if name not in PAGING}
                accept(SUMMARY, asked)
                rows = self.meters.summaries(self.account.get(METER, key), asked)
                return self.lists.cut(SUMMARY, f"/v1/billing/meters/{key}/event_summaries", rows, params)
            case "POST", ["billing", "meters", key, *action]:
                return self._change(self.account.get(METER, key), action, params)
            case "POST", ["billing", "meter_events"]:
                accept("billing.meter_event", params)
                return self.meters.record(params)
            case "POST", ["billing", "meter_event_adjustments"]:
                accept("billing.meter_event_adjustment", params)
                return self.meters.adjust(params)
            case _, ["billing", *_]:
                raise unrecognized(method, path)
            case _:
                return None

    def _change(self, meter: Object, action: list[str], params: Params) -> Object:
        match action:
            case []:
                accept(f"{METER}.updated", params)
                return self.meters.update(meter, params)
            case ["deactivate"]:
                return self.meters.deactivate(meter)
            case ["reactivate"]:
                return self.meters.reactivate(meter)
            case _:
                raise unrecognized("POST", ["billing", "meters", meter["id"], *action])

    def thin_event(self, key: str) -> Object:
        """Return an event of the second version (API reference: v2 Events)."""
        found = self.account.find(THIN, key)
        if found is None:
            raise missing("event", key)
        return found

    def thin_events(self, params: Params) -> Object:
        """Return the events of the second version, the newest first, in one page."""
        wanted, types = params.get("object_id"), params.get("types")
        rows = [
            each
            for each in self.account.all(THIN)
            if wanted in (None, each.get("related_object", {}).get("id")) and (not types or each["type"] in types)
        ]
        shown = [{name: each[name] for name in each if name != "data"} for each in rows[::-1]]
        return {"data": shown, "next_page_url": None, "previous_page_url": None}
