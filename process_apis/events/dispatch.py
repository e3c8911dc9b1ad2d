"""What an event sets in motion: it is kept in the log, and the reactions of those who subscribed are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from canonical.events import Event
from canonical.ids import Clock
from process_apis.events import log
from process_apis.runtime.capability import Reaction


class Dispatcher:
    """Takes events in."""

    def __init__(self, database: sa.Engine, subscriptions: Iterable[Mapping[str, Reaction]], clock: Clock) -> None:
        """Each of the `subscriptions` names the types of events that somebody reacts to, and how."""
        self._database = database
        self._clock = clock
        self._reactions: defaultdict[str, list[Reaction]] = defaultdict(list)
        for subscription in subscriptions:
            for event_type, reaction in subscription.items():
                self._reactions[event_type].append(reaction)

    def take(self, event: Event, correlation_id: str) -> bool:
        """Keep the event and react to it. A repeat is reacted to again, since the first time may have been cut short:
        that changes nothing when it was not. Return whether it was new."""
        new, correlation_id = log.append(self._database, event, correlation_id, self._clock())
        for reaction in self._reactions.get(event.type, ()):
            reaction(event, correlation_id)
        return new
