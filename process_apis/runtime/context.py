"""What every capability works with: the platforms, the records, a clock, a source of ids."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from canonical.ids import Clock
from policies.catalogue.live import LiveCatalogue
from policies.outbound.residency import Residency
from policies.outbound.webhook_sender import WebhookSender
from policies.store.documents import Document
from process_apis.records.cases import Cases
from process_apis.records.erased import ErasedPeople
from process_apis.records.orders import Orders
from process_apis.records.postings import Postings
from process_apis.system_client import Platforms


class RetryPolicy(msgspec.Struct, frozen=True):
    """How long is waited, in seconds. `tries` at once (each of which the system layer repeats as the catalogue
    says), then the work is put aside for `pause`, doubled up to `max_delay`."""

    tries: int = 2
    first: float = 0.2
    pause: float = 5.0
    max_delay: float = 300.0
    stalled_after: float = 60.0
    """After so long without news, somebody looks whether the work was lost."""
    delivery: float = 3600.0
    """After so long without a report, the target is asked again and people hear of it."""


class WebhookMeans(msgspec.Struct, frozen=True):
    """What it takes to send events to partners: what sends them, the document with the key of the secrets, a source of
    random numbers from 0 up to 1, and one of random texts."""

    sender: WebhookSender
    key: Document
    jitter: Callable[[], float]
    salt: Callable[[], str]


class WorkflowContext(msgspec.Struct, frozen=True):
    """Handed to every capability at the start."""

    database: sa.Engine
    platforms: Platforms
    orders: Orders
    postings: Postings
    cases: Cases
    clock: Clock
    residency: Residency
    live_catalogue: LiveCatalogue
    webhooks: WebhookMeans
    retry_policy: RetryPolicy = RetryPolicy()
    erased: ErasedPeople | None = None
    """Who was erased; None where nobody can have been."""

    def later(self, seconds: float) -> datetime:
        return self.clock() + timedelta(seconds=seconds)

    def stalled_at(self) -> datetime:
        """Return when to look whether what is begun now was lost."""
        return self.later(self.retry_policy.stalled_after)

    def pause(self, attempt: int) -> datetime:
        """Return when to look again after the `attempt`th failure."""
        return self.later(min(self.retry_policy.pause * 2 ** min(attempt - 1, 16), self.retry_policy.max_delay))
