"""Contracts that run are changed: amendments, each with what was asked for and what every platform said before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "amendments",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("blocked_by", sa.String(40)),
        sa.Column("blocked_since", sa.String(40)),
        sa.Column("requested_by", sa.String(120), nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("preview", sa.LargeBinary),
        sa.Column("approved", sa.String(120), nullable=False),
        sa.Column("effective_at", sa.String(40)),
        sa.Column("version", sa.Integer),
        sa.Column("invoices", sa.Text, nullable=False),
        sa.Column("delivery_attempt", sa.Integer, nullable=False),
        sa.Column("undelivered", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("requested_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("contract_id", "version"),
    )
    for column in ("contract_id", "order_id", "customer_id", "next_attempt_at"):
        op.create_index(f"ix_amendments_{column}", "amendments", [column])
    blocked = sa.column("blocked_by").is_not(None)
    op.create_index(
        "ix_amendments_blocked_by",
        "amendments",
        ["blocked_by", "seq"],
        sqlite_where=blocked,
        postgresql_where=blocked,
    )
