"""Cases: the same trouble is reported once, however many meet it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

from canonical.cases import Case, CaseKind, Finding
from canonical.ids import identifiers, utc_now
from policies.catalogue.live import LiveCatalogue
from process_apis.records.cases import CaseNotOpened, Cases
from process_apis.records.database import open_database
from process_apis.records.revisions import upgrade


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
