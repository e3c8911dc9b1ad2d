"""An event is kept once and reacted to by all who subscribed, each time it is offered; a reaction that fails is tried
again, and then people decide."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from canonical.cases import Case
from canonical.events import DEAL_CLOSED, FEED_STOPPED, Event
from canonical.process_events import SOURCE
from policies.problems import ProblemError
from process_apis.case_actions import CaseActions
from process_apis.events.dispatch import Dispatcher
from process_apis.records.cases import Wanted
from process_apis.records.database import events
from process_apis.runtime.agenda import CASE_AFTER
from process_apis.runtime.capability import Reaction
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import SOMEBODY, TestClock

EVENT = Event(id="1", source="crm/salesforce", type=DEAL_CLOSED, subject="006", time=datetime(2026, 3, 1, tzinfo=UTC))
LATER = Event(id="2", source="crm/salesforce", type=DEAL_CLOSED, subject="007", time=EVENT.time)


class Subscriber:
    """Reacts to closed deals, and cannot as long as it has a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.called: list[tuple[str, str]] = []

    def react(self, event: Event, correlation_id: str) -> None:
        self.called.append((event.subject, correlation_id))
        if self.fault:
            raise self.fault

    @property
    def reactions(self) -> Mapping[str, Reaction]:
        return {DEAL_CLOSED: self.react, FEED_STOPPED: self.react}


class Log:
    """A dispatcher with two subscribers, and what polls and people do about its events."""

    def __init__(self, context: WorkflowContext, clock: TestClock, fault: Exception | None = None) -> None:
        self.context, self.clock = context, clock
        self.good, self.bad = Subscriber(), Subscriber(fault)
        subscriptions = {"bad": self.bad.reactions, "good": self.good.reactions}
        self.dispatcher = Dispatcher(context, subscriptions)
        made = self.dispatcher.capability()
        assert made.cases
        self._due = made.due[0]
        self._acts = CaseActions(context, dict.fromkeys(made.cases.kinds, made.cases))

    def poll(self) -> int:
        """Do what is due, as a poll does, and return how many events that was."""
        rows = self._due.agenda.due(100)
        assert [self._due.claimed(row) for row in rows] == [None] * len(rows)
        return len(rows)

    def fail_for_good(self) -> Case:
        """Poll until people have to see to what is not taken."""
        for _ in range(CASE_AFTER):
            self.clock.move(3600)
            self.poll()
        (case,) = self.open_cases()
        return case

    def open_cases(self) -> list[Case]:
        return list(self.context.cases.page(SOMEBODY, Wanted("open"), None, 25).items)

    def act(self, case: Case, action: str, reason: str = "") -> Case:
        return self._acts.act(case.id, action, reason, SOMEBODY)  # pyright: ignore[reportArgumentType]

    def untaken(self) -> dict[str, str]:
        with self.context.database.connect() as connection:
            of_platforms = sa.select(events).where(events.c.source != SOURCE)
            return {row.id: row.untaken for row in connection.execute(of_platforms)}


def test_all_who_subscribed_react_and_a_repeat_keeps_the_first_correlation_id(
    context: WorkflowContext, clock: TestClock
) -> None:
    log = Log(context, clock)

    new = [log.dispatcher.take(EVENT, correlation_id) for correlation_id in ("cor_1", "cor_2")]

    assert new == [True, False]
    assert log.good.called == log.bad.called == [("006", "cor_1")] * 2
    clock.move(3600)
    assert (log.untaken(), log.poll()) == ({"1": ""}, 0)


def test_an_event_that_nobody_subscribed_to_is_kept(context: WorkflowContext) -> None:
    dispatcher = Dispatcher(context, {})

    new = [dispatcher.take(EVENT, "cor_1") for _ in range(2)]

    assert new == [True, False]


