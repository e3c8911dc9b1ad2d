"""Terms that end: what becomes of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "renewals",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("mode", sa.String(20), nullable=False),
        sa.Column("ends_on", sa.String(10), nullable=False),
        sa.Column("renews_until", sa.String(10)),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("mrr_before", sa.BigInteger, nullable=False),
        sa.Column("mrr_after", sa.BigInteger, nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("crm", sa.String(40), nullable=False),
        sa.Column("deal_id", sa.String(120), nullable=False),
        sa.Column("deal_lost", sa.Boolean, nullable=False),
        sa.Column("asked_again", sa.Boolean, nullable=False),
        sa.Column("found_again", sa.Integer, nullable=False),
        sa.Column("amendment_id", sa.String(120), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("found_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("contract_id", "ends_on"),
    )
    for column in ("contract_id", "customer_id", "deal_id", "ends_on", "next_attempt_at"):
        op.create_index(f"ix_renewals_{column}", "renewals", [column])
