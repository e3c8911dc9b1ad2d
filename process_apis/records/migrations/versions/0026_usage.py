"""What was used under contracts, record by record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "usage_sources",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("meter", sa.String(40), nullable=False),
        sa.UniqueConstraint("contract_id", "meter"),
    )
    op.create_table(
        "usage_records",
        sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(120), primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.UniqueConstraint("source", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_voids",
        sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(120), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_periods",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False, unique=True),
        sa.Column("source", sa.Integer, nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False, index=True),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("meter", sa.String(40), nullable=False),
        sa.Column("sku", sa.String(120), nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("quantity", sa.String(40), nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40), index=True),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("source", "starts_at"),
    )
