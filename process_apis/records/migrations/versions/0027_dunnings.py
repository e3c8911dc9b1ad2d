"""What is overdue of contracts, and what follows from that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
works_with_former = True


def upgrade() -> None:
    op.create_table(
        "dunnings",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("contract_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("since", sa.String(40)),
        sa.Column("invoices", sa.LargeBinary, nullable=False),
        sa.Column("suspended", sa.Boolean, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("reported_turn", sa.Integer, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("postponed_until", sa.String(10)),
        sa.Column("amendment_id", sa.String(120), nullable=False),
        sa.Column("blocked_reason", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("found_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("contract_id", "customer_id"),
    )
    for column in ("contract_id", "order_id", "customer_id", "next_attempt_at"):
        op.create_index(f"ix_dunnings_{column}", "dunnings", [column])
    op.create_table(
        "dunning_states",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("dunning_id", sa.String(120), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("owed", sa.BigInteger, nullable=False),
        sa.Column("suspended", sa.Boolean, nullable=False),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_dunning_states_dunning_id", "dunning_states", ["dunning_id"])
