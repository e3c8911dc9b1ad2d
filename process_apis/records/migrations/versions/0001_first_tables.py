"""The tables as version 0.1 made them. What is there already stays: its state, which had no revision, becomes this
one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
KEY = sa.String(120)
OPEN = sa.text("state = 'open'")
INDEXED = (
    ("references_", "canonical_id"),
    ("customers", "partner"),
    ("customers", "look_at"),
    ("orders", "customer_id"),
    ("orders", "partner"),
    ("orders", "look_at"),
    ("order_states", "order_id"),
    ("postings", "invoice_id"),
    ("postings", "customer_id"),
    ("postings", "look_at"),
    ("cases", "subject"),
    ("cases", "customer_id"),
)


def upgrade() -> None:
    op.create_table(
        "references_",
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("platform", sa.String(20), primary_key=True),
        sa.Column("foreign_id", KEY, primary_key=True),
        sa.Column("canonical_id", KEY, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "customers",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", KEY, nullable=False, unique=True),
        sa.Column("partner", sa.String(60), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("correlation_id", KEY, nullable=False),
        sa.Column("look_at", sa.String(40)),
        if_not_exists=True,
    )
    op.create_table(
        "orders",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", KEY, nullable=False, unique=True),
        sa.Column("deal_id", KEY, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("waits_for", sa.Text, nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("partner", sa.String(60), nullable=False),
        sa.Column("placed_by", KEY, nullable=False),
        sa.Column("correlation_id", KEY, nullable=False),
        sa.Column("plan", sa.LargeBinary),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("provisioning_attempt", sa.Integer, nullable=False),
        sa.Column("accepts_duplicate", sa.Boolean, nullable=False),
        sa.Column("look_at", sa.String(40)),
        sa.Column("shown", sa.String(40), nullable=False),
        sa.Column("received_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("deal_id", "revision"),
        if_not_exists=True,
    )
    op.create_table(
        "order_states",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("order_id", KEY, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", KEY, primary_key=True),
        sa.Column("line_id", KEY, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("billed", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "postings",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("id", KEY, nullable=False),
        sa.Column("invoice_id", KEY, nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("contract_id", KEY, nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("waits_for", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("currency", sa.String(3)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("tax", sa.BigInteger),
        sa.Column("balance", sa.BigInteger),
        sa.Column("number", sa.String(60), nullable=False),
        sa.Column("correlation_id", KEY, nullable=False),
        sa.Column("look_at", sa.String(40)),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("kind", "id"),
        if_not_exists=True,
    )
    op.create_table(
        "cases",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", KEY, nullable=False, unique=True),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("field", sa.String(120), nullable=False),
        sa.Column("team", sa.String(20), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("customer_id", KEY, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("source", sa.String(60), nullable=False),
        sa.Column("id", KEY, nullable=False),
        sa.Column("type", sa.String(120), nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("correlation_id", KEY, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("source", "id"),
        if_not_exists=True,
    )
    op.create_table(
        "executors",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("beat_at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    for table, column in INDEXED:
        op.create_index(f"ix_{table}_{column}", table, [column], if_not_exists=True)
    op.create_index(
        "one_open_case",
        "cases",
        ["subject", "kind", "field"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
        if_not_exists=True,
    )
