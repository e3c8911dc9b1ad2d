"""The overview of a customer shows what was disputed, corrected and owed, to those who may read that."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from canonical.events import DISPUTE_OPENED, Event
from canonical.money import Money
from canonical.orders import CustomerOverview
from process_apis.customer_overview import overview
from process_apis.records.disputes import Disputes
from process_apis.records.dunnings import Dunnings, dunning_id
from tests.support.connector_kit import samples
from tests.support.correction_bench import CLERK, Corrected, corrected

BUYER = samples.customer("cus_1")
ABOUT = {"contract": "con_1", "customer": BUYER.id, "legal_entity": "DE01", "invoice": "in_1", "dispute": "du_1"}
ALL = frozenset({"corrections:read", "disputes:read", "cases:read"})


@pytest.fixture
def paid(tmp_path: Path, empty_tables: Path) -> Generator[Corrected]:
    """Return a customer with a correction, a dispute and a debt."""
    with corrected(tmp_path, empty_tables) as subject:
        subject.ask("one", kind="refund", amount={"amount": 100, "currency": "EUR"}, proposed=True)
        database, clock = subject.context.database, subject.context.clock
        event = Event(
            id="evt_1", source="billing/stripe", type=DISPUTE_OPENED, subject="du_1", time=clock(), data=ABOUT
        )
        Disputes(database, clock).expect("du_1", event, "cor_1")
        dunnings = Dunnings(database, clock)
        dunnings.notice("con_1", BUYER.id, "ord_1", "DE01", "EUR", "cor_1")
        with dunnings.at(dunning_id("con_1", BUYER.id)) as one:
            one.enter("past_due", next_attempt_at=None, owed=500, times=1, since=clock().isoformat())
        yield subject


def shown(subject: Corrected, scopes: frozenset[str]) -> CustomerOverview:
    return overview(subject.context, BUYER, msgspec.structs.replace(CLERK, scopes=scopes))


def test_the_overview_of_a_customer_has_its_corrections_disputes_and_debts(paid: Corrected) -> None:
    found = shown(paid, ALL)

    assert [(each.kind, each.state) for each in found.corrections] == [("refund", "requested")]
    assert [(each.id, each.state) for each in found.disputes] == [("du_1", "reported")]
    assert [(each.state, each.owed) for each in found.dunnings] == [("past_due", Money(500, "EUR"))]


@pytest.mark.parametrize("scope", sorted(ALL))
def test_the_overview_shows_nothing_that_the_caller_may_not_list(paid: Corrected, scope: str) -> None:
    found = shown(paid, ALL - {scope})

    kinds = {"corrections:read": found.corrections, "disputes:read": found.disputes, "cases:read": found.dunnings}
    assert {name: len(rows) for name, rows in kinds.items()} == {name: int(name != scope) for name in ALL}


def test_a_partner_and_those_of_another_selling_company_are_shown_none_of_it(paid: Corrected) -> None:
    for who in (
        msgspec.structs.replace(CLERK, scopes=ALL, partner="reseller-nord"),
        msgspec.structs.replace(CLERK, scopes=ALL, entities=frozenset({"FR01"})),
    ):
        found = overview(paid.context, BUYER, who)
        assert (found.corrections, found.disputes, found.dunnings) == ((), (), ())
