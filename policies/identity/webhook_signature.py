"""Webhooks signed after the Standard Webhooks specification, verified on raw bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from standardwebhooks import Webhook, WebhookVerificationError

from policies.problems import UNAUTHENTICATED, ProblemError


def signed_headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers that prove `body` comes from a holder of `secret`."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Raise `ProblemError` (401) unless `body` was signed with `secret` within the last five minutes."""
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        raise ProblemError(UNAUTHENTICATED, "The webhook's signature is not valid.") from error
