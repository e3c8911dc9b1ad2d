"""Alembic migrations of the tables. `process_apis.records.revisions` decides when they run."""
