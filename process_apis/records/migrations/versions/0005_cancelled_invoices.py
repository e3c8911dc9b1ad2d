"""A posting knows that billing voided its invoice or wrote it off: what was booked is taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("postings", sa.Column("cancelled", sa.String(20), nullable=False, server_default=""))
