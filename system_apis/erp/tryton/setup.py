"""What the books of a Tryton need before the first posting.

Setup creates the user that we work as, and the payment method of a company where the journal and the clearing account
that it books on are beyond doubt. All else is an accountant's to decide, and is listed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from policies.store.secret import NO_SECRET, Secret
from system_apis.connector import ConnectorContext
from system_apis.erp.tryton.books import books
from system_apis.erp.tryton.client import Settings, TrytonClient
from system_apis.erp.tryton.connector import Tryton
from system_apis.erp.tryton.mapping import PAYMENT_METHOD, Row
from system_apis.erp.tryton.master_data import MasterData
from system_apis.erp.tryton.user import ApplicationUser
from system_apis.setup import MARK, Act, Made, Step

METHOD = "account.invoice.payment.method"
CLEARING = (
    ["closed", "!=", True],
    ["reconcile", "=", True],
    ["party_required", "=", False],
    ["type", "!=", None],
    ["type.receivable", "=", False],
    ["type.payable", "=", False],
)
"""The accounts that can collect what somebody owes until it is paid out."""


class TrytonSetup:
    """Implement `system_apis.setup.Setup`."""

    def __init__(self, settings: Settings, context: ConnectorContext, ours: Settings) -> None:
        self._client = TrytonClient(settings, context.client)
        self._user = ApplicationUser(self._client, ours, context.instance)
        self._books = Tryton(settings, context)
        self._master_data = MasterData(self._client, books(settings.mapping), context.clock)

    async def steps(self) -> list[Step]:
        companies = await self._master_data.companies()
        user = await self._user.step(companies)
        methods = [await self._method(each) for each in companies]
        asked = await self._books.misfits_of_books()
        return [user, *methods, *(Step(each.what, "missing", f"a person: {each.remedy}") for each in asked)]

    async def _method(self, company: Row) -> Step:
        what, key = f"payment method {PAYMENT_METHOD!r} of {company['name']}", company["id"]
        own = ["company", "=", key]
        if await self._client.rows(METHOD, [own, ["name", "=", PAYMENT_METHOD]], ["id"], key, 1):
            return Step(what, "there")
        journals = await self._client.rows("account.journal", [["type", "=", "cash"]], ["name"], key)
        accounts = await self._client.rows("account.account", [own, *CLEARING], ["code", "name"], key)
        if len(journals) != 1 or len(accounts) != 1:
            found = [f"{each['code']} {each['name']}" for each in accounts]
            choice = f"journals of the type cash: {_list([each['name'] for each in journals])}"
            choice += f"; accounts that reconcile and are neither receivable nor payable: {_list(found)}"
            return Step(what, "missing", f"a person: there is to be one of each to book on ({choice})")
        (journal,), (account,) = journals, accounts
        plan = f"create it, on the account {account['code']} {account['name']} and the journal {journal['name']}"
        return Step(what, "missing", plan, self._create(company, journal["id"], account["id"]))

    def _create(self, company: Row, journal: int, account: int) -> Act:
        async def act() -> Made:
            context = {"company": company["id"]}
            record = {"name": PAYMENT_METHOD, "company": company["id"], "journal": journal}
            record |= {"credit_account": account, "debit_account": account}
            (made,) = await self._client.call(f"model.{METHOD}.create", [record], context=context)
            note = {"resource": f"{METHOD},{made}", "message": MARK}
            await self._client.call("model.ir.note.create", [note], context=context)
            return Made()

        return act

    async def removal(self) -> list[Step]:
        methods = [
            await self._removed(company, method)
            for company in await self._master_data.companies()
            for method in await self._client.rows(
                METHOD,
                [["company", "=", company["id"]], ["name", "=", PAYMENT_METHOD]],
                ["debit_account"],
                company["id"],
            )
        ]
        return [*methods, *await self._user.removal()]

    async def _removed(self, company: Row, method: Row) -> Step:
        what, key = f"payment method {PAYMENT_METHOD!r} of {company['name']}", company["id"]
        marks = [["resource", "=", f"{METHOD},{method['id']}"], ["message", "=", MARK]]
        notes = await self._client.rows("ir.note", marks, ["id"], key)
        if not notes:
            return Step(what, "kept", "setup did not make it")
        booked = [["account", "=", method["debit_account"]]]
        if await self._client.rows("account.move.line", booked, ["id"], key, 1):
            return Step(what, "kept", "its account has bookings: an accountant decides")
        return Step(what, "ours", "delete it", self._delete(company, method["id"], [each["id"] for each in notes]))

    def _delete(self, company: Row, method: int, notes: list[int]) -> Act:
        async def act() -> Made:
            context: dict[str, Any] = {"company": company["id"]}
            await self._client.call("model.ir.note.delete", notes, context=context)
            await self._client.call(f"model.{METHOD}.delete", [method], context=context)
            return Made()

        return act


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def prepare(settings: Settings, context: ConnectorContext, administrator: Secret = NO_SECRET) -> TrytonSetup:
    """Return the setup of one Tryton, done by an `administrator` (`user:password`) if there is one."""
    acting = settings
    if administrator:
        user, _, password = administrator.reveal().partition(":")
        acting = msgspec.structs.replace(settings, user=user, password=Secret(password))
    return TrytonSetup(acting, context, settings)
