"""The event log and the lineage of records for commands: as the process layer has them, from its tables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from canonical.event_log import ReplayPlan, ReplayRequest
from canonical.ids import Clock
from canonical.lineage import Lineage
from policies.identity.authentication import Principal
from process_apis.app import CAPABILITIES
from process_apis.events.event_log import EventLog
from process_apis.lineage import lineage
from process_apis.runtime.engine import Engine, EngineSettings
from tiergate.composition import open_catalogue, process_context, process_tables
from tiergate.recorded import record
from tiergate.settings import Settings
from tiergate.shared import SharedState

OPERATION = "replay_events"
"""What the audit log calls it."""
SCOPES = frozenset({"orders:read", "postings:read", "cases:read", "events:read", "events:replay"})
OPERATOR = Principal("tiergate", "tiergate", SCOPES, frozenset({"*"}), "", 0.0, 0.0)
"""The one who runs the layers, and may read all that they have."""


class Records:
    """The process layer's records, for who runs it."""

    def __init__(self, settings: Settings, event_log: EventLog, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.event_log = event_log

    def replay(self, wanted: ReplayRequest) -> ReplayPlan:
        """Do as `EventLog.replay`, with a record in the audit log of what is begun."""
        if wanted.go:
            asked = msgspec.to_builtins(wanted)
            what = " ".join(f"{name}={value}" for name, value in asked.items() if value is not None and name != "go")
            record(self._settings, "process", OPERATION, what, self._clock())
        return self.event_log.replay(OPERATOR, wanted)


@contextmanager
def records(settings: Settings) -> Generator[Records]:
    """Yield the process layer's records. Raises as `process_tables` does."""
    with process_tables(settings) as database:
        live_catalogue, shared = open_catalogue(settings), SharedState(settings)
        try:
            context = process_context(settings, database, live_catalogue, shared, lambda: "")
            engine = Engine(EngineSettings(settings.process_database(), "command"), database, shared.clock)
            capabilities = [capability(context, engine) for capability in CAPABILITIES]
            event_log = EventLog(database, shared.clock, capabilities, settings.process.event_days)
            yield Records(settings, event_log, shared.clock)
        finally:
            shared.close()


def lineage_of(settings: Settings, wanted: str, as_of: datetime | None) -> Lineage | None:
    """Return all that happened to a record, None when there is none. Raises as `process_tables` does."""
    with process_tables(settings) as database:
        return lineage(database, open_catalogue(settings).current, OPERATOR, wanted, as_of)
