"""The sandbox's control port: what it switches on, happens, and no longer than it was asked to."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.support.environment import Stack, wait_until


def account(stack: Stack) -> str:
    return stack.crm.create("Account", Name="Trouble")


def test_a_slow_answer_is_slow_once(stack: Stack) -> None:
    stack.fault("crm", kind="slow", milliseconds=400, matching="/limits")
    began = time.monotonic()
    stack.crm.read("limits")
    slow = time.monotonic() - began
    stack.crm.read("limits")

    assert slow >= 0.4
    assert stack.faults_left("crm") == 0


def test_a_dropped_answer_leaves_what_was_done(stack: Stack) -> None:
    stack.fault("crm", kind="drop", matching="POST /services/data/v66.0/sobjects/Account")

    with pytest.raises(httpx.HTTPError):
        stack.crm.create("Account", Name="Dropped after all")

    assert len(stack.crm.query("SELECT Id FROM Account WHERE Name = 'Dropped after all'")) == 1


def test_a_status_is_answered_in_the_platforms_own_form_and_nothing_is_done(stack: Stack) -> None:
    stack.fault("crm", kind="status", status=503, matching="sobjects/Account", times=2)

    for _ in range(2):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            stack.crm.create("Account", Name="Never there")
        assert refused.value.response.json()[0]["errorCode"] == "SERVER_UNAVAILABLE"

    assert stack.crm.query("SELECT Id FROM Account WHERE Name = 'Never there'") == []
    assert stack.crm.create("Account", Name="There again")


def test_a_stale_read_repeats_the_last_answer(stack: Stack) -> None:
    record = account(stack)
    path = f"sobjects/Account/{record}"
    assert stack.crm.read(path)["Name"] == "Trouble"
    stack.crm.update("Account", record, Name="Changed")

    stack.fault("crm", kind="stale", matching=path)

    assert stack.crm.read(path)["Name"] == "Trouble"
    assert stack.crm.read(path)["Name"] == "Changed"


def test_a_fault_that_does_not_exist_is_refused(stack: Stack) -> None:
    for platform, fault in (
        ("crm", {"kind": "nonsense"}),
        ("moon", {"kind": "slow"}),
        ("crm", {"kind": "slow", "x": 1}),
    ):
        answer = httpx.post(f"{stack.sandbox.url('control')}/faults/{platform}", json=fault)
        assert answer.status_code in (400, 404)


def test_a_deal_that_closes_while_the_system_layer_is_away_is_seen_when_it_is_back(stack: Stack) -> None:
    stack.children["system"].stop()
    _, deal = stack.sell(stack.sale("Meanwhile"))
    stack.start("system")

    stack.settled(stack.order_in(deal, "active"))


def test_a_slow_target_delays_the_activation_and_nothing_else(stack: Stack) -> None:
    stack.behave(sku="SEAT", outcome="succeed", milliseconds=1500)
    _, deal = stack.sell(stack.sale("Slow Seats"))

    waiting = stack.order_in(deal, "provisioning")
    states = {"provisioned", "requested"}
    wait_until(
        lambda: {each.state for each in stack.channels.order(waiting.id).lines} == states, 10, "two lines are done"
    )
    assert stack.channels.order(waiting.id).state == "provisioning"

    stack.order_in(deal, "active")
    stack.behave(sku="SEAT", outcome="succeed", milliseconds=50)
