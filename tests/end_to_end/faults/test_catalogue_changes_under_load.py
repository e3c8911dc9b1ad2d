"""The catalogue changes a hundred times while callers call: no request fails, and each new rule holds within a
second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from policies.catalogue.model import SHIPPED
from tests.support.environment import Environment
from tests.support.platforms import wait_until

ROUNDS = 100
SHIPPED_TEXT = SHIPPED.read_text().replace("200/second; 6000/minute", "100000/second")  # nothing but the change refuses
WITHOUT = SHIPPED_TEXT.replace(
    'scopes = ["orders:read", "cases:read", "customers:read", "postings:read", "drift:read"]', 'scopes = ["cases:read"]'
)


def test_a_hundred_changes_under_load_fail_no_request_and_hold_within_a_second(
    environment: Environment, tmp_path: Path
) -> None:
    assert WITHOUT != SHIPPED_TEXT
    file = tmp_path / "catalogue.toml"
    file.write_text(SHIPPED_TEXT)
    environment.children["experience"].stop()
    environment.start("experience", {"TIERGATE_GOVERNANCE_CATALOGUE": str(file)})
    url = f"{environment.sandbox.url('experience')}/sales/v1/orders"
    answers: Counter[int] = Counter()
    stop = threading.Event()

    def call() -> None:
        with httpx.Client(headers=environment.channels.headers("sales-app")) as client:
            while not stop.is_set():
                answers[client.get(url).status_code] += 1
                time.sleep(0.02)  # a steady load, and not all that the machine can do

    callers = [threading.Thread(target=call) for _ in range(2)]
    for each in callers:
        each.start()
    slowest = 0.0
    try:
        with httpx.Client(headers=environment.channels.headers("sales-france")) as client:
            for number in range(ROUNDS):
                text, wanted = (WITHOUT, 403) if number % 2 == 0 else (SHIPPED_TEXT, 200)
                draft = file.with_suffix(".new")
                draft.write_text(text)
                draft.rename(file)
                began = time.monotonic()
                wait_until(lambda wanted=wanted: client.get(url).status_code == wanted, 5, f"round {number}")
                slowest = max(slowest, time.monotonic() - began)
    finally:
        stop.set()
        for each in callers:
            each.join()
        environment.children["experience"].stop()
        environment.start("experience")

    assert set(answers) == {200}, answers
    assert answers[200] > ROUNDS
    assert slowest < 1.0
