"""Which record of a platform a customer is: its tax number says so, a person does, or it is a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from canonical.cases import Action, Case
from canonical.orders import Plan
from canonical.parties import Contact, Customer, CustomerMatch
from process_apis import onboarding
from process_apis.case_actions import CaseActions
from process_apis.order_cases import KINDS, OUTLIVE, OrderCases
from process_apis.records import customers, matches
from process_apis.runtime.capability import CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.holds import Held, open_cases
from process_apis.system_client import Platforms
from tests.support.process_context import SOMEBODY, accepted_order

NUMBER = "DE136695976"
BILLING, ERP = "stripe", "tryton"


class Records(Platforms):
    """Billing and an ERP that hold the records that a test puts there, as the system layer answers."""

    def __init__(self) -> None:
        self.there: dict[str, list[CustomerMatch]] = {BILLING: [], ERP: []}
        self.asked: list[str] = []
        self.dies_before: str = ""

    def match_billing_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        return self._match(BILLING, customer)

    def match_erp_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        return self._match(ERP, customer)

    def put_billing_customer(self, customer: Customer) -> str:
        return self._put(BILLING, customer)

    def put_erp_customer(self, customer: Customer) -> str:
        return self._put(ERP, customer)

    def _match(self, platform: str, customer: Customer) -> tuple[CustomerMatch, ...]:
        self.asked.append(platform)
        own = [each for each in self.there[platform] if each.customer_id == customer.id]
        return tuple(own or [each for each in self.there[platform] if not each.customer_id])

    def _put(self, platform: str, customer: Customer) -> str:
        if self.dies_before == platform:
            raise KeyboardInterrupt
        rows = self.there[platform]
        named = customer.references.get(platform)
        own = [each for each in rows if each.customer_id == customer.id]
        for each in own or [each for each in rows if each.id == named and not each.customer_id]:
            rows[rows.index(each)] = msgspec.structs.replace(each, customer_id=customer.id)
            return each.id
        made = CustomerMatch(f"{platform}-{len(rows)}", customer.name, customer_id=customer.id)
        rows.append(made)
        return made.id


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def at(context: WorkflowContext, records: Records) -> WorkflowContext:
    return msgspec.structs.replace(context, platforms=records)


def plan(context: WorkflowContext, deal: str = "deal", **facts: Any) -> tuple[str, Plan]:
    """Return an order that is being onboarded, and its plan."""
    order_id = accepted_order(context, deal, "validating", "credit_review", "onboarding")
    made = context.orders.get(order_id).plan
    assert made
    known = {"tax_number": NUMBER, "contact": Contact("Kim", "kim@buyer.example"), "id": "cus_buyer"} | facts
    changed = msgspec.structs.replace(made, customer=msgspec.structs.replace(made.customer, **known))
    context.orders.accept(order_id, "Deal", "seller", changed)
    return order_id, changed


def same(key: str = "12", **facts: Any) -> CustomerMatch:
    found = CustomerMatch(key, "Buyer & Co", tax_number=NUMBER, same_tax_number=True)
    return msgspec.structs.replace(found, **facts)


def alike(key: str = "12", **facts: Any) -> CustomerMatch:
    return msgspec.structs.replace(CustomerMatch(key, "BUYER", "kim@buyer.example", "Berlin"), **facts)


def held(context: WorkflowContext, deal: str = "deal", **facts: Any) -> list[Case]:
    """Onboard, which a question stops. Return the cases that the order is held by."""
    order_id, made = plan(context, deal, **facts)
    return hold(context, order_id, made)


def hold(context: WorkflowContext, order_id: str, made: Plan) -> list[Case]:
    with pytest.raises(Held) as raised:
        onboarding.onboard(context, made)
    open_cases(context, context.orders.get(order_id), raised.value)
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, held_in="onboarding")
    return [each for each in context.cases.open_of(made.customer.id, "duplicate_customer") if each.subject == order_id]


def act(context: WorkflowContext, case: Case, action: Action, restart: Callable[[str], None] = lambda _: None) -> Case:
    cases = OrderCases(context, restart)
    owner = CaseOwner(KINDS, cases.act, cases.asked_by, OUTLIVE)
    return CaseActions(context, dict.fromkeys(KINDS, owner)).act(case.id, action, "seen", SOMEBODY)


def test_a_customer_that_is_nowhere_is_made_everywhere(at: WorkflowContext) -> None:
    _, made = plan(at)

    done = onboarding.onboard(at, made)

    assert done.customer.references == {BILLING: "stripe-0", ERP: "tryton-0"}
    assert done.contract.references["customer"] == "stripe-0"


def test_the_only_record_with_its_tax_number_is_taken_over(at: WorkflowContext, records: Records) -> None:
    records.there[BILLING], records.there[ERP] = [same("cus_their"), alike("cus_other")], [same("12")]
    _, made = plan(at)

    done = onboarding.onboard(at, made)

    assert done.customer.references == {BILLING: "cus_their", ERP: "12"}


def test_a_customer_that_is_known_is_not_looked_for(at: WorkflowContext, records: Records) -> None:
    _, made = plan(at)
    first = onboarding.onboard(at, made)
    records.asked.clear()
    records.there[ERP].append(same("99"))

    second = onboarding.onboard(at, plan(at, "second")[1])

    assert (records.asked, second.customer.references) == ([], first.customer.references)


@pytest.mark.parametrize(
    ("there", "facts", "said"),
    [
        ([alike()], {}, "the same name and e-mail"),
        ([alike(email="other@buyer.example")], {}, "the same name"),
        ([alike(name="Else")], {}, "the same e-mail"),
        ([alike(tax_number="DE999999999")], {}, "the same name and e-mail"),
        ([same(), same("13")], {}, "none of the 2 in question is"),
        ([same(active=False)], {}, "activate it there"),
        ([same()], {"parent_id": "cus_group"}, "the same tax number"),
    ],
)
def test_what_does_not_say_for_certain_that_it_is_the_customer_is_for_a_person(
    at: WorkflowContext, records: Records, there: list[CustomerMatch], facts: dict[str, Any], said: str
) -> None:
    records.there[ERP] = list(there)

    cases = held(at, **facts)

    assert [each.field for each in cases] == [f"customer.references.{ERP}={each.id}" for each in there]
    assert said in cases[0].reason
    assert all(part in cases[0].reason for part in (there[0].id, there[0].name, there[0].email, there[0].city))
    assert cases[0].actions == ("retry", "skip", "compensate")
    assert records.there == {BILLING: [], ERP: there}


@pytest.mark.parametrize(
    "there",
    [
        alike(name="Else", tax_number="DE999999999"),
        CustomerMatch("12", "Else", "else@example.com"),
        same(customer_id="cus_else"),
    ],
)
def test_a_record_of_somebody_else_is_no_question(at: WorkflowContext, records: Records, there: CustomerMatch) -> None:
    records.there[ERP] = [there]
    _, made = plan(at)

    assert onboarding.onboard(at, made).customer.references[ERP] == "tryton-1"


@pytest.mark.parametrize(("action", "record"), [("retry", "12"), ("skip", "tryton-2")])
def test_a_person_decides_once_for_all_orders_of_the_customer(
    at: WorkflowContext, records: Records, action: Action, record: str
) -> None:
    records.there[ERP] = [alike("12"), alike("13")]
    first = held(at)
    second = held(at, "second")
    restarted: list[str] = []

    act(at, first[0], action, restarted.append)

    assert sorted(restarted) == sorted({first[0].subject, second[0].subject})
    assert at.cases.open_of("cus_buyer", "duplicate_customer") == []
    for each in restarted:
        assert at.orders.row(each).state == "onboarding"
        made = at.orders.get(each).plan
        assert made
        assert onboarding.onboard(at, made).customer.references[ERP] == record
    assert [each.id for each in records.there[ERP] if each.customer_id] == [record]


def test_each_platform_is_asked_about_in_its_turn(at: WorkflowContext, records: Records) -> None:
    records.there[BILLING], records.there[ERP] = [alike("cus_their")], [alike("12")]
    order_id, made = plan(at)
    (billing,) = hold(at, order_id, made)
    act(at, billing, "retry")

    (erp,) = hold(at, order_id, made)
    act(at, erp, "skip")

    assert onboarding.onboard(at, made).customer.references == {BILLING: "cus_their", ERP: "tryton-1"}


def test_a_record_that_a_person_linked_there_is_the_one_whatever_is_decided(
    at: WorkflowContext, records: Records
) -> None:
    records.there[ERP] = [alike("12"), alike("13")]
    order_id, made = plan(at)
    case, _ = hold(at, order_id, made)
    records.there[ERP][1] = alike("13", customer_id="cus_buyer")

    act(at, case, "retry")

    assert onboarding.onboard(at, made).customer.references[ERP] == "13"
    assert not records.there[ERP][0].customer_id


@pytest.mark.parametrize("left", [[], [alike("12", active=False)], [alike("12", customer_id="cus_else")]])
def test_a_record_that_cannot_be_taken_over_any_more_is_decided_about_again(
    at: WorkflowContext, records: Records, left: list[CustomerMatch]
) -> None:
    records.there[ERP] = [alike("12")]
    order_id, made = plan(at)
    (case,) = hold(at, order_id, made)
    act(at, case, "retry")
    records.there[ERP] = [*left, alike("14")]

    asked = hold(at, order_id, made)

    assert [each.input["record"] for each in asked] == [each.id for each in records.there[ERP] if not each.customer_id]


def test_a_record_is_one_customer_s_even_if_two_take_it_at_once(at: WorkflowContext, records: Records) -> None:
    records.there[ERP] = [same("12")]
    _, made = plan(at)
    matches.decide(at.database, "cus_else", ERP, "12")  # and is about to write its id to it

    assert onboarding.onboard(at, made).customer.references[ERP] == "tryton-1"


@pytest.mark.parametrize("platform", [BILLING, ERP])
def test_a_process_that_dies_after_the_decision_takes_the_same_record(
    at: WorkflowContext, records: Records, platform: str
) -> None:
    records.there[BILLING], records.there[ERP] = [same("cus_their")], [same("12")]
    _, made = plan(at)
    records.dies_before = platform
    with pytest.raises(KeyboardInterrupt):
        onboarding.onboard(at, made)
    records.dies_before = ""
    for rows in records.there.values():
        rows.append(same("another"))  # it would be a question now

    done = onboarding.onboard(at, made)

    assert done.customer.references == {BILLING: "cus_their", ERP: "12"}
    assert customers.last_seen(at.database, "cus_buyer") == done.customer
