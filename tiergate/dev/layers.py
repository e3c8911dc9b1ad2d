"""The three layers as processes of one machine. Nothing here needs the packages of the sandbox."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import click

from tiergate.dev.processes import Child, handle_signals, layer_process, stopped_at_the_end, wait_for
from tiergate.settings import Settings
from tiergate.sqlite_version import check_sqlite

LAYERS = ("process", "system", "experience")
START_SECONDS = 60.0


def start_layers(settings: Settings, config: Path, children: list[Child]) -> None:
    """Start the three layers; each is in `children` before it is waited for."""
    check_sqlite(settings)
    ports = {
        "system": settings.server.system_port,
        "process": settings.server.process_port,
        "experience": settings.server.experience_port,
    }
    started = [layer_process(name, config, settings.state) for name in LAYERS]
    children += started
    for child in started:
        wait_for(f"http://{settings.server.host}:{ports[child.name]}/health/live", child, START_SECONDS)


def run_layers(settings: Settings, config: Path) -> None:
    """Run the three layers, until Ctrl-C."""
    with stopped_at_the_end() as children:
        start_layers(settings, config, children)
        for name in LAYERS:
            click.echo(f"{name:12}http://{settings.server.host}:{getattr(settings.server, f'{name}_port')}")
        click.echo("Ctrl-C stops them.")
        wait_for_the_end(children)


def fail(child: Child) -> None:
    """Raise `ClickException` for a child that ended by itself, which ends everything."""
    raise click.ClickException(f"{child.name} ended with {child.process.returncode}; see {child.log}")


def wait_for_the_end(children: list[Child], when_ended: Callable[[Child], None] = fail) -> None:
    """Wait until Ctrl-C, SIGTERM, or the end of the terminal. `when_ended` is called once for each child that ends by
    itself."""
    asked: SimpleQueue[int] = SimpleQueue()  # unlike an event, it may be set by a handler that interrupts its own wait
    handle_signals(lambda number, _frame: asked.put(number), signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    reported: set[str] = set()
    while True:
        with contextlib.suppress(Empty):
            asked.get(timeout=0.5)
            return
        for child in children:
            if child.ended and child.name not in reported:
                reported.add(child.name)
                when_ended(child)
