"""The log is read by those who may see its records, and replayed where something is missing, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from canonical.event_log import ReplayPlan, ReplayRequest, SetInMotion
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, INVOICE_FINALIZED, RECORD_REFUSED, Event
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis import accounting, change_feeds, customer_sync, fulfilment
from process_apis.events.dispatch import Dispatcher
from process_apis.events.event_log import BATCH, EventLog
from process_apis.records.cases import Wanted
from process_apis.records.database import events, orders, postings
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings, Work
from tests.support.answering_layer import no_workflows
from tests.support.process_context import SOMEBODY, TestClock

MAKE = (fulfilment.capability, accounting.capability, customer_sync.capability, change_feeds.capability)
FRANCE = replace(SOMEBODY, entities=frozenset({"FR01"}))
PARTNER = replace(SOMEBODY, partner="reseller-nord")
SOLD, INVOICED, REFUSED = 1, 3, 4
"""The numbers of the platforms' events of a day: between and after them are those of an order and of a case."""


class IdleEngine(Engine):
    """Starts nothing, and knows what it was to start."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__(EngineSettings("sqlite://", "test"), context.database, context.clock)
        self.started: list[str] = []

    def start(self, work: Work) -> None:
        self.started.append(work.workflow_id)


class Day:
    """What happened on a day, and the log of it."""

    def __init__(self, context: WorkflowContext, clock: TestClock) -> None:
        self.context, self.clock, self.engine = context, clock, IdleEngine(context)
        made = [make(context, self.engine) for make in MAKE]
        self.dispatcher = Dispatcher(context, {each.name: each.reactions for each in made})
        self.capabilities: list[Capability] = [*made, self.dispatcher.capability()]
        self.log = EventLog(context.database, clock, self.capabilities, days=90)

    def take(self, kind: str, event_id: str, subject: str, source: str = "crm/salesforce", **data: str) -> None:
        self.clock.move(1)
        event = Event(id=event_id, source=source, type=kind, subject=subject, time=self.clock(), data=data)
        self.dispatcher.take(event, f"cor_{event_id}")

    def pass_by(self) -> None:
        """Let a deal be sold and invoiced, and a record that cannot be read be left to people."""
        self.take(DEAL_CLOSED, "d1", "006", revision="1", digest="a")
        order = self.context.orders.newest_of("salesforce", "006")
        assert order
        self.context.orders.change(order.id, legal_entity="DE01", state="active")
        self.take(INVOICE_FINALIZED, "i1", "in_1", "billing/stripe", contract="con_1", legal_entity="DE01")
        self.take(RECORD_REFUSED, "r1", "007", field="name", reason="too long")
        (case,) = self.context.cases.page(SOMEBODY, Wanted("open"), None, 25).items
        self.context.cases.close(case, "it was a test")

    def plan(self, **wanted: object) -> ReplayPlan:
        return self.log.replay(SOMEBODY, ReplayRequest(**wanted))  # pyright: ignore[reportArgumentType]

    def poll(self) -> int:
        due = self.capabilities[-1].due[0]
        rows = due.agenda.due(100)
        for row in rows:
            due.claimed(row)
        return len(rows)

    def state(self) -> list[tuple[object, ...]]:
        """Return all that the tables have, but for the log's own notes."""
        with self.context.database.connect() as connection:
            tables = [table for table in events.metadata.sorted_tables if table is not events]
            return [tuple(row) for table in tables for row in connection.execute(sa.select(table))]


@pytest.fixture
def day(context: WorkflowContext, clock: TestClock) -> Generator[Day]:
    with no_workflows():
        yield Day(context, clock)


def test_the_log_is_read_by_number_moment_type_and_record(day: Day) -> None:
    day.pass_by()

    def numbers(**wanted: object) -> list[int]:
        return [each.number for each in day.log.page(SOMEBODY, ReplayRequest(**wanted)).items]  # pyright: ignore[reportArgumentType]

    assert numbers() == [6, 5, REFUSED, INVOICED, 2, SOLD]
    assert numbers(from_number=REFUSED) == [6, 5, REFUSED]
    assert numbers(to_number=INVOICED) == [INVOICED, 2, SOLD]
    a_second_ago = day.clock() - timedelta(seconds=1)
    assert numbers(since=a_second_ago) == [6, 5, REFUSED, INVOICED]
    assert numbers(since=a_second_ago.astimezone(timezone(timedelta(hours=9)))) == [6, 5, REFUSED, INVOICED]
    assert numbers(until=a_second_ago) == [INVOICED, 2, SOLD]
    assert numbers(type=DEAL_CLOSED) == [SOLD]
    assert numbers(subject="in_1") == [INVOICED]


def test_an_event_shows_who_has_taken_it_and_what_it_set_in_motion(day: Day) -> None:
    day.pass_by()
    order = day.context.orders.newest_of("salesforce", "006")
    assert order

    deal, invoice, refused = (day.log.find(SOMEBODY, number) for number in (SOLD, INVOICED, REFUSED))

    assert deal
    assert (deal.taken_by, deal.logged.correlation_id) == (("change_feeds", "fulfilment"), "cor_d1")
    assert deal.set_in_motion == (SetInMotion("order", order.id, "active"),)
    assert invoice
    assert invoice.set_in_motion == (SetInMotion("posting", "invoice:in_1", "waiting"),)
    assert refused
    assert [(each.kind, each.state) for each in refused.set_in_motion] == [("case", "resolved")]
    assert day.log.find(SOMEBODY, 7) is None


