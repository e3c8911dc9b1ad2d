"""Webhooks: where a partner is sent events, and what has become of each delivery."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from canonical.ids import Instant, Key
from canonical.states import DeliveryState, WebhookState

EVENT_NAME = r"^[a-z_]{1,40}\.[a-z_]{1,40}\.v[1-9][0-9]{0,2}\Z"
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Description = Annotated[str, msgspec.Meta(max_length=200)]
EventNames = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=EVENT_NAME)], ...], msgspec.Meta(min_length=1, max_length=50)
]
CustomerIds = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=r"^cus_[0-9a-f]{32}\Z")], ...], msgspec.Meta(max_length=100)
]
Hours = Annotated[int, msgspec.Meta(ge=0, le=168)]


class WebhookRequest(msgspec.Struct, frozen=True):
    """A webhook as a partner asks for it."""

    url: Url
    """Where events are sent: an `https` URL on the public Internet."""
    events: EventNames
    """Which types of events are sent, such as `order.activated.v1`."""
    description: Description = ""
    """What it is for, in your words."""
    customer_ids: CustomerIds = ()
    """Of which customers; of all of yours when it is empty."""


class NewWebhook(WebhookRequest, frozen=True, kw_only=True):
    """A webhook as a channel asks for it. The same `key` again is the same webhook."""

    key: Key


class WebhookChange(msgspec.Struct, frozen=True):
    """What is to be different from now on. What is left out, or null, stays as it is."""

    url: Url | None = None
    """Another place to send to; what waits goes there, too."""
    events: EventNames | None = None
    """All types of events that are sent from now on."""
    description: Description | None = None
    """What it is for, in your words."""
    customer_ids: CustomerIds | None = None
    """Of which customers; of all of yours when it is empty."""
    state: Literal["active", "disabled"] | None = None
    """Whether it is switched on. What happens while it is not is missed, and can be sent again later."""


class SigningKey(msgspec.Struct, frozen=True):
    """A secret of a webhook that signs now, without the secret."""

    created_at: Instant
    """When it was made (ISO 8601, UTC)."""
    signs_until: Instant | None
    """Until when it signs beside a newer one; null for the newest."""


class Webhook(msgspec.Struct, frozen=True):
    """Where a partner is sent events, and how that goes."""

    id: str
    """Our id of the webhook: `whk_` and 32 hexadecimal digits."""
    client: str
    """The partner, by its client in the catalogue."""
    url: str
    """Where events are sent."""
    events: tuple[str, ...]
    """Which types of events are sent."""
    description: str
    """What it is for, in the words of the partner."""
    customer_ids: tuple[str, ...]
    """Of which customers; of all of the partner's when it is empty."""
    state: WebhookState
    """Whether it is switched on, and by whom it was switched off."""
    reason: str
    """Why we have stopped it; empty when we have not."""
    since: Instant
    """Since when it is in this state (ISO 8601, UTC)."""
    created_at: Instant
    """When it was made (ISO 8601, UTC)."""
    updated_at: Instant
    """When it was last changed (ISO 8601, UTC)."""
    signing_keys: tuple[SigningKey, ...]
    """The secrets that sign each delivery, the oldest first."""
    waiting: int
    """How many deliveries wait to be sent."""
    delivered_at: Instant | None = None
    """When an event was last delivered (ISO 8601, UTC); null for never."""
    failing_since: Instant | None = None
    """Since when every attempt has failed (ISO 8601, UTC); null when the last one has not."""


class WebhookWithSecret(msgspec.Struct, frozen=True):
    """A webhook with the secret that was just made for it, which is shown this once."""

    webhook: Webhook
    """The webhook."""
    secret: str
    """What signs its deliveries: `whsec_` and 32 random bytes in Base64. Keep it: it cannot be read again."""


class WebhookSecretRequest(msgspec.Struct, frozen=True):
    """How the secrets of a webhook are to follow each other."""

    overlap_hours: Hours = 24
    """For how many hours the present secrets go on to sign beside the new one; 0 for one that others have seen."""


class NewWebhookSecret(WebhookSecretRequest, frozen=True, kw_only=True):
    """A new secret as a channel asks for it. The same `key` again is the same secret."""

    key: Key


class WebhookAttempt(msgspec.Struct, frozen=True):
    """One attempt of a delivery, and what the endpoint said."""

    at: Instant
    """When it ended (ISO 8601, UTC)."""
    status: int | None
    """The HTTP status of the answer; null when there was none."""
    milliseconds: int
    """How long it took, until the answer, or until it was given up."""
    reason: str
    """Why it has failed, in words; empty when it has not."""
    excerpt: str
    """The first words of an answer that was no success."""


class WebhookDelivery(msgspec.Struct, frozen=True):
    """One event on its way to one webhook."""

    id: str
    """Our id of the delivery: `dlv_` and 32 hexadecimal digits."""
    webhook_id: str
    """The webhook that it goes to."""
    event_id: str
    """The `webhook-id` of each of its attempts: the same event has the same one, however often it is sent."""
    type: str
    """The type of the event."""
    customer_id: str
    """The customer that the event is about."""
    state: DeliveryState
    """Where it is."""
    reason: str
    """Why it is there, where that is no success, in words."""
    created_at: Instant
    """When the event came (ISO 8601, UTC)."""
    next_attempt_at: Instant | None
    """When it is sent next (ISO 8601, UTC); null when it is not."""
    attempts: tuple[WebhookAttempt, ...]
    """The newest attempts, the last one first, 20 at the most."""


class ResendRequest(msgspec.Struct, frozen=True):
    """Which deliveries are sent again."""

    since: Instant
    """Those of events that came at this moment or later (ISO 8601)."""
    states: Annotated[
        tuple[Literal["failed", "missed", "delivered"], ...], msgspec.Meta(min_length=1, max_length=3)
    ] = ("failed", "missed")
    """Those in these states alone."""
    cursor: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}\Z")] | None = None
    """Where to go on: the `next_cursor` of the answer before, with the same `since` and `states`."""


class ResendResult(msgspec.Struct, frozen=True):
    """How many deliveries are sent again."""

    resent: int
    """How many: the oldest first, 1000 at the most."""
    next_cursor: str | None
    """What to pass as `cursor` to go on; null when those were all."""


class WebhookTestResult(msgspec.Struct, frozen=True):
    """What an endpoint said to a signed event of the type `webhook.tested.v1`, which is in no log."""

    delivered: bool
    """Whether it has taken it (2xx)."""
    event_id: str
    """The `webhook-id` of the test."""
    status: int | None
    """The HTTP status of the answer; null when there was none."""
    milliseconds: int
    """How long it took."""
    reason: str
    """Why it has failed, in words; empty when it has not."""
    excerpt: str
    """The first words of an answer that was no success."""
