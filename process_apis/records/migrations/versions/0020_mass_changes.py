"""Mass changes, and the change of each contract in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
works_with_former = True
"""It only adds, and code before it has nothing of the kind."""


def upgrade() -> None:
    op.create_table(
        "mass_changes",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False, unique=True),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("undoing", sa.Boolean, nullable=False),
        sa.Column("sku", sa.String(120), nullable=False),
        sa.Column("requested_by", sa.String(120), nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("cursor", sa.String(20)),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40), index=True),
        sa.Column("requested_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "mass_change_items",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("mass_change_id", sa.String(120), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("mrr_before", sa.BigInteger, nullable=False),
        sa.Column("mrr_after", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("amendment_id", sa.String(120), nullable=False, index=True),
        sa.Column("reversal_id", sa.String(120), nullable=False, index=True),
        sa.Column("asked_at", sa.String(40)),
        sa.UniqueConstraint("mass_change_id", "contract_id"),
    )
    op.create_index("ix_mass_change_items_in_turn", "mass_change_items", ["mass_change_id", "state"])
