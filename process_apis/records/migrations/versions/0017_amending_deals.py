"""Deals of the CRM that change contracts, each with the amendment that it has become."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "amending_deals",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("crm", sa.String(40), nullable=False),
        sa.Column("deal_id", sa.String(120), nullable=False),
        sa.Column("deal_state", sa.String(40), nullable=False),
        sa.Column("deal_revision", sa.Integer, nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("key_revision", sa.Integer, nullable=False),
        sa.Column("amendment_id", sa.String(120), nullable=False),
        sa.Column("shown", sa.String(40), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("crm", "deal_id"),
    )
    for column in ("amendment_id", "contract_id", "next_attempt_at"):
        op.create_index(f"ix_amending_deals_{column}", "amending_deals", [column])
