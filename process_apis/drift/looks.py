"""Looks for drift: at one customer or contract at a time, without anybody waiting for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.drift import Drift
from canonical.faults import TRANSIENT, NotFound, Rejected
from canonical.ids import is_identifier
from policies.context import correlation
from policies.context.correlation import correlated
from process_apis.drift.comparison import NotKnown, OnItsWay
from process_apis.drift.contracts import ContractLook
from process_apis.drift.customers import CustomerLook
from process_apis.drift.records import Drifts
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome

Look = CustomerLook | ContractLook
log = structlog.get_logger("tiergate.drift")


def look_at(context: WorkflowContext, record: str) -> Look:
    """Return what the owners and the other systems say of a customer or a contract now. Raises `OnItsWay`,
    `NotKnown` for a record that is not known, and leaves of `PlatformFault`."""
    return CustomerLook(context, record) if is_identifier(record, "cus") else ContractLook(context, record)


def keep(records: Drifts, record: str, look: Look) -> list[Drift]:
    """Keep what a look has seen. Return the differences that are there. Their values are not logged: they may name
    people."""
    found = records.see(record, look.customer_id, look.compared, correlation.current())
    for each in found:
        log.info("drift", record=record, field=each.field, system=each.system, owner=each.owner, state=each.state)
    return found


@DBOS.dbos_class("DriftLooks")
class DriftLooks(DBOSConfiguredInstance):
    """Looks at one record whose turn it is."""

    def __init__(self, context: WorkflowContext, records: Drifts) -> None:
        super().__init__("drift_looks")
        self._context = context
        self._records = records

    @DBOS.workflow(name="DriftLooks.run")
    def run(self, record: str) -> Outcome:
        return self.look(record)

    @DBOS.step(name="DriftLooks.look")
    @resumable
    def look(self, record: str) -> Outcome:
        """Look at a record, or plan when to try again. What another run has seen to is not done again."""
        expected = self._records.expected_look(record)
        if expected is None:
            return "done"
        with correlated(expected.correlation_id):
            again, attempts = self._look(record, expected.attempts + 1)
        self._records.settle_look(expected, again, attempts)
        return "stopped" if again else "done"

    def _look(self, record: str, attempts: int) -> tuple[datetime | None, int]:
        """Return when to try again, None for a look that is done, and how often it has failed in a row."""
        context = self._context
        try:
            keep(self._records, record, look_at(context, record))
        except OnItsWay:  # it may wait for people for days
            return retry(context, attempts).at, attempts
        except TRANSIENT as fault:
            return retry(context, attempts, fault.retry_after).at, attempts
        except NotKnown:  # what another installation has written to the same platform, for example
            log.warning("not compared", record=record, reason="it is not known")
        except (Rejected, NotFound) as fault:  # the next sweep comes by again
            log.warning("not compared", record=record, platform=fault.platform, field=fault.field)
        return None, 0

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(look_run(row.id, run), self.run, (row.id,))


def look_run(record: str, run: int) -> str:
    """Return the identity of a look at a record."""
    return f"drift:{record}:{run}"


class LooksInHand:
    """Says of which looks a run is at work."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine

    def __call__(self, row: sa.Row[Any]) -> datetime | None:
        return self._context.stalled_at() if self._engine.is_running(look_run(row.id, row.run)) else None
