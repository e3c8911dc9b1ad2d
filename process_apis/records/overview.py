"""What is counted and found over all records, as far as a caller may see them: one query for each table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

import msgspec
import sqlalchemy as sa

from canonical.cases import Case, Team
from canonical.money import Money
from canonical.overview import Hit, RecordsInState, TeamCases
from canonical.parties import Customer, folded
from policies.identity.authentication import Principal
from process_apis.records import customers as customer_records
from process_apis.records import visibility
from process_apis.records.database import (
    amendments,
    cases,
    customers,
    orders,
    postings,
)

_CUSTOMER = msgspec.json.Decoder(Customer)
_CASE = msgspec.json.Decoder(Case)


def counted(
    connection: sa.Connection,
    principal: Principal,
    table: sa.Table,
    ends: Collection[str],
    worth: sa.Column[Any] | None = None,
) -> tuple[RecordsInState, ...]:
    """Return how many rows of a table are in each state, the oldest of those that are no end, and what they are
    `worth`, a column of minor units beside `currency`."""
    since = table.c.updated_at
    seen = visibility.visible(table, principal)
    states = sa.select(table.c.state, sa.func.count(), sa.func.min(since)).where(seen).group_by(table.c.state)
    found = connection.execute(states).all()
    money: dict[str, list[Money]] = {}
    if worth is not None:
        sums = sa.select(table.c.state, table.c.currency, sa.func.sum(worth)).where(
            seen, table.c.state.not_in(ends), worth.is_not(None)
        )
        for state, currency, amount in connection.execute(sums.group_by(table.c.state, table.c.currency)):
            if currency:
                money.setdefault(state, []).append(Money(int(amount), currency))
    counts: list[RecordsInState] = []
    for state, count, oldest in sorted(found):
        if state in ends:
            counts.append(RecordsInState(state, count))
            continue
        first = sa.select(table.c.id).where(seen, table.c.state == state, since == oldest).limit(1)
        amounts = tuple(sorted(money.get(state, ()), key=lambda each: each.currency))
        counts.append(
            RecordsInState(state, count, datetime.fromisoformat(oldest), str(connection.scalar(first)), amounts)
        )
    return tuple(counts)


def cases_by_team(connection: sa.Connection, principal: Principal) -> tuple[TeamCases, ...]:
    """Return the open cases of each team that has some."""
    is_open = sa.and_(cases.c.state == "open", visibility.visible(cases, principal))
    query = sa.select(cases.c.team, cases.c.kind, sa.func.count(), sa.func.min(cases.c.seq)).where(is_open)
    rows = connection.execute(query.group_by(cases.c.team, cases.c.kind)).all()
    first = {each.team: min(row[3] for row in rows if row.team == each.team) for each in rows}
    documents = sa.select(cases.c.team, cases.c.document).where(cases.c.seq.in_(first.values()))
    opened = {team: _CASE.decode(document).opened_at for team, document in connection.execute(documents)}
    teams: tuple[Team, ...] = get_args(Team)
    return tuple(
        TeamCases(
            team,
            sum(row[2] for row in rows if row.team == team),
            opened.get(team),
            {row.kind: row[2] for row in rows if row.team == team},
        )
        for team in teams
        if team in first
    )


def found_by_words(connection: sa.Connection, principal: Principal, query: str, most: int) -> Iterator[Hit]:
    """Return what has the words of a query in its name, or begins with it as its number in the books: customers,
    orders and, for those who may read them, invoices and payments; `most` of each at the most."""
    if "customers:read" in principal.scopes:
        named = sa.select(customers.c.document).where(
            customers.c.searched.contains(folded(query), autoescape=True), customer_records.seen_by(principal)
        )
        for document in connection.scalars(named.order_by(customers.c.seq.desc()).limit(most)):
            customer = _CUSTOMER.decode(document)
            yield Hit("customer", customer.id, customer.name, customer_id=customer.id)
    if "orders:read" in principal.scopes:
        yield from _orders(connection, principal, orders.c.name.icontains(query, autoescape=True), most)
    if "postings:read" in principal.scopes:
        yield from _postings(connection, principal, postings.c.number.startswith(query, autoescape=True), most)


def found_by_ids(connection: sa.Connection, principal: Principal, ids: Iterable[str]) -> Iterator[Hit]:
    """Return the records that some of our ids are of, and billing's of invoices and payments."""
    wanted = list(ids)
    if "customers:read" in principal.scopes:
        query = sa.select(customers.c.document).where(customers.c.id.in_(wanted), customer_records.seen_by(principal))
        for document in connection.scalars(query):
            customer = _CUSTOMER.decode(document)
            yield Hit("customer", customer.id, customer.name, customer_id=customer.id)
    if "orders:read" in principal.scopes:
        yield from _orders(connection, principal, orders.c.id.in_(wanted), len(wanted))
        query = sa.select(amendments).where(amendments.c.id.in_(wanted), visibility.visible(amendments, principal))
        for row in connection.execute(query):
            yield Hit("amendment", row.id, row.contract_id, row.state, row.customer_id, _at(row.updated_at))
    if "postings:read" in principal.scopes:
        yield from _postings(connection, principal, postings.c.id.in_(wanted), 2 * len(wanted))
    if "cases:read" in principal.scopes:
        query = sa.select(cases.c.document, cases.c.customer_id).where(
            cases.c.id.in_(wanted), visibility.visible(cases, principal)
        )
        for document, customer_id in connection.execute(query):
            case = _CASE.decode(document)
            yield Hit("case", case.id, case.reason, case.state, customer_id, case.resolved_at or case.opened_at)


def _orders(connection: sa.Connection, principal: Principal, which: sa.ColumnElement[bool], most: int) -> Iterator[Hit]:
    query = sa.select(orders).where(which, visibility.visible(orders, principal))
    for row in connection.execute(query.order_by(orders.c.seq.desc()).limit(most)):
        yield Hit("order", row.id, row.name, row.state, row.customer_id, _at(row.updated_at))


def _postings(
    connection: sa.Connection, principal: Principal, which: sa.ColumnElement[bool], most: int
) -> Iterator[Hit]:
    query = sa.select(postings).where(which, visibility.visible(postings, principal))
    for row in connection.execute(query.order_by(postings.c.seq.desc()).limit(most)):
        kind = "payment" if row.kind == "payment" else "invoice"
        yield Hit(kind, row.id, row.number or row.id, row.state, row.customer_id, _at(row.updated_at))


def _at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
