"""The lineage joins what every table has of a record, in order of time, and shows each caller what it may read."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from msgspec.structs import replace

from canonical.billing import Posting
from canonical.cases import Finding
from canonical.events import DEAL_CLOSED, INVOICE_FINALIZED, LINE_PROVISIONED, TYPE, Event
from canonical.lineage import Lineage
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Customer
from policies.business.events import EVENTS
from policies.identity.authentication import Principal
from process_apis import lineage
from process_apis.events import log
from process_apis.lineage import WORDS
from process_apis.records import cross_references, customers
from process_apis.records.dunnings import Dunnings, dunning_id
from process_apis.records.renewals import Renewals, renewal_id
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import LINES, SOMEBODY, TestClock, contract_of

READER = replace(SOMEBODY, scopes=frozenset({"orders:read", "postings:read", "cases:read", "events:read"}))
PARTNER = replace(READER, partner="reseller-nord", entities=frozenset({"DE01"}))


class Sold:
    """A deal that was sold, approved, delivered, invoiced and booked."""

    def __init__(self, context: WorkflowContext, clock: TestClock) -> None:
        self.context, self.clock = context, clock
        self.began = clock()
        self.log(DEAL_CLOSED, "006", "crm/salesforce", revision="1")
        orders = context.orders
        self.order, _ = orders.receive("salesforce", "006", 1, "cor_order", context.stalled_at())
        self.contract = cross_references.canonical_id(context.database, "con", "order", self.order)
        self.customer = "cus_" + "1" * 32
        references = {"salesforce": "001", "stripe": "cus_Stripe", "tryton": "7"}
        buyer = Customer(self.customer, "Buyer GmbH", Address(country="DE"), references=references, crm="salesforce")
        buyer = replace(buyer, partner="reseller-nord")
        contract = contract_of(self.contract, self.order, self.customer, LINES, references={"schedule": "sub_sched_1"})
        self.reach("validating")
        orders.accept(self.order, "Deal", "seller", Plan(buyer, contract, "001"))
        customers.keep(context.database, buyer)
        cross_references.move(context.database, "cus", "salesforce", "001", None, self.customer)
        self.reach("credit_review", "awaiting_approval")
        finding = Finding("credit_limit", "it owes 9,000.00 EUR")
        about = {"correlation_id": "cor_order", "legal_entity": "DE01", "customer_id": self.customer}
        self.case = context.cases.open("credit_limit", self.order, finding, ("approve", "reject"), **about).id  # pyright: ignore[reportArgumentType]
        clock.move(60)
        context.cases.resolve(self.order, "approve by chief@example.com: it pays on time", "credit_limit")
        self.reach("onboarding", "subscribing", "provisioning")
        self.log(LINE_PROVISIONED, self.order, "provisioning/provisioner", line=LINES[0].id, succeeded="true")
        self.reach("active")
        self.log(INVOICE_FINALIZED, "in_1", "billing/stripe", contract=self.contract, legal_entity="DE01")
        context.postings.expect(
            "invoice",
            "stripe",
            "in_1",
            "cor_order",
            clock(),
            contract_id=self.contract,
            customer_id=self.customer,
            legal_entity="DE01",
        )
        row = context.postings.find("invoice", "in_1")
        assert row
        clock.move(60)
        booked = Posting("R-2026-7", Money(238, "EUR"), Money(38, "EUR"), Money(238, "EUR"), clock().date(), "in_1")
        context.postings.posted(row, booked, Money(238, "EUR"))

    def log(self, kind: str, subject: str, source: str, **data: str) -> None:
        self.clock.move(60)
        event = Event(id=f"{kind}:{subject}", source=source, type=kind, subject=subject, time=self.clock(), data=data)
        log.append(self.context.database, event, "cor_event", self.clock())

    def reach(self, *states: str) -> None:
        for each in states:
            self.clock.move(60)
            self.context.orders.advance(self.order, each, next_attempt_at=None)  # pyright: ignore[reportArgumentType]

    def tell(self, record: str, principal: Principal = READER, as_of: datetime | None = None) -> Lineage | None:
        context = self.context
        return lineage.lineage(context.database, context.live_catalogue.current, principal, record, as_of)


@pytest.fixture
def sold(context: WorkflowContext, clock: TestClock) -> Sold:
    return Sold(context, clock)


def test_an_order_is_followed_from_the_deal_to_the_books_in_order_of_time(sold: Sold) -> None:
    found = sold.tell(sold.order)

    assert found
    happened = [(each.system, each.words) for each in found.entries]
    assert happened == [
        ("salesforce", "the deal 006 was closed as won, as revision 1"),
        ("tiergate", "the order is received for revision 1 of the deal 006"),
        ("tiergate", "the order is validating: it is checked whether it can be fulfilled"),
        ("tiergate", "the deal was accepted for DE01, 2.00 EUR net"),
        ("tiergate", "the order is credit review: what the customer owes is held against its credit limit"),
        ("tiergate", "the order is awaiting approval: it is over the credit limit, and a person decides"),
        ("tiergate", "a case for finance, credit limit: credit_limit: it owes 9,000.00 EUR"),
        ("tiergate", "the case credit limit is resolved: approve by chief@example.com: it pays on time"),
        ("tiergate", "the order is onboarding: billing and the books get the customer"),
        ("stripe", "the customer Buyer GmbH is there as cus_Stripe"),
        ("tryton", "the customer Buyer GmbH is there as 7"),
        ("tiergate", "the order is subscribing: billing gets the contract, and bills nothing yet"),
        ("stripe", "the contract is there, and was prepared: schedule sub_sched_1"),
        ("tiergate", "the order is provisioning: the lines are ordered, and each is delivered for itself"),
        ("provisioner", "Seat was delivered"),
        ("tiergate", "the order is active: all is delivered, and billed from its first day on"),
        ("stripe", "the invoice in_1 was issued"),
        ("tryton", "the invoice in_1 is booked as number R-2026-7: 2.38 EUR, of it tax 0.38 EUR, 2.38 EUR is left"),
    ]
    assert [each.at for each in found.entries] == sorted(each.at for each in found.entries)
    assert {each.correlation_id for each in found.entries} == {"cor_order", "cor_event"}
    assert found.left_out == 0


def test_every_id_of_it_leads_to_the_same_whether_ours_or_a_platforms(sold: Sold) -> None:
    ids = (
        sold.order,
        sold.contract,
        sold.case,
        sold.customer,
        "006",
        "in_1",
        "R-2026-7",
        "001",
        "cus_Stripe",
        "sub_sched_1",
    )
    whole = sold.tell(sold.order)
    assert whole

    found = {each: sold.tell(each) for each in ids}

    assert {each: len(known.entries) if known else 0 for each, known in found.items()} == dict.fromkeys(
        ids, len(whole.entries)
    )
    assert sold.tell("in_unknown") is None
    assert sold.tell("ord_" + "0" * 32) is None


def test_the_end_of_a_term_and_what_became_of_it_are_in_it(sold: Sold) -> None:
    renewals, until = Renewals(sold.context.database, sold.clock), date(2027, 3, 1)
    about = {"order_id": sold.order, "customer_id": sold.customer, "legal_entity": "DE01", "currency": "EUR"}
    renewals.find(sold.contract, until, mode="quoted", mrr_before=1, mrr_after=1, correlation_id="cor_9", **about)
    renewal = renewal_id(sold.contract, until)
    sold.clock.move(60)
    with renewals.at(renewal) as one:
        one.advance("quoted", next_attempt_at=None, crm="salesforce", deal_id="006R", blocked_reason="the deal")
    sold.context.cases.open("renewal_blocked", renewal, Finding("renewal", "late"), ("skip",), correlation_id="cor_9")

    for record in (renewal, "006R", sold.contract):
        found = sold.tell(record)
        assert found
        assert ("renewal", renewal, "quoted") in [(each.kind, each.id, each.state) for each in found.records]
        assert [each.words for each in found.entries if renewal in each.records] == [
            "the term of the contract ends on 2027-03-01: it is offered again",
            "the renewal is quoted with the deal 006R: the deal",
            "a case for sales, renewal blocked: renewal: late",
        ]
    of_partner = sold.tell(sold.contract, PARTNER)
    assert of_partner
    assert not any(renewal in each.records for each in of_partner.entries)
    assert sold.tell(renewal, PARTNER) is None


def test_what_a_contract_owes_and_what_people_decided_is_in_it_and_in_no_partners(sold: Sold) -> None:
    records = Dunnings(sold.context.database, sold.clock)
    records.notice(sold.contract, sold.customer, sold.order, "DE01", "EUR", "cor_9")
    key = dunning_id(sold.contract, sold.customer)
    with records.at(key) as one:
        one.enter("past_due", next_attempt_at=None, owed=11900, times=1)
        one.enter("kept", next_attempt_at=None, by="kim", reason="pays in May")

    for record in (key, sold.contract):
        found = sold.tell(record)
        assert found
        assert ("dunning", key, "kept") in [(each.kind, each.id, each.state) for each in found.records]
        assert [each.words for each in found.entries if key in each.records] == [
            "what the contract owes is past due, 119.00 EUR owed",
            "what the contract owes is kept, 119.00 EUR owed, by kim: pays in May",
        ]
    of_partner = sold.tell(sold.contract, PARTNER)
    assert of_partner
    assert not any(key in each.records for each in of_partner.entries)
    assert sold.tell(key, PARTNER) is None


def test_as_of_a_moment_nothing_later_is_shown(sold: Sold) -> None:
    found = sold.tell(sold.order, as_of=sold.began + timedelta(minutes=2))

    assert found
    assert [each.words[:18] for each in found.entries] == [
        "the deal 006 was c",
        "the order is recei",
        "the order is valid",
    ]


def test_a_partner_sees_nothing_of_how_we_work_inside(sold: Sold) -> None:
    found = sold.tell(sold.order, PARTNER)

    assert found
    shown = str(found)
    for hidden in ("006", "cus_Stripe", "salesforce", "stripe", "tryton", "chief@example.com", "9,000.00", "sub_sched"):
        assert hidden not in shown
    assert "the invoice in_1 is booked as number R-2026-7" in shown
    assert [sold.tell(each, PARTNER) for each in ("006", "001", "cus_Stripe", "sub_sched_1", "R-2026-7")] == [None] * 5


@pytest.mark.parametrize(
    "caller",
    [
        replace(READER, entities=frozenset({"FR01"})),
        replace(PARTNER, partner="reseller-sued"),
        replace(READER, scopes=frozenset({"lineage:read"})),
    ],
)
def test_who_may_not_read_the_records_sees_no_lineage(sold: Sold, caller: Principal) -> None:
    ids = (sold.order, sold.contract, sold.case, sold.customer, "006", "in_1", "R-2026-7", "001", "cus_Stripe")

    assert [sold.tell(each, caller) for each in ids] == [None] * len(ids)


@pytest.mark.parametrize(
    ("scope", "hidden"),
    [("postings:read", "is booked"), ("cases:read", "a case for"), ("events:read", "was closed as won")],
)
def test_without_a_scope_its_records_are_in_no_lineage(sold: Sold, scope: str, hidden: str) -> None:
    found = sold.tell(sold.order, replace(READER, scopes=READER.scopes - {scope}))

    assert found
    assert hidden not in str(found.entries)


def test_every_event_of_a_record_has_words_of_its_own_or_the_catalogues(context: WorkflowContext) -> None:
    known = EVENTS.of(context.live_catalogue.current)

    assert WORDS.keys() <= known.keys()
    assert all(TYPE.fullmatch(each) for each in WORDS)
