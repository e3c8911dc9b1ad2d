"""`tiergate person`: what is stored of somebody, and its erasure, as who runs the layers meets it; on both kinds of
database."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import Result

from canonical.parties import Contact
from policies.audit.records import sealing_key
from policies.audit.verify import export, verify
from process_apis.erasure.people import person_at
from process_apis.records import customers
from process_apis.records.erased import is_placeholder
from process_apis.runtime.context import WorkflowContext
from tests.integration.process_apis.test_erasure import MAIL, NAME, columns_with, sold
from tests.integration.tiergate.test_database_command import invoke
from tests.support.process_context import TestClock, context_over
from tiergate.settings import Settings, load

REASON = f"{NAME} asked by mail from {MAIL}, ticket 7"


class Machine:
    """A machine of the process layer, with its settings and its tables."""

    def __init__(self, folder: Path, url: str, context: WorkflowContext) -> None:
        self.folder = folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.config = folder / "tiergate.toml"
        on_server = url.startswith("postgresql")
        process = "".join(f'[{each}]\ndatabase_url = "{url}"\n' for each in ("process", "governance") if on_server)
        self.config.write_text(f'folder = "{self.folder}"\n{process}')
        self.settings: Settings = load(self.config, {})
        self.context = context

    def run(self, *arguments: str) -> Result:
        return invoke(*arguments, "--config", str(self.config))

    def person(self, *arguments: str) -> Result:
        return self.run("person", *arguments)

    def audited(self) -> list[bytes]:
        """Return the audit records of erasures. The log is as it was written."""
        files = self.settings.audit_files("process")
        if not files.exist():
            return []
        _, broken = verify(files, sealing_key(self.settings.audit_key()))
        assert broken == []
        return [each for each in export([files], None, None, None) if b"erase_person" in each]


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Generator[Machine]:
    in_its_place = database_url.replace("/process.sqlite", "/state/process.sqlite")
    (tmp_path / "state").mkdir()
    with context_over(in_its_place, TestClock()) as context:
        yield Machine(tmp_path, in_its_place, context)


def test_what_is_stored_of_a_person_is_shown_for_people_and_whole_for_who_asked(machine: Machine) -> None:
    order = sold(machine.context, "one", Contact(NAME, MAIL), to=MAIL)

    shown, whole = machine.person("show", MAIL), machine.person("show", "--customer", "cus_one", "--json")

    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"{MAIL} ({NAME}): ")
    assert f"  orders {order} salesforce one: name, blocked_reason, placed_by" in shown.stdout
    for place in (
        "  salesforce (sales operations) owns customer.contact: account 001one",
        "  salesforce (sales operations) owns deal.placed_by: deal one",
        "  stripe (finance operations) has a copy of customer.contact: customer cus_one",
        "  tryton (finance operations) has a copy of customer.contact: customer 7",
        "  salesforce (sales operations) is the source of contract.invoicing: deal one",
        "  stripe (finance operations) owns contract.invoicing: contract con_one sub_sched_one",
        "  tryton (finance operations) has a copy of invoice.bill_to: contract con_one sub_sched_one",
    ):
        assert place in lines
    (person,) = json.loads(whole.stdout)["people"]
    assert (person["address"], person["names"]) == (MAIL, [NAME])
    tables = {each["table"]: each["holds"] for each in person["records"]}
    assert tables.keys() == {"customers", "orders", "order_lines", "postings", "cases", "events"}
    assert tables["orders"]["plan"]["customer"]["contact"] == {"name": NAME, "email": MAIL}
    assert machine.audited() == []


def test_nothing_is_changed_without_yes_and_all_with_it_once_and_the_audit_log_has_the_digest(
    machine: Machine,
) -> None:
    sold(machine.context, "one", Contact(NAME, MAIL))

    dry = machine.person("erase", MAIL, "--reason", REASON)
    before = person_at(machine.context.database, MAIL).names
    done = machine.person("erase", MAIL, "--reason", REASON, "--yes")
    again = machine.person("erase", MAIL, "--reason", REASON, "--yes")
    shown = machine.person("show", MAIL)

    assert (dry.exit_code, done.exit_code, again.exit_code) == (0, 0, 0), done.stderr
    assert before == {NAME}
    assert "nothing was changed: --yes erases it" in dry.stdout
    assert "erased: events 1, cases 1, postings 1, order_lines 1, orders 1, customers 1" in done.stdout
    assert "owns customer.contact: account 001one" in done.stdout
    assert again.stdout == f"nothing is stored of {MAIL}\n"
    assert f"nothing is stored of {MAIL}" in shown.stdout
    assert columns_with(machine.context.database, MAIL, NAME) == []
    (record,) = machine.audited()
    assert (MAIL.encode() in record, NAME.encode() in record) == (False, False)
    assert b"asked by mail from erased-" in record
    everything = [path.read_bytes() for path in machine.folder.rglob("*.json*")]
    assert not [each for each in everything if MAIL.encode() in each]
    kept = customers.last_seen(machine.context.database, "cus_one")
    assert kept
    assert kept.contact
    assert is_placeholder(kept.contact.name)


def test_what_is_under_way_is_said_and_nothing_is_changed(machine: Machine) -> None:
    order = sold(machine.context, "one", Contact(NAME, MAIL), state="partially_active")
    before = columns_with(machine.context.database, MAIL, NAME)

    done = machine.person("erase", "--customer", "cus_one", "--reason", REASON, "--yes")

    assert done.exit_code == 3
    assert f"the order {order} is partially_active: try again when" in done.stderr
    assert columns_with(machine.context.database, MAIL, NAME) == before
    assert machine.audited() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # a server puts back its own
def test_who_was_erased_and_is_put_back_by_a_restore_is_erased_again(machine: Machine, tmp_path: Path) -> None:
    sold(machine.context, "one", Contact(NAME, MAIL))
    sold(machine.context, "two", Contact("Lee", ""))
    assert machine.run("backup", str(tmp_path / "backup")).exit_code == 0
    for who in (("erase", MAIL), ("erase", "--customer", "cus_two")):
        assert machine.person(*who, "--reason", REASON, "--yes").exit_code == 0

    machine.context.database.dispose()
    restored = machine.run("restore", str(tmp_path / "backup"), "--move-aside")
    back = columns_with(machine.context.database, MAIL)
    dry, repeated = machine.person("repeat"), machine.person("repeat", "--yes")

    assert "people who were erased (2) may be there again" in restored.stderr
    assert "tiergate person repeat --yes" in restored.stderr
    assert back
    assert "nothing was changed" in dry.stdout
    assert repeated.exit_code == 0, repeated.stderr
    assert columns_with(machine.context.database, MAIL, NAME) == []
    assert "nothing is stored" in machine.person("show", "--customer", "cus_two").stdout
    assert machine.person("repeat", "--yes").stdout == "nobody who was erased is stored\n"
    assert len(machine.audited()) == 4


def test_what_stands_in_the_way_of_one_person_stops_no_other(machine: Machine) -> None:
    held = sold(machine.context, "one", Contact(NAME, "first@example.com"), to="second@example.com")
    sold(machine.context, "two", Contact("Lee Andere", "second@example.com"))
    for mail in ("first@example.com", "second@example.com"):
        machine.person("erase", mail, "--reason", "ticket 7", "--yes")
    sold(machine.context, "three", Contact(NAME, "first@example.com"), state="partially_active")
    sold(machine.context, "four", Contact("Lee Andere", "second@example.com"))

    repeated = machine.person("repeat", "--yes")

    assert repeated.exit_code == 3
    assert "is partially_active: try again when" in repeated.stderr
    assert held not in repeated.stderr
    assert columns_with(machine.context.database, "second@example.com", "Lee Andere") == []
    assert "customers.document" in columns_with(machine.context.database, "first@example.com")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show",), 2, "name a person: by an e-mail address, or by --customer"),
        (("show", MAIL, "--customer", "cus_one"), 2, "name a person"),
        (("show", "kim"), 2, "'kim' is no e-mail address"),
        (("show", "kim b@example.com"), 2, "is no e-mail address"),
        (("erase", "erased-0123456789ab@erased.invalid", "--reason", "x"), 2, "was erased"),
        (("erase", MAIL), 2, "Missing option '--reason'"),
    ],
)
def test_wrong_usage_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = invoke("person", *arguments, "--config", str(tmp_path / "none.toml"))

    assert done.exit_code == code
    assert said in done.stderr


def test_tables_that_are_not_there_are_said(tmp_path: Path) -> None:
    config = tmp_path / "tiergate.toml"
    config.write_text(f'folder = "{tmp_path / "state"}"\n')
    (tmp_path / "state").mkdir()

    done = invoke("person", "show", MAIL, "--config", str(config))

    assert done.exit_code == 3
    assert "run `tiergate database upgrade` first" in done.stderr
