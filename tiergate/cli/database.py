"""The tables of the process layer."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import NOT_READY, config_option, load_settings, refuse

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.group()
def database() -> None:
    """Look at the tables of the process layer, and upgrade them."""


@contextmanager
def _database(config: Path) -> Generator[Engine]:
    """Return the process layer's database, as long as the block lasts. Trouble with it is reported in a sentence."""
    from sqlalchemy.exc import OperationalError

    from process_apis.records.database import open_database
    from process_apis.records.revisions import RevisionError

    engine = open_database(load_settings(config).process_database())
    try:
        yield engine
    except RevisionError as error:
        refuse([str(error)])
    except OperationalError as error:
        click.echo(f"tiergate: the database is out of reach: {error.orig}", err=True)
        sys.exit(NOT_READY)
    finally:
        engine.dispose()


@database.command()
@config_option
def status(config: Path) -> None:
    """Say which revision the tables have, which one this version needs, and what an upgrade would do (then exit with
    3)."""
    from process_apis.records.revisions import REVISIONS, pending, revision, title

    with _database(config) as engine:
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
    from tiergate.composition import instances_of

    with _database(config) as engine:
        added = upgrade(engine, instances_of(load_settings(config)))
    click.echo(
        f"upgraded: {', '.join(added)}" if added else f"nothing to do: the tables have the revision {REVISIONS[-1]}"
    )
