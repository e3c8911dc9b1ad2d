"""Record the state of this version with work in the middle of everything: `python -m tests.data.record_state FOLDER`.

Every workflow that the ERP's own records are not needed for is cut off by a kill: see the README beside this file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from canonical.ids import utc_now
from canonical.orders import Order
from tests.support.environment import Environment
from tests.support.platforms import OUR_READING, wait_until
from tests.support.recorded_states import record, stand_in

LONG = 120_000
"""Milliseconds: longer than any call is waited for."""
PAUSES = {"TIERGATE_PROCESS_PAUSE": "30", "TIERGATE_PROCESS_LONGEST_PAUSE": "30"}
"""What was put aside stays there while the rest is laid out."""


def main() -> None:
    """Lay out the work, kill the process layer, and write what is left."""
    into, templates = Path(sys.argv[1]), Path(os.environ.get("TIERGATE_TEMPLATES", ".tiergate/templates"))
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder), templates.resolve(), variables=PAUSES)
        try:
            lay_out(environment)
            environment.kill("process")
            environment.kill("system")
            record(environment.folder, into, utc_now(), environment.sandbox.url("system"), os.uname().nodename)
        finally:
            environment.stop()


def lay_out(environment: Environment) -> None:
    """An order in each situation, by the name of its buyer."""
    posting_that_waits_and_customer_to_follow(environment)
    order_on_hold(environment)
    delivered_slowly(environment, 8_000)
    activating = provisioning_order(environment, "Activating")
    posting = provisioning_order(environment, "Posting")
    environment.fault("erp", kind="slow", matching=posting.customer_id, milliseconds=LONG, times=0)
    schedule = activating.plan.contract.references["schedule"] if activating.plan else ""
    environment.fault("billing", kind="slow", matching=f"POST /v1/subscription_schedules/{schedule}", milliseconds=LONG)
    delivered_slowly(environment, 60_000)
    provisioning_order(environment, "Delivering")
    environment.fault("billing", kind="slow", matching="name=Onboarding", milliseconds=LONG)
    _, onboarding = environment.sell(environment.sale("Onboarding"))
    environment.order_in(onboarding, "onboarding")
    wait_until(
        lambda: pending(environment, "Activation.run") and pending(environment, "Invoicing.run"),
        20,
        "cut in the middle",
    )
    environment.fault("crm", kind="slow", matching=OUR_READING, milliseconds=LONG, times=0)
    _, validating = environment.sell(environment.sale("Validating"))
    environment.order_in(validating, "validating")
    wait_until(lambda: pending(environment, "QuoteToCash.run") == 2, 10, "two orders in the middle")
    wait_until(lambda: not undelivered(environment), 10, "what billing tells is taken in")


def posting_that_waits_and_customer_to_follow(environment: Environment) -> None:
    """The ERP takes neither an invoice nor a change of a customer."""
    for method in ("account.invoice", "party.party.write"):
        environment.fault("erp", kind="status", matching=method, times=0)
    account, deal = environment.sell(environment.sale("Waiting"))
    environment.order_in(deal, "active")
    environment.shown(deal, "active")
    wait_until(
        lambda: environment.record("SELECT 1 FROM postings WHERE kind = 'invoice' AND attempts > 0"), 20, "it waits"
    )
    wait_until(lambda: environment.record("SELECT 1 FROM postings WHERE kind = 'payment'"), 20, "it is paid")
    environment.crm.update("Account", account, Name="Waiting Renamed GmbH")
    wait_until(lambda: environment.record("SELECT 1 FROM customers WHERE attempts > 0"), 20, "a change to follow")
    environment.calm()


def order_on_hold(environment: Environment) -> None:
    """Its buyer has a tax number that cannot be."""
    _, deal = environment.sell(environment.sale("Held", tax_number="DE123456789"))
    environment.order_in(deal, "on_hold")
    environment.shown(deal, "on_hold")


def delivered_slowly(environment: Environment, milliseconds: int) -> None:
    environment.behave(sku="*", outcome="succeed", milliseconds=milliseconds)


def provisioning_order(environment: Environment, name: str) -> Order:
    _, deal = environment.sell(environment.sale(name))
    order = environment.order_in(deal, "provisioning")
    wait_until(lambda: len(environment.jobs(order.id)) == len(order.lines), 10, f"the jobs of {name}")
    return order


def pending(environment: Environment, name: str) -> int:
    """How many workflows of that name are in the middle of something."""
    return int(environment.record("SELECT COUNT(*) FROM workflow_status WHERE name = ? AND status = 'PENDING'", name))


def undelivered(environment: Environment) -> int:
    path = f"file:{stand_in(environment.folder, 'billing')}?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM documents WHERE kind = 'delivery'").fetchone()[0])


if __name__ == "__main__":
    main()
