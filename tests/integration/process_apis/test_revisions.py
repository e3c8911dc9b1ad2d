"""The tables come to the newest revision from whatever there was, once, and all of it or nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from canonical.orders import Plan
from canonical.parties import Address, Customer
from process_apis.records.database import OLDEST, insert_once, metadata, open_database
from process_apis.records.database import cases as cases_table
from process_apis.records.revisions import (
    MIGRATIONS,
    REVISIONS,
    RevisionError,
    oldest_code,
    pending,
    prepare,
    revision,
    upgrade,
    works_with_former,
)
from tests.support.recorded_states import PROCESS, STATES, load

FIRST_STATE = STATES / "state-0.1" / PROCESS
FIRST = "0001"
LATER = {
    "case_notes",
    "contract_products",
    "matches",
    "leases",
    "oldest_code",
    "amendments",
    "amending_deals",
    "mass_changes",
    "mass_change_items",
    "catalogue_syncs",
    "catalogue_items",
    "catalogue_products",
    "drifts",
    "dunnings",
    "dunning_states",
    "drift_looks",
    "drift_sweeps",
    "renewals",
    "customer_merges",
    "customer_merge_states",
    "corrections",
    "correction_states",
    "webhooks",
    "webhook_deliveries",
    "webhook_attempts",
    "usage_corrections",
    "usage_sources",
    "usage_records",
    "usage_voids",
    "usage_periods",
    "disputes",
    "dispute_steps",
    "dispute_fees",
}
"""Tables that version 0.1 did not have."""
Contents = dict[str, list[dict[str, Any]]]
INSTANCES = {"crm": "salesforce", "erp": "tryton", "billing": "stripe", "provisioning": "provisioner"}


@pytest.fixture
def database(database_url: str) -> Generator[sa.Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Return all rows that version 0.1 left, by the table."""
    path = tmp_path_factory.mktemp("recorded") / "recorded.sqlite"
    load(FIRST_STATE.read_text(), path)
    engine = open_database(f"sqlite:///{path}")
    found = contents(engine)
    engine.dispose()
    return found


def brought_to(database: sa.Engine, number: str) -> None:
    with database.begin() as connection:
        config = Config(attributes={"connection": connection, "instances": INSTANCES})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, number)


def as_version_0_1_left_it(database: sa.Engine, recorded: Contents) -> None:
    """Make its tables with all their rows, and no revision."""
    brought_to(database, FIRST)
    with database.begin() as connection:
        for name, rows in recorded.items():
            if rows:
                connection.execute(sa.table(name, *map(sa.column, rows[0])).insert(), rows)
        connection.execute(sa.text("DROP TABLE alembic_version"))


def contents(database: sa.Engine) -> Contents:
    """Return all rows of the tables that version 0.1 had."""
    found: Contents = {}
    with database.connect() as connection:
        for name in metadata.tables.keys() - LATER:
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            found[name] = [dict(each) for each in rows]
    return found


def differences(database: sa.Engine) -> list[Any]:
    """Return what the tables in a database lack of what the code says, or have beside it."""
    with database.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), metadata)


def test_the_migrations_of_an_empty_database_make_the_tables_that_the_code_uses(database: sa.Engine) -> None:
    assert upgrade(database) == REVISIONS

    assert differences(database) == []
    with database.begin() as connection:
        assert revision(connection) == REVISIONS[-1]
        case = {each.name: "x" for each in cases_table.columns if each.name not in ("seq", "amount")} | {
            "document": b"{}"
        }
        new = [case | {"id": str(number), "state": "open" if number > 1 else "resolved"} for number in range(4)]
        assert [insert_once(connection, cases_table, each) for each in new] == [True, True, True, False]


@pytest.mark.parametrize("found", ["", *REVISIONS])
def test_every_earlier_revision_is_upgraded_with_its_rows(database: sa.Engine, recorded: Contents, found: str) -> None:
    as_version_0_1_left_it(database, recorded)
    if found:
        brought_to(database, found)

    prepare(database, INSTANCES, upgrade_at_start=True)

    assert differences(database) == []
    assert upgrade(database) == ()
    now = contents(database)
    assert {name: len(rows) for name, rows in now.items()} == {name: len(rows) for name, rows in recorded.items()}
    assert [each["id"] for each in now["orders"]] == [each["id"] for each in recorded["orders"]]


