"""Salesforce's limits: what is too long, too many or locked is no reason that an order is not taken or not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.cases import Finding
from canonical.deals import DealStatus
from canonical.faults import Conflict, Rejected
from system_apis.crm.port import Crm
from tests.integration.connectors.test_salesforce import Org
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON
from tests.support.connector_kit.subject import Bench, bench


class Strict(Org):
    """An org whose administrator has made a field of ours shorter than we ask for."""

    page = 2000

    def shorten(self, sobject: str, field: str, length: int) -> None:
        described = self._org.objects[sobject]
        made = described.fields | {field: msgspec.structs.replace(described.fields[field], length=length)}
        self._org.objects[sobject] = msgspec.structs.replace(described, fields=made)

    def lock(self, record_id: str) -> None:
        self._org.locked.add(record_id)

    def unlock(self) -> None:
        self._org.locked.clear()

    def count(self, sobject: str) -> int:
        return len(self._live(sobject))

    def record(self, sobject: str, record_id: str) -> dict[str, Any]:
        return self._org.get(sobject, record_id)


Case = Callable[[Bench[Crm], Strict], Awaitable[None]]


def in_an_org(folder: Path, case: Case) -> None:
    async def run() -> None:
        org = Strict(folder)
        async with bench(org, folder) as made:
            await case(made, org)

    asyncio.run(run())


async def shown(made: Bench[Crm], org: Strict, *findings: Finding, detail: str = "") -> dict[str, Any]:
    deal = await org.close_deal(await org.account("Shown"))
    status = DealStatus("ord_1", "on_hold", detail=detail, findings=findings)
    await made.call(lambda: made.connector.put_status(deal, status, "correlation-1"))
    return org.record("Opportunity", deal)


@pytest.mark.parametrize("length", [255, 80, 1])
def test_a_detail_that_is_longer_than_its_field_is_shortened_and_the_state_is_shown(
    tmp_path: Path, length: int
) -> None:
    async def case(made: Bench[Crm], org: Strict) -> None:
        org.shorten("Opportunity", "TiergateDetail__c", length)
        finding = Finding("deal.lines[0].quantity", "it is wrong in many ways " * 40)

        found = await shown(made, org, finding)
        before = len(made.loopback.seen)
        again = await shown(made, org, detail="x" * 300)

        assert found["TiergateStatus__c"] == "on_hold"
        assert len(found["TiergateDetail__c"]) == length
        assert found["TiergateDetail__c"].endswith("…")
        assert f"OpportunityLineItems[0].Quantity: {finding.reason}".startswith(found["TiergateDetail__c"][:-1])
        assert len(again["TiergateDetail__c"]) == length
        assert len(made.loopback.seen) - before == 1, "the length is known by then"

    in_an_org(tmp_path, case)


def test_a_detail_of_a_hundred_findings_is_shown_in_a_field_of_the_usual_length(tmp_path: Path) -> None:
    async def case(made: Bench[Crm], org: Strict) -> None:
        findings = [Finding(f"deal.lines[{place}].quantity", "ä" * 500) for place in range(100)]

        found = await shown(made, org, *findings)

        assert (found["TiergateStatus__c"], len(found["TiergateDetail__c"])) == ("on_hold", 32_768)

    in_an_org(tmp_path, case)


# ---- how many there may be


@pytest.mark.parametrize("lines", [30, 201, 450])
def test_an_order_of_many_lines_is_placed_whole_and_read_whole(tmp_path: Path, lines: int) -> None:
    async def case(made: Bench[Crm], org: Strict) -> None:
        placed = samples.placed_deal("many", await org.account("Many"), org.sku, STARTS_ON, lines=lines)

        reference = await made.call(lambda: made.connector.put_deal(placed))
        again = await made.call(lambda: made.connector.put_deal(placed))
        deal = await made.call(lambda: made.connector.deal(reference.id))

        assert again == reference
        assert deal.won
        assert [line.quantity for line in deal.lines] == [line.quantity for line in placed.lines]

    in_an_org(tmp_path, case)


def test_an_order_with_one_line_that_is_refused_leaves_no_line_and_is_not_closed(tmp_path: Path) -> None:
    async def case(made: Bench[Crm], org: Strict) -> None:
        placed = samples.placed_deal("refused", await org.account("Refused"), org.sku, STARTS_ON, lines=30)
        org.shorten("OpportunityLineItem", "TiergateKey__c", len("refused.9"))  # too short from the tenth on

        fault = await made.fault(lambda: made.connector.put_deal(placed))

        assert isinstance(fault, Rejected)
        assert fault.field == "TiergateKey__c"
        assert "data value too large" in fault.reason
        assert await org.deals("refused") == []
        assert org.count("OpportunityLineItem") == 0

    in_an_org(tmp_path, case)


def test_a_row_that_is_locked_is_a_conflict_that_passes(tmp_path: Path) -> None:
    async def case(made: Bench[Crm], org: Strict) -> None:
        account = await org.account("Locked")
        placed = samples.placed_deal("locked", account, org.sku, STARTS_ON)
        org.lock(account)

        fault = await made.fault(lambda: made.connector.put_deal(placed))
        org.unlock()
        await made.call(lambda: made.connector.put_deal(placed))

        assert isinstance(fault, Conflict)
        assert len(await org.deals("locked")) == 1

    in_an_org(tmp_path, case)
