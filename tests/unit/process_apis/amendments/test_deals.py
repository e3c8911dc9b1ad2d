"""A deal that names a contract becomes one amendment of it, or a case, and never an order."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from canonical.amendments import (
    Action,
    AddLine,
    Cancel,
    ChangePrice,
    ChangeQuantity,
    ChangeTerm,
    NewAmendment,
    Pause,
    RemoveLine,
    Renew,
    Resume,
    months_after,
)
from canonical.cases import Case
from canonical.deals import Deal, DealLine
from canonical.events import CONTRACT, DEAL_CLOSED, DEAL_LOST, Event
from canonical.parties import Account, Address
from process_apis.amendments.deals import DealAmendments
from process_apis.deal_changes import DealChanges
from process_apis.records.amendments import request_of
from process_apis.records.database import amendments as table
from tests.support.amendment_bench import Bench, seats

MORE = DealLine("00k1", "SEAT", "Seat", Decimal(5), Decimal("20.00"), "month", listed=True)


def line(**fields: Any) -> DealLine:
    return msgspec.structs.replace(MORE, **fields)


class Sales:
    """The deals that the CRM sells, of which what is started is run at once."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.deals = DealAmendments(bench.context, bench.records, lambda work: work.arguments[0], lambda _: False)
        self.deal = Deal(
            id="006",
            name="More of it",
            revision=1,
            account=Account("001", "Buyer", Address(country="DE")),
            currency="EUR",
            legal_entity="DE01",
            starts_on=date(2026, 3, 10),
            term_months=12,
            lines=(MORE,),
            won=True,
            placed_by="sam@example.com",
            contract_id=bench.contract_id,
        )

    def sell(self, *lines: DealLine, digest: str = "first", times: int = 1, **fields: Any) -> None:
        """Close a deal as won, and let what follows run."""
        self.deal = msgspec.structs.replace(self.deal, lines=lines or self.deal.lines, **fields)
        self.bench.everybody.deal = self.deal
        for _ in range(times):
            self.deals.deal_closed(self.event(digest), "cor_3")
        self.read()

    def event(self, digest: str, kind: str = DEAL_CLOSED) -> Event:
        data = {"revision": str(self.deal.revision), "digest": digest, CONTRACT: self.deal.contract_id}
        about: dict[str, Any] = {"source": "crm/salesforce", "subject": self.deal.id, "time": self.bench.clock()}
        return Event(id=digest, type=kind, data={key: each for key, each in data.items() if each}, **about)

    def read(self) -> None:
        row = self.row
        assert row is not None
        self.deals._reading.read(row.id)  # pyright: ignore[reportPrivateUsage] - as the engine does

    @property
    def row(self) -> Any:
        return self.deals.records.of("salesforce", self.deal.id)

    @property
    def asked(self) -> list[NewAmendment]:
        with self.bench.context.database.connect() as connection:
            return [request_of(each) for each in connection.execute(table.select().order_by(table.c.seq))]

    @property
    def cases(self) -> list[Case]:
        return self.bench.cases(self.row.id)


@pytest.fixture
def sales(bench: Bench) -> Sales:
    return Sales(bench)


def test_five_equal_events_of_five_seats_more_are_one_amendment_that_the_deal_shows(sales: Sales) -> None:
    sales.sell(times=5)
    sales.read()

    (asked,) = sales.asked
    assert asked.actions == (ChangeQuantity("seat", Decimal(15)),)
    made = sales.bench.of(sales.row.amendment_id)
    assert (made.requested_by, made.request.key) == ("sam@example.com", "deal:006:1")

    sales.bench.run(made.id)
    assert sales.bench.deliver(made.id).state == "applied"
    sales.deals.show()
    shown = sales.bench.everybody.states[-1]
    assert (shown.order_id, shown.state, shown.detail) == (made.id, "applied", "Seat 10 → 15 from 2026-03-10")
    before = len(sales.bench.everybody.states)
    sales.deals.show()
    assert len(sales.bench.everybody.states) == before


