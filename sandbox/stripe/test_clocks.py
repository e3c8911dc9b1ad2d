"""Test clocks: a time of its own for some customers and all that belongs to them (Billing: Test clocks)."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.due import Due
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.periods import DAY, later

KIND = "test_helpers.test_clock"
MOST = 3
"""How many customers a clock has at most (Test clocks: Limitations)."""
KEPT = 30 * DAY
INTERVALS = 2
"""How many intervals of the shortest subscription a clock may be advanced by (Advance a clock: Limitations)."""


class TestClocks:
    """Create, advance and delete test clocks."""

    __test__ = False

    def __init__(self, account: Account, due: Due) -> None:
        self.account = account
        self.due = due

    def create(self, params: Params) -> Object:
        """Create a clock, which stands at `frozen_time`."""
        require(params, "frozen_time")
        made = self.account.make(
            KIND,
            frozen_time=forms.whole(params, "frozen_time"),
            name=params.get("name"),
            deletes_after=self.account.clock.seconds() + KEPT,
        )
        if "customer" in params:
            customer = self.account.get("customer", params["customer"], "customer")
            if customer["test_clock"]:
                raise invalid("The customer has a test clock already.", "customer", "")
            self.account.save(customer | {"test_clock": made["id"]})
        return self.account.save(made, f"{KIND}.created")

    def advance(self, clock: Object, params: Params) -> Object:
        """Advance a clock, and do all that is due until then, each at its own moment.

        The answer says `advancing`; the clock is `ready` when it is read next.
        """
        require(params, "frozen_time")
        target, start = forms.whole(params, "frozen_time"), clock["frozen_time"]
        if target <= start:
            raise invalid("The frozen time of a test clock has to be later than it is.", "frozen_time", "")
        if target > self._furthest(clock, start):
            raise invalid(
                f"A test clock can be advanced by at most {INTERVALS} intervals of its shortest subscription.",
                "frozen_time",
                "",
            )
        details: Object = {"advancing": {"target_frozen_time": target}}
        advancing = self.account.save(clock | {"status": "advancing", "status_details": details}, f"{KIND}.advancing")
        self.due.catch_up(clock["id"], start, target)
        self.account.save(clock | {"status": "ready", "frozen_time": target}, f"{KIND}.ready")
        return advancing

    def _furthest(self, clock: Object, start: int) -> int:
        """Return how far a clock may be advanced. One without a subscription may be by two years."""
        furthest = [
            later(start, recurring["interval"], INTERVALS * recurring["interval_count"])
            for each in self.account.all("subscription")
            if each["test_clock"] == clock["id"] and each["status"] != "canceled"
            for recurring in [each["items"]["data"][0]["price"]["recurring"]]
        ]
        return min(furthest, default=later(start, "year", INTERVALS))

    def delete(self, clock: Object) -> Object:
        """Delete a clock with its customers, whose subscriptions end (API reference: Delete a test clock)."""
        for each in self.account.all("customer"):
            if each["test_clock"] == clock["id"]:
                self.due.end_all(each)
                self.account.remove(each, "customer.deleted")
        return self.account.remove(clock, f"{KIND}.deleted")

    def time(self, customer: str | None, clock: str | None = None) -> int | None:
        """Return the time of a customer that has a clock, or of a clock."""
        found = self.account.find(KIND, clock or self.account.clock_of(customer) or "")
        return found["frozen_time"] if found else None


def check_room(account: Account, key: Any) -> None:
    """Raise `StripeError` for a clock that does not exist, or has as many customers as it may have."""
    account.get(KIND, key, "test_clock")
    if sum(each["test_clock"] == key for each in account.all("customer")) >= MOST:
        raise StripeError(
            400, "invalid_request_error", f"A test clock can have up to {MOST} customers.", param="test_clock"
        )
