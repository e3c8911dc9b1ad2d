"""An event is kept once and reacted to by all who subscribed, each time it is offered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from canonical.events import Event
from canonical.ids import utc_now
from process_apis.events.dispatch import Dispatcher
from process_apis.records.database import open_database
from process_apis.records.revisions import upgrade
from process_apis.runtime.capability import Reaction

EVENT = Event(
    id="1", source="crm", type="com.tiergate.crm.deal.closed.v1", subject="006", time=datetime(2026, 3, 1, tzinfo=UTC)
)


def test_all_who_subscribed_react_and_a_repeat_keeps_the_first_correlation_id(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    upgrade(database)
    reacted: list[tuple[str, str, str]] = []

    def subscribed(name: str) -> dict[str, Reaction]:
        return {EVENT.type: lambda event, correlation_id: reacted.append((name, event.subject, correlation_id))}

    dispatcher = Dispatcher(database, [subscribed("one"), subscribed("two")], utc_now)

    new = [dispatcher.take(EVENT, correlation_id) for correlation_id in ("cor_1", "cor_2")]
    database.dispose()

    assert new == [True, False]
    assert reacted == [("one", "006", "cor_1"), ("two", "006", "cor_1")] * 2


def test_an_event_that_nobody_subscribed_to_is_kept(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'process.sqlite'}")
    upgrade(database)
    dispatcher = Dispatcher(database, [], utc_now)

    new = [dispatcher.take(EVENT, "cor_1") for _ in range(2)]
    database.dispose()

    assert new == [True, False]
