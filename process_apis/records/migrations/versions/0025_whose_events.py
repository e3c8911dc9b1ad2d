"""Whose records events are about: who may see one is known without reading it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
works_with_former = True


def upgrade() -> None:
    op.add_column("events", sa.Column("legal_entity", sa.String(20), nullable=False, server_default=""))
    op.add_column("events", sa.Column("customer_id", sa.String(120), nullable=False, server_default=""))
