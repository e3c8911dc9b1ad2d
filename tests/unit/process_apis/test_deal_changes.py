"""What a deal does after it was sold is no second sale, and does not go unseen."""

from __future__ import annotations

import pytest

from canonical.cases import Action, CaseKind, Finding
from canonical.events import DEAL_CLOSED, DEAL_LOST, Event
from canonical.states import OrderState
from policies.problems import NOT_ALLOWED_NOW, ProblemError
from process_apis.case_actions import CaseActions
from process_apis.deal_changes import DealChanges
from process_apis.order_cases import KINDS, OrderCases
from process_apis.records.cases import Wanted
from process_apis.runtime.capability import CaseOwner
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import DELIVERED, SOMEBODY, accepted_order

ACTIVE: tuple[OrderState, ...] = (*DELIVERED, "active")


class Fulfilment:
    """Notes which orders are let go on, and where."""

    def __init__(self, context: WorkflowContext) -> None:
        self._context = context
        self.going_on: list[tuple[str, OrderState]] = []

    def __call__(self, order_id: str) -> None:
        self.going_on.append((order_id, self._context.orders.row(order_id).state))


@pytest.fixture
def fulfilment(context: WorkflowContext) -> Fulfilment:
    return Fulfilment(context)


@pytest.fixture
def changes(context: WorkflowContext, fulfilment: Fulfilment) -> DealChanges:
    return DealChanges(context, fulfilment)


def closed(
    context: WorkflowContext, digest: str, revision: int = 1, kind: str = DEAL_CLOSED, before: str = ""
) -> Event:
    data = {"revision": str(revision), "digest": digest} | ({"digest_before": before} if before else {})
    return Event(id=f"deal:{digest}", source="crm/crm-eu", type=kind, subject="deal", time=context.clock(), data=data)


def sold(context: WorkflowContext, *states: OrderState, digest: str = "first") -> str:
    order_id = accepted_order(context, "deal", *states)
    context.orders.change(order_id, deal_state=digest)
    return order_id


def acting(context: WorkflowContext) -> CaseActions:
    owner = OrderCases(context, lambda _: None)
    return CaseActions(context, dict.fromkeys(KINDS, CaseOwner(KINDS, owner.act, allowed=owner.allowed)))


def cases(context: WorkflowContext, order_id: str) -> list[tuple[str, tuple[str, ...]]]:
    found = acting(context).page(SOMEBODY, Wanted("open"), None, 50).items
    return [(each.kind, each.actions) for each in found if each.subject == order_id]


def test_a_deal_without_an_order_is_sold(context: WorkflowContext, changes: DealChanges) -> None:
    assert changes.closed(closed(context, "first", 3), "cor") == 3


def test_the_same_again_is_no_sale_and_no_case(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, *ACTIVE)

    assert changes.closed(closed(context, "first"), "cor") is None
    assert cases(context, order_id) == []


def test_one_that_was_cut_short_is_begun_again(context: WorkflowContext, changes: DealChanges) -> None:
    sold(context)

    assert changes.closed(closed(context, "first"), "cor") == 1


@pytest.mark.parametrize("revision", [1, 2])
def test_an_active_deal_that_is_changed_and_closed_again_is_one_case_for_sales(
    context: WorkflowContext, changes: DealChanges, revision: int
) -> None:
    order_id = sold(context, *ACTIVE)

    sales = [changes.closed(closed(context, "second", revision), "cor") for _ in range(2)]

    assert sales == [None, None]
    assert cases(context, order_id) == [("deal_changed", ("skip",))]


def test_a_change_that_was_overtaken_is_nothing(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, *ACTIVE)

    assert changes.closed(closed(context, "older", 0), "cor") is None
    assert cases(context, order_id) == []


def test_an_order_on_its_way_may_be_undone(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, *DELIVERED)

    changes.closed(closed(context, "second"), "cor")

    assert cases(context, order_id) == [("deal_changed", ("skip", "compensate"))]


