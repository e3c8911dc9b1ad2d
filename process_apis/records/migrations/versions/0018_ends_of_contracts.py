"""When a contract ends to which an amendment has given another term."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
works_with_former = True


def upgrade() -> None:
    op.add_column("amendments", sa.Column("ends_at", sa.String(40)))
