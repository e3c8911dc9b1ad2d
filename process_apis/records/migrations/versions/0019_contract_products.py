"""Which products a contract has or had, so that contracts are found by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
works_with_former = False
"""It only adds. But code before it notes no products, and what that sells would be missing in lists by product."""

BATCH = 500
"""Orders that are read at a time."""


def upgrade() -> None:
    table = op.create_table(
        "contract_products",
        sa.Column("sku", sa.String(120), primary_key=True),
        sa.Column("order_seq", sa.Integer, primary_key=True),
    )
    connection, last = op.get_bind(), 0
    seq = sa.column("seq", sa.Integer)
    orders = sa.select(seq, sa.column("id", sa.String)).select_from(sa.table("orders")).order_by(seq)
    while found := connection.execute(orders.where(seq > last).limit(BATCH)).all():
        last = found[-1].seq
        seqs = {each.id: each.seq for each in found}
        if rows := sorted({(sku, seqs[order]) for order, sku in _products(connection, list(seqs))}):
            connection.execute(table.insert(), [{"sku": sku, "order_seq": seq} for sku, seq in rows])


def _products(connection: sa.Connection, orders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each order's id with each product that was sold in it, or that an amendment has brought."""
    for name, column in (("order_lines", "line"), ("amendments", "preview")):
        table = sa.table(name, sa.column("order_id", sa.String), sa.column(column, sa.LargeBinary))
        for row in connection.execute(sa.select(table).where(table.c.order_id.in_(orders))):
            said: dict[str, Any] = json.loads(row[1]) if row[1] else {}
            for line in said.get("after", []) if column == "preview" else [said]:
                yield row[0], line["sku"]
