"""Events and closed cases know since when they are there, and one process at a time removes old ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("events", sa.Column("taken_at", sa.String(40)))
    op.add_column("cases", sa.Column("resolved_at", sa.String(40)))
    op.create_index("ix_cases_resolved_at", "cases", ["resolved_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("holder", sa.String(120), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
