"""Deals that change contracts: how each was last seen, and the amendment that it has become."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from canonical.ids import derived
from process_apis.records.database import amending_deals, amendments, insert_once, writing

ROW = sa.select(amending_deals).where(amending_deals.c.id == sa.bindparam("of"))
OF_DEAL = sa.select(amending_deals).where(
    amending_deals.c.crm == sa.bindparam("crm"), amending_deals.c.deal_id == sa.bindparam("deal")
)
CHANGE = amending_deals.update().where(amending_deals.c.id == sa.bindparam("of"))
NOT_SHOWN = (
    sa.select(amending_deals)
    .join(amendments, amendments.c.id == amending_deals.c.amendment_id)
    .where(amendments.c.updated_at != amending_deals.c.shown)
    .order_by(amending_deals.c.seq)
    .limit(100)
)


class AmendingDeals:
    """The table of deals that change contracts."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def receive(self, crm: str, deal_id: str, **values: Any) -> sa.Row[Any]:
        """Return the row of a deal, with `values` when it is new."""
        row = {"id": derived("dea", crm, deal_id), "crm": crm, "deal_id": deal_id, **values}
        with writing(self._engine) as connection:
            insert_once(connection, amending_deals, row)
            return connection.execute(ROW, {"of": row["id"]}).one()

    def of(self, crm: str, deal_id: str) -> sa.Row[Any] | None:
        """Return the row of a deal, None when it has none."""
        with self._engine.connect() as connection:
            return connection.execute(OF_DEAL, {"crm": crm, "deal": deal_id}).one_or_none()

    def row(self, row_id: str) -> sa.Row[Any] | None:
        """Return None for an id that is no deal's."""
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": row_id}).one_or_none()

    def change(self, row_id: str, **values: Any) -> sa.Row[Any]:
        """Change a row, and return it as it is then."""
        with writing(self._engine) as connection:
            return connection.execute(CHANGE.returning(amending_deals), values | {"of": row_id}).one()

    def not_shown(self) -> list[sa.Row[Any]]:
        """Return the deals of which the CRM does not show the amendment as it is now."""
        with self._engine.connect() as connection:
            return list(connection.execute(NOT_SHOWN))
