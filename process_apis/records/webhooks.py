"""Webhooks: where each partner is sent events, and how that goes. Their secrets are in no table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from canonical.ids import Clock, derived
from canonical.orders import Page
from canonical.process_events import WEBHOOK_RESUMED, WEBHOOK_STOPPED
from canonical.states import WebhookState, check_webhook
from canonical.webhooks import NewWebhook, NewWebhookSecret, SigningKey, Webhook, WebhookChange
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, ProblemError
from process_apis.records import paging
from process_apis.records.database import (
    insert_once,
    webhook_attempts,
    webhook_deliveries,
    webhooks,
    writing,
)
from process_apis.records.published import publish
from process_apis.records.webhook_fanout import EVERY

MOST = 20
"""Webhooks of a partner."""
MOST_KEYS = 5
"""Secrets of a webhook that sign at once."""
SHOWN_FOR = timedelta(days=1)
"""How long the same request again is answered with the secret that the first one made."""
OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(webhooks).where(webhooks.c.id == OF)
LOCKED = ROW.with_for_update()
CHANGE = webhooks.update().where(webhooks.c.id == OF).returning(webhooks)
OF_CLIENT = sa.select(webhooks.c.id).where(webhooks.c.client == OF)
WAITING = (
    sa.select(webhook_deliveries.c.webhook_id, sa.func.count())
    .where(webhook_deliveries.c.webhook_id.in_(sa.bindparam("ids", expanding=True)))
    .where(webhook_deliveries.c.state == "pending")
    .group_by(webhook_deliveries.c.webhook_id)
)
MISS = (
    webhook_deliveries.update()
    .where(webhook_deliveries.c.webhook_id == OF, webhook_deliveries.c.state == "pending")
    .values(state="missed", reason=sa.bindparam("why"), next_attempt_at=None)
)


class KeptKey(msgspec.Struct, frozen=True):
    """What a secret is made of, together with the key of the deployment: neither makes it alone. It signs until
    `signs_until` (UTC), as long as there is no newer one if None. The `salt` is random: a name that is used again,
    after its secret was removed, makes another one."""

    name: str
    salt: str
    created_at: datetime
    signs_until: datetime | None = None


OFF = WebhookChange(state="disabled")
"""The change that switches a webhook off, and nothing else."""
EVENTS: dict[tuple[WebhookState, WebhookState], str] = {
    ("active", "stopped"): WEBHOOK_STOPPED,
    ("stopped", "active"): WEBHOOK_RESUMED,
}
"""What becomes of a webhook that people of ours have to hear of."""
KEYS = msgspec.json.Decoder(tuple[KeptKey, ...])


class Webhooks:
    """The table of webhooks."""

    def __init__(self, engine: sa.Engine, clock: Clock, salt: Callable[[], str]) -> None:
        """`salt` returns a random text, each time another one."""
        self._engine = engine
        self._clock = clock
        self._salt = salt

    # ---- writing

    def create(self, wanted: NewWebhook, principal: Principal, correlation_id: str) -> sa.Row[Any]:
        """Return the webhook of a partner with a key: a new one the first time. Its `url` was checked.

        Raises `ProblemError` (409) for a partner that has as many as it may, and when the key is that of another one,
        or of one that was made too long ago for its secret to be shown again.
        """
        now = self._clock()
        values: dict[str, Any] = {
            "id": derived("whk", principal.partner, wanted.key),
            "client": principal.partner,
            "url": wanted.url,
            "description": wanted.description,
            "event_types": _words(wanted.events),
            "customer_ids": _words(wanted.customer_ids),
            "legal_entities": "".join(f" {each} " for each in sorted(principal.entities)),
        }
        state: WebhookState = "active"
        new = values | {
            "state": state,
            "since": now.isoformat(),
            "signing_keys": msgspec.json.encode((KeptKey(wanted.key, self._salt(), now),)),
            "correlation_id": correlation_id,
            "created_at": now.isoformat(),
            "updated_at": now.isoformat(),
        }
        with writing(self._engine) as connection:
            _one_at_a_time(connection, principal.partner)
            known = connection.scalars(OF_CLIENT, {"of": principal.partner}).all()
            if values["id"] not in known:
                if len(known) >= MOST:
                    detail = f"You have {MOST} webhooks, which is as many as there can be: delete one, or change one."
                    raise ProblemError(NOT_ALLOWED_NOW, detail)
                insert_once(connection, webhooks, new)
            row = connection.execute(ROW, {"of": values["id"]}).one()
        if any(getattr(row, name) != value for name, value in values.items()) or not self._is_shown(row, wanted.key):
            detail = f"{row.id} was made with this key before: read it, and ask for a new secret where it is lost."
            raise ProblemError(NOT_ALLOWED_NOW, detail)
        return row

    def change(self, webhook_id: str, wanted: WebhookChange, principal: Principal) -> sa.Row[Any]:
        """Change what is said of a webhook. Its `url` was checked. `OFF` is for each token of its partner. Raises
        `ProblemError` (404) for none of the caller's, `IllegalTransition` for a state that does not follow."""
        found = {
            "url": wanted.url,
            "description": wanted.description,
            "event_types": None if wanted.events is None else _words(wanted.events),
            "customer_ids": None if wanted.customer_ids is None else _words(wanted.customer_ids),
        }
        with writing(self._engine) as connection:
            who = owned_by(principal) if wanted == OFF else seen_by(principal)
            row = _locked(connection, webhook_id, who)
            now = self._clock().isoformat()
            changes = {name: value for name, value in found.items() if value is not None}
            row = connection.execute(CHANGE, {"of": row.id, "updated_at": now} | changes).one()
            return enter(connection, row, wanted.state, now) if wanted.state else row

    def remove(self, webhook_id: str, principal: Principal) -> Webhook:
        """Remove a webhook with all that was delivered to it, and return it as it was. Raises as `change` does."""
        deliveries = webhook_deliveries.c.webhook_id == webhook_id
        with writing(self._engine) as connection:
            shown = _shown(connection, [_locked(connection, webhook_id, owned_by(principal))], self._clock())
            of_it = sa.select(webhook_deliveries.c.id).where(deliveries)
            connection.execute(webhook_attempts.delete().where(webhook_attempts.c.delivery_id.in_(of_it)))
            connection.execute(webhook_deliveries.delete().where(deliveries))
            connection.execute(webhooks.delete().where(webhooks.c.id == webhook_id))
        return shown[0]

    def add_key(self, webhook_id: str, wanted: NewWebhookSecret, principal: Principal) -> sa.Row[Any]:
        """Have a new secret sign, and the present ones as long as they may overlap with it. The same key again changes
        nothing. Raises `ProblemError`: 404 as `change` does, 409 for a secret that was made too long ago."""
        with writing(self._engine) as connection:
            row = _locked(connection, webhook_id, owned_by(principal))
            now = self._clock()
            if any(each.name == wanted.key for each in kept_keys(row)):
                if not self._is_shown(row, wanted.key):
                    detail = "This secret was made before, and is shown no more: ask for another with another key."
                    raise ProblemError(NOT_ALLOWED_NOW, detail)
                return row
            until = now + timedelta(hours=wanted.overlap_hours)
            former = [
                msgspec.structs.replace(each, signs_until=min(each.signs_until or until, until))
                for each in live_keys(row, now)
            ]
            keys = [each for each in former if wanted.overlap_hours][-(MOST_KEYS - 1) :]
            changes = {"signing_keys": msgspec.json.encode((*keys, KeptKey(wanted.key, self._salt(), now)))}
            return connection.execute(CHANGE, {"of": row.id, "updated_at": now.isoformat()} | changes).one()

    def resume(self, webhook_id: str) -> bool:
        """Switch on a webhook that we have stopped, on behalf of people of ours. Return False when it is not there any
        more. Raises `IllegalTransition` for one that its partner has switched off meanwhile."""
        with writing(self._engine) as connection:
            row = connection.execute(LOCKED, {"of": webhook_id}).one_or_none()
            if row is None:
                return False
            if row.state == "disabled":
                check_webhook("disabled", "stopped")
            enter(connection, row, "active", self._clock().isoformat())
            return True

    # ---- reading

    def row(self, webhook_id: str, principal: Principal) -> sa.Row[Any]:
        """Return the row of a webhook. Raises `ProblemError` (404) when there is none for the caller."""
        with self._engine.connect() as connection:
            return _found(connection.execute(ROW.where(seen_by(principal)), {"of": webhook_id}).one_or_none())

    def shown(self, row: sa.Row[Any]) -> Webhook:
        """Return a webhook as channels see it."""
        with self._engine.connect() as connection:
            return _shown(connection, [row], self._clock())[0]

    def page(self, principal: Principal, state: str | None, cursor: str | None, limit: int) -> Page[Webhook]:
        """Return a page of webhooks, newest first: of a partner its own. Raises as `paging.page_of` does."""
        where = [seen_by(principal), *([webhooks.c.state == state] if state else [])]
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, webhooks, where, cursor, limit)
            return paging.page(_shown(connection, rows, self._clock()), next_cursor)

    def _is_shown(self, row: sa.Row[Any], name: str) -> bool:
        """Return whether the secret of a key may be shown to who asks for the same again: it is new, and the newest."""
        newest = kept_keys(row)[-1]
        return newest.name == name and self._clock() - newest.created_at < SHOWN_FOR


