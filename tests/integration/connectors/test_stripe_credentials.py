"""The stand-in takes Stripe's key in both forms, and no other (docs.stripe.com/api/authentication)."""

from __future__ import annotations

import base64
from http import HTTPStatus
from pathlib import Path

import pytest
from litestar.testing import TestClient

from tests.support.stripe_account import API_KEY, StripeAccount


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {API_KEY}", HTTPStatus.OK),
        (basic(f"{API_KEY}:"), HTTPStatus.OK),
        (basic(f"{API_KEY}:password"), HTTPStatus.UNAUTHORIZED),
        (basic("rk_another:"), HTTPStatus.UNAUTHORIZED),
        ("Bearer ", HTTPStatus.UNAUTHORIZED),
        ("Basic %%%", HTTPStatus.UNAUTHORIZED),
        ("Bearer ü", HTTPStatus.UNAUTHORIZED),
        ("", HTTPStatus.UNAUTHORIZED),
    ],
)
def test_the_key_is_a_bearer_token_or_a_user_name(authorization: str, status: HTTPStatus, tmp_path: Path) -> None:
    with TestClient(StripeAccount(tmp_path).app) as client:
        headers = {b"authorization": authorization.encode("latin-1"), b"stripe-version": b"2026-10-28.endive"}
        answer = client.get("/v1/customers", headers=headers)

    assert answer.status_code == status, answer.text
