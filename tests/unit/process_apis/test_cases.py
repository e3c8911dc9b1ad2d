"""Cases: the same trouble is reported once, however many meet it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from canonical.cases import Case, CaseKind, Finding
from canonical.ids import identifiers, utc_now
from canonical.money import Money
from policies.catalogue.live import LiveCatalogue
from policies.problems import ProblemError
from process_apis.records.cases import CaseNotOpened, Cases, Wanted
from process_apis.records.database import open_database, writing
from process_apis.records.database import orders as order_rows
from process_apis.records.revisions import upgrade
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import DELIVERED, SOMEBODY, accepted_order


def test_of_many_who_open_the_same_case_at_once_one_does_and_a_closed_one_can_be_opened_anew(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    upgrade(database)
    cases = Cases(database, LiveCatalogue(), utc_now, identifiers())

    def opened(_: int) -> Case:
        finding = Finding("deal.account.tax_number", "it is another one now")
        return cases.open("customer_tax_changed", "cus_1", finding, ("skip",), correlation_id="cor_1")

    with ThreadPoolExecutor(8) as pool:
        first = {each.id for each in pool.map(opened, range(32))}
    resolved = cases.resolve("cus_1", "seen to", "customer_tax_changed")
    again = opened(0)
    database.dispose()

    assert (len(first), resolved) == (1, 1)
    assert again.id not in first


def test_a_case_whose_id_is_taken_is_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    upgrade(database)
    cases = Cases(database, LiveCatalogue(), utc_now, lambda prefix: f"{prefix}_1")
    first = cases.open("line_failed", "ord_1", Finding("lines.A", "no room"), ("retry",), correlation_id="cor_1")

    raised: list[str] = []

    def open_another() -> None:
        try:
            cases.open("line_failed", "ord_2", Finding("lines.A", "no room"), ("retry",), correlation_id="cor_1")
        except CaseNotOpened as error:
            raised.append(str(error))

    opening = Thread(target=open_another, daemon=True)  # one that never ends does not keep the test from ending
    opening.start()
    opening.join(timeout=10)
    database.dispose()

    assert len(raised) == 1
    assert first.id in raised[0]


def test_a_case_is_closed_alone_but_for_the_kinds_that_are_closed_with_it(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    upgrade(database)
    cases = Cases(database, LiveCatalogue(), utc_now, identifiers())
    kinds: tuple[CaseKind, ...] = ("deal_invalid", "duplicate_customer", "status_not_shown")
    opened: dict[tuple[str, CaseKind, str], Case] = {
        (subject, kind, field): cases.open(kind, subject, Finding(field, "wrong"), ("retry",), correlation_id="cor_1")
        for subject in ("ord_1", "ord_2")
        for kind in kinds
        for field in ("A", "B")
    }

    alone = cases.close(opened["ord_1", "deal_invalid", "A"], "seen to")
    together = cases.close(opened["ord_2", "deal_invalid", "A"], "seen to", {"deal_invalid", "duplicate_customer"})
    again = cases.close(opened["ord_1", "deal_invalid", "A"], "seen to")
    left = {
        place
        for place, case in opened.items()
        if cases.open(place[1], place[0], Finding(place[2], "wrong"), (), correlation_id="cor_1").id == case.id
    }
    database.dispose()

    assert (alone, together, again) == (1, 4, 0)
    assert opened.keys() - left == {("ord_1", "deal_invalid", "A")} | {
        ("ord_2", kind, field) for kind in kinds[:2] for field in ("A", "B")
    }


def test_the_most_urgent_the_largest_and_what_nobody_has_are_listed_in_pages(context: WorkflowContext) -> None:
    orders = [accepted_order(context, f"d{each}", *DELIVERED) for each in range(5)]
    worth = {orders[0]: (900, "EUR"), orders[1]: (70_000, "JPY"), orders[2]: (5_000, "EUR"), orders[4]: (20, "EUR")}
    for order, (amount, currency) in worth.items():
        with writing(context.database) as connection:
            values = {"amount": amount, "currency": currency}
            connection.execute(order_rows.update().where(order_rows.c.id == order).values(**values))
    hours = zip(orders, (30, 5, 40, 3, 26), strict=True)
    opened = {order: opened_about(context, order, within) for order, within in hours}
    context.cases.assign(opened[orders[3]].id, "paul@example.com")

    def listed(wanted: Wanted) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = context.cases.page(SOMEBODY, wanted, cursor, 2)
            found += [each.subject for each in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    by_name = {order: f"d{place}" for place, order in enumerate(orders)}
    urgent = listed(Wanted("open", order="due"))
    assert [by_name[each] for each in listed(Wanted("open"))] == ["d4", "d3", "d2", "d1", "d0"]
    assert [by_name[each] for each in urgent] == ["d3", "d1", "d0", "d2", "d4"]
    assert [by_name[each] for each in listed(Wanted("open", order="amount"))] == ["d1", "d2", "d0", "d3", "d4"]
    assert listed(Wanted("open", assigned_to="paul@example.com")) == [orders[3]]
    assert orders[3] not in listed(Wanted("open", assigned_to="", order="amount"))
    (first,) = context.cases.page(SOMEBODY, Wanted("open", order="amount"), None, 1).items
    assert first.amount == Money(70_000, "JPY")
    assert first.due_at == first.opened_at + timedelta(hours=5)


def test_a_cursor_whose_case_is_gone_is_refused_and_says_what_to_do(context: WorkflowContext) -> None:
    with pytest.raises(ProblemError) as refused:
        context.cases.page(SOMEBODY, Wanted(order="due"), "4711", 25)
    assert [each.reason for each in refused.value.errors] == ["begin with the first page again"]


def test_a_case_is_given_away_and_has_the_notes_of_all_who_wrote_some(context: WorkflowContext) -> None:
    case = opened_about(context, accepted_order(context, "d1", *DELIVERED), 3)
    assert context.cases.assign(case.id, "paul@example.com")
    context.cases.note(case, "I called them.", "paul@example.com")
    context.cases.note(case, "I called them.", "paul@example.com")
    context.cases.note(case, "They pay on Friday.", "mia@example.com")

    seen = context.cases.get(case.id, SOMEBODY)
    assert seen
    assert (seen.assigned_to, [(each.by, each.text) for each in seen.notes]) == (
        "paul@example.com",
        [("paul@example.com", "I called them."), ("mia@example.com", "They pay on Friday.")],
    )
    context.cases.close(case, "done")
    assert not context.cases.assign(case.id, "")


def opened_about(context: WorkflowContext, order_id: str, hours: float) -> Case:
    """Open a case that is due after some hours, a day at the most."""
    by = context.clock() + timedelta(hours=hours)
    finding = Finding("status", "it is not shown")
    return context.cases.open("status_not_shown", order_id, finding, ("retry",), correlation_id="cor_1", by=by)
