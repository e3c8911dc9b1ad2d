"""Where everything stands, and what happens, in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import NOT_READY, config_option, load_settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from canonical.event_log import LoggedEvent
    from canonical.overview import RecordsInState
    from tiergate.status import Status

LOOK_EVERY = 0.5
MOST_BEFORE = 100
"""Events that are shown of the time before."""
MINUTE, HOUR, DAY = 60, 3600, 86400


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@config_option
def status(config: Path, *, as_json: bool) -> None:
    """Say where everything stands: orders, postings, cases, layers and platforms.

    What is counted by the layers needs server.metrics_token. Exits with 3 when a layer does not answer.
    """
    import msgspec

    from tiergate.status import status_of

    found = status_of(load_settings(config))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        from rich.console import Console

        console = Console(highlight=False)
        for each in _tables(found):
            console.print(each)
    sys.exit(0 if found.is_well else NOT_READY)


@click.command()
@click.option("--type", "event_type", help="Only events of this type.")
@click.option("--object", "subject", help="Only events about this record, by the id in them.")
@click.option("--last", type=click.IntRange(0, MOST_BEFORE), default=10, show_default=True, help="First the last ones.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@config_option
def tail(config: Path, event_type: str | None, subject: str | None, last: int, *, as_json: bool) -> None:
    """Follow events live, until it is interrupted."""
    import msgspec

    from canonical.event_log import ReplayRequest
    from tiergate.event_log import followed, records

    wanted = ReplayRequest(type=event_type, subject=subject)
    show: Callable[[LoggedEvent], str] = (lambda each: msgspec.json.encode(each).decode()) if as_json else _line
    with records(load_settings(config)) as found:
        try:
            for each in followed(found.event_log, wanted, last, lambda: time.sleep(LOOK_EVERY)):
                click.echo(show(each))
                sys.stdout.flush()
        except KeyboardInterrupt:
            return


def _line(each: LoggedEvent) -> str:
    at = f"{each.logged_at.astimezone(UTC):%H:%M:%S}" if each.logged_at else " " * 8
    said = " ".join(
        f"{name}={value}" for name, value in each.event.data.items() if name in {"order", "contract", "state"}
    )
    missing = f" not taken by {', '.join(each.not_taken_by)}" if each.not_taken_by else ""
    return f"{at} {each.event.type.removeprefix('com.tiergate.')} {each.event.subject} {said}{missing}".rstrip()


def _tables(found: Status) -> Sequence[RenderableType]:
    from rich.table import Table

    flow = found.flow
    work = Table("what", "state", "how many", "oldest", "worth", title="Business", title_justify="left")
    groups = (
        ("orders", flow.orders),
        ("changes", flow.amendments),
        ("postings", flow.postings),
        ("debts", flow.dunnings),
        ("disputes", flow.disputes),
    )
    for name, counts in groups:
        for each in counts:
            work.add_row(name, each.state, f"{each.count:,}", _since(each, flow.as_of), ", ".join(map(str, each.worth)))
    for team in flow.cases:
        oldest = _age((flow.as_of - team.oldest_since).total_seconds()) if team.oldest_since else ""
        for kind, count in team.kinds.items():
            work.add_row("cases", f"{team.team}: {kind}", f"{count:,}", oldest, "")
    for outage in flow.incidents:
        waits = f"waits for {outage.platform}"
        work.add_row("outage", waits, "", _age((flow.as_of - outage.since).total_seconds()), "")
    for title, median in (
        ("close to active", found.close_to_active),
        ("finalized to posted", found.finalized_to_posted),
    ):
        if median is not None:
            work.add_row(title, f"half within {_age(median)}", "", "", "")

    layers = Table("layer", "is", "requests", "server errors", "late or failed", title="Layers", title_justify="left")
    for layer in found.layers:
        wrong = [f"{name}: {said}" for name, said in layer.entries.items() if not said.startswith("ok")]
        counted = (layer.requests, layer.server_errors, layer.missed)
        shown = ("" if each is None else f"{each:,}" for each in counted)
        layers.add_row(layer.layer, "\n".join(wrong) or "ok", *shown)

    platforms = Table(
        "platform", "is", "calls", "failed", "feed's age", "quota left", title="Platforms", title_justify="left"
    )
    for platform in found.platforms:
        platforms.add_row(
            platform.platform,
            "left alone after failures" if platform.breaker_open else "ok",
            f"{platform.calls:,}",
            f"{platform.failed_calls:,}",
            "" if platform.feed_age is None else _age(platform.feed_age),
            "" if platform.quota_left is None else f"{platform.quota_left:.0%}",
        )
    return (work, layers, platforms) if found.platforms else (work, layers)


def _since(each: RecordsInState, now: datetime) -> str:
    return _age((now - each.oldest_since).total_seconds()) if each.oldest_since else ""


def _age(seconds: float) -> str:
    """Return a span in the largest unit that it has at least one of."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
