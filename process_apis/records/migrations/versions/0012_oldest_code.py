"""The tables say which code still works on them: replicas of two versions run beside each other during an upgrade."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
works_with_former = True


def upgrade() -> None:
    op.create_table("oldest_code", sa.Column("revision", sa.String(10), primary_key=True))