def test_what_was_recorded_before_instances_had_names_is_given_to_the_only_ones(
    database: sa.Engine, recorded: Contents
) -> None:
    as_version_0_1_left_it(database, recorded)

    upgrade(database, INSTANCES)

    found = contents(database)
    assert {each["crm"] for each in found["orders"]} == {"salesforce"}
    assert {each["billing"] for each in found["postings"]} == {"stripe"}
    assert {each["platform"] for each in found["references_"]} == {"salesforce", "order"}
    customers = [msgspec.json.decode(each["document"], type=Customer) for each in found["customers"]]
    plans = [msgspec.json.decode(each["plan"], type=Plan) for each in found["orders"] if each["plan"]]
    for customer in [*customers, *(each.customer for each in plans)]:
        assert customer.crm == "salesforce"
        assert "salesforce" in customer.references
        assert customer.references.keys() <= {"salesforce", "stripe", "tryton"}


def test_records_without_names_are_not_upgraded_while_a_domain_has_several_platforms(
    database: sa.Engine, recorded: Contents
) -> None:
    as_version_0_1_left_it(database, recorded)

    with pytest.raises(RevisionError, match="none or several for crm: upgrade with a catalogue that has the one"):
        upgrade(database, {domain: name for domain, name in INSTANCES.items() if domain != "crm"})

    assert contents(database) == recorded


def test_tables_that_an_interrupted_first_start_left_are_completed(database: sa.Engine, recorded: Contents) -> None:
    as_version_0_1_left_it(database, recorded)
    with database.begin() as connection:
        connection.execute(sa.text("DROP TABLE executors"))
        connection.execute(sa.text("DROP INDEX one_open_case"))

    upgrade(database, INSTANCES)

    assert differences(database) == []


def test_of_several_that_start_at_once_one_upgrades_and_the_others_wait_for_it(database_url: str) -> None:
    together = Barrier(4)

    def start(_: int) -> tuple[str, ...]:
        engine = open_database(database_url)
        with engine.connect() as connection:
            assert pending(revision(connection)) == REVISIONS
        together.wait(20)
        added = upgrade(engine)
        with engine.connect() as connection:
            assert revision(connection) == REVISIONS[-1]
        engine.dispose()
        return added

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [(), (), (), REVISIONS]


def test_an_upgrade_that_fails_leaves_nothing_behind(database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("CREATE VIEW postings AS SELECT 1 AS seq"))

    with pytest.raises(DBAPIError):
        upgrade(database)

    with database.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []


def test_tables_of_a_newer_version_are_refused_and_left_alone(database: sa.Engine) -> None:
    upgrade(database)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(OLDEST.update().values(revision="9999"))

    for attempt in (lambda: prepare(database, upgrade_at_start=True), lambda: upgrade(database)):
        with pytest.raises(RevisionError, match=f"revision 9999, .* none after {REVISIONS[-1]}: start the version"):
            attempt()

    with database.connect() as connection:
        assert revision(connection) == "9999"


def test_a_start_that_must_not_upgrade_says_what_to_do_and_changes_nothing(database: sa.Engine) -> None:
    with pytest.raises(RevisionError, match="run `tiergate database upgrade`"):
        prepare(database, upgrade_at_start=False)

    with database.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    upgrade(database)
    prepare(database, upgrade_at_start=False)


