"""The leases of jobs that one process at a time does: a lease ends by itself unless it is renewed."""

from __future__ import annotations

import sqlalchemy as sa

from process_apis.records.database import insert_once, leases, writing

RENEW = (
    leases.update()
    .where(
        leases.c.name == sa.bindparam("of"),
        sa.or_(leases.c.holder == sa.bindparam("by"), leases.c.until < sa.bindparam("now")),
    )
    .values(holder=sa.bindparam("by"), until=sa.bindparam("ends"))
)


def hold(engine: sa.Engine, name: str, holder: str, now: float, seconds: float) -> bool:
    """Take or renew the lease of a job for `seconds`. Return whether `holder` has it; `now` is in seconds since
    1970."""
    ends = now + seconds
    with writing(engine) as connection:
        if connection.execute(RENEW, {"of": name, "by": holder, "now": now, "ends": ends}).rowcount:
            return True
        return insert_once(connection, leases, {"name": name, "holder": holder, "until": ends})
