"""Signatures of webhooks, made and judged by the package of the specification, at the time of the replicas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from policies.identity.webhook_signature import TOLERANCE, signed_headers, verify
from policies.problems import ProblemError

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"line": "Größe"}'.encode()
NOW = datetime(2027, 4, 29, 12, tzinfo=UTC)
"""Months away from the machine's own time."""


def clock() -> datetime:
    return NOW


def test_what_we_sign_is_taken_by_the_package_and_by_us() -> None:
    now = datetime.now(UTC)
    headers = signed_headers(SECRET, "msg_1", now, BODY)

    Webhook(SECRET).verify(BODY, headers)
    verify(SECRET, headers, BODY, lambda: now)


@pytest.mark.parametrize("off", [timedelta(0), TOLERANCE, -TOLERANCE])
def test_the_time_that_counts_is_the_clocks_and_not_the_machines(off: timedelta) -> None:
    verify(SECRET, signed_headers(SECRET, "msg_1", NOW + off, BODY), BODY, clock)


def test_one_valid_signature_of_several_is_enough() -> None:
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    of_the_next_secret = signed_headers(OTHER, "msg_1", NOW, BODY)["webhook-signature"]

    verify(SECRET, headers | {"webhook-signature": f"{of_the_next_secret} {headers['webhook-signature']}"}, BODY, clock)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-timestamp": str(int((NOW + TOLERANCE).timestamp()) + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "9" * 40},
        {"webhook-timestamp": "1.5"},
        {"webhook-id": "msg_2"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1a,AAAA"},
    ],
)
def test_what_is_not_signed_as_it_came_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ProblemError):
        verify(SECRET, signed_headers(SECRET, "msg_1", NOW, BODY) | change, BODY, clock)


def test_an_old_signature_another_body_another_secret_and_none_are_refused() -> None:
    headers = signed_headers(SECRET, "msg_1", NOW, BODY)
    old = signed_headers(SECRET, "msg_1", NOW - TOLERANCE - timedelta(seconds=1), BODY)
    for secret, sent, body in (
        (SECRET, old, BODY),
        (SECRET, headers, b"{}"),
        (OTHER, headers, BODY),
        ("", headers, BODY),
    ):
        with pytest.raises(ProblemError):
            verify(secret, sent, body, clock)
    with pytest.raises(ProblemError):
        verify(SECRET, {}, BODY, clock)
    with pytest.raises(ProblemError):
        verify(SECRET, headers, b"\xff", clock)
