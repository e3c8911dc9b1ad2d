"""What the process layer measures of its work, from its database: the same in all replicas, since they share it.

It is read when somebody asks for the metrics, a few seconds old at most, by queries that an index answers. A database
that is away, or too slow, is one measure: all that it would say is missing then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any, get_args

import msgspec
import sqlalchemy as sa
from prometheus_client.core import Metric
from sqlalchemy.exc import SQLAlchemyError

from canonical.ids import Clock, Instant
from canonical.orders import PostingEntry, PostingState
from canonical.states import OrderState, WebhookState
from policies.chain.exposition import Asked
from policies.observe.metrics import Values, gauge
from process_apis.records.cases import OUTAGE
from process_apis.records.database import OPEN, cases, orders, postings, webhook_deliveries, webhooks
from process_apis.records.waiting import TABLES
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.queues import ENQUEUED, PENDING, workflows

RECENT = 10.0
"""Seconds for which what was read is shown again."""
LONGEST = sa.text("SET LOCAL statement_timeout = '5s'")
"""No query of these is worth more of the database's time."""
ORDER_STATES: tuple[OrderState, ...] = get_args(OrderState)
WEBHOOK_STATES: tuple[WebhookState, ...] = get_args(WebhookState)
POSTING_STATES = tuple(product(get_args(PostingEntry), get_args(PostingState)))
ORDERS = sa.select(*(sa.func.count().filter(orders.c.state == each) for each in ORDER_STATES))
POSTINGS = sa.select(
    *(sa.func.count().filter(postings.c.kind == kind, postings.c.state == state) for kind, state in POSTING_STATES)
)
"""Each in one pass over an index that has all of it, and without sorting: to group takes five times as long."""
CASES = (
    sa.select(cases.c.team, cases.c.kind, sa.func.count(), sa.func.min(cases.c.seq))
    .where(OPEN)
    .group_by(cases.c.team, cases.c.kind)
)
WEBHOOKS = sa.select(webhooks.c.state, sa.func.count()).group_by(webhooks.c.state)
DELIVERIES = sa.select(sa.func.count(), sa.func.min(webhook_deliveries.c.created_at)).where(
    webhook_deliveries.c.next_attempt_at.is_not(None)
)
"""Those that are pending: no other has a next attempt."""
DOCUMENTS = sa.select(cases.c.seq, cases.c.document).where(cases.c.seq.in_(sa.bindparam("oldest", expanding=True)))


def _blocked(table: sa.Table) -> sa.Select[Any, Any, Any, Any, Any]:
    """Return what of a table waits for which platform: how much, since when (UTC), and what it is worth."""
    has_worth = "amount" in table.c
    currency: sa.ColumnElement[Any] = table.c.currency if has_worth else sa.null()
    amount: sa.ColumnElement[Any] = sa.func.sum(table.c.amount) if has_worth else sa.null()
    platform, since = table.c.blocked_by, sa.func.min(table.c.blocked_since)
    waiting = sa.select(platform, currency, sa.func.count(), since, amount).where(platform.is_not(None))
    return waiting.group_by(platform, currency) if has_worth else waiting.group_by(platform)


BLOCKED = {table.name: _blocked(table) for table in TABLES}


class _Opened(msgspec.Struct):
    """When a case was opened."""

    opened_at: Instant


