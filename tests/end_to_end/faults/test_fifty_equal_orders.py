"""Fifty times the same order at once, at two replicas of which one is killed: one order."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.environment import VARIABLES, Environment
from tests.support.partners import NORD, Partner, customer_of
from tests.support.platforms import wait_until
from tiergate.dev.layers import START_SECONDS
from tiergate.dev.ports import free_port
from tiergate.dev.processes import Child, layer_process, wait_for

TIMES = 50
SECONDS = 60.0


@dataclass
class Replica:
    """A second experience layer on the same state."""

    child: Child
    url: str


@pytest.fixture
def replica(environment: Environment) -> Generator[Replica]:
    port = free_port()
    child = layer_process(
        "experience",
        environment.sandbox.config,
        environment.folder,
        VARIABLES | {"TIERGATE_SERVER_EXPERIENCE_PORT": str(port)},
    )
    made = Replica(child, f"http://127.0.0.1:{port}")
    wait_for(f"{made.url}/health/live", child, START_SECONDS)
    yield made
    child.stop()


def begun(environment: Environment, account: str) -> list[dict[str, Any]]:
    """Return the partner's deal, as soon as the CRM has it. What is left to do takes longer than to look."""
    return environment.crm.query(f"SELECT Id FROM Opportunity WHERE PlacedBy__c = '{NORD}' AND AccountId = '{account}'")


def test_fifty_equal_requests_at_two_replicas_of_which_one_dies_are_one_order(
    environment: Environment, replica: Replica
) -> None:
    first = customer_of(environment, NORD, "Fifty")
    account = first.plan.account_id if first.plan else ""
    urls = (environment.sandbox.url("experience"), replica.url)
    environment.fault(
        "crm", kind="late", matching="TiergateKey__c", milliseconds=400, times=4
    )  # so that many of them meet while the first still runs

    def insist(number: int) -> httpx.Response:
        """Insist as a careful client does: the same request again until there is an answer, at whichever replica is
        there."""
        deadline = time.monotonic() + SECONDS
        turn = number
        while time.monotonic() < deadline:
            try:
                answer = Partner(environment, url=urls[turn % 2]).place(first.customer_id, "fifty")
            except httpx.TransportError:
                turn += 1
            else:
                if answer.status_code not in {409, 503, 504}:
                    return answer
            time.sleep(0.05)
        raise AssertionError("no answer in time")

    with ThreadPoolExecutor(TIMES) as pool:
        answers = [pool.submit(insist, number) for number in range(TIMES)]
        wait_until(lambda: begun(environment, account), 20, "the deal in the CRM")
        replica.child.process.send_signal(signal.SIGKILL)
        done = [each.result() for each in answers]

    assert {each.status_code for each in done} == {201}
    assert len({each.json()["id"] for each in done}) == 1
    assert sum("idempotency-replayed" not in each.headers for each in done) <= 2, (
        "two at the most acted, under one name"
    )
    (order_id,) = {each.json()["id"] for each in done}
    deal = environment.record("SELECT deal_id FROM orders WHERE id = ?", order_id)
    assert [each["Id"] for each in begun(environment, account)] == [deal]
    lines = environment.crm.query(f"SELECT Id FROM OpportunityLineItem WHERE OpportunityId = '{deal}'")
    assert len(lines) == 2
