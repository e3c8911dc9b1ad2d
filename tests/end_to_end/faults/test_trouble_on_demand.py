"""The sandbox's control port: what it switches on, happens, and no longer than it was asked to."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.support.environment import Environment
from tests.support.platforms import wait_until


def account(environment: Environment) -> str:
    return environment.crm.create("Account", Name="Trouble")


def test_a_slow_answer_is_slow_once(environment: Environment) -> None:
    environment.fault("crm", kind="slow", milliseconds=400, matching="/limits")
    began = time.monotonic()
    environment.crm.read("limits")
    slow = time.monotonic() - began
    environment.crm.read("limits")

    assert slow >= 0.4
    assert environment.faults_left("crm") == 0


def test_a_dropped_answer_leaves_what_was_done(environment: Environment) -> None:
    environment.fault("crm", kind="drop", matching="POST /services/data/v66.0/sobjects/Account")

    with pytest.raises(httpx.HTTPError):
        environment.crm.create("Account", Name="Dropped after all")

    assert len(environment.crm.query("SELECT Id FROM Account WHERE Name = 'Dropped after all'")) == 1


def test_a_status_is_answered_in_the_platforms_own_form_and_nothing_is_done(environment: Environment) -> None:
    environment.fault("crm", kind="status", status=503, matching="sobjects/Account", times=2)

    for _ in range(2):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            environment.crm.create("Account", Name="Never there")
        assert refused.value.response.json()[0]["errorCode"] == "SERVER_UNAVAILABLE"

    assert environment.crm.query("SELECT Id FROM Account WHERE Name = 'Never there'") == []
    assert environment.crm.create("Account", Name="There again")


def test_a_stale_read_repeats_the_last_answer(environment: Environment) -> None:
    record = account(environment)
    path = f"sobjects/Account/{record}"
    assert environment.crm.read(path)["Name"] == "Trouble"
    environment.crm.update("Account", record, Name="Changed")

    environment.fault("crm", kind="stale", matching=path)

    assert environment.crm.read(path)["Name"] == "Trouble"
    assert environment.crm.read(path)["Name"] == "Changed"


def test_a_fault_that_does_not_exist_is_refused(environment: Environment) -> None:
    for platform, fault in (
        ("crm", {"kind": "nonsense"}),
        ("moon", {"kind": "slow"}),
        ("crm", {"kind": "slow", "x": 1}),
    ):
        answer = httpx.post(f"{environment.sandbox.url('control')}/faults/{platform}", json=fault)
        assert answer.status_code in (400, 404)


def test_a_deal_that_closes_while_the_system_layer_is_away_is_seen_when_it_is_back(environment: Environment) -> None:
    environment.children["system"].stop()
    _, deal = environment.sell(environment.sale("Meanwhile"))
    environment.start("system")

    environment.settled(environment.order_in(deal, "active"))


def test_a_slow_target_delays_the_activation_and_nothing_else(environment: Environment) -> None:
    environment.behave(sku="SEAT", outcome="succeed", milliseconds=1500)
    _, deal = environment.sell(environment.sale("Slow Seats"))

    waiting = environment.order_in(deal, "provisioning")
    states = {"provisioned", "requested"}
    wait_until(
        lambda: {each.state for each in environment.channels.order(waiting.id).lines} == states,
        10,
        "two lines are done",
    )
    assert environment.channels.order(waiting.id).state == "provisioning"

    environment.order_in(deal, "active")
    environment.behave(sku="SEAT", outcome="succeed", milliseconds=50)
