"""A person is found in all that a sold deal leaves, and is in no column of any table afterwards; on SQLite and on
PostgreSQL."""

from __future__ import annotations

import base64
import threading
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy import event as sqlalchemy_events

from canonical.cases import Finding
from canonical.deals import InvoiceTerms, PricedLine
from canonical.events import RECORD_REFUSED, Event
from canonical.faults import Rejected
from canonical.ids import utc_now
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Contact, Customer, Recipient
from canonical.states import OrderState
from process_apis.erasure.erase import UnderWay, erase, look
from process_apis.erasure.people import everyone, people_of, person_at
from process_apis.events import log
from process_apis.records import customers, erased
from process_apis.records.customer_merges import CustomerMerges
from process_apis.records.database import orders
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, job
from tests.support.process_context import DELIVERED, TestClock, context_over, contract_of

MAIL, NAME = "kim.beispiel@example.com", "Kim Beispiel"
OTHER = Contact("Lee Andere", "lee@example.com")
PLACEHOLDER = "erased-0123456789ab"
AT = erased.address(PLACEHOLDER)


@pytest.fixture
def context(url: str, clock: TestClock) -> Generator[WorkflowContext]:
    with context_over(url, clock) as made:
        clock.now = utc_now()
        yield made


def sold(context: WorkflowContext, deal: str, contact: Contact, *, state: OrderState = "active", to: str = "") -> str:
    """Leave in the tables what a deal does that was sold to somebody, and return the id of its order."""
    name = contact.name
    order_id, _ = context.orders.receive("salesforce", deal, 1, "cor_1", context.stalled_at())
    references = {"salesforce": f"001{deal}", "stripe": f"cus_{deal}", "tryton": "7"}
    street = f"c/o {name}\nRing 2"
    customer = Customer(
        f"cus_{deal}",
        "Beispiel GmbH",
        Address(street, "10115", "Berlin", "DE"),
        tax_number="DE136695976",
        contact=contact,
        references=references,
        crm="salesforce",
    )
    recipient = Recipient(name, to, Address("Home 3", "10115", "Berlin", "DE"))
    line = PricedLine("1", "SEAT", f"Seat of {name}", 2, Money(100, "EUR"), "month")
    contract = contract_of(
        f"con_{deal}",
        order_id,
        customer.id,
        (line,),
        references={"schedule": f"sub_sched_{deal}"},
        custom={"project": f"of {name}"},
        invoicing=InvoiceTerms(f"PO of {name}", None, recipient),
    )
    context.orders.accept(order_id, f"{name.upper()} – seats", MAIL, Plan(customer, contract, f"001{deal}"))
    customers.keep(context.database, customer)
    for each in DELIVERED:
        context.orders.advance(order_id, each, next_attempt_at=None)
    context.orders.request_lines(order_id)
    context.orders.report_line(order_id, "1", "failed", f"{name} has no licence")
    if state != "provisioning":
        context.orders.advance(order_id, state, next_attempt_at=None, blocked_reason=f"it was for {name}")
    context.postings.expect(
        "invoice",
        "stripe",
        f"in_{deal}",
        "cor_1",
        context.clock(),
        contract_id=contract.id,
        customer_id=customer.id,
        legal_entity="DE01",
    )
    context.postings.change("invoice", f"in_{deal}", blocked_reason=f"tryton: no party for {name}")
    finding = Finding("contact", f"{name} <{MAIL}> is refused")
    context.cases.open("deal_invalid", order_id, finding, ("retry",), correlation_id="cor_1", customer_id=customer.id)
    context.cases.resolve(order_id, f"skip by {MAIL}: {name} left", "deal_invalid")
    refused = Event(
        id=f"refused:{deal}",
        source="crm/salesforce",
        type=RECORD_REFUSED,
        subject=f"001{deal}",
        time=context.clock(),
        data={"reason": f"{name} is too long", "field": "deal.name"},
    )
    log.append(context.database, refused, "cor_1", context.clock())
    return order_id


@pytest.mark.parametrize("of", [("cus_one", "cus_two"), ("cus_two", "cus_one")])
def test_a_name_in_the_reason_of_a_decision_about_a_merge_is_shown_and_erased(
    context: WorkflowContext, of: tuple[str, str]
) -> None:
    database, merges = context.database, CustomerMerges(context.database, context.clock)
    sold(context, "one", Contact(NAME, MAIL))
    sold(context, "two", OTHER)
    merge = merges.see("salesforce", "001merged", "001left", *of)
    merges.choose(merge, "keep", OTHER.email, f"{NAME} asked for it")

    person = person_at(database, MAIL)
    assert look(database, person).counted()["customer_merge_states"] == 1
    erase(database, person, PLACEHOLDER)

    assert merges.history(merge)[-1].reason == f"{PLACEHOLDER} asked for it"


@DBOS.step(name="tests.erasure_step")
def say(text: str) -> str:
    return text


@DBOS.workflow(name="tests.erasure_workflow")
def leave_all(text: str) -> str:
    """Leave a text wherever the engine keeps values."""
    DBOS.set_event("key", text)
    DBOS.write_stream("key", text)
    return say(text)


