"""Postings in batches for an export: each once, of those who may see it, and not more than an export has."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from policies.problems import ProblemError
from process_apis.records import postings as postings_module
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import SOMEBODY, TestClock

ALL_DAYS = (None, None)


def given(context: WorkflowContext, clock: TestClock, count: int) -> None:
    """Put postings of two selling companies there, each on a day of its own, of the 1st March on."""
    for each in range(count):
        about = {"contract_id": "con_1", "customer_id": "cus_1", "legal_entity": ("DE01", "FR01")[each % 2]}
        context.postings.expect("invoice", "stripe-eu", f"in_{each}", "cor_1", clock(), **about)
        clock.move(86_400)


def exported(context: WorkflowContext, entities: str = "*", **filters: object) -> list[str]:
    """Return the ids of all postings of an export, batch after batch."""
    who = msgspec.structs.replace(SOMEBODY, entities=frozenset({entities}))
    wanted = {"state": None, "kind": None, "entry": None, "legal_entity": None, "days": ALL_DAYS} | filters
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = context.postings.batch(who, cursor=cursor, **wanted)  # pyright: ignore[reportArgumentType]
        found += [each.id for each in page.items]
        if (cursor := page.next_cursor) is None:
            return found


def test_each_posting_is_exported_once_the_newest_first(
    context: WorkflowContext, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(context, clock, 7)
    monkeypatch.setattr(postings_module, "BATCH", 3)

    assert exported(context) == [f"in_{each}" for each in reversed(range(7))]


def test_an_export_has_what_it_is_asked_for(context: WorkflowContext, clock: TestClock) -> None:
    given(context, clock, 4)

    assert exported(context, kind="payment") == []
    assert exported(context, legal_entity="DE01") == ["in_2", "in_0"]
    assert exported(context, days=(date(2026, 3, 2), date(2026, 3, 3))) == ["in_2", "in_1"]
    assert exported(context, days=(date.max, date.max)) == []
    context.postings.skip("invoice", "in_1")
    assert exported(context, state="failed") == ["in_1"]


def test_nobody_exports_what_somebody_else_sells(context: WorkflowContext, clock: TestClock) -> None:
    given(context, clock, 4)

    assert exported(context, "FR01") == ["in_3", "in_1"]
    assert exported(context, "FR01", legal_entity="DE01") == []


def test_an_export_that_is_too_large_is_refused_at_once(
    context: WorkflowContext, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(context, clock, 4)
    monkeypatch.setattr(postings_module, "MAX_EXPORT", 3)

    with pytest.raises(ProblemError) as refused:
        exported(context)
    assert refused.value.problem.name == "export-too-large"
    assert len(exported(context, legal_entity="DE01")) == 2
