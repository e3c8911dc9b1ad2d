"""Connections to databases, each made with the password as it is then."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from policies.store.secret import Secret


def database_at(url: str, password: Secret, **options: Any) -> sa.Engine:
    """Return an engine with `options` of SQLAlchemy. Raises `ArgumentError` for an address that is none, `ImportError`
    for a database that we have no driver for."""
    address = sa.make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address, pool_pre_ping=address.get_backend_name() != "sqlite", **options)
    if password:

        def log_in(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
            options["password"] = password.reveal()

        event.listen(engine, "do_connect", log_in)
    return engine
