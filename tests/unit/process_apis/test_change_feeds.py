"""What a change feed cannot read, and that it stands still, are cases of the platform team that close by themselves."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from canonical.cases import Case
from canonical.deals import Deal
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, FEED_RESUMED, FEED_STOPPED, RECORD_REFUSED, Event
from canonical.faults import Rejected
from canonical.parties import Account, Address, Customer
from process_apis import change_feeds
from process_apis.case_actions import CaseActions
from process_apis.change_feeds import ChangeFeeds
from process_apis.events.dispatch import Dispatcher
from process_apis.records import cross_references, customers
from process_apis.records.cases import Wanted
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from process_apis.system_client import Platforms
from tests.support.process_context import SOMEBODY, TestClock

DEAL = "006gK0000000001AAA"
ACCOUNT = "001gK0000000001AAA"


class Crm(Platforms):
    """A CRM whose records can be read, or cannot."""

    def __init__(self) -> None:
        self.fault: Rejected | None = None

    def deal(self, crm: str, deal_id: str) -> Deal:
        assert crm == "salesforce"
        if self.fault:
            raise self.fault
        account = Account(id=ACCOUNT, name="Buyer", address=Address())
        return Deal(deal_id, "Deal", 2, account, "EUR", "DE01", date(2026, 3, 1), 12, (), won=True)

    def account(self, crm: str, account_id: str) -> Account:
        assert crm == "salesforce"
        if self.fault:
            raise self.fault
        return Account(id=account_id, name="Buyer", address=Address())


class Feeds:
    def __init__(self, context: WorkflowContext) -> None:
        self.crm = Crm()
        self.context = msgspec.structs.replace(context, platforms=self.crm)
        made = change_feeds.capability(
            self.context, Engine(EngineSettings("sqlite://", "test"), context.database, context.clock)
        )
        self._dispatcher = Dispatcher(self.context, {made.name: made.reactions})
        self._acts = CaseActions(self.context, dict.fromkeys(change_feeds.KINDS, owner_of(made)))

    def take(self, kind: str, event_id: str, subject: str, **data: str) -> None:
        event = Event(
            id=event_id, source="crm/salesforce", type=kind, subject=subject, time=self.context.clock(), data=data
        )
        self.take_event(event)

    def take_event(self, event: Event) -> None:
        self._dispatcher.take(event, "cor_1")

    def refuse(self, record: str, subject: str) -> Case:
        self.take(RECORD_REFUSED, f"refused:{subject}", subject, record=record, field="deal.revision", reason="1.5")
        (case,) = self.open_cases()
        return case

    def retry(self, case: Case) -> None:
        self._acts.act(case.id, "retry", "", SOMEBODY)

    def open_cases(self) -> list[Case]:
        return list(self.context.cases.page(SOMEBODY, Wanted("open"), None, 25).items)


def owner_of(capability: Capability) -> CaseOwner:
    assert capability.cases
    return capability.cases


@pytest.fixture
def feeds(context: WorkflowContext) -> Feeds:
    return Feeds(context)


def test_a_record_that_cannot_be_read_is_one_case_of_the_platform_team(feeds: Feeds) -> None:
    case = feeds.refuse("deal", DEAL)

    assert feeds.refuse("deal", DEAL) == case
    assert (case.kind, case.team, case.subject, case.field, case.reason) == (
        "record_not_read",
        "platform",
        DEAL,
        "deal.revision",
        "1.5",
    )
    assert case.actions == ("retry", "skip")


def test_an_event_of_billing_that_cannot_be_read_is_a_case_with_its_id(feeds: Feeds) -> None:
    about = {"record": "invoice.paid", "field": "event", "reason": "no data"}
    event = Event(
        id="refused:evt_1",
        source="billing/stripe",
        type=RECORD_REFUSED,
        subject="evt_1",
        time=feeds.context.clock(),
        data=about,
    )
    feeds.take_event(event)

    (case,) = feeds.open_cases()
    assert (case.kind, case.team, case.subject, case.actions) == ("record_not_read", "platform", "evt_1", ("skip",))
    assert case.reason == "the event evt_1 (invoice.paid) was not taken: no data"
    assert case.input == {"billing": "stripe", "record": "invoice.paid"}


def test_a_later_state_of_the_deal_closes_its_case_and_no_other(feeds: Feeds) -> None:
    feeds.refuse("deal", DEAL)

    feeds.take(DEAL_CLOSED, "other:1", "006gK0000000002AAA", revision="1")
    still_open = len(feeds.open_cases())
    feeds.take(DEAL_CLOSED, f"{DEAL}:2", DEAL, revision="2")

    assert (still_open, feeds.open_cases()) == (1, [])


def test_a_later_state_of_the_account_closes_its_case(feeds: Feeds) -> None:
    feeds.refuse("account", ACCOUNT)

    feeds.take(CUSTOMER_CHANGED, "any", "cus_1", account=ACCOUNT)

    assert feeds.open_cases() == []


def test_a_deal_that_can_be_read_again_gets_its_order(feeds: Feeds, clock: TestClock) -> None:
    feeds.retry(feeds.refuse("deal", DEAL))

    order_id, state = feeds.context.orders.receive("salesforce", DEAL, 2, "cor_2", clock())

    assert feeds.open_cases() == []
    assert state == "received"
    row = feeds.context.orders.row(order_id)
    assert (row.correlation_id, row.next_attempt_at) == ("cor_1", clock().isoformat())


@pytest.mark.parametrize("sold", [1, 3])
def test_a_deal_that_was_sold_already_is_a_case_when_it_can_be_read_again_and_no_second_sale(
    feeds: Feeds, clock: TestClock, sold: int
) -> None:
    order_id, _ = feeds.context.orders.receive("salesforce", DEAL, sold, "cor_0", clock())

    feeds.retry(feeds.refuse("deal", DEAL))

    newest = feeds.context.orders.newest_of("salesforce", DEAL)
    assert newest is not None
    assert newest.id == order_id
    assert [(each.kind, each.subject) for each in feeds.open_cases()] == [("deal_changed", order_id)]


def test_an_account_that_can_be_read_again_is_followed(feeds: Feeds, clock: TestClock) -> None:
    database = feeds.context.database
    known = cross_references.canonical_id(database, "cus", "salesforce", ACCOUNT)
    customers.keep(database, Customer(known, "Buyer", Address()))

    feeds.retry(feeds.refuse("account", ACCOUNT))

    expected = customers.expected_change(database, known)
    assert feeds.open_cases() == []
    assert expected is not None
    assert expected.next_attempt_at == clock().isoformat()


@pytest.mark.parametrize(("record", "subject"), [("deal", DEAL), ("account", ACCOUNT)])
def test_a_record_that_still_cannot_be_read_is_a_case_again(feeds: Feeds, record: str, subject: str) -> None:
    first = feeds.refuse(record, subject)
    feeds.crm.fault = Rejected("crm", "no whole number", field="deal.revision")

    feeds.retry(first)

    (again,) = feeds.open_cases()
    assert again.id != first.id
    assert (again.subject, again.reason, again.input) == (subject, "no whole number", first.input)


def test_a_feed_that_stands_still_is_a_case_until_it_goes_on(feeds: Feeds) -> None:
    since = "2026-03-01T11:49:00+00:00"
    feeds.take(FEED_STOPPED, "feed:stopped:1", "salesforce", since=since, reason="no answer")
    (case,) = feeds.open_cases()
    assert (case.kind, case.team, case.subject) == ("feed_stopped", "platform", "crm/salesforce")
    assert case.reason == f"no change was read since {since}: no answer"

    feeds.take(FEED_RESUMED, "feed:resumed:1", "salesforce")

    assert feeds.open_cases() == []


def test_people_may_leave_a_record_alone(feeds: Feeds) -> None:
    case = feeds.refuse("deal", DEAL)

    assert ChangeFeeds(feeds.context).act(case, "skip")() is None
