"""A contract is renewed by itself at 5 % more, and charged what was said. In virtual time."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from canonical.amendments import Renew, months_after
from tests.support.amending import amendment_in, amendment_of
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.renewing import go_to, governed, invoices, renewal_in, sold, term_of

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = governed(tmp_path_factory.mktemp("virtual"), templates, "automatic")
    yield environment
    environment.stop()


def test_a_contract_is_renewed_by_itself_and_charged_what_was_said(later: Environment) -> None:
    order = sold(later, "Renewed By Itself")
    until = term_of(order)

    go_to(later, until - 50 * DAY)
    found = renewal_in(later, order, "scheduled")
    asked = amendment_in(later, amendment_of(later, found.amendment_id), "scheduled")
    assert (asked.requested_by, asked.request.actions) == (
        "process-layer",
        (Renew(months_after(until, 12), Decimal(5)),),
    )
    assert later.crm.query(f"SELECT Id FROM Opportunity WHERE TiergateKey__c = '{asked.request.key}'") == []

    go_to(later, until - 2 * DAY)
    assert renewal_in(later, order, "renewed").renews_until == months_after(until, 12)
    go_to(later, until + 2 * DAY)
    wait_until(lambda: len(invoices(later, order)) == 2, 30, "the invoice of the new term")
    newest, oldest = invoices(later, order)
    assert newest.subtotal == oldest.subtotal * 105 // 100
