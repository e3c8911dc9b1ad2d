"""Lines of moves in Tryton: reconciled with each other and parted again, split, and attached to invoices."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.faults import Conflict, Rejected
from canonical.money import Money
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.invoices import in_books_of
from system_apis.erp.tryton.mapping import Row

SPLIT = "/split"
"""What the description of the move ends with that splits a line; what stands before is that of the line's own."""
LINE = [
    "debit",
    "credit",
    "second_currency",
    "amount_second_currency",
    "reconciliation",
    "account",
    "account.currency",
    "party",
    "move",
    "move.journal",
    "move.state",
]
"""What has to be known of a line of a move."""
DRAFT = ["state", "date", "write_date", "lines.account", "lines.debit", "lines.credit", "lines.write_date"]
"""What has to be known of a move that may have to be made again."""


class Ledger:
    """Work with the lines of moves. Its methods raise leaves of `PlatformFault`."""

    def __init__(self, client: TrytonClient) -> None:
        self._client = client

    async def lines(self, domain: list[Any], company: Row) -> list[Row]:
        """Return lines of moves, oldest first."""
        return await self._client.rows("account.move.line", domain, LINE, company["id"])

    async def reconcile(self, domain: list[Any], write_off: Row, company: Row) -> None:
        """Reconcile lines of moves with each other, and what is left of them with a write-off."""
        open_lines = [domain, ["reconciliation", "=", None]]
        lines = [each["id"] for each in await self._client.rows("account.move.line", open_lines, ["id"], company["id"])]
        if not lines:
            return  # somebody else has reconciled them in this moment
        form, state = ({"writeoff": write_off}, "reconcile") if write_off else ({}, "start")
        name = "account.move.reconcile_lines"
        try:
            async with self._client.wizard(name, "account.move.line", lines, in_books_of(company)) as go:
                await go(form, state)
        except Rejected:
            if await self._client.rows("account.move.line", open_lines, ["id"], company["id"], 1):
                raise  # else somebody else has done it in this moment

    async def part(self, lines: list[int], others: list[int], company: Row) -> None:
        """Part those of some lines that are reconciled with one of the `others`: all of these are open again."""
        for is_last in (False, True):
            found = await self.lines([["id", "in", [*lines, *others]], ["reconciliation", "!=", None]], company)
            theirs = {each["reconciliation"] for each in found if each["id"] in others}
            joined = [each["id"] for each in found if each["id"] in lines and each["reconciliation"] in theirs]
            if not joined:
                return
            try:
                await self.unreconcile(joined, company)
            except Rejected:
                if is_last:
                    raise  # else somebody else may have done it in this moment

    async def cancel_exchange(self, account: int, party: int, company: Row) -> None:
        """Cancel what was booked for a difference of rates between lines of a party that are parted since: Tryton books
        it when lines are reconciled, and leaves it open on the account when they are not any more."""
        key = company["id"]
        (settings,) = await self._client.rows("account.configuration", [], ["currency_exchange_journal"], key, 1)
        if settings["currency_exchange_journal"] is None:
            return
        left = [
            ["account", "=", account],
            ["party", "=", party],
            ["reconciliation", "=", None],
            ["move.journal", "=", settings["currency_exchange_journal"]],
            ["move.company", "=", key],
        ]
        for line in await self.lines(left, company):
            name = "account.move.cancel"
            try:
                async with self._client.wizard(name, "account.move", [line["move"]], in_books_of(company)) as go:
                    await go({"default": {"reversal": True}}, "cancel")
            except Rejected:
                if await self.lines([["id", "=", line["id"]], ["reconciliation", "=", None]], company):
                    raise  # else somebody else has done it in this moment

    async def unreconcile(self, lines: list[int], company: Row) -> None:
        """Undo the reconciliations of some lines."""
        name = "account.move.unreconcile_lines"
        async with self._client.wizard(name, "account.move.line", lines, in_books_of(company)) as go:
            await go({}, "unreconcile")

    async def split(self, line: Row, amount: Money, about: str, on: date, currency: int, company: Row) -> None:
        """Split an open line in two, one of them of `amount`, which is less than the whole and above nothing, and due
        on the day `on`. `about` becomes the description of Tryton's move, `currency` is Tryton's id of that of the
        amount."""
        whole = Money.of(mapping.left_of([line]), amount.currency)
        part = amount if whole.amount > 0 else -amount
        terms = [
            {"date": mapping.day(on), "amount": mapping.decimal(each.decimal), "currency": currency}
            for each in (part, whole - part)
        ]
        preview = {
            "journal": line["move."]["journal"],
            "description": f"{about}{SPLIT}",
            "currency": currency,
            "terms": terms,
        }
        name = "account.move.line.reschedule"
        async with self._client.wizard(name, "account.move.line", [line["id"]], in_books_of(company)) as go:
            await go({"preview": preview}, "reschedule")

    async def attach(self, invoice: Row, add: Collection[int], remove: Collection[int], company: Row) -> None:
        """Count lines towards what is to be paid of an invoice, and others no more. Raises `Conflict` when somebody
        else has changed it since it was read."""
        changes: list[Any] = [
            *([["remove", sorted(remove)]] if remove else []),
            *([["add", sorted(add)]] if add else []),
        ]
        if changes:
            stamp = {"_timestamp": {f"account.invoice,{invoice['id']}": invoice["_timestamp"]}}
            context = in_books_of(company) | stamp
            await self._client.call(
                "model.account.invoice.write", [invoice["id"]], {"payment_lines": changes}, context=context
            )

    async def pay(self, invoice: Row, form: Row, kind: str, company: Row) -> None:
        """Pay an invoice with Tryton's own wizard. `kind` is what Tryton is to make of an amount that is not all of
        it. Raises `Conflict` when somebody else has changed the invoice since it was read: of two that pay at once only
        one finds it as it was, and a part would be booked twice otherwise."""
        record = invoice["id"]
        context = in_books_of(company) | {"_timestamp": {f"account.invoice,{record}": invoice["_timestamp"]}}
        async with self._client.wizard("account.invoice.pay", "account.invoice", [record], context) as go:
            asked = await go({"start": form}, "choice")
            if view := asked.get("view"):
                proposed = {name: value for name, value in view["defaults"].items() if not name.endswith(".")}
                await go({"ask": proposed | {"type": kind}}, "pay")

    async def is_booked(self, key: str, company: Row) -> bool:
        """Return whether there is a posted move that has `key` as its description."""
        own = [["description", "=", key], ["company", "=", company["id"]], ["state", "=", "posted"]]
        return bool(await self._client.rows("account.move", own, ["id"], company["id"], 1))

    async def delete_drafts(self, key: str, company: Row) -> None:
        """Delete the drafts of moves that have `key` as their description. Raises `Conflict` where somebody else posts
        one in this moment."""
        own = [["description", "=", key], ["company", "=", company["id"]], ["state", "=", "draft"]]
        left = [each["id"] for each in await self._client.rows("account.move", own, ["id"], company["id"])]
        try:
            await self._delete(left, company)
        except Rejected as fault:
            if not await self.is_booked(key, company):
                raise
            raise Conflict("erp", f"{key} was being booked by somebody else", field="id") from fault

    async def move(self, key: str, record: Row, company: Row) -> int:
        """Post the move that has `key` as its description, and return its id. It is made unless it is there; of drafts
        that were made at once one is posted. A draft that somebody has changed since it was made is taken as it is:
        what was refused was put right there. Another that was refused, and would be another now, is made again.

        Raises `Rejected` when two are posted, and `Conflict` when somebody else deletes what was made here.
        """
        try:
            return await self._post_one(key, record, company)
        except Rejected:
            if not await self.is_booked(key, company):
                raise
        return await self._post_one(key, record, company)  # somebody else has posted one in this moment

    async def _post_one(self, key: str, record: Row, company: Row) -> int:
        own = [["description", "=", key], ["company", "=", company["id"]]]
        rows = await self._client.rows("account.move", own, DRAFT, company["id"])
        posted = _posted(rows, key)
        changed = [each["id"] for each in rows if each["state"] == "draft" and _is_changed(each)]
        drafts = [each["id"] for each in rows if each["state"] == "draft" and _is_of(each, record)]
        if not (posted or changed or drafts):
            await self._delete([each["id"] for each in rows], company)
            made = record | {"description": key, "company": company["id"]}
            await self._client.call("model.account.move.create", [made], context=in_books_of(company))
            rows = await self._client.rows("account.move", own, ["state"], company["id"])
            posted = _posted(rows, key)
            drafts = [each["id"] for each in rows if each["state"] == "draft"]
        if not (posted or changed or drafts):
            raise Conflict("erp", f"{key} is being booked by somebody else", field="id")
        chosen = (posted or changed or drafts)[0]
        await self._delete([each["id"] for each in rows if each["state"] == "draft" and each["id"] != chosen], company)
        if not posted:
            await self._client.call("model.account.move.post", [chosen], context=in_books_of(company))
        return chosen

    async def _delete(self, moves: list[int], company: Row) -> None:
        if moves:
            await self._client.call("model.account.move.delete", moves, context=in_books_of(company))

    async def period(self, on: date, company: Row) -> int:
        """Return the open period of a day. Raises `Conflict` when there is none."""
        of_day = [
            ["company", "=", company["id"]],
            ["type", "=", "standard"],
            ["state", "=", "open"],
            ["start_date", "<=", mapping.day(on)],
            ["end_date", ">=", mapping.day(on)],
        ]
        found = await self._client.rows("account.period", of_day, ["id"], company["id"], 1)
        if not found:
            raise Conflict("erp", f"the period of {on} is closed", field="period")
        return found[0]["id"]


