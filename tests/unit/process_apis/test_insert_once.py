"""Of equal inserts the database takes one, and says so to the one that sent it: on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from process_apis.records.database import cases, events, executors, insert_once, metadata, open_database


@pytest.mark.parametrize("table", [cases, events, executors], ids=lambda table: table.name)
def test_the_first_of_two_equal_inserts_is_told_yes_and_the_second_no(database_url: str, table: sa.Table) -> None:
    database = open_database(database_url)
    metadata.create_all(database)
    values = {"document": b"{}", "beat_at": 1.0, "run": 1, "attempts": 1, "amount": 1}
    row = {each.name: values.get(each.name, "x") for each in table.columns if each.name != "seq"}

    with database.begin() as connection:
        reported = [insert_once(connection, table, row) for _ in range(2)]
    database.dispose()

    assert reported == [True, False]
