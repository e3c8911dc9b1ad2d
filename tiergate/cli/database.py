"""The tables of the process layer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import NOT_READY, Commands, config_option, load_settings


@click.group(cls=Commands)
def database() -> None:
    """Look at the tables of the process layer, and upgrade them."""


@database.command()
@config_option
def status(config: Path) -> None:
    """Say which revision the tables have, which one this version needs, and what an upgrade would do (then exit with
    3)."""
    from process_apis.records.revisions import REVISIONS, pending, revision, title
    from tiergate.composition import process_database

    with process_database(load_settings(config)) as engine:
        with engine.connect() as connection:
            found = revision(connection)
        click.echo(
            f"{engine.dialect.name} database {engine.url.database}: it has {found or 'no revision'} "
            f"and needs {REVISIONS[-1]}"
        )
        missing = pending(found)
        for each in missing:
            click.echo(f"  to do: {each} {title(each)}")
    if missing:
        sys.exit(NOT_READY)


@database.command()
@config_option
def upgrade(config: Path) -> None:
    """Bring the tables to the revision that this version needs. Layers that start do it by themselves."""
    from process_apis.records.revisions import REVISIONS, upgrade
    from tiergate.composition import instances_of, process_database

    settings = load_settings(config)
    with process_database(settings) as engine:
        added = upgrade(engine, instances_of(settings))
    click.echo(
        f"upgraded: {', '.join(added)}" if added else f"nothing to do: the tables have the revision {REVISIONS[-1]}"
    )
