"""What an event sets in motion: it is kept in the log, and the reactions of those who subscribed are called.

A reaction that fails holds up neither the other reactions nor the events behind it: its event waits, and is tried again
ever more seldom. After some failures it is a case of the team that the event belongs to, and is tried no more until
somebody says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from traceback import extract_tb
from typing import Any

import sqlalchemy as sa
import structlog

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.events import Event
from canonical.process_events import PROCESS_EVENTS
from canonical.states import IllegalTransition
from process_apis.events import log
from process_apis.records.cases import OF_EVENT
from process_apis.records.database import UNTAKEN, events, writing
from process_apis.runtime.agenda import CASE_AFTER, Agenda, Due, retry
from process_apis.runtime.capability import Capability, CaseOwner, Next, Reaction, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import AWAY

KIND: CaseKind = "event_not_taken"
LONGEST_REASON = 300
"""Characters of what an exception says."""
logger = structlog.get_logger("tiergate.events")


class Dispatcher:
    """Takes events in."""

    def __init__(self, context: WorkflowContext, subscriptions: Mapping[str, Mapping[str, Reaction]]) -> None:
        """`subscriptions` are by the name of the subscriber: the types of events that it reacts to, and how. Raises
        `ValueError` for an event of our own records: who is inside reads the records."""
        for name, reactions in subscriptions.items():
            if own := PROCESS_EVENTS.keys() & reactions.keys():
                raise ValueError(f"{name} subscribes to {', '.join(sorted(own))}, which call nobody inside")
        self._context = context
        self._subscriptions = subscriptions

    def take(self, event: Event, correlation_id: str) -> bool:
        """Keep the event and react to it. A repeat is reacted to again, since the first time may have been cut short:
        that changes nothing when it was not. Return whether it was new."""
        context = self._context
        names = [name for name, reactions in self._subscriptions.items() if event.type in reactions]
        found = log.append(
            context.database, event, correlation_id, context.clock(), subscribers=names, look_again=context.stalled_at()
        )
        if not found.is_left_to_people:
            failed = self._react(event, found.correlation_id, names)
            if failed:
                self._postpone(event, found.correlation_id, failed, found.attempts)
            elif found.is_untaken:
                log.set_taken(context.database, event)
        return found.is_new

    # ---- events that were not taken

    def capability(self) -> Capability:
        """Return what looks after events that were not taken: the poll, and people."""
        due = Due(Agenda(self._context, events, only=UNTAKEN), self._again)
        return Capability("events", due=[due], cases=CaseOwner(frozenset({KIND}), self._act))

    def _again(self, row: sa.Row[Any], _: int) -> None:
        """React again, for those that have not taken the event. It is done at once: a reaction only starts work."""
        event = log.EVENT.decode(row.document)
        failed = self._react(event, row.correlation_id, row.untaken.split())
        if failed:
            self._postpone(event, row.correlation_id, failed, row.attempts)
            return
        log.set_taken(self._context.database, event)
        if row.attempts:
            self._context.cases.resolve(f"{OF_EVENT}{row.seq}", "it was taken", KIND)

    def _act(self, case: Case, action: Action) -> Next:
        """React again, or leave the event to people. The first failure opens another case."""
        number, database = int(case.subject.removeprefix(OF_EVENT)), self._context.database
        if action != "retry":
            return nothing
        if not log.look_again(database, number, self._context.stalled_at(), CASE_AFTER - 1):
            raise IllegalTransition("the event was taken, or is not kept any more")
        return partial(log.look_again, database, number, self._context.clock(), CASE_AFTER - 1)

    # ---- reacting

    def _react(self, event: Event, correlation_id: str, names: Iterable[str]) -> dict[str, Exception]:
        """Call the reactions of subscribers. Return those that failed, and why. Raises one of `AWAY` when the database
        cannot be used: then nothing can be noted down either, and the source offers the event again."""
        failed: dict[str, Exception] = {}
        for name in names:
            reaction = self._subscriptions.get(name, {}).get(event.type)
            try:
                if reaction is not None:  # else it does not subscribe any more
                    reaction(event, correlation_id)
            except AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - whatever fault one subscriber has, the others go on
                failed[name] = error
                about = {"type": event.type, "subscriber": name, "reason": type(error).__name__}
                logger.warning("an event was not taken", **about, place=_place(error), correlation_id=correlation_id)
        return failed

    def _postpone(self, event: Event, correlation_id: str, failed: Mapping[str, Exception], attempts: int) -> None:
        """Let those that failed try again later, or people decide."""
        context = self._context
        attempts += 1
        again = retry(context, attempts)
        with writing(context.database) as connection:
            at = None if again.needs_case else again.at
            number = log.set_untaken(connection, event, failed, attempts, at)
            if again.needs_case:
                self._open(connection, event, correlation_id, failed, number)

    def _open(
        self,
        connection: sa.Connection,
        event: Event,
        correlation_id: str,
        failed: Mapping[str, Exception],
        number: int,
    ) -> None:
        why = "; ".join(f"{name} cannot take it: {_said(error)}" for name, error in sorted(failed.items()))
        self._context.cases.open(
            KIND,
            f"{OF_EVENT}{number}",
            Finding(event.type, why, event.source.partition("/")[0]),
            ("retry", "skip"),
            correlation_id=correlation_id,
            legal_entity=event.data.get("legal_entity", ""),
            customer_id=event.data.get("customer", ""),
            given={"event": event.id, "source": event.source, "subject": event.subject},
            connection=connection,
        )


def _place(error: Exception) -> str:
    """Return where an exception was raised. Its text may hold a record's fields."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{last.name}, line {last.lineno}"


def _said(error: Exception) -> str:
    """Return what an exception says, without what follows in other lines: a statement with its values."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:LONGEST_REASON]}" if first else type(error).__name__
