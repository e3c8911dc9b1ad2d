"""The routes of what is taken off and goes back: credit notes, refunds and disputes."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.stripe.account import Account
from sandbox.stripe.credit_notes import CreditNotes
from sandbox.stripe.disputes import Disputes
from sandbox.stripe.errors import unrecognized
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING, Lists
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import accept
from sandbox.stripe.refunds import Refunds

MOST_PREVIEWED = 20


class MoneyRoutes:
    """Answer the requests about money that was asked for or received."""

    def __init__(
        self,
        account: Account,
        lists: Lists,
        refunds: Refunds,
        credit_notes: CreditNotes,
        disputes: Disputes,
        preview: Callable[[Params], Object],
    ) -> None:
        """Answer previews of credit notes with `preview`, which stores nothing."""
        self.account = account
        self.lists = lists
        self.refunds = refunds
        self.credit_notes = credit_notes
        self.disputes = disputes
        self.preview = preview
        self.previewed: list[list[Object]] = []
        """The lines of the newest previews of credit notes, of which further pages may be asked for."""

    def answer(self, method: str, path: list[str], params: Params) -> Object | None:
        """Return the answer of a request about credit notes, refunds or disputes that is no plain one."""
        match method, path:
            case "POST", ["refunds", *rest]:
                return self._refund(rest, params)
            case _, ["credit_notes", *rest] if rest or method == "POST":
                return self._credit_note(method, rest, params)
            case "GET", ["charges", key, "refunds"]:
                rows = self.refunds.of(self.account.get("charge", key))[::-1]
                return self.lists.cut("refund", f"/v1/charges/{key}/refunds", rows, params)
            case "POST", ["disputes", key]:
                accept("dispute.updated", params)
                return self.disputes.update(self.account.get("dispute", key), params)
            case "POST", ["disputes", key, "close"]:
                return self.disputes.close(self.account.get("dispute", key))
            case "POST", ["balance_transactions" | "disputes", *_]:
                raise unrecognized(method, path)
            case _:
                return None

    def _credit_note(self, method: str, rest: list[str], params: Params) -> Object:
        match method, rest:
            case "POST", []:
                accept("credit_note", params)
                return self.credit_notes.create(params)
            case "GET", ["preview"]:
                accept("credit_note", params)
                return self.preview(params)
            case "GET", ["preview", "lines"]:
                asked = {name: params.pop(name) for name in tuple(params) if name not in PAGING}
                accept("credit_note", asked)
                rows = self._previewed(asked, params)
                return self.lists.cut("credit_note_line_item", "/v1/credit_notes/preview/lines", rows, params)
            case "GET", [key]:
                return self.account.get("credit_note", key)
            case "GET", [key, "lines"]:
                lines = self.account.get("credit_note", key)["lines"]
                return self.lists.cut("credit_note_line_item", lines["url"], lines["data"], params)
            case "POST", [key]:
                accept("credit_note.updated", params)
                return self.credit_notes.update(self.account.get("credit_note", key), params)
            case "POST", [key, "void"]:
                return self.credit_notes.void(self.account.get("credit_note", key))
            case _:
                raise unrecognized(method, ["credit_notes", *rest])

    def _previewed(self, asked: Params, paging: Params) -> list[Object]:
        """Return the lines of a preview: of the one that a page was of already, or of a new one."""
        last = paging.get("starting_after") or paging.get("ending_before")
        for rows in self.previewed:
            if last in [each["id"] for each in rows]:
                return rows
        made: list[Object] = self.preview(asked)["lines"]["data"]
        self.previewed = [made, *self.previewed[: MOST_PREVIEWED - 1]]
        return made

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
