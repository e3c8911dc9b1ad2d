"""Random changes of contracts on whole platforms, legal and illegal, sold and asked for, repeated, withdrawn, approved
and reversed, while platforms misbehave and time passes: every system has the same in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest
import stripe
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from canonical.amendments import Amendment, ContractTimeline
from canonical.cases import Case
from canonical.money import total
from canonical.orders import Order, Page
from sandbox.salesperson import SaleLine, close_deal, open_change, open_deal
from tests.support.amending import contract_of, timeline
from tests.support.environment import Environment
from tests.support.platforms import OUR_READING, wait_until

ENDED = ("applied", "given_up")
CONFLICT = 409
SOLD = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25))
REFUSED = (
    "/problems/contract-over",
    "/problems/change-refused",
    "/problems/already-renewed",
    "/problems/invalid-request",
)
PLACE = st.integers(min_value=0, max_value=2)
"""Which line of those that the contract has by then; a contract may have fewer."""
QUANTITY = st.sampled_from(["0", "7", "24", "25.5", "26", "40"])
PRICE = st.sampled_from(["0", "199.99", "240", "260"])
ACTION: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"action": st.just("quantity"), "line": PLACE, "quantity": QUANTITY}),
    st.fixed_dictionaries({"action": st.just("price"), "line": PLACE, "unit_price": PRICE}),
    st.fixed_dictionaries(
        {"action": st.just("discount"), "line": PLACE, "discount_percent": st.sampled_from(["5", "20"])}
    ),
    st.fixed_dictionaries({"action": st.just("remove"), "line": PLACE}),
    st.fixed_dictionaries(
        {
            "action": st.just("add"),
            "line": st.sampled_from(["extra", "more"]),
            "sku": st.just("SUPPORT"),
            "name": st.just("Premium Support"),
            "quantity": st.sampled_from(["1", "2"]),
            "unit_price": st.sampled_from(["99.5", "120"]),
            "interval": st.just("month"),
        }
    ),
)
ANY = st.integers(min_value=0, max_value=999)
"""Which of what there is by then. What is drawn never depends on that, so that the same is drawn again."""
WHEN: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"settlement": "next_invoice"}, {"settlement": "none"}, {"effective": "period_end"}]
)
TROUBLE: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"kind": "slow", "milliseconds": 300, "times": 4},
        {"kind": "drop", "times": 2},
        {"kind": "status", "status": 503, "times": 3},
        {"kind": "status", "status": 429, "times": 2},
    ]
)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Any) -> Generator[Environment]:
    environment = Environment(tmp_path_factory.mktemp("virtual"), templates, virtual_time=True)
    yield environment
    environment.stop()


class Contracts(RuleBasedStateMachine):
    """Two contracts of two customers, and whatever is asked of them."""

    environment: Environment
    number = 0

    def __init__(self) -> None:
        super().__init__()
        Contracts.number += 1
        self.orders = [self._sold(f"Random Changes {self.number}.{each}") for each in range(2)]
        self.deals: list[tuple[Order, str]] = []
        """What was sold in the CRM, of which order's contract."""
        self.keys: dict[str, tuple[Order, dict[str, Any], str]] = {}
        """What was taken: the order, what was asked, and the id of the amendment, by the key."""

    def _sold(self, name: str) -> Order:
        environment = self.environment
        _, deal = open_deal(environment.crm, environment.sale(name, lines=SOLD), self._today())
        close_deal(environment.crm, deal)
        order = environment.order_in(deal, "active")
        environment.settled(order)
        return order

    def _today(self) -> date:
        return self.environment.wait(timedelta()).date()

    def amendments(self, order: Order) -> list[Amendment]:
        path = f"/sales/v1/amendments?contract_id={contract_of(order).id}&limit=100"
        page: Page[Amendment] = self.environment.channels.get("sales-app", path, Page[Amendment])
        return list(page.items)

    def cases(self) -> list[Case]:
        """Return what is open of the contracts, but for the outages of platforms."""
        page: Page[Case] = self.environment.channels.get(
            "support-desk", "/support/v1/cases?state=open&limit=100", Page[Case]
        )
        contracts = {contract_of(each).id for each in self.orders}
        orders = {each.id for each in self.orders}
        return [each for each in page.items if each.subject in orders or each.input.get("contract") in contracts]

    def _post(self, order: Order, body: dict[str, Any], key: str) -> Amendment | None:
        """Return the amendment that was asked for, None for what the contract does not allow."""
        channels, path = self.environment.channels, f"/sales/v1/contracts/{contract_of(order).id}/amendments"
        try:
            return channels.post("sales-app", path, body, Amendment, key=key)
        except httpx.HTTPStatusError as error:
            if error.response.json()["type"] not in REFUSED:
                raise
            return None

    # ---- what people, platforms and time do

    @rule(place=st.integers(0, 1), actions=st.lists(ACTION, min_size=1, max_size=2), when=WHEN)
    def ask(self, place: int, actions: list[dict[str, Any]], when: dict[str, Any]) -> None:
        """Ask for a change: what is refused leaves nothing behind."""
        order = self.orders[place]
        present = [each.id for each in timeline(self.environment, order).versions[-1].lines]
        named = [
            each | {"line": present[min(each["line"], len(present) - 1)] if present else "none"}
            if isinstance(each["line"], int)
            else each
            for each in actions
        ]
        body, key = {"actions": named, **when}, f"key-{self.number}-{len(self.keys)}-{len(named)}"
        before = {each.id for each in self.amendments(order)}
        made = self._post(order, body, key)
        assert {each.id for each in self.amendments(order)} == before | ({made.id} if made else set())
        if made:
            self.keys[key] = order, body, made.id

    @rule(place=st.integers(0, 1), months=st.sampled_from([12, 24]), uplift=st.sampled_from(["0", "5"]))
    def renew(self, place: int, months: int, uplift: str) -> None:
        order = self.orders[place]
        until = timeline(self.environment, order).ends_on
        day = until.replace(year=until.year + months // 12) if until else self._today()
        key = f"renew-{self.number}-{len(self.keys)}"
        body = {"actions": [{"action": "renew", "ends_on": day.isoformat(), "uplift_percent": uplift}]}
        if made := self._post(order, body, key):
            self.keys[key] = order, body, made.id

    @rule(place=st.integers(0, 1), more=st.integers(min_value=1, max_value=5))
    def sell_more(self, place: int, more: int) -> None:
        """Sell more seats, as an opportunity of the CRM."""
        contract = contract_of(self.orders[place])
        query = f"SELECT Id FROM Contract WHERE TiergateContract__c = '{contract.id}'"
        crm = self.environment.crm
        record = str(wait_until(lambda: crm.query(query), 30, "the contract in the CRM")[0]["Id"])
        deal = open_change(crm, record, (SaleLine("SEAT", more),), self._today())
        close_deal(crm, deal)
        self.deals.append((self.orders[place], deal))

    @rule(which=ANY)
    def ask_again(self, which: int) -> None:
        """Ask for the same again: it is the same amendment."""
        if not self.keys:
            return
        key = list(self.keys)[which % len(self.keys)]
        order, body, made = self.keys[key]
        again = self._post(order, body, key)
        assert again is not None
        assert again.id == made

    @rule(which=ANY, reverses=st.booleans())
    def withdraw_or_reverse(self, which: int, *, reverses: bool) -> None:
        if not self.keys:
            return
        order, _, made = self.keys[list(self.keys)[which % len(self.keys)]]
        if reverses:
            body = {"actions": [{"action": "reverse", "amendment": made}], "settlement": "none"}
            key = f"reverse-{self.number}-{len(self.keys)}"
            if back := self._post(order, body, key):
                self.keys[key] = order, body, back.id
            return
        try:
            self.environment.channels.post("sales-app", f"/sales/v1/amendments/{made}/withdrawal", {}, Amendment)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != CONFLICT:
                raise

    @rule(platform=st.sampled_from(["crm", "billing", "erp", "provisioning"]), fault=TROUBLE)
    def trouble(self, platform: str, fault: dict[str, Any]) -> None:
        matching = OUR_READING if platform == "crm" else ""  # and not what the salesperson does
        self.environment.fault(platform, **fault, matching=matching)

    @rule()
    def say_again(self) -> None:
        """Let billing send its last events once more."""
        url = self.environment.sandbox.url("control")
        with suppress(stripe.StripeError):  # it may be away for everybody
            for each in self.environment.stripe.v1.events.list({"limit": 10}).data:
                httpx.post(f"{url}/billing/events/{each.id}").raise_for_status()

    @rule(days=st.sampled_from([1, 9, 33]))
    def time_passes(self, days: int) -> None:
        self._rest()
        self.environment.wait(timedelta(days=days))

    @rule(which=ANY)
    def act(self, which: int) -> None:
        """Do something that a case allows."""
        allowed = [(case, action) for case in self.cases() for action in case.actions]
        if allowed:
            self._act(*allowed[which % len(allowed)])

    def _act(self, case: Case, action: str) -> None:
        """Do what a case allows, as those to whom it belongs do: it may have changed meanwhile."""
        try:
            if action in ("approve", "reject"):
                self.environment.decide(case.id, action, "drawn", on_behalf_of="fin@example.com")
            else:
                self.environment.act(case.id, action, "drawn")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != CONFLICT:
                raise

    # ---- the end

    def _rest(self) -> None:
        """Wait until nothing is on its way: all that is left waits for a day, or for people."""
        self.environment.calm()
        try:
            wait_until(lambda: not self._on_the_way(), 70)
        except AssertionError as error:
            raise AssertionError(f"still on its way: {self._on_the_way()}") from error

    def _decide(self) -> None:
        """Approve what needs a yes, and give up what people have to correct, until nothing is left to be done."""
        left: list[Case] = []
        for _ in range(12):
            self._rest()
            left = [each for each in self.cases() if each.actions]
            for each in left:
                wanted = (one for one in ("approve", "compensate") if one in each.actions)
                self._act(each, next(wanted, each.actions[-1]))
            if not left:
                break
        assert left == [], "people have to act again and again"

    def _on_the_way(self) -> list[str]:
        """Return what goes on by itself: not the changes of a contract that waits for people."""
        waits = {each.input.get("contract") for each in self.cases()}
        going = [order for order in self.orders if contract_of(order).id not in waits]
        query = "SELECT id FROM amending_deals WHERE deal_id = ? AND next_attempt_at IS NULL"
        unread = [deal for order, deal in self.deals if order in going and not self.environment.record(query, deal)]
        return unread + [
            f"{each.id} is {each.state}: {each.blocked_reason}"
            for order in going
            for each in self.amendments(order)
            if each.state not in (*ENDED, "scheduled")
        ]

    def teardown(self) -> None:
        """Let everybody work, and do what is to be done: nothing waits for ever, and all systems have the same."""
        self._decide()
        for order in self.orders:
            shown = timeline(self.environment, order)
            self._adds_up(order, shown)
            scheduled = {each.id for each in self.amendments(order) if each.state == "scheduled"}
            agreed = [each for each in shown.versions if each.amendment_id not in scheduled][-1].lines
            wait_until(lambda o=order: self._billed_and_booked(o), 60, f"the invoices of {order.name}")
            assert self._billed(order) == Counter(
                (each.sku, each.terms.quantity, each.terms.unit_price) for each in agreed
            )
            # what there is more of is delivered before it counts, and what there is less of is taken back then
            lines = (*agreed, *(shown.present.lines if shown.present else ()))
            wanted = {each.id: max(one.terms.quantity for one in lines if one.id == each.id) for each in lines}
            wait_until(lambda o=order, w=wanted: self._delivered(o) == w, 30, f"what the target has of {order.name}")

    def _adds_up(self, order: Order, shown: ContractTimeline) -> None:
        for was, now in pairwise(shown.versions):
            changed = total((each.mrr for each in now.deltas), shown.currency)
            assert was.mrr + changed == now.mrr, f"{order.name}: {now.amendment_id}"

    def _billed(self, order: Order) -> Counter[tuple[str, Decimal, Decimal]]:
        """Return product, quantity and price of each item that billing bills."""
        customer = contract_of(order).references["customer"]
        found: Counter[tuple[str, Decimal, Decimal]] = Counter()
        for subscription in self.environment.stripe.v1.subscriptions.list({"customer": customer}).data:
            for item in subscription["items"].data:
                price = Decimal(item.price.unit_amount_decimal or 0) / 100
                found[item.price.product, Decimal(item.quantity or 0), price] += 1
        return found

    def _billed_and_booked(self, order: Order) -> bool:
        """Return whether the books have each invoice of billing once, at its total."""
        customer = contract_of(order).references["customer"]
        issued = self.environment.stripe.v1.invoices.list({"customer": customer, "limit": 100}).data
        billed = Counter((each.id, each.total) for each in issued if each.status in ("open", "paid"))
        named = ("reference", "in", [each.id for each in issued])
        rows = self.environment.rows_in_erp("account.invoice", ["reference", "total_amount", "state"], named)
        booked = Counter(
            (each["reference"], int(each["total_amount"] * 100)) for each in rows if each["state"] in ("posted", "paid")
        )
        return billed == booked

    def _delivered(self, order: Order) -> dict[str, Decimal]:
        """Return how much of each line the target has, where it has any."""
        jobs = self.environment.jobs(order.id)
        found = {each["line_id"]: Decimal(each["quantity"]) for each in jobs}
        return {key: each for key, each in found.items() if each}


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Contracts,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),
        ),
    )


def test_whatever_is_asked_of_contracts_every_system_has_the_same_in_the_end(later: Environment) -> None:
    Contracts.environment = later
    run(3, 12)


@pytest.mark.long
def test_whatever_is_asked_of_many_contracts_every_system_has_the_same_in_the_end(later: Environment) -> None:
    Contracts.environment = later
    run(20, 20)
