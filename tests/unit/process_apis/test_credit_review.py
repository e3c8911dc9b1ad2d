"""What is held against a customer's limit: what it owes as the ERP's record, and its orders, in the books' currency."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import msgspec
import pytest

from canonical.faults import Rejected
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Credit, Customer, CustomerMatch
from process_apis import credit_review
from process_apis.records import customers
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.holds import Held
from process_apis.system_client import Platforms
from tests.support.process_context import accepted_order

RATES = {"USD": Decimal("0.8"), "JPY": Decimal("0.005")}
FIRST = Money(238, "EUR")
"""The first invoice of each order."""


class Erp(Platforms):
    """An ERP with a customer's record, as the system layer answers. It lacks the rates that it is not given."""

    def __init__(self) -> None:
        self.found: tuple[CustomerMatch, ...] = (CustomerMatch("12", "Buyer", same_tax_number=True),)
        self.used, self.limit = Money.zero("EUR"), Money(1000, "EUR")
        self.rates = RATES
        self.others: dict[str, Money] = {}
        self.limits: dict[str, Money] = {}
        self.asked: list[tuple[list[str], str]] = []

    def match_erp_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        return self.found if customer.id == "cus_1" else ()

    def credit(self, customer_id: str, legal_entity: str, currencies: Collection[str], record: str) -> Credit:
        assert legal_entity == "DE01"
        if customer_id != "cus_1":
            return Credit(self.others[customer_id], self.limits.get(customer_id), {})
        self.asked.append((sorted(currencies), record))
        if missing := set(currencies) - {"EUR"} - self.rates.keys():
            raise Rejected("erp", f"no rate of {missing}", field="currency")
        return Credit(self.used, self.limit, {each: self.rates[each] for each in currencies if each != "EUR"})


@pytest.fixture
def erp() -> Erp:
    return Erp()


@pytest.fixture
def at(context: WorkflowContext, erp: Erp) -> WorkflowContext:
    return msgspec.structs.replace(context, platforms=erp)


def ordered(
    context: WorkflowContext, deal: str, currency: str, *, onboarding: bool = True, buyer: str = "cus_1"
) -> tuple[str, Plan]:
    """Return an order of one customer in a currency, and its plan."""
    states = ("validating", "credit_review", "onboarding")
    order_id = accepted_order(context, deal, *states[: 3 if onboarding else 2])
    made = context.orders.get(order_id).plan
    assert made
    lines = tuple(
        msgspec.structs.replace(each, unit_price=Money(each.unit_price.amount, currency))
        for each in made.contract.lines
    )
    contract = msgspec.structs.replace(made.contract, customer_id=buyer, currency=currency, lines=lines)
    plan = msgspec.structs.replace(made, customer=msgspec.structs.replace(made.customer, id=buyer), contract=contract)
    context.orders.accept(order_id, "Deal", "seller", plan)
    return order_id, plan


def reviewed(context: WorkflowContext, currency: str = "EUR") -> str:
    return credit_review.over_the_limit(context, *ordered(context, "reviewed", currency, onboarding=False))


@pytest.mark.parametrize(("owed", "reason"), [(762, ""), (763, "7.63 EUR owed and 2.38 EUR more is over")])
def test_what_the_record_with_the_tax_number_of_a_new_customer_owes_counts(
    at: WorkflowContext, erp: Erp, owed: int, reason: str
) -> None:
    erp.used = Money(owed, "EUR")

    assert reviewed(at).startswith(reason)
    assert erp.asked == [(["EUR"], "12")]


def test_a_customer_that_is_nowhere_in_the_erp_owes_nothing(at: WorkflowContext, erp: Erp) -> None:
    erp.found, erp.limit = (), Money.zero("EUR")

    assert (reviewed(at), erp.asked) == ("", [])


def test_a_record_with_its_name_alone_is_a_question_before_its_credit_is_reviewed(
    at: WorkflowContext, erp: Erp
) -> None:
    erp.found = (CustomerMatch("12", "Buyer"),)

    with pytest.raises(Held) as raised:
        reviewed(at)
    assert (raised.value.kind, erp.asked) == ("duplicate_customer", [])


def test_a_customer_that_we_know_in_the_erp_is_not_looked_for(at: WorkflowContext, erp: Erp) -> None:
    order_id, plan = ordered(at, "known", "EUR", onboarding=False)
    customers.keep(at.database, msgspec.structs.replace(plan.customer, references={"tryton": "99"}))

    assert credit_review.over_the_limit(at, order_id, plan) == ""
    assert erp.asked == [(["EUR"], "99")]


