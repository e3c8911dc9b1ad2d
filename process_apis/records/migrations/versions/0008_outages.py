"""What waits for a platform knows for which one, and since when: an outage is one case, where each order and posting
had its own."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
OPEN = sa.text("state = 'open'")
BLOCKED = sa.text("blocked_by IS NOT NULL")
OF_OUTAGES = ("waiting_for_platform", "invoice_not_posted", "payment_not_posted")
ALONE = ["retry"]
"""The actions of a posting's case that was opened for an outage: of one that failed there are two."""


def upgrade() -> None:
    for table in ("orders", "postings", "customers"):
        op.add_column(table, sa.Column("blocked_by", sa.String(40)))
        op.add_column(table, sa.Column("blocked_since", sa.String(40)))
        op.create_index(
            f"ix_{table}_blocked_by", table, ["blocked_by", "seq"], sqlite_where=BLOCKED, postgresql_where=BLOCKED
        )
    op.add_column("orders", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("orders", sa.Column("currency", sa.String(3)))
    op.add_column("orders", sa.Column("amount", sa.BigInteger))
    op.create_index("ix_cases_open_kind", "cases", ["kind"], sqlite_where=OPEN, postgresql_where=OPEN)
    _close_cases_of_one_record()


def _close_cases_of_one_record() -> None:
    """Close what was opened for each record that met an outage. What still waits is seen to by the next failure."""
    columns = map(sa.column, ("id", "kind", "state", "document"))
    cases, connection = sa.table("cases", *columns), op.get_bind()
    found = sa.select(cases).where(cases.c.state == "open", cases.c.kind.in_(OF_OUTAGES))
    now = datetime.now(UTC).isoformat()
    for row in connection.execute(found).all():
        document = msgspec.json.decode(row.document)
        if document["actions"] != ALONE:
            continue
        closed = {"state": "resolved", "resolved_at": now, "resolution": "an outage is one case of its platform now"}
        changed = cases.update().where(cases.c.id == row.id)
        connection.execute(changed.values(state="resolved", document=msgspec.json.encode(document | closed)))
