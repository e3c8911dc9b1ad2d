"""A posting knows that people have seen to it in another way: it is not one that still fails."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("postings", sa.Column("skipped", sa.Boolean, nullable=False, server_default=sa.false()))
