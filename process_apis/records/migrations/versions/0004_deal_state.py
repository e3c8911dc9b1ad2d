"""An order knows which state of its deal was seen last: what a deal does after it was sold is no second sale."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("orders", sa.Column("deal_state", sa.String(40), nullable=False, server_default=""))
