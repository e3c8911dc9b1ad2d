"""An order knows the revision that the CRM had of its deal: that of an order which sells a deal again is higher."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
works_with_former = True


def upgrade() -> None:
    op.add_column("orders", sa.Column("deal_revision", sa.Integer))
