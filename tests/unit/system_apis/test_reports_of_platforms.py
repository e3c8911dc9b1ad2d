"""What a platform reports in a body that is no JSON is refused, and what cannot be stored keeps no report away."""

from __future__ import annotations

import pytest

from policies.problems import ProblemError
from system_apis.billing.stripe import webhooks

SENT = b'{"id": "evt_1", "type": "invoice.paid", "created": 1, "data": {"object": {"description": %b}}}'


@pytest.mark.parametrize("description", [b"[" * 5_000, b"[" * 5_000 + b"]" * 5_000, b"NaN"])
def test_a_report_that_is_no_json_is_refused(description: bytes) -> None:
    with pytest.raises(ProblemError, match="not a Stripe event"):
        webhooks.decoded(SENT % description)


def test_a_report_is_read_though_a_text_in_it_cannot_be_stored() -> None:
    found = webhooks.decoded(SENT % rb'"no\u0000thing"')

    assert found
    assert found.data.object == {"description": "no\ufffdthing"}