def enter(
    connection: sa.Connection, row: sa.Row[Any], state: WebhookState, now: str, reason: str = "", **changes: Any
) -> sa.Row[Any]:
    """Bring a webhook, which the caller has locked, into a state at `now`. What waits to be sent to one that is
    switched off is missed. Raises `IllegalTransition` when the table of states has no such change."""
    former = cast("WebhookState", row.state)
    check_webhook(former, state)
    if state == former:
        return row
    values = {"of": row.id, "state": state, "since": now, "reason": reason, "updated_at": now} | changes
    if state == "active":
        values |= {"failing_since": None, "failed_at": None}
    row = connection.execute(CHANGE, values).one()
    if state != "active":
        why = "the webhook was stopped" if state == "stopped" else "the webhook was switched off"
        connection.execute(MISS, {"of": row.id, "why": why})
    if event := EVENTS.get((former, state)):
        publish(connection, event, {"id": row.id, "state": state, "correlation_id": row.correlation_id}, now)
    return row


def seen_by(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: a partner's own webhooks, and none that is sent records of more legal entities than the
    caller may see."""
    own = webhooks.c.client == principal.partner if principal.partner else sa.true()
    if EVERY in principal.entities:
        return own
    others: sa.ColumnElement[str] = webhooks.c.legal_entities
    for each in sorted(principal.entities):
        others = sa.func.replace(others, f" {each} ", "")
    return sa.and_(own, others == "")


def _one_at_a_time(connection: sa.Connection, client: str) -> None:
    """Let one transaction at a time make webhooks of a partner, so that each counts those of the others: the first ones
    of all are no rows yet that could be locked. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"webhooks of {client}"))))