@pytest.mark.parametrize(
    ("lines", "actions"),
    [
        ((line(quantity=Decimal(-3)),), (ChangeQuantity("seat", Decimal(7)),)),
        ((line(quantity=Decimal(-10)),), (RemoveLine("seat"),)),
        ((line(quantity=Decimal(-2), unit_price=Decimal(25)),), (ChangeQuantity("seat", Decimal(8)),)),
        ((line(), line(id="00k2", quantity=Decimal(2))), (ChangeQuantity("seat", Decimal(17)),)),
        (
            (line(unit_price=Decimal(18)),),
            (AddLine("00k1", "SEAT", "Seat", Decimal(5), Decimal(18), "month"),),
        ),
        (
            (line(sku="STORAGE", name="Storage", interval="year"), line(id="00k2")),
            (
                ChangeQuantity("seat", Decimal(15)),
                AddLine("00k1", "STORAGE", "Storage", Decimal(5), Decimal(20), "year"),
            ),
        ),
    ],
    ids=["fewer", "all", "fewer-at-another-price", "twice", "more-at-another-price", "another-product"],
)
def test_a_line_is_how_many_more_or_less_there_are_to_be(
    sales: Sales, lines: tuple[DealLine, ...], actions: tuple[Action, ...]
) -> None:
    sales.sell(*lines)

    assert [each.actions for each in sales.asked] == [actions]


def test_a_deal_of_a_contract_that_is_paused_is_a_case_and_holds_up_nothing(sales: Sales) -> None:
    bench = sales.bench
    paused = bench.run(bench.ask(Pause(), key="pause", effective="period_end"))
    bench.clock.now = datetime(2026, 4, 10, 12, tzinfo=UTC)
    bench.run(paused.id)

    sales.sell()

    (case,) = sales.cases
    reason = "the contract is paused from 2026-04-01: resume it first"
    assert (case.kind, case.reason, len(sales.asked)) == ("amendment_invalid", reason, 1)
    assert bench.run(bench.ask(Resume(), key="resume", effective="period_end")).state == "applied"
    go_on = sales.deals.act(case, "retry")
    assert go_on
    go_on()
    sales.read()
    assert sales.asked[-1].actions == (ChangeQuantity("seat", Decimal(15)),)
    assert bench.run(sales.row.amendment_id).effective_at == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_cancellation_ends_the_contract_whatever_its_lines_are(sales: Sales) -> None:
    sales.sell(line(quantity=Decimal(-99)), change="cancellation", starts_on=date(2026, 3, 20))

    (asked,) = sales.asked
    assert (asked.actions, asked.effective, asked.effective_on) == ((Cancel(),), "date", date(2026, 3, 20))


def test_a_cancellation_with_the_end_of_the_term_lets_the_contract_end_with_it(sales: Sales) -> None:
    until = months_after(date(2026, 3, 1), 12)
    sales.sell(change="cancellation", starts_on=until)

    (asked,) = sales.asked
    assert (asked.actions, asked.effective, asked.effective_on) == ((ChangeTerm(until),), "now", None)
    assert sales.bench.run(sales.row.amendment_id).state == "applied"

    sales.sell(id="007", change="cancellation", starts_on=until)
    (case,) = sales.cases
    assert (case.field, case.reason) == ("deal.starts_on", "the contract ends on 2027-03-01 already")


def test_a_cancellation_is_taken_though_a_change_is_to_come_after_it(sales: Sales) -> None:
    later = sales.bench.ask(seats(12), key="later", effective="date", effective_on=date(2026, 3, 20))
    assert sales.bench.run(later).state == "scheduled"

    sales.sell(change="cancellation")

    assert [each.actions for each in sales.asked][1:] == [(Cancel(),)]


SUPPORT_AGAIN = line(id="00k2", sku="SUPPORT", name="Support", quantity=Decimal(1), unit_price=Decimal("99.50"))


