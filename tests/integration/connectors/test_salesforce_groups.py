"""A group and its branches have one tax number and are several customers, not duplicates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from system_apis.crm.port import Crm
from tests.integration.connectors.test_salesforce import PERSON, Org
from tests.support.connector_kit.subject import Bench, bench

NUMBER = "DE136695976"


class Groups(Org):
    """An org whose accounts have parents."""

    async def member(self, name: str, parent: str | None = None) -> str:
        made = await self.account(name)
        self._org.update("Account", made, {"VatNumber__c": NUMBER, "ParentId": parent}, PERSON)
        return made


@pytest.mark.parametrize(
    ("buyer", "duplicates"),
    [("branch", ["stranger"]), ("group", ["stranger"]), ("stranger", ["branch", "group", "other branch"])],
)
def test_only_a_company_outside_of_the_group_is_a_potential_duplicate(
    tmp_path: Path, buyer: str, duplicates: list[str]
) -> None:
    org = Groups(tmp_path)

    async def act(made: Bench[Crm]) -> None:
        group = await org.member("group")
        ids = {"group": group, "stranger": await org.member("stranger")}
        for name in ("branch", "other branch"):
            ids[name] = await org.member(name, group)
        deal = await org.close_deal(ids[buyer])
        found = await made.call(lambda: made.connector.deal(deal))

        names = {each: name for name, each in ids.items()}
        assert sorted(names[each] for each in found.account.potential_duplicates) == duplicates

    async def connected() -> None:
        async with bench(org, tmp_path) as made:
            await act(made)

    asyncio.run(connected())
