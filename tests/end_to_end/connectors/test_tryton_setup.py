"""Setting up the books of a Tryton: what setup creates, and what it leaves to an accountant."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from canonical.faults import Misconfigured
from canonical.ids import identifiers, utc_now
from policies.store.documents import FileDocument
from policies.store.secret import NO_SECRET, Secret
from sandbox.tryton.server import DATABASE, TrytonServer
from system_apis.connector import ConnectorContext
from system_apis.erp import tryton
from system_apis.erp.tryton.connector import Tryton
from system_apis.erp.tryton.setup import METHOD
from system_apis.feed_position import FeedPosition
from system_apis.setup import Setup, Step
from tests.end_to_end.connectors.test_tryton import Books
from tests.support.connector_kit.subject import Bench, bench
from tiergate.dev.ports import free_port
from tiergate.dev.sandbox import secret_file


class Company(Books):
    """The books of a company, whose accountant works in Tryton itself."""

    session = None
    user = "admin"
    own_password = ""

    def settings(self, url: str) -> tryton.Settings:
        return tryton.Settings(
            url=url, database=DATABASE, user=self.user, password=Secret(self.own_password or self._password)
        )

    async def delete(self, model: str, which: list[Any]) -> None:
        found = await self.rows(model, [which], ["id"])
        await self.call(f"model.{model}.delete", [each["id"] for each in found], {})

    async def change(self, model: str, which: list[Any], **changes: Any) -> None:
        found = await self.rows(model, [which], ["id"])
        await self.call(f"model.{model}.write", [each["id"] for each in found], changes, {})

    async def group(self, name: str = "account.group_account") -> int:
        return await self.call("model.ir.model.data.get_id", name, {})

    async def copy(self, model: str, which: list[Any], **changes: Any) -> int:
        """Copy a record. Return the id of the copy."""
        (found,) = await self.rows(model, [which], ["id"])
        (made,) = await self.call(f"model.{model}.copy", [found["id"]], changes, {})
        return made


@pytest.fixture(scope="module")
def server(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[TrytonServer]:
    password = secret_file(templates / "erp_password")
    server = TrytonServer(tmp_path_factory.mktemp("tryton"), templates, free_port(), utc_now().year, password)
    server.wait()
    Books.session = None  # of another server
    yield server
    Books.session = None
    server.stop()


@pytest.fixture
def company(server: TrytonServer, templates: Path) -> Company:
    return Company(server.url, secret_file(templates / "erp_password"))


def prepared(made: Bench[Any], administrator: Secret = NO_SECRET) -> Setup:
    position = FeedPosition(FileDocument(made.folder / "position"))
    context = ConnectorContext("under-test", made.client, made.clock, identifiers(), position, "")
    return tryton.prepare(cast("tryton.Settings", made.settings), context, administrator)


async def of_the_user(steps: list[Step], state: str) -> Step:
    step = next(each for each in steps if each.what.startswith("user "))
    assert step.state == state
    return step


async def only(steps: list[Step], state: str) -> Step:
    """Return what is not about a user."""
    (step,) = [each for each in steps if not each.what.startswith("user ")]
    assert step.state == state
    return step


def test_an_administrator_makes_the_user_that_we_work_as_and_puts_it_out_of_use(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "user", "integration")
    monkeypatch.setattr(company, "own_password", "a-password-of-its-own-7")

    async def case(made: Bench[Any]) -> None:
        misfits = cast("Tryton", made.connector).misfits
        administrator = Secret(f"admin:{made.subject.secrets[0]}")
        setup = prepared(made, administrator)
        with pytest.raises(Misconfigured, match="refuses the log-in"):
            await made.call(prepared(made).steps)
        for plan in ("create it, in the group Accounting", "put it in use again, with the password that it had"):
            step = await of_the_user(await made.call(setup.steps), "missing")
            assert step.plan == plan
            assert step.act
            await made.call(step.act)
            await of_the_user(await made.call(setup.steps), "there")
            assert await made.call(misfits) == []
            step = await of_the_user(await made.call(setup.removal), "ours")
            assert step.act
            await made.call(step.act)
            with pytest.raises(Misconfigured, match="refuses the log-in"):
                await made.call(prepared(made).steps)
        step = await of_the_user(await made.call(setup.steps), "missing")
        assert step.act
        await made.call(step.act)

        which = ["login", "=", "integration"]
        without = [["remove", [await company.group()]]]
        await company.change("res.user", which, groups=without, company=None)
        await company.change("res.user", which, companies=[["remove", [1]]])
        found = await made.call(misfits)  # without a company it does not see the books either
        assert [(each.what, each.blocks) for each in found if "user" in each.what] == [
            ("the user 'integration' is not in the group Accounting", True),
            ("the user 'integration' may not work for Tiergate Muster GmbH", True),
        ]
        step = await of_the_user(await made.call(setup.steps), "wrong")
        assert step.plan == "change it: it is not in the group Accounting and may not work for Tiergate Muster GmbH"
        assert step.act
        await made.call(step.act)
        assert await made.call(misfits) == []

        others = [["add", [await company.group("party.group_party_admin")]]]
        await company.change("res.user", which, administrator=True, groups=others)
        assert [(each.what, each.blocks) for each in await made.call(misfits)] == [
            ("the user 'integration' is an administrator, who may do everything", False),
            ("the user 'integration' is in the group Party Administration", False),
        ]

    async def run() -> None:
        async with bench(company, tmp_path) as made:
            await case(made)

    asyncio.run(run())


def test_a_company_gets_its_payment_method_once_where_its_account_is_beyond_doubt(
    company: Company, tmp_path: Path
) -> None:
    async def case(made: Bench[Any]) -> None:
        steps, removal = prepared(made).steps, prepared(made).removal
        assert (await only(await made.call(removal), "kept")).plan == "setup did not make it"

        await company.delete(METHOD, ["name", "=", "Billing"])
        found = await made.call(cast("Tryton", made.connector).misfits)
        assert [each.what for each in found if each.blocks] == [
            "Tiergate Muster GmbH has no payment method that is named 'Billing'"
        ]
        another = await company.copy("account.account", ["code", "=", "1.1.9"], code="1.1.10", name="Another")
        doubtful = await only(await made.call(steps), "missing")
        assert doubtful.act is None
        assert "receivable nor payable: 1.1.9 Billing clearing, 1.1.10 Another" in doubtful.plan
        await company.delete("account.account", ["id", "=", another])

        for _ in range(2):
            step = await only(await made.call(steps), "missing")
            assert step.plan == "create it, on the account 1.1.9 Billing clearing and the journal Cash"
            assert step.act
            await made.call(step.act)
            await only(await made.call(steps), "there")
            assert not [each for each in await made.call(cast("Tryton", made.connector).misfits) if each.blocks]
            gone = await only(await made.call(removal), "ours")
            assert gone.act
            await made.call(gone.act)

        made.offset = timedelta(days=900)
        _, _, year = await made.call(steps)
        assert "has no open period for" in year.what
        assert year.plan == "a person: an accountant opens the year and its sequences"

    async def run() -> None:
        async with bench(company, tmp_path) as made:
            await case(made)

    asyncio.run(run())
