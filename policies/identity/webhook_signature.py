"""Signatures of webhooks (Standard Webhooks specification), verified on raw bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from canonical.ids import Clock
from policies.problems import UNAUTHENTICATED, ProblemError

TOLERANCE = timedelta(minutes=5)


def signed_headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that prove that `body` comes from a holder of `secret`."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, clock: Clock) -> None:
    """Raise `ProblemError` (401) unless `body` was signed with `secret` within five minutes of now.

    No signature is valid with an empty secret.
    """
    refused = ProblemError(UNAUTHENTICATED, "The webhook's signature is not valid.")
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, EmptyWebhookSecretError, ValueError) as error:
        raise refused from error
    # The package reads the machine's clock.
    if abs(clock().timestamp() - float(headers["webhook-timestamp"])) > TOLERANCE.total_seconds():
        raise refused
