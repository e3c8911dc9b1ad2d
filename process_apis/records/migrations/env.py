"""Where Alembic begins: it runs in the transaction of the connection that it is handed, which holds the lock."""

from __future__ import annotations

from alembic import context

from process_apis.records.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
