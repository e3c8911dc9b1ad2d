"""How many orders and postings there are in each state is counted from an index."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
works_with_former = True


def upgrade() -> None:
    op.create_index("ix_orders_received_at_state", "orders", ["received_at", "state"])
    op.create_index("ix_postings_in_turn", "postings", ["contract_id", "kind", "state", "seq"])
