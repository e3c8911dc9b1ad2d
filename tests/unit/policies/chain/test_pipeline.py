"""What a call has taken of the policies is given back, however it ends; how it is answered is heard once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from policies.catalogue.check import load
from policies.catalogue.explain import asked
from policies.catalogue.model import SHIPPED
from policies.chain import pipeline as order
from policies.chain.pipeline import PIPELINE, Make, Pipeline, explain
from policies.policy import Call, Policy
from tests.support.governed_app import NOW, WRITER, Door


class Noted(Policy):
    """Notes what is done with it; a call waits for `waiting`."""

    def __init__(self, name: str, notes: list[str], waiting: Awaitable[None] | None = None) -> None:
        self._name, self._notes, self._waiting = name, notes, waiting

    def enter(self, call: Call) -> Awaitable[None] | None:
        del call
        self._notes.append(f"enter {self._name}")
        return self._waiting

    def answered(self, call: Call) -> None:
        self._notes.append(f"{self._name} hears {call.status}")

    def leave(self, call: Call) -> None:
        del call
        self._notes.append(f"leave {self._name}")


class Refusing(Noted):
    def enter(self, call: Call) -> None:
        del call
        raise LookupError(self._name)


def governed_by(door: Door, monkeypatch: pytest.MonkeyPatch, *policies: Policy) -> tuple[Pipeline, Call]:
    """Return a pipeline of these policies alone, and a call."""

    def placed(policy: Policy) -> tuple[type[Policy], Make]:
        return type(policy), lambda _rules, _services: policy

    monkeypatch.setattr(order, "PIPELINE", tuple(map(placed, policies)))
    door.catalogue.write_text(door.catalogue.read_text() + "\n")
    door.live_catalogue.look()
    pipeline = door.gate.pipelines["read"]
    return pipeline, door.gate.call(pipeline, "/shop/v1/read", "v1", {})


async def passes(pipeline: Pipeline, call: Call) -> None:
    try:
        if (waiting := pipeline.enter(call)) is not None:
            await waiting
    finally:
        pipeline.leave(call)


async def soon() -> None:
    await asyncio.sleep(0)


def test_what_was_entered_is_left_last_to_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    policies = [Noted("a", notes), Noted("b", notes, soon()), Noted("c", notes, soon()), Noted("d", notes)]
    pipeline, call = governed_by(Door(tmp_path), monkeypatch, *policies)

    asyncio.run(passes(pipeline, call))

    entered = [f"enter {each}" for each in "abcd"]
    assert notes == [*entered, *(f"leave {each}" for each in "dcba")]


@pytest.mark.parametrize("waiting", [None, soon])
def test_one_that_refuses_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: object) -> None:
    notes: list[str] = []
    before = Noted("b", notes, soon() if waiting else None)
    policies = [Noted("a", notes), before, Refusing("c", notes), Noted("d", notes)]
    pipeline, call = governed_by(Door(tmp_path), monkeypatch, *policies)

    with pytest.raises(LookupError, match="c"):
        asyncio.run(passes(pipeline, call))

    assert notes == ["enter a", "enter b", "leave b", "leave a"]


def test_a_call_that_is_cancelled_while_it_waits_gives_back_what_it_has_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    async def cancelled() -> None:
        never = asyncio.get_running_loop().create_future()
        policies = [Noted("a", notes), Noted("b", notes, soon()), Noted("c", notes, never), Noted("d", notes)]
        running = asyncio.create_task(passes(*governed_by(Door(tmp_path), monkeypatch, *policies)))
        for _ in range(5):
            await asyncio.sleep(0)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())

    assert notes == ["enter a", "enter b", "enter c", "leave b", "leave a"]


def test_how_a_call_is_answered_is_heard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    pipeline, call = governed_by(Door(tmp_path), monkeypatch, Noted("a", notes), Refusing("b", notes))

    pipeline.answered(call, 201)
    pipeline.answered(call, 500)

    assert notes == ["a hears 201", "b hears 201"]


def test_a_call_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for _ in range(60):  # 50 at once are allowed
        assert door.client.get("/shop/v1/fail/bug", headers=door.headers()).status_code == 500
    assert door.client.post("/shop/v1/write", headers=door.headers(WRITER), json={"items": []}).status_code == 201

    assert [each["status"] for each in door.audited()] == [201]


def test_an_explanation_goes_over_the_policies_in_their_order() -> None:
    catalogue, today = load(), NOW.date()
    question = asked(catalogue, "sales-app", "sales_get_order", today)

    explanation = explain(catalogue, SHIPPED.read_text(), "sales-app", "sales_get_order", today)

    expected = [outcome.policy for policy, _ in PIPELINE for outcome in policy.explain(question)]
    assert [each.policy for each in explanation.decisions] == expected
