"""Customers as they were last seen, with their ids on every platform."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.orders import Page
from canonical.parties import Customer, folded
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import NOT_BLOCKED, amendments, customers, insert_once, orders, writing

DOCUMENT = sa.select(customers.c.document).where(customers.c.id == sa.bindparam("of"))
LOCKED = DOCUMENT.with_for_update()
RUN = sa.select(customers.c.run).where(customers.c.id == sa.bindparam("of"))
CHANGED = sa.select(customers).where(customers.c.id == sa.bindparam("of"))
SHARES = sa.select(customers.c.shares_with).where(customers.c.id == sa.bindparam("of"))
CUSTOMER = msgspec.json.Decoder(Customer)
CHANGE = customers.update().where(customers.c.id == sa.bindparam("of"))


def keep(engine: sa.Engine, customer: Customer) -> None:
    """Remember a customer as it was last seen, with its ids on every platform: those that are known already stay."""
    with writing(engine) as connection:
        searched = folded(customer.name)
        new = {"id": customer.id, "document": msgspec.json.encode(customer), "partner": customer.partner}
        new |= {"searched": searched}
        if insert_once(connection, customers, new):
            return
        known = CUSTOMER.decode(connection.execute(LOCKED, {"of": customer.id}).scalar_one()).references
        merged = msgspec.structs.replace(customer, references=known | customer.references)
        kept = {"document": msgspec.json.encode(merged), "partner": customer.partner, "searched": searched}
        connection.execute(CHANGE, {"of": customer.id} | kept)


def refer(engine: sa.Engine, customer_id: str, platform: str, reference: str) -> None:
    """Remember what a platform calls a customer by now; all else of it stays as it was last seen."""
    with writing(engine) as connection:
        refer_in(connection, customer_id, platform, reference)


def refer_in(connection: sa.Connection, customer_id: str, platform: str, reference: str) -> None:
    """Remember what a platform calls a customer as `refer` does, in the caller's transaction."""
    known = CUSTOMER.decode(connection.execute(LOCKED, {"of": customer_id}).scalar_one())
    if known.references.get(platform) != reference:
        moved = msgspec.structs.replace(known, references=known.references | {platform: reference})
        connection.execute(CHANGE, {"of": customer_id, "document": msgspec.json.encode(moved)})


# ---- customers that share an account of the CRM


def share(engine: sa.Engine, customer_id: str, owner: str) -> None:
    """Remember which customer gets the deals of an account that is another one's, too; empty for its own."""
    with writing(engine) as connection:
        connection.execute(CHANGE.where(customers.c.shares_with != owner), {"of": customer_id, "shares_with": owner})


def shares_with(engine: sa.Engine, customer_id: str) -> str:
    """Return the customer that gets the deals of a customer's account, empty when it does so itself."""
    with engine.connect() as connection:
        return connection.scalar(SHARES, {"of": customer_id}) or ""


def with_its_account(engine: sa.Engine, customer_id: str) -> list[str]:
    """Return a customer and those that share its account."""
    owner = shares_with(engine, customer_id) or customer_id
    query = sa.select(customers.c.id).where(sa.or_(customers.c.id == owner, customers.c.shares_with == owner))
    with engine.connect() as connection:
        return list(connection.scalars(query)) or [customer_id]


# ---- changes that have to be followed


def expect_change(engine: sa.Engine, customer_id: str, correlation_id: str, next_attempt_at: datetime) -> int | None:
    """Remember that a customer has to be synced. Returns the number of the run that is to do it, None for a customer
    that is not known."""
    with writing(engine) as connection:
        return expect_change_in(connection, customer_id, correlation_id, next_attempt_at)


def expect_change_in(
    connection: sa.Connection, customer_id: str, correlation_id: str, next_attempt_at: datetime
) -> int | None:
    """Remember that a customer has to be synced as `expect_change` does, in the caller's transaction."""
    values = {"correlation_id": correlation_id, "next_attempt_at": next_attempt_at.isoformat(), "attempts": 0}
    found = connection.execute(CHANGE.values(run=customers.c.run + 1, **values), {"of": customer_id})
    return connection.scalar(RUN, {"of": customer_id}) if found.rowcount else None


def expected_change(engine: sa.Engine, customer_id: str) -> sa.Row[Any] | None:
    """Return the change that has to be followed, if there is one."""
    with engine.connect() as connection:
        row = connection.execute(CHANGED, {"of": customer_id}).one_or_none()
    return row if row is not None and row.next_attempt_at else None


def settle_change(
    engine: sa.Engine,
    expected: sa.Row[Any],
    next_attempt_at: datetime | None,
    attempts: int,
    blocked: Mapping[str, str | None] = NOT_BLOCKED,
) -> None:
    """Plan no further attempt, or one at `next_attempt_at`; unless another change has come meanwhile. `blocked` says
    for which platform it waits, and since when."""
    values = {"next_attempt_at": next_attempt_at.isoformat() if next_attempt_at else None, "attempts": attempts}
    values |= blocked
    with writing(engine) as connection:
        connection.execute(CHANGE.where(customers.c.run == expected.run).values(**values), {"of": expected.id})


def last_seen(engine: sa.Engine, customer_id: str) -> Customer | None:
    """Return a customer as it was last seen."""
    with engine.connect() as connection:
        document = connection.scalar(DOCUMENT, {"of": customer_id})
    return CUSTOMER.decode(document) if document else None


def visible(engine: sa.Engine, customer_id: str, principal: Principal) -> Customer | None:
    """Return a customer, if the caller may see one of its orders, or a change of what was one."""
    query = sa.select(customers.c.document).where(customers.c.id == customer_id, seen_by(principal))
    with engine.connect() as connection:
        document = connection.scalar(query)
    return CUSTOMER.decode(document) if document else None


def page(engine: sa.Engine, principal: Principal, cursor: str | None, limit: int) -> Page[Customer]:
    """Return the customers of whom the caller may see an order."""
    with engine.connect() as connection:
        rows, next_cursor = paging.page_of(connection, customers, [seen_by(principal)], cursor, limit)
    return paging.page([CUSTOMER.decode(row.document) for row in rows], next_cursor)


def seen_by(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: customers that have an order which the caller may see, or had one until they transferred
    its contract to another."""
    has, had = (
        customers.c.id.in_(sa.select(each.c.customer_id).where(visibility.visible(each, principal)))
        for each in (orders, amendments)
    )
    return sa.or_(has, had)
