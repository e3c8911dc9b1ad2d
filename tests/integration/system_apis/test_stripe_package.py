"""What Stripe's own package does for the connector: forms and signatures, and no more than that."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from policies.problems import ProblemError
from sandbox.stripe.account import signature
from system_apis.billing.stripe.client import encoded
from system_apis.billing.stripe.webhooks import verify

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def test_nested_values_are_written_as_stripe_reads_them() -> None:
    params = {
        "phases": [{"items": [{"price": "price_1", "quantity": 2}], "start_date": "now"}],
        "inclusive": False,
        "metadata": {"tiergate_id": "ü &="},
        "expand": ["payments"],
        "left_out": None,
    }

    assert encoded(params) == (
        "phases%5B0%5D%5Bitems%5D%5B0%5D%5Bprice%5D=price_1&phases%5B0%5D%5Bitems%5D%5B0%5D%5Bquantity%5D=2"
        "&phases%5B0%5D%5Bstart_date%5D=now&inclusive=false&metadata%5Btiergate_id%5D=%C3%BC+%26%3D"
        "&expand%5B0%5D=payments"
    )


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_webhook_that_is_signed_within_five_minutes_is_taken(seconds: int) -> None:
    header = signature("whsec_1", b"{}", STAMP + seconds)

    verify("whsec_1", f"{header},v0=other", b"{}", lambda: NOW)


@pytest.mark.parametrize(
    ("header", "secret", "body"),
    [
        (signature("whsec_1", b"{}", STAMP - 301), "whsec_1", b"{}"),
        (signature("whsec_1", b"{}", STAMP + 301), "whsec_1", b"{}"),
        (signature("whsec_1", b"{}", STAMP - 301) + "=,t=x", "whsec_1", b"{}"),
        (signature("", b"{}", STAMP), "", b"{}"),
        (signature("whsec_1", b"{}", STAMP), "whsec_1", b"\xff"),
        (f"t={STAMP},v1=ü", "whsec_1", b"{}"),
        ("", "whsec_1", b"{}"),
    ],
    ids=["too old", "from the future", "with more signs", "no secret", "no text", "umlauts", "no signature"],
)
def test_any_other_webhook_is_refused(header: str, secret: str, body: bytes) -> None:
    with pytest.raises(ProblemError, match="signature"):
        verify(secret, header, body, lambda: NOW)


def test_only_the_system_layer_loads_the_package() -> None:
    program = (
        "import sys, tiergate.server.server, process_apis.app, experience_apis.app\n"
        "print('stripe' in sys.modules, 'requests' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]
