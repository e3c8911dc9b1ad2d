"""Support learns of each dispute that can be answered, once, in whatever order its begin and its end are reported."""

from __future__ import annotations

from itertools import permutations

import pytest

from canonical.cases import Case
from canonical.events import DISPUTE_CLOSED, DISPUTE_OPENED, PAYMENT_REVERSED, Event
from process_apis import disputes
from process_apis.events.dispatch import Dispatcher
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.process_context import SOMEBODY

OF = {"contract": "con_1", "customer": "cus_1", "legal_entity": "DE01", "invoice": "in_1", "amount": "119.00 EUR"}
UNTIL = {"reason": "fraudulent", "respond_by": "2026-03-20 23:59"}


class Support:
    """The disputes capability, and what support sees of it."""

    def __init__(self, context: WorkflowContext) -> None:
        self.context = context
        made = disputes.capability(
            context, Engine(EngineSettings("sqlite://", "test"), context.database, context.clock)
        )
        self.dispatcher = Dispatcher(context, {made.name: made.reactions})

    def report(self, kind: str, dispute: str = "du_1", **data: str) -> None:
        key, source = f"{kind}:{dispute}", "billing/stripe"
        event = Event(id=key, source=source, type=kind, subject=dispute, time=self.context.clock(), data=OF | data)
        self.dispatcher.take(event, "cor_1")

    def cases(self) -> list[Case]:
        found = [*self.context.cases.page(SOMEBODY, None, None, None, 25).items]
        return sorted(found, key=lambda case: case.field)


def test_support_is_asked_for_evidence_until_the_bank_has_decided(context: WorkflowContext) -> None:
    support = Support(context)
    support.report(DISPUTE_OPENED, **UNTIL)
    support.report(DISPUTE_OPENED, **UNTIL)
    support.report(DISPUTE_OPENED, "du_2", **UNTIL, inquiry="true")

    first, second = support.cases()
    assert (first.kind, first.team, first.subject, first.field) == (
        "payment_disputed",
        "support",
        "invoice:in_1",
        "du_1",
    )
    for words in ("disputes 119.00 EUR of the invoice in_1", "fraudulent", "by 2026-03-20 23:59 UTC"):
        assert words in first.reason
    assert "asks about" in second.reason

    support.report(DISPUTE_CLOSED, state="won")
    assert [(each.state, each.resolution) for each in support.cases()] == [
        ("resolved", "the dispute is won"),
        ("open", ""),
    ]


@pytest.mark.parametrize("order", list(permutations((DISPUTE_OPENED, DISPUTE_CLOSED, DISPUTE_OPENED))))
def test_a_dispute_that_is_over_is_no_case_whatever_is_reported_first(
    context: WorkflowContext, order: tuple[str, ...]
) -> None:
    support = Support(context)
    for each in order:
        support.report(each, **UNTIL, state="lost")
    assert [each for each in support.cases() if each.state == "open"] == []


def test_an_inquiry_that_becomes_a_dispute_has_another_case_with_its_own_moment(context: WorkflowContext) -> None:
    support = Support(context)
    support.report(DISPUTE_OPENED, **UNTIL, inquiry="true")
    support.report(PAYMENT_REVERSED, reason="fraudulent", respond_by="2026-04-01 23:59")
    support.report(PAYMENT_REVERSED, reason="fraudulent", respond_by="2026-04-01 23:59")
    support.report(PAYMENT_REVERSED, "re_1")
    cases = support.cases()
    assert sorted(each.state for each in cases) == ["open", "resolved"]
    (still,) = (each for each in cases if each.state == "open")
    assert "disputes" in still.reason
    assert "by 2026-04-01 23:59 UTC" in still.reason


def test_a_returned_direct_debit_that_nobody_can_answer_is_no_case(context: WorkflowContext) -> None:
    support = Support(context)
    support.report(DISPUTE_OPENED, reason="insufficient funds", respond_by="")
    assert support.cases() == []
