"""Signatures of webhooks (Standard Webhooks specification), verified on raw bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from canonical.ids import Clock
from policies.problems import UNAUTHENTICATED, ProblemError

TOLERANCE = timedelta(minutes=5)


def signed_headers(
    secret: str, message_id: str, at: datetime, body: bytes, others: Sequence[str] = ()
) -> dict[str, str]:
    """Return the three headers that prove that `body` comes from a holder of `secret`, or of one of the `others`, while
    one takes the place of another."""
    signatures = [Webhook(each).sign(message_id, at, body.decode()) for each in (secret, *others)]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, clock: Clock) -> None:
    """Raise `ProblemError` (401) unless `body` was signed with `secret` within five minutes of now.

    No signature is valid with an empty secret.
    """
    refused = ProblemError(UNAUTHENTICATED, "The webhook's signature is not valid.")
    now = clock()
    try:
        # the package's own `verify` reads the machine's clock, which may be hours off that of the replicas
        at = datetime.fromtimestamp(int(headers.get("webhook-timestamp", "")), UTC)
        expected = Webhook(secret).sign(headers.get("webhook-id", ""), at, body.decode())
    except (EmptyWebhookSecretError, ValueError, OverflowError, OSError) as error:
        raise refused from error
    found = headers.get("webhook-signature", "").split(" ")
    is_signed = any(compare_digest(each.encode(), expected.encode()) for each in found)
    if not is_signed or abs(now - at) > TOLERANCE:
        raise refused
