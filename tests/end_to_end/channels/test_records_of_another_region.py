"""A deal whose records belong to another region: nothing of it is kept here, and somebody hears of it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from policies.catalogue.model import SHIPPED
from tests.support.environment import Environment
from tests.support.platforms import wait_until

AMERICA = '\n[regions.us]\nlegal_entities = ["US01"]\n'


@pytest.fixture
def american(environment: Environment, tmp_path: Path) -> Generator[Environment]:
    """The process layer runs and stores in another region than that of its deals."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + AMERICA)
    environment.children["process"].stop()
    environment.start("process", {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue), "TIERGATE_SERVER_REGION": "us"})
    yield environment
    environment.children["process"].stop()
    environment.start("process")


def test_nothing_of_the_deal_is_kept_and_the_platform_team_gets_a_case(american: Environment) -> None:
    environment = american
    _, deal = environment.sell(environment.sale("Far Away"))

    order = environment.order_in(deal, "on_hold")
    (case,) = wait_until(lambda: environment.cases_of(order.id), 10)
    assert (case.kind, case.team, case.field) == ("outside_region", "platform", "deal.legal_entity")
    assert (order.plan, order.lines, order.name, order.placed_by) == (None, (), "", "")
    kept = b"".join(each.read_bytes() for each in environment.folder.glob("process.sqlite*"))
    assert b"Far Away" not in kept

    environment.children["process"].stop()
    environment.start("process")
    environment.act(case.id, "retry")

    environment.settled(environment.order_in(deal, "active"))