def test_what_a_case_allows_follows_the_order(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, "validating", "credit_review", "onboarding")
    changes.closed(closed(context, "second"), "cor")
    (case,) = acting(context).page(SOMEBODY, Wanted("open"), None, 50).items
    seen = [case.actions]

    for state in ("subscribing", "provisioning", "partially_active", "active"):
        context.orders.advance(order_id, state, next_attempt_at=None)
        seen.append(acting(context).get(case.id, SOMEBODY).actions)

    assert seen == [("skip",), ("skip",), ("skip", "compensate"), ("skip", "compensate"), ("skip",)]
    with pytest.raises(ProblemError) as refused:
        acting(context).act(case.id, "compensate", "", SOMEBODY)
    assert refused.value.problem == NOT_ALLOWED_NOW
    assert context.orders.row(order_id).state == "active"


def test_an_order_that_waits_for_a_platform_may_be_undone_wherever_it_is(
    context: WorkflowContext, changes: DealChanges
) -> None:
    order_id = sold(context, "validating", "credit_review", "onboarding")
    context.orders.change(order_id, blocked_by="tryton", blocked_since=context.clock().isoformat())

    changes.closed(closed(context, "second"), "cor")

    assert cases(context, order_id) == [("deal_changed", ("skip", "compensate"))]


@pytest.mark.parametrize("path", [("validating",), ("validating", "credit_review")])
def test_a_deal_that_was_corrected_goes_on_by_itself_and_is_checked_as_it_is_now(
    context: WorkflowContext, changes: DealChanges, fulfilment: Fulfilment, path: tuple[OrderState, ...]
) -> None:
    order_id = sold(context, *path)
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, held_in=path[-1])

    assert changes.closed(closed(context, "corrected"), "cor") is None

    assert fulfilment.going_on == [(order_id, "validating")]
    assert cases(context, order_id) == []


@pytest.mark.parametrize("kind", ["deal_invalid", "duplicate_customer", "outside_region", "platform_rejected"])
def test_what_held_a_deal_that_was_corrected_is_closed_and_undoes_nothing_later(
    context: WorkflowContext, changes: DealChanges, kind: CaseKind
) -> None:
    order_id = sold(context, "validating")
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, held_in="validating")
    case = context.cases.open(kind, order_id, Finding("deal", "no"), ("retry", "compensate"), correlation_id="cor_1")

    changes.closed(closed(context, "corrected"), "cor")

    assert cases(context, order_id) == []
    with pytest.raises(ProblemError):
        acting(context).act(case.id, "compensate", "", SOMEBODY)


@pytest.mark.parametrize(("state", "can_be_undone"), [("partially_active", True), ("active", False)])
def test_an_order_whose_line_failed_may_be_undone_until_it_is_active(
    context: WorkflowContext, *, state: OrderState, can_be_undone: bool
) -> None:
    order_id = sold(context, *DELIVERED, state)
    actions: tuple[Action, ...] = ("retry", "skip", "compensate")
    context.cases.open("line_failed", order_id, Finding("lines[0].SEAT", "no room"), actions, correlation_id="cor_1")

    assert cases(context, order_id) == [("line_failed", actions if can_be_undone else actions[:2])]


def test_a_case_that_once_held_an_order_does_not_undo_one_that_goes_on(context: WorkflowContext) -> None:
    order_id = sold(context, *DELIVERED)
    context.cases.open(
        "platform_rejected", order_id, Finding("deal", "no"), ("retry", "compensate"), correlation_id="cor_1"
    )

    assert cases(context, order_id) == [("platform_rejected", ("retry",))]


def test_a_deal_that_comes_back_after_its_order_ended_is_sold_again(
    context: WorkflowContext, changes: DealChanges
) -> None:
    sold(context, "validating", "cancelled")

    assert changes.closed(closed(context, "first"), "cor") is None
    assert changes.closed(closed(context, "second"), "cor") == 2


