"""A deal whose records belong to another region: nothing of it is kept here, and somebody is told."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from policies.catalogue.model import SHIPPED
from tests.support.environment import Stack, wait_until

AMERICA = '\n[regions.us]\nlegal_entities = ["US01"]\n'


@pytest.fixture
def american(stack: Stack, tmp_path: Path) -> Generator[Stack]:
    """The process layer runs and stores in another region than that of its deals."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + AMERICA)
    stack.children["process"].stop()
    stack.start("process", {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue), "TIERGATE_SERVER_REGION": "us"})
    yield stack
    stack.children["process"].stop()
    stack.start("process")


def test_nothing_of_the_deal_is_kept_and_the_platform_team_gets_a_case(american: Stack) -> None:
    stack = american
    _, deal = stack.sell(stack.sale("Far Away"))

    order = stack.order_in(deal, "on_hold")
    (case,) = wait_until(lambda: stack.cases_of(order.id), 10)
    assert (case.kind, case.team, case.field) == ("outside_region", "platform", "Opportunity.LegalEntity__c")
    assert (order.plan, order.lines, order.name, order.placed_by) == (None, (), "", "")
    kept = b"".join(each.read_bytes() for each in stack.folder.glob("process.sqlite*"))
    assert b"Far Away" not in kept

    stack.children["process"].stop()
    stack.start("process")
    stack.act(case.id, "retry")

    stack.settled(stack.order_in(deal, "active"))
