"""Connections to databases, each made with the password as it is then."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from policies.store.secret import Secret

GONE_AFTER = 10
"""Seconds after which a server that acknowledges nothing is given up: a cable that was pulled says nothing."""
NETWORK = {
    "connect_timeout": GONE_AFTER // 2,
    "tcp_user_timeout": GONE_AFTER * 1000,
    "keepalives_idle": GONE_AFTER // 2,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""How connections to PostgreSQL notice that (libpq: Parameter Key Words)."""
IDLE_SECONDS = 15
"""Seconds after which PostgreSQL ends a transaction whose client asks nothing more: one that was cut off from it in the
middle does not lock out the others for as long as it is away. None of ours waits for anybody."""


def database_at(url: str, password: Secret, settings: str = "", **options: Any) -> sa.Engine:
    """Return an engine with `options` of SQLAlchemy; `settings` are PostgreSQL's own for each connection.

    What the URL says of the connection goes before what is usual here. Raises `ArgumentError` for an address that is
    none, `ImportError` for a database that we have no driver for.
    """
    address = sa.make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() == "postgresql":
        ends = f"-c idle_in_transaction_session_timeout={IDLE_SECONDS * 1000}"
        usual = NETWORK | {"options": f"{ends} {settings}".strip()}
        arguments = {name: value for name, value in usual.items() if name not in address.query}
        options |= {"pool_pre_ping": True, "connect_args": arguments}
    engine = sa.create_engine(address, **options)
    if password:

        def log_in(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
            options["password"] = password.reveal()

        event.listen(engine, "do_connect", log_in)
    return engine