def owned_by(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: a partner's own webhooks, whatever they are sent. One that it may not see any more, because
    the catalogue has taken a legal entity from it, it can still stop, delete and give a new secret."""
    return webhooks.c.client == principal.partner


def kept_keys(row: sa.Row[Any]) -> tuple[KeptKey, ...]:
    """Return what the secrets of a webhook are made of, the oldest first."""
    return KEYS.decode(row.signing_keys)


def live_keys(row: sa.Row[Any], now: datetime) -> tuple[KeptKey, ...]:
    """Return those that sign at `now`, the oldest first."""
    return tuple(each for each in kept_keys(row) if each.signs_until is None or each.signs_until > now)


def _locked(connection: sa.Connection, webhook_id: str, who: sa.ColumnElement[bool]) -> sa.Row[Any]:
    return _found(connection.execute(LOCKED.where(who), {"of": webhook_id}).one_or_none())


def _found(row: sa.Row[Any] | None) -> sa.Row[Any]:
    if row is None:
        raise ProblemError(MISSING, "There is no such webhook.")
    return row


def _words(names: Sequence[str]) -> str:
    return " ".join(sorted(set(names)))


def _shown(connection: sa.Connection, rows: Sequence[sa.Row[Any]], now: datetime) -> list[Webhook]:
    found = connection.execute(WAITING, {"ids": [row.id for row in rows]}).all() if rows else ()
    waiting: dict[str, int] = {row[0]: row[1] for row in found}
    return [_webhook(row, waiting.get(row.id, 0), now) for row in rows]


def _webhook(row: sa.Row[Any], waiting: int, now: datetime) -> Webhook:
    return Webhook(
        id=row.id,
        client=row.client,
        url=row.url,
        events=tuple(row.event_types.split()),
        description=row.description,
        customer_ids=tuple(row.customer_ids.split()),
        state=row.state,
        reason=row.reason,
        since=datetime.fromisoformat(row.since),
        created_at=datetime.fromisoformat(row.created_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        signing_keys=tuple(SigningKey(each.created_at, each.signs_until) for each in live_keys(row, now)),
        waiting=waiting,
        delivered_at=datetime.fromisoformat(row.delivered_at) if row.delivered_at else None,
        failing_since=datetime.fromisoformat(row.failing_since) if row.failing_since else None,
    )
