"""An event of the log knows which subscribers have not taken it, and when they are tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
works_with_former = True


def upgrade() -> None:
    op.add_column("events", sa.Column("untaken", sa.String(255), nullable=False, server_default=""))
    op.add_column("events", sa.Column("run", sa.Integer, nullable=False, server_default="0"))
    op.add_column("events", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("events", sa.Column("next_attempt_at", sa.String(40)))
    op.create_index("ix_events_subject", "events", ["subject"])
    untaken = sa.text("untaken != ''")
    op.create_index("ix_events_untaken", "events", ["next_attempt_at"], sqlite_where=untaken, postgresql_where=untaken)
