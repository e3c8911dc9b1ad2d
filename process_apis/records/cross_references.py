"""Which record on which platform is which record of ours."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from canonical.ids import Prefix, derived
from process_apis.records.database import insert_once, references, writing

CANONICAL = sa.select(references.c.canonical_id).where(
    references.c.kind == sa.bindparam("kind"),
    references.c.platform == sa.bindparam("platform"),
    references.c.foreign_id == sa.bindparam("foreign_id"),
)

MOVE = (
    references.update()
    .where(
        references.c.kind == sa.bindparam("of_kind"),
        references.c.platform == sa.bindparam("at"),
        references.c.foreign_id == sa.bindparam("of"),
        references.c.canonical_id == sa.bindparam("before"),
    )
    .values(canonical_id=sa.bindparam("to"))
)


def canonical_id(engine: sa.Engine, kind: Prefix, platform: str, foreign_id: str) -> str:
    """Return our id for a platform's record, derived from it on first sight. It may be another one since: that of an
    earlier version, or of a record that was merged into it. Two at once get the same: the database decides."""
    wanted = {"kind": kind, "platform": platform, "foreign_id": foreign_id}
    with engine.connect() as connection:
        known = connection.scalar(CANONICAL, wanted)
    if known:
        return str(known)
    given = derived(kind, platform, foreign_id)
    with writing(engine) as connection:
        if insert_once(connection, references, wanted | {"canonical_id": given}):
            return given
        return str(connection.execute(CANONICAL, wanted).scalar_one())


def move(engine: sa.Engine, kind: Prefix, platform: str, foreign_id: str, before: str | None, to: str) -> None:
    """Let a platform's record be another one of ours than `before` (None: it was none yet), unless that has changed."""
    with writing(engine) as connection:
        move_in(connection, kind, platform, foreign_id, before, to)


def move_in(
    connection: sa.Connection, kind: Prefix, platform: str, foreign_id: str, before: str | None, to: str
) -> bool:
    """Move a record as `move` does, in the caller's transaction. Return whether it was moved."""
    if before is None:
        record = {"kind": kind, "platform": platform, "foreign_id": foreign_id, "canonical_id": to}
        return insert_once(connection, references, record)
    at = {"of_kind": kind, "at": platform, "of": foreign_id, "before": before}
    return connection.execute(MOVE, at | {"to": to}).rowcount == 1


def foreign_ids(kind: Prefix, platform: str, canonical_ids: Collection[str]) -> sa.Select[str]:
    """Return the query for what a platform calls some records of ours."""
    return sa.select(references.c.foreign_id).where(
        references.c.kind == kind, references.c.platform == platform, references.c.canonical_id.in_(canonical_ids)
    )


def known(engine: sa.Engine, kind: Prefix, platform: str, foreign_ids: tuple[str, ...]) -> dict[str, str]:
    """Return our ids for those of a platform's records that we have seen."""
    if not foreign_ids:
        return {}
    query = sa.select(references.c.foreign_id, references.c.canonical_id).where(
        references.c.kind == kind, references.c.platform == platform, references.c.foreign_id.in_(foreign_ids)
    )
    with engine.connect() as connection:
        return {row.foreign_id: row.canonical_id for row in connection.execute(query)}
