"""The lease of a workflow: of the process that runs it, until another takes it over.

The engine gives each run of a workflow a token, and checks it at what it writes itself. Here it is checked at what we
write.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from dbos import DBOS
from dbos._context import current_owner_xid
from dbos._error import DBOSWorkflowConflictIDError


def require(connection: sa.Connection) -> None:
    """Keep the lease of the workflow that this thread runs until the transaction ends; outside of a workflow there is
    none.

    Raises the engine's own error, which is no `Exception`, when another process has it: the workflow ends here without
    a trace, and has the outcome that it has there.
    """
    workflow_id = DBOS.workflow_id
    token = current_owner_xid(workflow_id) if workflow_id else None
    if workflow_id is None or token is None:
        return
    if connection.scalar(_token(connection.dialect.name), {"of": workflow_id}) != token:
        raise DBOSWorkflowConflictIDError(workflow_id)


@cache
def _token(dialect: str) -> sa.Select[Any]:
    columns = map(sa.column, ("workflow_uuid", "owner_xid"))
    runs = sa.table("workflow_status", *columns, schema=None if dialect == "sqlite" else "dbos").c
    return sa.select(runs.owner_xid).where(runs.workflow_uuid == sa.bindparam("of")).with_for_update(key_share=True)
