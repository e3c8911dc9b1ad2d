"""The user of the books that we work as: what it may do too little or too much of, and how setup makes it.

What we do takes Tryton's group Accounting, and where products are written those that may write them, and nothing else
(the access rights of the modules party, account, account_invoice, product and account_product, as their
`ir.model.access` and `ir.model.field.access` records declare them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from system_apis.connector import Misfit
from system_apis.erp.tryton.client import Settings, TrytonClient
from system_apis.erp.tryton.mapping import Row
from system_apis.setup import MARK, Act, Made, Step

GROUPS = {"account.group_account": "Accounting"}
PRODUCT_GROUPS = {
    "product.group_product_admin": "Product Administration",
    "account_product.group_account_product_admin": "Account Product Administration",
}
"""What it takes beside to create a product, with its accounting category."""
MODEL = "res.user"


class ApplicationUser:
    """The user that the settings name, read and changed by a `client` that may be another's."""

    def __init__(self, client: TrytonClient, settings: Settings, instance: str) -> None:
        self._client = client
        self._login = settings.user
        self._password = settings.password
        self._groups = GROUPS | (PRODUCT_GROUPS if settings.products else {})
        self._names = " and ".join(self._groups.values())
        self._what = f"user {settings.user!r}"
        self._setup = f"tiergate setup erp {instance}"

    async def misfits(self, companies: Iterable[Row]) -> list[Misfit]:
        """Return what it may not do for `companies`, and what it may do that nobody needs.

        Raises leaves of `PlatformFault`.
        """
        user = await self._read()
        if user is None:
            return []
        remedy = f"run `{self._setup}` as an administrator, or let one change it"
        found = [Misfit(f"the {self._what} {each}", remedy) for each in await self._lacks(user, companies)]
        if user["administrator"]:
            remedy = f"name one in `user` that is in the group {self._names} alone: `{self._setup}` makes it"
            found.append(Misfit(f"the {self._what} is an administrator, who may do everything", remedy, blocks=False))
        for each in await self._others(user):
            remedy = f"take it out: {self._names} is enough"
            found.append(Misfit(f"the {self._what} is in the group {each['name']}", remedy, blocks=False))
        return found

    async def step(self, companies: list[Row]) -> Step:
        """Return how the user is, and what setup does about it."""
        user = await self._read()
        if user is None or not user["active"]:
            plan = (
                f"create it, in the group {self._names}"
                if user is None
                else "put it in use again, with the password that it had"
            )
            return Step(self._what, "missing", plan, self._made(user, companies))
        lacks = await self._lacks(user, companies)
        if lacks:
            return Step(self._what, "wrong", f"change it: it {' and '.join(lacks)}", self._made(user, companies))
        return Step(self._what, "there")

    async def removal(self) -> list[Step]:
        """Return whether the user goes. Tryton deletes no user: it is put out of use (res.user, On delete)."""
        user = await self._read()
        if user is None or not user["active"]:
            return []
        marks = [["resource", "=", f"{MODEL},{user['id']}"], ["message", "=", MARK]]
        if not await self._client.rows("ir.note", marks, ["id"], 0):
            return [Step(self._what, "kept", "setup did not make it")]
        return [Step(self._what, "ours", "put it out of use", self._put_out_of_use(user["id"]))]

    async def _read(self) -> Row | None:
        fields = ["administrator", "groups", "companies", "company", "active"]
        found = await self._client.rows(MODEL, [["login", "=", self._login]], fields, 0, inactive=True)
        return found[0] if found else None

    async def _lacks(self, user: Row, companies: Iterable[Row]) -> list[str]:
        lacks: list[str] = []
        for group, name in zip(await self._group_ids(), self._groups.values(), strict=True):
            own = [["id", "in", user["groups"]], ["parent", "child_of", [group]]]
            if not user["administrator"] and not await self._client.rows("res.group", own, ["id"], 0, 1):
                lacks.append(f"is not in the group {name}")
        lacks += [f"may not work for {each['name']}" for each in companies if each["id"] not in user["companies"]]
        return lacks

    async def _others(self, user: Row) -> list[Row]:
        others = [["id", "in", user["groups"]], ["id", "not in", await self._group_ids()]]
        return await self._client.rows("res.group", others, ["name"], 0)

    async def _group_ids(self) -> list[int]:
        return [await self._client.call("model.ir.model.data.get_id", each) for each in self._groups]

    def _made(self, user: Row | None, companies: list[Row]) -> Act:
        async def act() -> Made:
            allowed = {"companies": [["add", [each["id"] for each in companies]]]}
            allowed["groups"] = [["add", await self._group_ids()]]
            if user is not None:
                await self._write(user["id"], active=True, **allowed)
                if user["company"] is None and companies:  # it is one of those that the user has already
                    await self._write(user["id"], company=companies[0]["id"])
                return Made()
            record = {"name": "Tiergate", "login": self._login, "password": self._password.reveal(), **allowed}
            (made,) = await self._client.call(f"model.{MODEL}.create", [record])
            if companies:
                await self._write(made, company=companies[0]["id"])
            note = {"resource": f"{MODEL},{made}", "message": MARK}
            await self._client.call("model.ir.note.create", [note])
            return Made()

        return act

    async def _write(self, key: int, **changes: Any) -> None:
        await self._client.call(f"model.{MODEL}.write", [key], changes)

    def _put_out_of_use(self, key: int) -> Act:
        async def act() -> Made:
            await self._write(key, active=False)
            return Made()

        return act
