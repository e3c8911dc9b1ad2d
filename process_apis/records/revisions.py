"""Which revision the tables of a database have, and how they come to the one that this code needs.

The revisions are a line, each a file in `migrations/versions` whose name begins with its number. One with
`works_with_former` only adds: code that needs the one before goes on working, so that replicas of both run beside each
other during an upgrade. The tables say which is the oldest code that may. Alembic is imported only when there is
something to do: a start on tables that are up to date costs a few queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from process_apis.records.database import OLDEST

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).with_name("migrations")
REVISIONS = tuple(sorted(each.stem.partition("_")[0] for each in MIGRATIONS.glob("versions/*.py")))
"""All that this code knows, the oldest first."""
VERSION = sa.table("alembic_version", sa.column("version_num"))
"""Alembic's own table: one row, once there is a revision."""
LOCK = 7_430_016
"""The number of PostgreSQL's advisory lock under which tables are upgraded."""
NO_INSTANCES: Mapping[str, str] = {}
log = structlog.get_logger("tiergate.records")


class RevisionError(Exception):
    """The tables cannot be used as they are. The message says what to do."""


def prepare(database: sa.Engine, instances: Mapping[str, str] = NO_INSTANCES, *, upgrade_at_start: bool) -> None:
    """Upgrade the tables where they need it; `instances` as for `upgrade`. Raises `RevisionError` for tables of a newer
    version, and for tables that need an upgrade when a start must not do it."""
    with database.connect() as connection:
        found = revision(connection)
        missing = pending(found, oldest_code(connection))
    if not missing:
        return
    if not upgrade_at_start:
        raise RevisionError(
            f"the tables have {found or 'no revision'} and this version of Tiergate needs "
            f"{REVISIONS[-1]}: run `tiergate"
            " database upgrade`, or set process.upgrade_at_start to true"
        )
    if added := upgrade(database, instances):
        log.info("tables upgraded", revisions=added)


def revision(connection: sa.Connection) -> str:
    """Return the revision that the tables have. It is empty without tables, and for tables of a version before the
    first revision."""
    return _noted(connection, VERSION)


def oldest_code(connection: sa.Connection) -> str:
    """Return the revision that code must know to work on the tables; empty where they do not say so."""
    return _noted(connection, OLDEST)


def _noted(connection: sa.Connection, table: sa.TableClause) -> str:
    """Return what the one row of a table says; empty without the table, or the row."""
    if not sa.inspect(connection).has_table(table.name):
        return ""
    return str(connection.scalar(sa.select(table)) or "")


def pending(found: str, oldest: str = "") -> tuple[str, ...]:
    """Return the revisions after `found`, the oldest first. There is none to do on tables of a newer version that say
    that code of `oldest`, which is known here, works on them. Raises `RevisionError` for those of any other."""
    if not found:
        return REVISIONS
    if found not in REVISIONS:
        if oldest in REVISIONS:
            return ()
        raise RevisionError(
            f"the tables have the revision {found}, and this version of Tiergate knows none after "
            f"{REVISIONS[-1]}: start the"
            " version that upgraded them, or restore the backup from before"
        )
    return REVISIONS[REVISIONS.index(found) + 1 :]


def title(number: str) -> str:
    """Return what a revision does, in its own words."""
    return _scripts().get_revision(number).doc


def upgrade(database: sa.Engine, instances: Mapping[str, str] = NO_INSTANCES) -> tuple[str, ...]:
    """Bring the tables to the newest revision, all of it or nothing. `instances` names the platform of each domain that
    has one: records from before instances had names are given to it. Return the revisions that this call added: of
    several processes at once, one adds them and the others wait for it. Raises `RevisionError` for a revision that is
    not known."""
    with database.begin() as connection:
        _lock(connection)
        added = pending(revision(connection), oldest_code(connection))
        if added:
            _run(connection, instances)
            _note_oldest(connection, added)
    return added


def works_with_former(number: str) -> bool:
    """Return whether code of the revision before works on the tables of this one."""
    return bool(getattr(_scripts().get_revision(number).module, "works_with_former", False))


@cache
def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - seldom needed, and slow to import

    return ScriptDirectory(str(MIGRATIONS))


def _note_oldest(connection: sa.Connection, added: tuple[str, ...]) -> None:
    """Note down which code still works on the tables, now that revisions were added."""
    breaking = [each for each in added if not works_with_former(each)]
    present = oldest_code(connection)
    oldest = breaking[-1] if breaking else present or REVISIONS[REVISIONS.index(added[0]) - 1]
    connection.execute(OLDEST.delete())
    connection.execute(OLDEST.insert().values(revision=oldest))


def _lock(connection: sa.Connection) -> None:
    """Wait until no other process upgrades. The lock ends with the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE"
        )  # by itself, a transaction begins only when the first row is written
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def _run(connection: sa.Connection, instances: Mapping[str, str]) -> None:
    from alembic import command  # noqa: PLC0415 - as above
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection, "instances": instances})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
