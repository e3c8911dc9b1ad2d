"""The routes of what goes back: refunds."""

from __future__ import annotations

from sandbox.stripe.account import Account
from sandbox.stripe.errors import unrecognized
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import Lists
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import accept
from sandbox.stripe.refunds import Refunds


class MoneyRoutes:
    """Answer the requests about money that was received."""

    def __init__(self, account: Account, lists: Lists, refunds: Refunds) -> None:
        self.account = account
        self.lists = lists
        self.refunds = refunds

    def answer(self, method: str, path: list[str], params: Params) -> Object | None:
        """Return the answer of a request about refunds that is no plain one."""
        match method, path:
            case "POST", ["refunds", *rest]:
                return self._refund(rest, params)
            case "GET", ["charges", key, "refunds"]:
                rows = self.refunds.of(self.account.get("charge", key))[::-1]
                return self.lists.cut("refund", f"/v1/charges/{key}/refunds", rows, params)
            case "POST", ["balance_transactions", *_]:
                raise unrecognized(method, path)
            case _:
                return None

    def _refund(self, rest: list[str], params: Params) -> Object:
        match rest:
            case []:
                accept("refund", params)
                return self.refunds.create(params)
            case [key]:
                accept("refund.updated", params)
                return self.refunds.update(self.account.get("refund", key), params)
            case [key, "cancel"]:
                return self.refunds.cancel(self.account.get("refund", key))
            case _:
                raise unrecognized("POST", ["refunds", *rest])
