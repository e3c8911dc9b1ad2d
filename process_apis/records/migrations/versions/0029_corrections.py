"""Corrections of invoices, and the states that each came to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
works_with_former = True
"""It only adds, and code before it has nothing of the kind."""


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False, unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("invoice_id", sa.String(120), nullable=False, index=True),
        sa.Column("billing", sa.String(60), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("requested_by", sa.String(120), nullable=False),
        sa.Column("proposed", sa.Boolean, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("wanted", sa.LargeBinary, nullable=False),
        sa.Column("preview", sa.LargeBinary),
        sa.Column("approved", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(120), nullable=False, index=True),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("blocked_by", sa.String(60)),
        sa.Column("blocked_since", sa.String(40)),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40), index=True),
        sa.Column("requested_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
    )
    blocked = sa.text("blocked_by IS NOT NULL")
    op.create_index(
        "ix_corrections_blocked_by",
        "corrections",
        ["blocked_by", "seq"],
        sqlite_where=blocked,
        postgresql_where=blocked,
    )
    op.create_table(
        "correction_states",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("correction_id", sa.String(120), nullable=False, index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