class WorkInDatabase:
    """Reads how much work there is, and how long it waits."""

    def __init__(self, database: sa.Engine, agendas: Mapping[str, Agenda], clock: Clock) -> None:
        """`agendas` are those of all capabilities, by what they are of."""
        self._database = database
        self._agendas = agendas
        self._clock = clock
        jobs = workflows(database).c
        at_work = sa.select(jobs.status, sa.func.count(), sa.func.min(jobs.created_at))
        self._workflows = at_work.where(jobs.status.in_([ENQUEUED, PENDING])).group_by(jobs.status)
        self._away = [_up(0)]
        self.latest: Asked = Asked(self._found, self._away, recent=RECENT)

    def _found(self) -> Sequence[Metric]:
        """Return the measures. It waits for the database, and runs in a thread."""
        try:
            with self._database.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(LONGEST)
                return [_up(1), *self._read(connection)]
        except SQLAlchemyError:  # readiness says so, and why is in the log
            return self._away

    def _read(self, connection: sa.Connection) -> Iterator[Metric]:
        now = self._clock()
        found: Values = {(state,): n for state, n in zip(ORDER_STATES, connection.execute(ORDERS).one(), strict=True)}
        yield gauge("orders", "Orders by their state.", ("state",), found)
        found = dict(zip(POSTING_STATES, connection.execute(POSTINGS).one(), strict=True))
        yield gauge("postings", "Postings by what they are of and their state.", ("kind", "state"), found)
        yield from self._due(connection, now)
        yield from _waiting(connection, now)
        yield from _webhooks(connection, now)
        yield from _cases(connection, now)
        yield from self._at_work(connection, now)

    def _due(self, connection: sa.Connection, now: datetime) -> Iterator[Metric]:
        due = {(name,): agenda.count_due(connection, now) for name, agenda in self._agendas.items()}
        counts: Values = {name: count for name, (count, _) in due.items()}
        yield gauge("due", "Work whose time has come and that nobody has begun.", ("of",), counts)
        ages = {name: _age(now, oldest) for name, (_, oldest) in due.items()}
        says = "For how long the oldest such work has waited to be begun."
        yield gauge("due_oldest_age_seconds", says, ("of",), ages)

    def _at_work(self, connection: sa.Connection, now: datetime) -> Iterator[Metric]:
        counts: Values = {("pending",): 0.0, ("enqueued",): 0.0}
        ages: Values = {**counts}
        for status, count, created_at in connection.execute(self._workflows):
            counts[status.lower(),] = count
            ages[status.lower(),] = max(0.0, now.timestamp() - created_at / 1000)
        yield gauge("workflows", "Workflows that run, and that wait for their turn.", ("status",), counts)
        yield gauge("workflows_oldest_age_seconds", "Since when the oldest of them is there.", ("status",), ages)


def _waiting(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Yield what waits for a platform that is away."""
    counts: Counter[tuple[str, ...]] = Counter()
    oldest: dict[tuple[str, ...], str] = {}
    money: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for name, query in BLOCKED.items():
        counts[name, ""] = 0
        for platform, currency, count, since, amount in connection.execute(query):
            counts[name, platform] += count
            oldest[name, platform] = min(since, oldest.get((name, platform), since))
            if currency and amount:
                money[name, currency] += int(amount)
    by = ("of", "platform")
    yield gauge("waiting", "What waits for a platform that is away.", by, counts)
    ages = {each: _age(now, oldest.get(each)) for each in counts}
    yield gauge("waiting_oldest_age_seconds", "For how long the oldest of it has waited.", by, ages)
    says = "What it is worth as far as that is known, in minor units of the currency."
    yield gauge("waiting_minor_units", says, ("of", "currency"), money)


def _webhooks(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Yield the webhooks of partners, and what waits to be sent to them."""
    found: Values = dict.fromkeys(((state,) for state in WEBHOOK_STATES), 0.0)
    found |= {(state,): count for state, count in connection.execute(WEBHOOKS)}
    yield gauge("webhooks", "Webhooks of partners by their state.", ("state",), found)
    count, oldest = connection.execute(DELIVERIES).one()
    yield gauge("webhook_deliveries_waiting", "Events that are to be sent to webhooks.", (), {(): count})
    says = "For how long the oldest of them has been there."
    yield gauge("webhook_deliveries_oldest_age_seconds", says, (), {(): _age(now, oldest)})


def _cases(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    found = connection.execute(CASES).all()
    opened = {
        row.seq: msgspec.json.decode(row.document, type=_Opened).opened_at.isoformat()
        for row in connection.execute(DOCUMENTS, {"oldest": [oldest for *_, oldest in found]})
    }
    by = ("team", "kind")
    counts: Values = {(team, kind): count for team, kind, count, _ in found}
    yield gauge("cases_open", "Cases that are open.", by, counts)
    ages = {(team, kind): _age(now, opened.get(oldest)) for team, kind, _, oldest in found}
    yield gauge("cases_oldest_age_seconds", "For how long the oldest of them has been open.", by, ages)
    incidents = sum(count for _, kind, count, _ in found if kind == OUTAGE)
    yield gauge("incidents_open", "Outages of platforms that last.", (), {(): float(incidents)})


def _up(value: int) -> Metric:
    return gauge("database_up", "Whether the database of the process layer answers.", (), {(): float(value)})


def _age(now: datetime, since: str | None) -> float:
    return max(0.0, (now - datetime.fromisoformat(since)).total_seconds()) if since else 0.0