@pytest.mark.parametrize("ended", ["cancelled", "compensating"])
def test_a_deal_that_was_given_up_is_sold_again_as_it_was_when_it_is_lost_and_won(
    context: WorkflowContext, changes: DealChanges, ended: OrderState
) -> None:
    order_id = sold(context, *DELIVERED, "compensating")
    if ended == "cancelled":
        context.orders.advance(order_id, ended, next_attempt_at=None)
    changes.lost(closed(context, "lost", kind=DEAL_LOST), "cor")
    if ended == "compensating":
        context.orders.advance(order_id, "cancelled", next_attempt_at=None)

    again = [changes.closed(closed(context, "first"), "cor") for _ in range(2)]

    assert cases(context, order_id) == []
    assert again == [2, 2]  # which is one order: that of this revision


def test_a_deal_that_was_sold_again_is_corrected_as_any_other(
    context: WorkflowContext, changes: DealChanges, fulfilment: Fulfilment
) -> None:
    sold(context, "validating", "cancelled")
    revision = changes.closed(closed(context, "second"), "cor")
    assert revision
    seen = {"deal_state": "second", "deal_revision": 1}
    order_id, _ = context.orders.receive("crm-eu", "deal", revision, "cor_1", context.stalled_at(), **seen)
    context.orders.advance(order_id, "validating", next_attempt_at=None)
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, held_in="validating")

    assert changes.closed(closed(context, "third"), "cor") is None

    assert fulfilment.going_on == [(order_id, "validating")]


def test_a_deal_that_a_channel_placed_is_known_by_what_the_feed_says_first(
    context: WorkflowContext, changes: DealChanges
) -> None:
    order_id = sold(context, *ACTIVE, digest="")

    first, again = (changes.closed(closed(context, "placed"), "cor") for _ in range(2))

    assert (first, again) == (None, None)
    assert cases(context, order_id) == []


def test_a_deal_that_is_lost_after_it_was_won_is_a_case(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, *ACTIVE)

    for _ in range(2):
        changes.lost(closed(context, "lost", kind=DEAL_LOST), "cor")

    assert cases(context, order_id) == [("deal_changed", ("skip",))]


def test_a_deal_that_was_never_sold_may_be_lost(context: WorkflowContext, changes: DealChanges) -> None:
    changes.lost(closed(context, "lost", kind=DEAL_LOST), "cor")

    assert context.cases.page(SOMEBODY, Wanted("open"), None, 50).items == ()


def test_a_change_while_the_deal_is_checked_is_seen_by_the_check(
    context: WorkflowContext, changes: DealChanges
) -> None:
    order_id = sold(context, "validating")

    assert changes.closed(closed(context, "second"), "cor") is None

    assert context.orders.row(order_id).deal_state == "second"
    assert cases(context, order_id) == []


@pytest.mark.parametrize("states", [ACTIVE, ("validating", "cancelled")])
def test_a_deal_whose_account_was_merged_is_the_same_deal(
    context: WorkflowContext, changes: DealChanges, states: tuple[OrderState, ...]
) -> None:
    order_id = sold(context, *states)

    for _ in range(2):
        assert changes.closed(closed(context, "moved", before="other first"), "cor") is None

    assert cases(context, order_id) == []
    assert context.orders.row(order_id).deal_state == "moved"


def test_a_deal_that_is_held_is_checked_with_the_account_that_its_own_was_merged_into(
    context: WorkflowContext, changes: DealChanges, fulfilment: Fulfilment
) -> None:
    order_id = sold(context, "validating")
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, held_in="validating")

    changes.closed(closed(context, "moved", before="first"), "cor")

    assert fulfilment.going_on == [(order_id, "validating")]


def test_a_lost_deal_whose_account_is_merged_is_lost_once(context: WorkflowContext, changes: DealChanges) -> None:
    order_id = sold(context, *ACTIVE)
    changes.lost(closed(context, "lost", kind=DEAL_LOST), "cor")
    (case,) = context.cases.page(SOMEBODY, Wanted("open"), None, 50).items
    context.cases.close(case, "seen to")

    changes.lost(closed(context, "moved", kind=DEAL_LOST, before="lost"), "cor")

    assert cases(context, order_id) == []