def fail(engine: Engine, workflow_id: str, reason: str) -> None:
    """Run a workflow to its end that leaves a reason in the tables of the engine."""

    def refuse(_: str) -> None:
        raise Rejected("billing", reason)

    JOBS.work = refuse
    engine.start(Work(workflow_id, job, (reason,)))
    wait_until(lambda: not engine.is_running(workflow_id), 60, "it has ended")
    JOBS.work = lambda _: None


def columns_with(database: sa.Engine, *texts: str) -> list[str]:
    """Return every column of every table, ours and the engine's, that has one of the texts in some row, in whatever
    form: as it is, as bytes, in JSON, pickled in base64."""
    found: list[str] = []
    with database.connect() as connection:
        inspector = sa.inspect(connection)
        for schema in [None] if database.dialect.name == "sqlite" else [None, "dbos"]:
            for name in inspector.get_table_names(schema):
                columns = [each["name"] for each in inspector.get_columns(name, schema)]
                table = sa.table(name, *map(sa.column, columns), schema=schema)
                for row in connection.execute(sa.select(table)):
                    found += [
                        f"{name}.{column}"
                        for column, value in zip(columns, row, strict=True)
                        if any(text.casefold() in as_text(value).casefold() for text in texts)
                    ]
    return sorted(set(found))


def as_text(value: Any) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode()
    try:
        return (raw + b"\n" + base64.b64decode(raw, validate=True)).decode("utf-8", "replace")
    except ValueError:
        return raw.decode("utf-8", "replace")


def test_a_person_is_found_in_all_that_a_sold_deal_leaves_and_is_in_no_column_afterwards(
    engine: Engine, context: WorkflowContext
) -> None:
    order = sold(context, "one", Contact(NAME, MAIL))
    other = sold(context, "two", OTHER)
    fail(engine, f"order:{order}:1", f"no {MAIL} in here")
    fail(engine, "invoice:in_one:1", f"no party for {NAME}")
    fail(engine, f"order:{other}:1", "no such thing")
    engine.start(Work("customer:cus_9:1", leave_all, (f"to {MAIL}",)))
    wait_until(lambda: not engine.is_running("customer:cus_9:1"), 60, "it has ended")
    DBOS.send("customer:cus_9:1", f"to {MAIL}")
    before = columns_with(context.database, MAIL, NAME)
    person = person_at(context.database, MAIL)

    found = look(context.database, person)
    changed = erase(context.database, person, PLACEHOLDER)

    assert before == [
        "cases.document",
        "customers.document",
        "events.document",
        "notifications.message",
        "operation_outputs.output",
        "order_lines.line",
        "order_lines.reason",
        "orders.blocked_reason",
        "orders.name",
        "orders.placed_by",
        "orders.plan",
        "postings.blocked_reason",
        "streams.value",
        "workflow_events.value",
        "workflow_events_history.value",
        "workflow_input.inputs",
        "workflow_output.error",
        "workflow_output.output",
    ]
    assert not found.under_way
    assert columns_with(context.database, MAIL, NAME) == []
    assert changed == found.counted()
    assert not look(context.database, person)
    assert not look(context.database, person_at(context.database, MAIL))
    assert columns_with(context.database, OTHER.name, OTHER.email)  # nobody else is touched
    with context.database.connect() as connection:
        assert connection.scalar(sa.text(f"SELECT COUNT(*) FROM {jobs_of(context.database)}")) == 1


def jobs_of(database: sa.Engine) -> str:
    return "workflow_status" if database.dialect.name == "sqlite" else "dbos.workflow_status"


def test_records_stay_valid_and_facts_about_the_company_stay(engine: Engine, context: WorkflowContext) -> None:
    del engine
    order_id = sold(context, "one", Contact(NAME, MAIL), to=MAIL)
    before = context.orders.get(order_id)

    erase(context.database, person_at(context.database, MAIL), PLACEHOLDER)

    order = context.orders.get(order_id)
    assert order.plan
    assert before.plan
    customer, contract = order.plan.customer, order.plan.contract
    assert customer.contact == Contact(PLACEHOLDER, AT)
    assert contract.invoicing.bill_to == Recipient(PLACEHOLDER, AT, Address(country="DE"))
    assert contract.custom == {"project": f"of {PLACEHOLDER}"}
    assert order.lines[0].line.name == f"Seat of {PLACEHOLDER}"
    assert (customer.name, customer.tax_number, customer.address.city) == ("Beispiel GmbH", "DE136695976", "Berlin")
    assert (customer.references, contract.references) == (
        before.plan.customer.references,
        before.plan.contract.references,
    )
    assert (contract.net, contract.gross, order.placed_by) == (
        before.plan.contract.net,
        before.plan.contract.gross,
        AT,
    )
    kept = customers.last_seen(context.database, customer.id)
    assert kept
    assert kept.contact == Contact(PLACEHOLDER, AT)
    (case,) = [each for each in cases_of(context) if each["subject"] == order_id]
    assert case["reason"] == f"{PLACEHOLDER} <{AT}> is refused"
    assert case["resolution"] == f"skip by {AT}: {PLACEHOLDER} left"


