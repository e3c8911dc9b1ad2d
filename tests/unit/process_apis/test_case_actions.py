"""Acting on a case: whose it is, who may, what is closed with it, and that nothing is lost when a process dies in
between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, get_args

import msgspec
import pytest

from canonical.billing import Posting
from canonical.cases import Action, Case, CaseKind, Finding
from canonical.faults import Conflict, PlatformFault, Rejected
from canonical.money import Money
from canonical.orders import PostingKind
from canonical.states import OrderState
from policies.problems import FORBIDDEN, INVALID, MISSING, NOT_ALLOWED_NOW, OVERLOADED, ProblemError
from policies.store.documents import FileDocument, StoreAway
from process_apis import accounting, posting
from process_apis.case_actions import CaseActions
from process_apis.order_cases import KINDS, OUTLIVE, OrderCases
from process_apis.records.cases import Wanted
from process_apis.records.erased import ErasedPeople, address
from process_apis.runtime.agenda import CASE_AFTER
from process_apis.runtime.capability import Capability, CaseOwner, Next, owners
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import DELIVERED, SOMEBODY, accepted_order


class Killed(RuntimeError):
    """The process dies here."""


def opened(context: WorkflowContext, kind: CaseKind, subject: str, *actions: Action, **given: str) -> Case:
    return context.cases.open(kind, subject, Finding(kind, "wrong"), actions, correlation_id="cor_1", given=given)


def killed(_: str) -> None:
    raise Killed


def acting(context: WorkflowContext, owner: CaseOwner) -> CaseActions:
    return CaseActions(context, dict.fromkeys(owner.kinds, owner))


def orders_of(context: WorkflowContext) -> CaseActions:
    """Acts on the cases of orders, in a process that dies before it restarts one."""
    cases = OrderCases(context, killed)
    return acting(context, CaseOwner(KINDS, cases.act, cases.asked_by, OUTLIVE))


def problem(acts: CaseActions, case_id: str, action: Action, reason: str = "") -> object:
    with pytest.raises(ProblemError) as raised:
        acts.act(case_id, action, reason, SOMEBODY)
    return raised.value.problem


def never(_: Case, __: Action) -> Next:
    raise AssertionError


def test_each_kind_of_case_belongs_to_one_capability() -> None:
    every = frozenset[CaseKind](get_args(CaseKind))
    some, others = CaseOwner(KINDS, never), CaseOwner(every - KINDS, never)
    one, two = Capability("one", cases=some), Capability("two", cases=others)

    assert owners([one, two]) == dict.fromkeys(KINDS, some) | dict.fromkeys(every - KINDS, others)
    with pytest.raises(ValueError, match="line_failed"):
        owners([one, two, Capability("three", cases=CaseOwner(frozenset({"line_failed"}), never))])
    with pytest.raises(ValueError, match="line_failed"):
        owners([two])


def test_a_case_allows_what_it_names_as_long_as_it_is_open(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating", "on_hold")
    case = opened(context, "outside_region", order_id, "skip")
    acts = orders_of(context)

    refused = [problem(acts, "cas_none", "skip"), problem(acts, case.id, "retry"), problem(acts, case.id, "skip")]
    done = acts.act(case.id, "skip", "seen to", SOMEBODY)

    assert refused == [MISSING, NOT_ALLOWED_NOW, INVALID]
    assert (done.state, done.resolution) == ("resolved", "skip by somebody: seen to")
    assert problem(acts, case.id, "skip", "again") == NOT_ALLOWED_NOW


@pytest.mark.parametrize("placed_by", ["{}", " {} ", "mailto:{}"])  # user names of a CRM have no case
def test_who_placed_an_order_does_not_approve_it(context: WorkflowContext, placed_by: str) -> None:
    order_id = accepted_order(context, "deal", "validating", "credit_review", "awaiting_approval")
    context.orders.change(order_id, placed_by=placed_by.format(SOMEBODY.subject.upper()))
    case = opened(context, "credit_limit", order_id, "approve", "reject")

    assert problem(orders_of(context), case.id, "approve") == FORBIDDEN
    assert context.orders.row(order_id).state == "awaiting_approval"


class Away:
    """A list of who was erased that cannot be read."""

    def read(self) -> bytes:
        raise StoreAway("the shared database does not answer")

    def change(self, act: Callable[[bytes], bytes]) -> None:
        del act
        raise StoreAway("the shared database does not answer")


def test_who_placed_an_order_and_was_erased_does_not_approve_it(context: WorkflowContext, tmp_path: Path) -> None:
    document = FileDocument(tmp_path / "erased.json")
    people = ErasedPeople(document)
    people.prepare()
    lost, away = ErasedPeople(FileDocument(tmp_path / "lost.json")), ErasedPeople(Away())
    order_id = accepted_order(context, "deal", "validating", "credit_review", "awaiting_approval", "onboarding")
    context.orders.change(order_id, placed_by=address(people.placeholder("kim@example.com")))
    case = opened(context, "credit_limit", order_id, "approve", "reject")

    def approved_by(subject: str, known: ErasedPeople) -> object:
        acts = orders_of(msgspec.structs.replace(context, erased=known))
        try:
            return acts.act(case.id, "approve", "", msgspec.structs.replace(SOMEBODY, subject=subject)).resolution
        except ProblemError as error:
            return error.problem

    assert approved_by("Kim@Example.com", people) == FORBIDDEN
    assert approved_by("lee@example.com", away) == OVERLOADED
    assert [each.state for each in context.cases.page(SOMEBODY, Wanted(), None, 9).items] == ["open"]
    assert "cannot be seen" in str(approved_by("kim@example.com", lost))
    second = opened(context, "credit_limit", order_id, "approve", "reject")
    done = orders_of(msgspec.structs.replace(context, erased=people)).act(
        second.id, "approve", "", msgspec.structs.replace(SOMEBODY, subject="l@x.de")
    )
    assert done.resolution == "approve by l@x.de"


@pytest.mark.parametrize(
    ("placed_by", "approves", "seen"),
    [
        ("kim@example.com", "lee@example.com", True),
        ("reseller-nord", "lee@example.com", True),
        ("reseller-nord", "finance-app", True),
        ("kim@example.com", "00u1abcd", False),
        ("kim@example.com", "finance-app", False),
        ("", "lee@example.com", False),
        ("00u1abcd", "lee@example.com", False),
        ("00u1abcd", "00u2efgh", False),
        ("00u1abcd", "finance-app", False),
    ],
)
def test_an_approval_says_when_it_cannot_be_compared_with_who_placed_the_order(
    context: WorkflowContext, placed_by: str, approves: str, *, seen: bool
) -> None:
    order_id = accepted_order(context, "deal", "validating", "credit_review", "awaiting_approval", "onboarding")
    context.orders.change(order_id, placed_by=placed_by)
    case = opened(context, "credit_limit", order_id, "approve", "reject")

    done = orders_of(context).act(case.id, "approve", "", msgspec.structs.replace(SOMEBODY, subject=approves))

    assert done.resolution.startswith(f"approve by {approves}")
    assert ("cannot be seen" in done.resolution) is not seen


def test_an_action_that_ends_an_order_closes_its_other_cases_but_what_is_still_to_be_done(
    context: WorkflowContext,
) -> None:
    order_id = accepted_order(context, "deal", "validating", "credit_review", "awaiting_approval")
    case = opened(context, "credit_limit", order_id, "approve", "reject")
    opened(context, "status_not_shown", order_id, "retry")
    left = opened(context, "cannot_undo", order_id, "skip")

    orders_of(context).act(case.id, "reject", "too much", SOMEBODY)

    page = context.cases.page(SOMEBODY, Wanted("open"), None, 25)
    assert [each.id for each in page.items] == [left.id]


@pytest.mark.parametrize(
    ("states", "kind", "action"),
    [
        (("validating", "credit_review", "awaiting_approval"), "credit_limit", "approve"),
        (("validating", "credit_review", "onboarding", "on_hold"), "platform_rejected", "retry"),
        (DELIVERED, "not_delivered", "compensate"),
        ((*DELIVERED, "partially_active"), "line_failed", "retry"),
        ((*DELIVERED, "partially_active"), "line_failed", "skip"),
        ((*DELIVERED, "partially_active"), "not_delivered", "compensate"),
        (("validating", "on_hold"), "duplicate_customer", "skip"),
        ((*DELIVERED, "partially_active", "on_hold"), "charge_by_hand", "skip"),
    ],
)
def test_an_order_is_watched_when_the_process_dies_before_it_is_restarted(
    context: WorkflowContext, states: tuple[OrderState, ...], kind: CaseKind, action: Action
) -> None:
    order_id = accepted_order(context, "deal", *states)
    context.orders.change(order_id, held_in=states[-2])
    case = opened(context, kind, order_id, action, line="0")

    with pytest.raises(Killed):
        orders_of(context).act(case.id, action, "because", SOMEBODY)

    row = context.orders.row(order_id)
    assert row.next_attempt_at == context.stalled_at().isoformat()
    assert row.state != "on_hold"


def test_an_order_that_was_held_before_anything_was_created_and_went_on_is_compensated(
    context: WorkflowContext,
) -> None:
    order_id = accepted_order(context, "deal", "validating", "on_hold")
    context.orders.change(order_id, held_in="validating")
    for state in DELIVERED:
        context.orders.advance(order_id, state, next_attempt_at=None)
    case = opened(context, "not_delivered", order_id, "compensate", line="0")

    with pytest.raises(Killed):
        orders_of(context).act(case.id, "compensate", "", SOMEBODY)

    assert context.orders.row(order_id).state == "compensating"


@pytest.mark.parametrize("state", ["onboarding", "subscribing"])
def test_an_approval_that_nobody_came_to_close_is_closed_when_it_is_given_again(
    context: WorkflowContext, state: OrderState
) -> None:
    path: tuple[OrderState, ...] = ("validating", "credit_review", "awaiting_approval", "onboarding", "subscribing")
    order_id = accepted_order(context, "deal", *path[: path.index(state) + 1])
    case = opened(context, "credit_limit", order_id, "approve", "reject")

    closed = orders_of(context).act(case.id, "approve", "", SOMEBODY)

    assert (closed.state, context.orders.row(order_id).state) == ("resolved", state)


def waits(context: WorkflowContext, *kinds: PostingKind) -> None:
    for kind in kinds:
        context.postings.expect(
            kind, "stripe", "in_1", "cor_1", context.later(9), contract_id="", customer_id="", legal_entity="DE01"
        )


def refuses(fault: PlatformFault) -> Callable[[object], NoReturn]:
    def refuse(_: object) -> NoReturn:
        raise fault

    return refuse


def of_postings(context: WorkflowContext) -> CaseActions:
    kinds = frozenset[CaseKind]({"invoice_not_posted", "payment_not_posted"})
    allowed = partial(accounting.allowed, context)
    return acting(context, CaseOwner(kinds, partial(accounting.act, context), allowed=allowed))


def test_a_posting_that_was_skipped_is_tried_no_more_and_said_to_be_so(context: WorkflowContext) -> None:
    waits(context, "invoice")
    posting.attempt(context, "invoice", "in_1", refuses(Rejected("erp", "no such product", field="sku")))
    acts = of_postings(context)
    (case,) = acts.page(SOMEBODY, Wanted("open"), None, 25).items

    acts.act(case.id, "skip", "written by hand", SOMEBODY)

    (shown,) = context.postings.page(SOMEBODY, None, None, None, None, None, 25).items
    row = context.postings.find("invoice", "in_1")
    assert row
    assert (shown.state, shown.skipped, row.next_attempt_at) == ("failed", True, None)


def test_the_payment_of_an_invoice_that_was_skipped_may_be_skipped_too(context: WorkflowContext) -> None:
    waits(context, "invoice", "payment")
    acts = of_postings(context)
    first = Conflict("erp", "the invoice in_1 is not posted yet", field="invoice_id")
    for _ in range(CASE_AFTER):
        posting.attempt(context, "payment", "in_1", refuses(first))
    posting.attempt(context, "invoice", "in_1", refuses(Rejected("erp", "no such product", field="sku")))
    cases = {each.kind: each for each in acts.page(SOMEBODY, Wanted("open"), None, 25).items}
    before = cases["payment_not_posted"]
    acts.act(cases["invoice_not_posted"].id, "skip", "written by hand", SOMEBODY)
    after = acts.get(before.id, SOMEBODY)

    done = acts.act(before.id, "skip", "received by hand", SOMEBODY)

    row = context.postings.find("payment", "in_1")
    assert row
    assert (before.actions, after.actions) == (("retry",), ("retry", "skip"))
    assert (done.state, row.state, row.skipped, row.next_attempt_at) == ("resolved", "failed", True, None)


@pytest.mark.parametrize(("field", "cases"), [("fiscal_year", [("invoice_not_posted", ("retry",))]), ("period", [])])
def test_a_posting_without_a_fiscal_year_is_a_case_and_one_of_a_closed_period_is_none(
    context: WorkflowContext, field: str, cases: list[tuple[str, tuple[Action, ...]]]
) -> None:
    waits(context, "invoice")

    for _ in range(CASE_AFTER):
        posting.attempt(context, "invoice", "in_1", refuses(Conflict("erp", "not now", field=field)))

    found = of_postings(context).page(SOMEBODY, Wanted("open"), None, 25).items
    assert [(each.kind, each.actions) for each in found] == cases


def test_a_posting_that_was_skipped_and_is_done_after_all_is_posted(context: WorkflowContext) -> None:
    waits(context, "invoice")
    context.postings.skip("invoice", "in_1")
    row = context.postings.find("invoice", "in_1")
    assert row
    money = Money(100, "EUR")

    context.postings.posted(row, Posting("1", money, money, money, context.clock().date(), "in_1"), money)
    context.postings.skip("invoice", "in_1")

    (shown,) = context.postings.page(SOMEBODY, None, None, None, None, None, 25).items
    assert (shown.state, shown.skipped) == ("posted", False)


def test_a_posting_that_is_tried_again_waits_even_if_the_process_dies_before_it_is_begun(
    context: WorkflowContext,
) -> None:
    context.postings.expect(
        "payment", "billing-eu", "in_1", "cor_1", context.later(9), contract_id="", customer_id="", legal_entity=""
    )
    context.postings.change("payment", "in_1", state="failed", next_attempt_at=None)
    case = opened(context, "payment_not_posted", "payment:in_1", "retry", "skip")

    def die(case: Case, action: Action) -> Next:
        accounting.act(context, case, action)
        return lambda: killed(case.id)

    with pytest.raises(Killed):
        acting(context, CaseOwner(frozenset({case.kind}), die)).act(case.id, "retry", "", SOMEBODY)

    row = context.postings.find("payment", "in_1")
    assert row is not None
    assert (row.state, row.next_attempt_at) == ("waiting", context.stalled_at().isoformat())