def test_a_start_on_tables_that_are_up_to_date_does_not_import_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'process.sqlite'}"
    engine = open_database(url)
    upgrade(engine)
    engine.dispose()
    code = f"""
import sys
from process_apis.records.database import open_database
from process_apis.records.revisions import prepare
prepare(open_database({url!r}), upgrade_at_start=True)
print([each for each in sys.modules if each.split(".")[0] in ("alembic", "mako")])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_revisions_are_a_line_of_files_that_say_what_they_do() -> None:
    scripts = list(reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())))

    assert [each.revision for each in scripts] == list(REVISIONS)
    assert [each.down_revision for each in scripts] == [None, *REVISIONS[:-1]]
    for each in scripts:
        path = Path(each.path)
        assert path.stem.startswith(f"{each.revision}_")
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_code_starts_on_tables_of_a_newer_version_that_only_added_to_them(database: sa.Engine) -> None:
    upgrade(database)
    with database.begin() as connection:
        assert oldest_code(connection) in REVISIONS
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    prepare(database, upgrade_at_start=False)
    assert upgrade(database) == ()

    with database.begin() as connection:
        connection.execute(OLDEST.update().values(revision="9999"))
    with pytest.raises(RevisionError, match="knows none after"):
        prepare(database, upgrade_at_start=True)


def test_a_revision_that_breaks_what_was_before_is_the_oldest_code_that_works(database: sa.Engine) -> None:
    upgrade(database)

    with database.connect() as connection:
        assert oldest_code(connection) == max(each for each in REVISIONS if not works_with_former(each))


@pytest.mark.parametrize("number", [each for each in REVISIONS if each > "0010"])
def test_a_revision_says_whether_the_code_before_works_with_it(number: str) -> None:
    script = ScriptDirectory(str(MIGRATIONS)).get_revision(number)

    assert isinstance(script.module.works_with_former, bool)
    removes = {"drop_column", "drop_table", "alter_column", "batch_alter_table", "rename_table"}
    nodes = ast.walk(ast.parse(Path(script.path).read_text()))
    called = {each.attr for each in nodes if isinstance(each, ast.Attribute)}
    assert not (script.module.works_with_former and called & removes), "it takes away what the code before uses"


def test_contracts_that_were_there_are_found_by_their_products(database: sa.Engine) -> None:
    brought_to(database, "0017")
    orders, lines, amendments = (metadata.tables[each] for each in ("orders", "order_lines", "amendments"))
    with database.begin() as connection:
        for number in range(1, 1203):
            row = {each.name: "" for each in orders.columns if not each.nullable and not each.default} | {
                "seq": number,
                "id": f"ord_{number}",
                "revision": number,
            }
            connection.execute(orders.insert(), row)
        line = {"position": 0, "state": "provisioned"}
        for order, name in ((1, "SEAT"), (600, "SEAT"), (1202, "PLAN")):
            said = {"order_id": f"ord_{order}", "line_id": "1", "line": f'{{"sku": "{name}"}}'.encode()}
            connection.execute(lines.insert(), line | said)
        row = {each.name: "" for each in amendments.columns if not each.nullable and not each.default}
        after = b'{"before": [], "after": [{"sku": "MORE"}, {"sku": "SEAT"}]}'
        for number, preview in ((1, after), (2, None)):
            of = {"seq": number, "id": f"amd_{number}", "order_id": "ord_600", "request": b"{}", "preview": preview}
            connection.execute(amendments.insert(), row | of)

    upgrade(database)

    with database.connect() as connection:
        noted = connection.execute(sa.select(metadata.tables["contract_products"])).all()
    assert sorted(tuple(each) for each in noted) == [("MORE", 600), ("PLAN", 1202), ("SEAT", 1), ("SEAT", 600)]


def test_merges_that_were_seen_before_there_were_records_have_one_each(database: sa.Engine) -> None:
    brought_to(database, "0023")
    references, customers = (metadata.tables[each] for each in ("references_", "customers"))
    cases = sa.Table("cases", sa.MetaData(), autoload_with=database)

    def customer(name: str, account: str, shares_with: str, *accounts: str) -> None:
        made = Customer(name, "Buyer", Address(), legal_entity="DE01", references={"crm": account}, crm="crm")
        row = {"id": name, "document": msgspec.json.encode(made), "partner": "", "run": 0, "attempts": 0}
        known = [{"kind": "cus", "platform": "crm", "foreign_id": each, "canonical_id": name} for each in accounts]
        with database.begin() as connection:
            connection.execute(customers.insert(), row | {"correlation_id": "", "shares_with": shares_with})
            if known:
                connection.execute(references.insert(), known)

    customer("cus_alone", "001A", "", "001A")
    customer("cus_taken", "001C", "", "001B", "001C")
    customer("cus_kept", "001E", "cus_leads", "001D")
    customer("cus_asked", "001E", "cus_leads", "001F")
    customer("cus_leads", "001E", "", "001E")
    customer("cus_switched", "001H", "", "001G", "001H")
    customer("cus_former", "001H", "cus_switched")
    case = {each.name: "" for each in cases.columns if each.name not in ("seq", "resolved_at")} | {"document": b"{}"}
    about = {"id": "cas_1", "subject": "cus_asked", "kind": "duplicate_customer", "field": "customer.account"}
    with database.begin() as connection:
        connection.execute(cases.insert(), case | about | {"state": "open"})

    upgrade(database)

    merges, steps = metadata.tables["customer_merges"], metadata.tables["customer_merge_states"]
    columns = [merges.c[each] for each in ("merged_account", "account", "customer_id", "other_customer_id", "state")]
    with database.connect() as connection:
        found = {tuple(row) for row in connection.execute(sa.select(*columns))}
        reached = sorted(connection.scalars(sa.select(steps.c.state)))
        looks = connection.execute(sa.select(merges.c.seen_at, merges.c.next_attempt_at).order_by(merges.c.seq)).all()
    assert found == {
        ("001B", "001C", "cus_taken", "", "taken_over"),
        ("001D", "001E", "cus_kept", "cus_leads", "kept"),
        ("001F", "001E", "cus_asked", "cus_leads", "asked"),
        ("001G", "001H", "cus_switched", "cus_former", "switched"),
    }
    assert reached == ["asked", "kept", "switched", "taken_over"]
    waits = [datetime.fromisoformat(at) - datetime.fromisoformat(seen) for seen, at in looks]
    assert waits == [timedelta(hours=each) for each in (6, 12, 18, 24)]  # the CRM is not asked about all at once
