"""A customer knows with which other one it shares its account, since accounts were merged in the CRM."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("customers", sa.Column("shares_with", sa.String(120), nullable=False, server_default=""))
    op.create_index("ix_customers_shares_with", "customers", ["shares_with"])
