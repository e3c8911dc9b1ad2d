"""Usage corrections: what is proposed where records came after their period was charged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
works_with_former = False
"""It only adds. But code before it removes records of a period, and does not say that the period is not whole."""


def upgrade() -> None:
    op.add_column("usage_periods", sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_table(
        "usage_corrections",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("period_id", sa.String(120), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("meter", sa.String(40), nullable=False),
        sa.Column("sku", sa.String(120), nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("charged", sa.String(40), nullable=False),
        sa.Column("settled", sa.String(40), nullable=False),
        sa.Column("quantity", sa.String(40), nullable=False),
        sa.Column("difference", sa.String(40), nullable=False),
        sa.Column("currency", sa.String(3)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("invoice_id", sa.String(120), nullable=False),
        sa.Column("line", sa.String(120), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("sent_by", sa.Text, nullable=False),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("reference", sa.String(120), nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("found_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("period_id", "number"),
    )
    for column in ("contract_id", "customer_id", "next_attempt_at"):
        op.create_index(f"ix_usage_corrections_{column}", "usage_corrections", [column])
