"""Catalogue syncs with their items, and which products of a CRM's catalogue each platform has."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.catalogue_sync import CatalogueAction, CatalogueItem, CatalogueSync
from canonical.ids import Clock, derived
from canonical.orders import Page
from canonical.process_events import CATALOGUE_SYNC_EVENTS
from canonical.products import CatalogueProduct, PriceChange
from canonical.states import CatalogueSyncState, check_catalogue_sync
from policies.catalogue.model import Domain
from process_apis.records import paging
from process_apis.records.database import (
    catalogue_items,
    catalogue_products,
    catalogue_syncs,
    insert_once,
    writing,
)
from process_apis.records.one_row import OneRow

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(catalogue_syncs).where(catalogue_syncs.c.id == OF)
STARTED: tuple[CatalogueSyncState, ...] = ("applying", "applied")
NEXT = (
    sa.select(catalogue_items)
    .where(catalogue_items.c.sync_id == OF, catalogue_items.c.state == "planned")
    .order_by(catalogue_items.c.place)
    .limit(1)
)
AT_PLACE = (catalogue_items.c.sync_id == OF) & (catalogue_items.c.place == sa.bindparam("at"))


class PlannedItem(msgspec.Struct, frozen=True):
    """What a sync is to do with one product, or one price of it, on one platform.

    `rank` says what comes first: what others depend on. `document` is what is written; None for what cannot be. `field`
    is what is refused, for `reason`.
    """

    platform: str
    domain: Domain
    sku: str
    rank: int
    action: CatalogueAction
    document: CatalogueProduct | PriceChange | None
    currency: str = ""
    was: str = ""
    becomes: str = ""
    field: str = ""
    reason: str = ""


class OneSync(
    OneRow[CatalogueSyncState], table=catalogue_syncs, check=check_catalogue_sync, events=CATALOGUE_SYNC_EVENTS
):
    """A sync in one transaction."""

    def is_outdated(self) -> bool:
        """Return whether a later sync of the same catalogue was started."""
        return _is_outdated(self.connection, self.row)

    def plan(self, items: Iterable[PlannedItem], seen: Iterable[tuple[str, str]]) -> None:
        """Keep the items of a page, and the products (a platform and a SKU each) that are there already."""
        for place, each in enumerate(items):
            row = {
                "sync_id": self.row.id,
                "place": (each.rank * 10**6 + self.row.pages) * 10**6 + place,
                "platform": each.platform,
                "domain": each.domain,
                "sku": each.sku,
                "currency": each.currency,
                "action": each.action,
                "state": "planned",
                "field": each.field[:120],
                "was": each.was,
                "becomes": each.becomes,
                "reason": each.reason,
                "document": None if each.document is None else msgspec.json.encode(each.document),
            }
            self.connection.execute(catalogue_items.insert(), row)
        for platform, sku in seen:
            keep(self.connection, platform, sku, self.row.crm, self.row.id)


def keep(connection: sa.Connection, platform: str, sku: str, crm: str, seen_by: str) -> None:
    """Keep that a platform has a product of a CRM's catalogue. One of another CRM's stays that, and what a later sync
    has seen stays seen by that one."""
    row = {"platform": platform, "sku": sku, "crm": crm, "seen_by": seen_by}
    if not insert_once(connection, catalogue_products, row):
        known = (catalogue_products.c.platform == platform) & (catalogue_products.c.sku == sku)
        of_it = catalogue_products.c.crm == crm
        earlier = catalogue_products.c.seen_by.not_in(_later_than(seen_by))
        connection.execute(catalogue_products.update().where(known, of_it, earlier).values(seen_by=seen_by))


def _later_than(sync_id: str) -> sa.Select[tuple[str]]:
    """Return the ids of the syncs that were asked for after one."""
    its_place = sa.select(catalogue_syncs.c.seq).where(catalogue_syncs.c.id == sync_id).scalar_subquery()
    return sa.select(catalogue_syncs.c.id).where(catalogue_syncs.c.seq > its_place)


class CatalogueSyncs:
    """The tables of catalogue syncs."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- writing

    @contextmanager
    def at(self, sync_id: str) -> Generator[OneSync]:
        """Return one sync to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneSync(connection, sync_id, self._clock().isoformat())

    def receive(
        self, crm: str, key: str, requested_by: str, correlation_id: str, next_attempt_at: datetime
    ) -> tuple[sa.Row[Any], bool]:
        """Return the sync of a CRM's catalogue with a key, and whether it is new. Its id is derived from both."""
        now = self._clock().isoformat()
        row = {
            "id": derived("syn", crm, key),
            "crm": crm,
            "state": "planning",
            "requested_by": requested_by,
            "correlation_id": correlation_id,
            "requested_at": now,
            "updated_at": now,
            "next_attempt_at": next_attempt_at.isoformat(),
        }
        with writing(self._engine) as connection:
            is_new = insert_once(connection, catalogue_syncs, row)
            return connection.execute(ROW, {"of": row["id"]}).one(), is_new

    def settle(self, item: sa.Row[Any], crm: str, *, reason: str = "", field: str = "") -> None:
        """Keep that an item is done, or refused for a `reason`."""
        with writing(self._engine) as connection:
            found = {"of": item.sync_id, "at": item.place}
            values = {"state": "refused" if reason else "done", "reason": reason, "field": field[:120]}
            connection.execute(catalogue_items.update().where(AT_PLACE).values(values), found)
            if not reason and not item.currency:
                keep(connection, item.platform, item.sku, crm, item.sync_id)

    def again(self, sync: OneSync, place: int) -> None:
        """Let an item be done again that was refused, and the prices that were refused with it."""
        item = sync.connection.execute(
            sa.select(catalogue_items).where(AT_PLACE), {"of": sync.row.id, "at": place}
        ).one()
        same = (catalogue_items.c.sync_id == sync.row.id) & (catalogue_items.c.state == "refused")
        with_it = catalogue_items.c.place == place
        if not item.currency:
            with_it |= (
                (catalogue_items.c.platform == item.platform)
                & (catalogue_items.c.sku == item.sku)
                & (catalogue_items.c.field == "product")
            )
        foreseen = catalogue_items.c.action == "refuse"
        replaced = sa.case((catalogue_items.c.currency == "", "change"), else_="replace")
        tried = sa.case((catalogue_items.c.was == "", "create"), else_=replaced)
        action = sa.case((foreseen, tried), else_=catalogue_items.c.action)
        planned = catalogue_items.update().where(same, with_it).values(state="planned", action=action)
        sync.connection.execute(planned)

    # ---- reading

    def row(self, sync_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": sync_id}).one()

    def is_outdated(self, row: sa.Row[Any]) -> bool:
        """Return whether a later sync of the same catalogue was started."""
        with self._engine.connect() as connection:
            return _is_outdated(connection, row)

    def next_item(self, sync_id: str) -> sa.Row[Any] | None:
        """Return what is to be done next, None when all is done."""
        with self._engine.connect() as connection:
            return connection.execute(NEXT, {"of": sync_id}).one_or_none()

    def item(self, sync_id: str, place: int) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            query = sa.select(catalogue_items).where(AT_PLACE)
            return connection.execute(query, {"of": sync_id, "at": place}).one_or_none()

    def is_refused(self, item: sa.Row[Any]) -> bool:
        """Return whether the product of a price was refused by the same platform, in the same sync."""
        query = sa.select(catalogue_items.c.seq).where(
            catalogue_items.c.sync_id == item.sync_id,
            catalogue_items.c.platform == item.platform,
            catalogue_items.c.sku == item.sku,
            catalogue_items.c.currency == "",
            catalogue_items.c.state == "refused",
        )
        with self._engine.connect() as connection:
            return connection.scalar(query.limit(1)) is not None

    def refused_alike(self, item: sa.Row[Any], reason: str) -> int:
        """Return how many items a platform has refused for one reason, that the preview did not foresee."""
        query = sa.select(sa.func.count()).where(
            catalogue_items.c.sync_id == item.sync_id,
            catalogue_items.c.platform == item.platform,
            catalogue_items.c.state == "refused",
            catalogue_items.c.action != "refuse",
            catalogue_items.c.reason == reason,
        )
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def owners(self, platform: str, skus: Collection[str]) -> dict[str, str]:
        """Return whose each of some products is that a platform is known to have: a CRM, by the SKU."""
        products = catalogue_products.c
        query = sa.select(products.sku, products.crm).where(products.platform == platform, products.sku.in_(skus))
        with self._engine.connect() as connection:
            return {row.sku: row.crm for row in connection.execute(query)}

    def unseen(self, crm: str, sync_id: str, limit: int) -> dict[str, list[str]]:
        """Return products of a CRM's catalogue that neither a sync nor a later one has seen, by the platform that has
        them: at most `limit` of them."""
        products = catalogue_products.c
        not_seen = sa.and_(products.seen_by != sync_id, products.seen_by.not_in(_later_than(sync_id)))
        query = sa.select(products.platform, products.sku).where(products.crm == crm, not_seen)
        found: dict[str, list[str]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query.order_by(products.platform, products.sku).limit(limit)):
                found.setdefault(row.platform, []).append(row.sku)
        return found

    def get(self, sync_id: str) -> CatalogueSync | None:
        with self._engine.connect() as connection:
            row = connection.execute(ROW, {"of": sync_id}).one_or_none()
            return _sync(connection, row) if row else None

    def page(self, state: str | None, cursor: str | None, limit: int) -> Page[CatalogueSync]:
        """Return a page of syncs, newest first."""
        where = [catalogue_syncs.c.state == state] if state else []
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, catalogue_syncs, where, cursor, limit)
            return paging.page([_sync(connection, row) for row in rows], next_cursor)

    def items(
        self, sync_id: str, state: str | None, action: str | None, cursor: str | None, limit: int
    ) -> Page[CatalogueItem]:
        """Return a page of the items of a sync, in the order in which they are done. Raises `ProblemError` (422) for a
        cursor that is none of ours."""
        items = catalogue_items.c
        where = [items.sync_id == sync_id]
        where += [items.state == state] if state else []
        where += [items.action == action] if action else []
        if cursor is not None:
            where.append(items.place > paging.place_of(cursor))
        query = sa.select(catalogue_items).where(*where).order_by(items.place).limit(limit + 1)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        next_cursor = str(rows[limit - 1].place) if len(rows) > limit else None
        return paging.page([_item(row) for row in rows[:limit]], next_cursor)


