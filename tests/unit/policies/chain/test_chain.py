"""What every route is governed by, tried on a small app of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import get
from litestar.testing import TestClient

from policies.chain.gate import Ungoverned, governed
from policies.chain.readiness import RECENT, UNKNOWN, Latest, is_ok
from policies.contract.bodies import MAX_BODY
from tests.support.governed_app import GOVERNOR, NOW, WRITER, Door


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    made = Door(tmp_path)
    with made.client:
        yield made


def test_a_good_token_opens_and_names_the_caller(door: Door) -> None:
    answer = door.client.get("/shop/v1/read", headers=door.headers(on_behalf_of="alice"))

    assert answer.status_code == 200
    assert answer.json() == {"subject": "alice", "client": "someone"}


def test_a_cached_token_ends_with_its_time(door: Door) -> None:
    headers = door.headers(ttl=timedelta(minutes=5))
    assert door.client.get("/shop/v1/read", headers=headers).status_code == 200

    door.now = NOW + timedelta(minutes=6)

    assert door.client.get("/shop/v1/read", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "//shop/v1/read",
        "/shop//v1/read",
        "/shop/v1/read/",
        "/shop%2fv1%2Fread",
        "/shop/v1/rea%64",
        "/shop/v1/rea%64?state=open",
        "/%73hop/v1/read",
        "/shop/v1/%2e%2e/v1/read",
        "/shop/v1/read%0a",
        "/shop/v1/read%00",
        "/SHOP/v1/read",
    ],
)
def test_a_path_has_one_spelling(door: Door, path: str) -> None:
    answer = door.client.get(httpx.URL(f"http://testserver.local{path}"), headers=door.headers())

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-path")


def test_a_probe_may_have_a_slash_at_its_end(door: Door) -> None:
    assert door.client.get("/health/live/").status_code == 200
    assert door.client.get("//health/live").status_code == 404


@pytest.mark.parametrize(
    "path", ["/shop/v1/read", "/shop/v1/fail/missing", "/shop/v1/fail/broken", "/none", "/health/live"]
)
def test_no_answer_is_stored_or_taken_for_something_else(door: Door, path: str) -> None:
    for headers in (door.headers(), {}):
        with TestClient(door.app, raise_server_exceptions=False) as client:
            answer = client.get(path, headers=headers)

        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_a_missing_scope_is_forbidden(door: Door) -> None:
    answer = door.client.post("/shop/v1/write", headers=door.headers(), json={"items": []})

    assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")


def test_a_correlation_id_is_taken_over_when_it_is_harmless_and_made_otherwise(door: Door) -> None:
    given = door.client.get("/shop/v1/read", headers=door.headers() | {"x-correlation-id": "order-4711"})
    made = door.client.get("/shop/v1/read", headers=door.headers() | {"x-correlation-id": "a b"})

    assert given.headers["x-correlation-id"] == "order-4711"
    assert made.headers["x-correlation-id"].startswith("cor_")


def test_every_write_and_refused_write_is_audited_and_no_read_is(door: Door) -> None:
    door.client.get("/shop/v1/read", headers=door.headers())
    door.client.post(
        "/shop/v1/write", headers=door.headers(WRITER, on_behalf_of="alice"), json={"items": [], "note": "private"}
    )
    door.client.post("/shop/v1/write", headers=door.headers(), json={"items": []})
    door.client.post("/shop/v1/write?token=secret", json={"items": []})

    lines = door.audited()
    assert [(each["operation"], each["on_behalf_of"], each["status"]) for each in lines] == [
        ("write", "alice", 201),
        ("write", "someone", 403),
        ("write", "", 401),
    ]
    assert "private" not in door.log.read_text()
    assert "secret" not in door.log.read_text()


def test_a_body_over_the_limit_is_refused(door: Door) -> None:
    answer = door.client.post(
        "/shop/v1/write", headers=door.headers(WRITER), json={"items": [], "note": "x" * MAX_BODY}
    )

    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/body-too-large")


def test_every_unknown_field_is_named_with_its_path(door: Door) -> None:
    body = {"items": [{"sku": "A"}, {"sku": "B", "colour": "red"}], "note": "", "extra": {"a": 1}}

    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["$.items[1].colour", "$.extra"]


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"sku": 5}] * 20_000},
        {"items": [{"sku": "A", "colour": "red"}] * 5_000},
        {"items": [], "x" * 200_000: 1},
    ],
    ids=["wrong", "unknown", "long"],
)
def test_what_a_caller_sends_makes_no_long_answer(door: Door, body: dict[str, Any]) -> None:
    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert answer.status_code == 422
    assert 1 <= len(answer.json()["errors"]) <= 50
    assert len(answer.content) < 10_000


def test_everything_that_is_wrong_with_a_body_is_said_at_once_in_the_words_of_json(door: Door) -> None:
    body = {"items": [{"sku": 5}, {}, {"sku": "A", "colour": "red"}], "note": None}

    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"path": "$.items[0].sku", "reason": "it is to be a string, and is a whole number"},
        {"path": "$.items[1].sku", "reason": "it is missing"},
        {"path": "$.items[2].colour", "reason": "unknown field"},
        {"path": "$.note", "reason": "it is to be a string, and is null"},
    ]


@pytest.mark.parametrize("body", [{"items": [{"sku": 5}]}, {"note": "x"}, [], "text"])
def test_a_body_that_breaks_the_contract_is_unprocessable(door: Door, body: Any) -> None:
    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


def test_a_body_that_is_no_json_is_unprocessable(door: Door) -> None:
    headers = door.headers(WRITER) | {"content-type": "application/json"}

    answer = door.client.post("/shop/v1/write", headers=headers, content=b"{")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$", "reason": "it is not JSON: input data was truncated"}]


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (b'{"a":' * 1_500 + b"1" + b"}" * 1_500, "it is nested too deeply"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'"\xff"', "it is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (rb'"\ud800"', "it is not JSON: input data was truncated"),
        (b"NaN", "it is not JSON: json is malformed: invalid character (byte 22)"),
        (rb'"no\u0000thing"', "it has the character U+0000, which cannot be kept"),
    ],
    ids=["deep", "endless", "no UTF-8", "half a character", "no number", "NUL"],
)
def test_a_body_that_no_database_or_program_takes_is_unprocessable(door: Door, note: bytes, reason: str) -> None:
    headers = door.headers(WRITER) | {"content-type": "application/json"}

    answer = door.client.post("/shop/v1/write", headers=headers, content=b'{"items": [], "note": ' + note + b"}")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$", "reason": reason}]


def test_a_body_may_speak_of_the_character_that_cannot_be_kept(door: Door) -> None:
    headers = door.headers(WRITER) | {"content-type": "application/json"}

    answer = door.client.post("/shop/v1/write", headers=headers, content=rb'{"items": [], "note": "\\u0000"}')

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("rejected", 422, "platform-rejected"),
        ("missing", 404, "platform-not-found"),
        ("conflict", 409, "platform-conflict"),
        ("throttled", 429, "platform-throttled"),
        ("away", 503, "platform-unavailable"),
        ("unknown", 504, "outcome-unknown"),
    ],
)
def test_each_platform_fault_is_one_problem(door: Door, kind: str, status: int, problem: str) -> None:
    answer = door.client.get(f"/shop/v1/fail/{kind}", headers=door.headers())

    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert answer.json()["remedy"]
    assert answer.headers.get_list("x-correlation-id") == [answer.json()["correlation_id"]]
    assert answer.headers.get("retry-after") == ("7" if kind == "throttled" else None)


def test_a_layer_that_is_away_is_said_without_the_name_of_an_exception_and_not_to_be_a_platform(door: Door) -> None:
    problem = door.client.get("/shop/v1/fail/refused", headers=door.headers()).json()

    assert problem["detail"] == "no answer"
    assert problem["title"] == "A system behind the gateway cannot be reached"


@pytest.mark.parametrize(("kind", "fault"), [("bug", "RuntimeError"), ("framework", "InternalServerException")])
def test_a_fault_of_ours_tells_nothing_of_its_inside_and_the_log_where_it_broke(
    door: Door, capsys: pytest.CaptureFixture[str], kind: str, fault: str
) -> None:
    answer = door.client.get(f"/shop/v1/fail/{kind}", headers=door.headers())

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["correlation_id"]
    logged = "".join(capsys.readouterr())
    assert fault in logged
    assert "governed_app.py" in logged
    assert "the secret is 42" not in logged


def test_a_long_path_makes_no_long_line_in_the_log(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    door.client.get("/shop/v1/fail/" + "%01" * 10_000, headers=door.headers())

    assert 0 < len("".join(capsys.readouterr())) < 10_000


@pytest.mark.parametrize("path", ["/nowhere", "/shop/v9/read", "/shop/v1/read/more"])
def test_an_unknown_path_is_a_problem_of_its_own_with_a_correlation_id(door: Door, path: str) -> None:
    answer = door.client.get(path)

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-path")
    assert "/docs" in answer.json()["remedy"]
    assert answer.json()["correlation_id"].startswith("cor_")
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]


def test_a_method_that_a_path_does_not_take_is_a_problem_of_its_own_that_names_those_it_takes(door: Door) -> None:
    answer = door.client.post("/shop/v1/read", headers=door.headers())

    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic YTpi"}])
def test_a_call_without_a_good_token_hears_which_scheme_is_asked_for(door: Door, sent: dict[str, str]) -> None:
    answer = door.client.get("/shop/v1/read", headers=sent)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="tiergate"')


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("POST", "/shop/v1/read")])
def test_a_request_that_no_route_takes_keeps_the_correlation_id_that_it_brings(
    door: Door, method: str, path: str
) -> None:
    answer = door.client.request(method, path, headers={"x-correlation-id": "cor_" + "0" * 32})

    assert answer.json()["correlation_id"] == "cor_" + "0" * 32


def test_a_query_parameter_is_named_as_it_is_sent(door: Door) -> None:
    answer = door.client.get("/shop/v1/read?state=bogus", headers=door.headers())

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$.state", "reason": "'bogus' is not one of open, closed"}]


def test_every_unknown_query_parameter_is_refused_with_those_there_are(door: Door) -> None:
    answer = door.client.get("/shop/v1/read?state=open&sort=name&colour=red", headers=door.headers())
    none = door.client.get("/shop/v1/fail/missing?sort=name", headers=door.headers())

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"path": "$.colour", "reason": "unknown parameter; there are state"},
        {"path": "$.sort", "reason": "unknown parameter; there are state"},
    ]
    assert none.json()["errors"] == [{"path": "$.sort", "reason": "unknown parameter; there are none"}]


def test_a_parameter_that_has_one_value_is_there_once(door: Door) -> None:
    answer = door.client.get("/shop/v1/read?state=open&state=closed", headers=door.headers())

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$.state", "reason": "it is there more than once"}]


def test_a_probe_may_have_any_query(door: Door) -> None:
    assert door.client.get("/health/live?at=1").status_code == 200


def test_health_is_open_and_says_what_is_missing(door: Door) -> None:
    assert door.client.get("/health/live").json() == {"status": "ok"}
    answer = door.client.get("/health/ready", headers=door.headers(GOVERNOR))
    assert (answer.status_code, answer.json()) == (503, {"erp": "gone", "catalogue": "ok", "revocations": "ok"})


@pytest.mark.parametrize("authorization", ["", "Bearer x", "shop:read"])
def test_readiness_says_to_everybody_no_more_than_whether_the_layer_is_ready(door: Door, authorization: str) -> None:
    headers = door.headers() if authorization == "shop:read" else {"authorization": authorization}
    answer = door.client.get("/health/ready", headers=headers)

    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


def test_readiness_is_found_once_for_all_who_ask_and_nobody_waits_for_it_for_ever() -> None:
    now, found, running, most = 0.0, 0, 0, 0
    ends = threading.Event()

    def find() -> dict[str, str]:
        nonlocal found, running, most
        running += 1
        most = max(most, running)
        ends.wait(10)
        running -= 1
        found += 1
        return {"erp": f"ok, {found}"}

    async def ask() -> None:
        nonlocal now
        latest = Latest(find, UNKNOWN, lambda: now)
        late = [await each for each in asyncio.as_completed([latest.found() for _ in range(60)])]
        assert late == [UNKNOWN] * 60  # it takes longer than they wait
        ends.set()
        assert [await latest.found() for _ in range(60)] == [{"erp": "ok, 1"}] * 60
        now = RECENT + 0.1
        assert await latest.found() == {"erp": "ok, 2"}
        ends.clear()
        now = 10.0
        assert await latest.found() == UNKNOWN  # what was found is too old to be answered again
        ends.set()
        assert await latest.found() == {"erp": "ok, 3"}

    asyncio.run(ask())
    assert most == 1


def test_a_layer_that_does_without_is_ready_and_says_what_is_missing(door: Door) -> None:
    app = governed(door.gate, [], readiness=lambda: {"erp": "gone"}, provided={}, ready_without=True)
    with TestClient(app) as client:
        answer = client.get("/health/ready", headers=door.headers(GOVERNOR))
        plain = client.get("/health/ready").json()

    assert (answer.status_code, answer.json()["erp"], plain) == (200, "gone", {"status": "ok"})


def test_more_may_be_said_of_what_answers() -> None:
    assert [is_ok(said) for said in ("ok", "ok, read 3 s ago", "okay", "gone", "")] == [True, True, False, False, False]


def test_an_app_with_a_route_that_the_catalogue_does_not_know_does_not_start(door: Door) -> None:
    @get("/ungoverned", operation_id="ungoverned", sync_to_thread=False)
    def ungoverned() -> None:
        """Never served."""

    @get("/nameless", sync_to_thread=False)
    def nameless() -> None:
        """Never served."""

    for handler in (ungoverned, nameless):
        with pytest.raises(Ungoverned):
            governed(door.gate, [handler], readiness=dict, provided={})
