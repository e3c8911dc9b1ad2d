"""Work on cases: what each is worth and until when, who has it, and notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
works_with_former = True
"""It only adds. Cases that code before it opens come first where those that are due do: nobody knows until when."""


def upgrade() -> None:
    op.add_column("cases", sa.Column("currency", sa.String(3), nullable=False, server_default=""))
    op.add_column("cases", sa.Column("amount", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("cases", sa.Column("due_at", sa.String(40), nullable=False, server_default=""))
    op.add_column("cases", sa.Column("assigned_to", sa.String(120), nullable=False, server_default=""))
    op.create_index("ix_cases_due", "cases", ["state", "team", "due_at", "seq"])
    op.create_index("ix_cases_amount", "cases", ["state", "team", "currency", "amount", "seq"])
    op.create_table(
        "case_notes",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("case_id", sa.String(120), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("written_by", sa.String(120), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
    )
    op.create_index("ix_case_notes_case_id", "case_notes", ["case_id"])
