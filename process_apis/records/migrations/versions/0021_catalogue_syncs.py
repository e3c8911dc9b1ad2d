"""Catalogue syncs, their items, and the products that they have brought to platforms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "catalogue_syncs",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("crm", sa.String(40), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("requested_by", sa.String(120), nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("blocked_by", sa.String(40)),
        sa.Column("blocked_since", sa.String(40)),
        sa.Column("cursor", sa.String(120), nullable=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        sa.Column("products", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("requested_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_catalogue_syncs_next_attempt_at", "catalogue_syncs", ["next_attempt_at"])
    blocked = sa.column("blocked_by").is_not(None)
    op.create_index(
        "ix_catalogue_syncs_blocked_by",
        "catalogue_syncs",
        ["blocked_by", "seq"],
        sqlite_where=blocked,
        postgresql_where=blocked,
    )
    op.create_table(
        "catalogue_items",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("sync_id", sa.String(120), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("platform", sa.String(40), nullable=False),
        sa.Column("domain", sa.String(20), nullable=False),
        sa.Column("sku", sa.String(120), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("field", sa.String(120), nullable=False),
        sa.Column("was", sa.Text, nullable=False),
        sa.Column("becomes", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary),
        sa.UniqueConstraint("sync_id", "place"),
    )
    op.create_index("ix_catalogue_items_state", "catalogue_items", ["sync_id", "state", "place"])
    op.create_table(
        "catalogue_products",
        sa.Column("platform", sa.String(40), primary_key=True),
        sa.Column("sku", sa.String(120), primary_key=True),
        sa.Column("crm", sa.String(40), nullable=False),
        sa.Column("seen_by", sa.String(120), nullable=False),
    )
    op.create_index("ix_catalogue_products_crm", "catalogue_products", ["crm", "seen_by"])
