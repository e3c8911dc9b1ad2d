"""Search: the names of customers as they are compared, and indexes for what is counted at each look."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from canonical.parties import folded

revision = "0032"
down_revision = "0031"
works_with_former = False
"""It only adds. But a customer that code before it keeps is not found by its name."""

BATCH = 500
"""Records that are read or written at a time."""


def upgrade() -> None:
    op.add_column("customers", sa.Column("searched", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_orders_state", "orders", ["state", "updated_at"])
    op.create_index("ix_postings_state", "postings", ["state", "updated_at"])
    op.create_index("ix_postings_number", "postings", ["number"])
    op.create_index("ix_cases_state", "cases", ["state", "team"])
    customers = sa.table("customers", sa.column("seq"), sa.column("document"), sa.column("searched"))
    connection, last = op.get_bind(), 0
    while True:
        query = sa.select(customers.c.seq, customers.c.document).where(customers.c.seq > last)
        rows = connection.execute(query.order_by(customers.c.seq).limit(BATCH)).all()
        if not rows:
            return
        last = rows[-1].seq
        named = [{"of": row.seq, "name": folded(json.loads(row.document).get("name", ""))} for row in rows]
        change = customers.update().where(customers.c.seq == sa.bindparam("of"))
        connection.execute(change.values(searched=sa.bindparam("name")), named)
