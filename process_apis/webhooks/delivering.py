"""Delivers events to webhooks, beside all else that the process layer does.

What is due is claimed and sent, as far as `places` go: who is slow has places of its own, and keeps nobody else
waiting. A claim ends by itself, so that what a dead process had in hand is sent again by another one: at least once,
and never lost. Each delivery has a task of its own, so that none ends another, whatever ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from prometheus_client.core import Metric
from sqlalchemy.exc import SQLAlchemyError

from canonical.cases import CaseKind, Finding
from canonical.ids import derived
from canonical.partner_events import PartnerEvent, body, event_type
from canonical.webhooks import WebhookTestResult
from policies.background import note_rest
from policies.business.events import EVENTS
from policies.identity.webhook_signature import signed_headers
from policies.observe.metrics import counter
from policies.outbound.webhook_sender import WebhookResult
from policies.store.documents import why_away
from process_apis.records import webhook_deliveries as log
from process_apis.records import webhooks as records
from process_apis.records.database import webhook_deliveries, webhooks, writing
from process_apis.records.webhook_deliveries import WebhookDeliveries
from process_apis.records.webhook_fanout import covers, partner_of
from process_apis.records.webhooks import live_keys
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.context import WorkflowContext
from process_apis.webhooks.places import Places
from process_apis.webhooks.plan import delay, failing_since, is_over
from process_apis.webhooks.secrets import WebhookSecrets

KIND: CaseKind = "webhook_stopped"
PACE = 1.0
"""Seconds from one look at what is due to the next, unless a place is free sooner for which something may wait."""
TESTED = "webhook.tested.v1"
"""The type of the event that tests a webhook."""
ROW = sa.select(webhooks).where(webhooks.c.id == sa.bindparam("of"))
LOCKED = ROW.with_for_update()
CLIENTS = sa.select(webhooks.c.id, webhooks.c.client).where(webhooks.c.id.in_(sa.bindparam("ids", expanding=True)))
logger = structlog.get_logger("tiergate.webhooks")


class Claimed(msgspec.Struct, frozen=True):
    """A delivery that this process sends, as it was when it was claimed, the number of the run, and the partner."""

    row: sa.Row[Any]
    run: int
    client: str


class Delivering:
    """Sends what is due."""

    name = "webhooks"

    def __init__(self, context: WorkflowContext, deliveries: WebhookDeliveries, secrets: WebhookSecrets) -> None:
        self._context = context
        self._deliveries = deliveries
        self._secrets = secrets
        self._agenda = Agenda(context, webhook_deliveries, only=webhook_deliveries.c.state == "pending")
        self._places = Places()
        self._freed = asyncio.Event()
        """Whether a place was left for which something may wait."""
        self._attempts: Counter[tuple[str, ...]] = Counter()
        """How many attempts of this process have ended, by partner and how."""

    def measures(self) -> Iterator[Metric]:
        """Yield what this process has sent."""
        says = "Attempts to send an event to a webhook, by its partner and how they have ended."
        yield counter("webhook_attempts", says, ("client", "result"), dict(self._attempts))

    async def deliver(self) -> None:
        """Send what is due, for as long as the layer runs."""
        self._places = Places()  # those of a run before, if it was ended by a fault
        async with asyncio.TaskGroup() as sending:
            while True:
                self._freed.clear()
                try:
                    await self.begin_due(sending)
                except SQLAlchemyError as error:
                    logger.warning("what is due cannot be read, it is looked for again", reason=type(error).__name__)
                    self._freed.clear()
                note_rest(PACE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PACE):
                        await self._freed.wait()

    async def begin_due(self, sending: asyncio.TaskGroup) -> int:
        """Begin to send what is due, as far as there is room. Return how many were begun."""
        begun = 0
        while self._places.room:
            claimed = await asyncio.to_thread(self._claim, self._places.copy())
            for each in claimed:
                self._places.take(each.row.webhook_id, each.client)
                sending.create_task(self._send_apart(each))
            begun += len(claimed)
            if not claimed:
                break
        return begun

    def _claim(self, places: Places) -> list[Claimed]:
        """Claim what is due, as far as there are places for it."""
        of = webhook_deliveries.c.webhook_id
        of_full_clients = sa.select(webhooks.c.id).where(webhooks.c.client.in_(places.full_clients))
        due = self._agenda.due(places.room, of.not_in(places.full_webhooks), of.not_in(of_full_clients))
        clients = self._clients_of(due)
        claimed: list[Claimed] = []
        for row in due:
            client = clients.get(row.webhook_id, "")
            if places.has_one(row.webhook_id, client) and (run := self._agenda.claim(row)) is not None:
                places.take(row.webhook_id, client)
                claimed.append(Claimed(row, run, client))
        return claimed

    def _clients_of(self, due: Sequence[sa.Row[Any]]) -> dict[str, str]:
        """Return the partners of deliveries, by their webhooks."""
        if not due:
            return {}
        with self._context.database.connect() as connection:
            found = connection.execute(CLIENTS, {"ids": list({row.webhook_id for row in due})}).all()
        return {row.id: row.client for row in found}

    async def _send_apart(self, claimed: Claimed) -> None:
        """Send one delivery in a task of its own. What ends that by a fault of ours is a failed attempt, so that the
        delivery comes to its end: it neither ends the others nor comes back for ever."""
        task = asyncio.create_task(self._send(claimed))
        try:
            await asyncio.wait({task})
            if not task.cancelled() and (fault := task.exception()) is not None:
                await self._note_fault(claimed, fault)
        finally:
            task.cancel()
            await asyncio.wait({task})
            if self._places.leave(claimed.row.webhook_id, claimed.client):
                self._freed.set()

    async def _send(self, claimed: Claimed) -> None:
        """Send one delivery. What cannot be read or noted down now is claimed again when this claim is over."""
        row = claimed.row
        try:
            signed = await asyncio.to_thread(self._signed, claimed)
            if signed is not None:
                url, headers = signed
                result = await self._context.webhooks.sender.send(url, row.body, headers)
                self._attempts[claimed.client, "delivered" if result.is_delivered else "failed"] += 1
                await asyncio.to_thread(self.settle, claimed, result)
        except SQLAlchemyError as error:
            logger.warning("a delivery is sent again later", delivery=row.id, reason=type(error).__name__)
        except OSError as error:  # the key of the secrets
            logger.warning("a delivery is sent again later", delivery=row.id, reason=why_away(error))

    def _signed(self, claimed: Claimed) -> tuple[str, dict[str, str]] | None:
        """Return where a delivery goes, and the headers that sign it; None for one that is not sent."""
        row, database = claimed.row, self._context.database
        with database.connect() as connection:
            webhook = connection.execute(ROW, {"of": row.webhook_id}).one_or_none()
            withheld = "" if webhook is None else self._withheld(connection, webhook, row)
        if webhook is None or webhook.state != "active":
            self._deliveries.settle(row, claimed.run, "missed", "the webhook was switched off")
        elif withheld:
            self._deliveries.settle(row, claimed.run, "withheld", withheld)
        else:
            return webhook.url, self._headers(webhook, row.event_id, row.body)
        return None

    def _headers(self, webhook: sa.Row[Any], event_id: str, content: bytes) -> dict[str, str]:
        now = self._context.clock()
        *former, newest = (self._secrets.of(webhook.id, each) for each in live_keys(webhook, now))
        return signed_headers(newest, event_id, now, content, former)

    def _withheld(self, connection: sa.Connection, webhook: sa.Row[Any], row: sa.Row[Any]) -> str:
        """Return why the partner may not be sent an event now, empty when it may: what it may read by its own API is
        decided when it is sent, by the catalogue and the records as they are then."""
        catalogue, kind = self._context.live_catalogue.current, event_type(row.type)
        client, known = catalogue.clients.get(webhook.client), EVENTS.of(catalogue).get(kind)
        if client is None or client.kind != "partner":
            return "the catalogue has no such partner any more"
        readable = {each.scope for each in catalogue.operations_of(client).values()} & client.scopes
        if known is None or known.partners not in readable:
            return "the catalogue does not let the partner see such events"
        entities = catalogue.entities_of(client)
        is_seen = covers(" ".join(entities), row.legal_entity) and covers(webhook.legal_entities, row.legal_entity)
        if not is_seen:
            return f"the catalogue does not let the partner see records of {row.legal_entity}"
        if partner_of(connection, kind, row.subject, row.customer_id) != webhook.client:
            return "the record is not one of the partner's any more"
        return ""

    # ---- what became of it

    def settle(self, claimed: Claimed, result: WebhookResult) -> None:
        """Keep what became of an attempt, and what follows from it: for the delivery, and for its webhook."""
        now = self._context.clock()
        with writing(self._context.database) as connection:
            webhook = connection.execute(LOCKED, {"of": claimed.row.webhook_id}).one_or_none()
            row = self._deliveries.note(connection, claimed.row, claimed.run, result)
            if webhook is None or webhook.state != "active":
                return
            if row is not None:
                self._advance(connection, row, result, now)
            if result.is_delivered:
                healthy = {"delivered_at": now.isoformat(), "failing_since": None, "failed_at": None}
                connection.execute(webhooks.update().where(webhooks.c.id == webhook.id).values(**healthy))
            else:
                self._note_failure(connection, webhook, result, now)

    async def _note_fault(self, claimed: Claimed, fault: BaseException) -> None:
        """Keep that a fault of ours has ended an attempt. The webhook is not to blame, and does not fail by it."""
        logger.error("a delivery has ended by a fault", delivery=claimed.row.id, exc_info=fault)
        result = WebhookResult(None, 0, f"a fault of ours ({type(fault).__name__})")
        try:
            await asyncio.to_thread(self._settle_fault, claimed, result)
        except SQLAlchemyError as error:
            logger.warning("a delivery is sent again later", delivery=claimed.row.id, reason=type(error).__name__)

    def _settle_fault(self, claimed: Claimed, result: WebhookResult) -> None:
        with writing(self._context.database) as connection:
            row = self._deliveries.note(connection, claimed.row, claimed.run, result)
            if row is not None:
                self._advance(connection, row, result, self._context.clock())

    def _advance(self, connection: sa.Connection, row: sa.Row[Any], result: WebhookResult, now: datetime) -> None:
        if result.is_delivered:
            log.enter(connection, row, "delivered", None)
            return
        failures = row.attempts + 1
        seconds = delay(failures, self._context.webhooks.jitter(), result.retry_after)
        if seconds is None:
            reason = f"{failures} attempts have failed, the last one since {result.reason}"
            log.enter(connection, row, "failed", None, reason=reason, attempts=failures)
        else:
            at = (now + timedelta(seconds=seconds)).isoformat()
            log.enter(connection, row, "pending", at, reason=result.reason, attempts=failures)

    def _note_failure(
        self, connection: sa.Connection, webhook: sa.Row[Any], result: WebhookResult, now: datetime
    ) -> None:
        since = failing_since(_moment(webhook.failing_since), _moment(webhook.failed_at), now)
        failing = {"failing_since": since.isoformat(), "failed_at": now.isoformat()}
        if result.status == HTTPStatus.GONE:
            self._stop(connection, webhook, f"it answered {HTTPStatus.GONE}: it wants no webhooks any more", failing)
        elif is_over(since, now):
            days = (now - since).days
            self._stop(connection, webhook, f"all attempts of {days} days have failed: {result.reason}", failing)
        else:
            connection.execute(webhooks.update().where(webhooks.c.id == webhook.id).values(**failing))

    def _stop(self, connection: sa.Connection, webhook: sa.Row[Any], reason: str, failing: Mapping[str, str]) -> None:
        """Switch a webhook off, and let people hear of it."""
        records.enter(connection, webhook, "stopped", failing["failed_at"], reason, **failing)
        logger.warning("a webhook was stopped", webhook=webhook.id, client=webhook.client)
        self._context.cases.open(
            KIND,
            webhook.id,
            Finding("webhook", reason),
            ("retry", "skip"),
            correlation_id=webhook.correlation_id,
            given={"client": webhook.client, "url": webhook.url},
            connection=connection,
        )

    # ---- trying it out

    async def test(self, webhook: sa.Row[Any]) -> WebhookTestResult:
        """Send a signed event to a webhook at once, whatever its state, and return what the endpoint said. Raises as
        `WebhookSecrets.of` does."""
        now = self._context.clock()
        event_id = derived("evt", webhook.id, TESTED, now.isoformat())
        content = body(PartnerEvent(TESTED, now, {"webhook_id": webhook.id}))
        headers = await asyncio.to_thread(self._headers, webhook, event_id, content)
        said = await self._context.webhooks.sender.send(webhook.url, content, headers)
        return WebhookTestResult(said.is_delivered, event_id, said.status, said.milliseconds, said.reason, said.excerpt)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
