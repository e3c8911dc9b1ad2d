"""`tiergate events` and `tiergate lineage` as who runs the layers meets them, on both kinds of database."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from click.testing import Result

from canonical.events import DEAL_CLOSED, Event
from canonical.process_events import ORDER_EVENTS
from process_apis.events import log
from process_apis.runtime.context import WorkflowContext
from tests.integration.tiergate.test_person_command import Machine
from tests.support.answering_layer import no_workflows
from tests.support.process_context import TestClock, accepted_order, context_over

Run = Callable[..., Result]


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Generator[Machine]:
    in_its_place = database_url.replace("/process.sqlite", "/state/process.sqlite")
    (tmp_path / "state").mkdir()
    with context_over(in_its_place, TestClock()) as context:
        yield Machine(tmp_path, in_its_place, context)


@pytest.fixture
def run(machine: Machine) -> Run:
    def command(*arguments: str) -> Result:
        with no_workflows():
            return machine.run(*arguments)

    return command


def closed(context: WorkflowContext, deal: str, *not_taken_by: str) -> None:
    source, when = "crm/crm-eu", context.clock()
    event = Event(id=f"{deal}:1", source=source, type=DEAL_CLOSED, subject=deal, time=when, data={"revision": "1"})
    log.append(context.database, event, "cor_1", context.clock(), not_taken_by, context.clock())


def test_events_are_listed_and_shown_with_who_has_not_taken_them(machine: Machine, run: Run) -> None:
    order = accepted_order(machine.context, "006", "validating")
    closed(machine.context, "006")
    closed(machine.context, "007", "fulfilment")

    listed = run("events", "list")
    of_one = run("events", "list", "--object", "006", "--json")
    shown = run("events", "show", "2")
    missing = run("events", "show", "9")
    far = run("events", "subscribers")

    assert listed.stdout.splitlines() == [
        f"       3 2026-03-01 12:00:00 {DEAL_CLOSED} 007, not taken by fulfilment",
        f"       2 2026-03-01 12:00:00 {DEAL_CLOSED} 006",
        f"       1 2026-03-01 12:00:00 {ORDER_EVENTS['received']} {order}",
        "3 events",
    ]
    assert [each["number"] for each in json.loads(of_one.stdout)] == [2]
    assert "  taken by amendments, change_feeds, fulfilment" in shown.stdout
    assert "  correlation id cor_1" in shown.stdout
    assert (missing.exit_code, missing.stderr) == (
        3,
        "tiergate: there is no event 9: it was never there, or was kept long enough\n",
    )
    assert "fulfilment: 1 waiting, 0 left to people, the oldest is 3 of 2026-03-01 12:00:00" in far.stdout
    assert "accounting: has taken all" in far.stdout


def test_a_dry_run_changes_nothing_and_leaves_no_audit_record(machine: Machine, run: Run) -> None:
    closed(machine.context, "006")

    dry = run("events", "replay", "--type", DEAL_CLOSED)
    none = run("events", "replay")

    assert f"  fulfilment: {DEAL_CLOSED}: 0 done, 1 missing" in dry.stdout
    assert "1 would be reacted to again; nothing was changed: --go carries it out" in dry.stdout
    assert (none.exit_code, "say which events" in none.stderr) == (3, True)
    assert not machine.settings.audit_files("process").exist()


@pytest.mark.parametrize("by", ["cus_Q1", "006"])
def test_the_lineage_of_an_order_is_found_by_an_id_that_only_a_document_has(
    machine: Machine, run: Run, by: str
) -> None:
    context = machine.context
    order_id = accepted_order(context, "006", "validating")
    plan = context.orders.get(order_id).plan
    assert plan
    plan.contract.references["subscription"] = "cus_Q1"
    context.orders.keep_plan(order_id, plan)
    closed(context, "006")

    found = run("lineage", by)
    for_machines = json.loads(run("lineage", by, "--json").stdout)
    none = run("lineage", "nothing")

    assert (for_machines["of"], len(for_machines["entries"])) == (by, len(found.stdout.split("cor_1")) - 1)
    assert f"order {order_id} is validating: crm-eu 006" in found.stdout
    assert "crm-eu       the deal 006 was closed as won, as revision 1" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 100
    assert (none.exit_code, none.stderr) == (3, "tiergate: there is nothing with the id nothing\n")
