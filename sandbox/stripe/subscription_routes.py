"""The routes of subscriptions, their items, schedules, previews and test clocks."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.stripe.account import Account
from sandbox.stripe.changes import Changes
from sandbox.stripe.errors import unrecognized
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import Lists
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import accept, require
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.test_clocks import KIND, TestClocks


class SubscriptionRoutes:
    """Answer the requests about what is billed again and again."""

    def __init__(
        self,
        account: Account,
        lists: Lists,
        changes: Changes,
        schedules: Schedules,
        clocks: TestClocks,
        preview: Callable[[Params], Object],
    ) -> None:
        self.account = account
        self.lists = lists
        self.changes = changes
        self.schedules = schedules
        self.clocks = clocks
        self.preview = preview

    def answer(self, method: str, path: list[str], params: Params) -> Object | None:
        """Return the answer of a request about subscriptions, schedules or clocks that is no plain one."""
        match method, path:
            case "POST", ["subscription_schedules", key, "cancel"]:
                accept("subscription_schedule.canceled", params)
                return self.schedules.cancel(self.account.get("subscription_schedule", key), params)
            case "POST", ["subscription_schedules", key, "release"]:
                accept("subscription_schedule.released", params)
                return self.schedules.release(self.account.get("subscription_schedule", key), params)
            case "GET", ["subscription_items"]:
                require(params, "subscription")
                rows = self.account.get("subscription", params.pop("subscription"), "subscription")["items"]["data"]
                return self.lists.cut("subscription_item", "/v1/subscription_items", rows, params)
            case "GET", ["subscription_items", key]:
                return self.changes.items.find(key)[0]
            case "POST", ["subscription_items"]:
                accept("subscription_item", params)
                return self.changes.add_item(params)
            case "POST", ["subscription_items", key]:
                accept("subscription_item.updated", params)
                return self.changes.change_item(key, params)
            case "DELETE", ["subscription_items", key]:
                accept("subscription_item.deleted", params)
                return self.changes.delete_item(key, params)
            case "POST", ["invoices", "create_preview"]:
                accept("invoice.previewed", params)
                return self.preview(params)
            case _, ["test_helpers", "test_clocks", *rest]:
                return self._of_clocks(method, rest, params)
            case "DELETE", ["subscriptions", key]:
                accept("subscription.canceled", params)
                return self.changes.subscriptions.cancel(self.account.get("subscription", key), params)
            case _:
                return None

    def _of_clocks(self, method: str, rest: list[str], params: Params) -> Object:
        match method, rest:
            case "POST", []:
                accept(KIND, params)
                return self.clocks.create(params)
            case "GET", []:
                return self.lists.page(KIND, "/v1/test_helpers/test_clocks", params)
            case "GET", [key]:
                return self.account.get(KIND, key)
            case "POST", [key, "advance"]:
                accept(f"{KIND}.advanced", params)
                return self.clocks.advance(self.account.get(KIND, key), params)
            case "DELETE", [key]:
                return self.clocks.delete(self.account.get(KIND, key))
            case _:
                raise unrecognized(method, ["test_helpers", "test_clocks", *rest])