def test_a_deal_in_another_currency_counts_at_the_rate_of_the_erp(at: WorkflowContext, erp: Erp) -> None:
    order = ordered(at, "reviewed", "USD", onboarding=False)
    erp.limit = Money(190, "EUR")
    assert credit_review.over_the_limit(at, *order) == ""  # 2.38 USD are 1.904 EUR

    erp.limit = Money(189, "EUR")
    assert (
        credit_review.over_the_limit(at, *order)
        == "0.00 EUR owed and 2.38 USD (1.90 EUR) more is over the limit of 1.89 EUR"
    )


def test_orders_on_their_way_count_in_whatever_currency_they_are(at: WorkflowContext, erp: Erp) -> None:
    for deal, currency in (("first", "EUR"), ("second", "USD"), ("third", "JPY")):
        ordered(at, deal, currency)

    on_its_way = Money(238 + 190 + 119, "EUR")
    order = ordered(at, "reviewed", "EUR", onboarding=False)
    erp.limit = on_its_way + FIRST
    assert credit_review.over_the_limit(at, *order) == ""
    assert erp.asked == [(["EUR"], "12"), (["EUR", "JPY", "USD"], "12")]

    erp.limit = erp.limit - Money(1, "EUR")
    assert f"owed, {on_its_way} ordered and {FIRST} more" in credit_review.over_the_limit(at, *order)


@pytest.mark.parametrize(("deal", "other"), [("USD", "EUR"), ("EUR", "USD")])
def test_a_rate_that_is_missing_stops_the_review(at: WorkflowContext, erp: Erp, deal: str, other: str) -> None:
    erp.rates = {}
    ordered(at, "first", other)

    with pytest.raises(Rejected):
        reviewed(at, deal)


def with_another(context: WorkflowContext, erp: Erp, *, leads: bool, references: dict[str, str]) -> None:
    """Let the buyer have one account with another customer, which owes something."""
    for each in ("cus_1", "cus_2"):
        of = {} if each == "cus_1" else references
        customers.keep(context.database, Customer(each, "Buyer", Address(country="DE"), references=of))
    first, second = ("cus_2", "cus_1") if leads else ("cus_1", "cus_2")
    customers.share(context.database, second, first)
    erp.others = {"cus_2": Money(300, "EUR")}
    erp.limits = {"cus_2": Money(900, "EUR")}


@pytest.mark.parametrize(("leads", "limit", "whose"), [(True, 900, "cus_2"), (False, 1000, "cus_1")])
def test_what_customers_under_one_account_owe_and_have_ordered_counts_against_the_limit_of_the_one_that_leads(
    at: WorkflowContext, erp: Erp, limit: int, whose: str, *, leads: bool
) -> None:
    with_another(at, erp, leads=leads, references={"tryton": "99"})
    ordered(at, "theirs", "EUR", buyer="cus_2")
    order = ordered(at, "reviewed", "EUR", onboarding=False)
    room = limit - 300 - 2 * FIRST.amount
    erp.used = Money(room, "EUR")
    assert credit_review.over_the_limit(at, *order) == ""

    erp.used = Money(room + 1, "EUR")

    reason = credit_review.over_the_limit(at, *order)
    owed, limited = Money(room + 301, "EUR"), Money(limit, "EUR")
    assert reason.startswith(
        f"{owed} owed, {FIRST} ordered and {FIRST} more is over the limit of {limited} of {whose}: "
    )
    assert all(each in reason for each in ("cus_1", "cus_2"))


def test_the_limit_of_the_buyer_counts_where_the_customer_that_leads_is_not_in_these_books(
    at: WorkflowContext, erp: Erp
) -> None:
    with_another(at, erp, leads=True, references={})
    order = ordered(at, "reviewed", "EUR", onboarding=False)
    erp.used = Money(1000 - FIRST.amount + 1, "EUR")

    assert f"is over the limit of {erp.limit} of cus_1: " in credit_review.over_the_limit(at, *order)


def test_a_buyer_that_is_new_in_the_books_is_held_to_the_limit_of_the_customer_that_leads(
    at: WorkflowContext, erp: Erp
) -> None:
    with_another(at, erp, leads=True, references={"tryton": "99"})
    erp.found, erp.others = (), {"cus_2": Money(900, "EUR")}

    reason = credit_review.over_the_limit(at, *ordered(at, "reviewed", "EUR", onboarding=False))

    assert reason.startswith(f"9.00 EUR owed and {FIRST} more is over the limit of 9.00 EUR of cus_2: ")
    assert erp.asked == []
