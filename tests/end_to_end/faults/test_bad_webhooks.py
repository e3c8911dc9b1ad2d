"""A webhook that is not what it claims: 401, logged, and nothing is stored."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from policies.identity.webhook_signature import signed_headers
from sandbox.stripe.account import signature
from tests.support.environment import Environment


def billing_event(environment: Environment) -> tuple[bytes, str]:
    """Return a body that would be taken, and the secret it would be signed with."""
    invoice = {
        "id": "in_forged",
        "parent": {"subscription_details": {"metadata": {"tiergate_contract": "con_forged"}}},
    }
    body = {"id": "evt_forged", "type": "invoice.paid", "created": int(time.time()), "data": {"object": invoice}}
    return msgspec.json.encode(body), (environment.sandbox.kept / "billing_webhook_secret").read_text()


FORGED = ("no signature", "another secret", "another body", "too old", "from the future", "no time", "two times")


@pytest.mark.parametrize("trouble", [*FORGED, "umlauts", "digits"])
def test_a_forged_billing_webhook_is_refused_logged_and_not_stored(environment: Environment, trouble: str) -> None:
    body, secret = billing_event(environment)
    now = int(time.time())
    header = {
        "no signature": "",
        "another secret": signature("whsec_other", body, now),
        "another body": signature(secret, body + b" ", now),
        "too old": signature(secret, body, now - 310),
        "from the future": signature(secret, body, now + 310),
        "no time": signature(secret, body, now).replace(f"t={now},", ""),
        "two times": f"t={now}," + signature(secret, body, now - 310),
        "umlauts": signature(secret, body, now) + "ü",
        "digits": signature(secret, body, now).replace(str(now), "9" * 5000),
    }[trouble]
    answer = httpx.post(
        f"{environment.sandbox.url('system')}/billing/v1/webhooks",
        content=body,
        headers=[(b"stripe-signature", header.encode("latin-1"))],
    )

    assert answer.status_code == 401
    assert "signature" in answer.json()["detail"]
    assert b"receive_billing_webhook" in environment.children["system"].log.read_bytes()  # the first few in a minute
    assert environment.record("SELECT count(*) FROM events WHERE id = 'evt_forged'") == 0
    assert environment.record("SELECT count(*) FROM postings WHERE id = 'in_forged'") == 0


@pytest.mark.parametrize("trouble", ["no signature", "another secret", "another body", "too old", "garbage", "digits"])
def test_a_forged_provisioning_report_is_refused_and_not_stored(environment: Environment, trouble: str) -> None:
    body = msgspec.json.encode({"order_id": "ord_x", "line_id": "forged", "attempt": 1, "succeeded": True})
    secret, now = environment.sandbox.provisioning_secret, datetime.now(UTC)
    headers = {
        "no signature": {},
        "another secret": signed_headers("whsec_c2VjcmV0c2VjcmV0c2VjcmV0", "m", now, body),
        "another body": signed_headers(secret, "m", now, body + b" "),
        "too old": signed_headers(secret, "m", now - timedelta(minutes=6), body),
        "digits": signed_headers(secret, "m", now, body) | {"webhook-timestamp": "9" * 5000},
        "garbage": {"webhook-id": "m", "webhook-timestamp": "x", "webhook-signature": "v1"},
    }[trouble]

    answer = httpx.post(f"{environment.sandbox.url('system')}/provisioning/v1/webhooks", content=body, headers=headers)

    assert answer.status_code == 401
    assert environment.record("SELECT count(*) FROM events WHERE id LIKE 'ord_x:forged%'") == 0


@pytest.mark.parametrize("body", [b"\xff{}", b"[" * 100_000, b"{" * 100_000, b'{"created": ' + b"9" * 5000 + b"}"])
def test_a_signed_webhook_that_is_no_json_or_too_deep_is_refused(environment: Environment, body: bytes) -> None:
    url, now = environment.sandbox.url("system"), datetime.now(UTC)
    secret, headers = (environment.sandbox.kept / "billing_webhook_secret").read_text(), dict[str, str]()
    if body.isascii():  # neither package signs other bytes
        headers = signed_headers(environment.sandbox.provisioning_secret, "m", now, body)
    signed = signature(secret, body, int(now.timestamp())) if body.isascii() else "t=1,v1=0"

    billing = httpx.post(f"{url}/billing/v1/webhooks", content=body, headers={"stripe-signature": signed})
    report = httpx.post(f"{url}/provisioning/v1/webhooks", content=body, headers=headers)

    assert (billing.status_code, report.status_code) == ((422, 422) if body.isascii() else (401, 401))


def test_a_webhook_over_the_limit_is_refused(environment: Environment) -> None:
    answer = httpx.post(f"{environment.sandbox.url('system')}/billing/v1/webhooks", content=b"x" * 300_000)

    assert answer.status_code == 413


def test_an_event_of_no_interest_is_acknowledged_and_not_stored(environment: Environment) -> None:
    _, secret = billing_event(environment)
    body = msgspec.json.encode({"id": "evt_other", "type": "plan.created", "created": 1, "data": {"object": {}}})

    answer = httpx.post(
        f"{environment.sandbox.url('system')}/billing/v1/webhooks",
        content=body,
        headers={"stripe-signature": signature(secret, body, int(time.time()))},
    )

    assert (answer.status_code, answer.json()) == (200, {"taken": False})
    assert environment.record("SELECT count(*) FROM events WHERE id = 'evt_other'") == 0