def _posted(moves: list[Row], key: str) -> list[int]:
    """Return the ids of those moves that are posted, none or one. Raises `Rejected` when there are two."""
    posted = [each["id"] for each in moves if each["state"] == "posted"]
    if len(posted) > 1:
        raise Rejected("erp", f"{key} is booked {len(posted)} times: cancel all but one", field="id")
    return posted


def _is_changed(move: Row) -> bool:
    """Return whether somebody has changed a move since it was made: we never do, and Tryton notes when it was."""
    return any(each["write_date"] for each in (move, *move["lines."]))


def _is_of(move: Row, record: Row) -> bool:
    """Return whether a move is what is to be booked: on the same day, and the same amounts on the same accounts."""

    def amounts(lines: list[Row]) -> list[tuple[int, Decimal, Decimal]]:
        debit, credit = ([mapping.from_decimal(each[side]) for each in lines] for side in ("debit", "credit"))
        return sorted(zip([each["account"] for each in lines], debit, credit, strict=True))

    ((_, wanted),) = record["lines"]
    return move["date"] == record["date"] and amounts(move["lines."]) == amounts(wanted)


def whole_amount(line: Row, currency: str) -> Money:
    """Return the amount of a line, above nothing whichever side it is on."""
    return Money.of(abs(mapping.left_of([line])), currency)