@pytest.mark.parametrize(
    ("lines", "actions"),
    [
        ((), ()),
        ((line(quantity=Decimal(10)), SUPPORT_AGAIN), ()),
        (
            (line(quantity=Decimal(12), unit_price=Decimal(21)), SUPPORT_AGAIN),
            (ChangeQuantity("seat", Decimal(12)), ChangePrice("seat", Decimal(21))),
        ),
        ((line(quantity=Decimal(10)),), (RemoveLine("support"),)),
        (
            (line(quantity=Decimal(10)), msgspec.structs.replace(SUPPORT_AGAIN, interval="year")),
            (RemoveLine("support"), AddLine("00k2", "SUPPORT", "Support", Decimal(1), Decimal("99.50"), "year")),
        ),
        (
            (line(quantity=Decimal(2), unit_price=Decimal(18)), line(id="00k3", quantity=Decimal(8)), SUPPORT_AGAIN),
            (
                ChangeQuantity("seat", Decimal(8)),
                AddLine("00k1", "SEAT", "Seat", Decimal(2), Decimal(18), "month"),
            ),
        ),
    ],
    ids=["without-lines", "as-they-are", "more-and-dearer", "one-ends", "another-interval", "split"],
)
def test_the_lines_of_a_renewal_are_all_that_the_next_term_has(
    sales: Sales, lines: tuple[DealLine, ...], actions: tuple[Action, ...]
) -> None:
    sales.deal = msgspec.structs.replace(sales.deal, lines=lines, change="renewal", term_months=24)
    sales.sell(starts_on=date(2026, 4, 1))

    (asked,) = sales.asked
    assert asked.actions == (Renew(date(2029, 3, 1)), *actions)
    assert (asked.effective, asked.effective_on) == ("now", None)


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"evergreen": True, "term_months": 0}, "deal.term_months", "say for how many months"),
        ({"term_months": 121}, "deal.term_months", "take a day after 2027-03-01"),
        ({"lines": (line(quantity=Decimal(-1)),)}, "deal.lines[0].quantity", "how many the next term has"),
        ({"lines": (line(interval="one_time"),)}, "deal.lines[0].interval", "charged once"),
    ],
)
def test_a_renewal_that_cannot_be_is_a_case(sales: Sales, fields: dict[str, Any], field: str, reason: str) -> None:
    sales.deal = msgspec.structs.replace(sales.deal, change="renewal", **fields)
    sales.sell()

    (case,) = sales.cases
    assert (case.field, reason in case.reason) == (field, True)


def test_a_renewal_after_another_one_is_a_case_and_more_seats_are_sold_meanwhile(sales: Sales) -> None:
    first = sales.bench.ask(Renew(date(2028, 3, 1), Decimal(5)), key="first")
    assert sales.bench.run(first).state == "scheduled"

    sales.sell(change="renewal")
    assert [(each.field, first in each.reason) for each in sales.cases] == [("deal.contract_id", True)]

    sales.sell(change="amendment", digest="more")
    assert sales.asked[-1].actions == (ChangeQuantity("seat", Decimal(15)),)


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"contract_id": "con_unknown"}, "deal.contract_id", "there is no contract con_unknown"),
        ({"currency": "USD"}, "deal.currency", "is in EUR"),
        ({"account": Account("002", "Other", Address())}, "deal.account", "is another account's"),
        (
            {"lines": (line(quantity=Decimal(-11)),)},
            "deal.lines[0].quantity",
            "11 fewer are sold, and the contract has 10",
        ),
        ({"lines": (line(interval="one_time"),)}, "deal.lines[0].interval", "charged once"),
        ({"lines": (line(sku="NEW", quantity=Decimal(-1)),)}, "deal.lines[0].quantity", "no line of NEW"),
        ({"lines": (line(sku="NEW", listed=False),)}, "deal.lines[0].listed", "no price for NEW"),
        ({"lines": (line(sku="", name=""),)}, "deal.lines", "sku"),
        ({"lines": ()}, "deal.lines", "nothing of the contract is changed"),
        ({"starts_on": date(2028, 1, 1)}, "deal.starts_on", "ends with the day before"),
    ],
)
def test_what_cannot_be_is_a_case_of_sales_which_the_deal_shows_and_changes_nothing(
    sales: Sales, fields: dict[str, Any], field: str, reason: str
) -> None:
    sales.deal = msgspec.structs.replace(sales.deal, **fields)
    sales.sell()

    (case,) = sales.cases
    assert (case.kind, case.team, case.field, case.actions) == ("amendment_invalid", "sales", field, ("retry", "skip"))
    assert reason in case.reason
    shown = sales.bench.everybody.states[-1]
    assert (shown.state, [each.field for each in shown.findings]) == ("on_hold", [field])
    assert sales.asked == []

    right: dict[str, Any] = {"contract_id": sales.bench.contract_id, "currency": "EUR", "starts_on": date(2026, 3, 10)}
    sales.sell(MORE, digest="fixed", account=Account("001", "Buyer", Address()), **right)
    assert (len(sales.asked), sales.cases) == (1, [])