def cases_of(context: WorkflowContext) -> list[dict[str, Any]]:
    with context.database.connect() as connection:
        return [msgspec.json.decode(each) for each in connection.scalars(sa.text("SELECT document FROM cases"))]


def test_somebody_without_an_address_is_erased_as_the_contact_of_a_customer(
    engine: Engine, context: WorkflowContext
) -> None:
    del engine
    sold(context, "one", Contact(NAME, ""))
    sold(context, "two", Contact(NAME, ""))

    (person,) = people_of(context.database, "cus_one")
    erase(context.database, person, PLACEHOLDER)

    assert people_of(context.database, "cus_one") == []
    (same_name,) = people_of(context.database, "cus_two")
    assert same_name.names == {NAME}
    assert same_name.who != person.who


def test_who_was_erased_is_known_again_by_the_digest_alone(engine: Engine, context: WorkflowContext) -> None:
    """As after a restore, which puts the tables back and not the list."""
    del engine
    sold(context, "one", Contact(NAME, MAIL))
    sold(context, "two", Contact(NAME, ""))

    found = {each.who for each in everyone(context.database)}

    assert {MAIL, people_of(context.database, "cus_two")[0].who} <= found


def test_an_order_under_way_and_a_customer_that_is_synced_are_said_and_nothing_of_them_is_changed(
    engine: Engine, context: WorkflowContext
) -> None:
    del engine
    order_id = sold(context, "one", Contact(NAME, MAIL), state="partially_active")
    customers.expect_change(context.database, "cus_one", "cor_1", context.later(60))
    person = person_at(context.database, MAIL)
    plan = context.orders.row(order_id).plan

    found = look(context.database, person)
    with pytest.raises(UnderWay) as refused:
        erase(context.database, person, PLACEHOLDER)

    assert any(f"the order {order_id} is partially_active" in each for each in found.under_way)
    assert any("the customer cus_one is being synced" in each for each in found.under_way)
    assert refused.value.what
    assert context.orders.row(order_id).plan == plan
    assert person_at(context.database, MAIL).names == {NAME}


def test_a_workflow_that_runs_is_said_and_stays(engine: Engine, context: WorkflowContext) -> None:
    sold(context, "one", Contact(NAME, MAIL))
    may_end = threading.Event()
    JOBS.work = lambda _: may_end.wait(60)
    engine.start(Work("customer:cus_other:1", job, (f"for {MAIL}",)))
    person = person_at(context.database, MAIL)

    found = look(context.database, person)
    erase(context.database, person, PLACEHOLDER)
    still = look(context.database, person)
    may_end.set()
    wait_until(lambda: not engine.is_running("customer:cus_other:1"), 60, "it has ended")
    erase(context.database, person, PLACEHOLDER)

    assert [each for each in found.under_way if "customer:cus_other:1" in each]
    assert [each.workflow_id for each in still.workflows] == ["customer:cus_other:1"]
    assert columns_with(context.database, MAIL, NAME) == []


class Killed(BaseException):
    """Ends the work as the end of the process would."""


def test_an_erasure_that_is_cut_short_anywhere_is_ended_by_the_next(engine: Engine, context: WorkflowContext) -> None:
    order = sold(context, "one", Contact(NAME, MAIL))
    sold(context, "three", Contact(NAME, MAIL), to=MAIL)
    fail(engine, f"order:{order}:1", f"no party for {NAME}")
    left = 0

    def killing(_c: object, _k: object, statement: str, *_: object) -> None:
        nonlocal left
        if statement.startswith(("UPDATE", "DELETE")) and threading.current_thread() is threading.main_thread():
            left -= 1
            if left < 0:
                raise Killed

    cut_short = 0
    while True:
        cut_short += 1
        left = cut_short
        sqlalchemy_events.listen(context.database, "before_cursor_execute", killing)
        try:
            erase(context.database, person_at(context.database, MAIL), PLACEHOLDER)
            break
        except Killed:
            assert columns_with(context.database, MAIL)  # so that it is found again, with its names
        finally:
            sqlalchemy_events.remove(context.database, "before_cursor_execute", killing)

    assert cut_short > 3
    assert columns_with(context.database, MAIL, NAME) == []


def test_erasing_again_changes_nothing(engine: Engine, context: WorkflowContext) -> None:
    del engine
    sold(context, "one", Contact(NAME, MAIL))
    erase(context.database, person_at(context.database, MAIL), PLACEHOLDER)

    assert erase(context.database, person_at(context.database, MAIL), PLACEHOLDER) == {}


def test_an_address_that_is_like_it_is_said_and_stays(engine: Engine, context: WorkflowContext) -> None:
    del engine
    sold(context, "one", Contact(NAME, MAIL))
    sold(context, "two", Contact("K. B.", MAIL.replace("kim", "Kim")))

    person = person_at(context.database, MAIL)
    erase(context.database, person, PLACEHOLDER)

    assert person.similar == (MAIL.replace("kim", "Kim"),)
    with context.database.connect() as connection:
        plans = list(connection.scalars(sa.select(orders.c.plan)))
    assert [b"Kim.beispiel@example.com" in each for each in plans] == [False, True]
