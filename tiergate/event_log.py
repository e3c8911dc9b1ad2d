"""The event log and the lineage of records for commands: as the process layer has them, from its tables."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from canonical.event_log import LoggedEvent, ReplayPlan, ReplayRequest
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


LOOK_BACK = 100
"""Events that are read again while others come in."""
PAGE = 100


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


def followed(event_log: EventLog, wanted: ReplayRequest, last: int, rest: Callable[[], None]) -> Iterator[LoggedEvent]:
    """Yield the `last` events of those that are wanted, oldest first, and then each as it comes in. It rests between
    two looks, and has no end.

    A number may come in after a higher one, whose transaction ended first: each look goes back over some of them.
    """
    before = event_log.page(OPERATOR, wanted, None, max(1, last)).items
    yield from reversed(before[:last])
    reached = _newest(event_log)
    shown = {each.number for each in _since(event_log, wanted, reached)}
    while True:
        rest()
        newest = _newest(event_log)
        found = _since(event_log, wanted, reached)
        yield from (each for each in found if each.number not in shown)
        reached, shown = newest, {each.number for each in found}


def _newest(event_log: EventLog) -> int:
    return next((each.number for each in event_log.page(OPERATOR, ReplayRequest(), None, 1).items), 0)


def _since(event_log: EventLog, wanted: ReplayRequest, reached: int) -> list[LoggedEvent]:
    """Return the wanted events from shortly before number `reached` on, oldest first."""
    looked = msgspec.structs.replace(wanted, from_number=max(1, reached - LOOK_BACK))
    page = event_log.page(OPERATOR, looked, None, PAGE)
    found = list(page.items)
    while page.next_cursor is not None:
        page = event_log.page(OPERATOR, looked, page.next_cursor, PAGE)
        found += page.items
    return found[::-1]


def lineage_of(settings: Settings, wanted: str, as_of: datetime | None) -> Lineage | None:
    """Return all that happened to a record, None when there is none. Raises as `process_tables` does."""
    with process_tables(settings) as database:
        return lineage(database, open_catalogue(settings).current, OPERATOR, wanted, as_of)
