"""Cases: the same trouble is told once, however many meet it at once."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from canonical.cases import Case, Finding
from canonical.ids import identifiers, utc_now
from policies.living import Living
from process_apis.records.cases import Cases
from process_apis.records.database import open_database


def test_of_many_who_open_the_same_case_at_once_one_does_and_a_closed_one_can_be_opened_anew(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    new_id = identifiers(utc_now, random.Random(1).getrandbits)
    cases = Cases(database, Living(), utc_now, new_id)

    def opened(_: int) -> Case:
        finding = Finding("Account.VatNumber__c", "it is another one now")
        return cases.open("customer_tax_changed", "cus_1", finding, ("skip",), correlation_id="cor_1")

    with ThreadPoolExecutor(8) as pool:
        first = {each.id for each in pool.map(opened, range(32))}
    resolved = cases.resolve("cus_1", "seen to")
    again = opened(0)
    database.dispose()

    assert (len(first), resolved) == (1, 1)
    assert again.id not in first