@pytest.mark.parametrize("caller", [FRANCE, PARTNER])
def test_a_caller_of_another_legal_entity_and_a_partner_see_no_event(day: Day, caller: Principal) -> None:
    day.pass_by()

    assert day.log.page(caller, ReplayRequest()).items == ()
    assert day.log.find(caller, 1) is None
    assert day.log.replay(caller, ReplayRequest(from_number=1)).events == 0


def test_a_caller_of_the_legal_entity_sees_the_events_about_its_records(day: Day) -> None:
    day.pass_by()
    germany = replace(SOMEBODY, entities=frozenset({"DE01"}))

    assert [each.number for each in day.log.page(germany, ReplayRequest()).items] == [INVOICED, 2, SOLD]


def test_each_subscriber_says_how_far_it_is(day: Day) -> None:
    day.pass_by()
    day.take(DEAL_CLOSED, "d2", "009", revision="1.5")

    found = {each.name: each for each in day.log.subscribers()}

    assert set(found) == {"accounting", "change_feeds", "customer_sync", "fulfilment"}
    assert found["customer_sync"].types == (CUSTOMER_CHANGED,)
    late = found["fulfilment"]
    assert (late.waiting, late.left_to_people, late.oldest, late.oldest_at) == (1, 0, 7, day.clock())
    assert (found["accounting"].waiting, found["accounting"].oldest) == (0, None)


@pytest.mark.parametrize("go", [False, True])
def test_a_replay_of_what_was_done_says_that_nothing_changes_and_changes_nothing(day: Day, *, go: bool) -> None:
    day.pass_by()
    before, started = day.state(), list(day.engine.started)

    plan = day.plan(from_number=1, go=go)
    day.clock.move(60)

    assert (plan.events, plan.missing, plan.begun, plan.first, plan.last) == (3, 0, False, SOLD, REFUSED)
    assert {(each.subscriber, each.missing) for each in plan.shares} == {
        ("accounting", 0),
        ("change_feeds", 0),
        ("fulfilment", 0),
    }
    assert (day.poll(), day.state(), day.engine.started) == (0, before, started)


def forget_posting(day: Day) -> None:
    with day.context.database.begin() as connection:
        connection.execute(postings.delete())


def forget_order(day: Day) -> None:
    with day.context.database.begin() as connection:
        connection.execute(orders.delete())


@pytest.mark.parametrize(
    ("forget", "subscriber", "number"), [(forget_posting, "accounting", INVOICED), (forget_order, "fulfilment", SOLD)]
)
def test_what_is_missing_is_done_again_after_a_dry_run_that_said_so(
    day: Day, forget: Callable[[Day], None], subscriber: str, number: int
) -> None:
    day.pass_by()
    forget(day)

    dry = day.plan(from_number=1)
    untouched = day.poll()
    begun = day.plan(from_number=1, go=True)
    again = day.plan(from_number=1, go=True)
    waiting = day.log.waiting(SOLD, REFUSED)
    polled = day.poll()

    assert [(each.subscriber, each.missing) for each in dry.shares if each.missing] == [(subscriber, 1)]
    assert (dry.missing, dry.begun, untouched) == (1, False, 0)
    assert (begun.begun, again.begun, waiting, polled) == (True, True, 1, 1)
    assert day.log.waiting(SOLD, REFUSED) == 0
    assert day.plan(from_number=number, to_number=number).missing == 0


def test_a_replay_is_throttled_and_goes_on_in_the_order_of_the_log(day: Day) -> None:
    for number in range(BATCH + 5):
        day.take(INVOICE_FINALIZED, f"i{number}", f"in_{number}", "billing/stripe", contract=f"con_{number}")
    forget_posting(day)

    plan = day.plan(subscriber="accounting", per_second=5, go=True)

    assert plan.missing == BATCH + 5
    assert day.poll() == 1
    day.clock.move(10)
    assert day.poll() == 50
    with day.context.database.connect() as connection:
        done = list(connection.scalars(sa.select(postings.c.id).order_by(postings.c.seq)))
    assert done == [f"in_{number}" for number in range(51)]


def test_events_that_are_not_kept_any_more_are_refused_in_words(day: Day) -> None:
    day.pass_by()
    with day.context.database.begin() as connection:
        connection.execute(events.delete().where(events.c.seq == 1))

    for wanted in ({"from_number": 1}, {"since": day.clock() - timedelta(days=1)}):
        with pytest.raises(ProblemError) as refused:
            day.plan(**wanted)
        assert (refused.value.problem.name, refused.value.problem.status) == ("not-allowed-now", 409)
        assert refused.value.detail.startswith("Events are kept for 90 days, and those before number 2 (of ")
    assert day.plan(from_number=2).events == 2


def test_events_that_name_who_was_erased_are_left_out(day: Day) -> None:
    day.pass_by()
    day.take(RECORD_REFUSED, "r2", "008", field="contact", reason="erased-0123456789ab is too long")

    assert day.plan(from_number=1).erased == 1
    with pytest.raises(ProblemError, match="erased"):
        day.plan(from_number=7)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "$.since"),
        ({}, "$"),
        ({"subscriber": "nobody"}, "$.subscriber"),
        ({"from_number": 1, "per_second": 51}, "$.per_second"),
    ],
)
def test_a_replay_of_nothing_in_particular_is_refused(day: Day, wanted: dict[str, object], path: str) -> None:
    with pytest.raises(ProblemError) as refused:
        day.plan(**wanted)

    assert [each.path for each in refused.value.errors] == [path]
