"""Postings are done in batches: each knows the workflow of the batch that it was last in, and waits for its turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
works_with_former = True


def upgrade() -> None:
    op.add_column("postings", sa.Column("batch", sa.String(160), nullable=False, server_default=""))
    op.create_index("ix_postings_contract_id", "postings", ["contract_id"])
