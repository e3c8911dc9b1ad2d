"""The Stripe stand-in, driven by Stripe's client for Node.js: forms, errors, pages and signatures by other code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from sandbox.stripe.versions import CURRENT
from tests.support.environment import Environment

HERE = Path(__file__).parent


def test_the_client_for_node_sells_is_refused_and_is_reported_to(environment: Environment) -> None:
    mark = uuid4().hex
    plan = {"url": environment.sandbox.url("billing"), "key": environment.sandbox.api_key, "mark": mark}
    node = Path(sys.executable).with_name("node")

    done = subprocess.run(
        [node, "drive_stripe.js", json.dumps(plan)], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "taxIds": [["eu_vat", "DE129273398", "DE"]],
        "once": True,
        "otherParameters": ["StripeIdempotencyError", None, None, 400],
        "price": [None, "0.495", 3],
        "states": ["not_started", "active", "draft", "paid"],
        "money": [9_900, [1_881], 11_781, 11_781],
        "metadata": {},
        "note": [1_178, 1_178, 1_178, True],
        "refund": ["succeeded", "refund", -1_000],
        "tooMuch": ["StripeInvalidRequestError", None, "amount", 400],
        "twice": ["StripeInvalidRequestError", "duplicate_meter_event", "identifier", 400],
        "used": [25],
        "lines": [10, True, 12],
        "found": True,
        "declined": ["StripeCardError", "card_declined", None, 402],
        "missing": ["StripeInvalidRequestError", "resource_missing", "id", 404],
        "unknown": ["StripeInvalidRequestError", "parameter_unknown", "nom", 400],
        "twoWays": ["StripeInvalidRequestError", "invoice_not_editable", None, 400],
        "event": ["invoice.paid", True, CURRENT],
        "forged": "StripeSignatureVerificationError",
    }
