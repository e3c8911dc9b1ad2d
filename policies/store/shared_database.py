"""What replicas on several machines share, in PostgreSQL: documents, and leases.

It has a schema of its own, so that it can be in the database of the process layer or in another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from policies.store.databases import database_at
from policies.store.documents import StoreAway
from policies.store.leases import SECONDS, LeaseLost
from policies.store.secret import Secret

SCHEMA = "tiergate_shared"
CONNECTIONS = 2
TIME_LIMIT = 5
"""Seconds that the database has for a lock, an answer, and others of this process for their use of it."""
metadata = sa.MetaData(schema=SCHEMA)
documents = sa.Table(
    "documents",
    metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("holder", sa.String(120), nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
)
NOW = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))


class SharedDatabase:
    """The database, for one replica that is called `holder`."""

    def __init__(self, url: str, password: Secret, holder: str) -> None:
        """Raises as `database_at` does."""
        limits = f"-c statement_timeout={TIME_LIMIT}s -c lock_timeout={TIME_LIMIT}s"
        self._engine = database_at(
            url, password, limits, pool_size=1, max_overflow=CONNECTIONS - 1, pool_timeout=TIME_LIMIT
        )
        self.holder = holder

    def prepare(self) -> None:
        """Make the tables, once, whichever replica comes first. Raises `StoreAway`."""
        with self.transaction() as connection:
            # a name is looked up without a right to create: who runs the database may have made them
            if connection.scalar(sa.select(sa.func.to_regclass(f"{SCHEMA}.leases"))) is None:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(SCHEMA))))
                connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
                metadata.create_all(connection)

    @contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """Begin a transaction and end it with the block. Raises `StoreAway` when the database does not do it."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreAway(f"the shared database does not answer: {type(cause).__name__}") from error

    def now(self) -> datetime:
        """Return the database's time, UTC. Raises `StoreAway`."""
        with self.transaction() as connection:
            return connection.execute(sa.select(NOW)).scalar_one().astimezone(UTC)

    def close(self) -> None:
        self._engine.dispose()


class DatabaseDocument:
    """A document in the shared database. With a `lease`, only who holds that may change it."""

    def __init__(self, database: SharedDatabase, name: str, lease: DatabaseLease | None = None) -> None:
        self._database = database
        self._name = name
        self._lease = lease

    def read(self) -> bytes:
        with self._database.transaction() as connection:
            return connection.scalar(sa.select(documents.c.content).where(documents.c.name == self._name)) or b""

    def change(self, act: Callable[[bytes], bytes]) -> None:
        """Change it as any document. Raises `LeaseLost` besides."""
        mine = documents.c.name == self._name
        with self._database.transaction() as connection:
            if self._lease is not None:
                self._lease.require(connection)
            connection.execute(insert(documents).values(name=self._name, content=b"").on_conflict_do_nothing())
            found = connection.scalar(sa.select(documents.c.content).where(mine).with_for_update()) or b""
            connection.execute(documents.update().where(mine).values(content=act(found)))


class DatabaseLease:
    """A lease in the shared database."""

    def __init__(self, database: SharedDatabase, name: str, seconds: float = SECONDS) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._mine = sa.and_(leases.c.name == name, leases.c.holder == database.holder)

    def renew(self) -> bool:
        until = NOW + sa.func.make_interval(0, 0, 0, 0, 0, 0, self._seconds)
        values = {"holder": self._database.holder, "until": until}
        free = sa.or_(leases.c.holder == self._database.holder, leases.c.until < NOW)
        take = insert(leases).values(name=self._name, **values)
        take = take.on_conflict_do_update(index_elements=[leases.c.name], set_=values, where=free)
        with self._database.transaction() as connection:
            return connection.execute(take.returning(leases.c.name)).first() is not None

    def release(self) -> None:
        with self._database.transaction() as connection:
            connection.execute(leases.delete().where(self._mine))

    def require(self, connection: sa.Connection) -> None:
        """Hold the lease until the transaction of `connection` ends. Raises `LeaseLost` when another replica has it."""
        if connection.scalar(sa.select(leases.c.holder).where(self._mine).with_for_update(read=True)) is None:
            raise LeaseLost(f"another replica holds the lease {self._name}")
