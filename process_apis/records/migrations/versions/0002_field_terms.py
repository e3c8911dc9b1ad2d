"""The columns take the field's own terms: when work is attempted next, why it is blocked, what the CRM was told."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
RENAMED = (
    ("customers", "look_at", "next_attempt_at"),
    ("orders", "look_at", "next_attempt_at"),
    ("orders", "waits_for", "blocked_reason"),
    ("orders", "shown", "crm_status"),
    ("postings", "look_at", "next_attempt_at"),
    ("postings", "waits_for", "blocked_reason"),
)


def upgrade() -> None:
    for table, old, new in RENAMED:
        if old == "look_at":
            op.drop_index(f"ix_{table}_{old}", table)
        op.alter_column(table, old, new_column_name=new)
        if old == "look_at":
            op.create_index(f"ix_{table}_{new}", table, [new])
