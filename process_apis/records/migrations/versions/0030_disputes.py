"""Disputes: a record of each that billing reports from now on, with what it has cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
works_with_former = False
"""It only adds. But code before it makes no record of a dispute that it hears of."""


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("billing", sa.String(40), nullable=False),
        sa.Column("invoice_id", sa.String(120), nullable=False),
        sa.Column("payment_id", sa.String(120), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("currency", sa.String(3)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("opened_at", sa.String(40)),
        sa.Column("respond_by", sa.String(40)),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("reported_until", sa.String(40), nullable=False),
        sa.Column("asked", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("doing", sa.String(10), nullable=False),
        sa.Column("evidence", sa.LargeBinary),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("reported_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
    )
    for column in ("contract_id", "customer_id", "respond_by", "next_attempt_at"):
        op.create_index(f"ix_disputes_{column}", "disputes", [column])
    op.create_table(
        "dispute_steps",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("dispute_id", sa.String(120), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("asked", sa.String(10), nullable=False),
        sa.Column("asked_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_dispute_steps_dispute_id", "dispute_steps", ["dispute_id"])
    op.create_table(
        "dispute_fees",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("dispute_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("taken_on", sa.String(10), nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_dispute_fees_dispute_id", "dispute_fees", ["dispute_id"])
