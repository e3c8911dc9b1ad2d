"""Which rows a caller may see: the object-level check, as a condition of each query."""

from __future__ import annotations

import sqlalchemy as sa

from policies.identity.authentication import Principal
from process_apis.records.database import customers


def visible(table: sa.Table, principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: rows of the legal entities that the caller may see, and of a
    partner's own customers."""
    sold = sa.true() if "*" in principal.entities else table.c.legal_entity.in_(sorted(principal.entities))
    if not principal.partner:
        return sold
    if "partner" in table.c:
        return sa.and_(sold, table.c.partner == principal.partner)
    return sa.and_(
        sold, table.c.customer_id.in_(sa.select(customers.c.id).where(customers.c.partner == principal.partner))
    )
