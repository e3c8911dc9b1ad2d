"""The names under which the engine finds what it has to go on with: they are in databases, and outlive the code's
own."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import process_apis
from tests.support.recorded_states import PROCESS, STATES, load

NAMES = {
    "workflow": {
        "Activation.run",
        "Amending.run",
        "AmendingDeals.run",
        "CatalogueSyncing.run",
        "Collections.run",
        "Correcting.run",
        "Credits.credit",
        "Credits.reverse",
        "CustomerChanges.run",
        "Disputing.run",
        "DriftLooks.run",
        "DunningLooks.run",
        "Fees.run",
        "Invoicing.run",
        "MassChanging.run",
        "QuoteToCash.compensate",
        "QuoteToCash.run",
        "Renewing.run",
        "UsageCorrecting.run",
        "UsageHandover.run",
    },
    "step": {
        "Activation.activate",
        "Amending.apply",
        "Amending.check",
        "Amending.deliver",
        "Amending.end",
        "AmendingDeals.read",
        "CatalogueSyncing.apply",
        "CatalogueSyncing.plan",
        "Collections.post_payments",
        "Correcting.book",
        "Correcting.carry_out",
        "Correcting.check",
        "Credits.post_credit_note",
        "Credits.post_reversal",
        "CustomerChanges.follow",
        "Disputing.look",
        "DriftLooks.look",
        "DunningLooks.look",
        "Fees.post_fee",
        "Invoicing.post_invoice",
        "MassChanging.go_on",
        "QuoteToCash.deprovision",
        "QuoteToCash.finish_compensation",
        "QuoteToCash.onboard",
        "QuoteToCash.provision",
        "QuoteToCash.review_credit",
        "QuoteToCash.subscribe",
        "QuoteToCash.unsubscribe",
        "QuoteToCash.validate",
        "Renewing.look",
        "UsageCorrecting.go_on",
        "UsageHandover.hand_over",
    },
    "dbos_class": {
        "Activation",
        "Amending",
        "AmendingDeals",
        "CatalogueSyncing",
        "Collections",
        "Correcting",
        "Credits",
        "CustomerChanges",
        "Disputing",
        "DriftLooks",
        "DunningLooks",
        "Fees",
        "Invoicing",
        "MassChanging",
        "QuoteToCash",
        "Renewing",
        "UsageCorrecting",
        "UsageHandover",
    },
    "instance": {
        "activation",
        "amending",
        "amending_deals",
        "catalogue_syncing",
        "collections",
        "correcting",
        "credits",
        "customer_changes",
        "disputing",
        "drift_looks",
        "dunning_looks",
        "fees",
        "invoicing",
        "mass_changing",
        "quote_to_cash",
        "renewing",
        "usage_correcting",
        "usage_handover",
    },
}
"""A name leaves this list when no database can have work under it any more, and not because code was renamed."""
RECORDED = {
    "workflow": "SELECT name FROM workflow_status",
    "step": "SELECT function_name FROM operation_outputs WHERE function_name NOT LIKE 'DBOS.%'",
    "dbos_class": "SELECT class_name FROM workflow_status",
    "instance": "SELECT config_name FROM workflow_status",
}


def test_the_durable_names_are_written_at_the_code_and_are_those_of_the_list() -> None:
    found: dict[str, list[str]] = {kind: [] for kind in NAMES}
    for path in Path(process_apis.__path__[0]).rglob("*.py"):
        for kind, name in names_in(ast.parse(path.read_text())):
            found[kind].append(name)

    assert {kind: sorted(names) for kind, names in found.items()} == {k: sorted(names) for k, names in NAMES.items()}


def test_every_name_in_a_recorded_state_is_in_the_list(tmp_path: Path) -> None:
    for state in STATES.glob("state-*"):
        path = tmp_path / f"{state.name}.sqlite"
        load((state / PROCESS).read_text(), path)
        with closing(sqlite3.connect(path)) as connection:
            for kind, query in RECORDED.items():
                recorded = {name for (name,) in connection.execute(query)}
                assert recorded
                assert recorded <= NAMES[kind]


def names_in(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the names that a module gives to workflows, steps, classes and instances; empty where Python's own
    is taken."""
    for node in ast.walk(module):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for each in node.decorator_list:
            if ast.unparse(each).startswith("DBOS."):
                yield kind_of(each), written(each)
        if isinstance(node, ast.ClassDef) and "DBOSConfiguredInstance" in [ast.unparse(each) for each in node.bases]:
            calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
            yield from (("instance", written(each)) for each in calls if ast.unparse(each.func) == "super().__init__")


def kind_of(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator).removeprefix("DBOS.")


def written(decorator: ast.expr) -> str:
    """Return the name in a call: its first argument, or the one that is called `name`."""
    if isinstance(decorator, ast.Call):
        for each in (*decorator.args[:1], *(word.value for word in decorator.keywords if word.arg == "name")):
            if isinstance(each, ast.Constant):
                return str(each.value)
    return ""
