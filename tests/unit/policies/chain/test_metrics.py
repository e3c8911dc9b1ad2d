"""The metrics of a layer: who is shown them, what they count, and that nothing that a caller sends makes them grow."""

from __future__ import annotations

import random
import string
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from policies.chain.passthrough import Passthrough, passthrough_routes
from policies.identity.authentication import Principal
from policies.outbound.layer_client import LayerResponse
from policies.problems import TYPES
from policies.store.secret import Secret
from tests.support.governed_app import READER, WRITER, Door, sees

TOKEN = "a-token-of-metrics-1"
SHOWN = {"authorization": f"Bearer {TOKEN}"}
LABELS = ("operation", "client", "status", "problem")
SECONDS = "tiergate_request_duration_seconds"


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    made = Door(tmp_path, metrics_token=Secret(TOKEN))
    with made.client:
        yield made


def exposition(door: Door) -> str:
    answer = door.client.get("/metrics", headers=SHOWN)
    assert answer.status_code == 200
    return answer.text


def values(door: Door, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a name, by their operation, client, and status or problem."""
    samples = [each for family in families(exposition(door)) for each in family.samples if each.name == name]
    return {tuple(each.labels[label] for label in LABELS if label in each.labels): each.value for each in samples}


def test_without_a_token_in_the_settings_there_is_no_such_path(tmp_path: Path) -> None:
    with Door(tmp_path).client as client:
        answers = [client.get("/metrics", headers=each) for each in ({}, SHOWN, {"authorization": "Bearer "})]
        other = client.get("/nothing")

    assert [each.status_code for each in answers] == [404] * 3
    assert {each.json()["type"] for each in answers} == {other.json()["type"]} == {"/problems/no-such-path"}


@pytest.mark.parametrize(
    "sent", ["", "Bearer ", "Bearer x", TOKEN, f"Bearer {TOKEN}x", f"bearer {TOKEN}", "Bearer \xfc"]
)
def test_another_token_than_that_of_the_settings_is_shown_nothing(door: Door, sent: str) -> None:
    answer = door.client.get("/metrics", headers={b"authorization": sent.encode("latin-1")} if sent else {})

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    assert "tiergate_" not in answer.text


def test_a_token_of_a_client_is_not_the_token_of_metrics(door: Door) -> None:
    assert door.client.get("/metrics", headers=door.headers(WRITER)).status_code == 401


def test_both_formats_are_written_and_are_not_stored(door: Door) -> None:
    plain = door.client.get("/metrics", headers=SHOWN)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    other = door.client.get("/metrics", headers=SHOWN | accept)

    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert other.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert plain.headers["cache-control"] == "no-store"
    assert {each.name for each in families(plain.text)} >= {"tiergate_requests", "process_resident_memory_bytes"}
    assert other.text.rstrip().endswith("# EOF")


def test_each_answer_is_counted_once_with_its_operation_client_and_status(door: Door) -> None:
    for _ in range(3):
        door.client.get("/shop/v1/read", headers=door.headers(READER))
    door.client.post("/shop/v1/write", headers=door.headers(READER), json={"items": []})
    door.client.get("/shop/v1/read")
    door.client.get("/shop/v1/fail/away", headers=door.headers())
    door.client.get("/shop/v1/fail/bug", headers=door.headers())
    door.client.options("/shop/v1/read")
    door.client.get("/nothing")
    door.client.delete("/shop/v1/read")

    counted = values(door, "tiergate_requests_total")
    assert counted["read", "someone", "200"] == 3
    assert counted["write", "someone", "403"] == 1
    assert counted["read", "", "401"] == 1
    assert (counted["fail", "someone", "503"], counted["fail", "someone", "500"]) == (1, 1)
    assert (counted["", "", "204"], counted["", "", "404"], counted["", "", "405"]) == (1, 1, 1)
    refused = values(door, "tiergate_refusals_total")
    assert refused == {
        ("write", "someone", "forbidden"): 1,
        ("read", "", "unauthenticated"): 1,
        ("fail", "someone", "platform-unavailable"): 1,
        ("fail", "someone", "internal"): 1,
        ("", "", "no-such-path"): 1,
        ("", "", "method-not-allowed"): 1,
    }
    assert values(door, f"{SECONDS}_count")[("read",)] == 4


def test_an_answer_that_is_late_or_a_server_error_misses_what_its_service_tier_promises(door: Door) -> None:
    def missed(operation: str) -> float:
        return values(door, "tiergate_objective_missed_total")[(operation,)]

    door.client.get("/shop/v1/read", headers=door.headers())
    door.client.get("/shop/v1/read")  # 401 is the caller's own
    assert missed("read") == 0
    door.client.get("/shop/v1/fail/away", headers=door.headers())
    assert missed("fail") == 1

    changed = door.catalogue.read_text().replace("sheds_at = 100", "answered_within = 0.000001\nsheds_at = 100")
    door.catalogue.write_text(changed)
    door.live_catalogue.look()
    door.client.get("/shop/v1/read", headers=door.headers())

    assert missed("read") == 1
    (promised,) = (f for f in families(exposition(door)) if f.name == "tiergate_objective_promised_ratio")
    assert [(each.labels["tier"], each.value) for each in promised.samples] == [("t", 0.99)]


async def missing(_: Principal, __: str) -> LayerResponse:
    return LayerResponse(404, b'{"type": "/problems/not-found"}', "application/problem+json", None)


async def strange(_: Principal, __: str) -> LayerResponse:
    return LayerResponse(418, b'{"type": "/problems/of-theirs\\n"}', "application/problem+json", None)


def test_what_is_passed_through_is_counted_as_the_rest(tmp_path: Path) -> None:
    door = Door(tmp_path, handlers=[sees], metrics_token=Secret(TOKEN))
    for fetch in (missing, strange):
        door.client.app = Passthrough(door.app, door.gate, passthrough_routes(door.app), fetch)
        assert door.client.get("/shop/v1/sees", headers=door.headers()).status_code >= 400

    assert values(door, "tiergate_requests_total")["sees", "someone", "404"] == 1
    assert values(door, "tiergate_refusals_total") == {
        ("sees", "someone", "not-found"): 1,
        ("sees", "someone", ""): 1,
    }
    assert values(door, f"{SECONDS}_count")[("sees",)] == 2


def test_a_hostile_caller_makes_them_no_larger(door: Door) -> None:
    drawn = random.Random(7)
    hostile = ['x"} 1\ntiergate_up 0\n#', "a\\", "{operation=", "\u2028", "'; DROP", "%0a%22", "../../metrics"]

    def word() -> str:
        return drawn.choice(hostile) + "".join(drawn.choices(string.printable, k=8))

    def send() -> None:
        name = word().encode("utf-8", "replace").translate(None, b"\r\n\0")
        path = drawn.choice(["/", "/shop/v1/", "/shop/v1/read/", "/shop/v1/fail/"]) + quote(word())
        headers = {
            b"authorization": b"Bearer " + name,
            b"x-correlation-id": name,
            b"accept": name,
            b"user-agent": name,
            b"traceparent": name,
        }
        method = drawn.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "HEAD"])
        door.client.request(method, path, headers={key: value.strip() for key, value in headers.items()})

    def kinds() -> set[tuple[str, frozenset[tuple[str, str]]]]:
        text = exposition(door)
        return {(each.name, frozenset(each.labels.items())) for family in families(text) for each in family.samples}

    for _ in range(200):  # each kind of refusal is there once
        send()
    exposition(door)
    before = kinds()
    for _ in range(1000):
        send()

    assert kinds() == before
    labels = {value for _, each in before for name, value in each if name in LABELS and name != "status"}
    assert labels <= {"", "read", "fail", "metrics", "someone", *TYPES, *door.gate.pipelines}


def test_a_refusal_is_in_the_log_under_the_id_that_the_caller_quotes(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [
        door.client.post("/shop/v1/write", headers=door.headers(READER), json={"items": []}),
        door.client.get("/shop/v1/fail/rejected", headers=door.headers()),
        door.client.get("/shop/v1/fail/bug", headers=door.headers()),
        door.client.get("/nothing"),
    ]

    logged = "".join(capsys.readouterr()).splitlines()
    for answer in answers:
        problem = answer.json()
        name = problem["type"].removeprefix("/problems/")
        (line,) = [each for each in logged if problem["correlation_id"] in each and " refused " in f" {each} "]
        assert f"problem={name} " in line
        assert f"status={answer.status_code}" in line
        assert "secret" not in line
