"""A look keeps each difference once, waits for what is on its way, and a repair writes one field after a look."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from canonical.amendments import AmendmentPreview, Delta
from canonical.deals import DealStatus
from canonical.drift import Drift
from canonical.money import Money
from canonical.parties import Customer
from canonical.states import IllegalTransition
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.drift.repair import Repairs
from process_apis.drift.sweep import PACE, PAGE, PASS, Sweep
from process_apis.records import customers
from process_apis.records.database import amendments, drift_looks, orders
from tests.support.process_context import LINES, SOMEBODY, at_once
from tests.unit.process_apis.drift.conftest import ADDRESS, CUSTOMER, KIM, NUMBER, Bench

FRENCH = Principal("else", "sales-france", frozenset({"drift:read"}), frozenset({"FR01"}), "jti", 0.0, 0.0)

REQUEST = b'{"key": "one", "actions": [{"action": "cancel"}]}'
"""What was asked for does not matter here."""


def look(bench: Bench, record: str = CUSTOMER) -> list[Drift]:
    return bench.repairs.look(record, SOMEBODY)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as found:
        act()
    return found.value.problem.name


def expect(bench: Bench, record: str = CUSTOMER) -> sa.Row[Any]:
    """Have a record checked by a run. Return its row after that."""
    bench.records.expect_looks([record], "cor_12345678")
    bench.looks.look(record)
    with bench.context.database.connect() as connection:
        return connection.execute(sa.select(drift_looks).where(drift_looks.c.id == record)).one()


def test_where_all_agree_there_is_nothing(bench: Bench) -> None:
    assert look(bench) == []
    assert look(bench, bench.contract) == []


def test_a_difference_is_one_record_however_often_it_is_seen_and_comes_back(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (first,) = look(bench)
    bench.clock.move(60)
    (again,) = look(bench)
    bench.systems.change("billing", name="Buyer GmbH")
    bench.clock.move(60)
    assert look(bench) == []
    gone = bench.repairs.find(first.id, SOMEBODY)
    bench.systems.change("billing", name="Third")
    (back,) = look(bench)

    assert (first.field, first.owner, first.owner_value, first.system, first.value) == (
        "customer.name",
        "crm",
        "Buyer GmbH",
        "stripe",
        "Other",
    )
    assert (again.id, again.since, again.seen_at) == (first.id, first.since, bench.clock.now.replace(minute=1))
    assert (gone.state, gone.value, gone.settled_at) == ("gone", "Other", bench.clock.now)
    assert (back.id, back.state, back.value, back.since, back.settled_at) == (
        first.id,
        "open",
        "Third",
        bench.clock.now,
        None,
    )


def test_two_that_look_at_once_keep_one_record(bench: Bench) -> None:
    bench.systems.change("erp", email="x@example.com")
    at_once(*[lambda: look(bench)] * 4)

    (found,) = bench.records.page(SOMEBODY, {}, None, 100).items
    assert (found.field, found.system, found.value) == ("customer.contact", "tryton", "x@example.com")


def test_the_values_are_in_no_log(bench: Bench) -> None:
    bench.systems.change("erp", email="robin@example.org", name="Robin Weggang")
    with capture_logs() as logs:
        expect(bench)

    assert {each["field"] for each in logs} == {"customer.contact", "customer.name"}
    assert not any(value in str(logs) for value in ("robin", "Robin", "Weggang", KIM.email, "Buyer"))


def test_the_owner_of_a_tax_number_is_the_erp_and_its_word_is_written_to_billing(bench: Bench) -> None:
    bench.systems.change("erp", tax_number="DE136695976")
    (found,) = look(bench)
    done = bench.repairs.repair(found.id, SOMEBODY)

    assert (found.owner, found.owner_value, found.system, found.value) == ("erp", "DE136695976", "stripe", NUMBER)
    assert done.state == "repaired"
    assert look(bench) == []


def test_a_customer_that_is_gone_from_billing_is_a_drift_and_made_again(bench: Bench) -> None:
    bench.systems.copies["billing"] = None
    (found,) = look(bench)
    done = bench.repairs.repair(found.id, SOMEBODY)

    assert (found.field, found.owner, found.owner_value, found.value) == ("customer.id", "tiergate", CUSTOMER, "")
    assert done.state == "repaired"
    known = customers.last_seen(bench.context.database, CUSTOMER)
    assert known
    assert known.references["stripe"] == "new-billing"


def test_a_contract_that_the_crm_shows_otherwise_is_repaired_field_by_field(bench: Bench) -> None:
    held = bench.systems.contract
    assert held
    assert held.starts_on
    bench.systems.contract = msgspec.structs.replace(
        held, term_months=36, account_id="002", starts_on=held.starts_on.replace(year=2020)
    )
    found = {each.field: each for each in look(bench, bench.contract)}
    assert list(found) == ["contract.customer_id", "contract.starts_on", "contract.term_months"]
    bench.repairs.repair(found["contract.term_months"].id, SOMEBODY)
    (status,) = bench.systems.puts
    left = {each.field: each for each in look(bench, bench.contract)}

    assert isinstance(status, DealStatus)
    assert (status.term_months, status.account_id, status.customer_id) == (12, "002", "")
    assert list(left) == ["contract.customer_id", "contract.starts_on"]
    assert [bench.repairs.repair(each.id, SOMEBODY).state for each in left.values()] == ["repaired", "repaired"]
    assert look(bench, bench.contract) == []


@pytest.mark.parametrize(
    ("action", "ends_on", "months"),
    [("term", None, 0), ("renew", date(2028, 3, 1), 24), ("renew", date(2028, 3, 15), 25)],
)
def test_the_term_in_the_crm_is_held_against_the_end_that_is_agreed_now(
    bench: Bench, action: str, ends_on: date | None, months: int
) -> None:
    held = bench.systems.contract
    assert held
    bench.systems.contract = msgspec.structs.replace(held, term_months=months)
    assert [each.field for each in look(bench, bench.contract)] == ["contract.term_months"]
    now = bench.clock.now
    delta = Delta(action, "", Decimal(0), Money(0, "EUR"))
    preview = AmendmentPreview(bench.contract, now, LINES, LINES, (delta,), ends_on=ends_on)
    about = {"contract_id": bench.contract, "order_id": bench.order, "customer_id": CUSTOMER, "legal_entity": "DE01"}
    made = {"state": "applied", "version": 1, "effective_at": now.isoformat(), "preview": msgspec.json.encode(preview)}
    at = {"requested_at": "", "updated_at": "", "requested_by": "", "request": REQUEST, "correlation_id": "cor_1"}
    with bench.context.database.begin() as connection:
        connection.execute(amendments.insert().values(id="amd_1", **about, **made, **at))

    assert look(bench, bench.contract) == []


def test_the_longer_form_of_an_account_s_id_is_no_drift(bench: Bench) -> None:
    known = customers.last_seen(bench.context.database, CUSTOMER)
    assert known
    assert bench.systems.contract
    short = "001gK0000000001"
    customers.keep(bench.context.database, msgspec.structs.replace(known, references={"salesforce": short}))
    bench.systems.contract = msgspec.structs.replace(bench.systems.contract, account_id=f"{short}AAA")

    assert look(bench, bench.contract) == []


def test_what_the_catalogue_gives_no_copy_of_is_not_compared(bench: Bench, tmp_path: Path) -> None:
    rule = 'name = { owner = "crm", projections = ["erp", "billing"] }'
    before, section, after = SHIPPED.read_text().partition("[ownership.customer]")
    assert rule in after.partition("\n[")[0]
    path = tmp_path / "catalogue.toml"
    path.write_text(before + section + after.replace(rule, 'name = { owner = "crm", projections = ["erp"] }', 1))
    context = msgspec.structs.replace(bench.context, live_catalogue=LiveCatalogue(path))
    for domain in ("billing", "erp"):
        bench.systems.change(domain, name="Other")

    assert [each.system for each in Repairs(context, bench.records).look(CUSTOMER, SOMEBODY)] == ["tryton"]


# ---- what is on its way


def the_account_is_ahead(bench: Bench) -> None:
    bench.systems.account = msgspec.structs.replace(bench.systems.account, name="New", revision="r2")


def a_change_is_followed(bench: Bench) -> None:
    customers.expect_change(bench.context.database, CUSTOMER, "cor_1", bench.context.clock())


def an_order_is_onboarded(bench: Bench) -> None:
    order, _ = bench.context.orders.receive("salesforce", "007", 1, "cor_1", bench.context.stalled_at())
    bench.context.orders.change(order, state="onboarding", customer_id=CUSTOMER)


def a_change_is_followed_meanwhile(bench: Bench) -> None:
    bench.systems.meanwhile = lambda: a_change_is_followed(bench)


@pytest.mark.parametrize(
    "happens", [the_account_is_ahead, a_change_is_followed, an_order_is_onboarded, a_change_is_followed_meanwhile]
)
def test_what_a_change_of_ours_explains_is_no_drift(bench: Bench, happens: Callable[[Bench], None]) -> None:
    bench.systems.change("billing", name="Other")
    happens(bench)

    assert refused(lambda: look(bench)) == "not-allowed-now"
    row = expect(bench)
    assert (row.next_attempt_at, row.attempts) == (bench.context.pause(1).isoformat(), 1)
    assert bench.records.page(SOMEBODY, {}, None, 100).items == ()


@pytest.mark.parametrize("state", ["provisioning", "applying"])
def test_a_contract_waits_for_its_amendment_and_for_its_state_in_the_crm(bench: Bench, state: str) -> None:
    held = bench.systems.contract
    assert held
    bench.systems.contract = msgspec.structs.replace(held, term_months=1)
    about = {"contract_id": bench.contract, "order_id": bench.order, "customer_id": CUSTOMER, "legal_entity": "DE01"}
    at = {"requested_at": "", "updated_at": "", "requested_by": "", "request": REQUEST, "correlation_id": "cor_1"}
    with bench.context.database.begin() as connection:
        connection.execute(amendments.insert().values(id="amd_1", state=state, **about, **at))
    assert refused(lambda: look(bench, bench.contract)) == "not-allowed-now"
    with bench.context.database.begin() as connection:
        connection.execute(amendments.update().values(state="given_up"))
    bench.context.orders.change(bench.order, crm_status="provisioning")
    assert refused(lambda: look(bench, bench.contract)) == "not-allowed-now"
    bench.context.orders.change(bench.order, crm_status="active")

    assert [each.field for each in look(bench, bench.contract)] == ["contract.term_months"]


def test_a_contract_that_is_not_in_force_is_not_compared(bench: Bench) -> None:
    bench.systems.contract = None
    (found,) = look(bench, bench.contract)
    with bench.context.database.begin() as connection:
        connection.execute(orders.update().values(state="cancelled"))

    assert expect(bench, bench.contract).next_attempt_at is None
    assert bench.repairs.find(found.id, SOMEBODY).state == "gone"


# ---- repairs


def test_a_repair_writes_one_field_and_leaves_the_others_as_they_are(bench: Bench) -> None:
    bench.systems.change("billing", name="Other", email="x@example.com")
    mail, name = sorted(look(bench), key=lambda each: each.field)
    done = bench.repairs.repair(name.id, SOMEBODY)
    again = bench.repairs.repair(name.id, SOMEBODY)

    (put,) = bench.systems.puts
    assert isinstance(put, Customer)
    assert put.contact
    assert (put.name, put.contact.email, put.address, put.tax_number) == (
        "Buyer GmbH",
        "x@example.com",
        ADDRESS,
        NUMBER,
    )
    assert (done.state, done.settled_by, again) == ("repaired", "somebody", done)
    assert [each.id for each in look(bench)] == [mail.id]


def test_a_repair_is_refused_when_the_owner_says_something_else_by_now(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    bench.systems.account = msgspec.structs.replace(bench.systems.account, name="New", revision="r2")
    known = customers.last_seen(bench.context.database, CUSTOMER)
    assert known
    customers.keep(bench.context.database, msgspec.structs.replace(known, name="New", revision="r2"))

    assert refused(lambda: bench.repairs.repair(found.id, SOMEBODY)) == "owner-changed"
    assert bench.systems.puts == []
    assert bench.repairs.find(found.id, SOMEBODY).owner_value == "New"
    assert bench.repairs.repair(found.id, SOMEBODY).state == "repaired"


def test_a_look_between_the_writing_of_a_repair_and_its_note_takes_nothing_from_it(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    bench.systems.change("billing", name="Buyer GmbH")  # as the repair has written it
    assert look(bench) == []

    done = bench.records.settle(found.id, "repaired", SOMEBODY)

    assert (done.state, done.settled_by) == ("repaired", "somebody")
    with pytest.raises(IllegalTransition):
        bench.records.settle(found.id, "accepted", SOMEBODY)


def test_a_repair_of_what_is_gone_writes_nothing(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    bench.systems.change("billing", name=" Buyer  GmbH")

    assert bench.repairs.repair(found.id, SOMEBODY).state == "gone"
    assert bench.repairs.repair(found.id, SOMEBODY).state == "gone"
    assert bench.systems.puts == []


def test_a_value_that_stays_all_the_same_is_said(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    bench.systems.deaf = True

    assert refused(lambda: bench.repairs.repair(found.id, SOMEBODY)) == "drift-stays"
    assert bench.repairs.find(found.id, SOMEBODY).state == "open"


def test_what_is_accepted_stays_while_neither_side_changes(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    accepted = bench.repairs.accept(found.id, "the invoices need it", SOMEBODY)
    (same,) = look(bench)
    bench.systems.change("billing", name="Third")
    (opened,) = look(bench)

    assert (accepted.state, accepted.reason) == ("accepted", "the invoices need it")
    assert same == accepted
    assert (opened.state, opened.value, opened.reason, opened.settled_by) == ("open", "Third", "", "")
    bench.systems.change("billing", name="Buyer GmbH")
    assert look(bench) == []
    assert refused(lambda: bench.repairs.accept(found.id, "too late", SOMEBODY)) == "not-allowed-now"


def test_who_may_not_see_the_record_sees_no_drift_of_it(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    (found,) = look(bench)
    acts: tuple[Callable[[], object], ...] = (
        lambda: bench.repairs.find(found.id, FRENCH),
        lambda: bench.repairs.repair(found.id, FRENCH),
        lambda: bench.repairs.accept(found.id, "mine", FRENCH),
        lambda: bench.repairs.look(CUSTOMER, FRENCH),
        lambda: bench.repairs.look(bench.contract, FRENCH),
        lambda: bench.repairs.look(CUSTOMER[:-1] + "x", SOMEBODY),
    )

    assert {refused(act) for act in acts} == {"not-found"}
    assert bench.records.page(FRENCH, {}, None, 100).items == ()


# ---- by itself


def test_an_outage_is_waited_out_and_a_record_that_is_not_there_left_to_the_next_sweep(bench: Bench) -> None:
    bench.systems.change("billing", name="Other")
    bench.systems.away = "erp"
    waits = [expect(bench) for _ in range(2)]
    assert [row.attempts for row in waits] == [1, 2]
    assert waits[0].next_attempt_at < waits[1].next_attempt_at
    bench.systems.away = ""
    done = expect(bench)
    assert (done.next_attempt_at, done.attempts) == (None, 0)
    assert len(bench.records.page(SOMEBODY, {}, None, 100).items) == 1

    bench.systems.account = msgspec.structs.replace(bench.systems.account, id="")
    with capture_logs() as logs:
        assert expect(bench).next_attempt_at is None
    assert [(each["event"], each["platform"]) for each in logs] == [("not compared", "system")]


def test_what_is_asked_for_while_a_look_runs_is_looked_for_again(bench: Bench) -> None:
    bench.records.expect_looks([CUSTOMER], "cor_12345678")
    bench.systems.meanwhile = lambda: bench.records.expect_looks([CUSTOMER], "cor_87654321")
    bench.looks.look(CUSTOMER)
    expected = bench.records.expected_look(CUSTOMER)

    assert expected is not None
    assert expected.correlation_id == "cor_87654321"


def test_a_sweep_goes_on_where_it_was_at_its_own_pace(bench: Bench) -> None:
    known = customers.last_seen(bench.context.database, CUSTOMER)
    assert known
    for place in range(PAGE):
        customers.keep(bench.context.database, msgspec.structs.replace(known, id=f"cus_{place:032x}"))

    def due() -> int:
        """Return how many records wait for a look, after a poll of a process that has just started."""
        Sweep(bench.context, bench.records).go_on()
        with bench.context.database.connect() as connection:
            return len(connection.execute(sa.select(drift_looks).where(drift_looks.c.id.like("cus_%"))).all())

    assert due() == 0
    bench.clock.move(PASS.total_seconds())
    assert due() == PAGE
    assert due() == PAGE
    bench.clock.move(PACE.total_seconds())
    assert due() == PAGE + 1
    assert bench.records.expected_look(bench.contract) is not None
    runs = sa.select(sa.func.max(drift_looks.c.run))
    bench.clock.move(PACE.total_seconds())
    due()
    with bench.context.database.connect() as connection:
        assert connection.scalar(runs) == 0
    bench.clock.move(PASS.total_seconds())
    due()
    with bench.context.database.connect() as connection:
        assert connection.scalar(runs) == 1


@pytest.mark.parametrize("record", ["cus_" + "0" * 32, "con_" + "0" * 32, "somebody else's"])
def test_a_record_that_is_not_known_is_not_looked_for_again(bench: Bench, record: str) -> None:
    assert expect(bench, record).next_attempt_at is None
    assert bench.records.page(SOMEBODY, {}, None, 100).items == ()