def _is_outdated(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    later = sa.select(catalogue_syncs.c.seq).where(
        catalogue_syncs.c.crm == row.crm,
        catalogue_syncs.c.seq > row.seq,
        sa.or_(catalogue_syncs.c.state.in_(STARTED), catalogue_syncs.c.held_in == "applying"),
    )
    return connection.scalar(later.limit(1)) is not None


def document_of(item: sa.Row[Any]) -> CatalogueProduct | PriceChange | None:
    """Return what an item writes: a product, a price, or nothing."""
    if item.document is None:
        return None
    return msgspec.json.decode(item.document, type=PriceChange if item.currency else CatalogueProduct)


def _sync(connection: sa.Connection, row: sa.Row[Any]) -> CatalogueSync:
    items = catalogue_items.c
    counts = sa.select(items.action, items.state, sa.func.count()).where(items.sync_id == row.id)
    actions: dict[str, int] = {}
    states: dict[str, int] = {}
    for action, state, count in connection.execute(counts.group_by(items.action, items.state)):
        actions[action] = actions.get(action, 0) + count
        states[state] = states.get(state, 0) + count
    return CatalogueSync(
        row.id,
        row.crm,
        row.state,
        row.requested_by,
        datetime.fromisoformat(row.requested_at),
        datetime.fromisoformat(row.updated_at),
        row.correlation_id,
        row.blocked_reason,
        row.products,
        actions,
        states,
    )


def _item(row: sa.Row[Any]) -> CatalogueItem:
    return CatalogueItem(row.platform, row.sku, row.currency, row.action, row.state, row.was, row.becomes, row.reason)
