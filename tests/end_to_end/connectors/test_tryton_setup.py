"""Setting up the books of a Tryton: what setup creates, and what it leaves to an accountant."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from canonical.ids import identifiers, utc_now
from sandbox.tryton.server import TrytonServer
from system_apis.connector import ConnectorContext
from system_apis.erp import tryton
from system_apis.erp.tryton.connector import Tryton
from system_apis.erp.tryton.setup import METHOD
from system_apis.feed_position import FeedPosition
from system_apis.setup import Setup, Step
from tests.end_to_end.connectors.test_tryton import Books
from tests.support.connector_kit.subject import Bench, bench
from tiergate.dev.sandbox import free_port, secret_file


class Company(Books):
    """The books of a company, whose accountant works in Tryton itself."""

    session = None

    async def delete(self, model: str, which: list[Any]) -> None:
        found = await self.rows(model, [which], ["id"])
        await self.call(f"model.{model}.delete", [each["id"] for each in found], {})

    async def copy(self, model: str, which: list[Any], **changes: Any) -> int:
        """Copy a record. Return the id of the copy."""
        (found,) = await self.rows(model, [which], ["id"])
        (made,) = await self.call(f"model.{model}.copy", [found["id"]], changes, {})
        return made


@pytest.fixture
def company(templates: Path, tmp_path: Path) -> Generator[Company]:
    password = secret_file(templates / "erp_password")
    server = TrytonServer(tmp_path / "tryton", templates, free_port(), utc_now().year, password)
    server.wait()
    Books.session = None  # of another server
    yield Company(server.url, password)
    Books.session = None
    server.stop()


def prepared(made: Bench[Any]) -> Setup:
    position = FeedPosition(made.folder / "position")
    context = ConnectorContext("under-test", made.client, made.clock, identifiers(), position, "")
    return tryton.prepare(cast("tryton.Settings", made.settings), context)


async def only(steps: list[Step], state: str) -> Step:
    (step,) = steps
    assert step.state == state
    return step


def test_a_company_gets_its_payment_method_once_where_its_account_is_beyond_doubt(
    company: Company, tmp_path: Path
) -> None:
    async def case(made: Bench[Any]) -> None:
        steps, removal = prepared(made).steps, prepared(made).removal
        assert (await only(await made.call(removal), "kept")).plan == "setup did not make it"

        await company.delete(METHOD, ["name", "=", "Billing"])
        assert [each.what for each in await made.call(cast("Tryton", made.connector).misfits)] == [
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
            assert await made.call(cast("Tryton", made.connector).misfits) == []
            gone = await only(await made.call(removal), "ours")
            assert gone.act
            await made.call(gone.act)

        made.offset = timedelta(days=900)
        _, year = await made.call(steps)
        assert "has no open period for" in year.what
        assert year.plan == "a person: an accountant opens the year and its sequences"

    async def run() -> None:
        async with bench(company, tmp_path) as made:
            await case(made)

    asyncio.run(run())