def test_a_reaction_that_fails_holds_up_neither_the_others_nor_the_events_behind_and_is_tried_again(
    context: WorkflowContext, clock: TestClock
) -> None:
    log = Log(context, clock, fault=LookupError("no such order"))

    taken = [log.dispatcher.take(each, "cor_1") for each in (EVENT, LATER)]
    log.bad.fault = None
    at_once = log.poll()
    clock.move(10)
    later = log.poll()

    assert (taken, at_once, later) == ([True, True], 0, 2)
    assert [subject for subject, _ in log.good.called] == ["006", "007"]
    assert [subject for subject, _ in log.bad.called] == ["006", "007", "006", "007"]
    assert log.untaken() == {"1": "", "2": ""}
    assert log.open_cases() == []


def test_a_reaction_that_fails_again_and_again_is_one_case_of_the_team_and_tried_no_more(
    context: WorkflowContext, clock: TestClock
) -> None:
    log = Log(context, clock, fault=ValueError("'1.5' is no revision"))
    log.dispatcher.take(EVENT, "cor_1")

    case = log.fail_for_good()
    tries = len(log.bad.called)
    clock.move(10**6)

    assert (case.kind, case.team, case.subject, case.field) == ("event_not_taken", "sales", "event:1", DEAL_CLOSED)
    assert case.reason == "bad cannot take it: ValueError: '1.5' is no revision"
    assert case.input == {"event": "1", "source": "crm/salesforce", "subject": "006"}
    assert (case.actions, case.correlation_id, tries) == (("retry", "skip"), "cor_1", CASE_AFTER)
    assert (log.poll(), log.dispatcher.take(EVENT, "cor_2")) == (0, False)
    assert (len(log.bad.called), len(log.good.called)) == (tries, 1)


def test_what_the_platform_team_brings_in_is_its_own_case(context: WorkflowContext, clock: TestClock) -> None:
    log = Log(context, clock, fault=ValueError("no"))
    stopped = Event(id="3", source="crm/salesforce", type=FEED_STOPPED, subject="salesforce", time=EVENT.time)
    log.dispatcher.take(stopped, "cor_1")

    assert log.fail_for_good().team == "platform"


def test_a_retry_takes_the_event_once_the_fault_is_away_and_else_opens_another_case(
    context: WorkflowContext, clock: TestClock
) -> None:
    log = Log(context, clock, fault=ValueError("no"))
    log.dispatcher.take(EVENT, "cor_1")
    first = log.fail_for_good()

    log.act(first, "retry")
    clock.move(1)
    log.poll()
    (second,) = log.open_cases()
    log.bad.fault = None
    log.act(second, "retry")
    clock.move(1)
    log.poll()

    assert second.id != first.id
    assert (log.untaken(), log.open_cases()) == ({"1": ""}, [])


def test_what_is_left_to_people_needs_a_reason_and_is_not_reacted_to_again(
    context: WorkflowContext, clock: TestClock
) -> None:
    log = Log(context, clock, fault=ValueError("no"))
    log.dispatcher.take(EVENT, "cor_1")
    case = log.fail_for_good()

    with pytest.raises(ProblemError):
        log.act(case, "skip")
    resolved = log.act(case, "skip", "the deal was a test")
    log.bad.fault = None
    log.dispatcher.take(EVENT, "cor_2")

    assert (resolved.state, resolved.resolution) == ("resolved", "skip by somebody: the deal was a test")
    assert log.untaken() == {"1": "bad"}


def test_an_event_whose_process_died_before_it_was_reacted_to_is_found(
    context: WorkflowContext, clock: TestClock
) -> None:
    class Killed(BaseException):
        pass

    log = Log(context, clock)

    def die(event: Event, correlation_id: str) -> None:
        del event, correlation_id
        raise Killed

    with pytest.raises(Killed):
        Dispatcher(context, {"good": {DEAL_CLOSED: die}}).take(EVENT, "cor_1")
    at_once = log.poll()
    clock.move(61)

    assert (at_once, log.poll()) == (0, 1)
    assert log.good.called == [("006", "cor_1")]


def test_without_the_database_the_source_offers_the_event_again(context: WorkflowContext, clock: TestClock) -> None:
    log = Log(context, clock, fault=OperationalError("SELECT 1", {}, Exception("it is away")))

    with pytest.raises(OperationalError):
        log.dispatcher.take(EVENT, "cor_1")
    log.bad.fault = None

    assert log.dispatcher.take(EVENT, "cor_1") is False
    assert log.untaken() == {"1": ""}
