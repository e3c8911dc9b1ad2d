"""The log of events: what came in, who has taken it, and its replay."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiergate.cli.common import NOT_READY, Commands, config_option, load_settings, refuse

if TYPE_CHECKING:
    from canonical.event_log import LoggedEvent, ReplayPlan, ReplayRequest, SubscriberStatus
    from tiergate.event_log import Records

SILENT = 60.0
"""Seconds without progress after which nobody seems to carry out a replay."""
LOOK_EVERY = 0.5
MOST = 1000
"""Events that are listed at the most."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print it for a machine.")
since_option = click.option("--since", type=click.DateTime(), help="From this moment on (UTC).")
until_option = click.option("--until", type=click.DateTime(), help="Up to this moment (UTC).")
type_option = click.option("--type", "event_type", help="Only events of this type.")
object_option = click.option("--object", "subject", help="Only events about this record, by the id in them.")
from_option = click.option("--from", "from_number", type=int, help="From this number on.")
to_option = click.option("--to", "to_number", type=int, help="Up to this number.")
CRITERIA = (since_option, until_option, from_option, to_option, type_option, object_option)


def of_some(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which events are meant."""
    for option in reversed(CRITERIA):
        command = option(command)
    return command


@click.group(cls=Commands)
def events() -> None:
    """Read the log of events, and replay parts of it."""


@events.command("list")
@of_some
@click.option("--limit", type=click.IntRange(1, MOST), default=25, show_default=True, help="So many, the newest first.")
@json_option
@config_option
def list_(config: Path, limit: int, *, as_json: bool, **criteria: Any) -> None:
    """List events, newest first: number, when it came, type, what it is about, and who has not taken it."""
    from tiergate.event_log import OPERATOR, records

    with records(load_settings(config)) as found:
        items: list[LoggedEvent] = []
        cursor: str | None = None
        while len(items) < limit:
            page = found.event_log.page(OPERATOR, _wanted(**criteria), cursor, min(100, limit - len(items)))
            items += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    if as_json:
        click.echo(_json(items))
        return
    for each in items:
        click.echo(_line(each))
    click.echo(f"{len(items)} events" + ("; there are more" if cursor else ""))


@events.command()
@click.argument("number", type=click.IntRange(min=1))
@json_option
@config_option
def show(number: int, config: Path, *, as_json: bool) -> None:
    """Show the event with a NUMBER, who has taken it, and what it set in motion."""
    from tiergate.event_log import OPERATOR, records

    with records(load_settings(config)) as found:
        detail = found.event_log.find(OPERATOR, number)
    if detail is None:
        refuse([f"there is no event {number}: it was never there, or was kept long enough"], NOT_READY)
    if as_json:
        click.echo(_json(detail))
        return
    event = detail.logged.event
    click.echo(_line(detail.logged))
    click.echo(f"  id {event.id} of {event.source}, of {event.time:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"  correlation id {detail.logged.correlation_id}")
    for name, value in event.data.items():
        click.echo(f"  {name}: {value}")
    click.echo(f"  taken by {', '.join(detail.taken_by) or 'nobody'}")
    for each in detail.set_in_motion:
        click.echo(f"  {each.kind} {each.id}: {each.state}")


@events.command()
@json_option
@config_option
def subscribers(config: Path, *, as_json: bool) -> None:
    """List who reacts to which types of events, and how far each is."""
    from tiergate.event_log import records

    with records(load_settings(config)) as found:
        known = found.event_log.subscribers()
    if as_json:
        click.echo(_json(known))
        return
    for each in known:
        click.echo(f"{each.name}: {_far(each)}")
        for event_type in each.types:
            click.echo(f"  {event_type}")


@events.command()
@of_some
@click.option("--subscriber", help="Only the reactions of this one.")
@click.option("--per-second", type=click.IntRange(1, 50), default=20, show_default=True, help="How many in a second.")
@click.option("--go", is_flag=True, help="Carry it out; without it, only say what would be done.")
@json_option
@config_option
def replay(config: Path, per_second: int, *, go: bool, as_json: bool, **criteria: Any) -> None:
    """Say what a replay of events would do; with --go, carry it out by the process layers that run."""
    from policies.problems import ProblemError
    from tiergate.event_log import records

    with records(load_settings(config)) as found:
        try:
            plan = found.replay(_wanted(per_second=per_second, go=go, **criteria))
        except ProblemError as problem:
            refuse([problem.detail, *(f"{each.path}: {each.reason}" for each in problem.errors)], NOT_READY)
        if as_json:
            click.echo(_json(plan))
            return
        _show(plan, go=go)
        if plan.begun:
            _follow(found, plan)


def _show(plan: ReplayPlan, *, go: bool) -> None:
    between = f", numbers {plan.first} to {plan.last}" if plan.events else ""
    click.echo(f"{plan.events:,} events{between}")
    for each in plan.shares:
        click.echo(f"  {each.subscriber}: {each.type}: {each.events - each.missing:,} done, {each.missing:,} missing")
    if plan.erased:
        click.echo(f"  {plan.erased:,} name people who were erased since, and are left out")
    if not plan.missing:
        click.echo("nothing changes: all of it is done")
    elif not go:
        click.echo(f"{plan.missing:,} would be reacted to again; nothing was changed: --go carries it out")


def _follow(found: Records, plan: ReplayPlan) -> None:
    """Say how far a replay is until it has ended. Interrupted, it goes on by itself."""
    left = plan.missing
    moved = time.monotonic()
    while left:
        now = found.event_log.waiting(plan.first or 0, plan.last or 0)
        if now != left:
            left, moved = now, time.monotonic()
            click.echo(f"{max(0, plan.missing - left):,} of {plan.missing:,} were replayed")
        elif time.monotonic() - moved > SILENT:
            click.echo(f"{left:,} still wait: does a process layer run? It goes on with them by itself.")
            sys.exit(NOT_READY)
        time.sleep(LOOK_EVERY)


def _wanted(since: datetime | None, until: datetime | None, event_type: str | None, **criteria: Any) -> ReplayRequest:
    from canonical.event_log import ReplayRequest

    moments = {name: at.replace(tzinfo=UTC) for name, at in (("since", since), ("until", until)) if at}
    return ReplayRequest(type=event_type, **moments, **criteria)


def _far(each: SubscriberStatus) -> str:
    if each.oldest is None:
        return "has taken all"
    oldest = f"the oldest is {each.oldest} of {_utc(each.oldest_at)}"
    return f"{each.waiting} waiting, {each.left_to_people} left to people, {oldest}"


def _line(each: LoggedEvent) -> str:
    missing = f", not taken by {', '.join(each.not_taken_by)}" if each.not_taken_by else ""
    left = " (left to people)" if missing and each.next_attempt_at is None else ""
    return f"{each.number:>8} {_utc(each.logged_at)} {each.event.type} {each.event.subject}{missing}{left}"


def _utc(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else "of an unknown time"


def _json(answer: Any) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(answer)).decode()
