"""Customers that are on a platform already are taken over: which record a customer is, as it was decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "matches",
        sa.Column("customer_id", sa.String(120), primary_key=True),
        sa.Column("platform", sa.String(40), primary_key=True),
        sa.Column("record", sa.String(255)),
        sa.UniqueConstraint("platform", "record"),
    )