def test_a_contract_that_ended_is_a_case(sales: Sales) -> None:
    sales.bench.run(sales.bench.ask(Cancel()))

    sales.sell()

    assert [(each.field, each.reason[:26]) for each in sales.cases] == [
        ("deal.contract_id", "the contract was cancelled")
    ]


def test_a_deal_waits_for_the_change_before_it_and_counts_from_what_that_has_made(sales: Sales) -> None:
    sales.bench.everybody.tax = 1
    first = sales.bench.ask(seats(9))
    sales.bench.run(first)

    sales.sell()
    sales.read()
    assert (sales.asked[1:], sales.cases) == ([], [])
    waits = f"waits for {first}, which was asked for before"
    assert [(each.state, each.detail) for each in sales.bench.everybody.states] == [("requested", waits)]
    sales.bench.everybody.tax = 0
    with sales.bench.records.at(first) as one:
        one.advance("checking", next_attempt_at=None)
    assert sales.bench.run(first).state == "applied"
    assert sales.row.next_attempt_at == sales.bench.clock().isoformat()  # woken

    sales.read()
    assert sales.asked[1].actions == (ChangeQuantity("seat", Decimal(14)),)


def test_a_line_with_a_change_of_a_day_to_come_is_not_counted_past_it(sales: Sales) -> None:
    first = sales.bench.ask(seats(12), effective="date", effective_on=date(2026, 3, 20))
    assert sales.bench.run(first).state == "scheduled"

    sales.sell()

    assert [(each.field, first in each.reason) for each in sales.cases] == [("deal.lines[0].quantity", True)]


def test_a_deal_that_changes_before_it_is_carried_out_is_another_amendment_in_the_place_of_the_first(
    sales: Sales,
) -> None:
    sales.sell()
    first = sales.row.amendment_id

    sales.sell(line(quantity=Decimal(2)), digest="second")

    assert sales.bench.of(first).state == "given_up"
    assert [(each.key, each.actions[0]) for each in sales.asked] == [
        ("deal:006:1", seats(15)),
        ("deal:006:2", seats(12)),
    ]


@pytest.mark.parametrize("kind", [DEAL_CLOSED, DEAL_LOST])
def test_a_deal_that_changes_after_it_was_carried_out_is_a_case_of_sales(sales: Sales, kind: str) -> None:
    sales.sell()
    made = sales.row.amendment_id
    sales.bench.run(made)
    sales.bench.deliver(made)

    for _ in range(2):
        event = sales.event("second", kind)
        (sales.deals.deal_closed if kind == DEAL_CLOSED else sales.deals.deal_lost)(event, "cor_4")

    (case,) = sales.bench.cases(sales.bench.order_id)
    assert (case.kind, case.team, case.actions, made in case.reason) == ("deal_changed", "sales", ("skip",), True)
    assert len(sales.asked) == 1


def test_a_deal_that_is_lost_gives_up_what_waits_and_is_taken_again_when_it_is_won_again(sales: Sales) -> None:
    sales.sell()
    sales.deals.deal_lost(sales.event("lost", DEAL_LOST), "cor_4")
    assert sales.bench.of(sales.row.amendment_id).state == "given_up"

    sales.sell()

    assert [each.key for each in sales.asked] == ["deal:006:1", "deal:006:2"]


def test_a_deal_that_was_sold_as_an_order_is_no_change_of_a_contract(sales: Sales) -> None:
    sales.sell(id="deal")

    changes = DealChanges(sales.bench.context, lambda _: None)
    assert changes.closed(sales.event("second"), "cor_4") is None
    assert (sales.asked, sales.row.next_attempt_at) == ([], None)


def test_a_deal_that_names_its_contract_no_more_is_forgotten_before_it_is_one_and_a_case_after(sales: Sales) -> None:
    sales.sell(contract_id="con_unknown")
    sales.sell(contract_id="", digest="second")
    assert (sales.cases, sales.row.next_attempt_at) == ([], None)

    sales.sell(contract_id=sales.bench.contract_id, digest="third")
    first = sales.row.amendment_id
    sales.sell(contract_id="", digest="fourth")

    assert sales.bench.of(first).state == "given_up"
    assert [each.field for each in sales.cases] == ["deal.contract_id"]
