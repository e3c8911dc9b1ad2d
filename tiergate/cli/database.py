"""The tables of the process layer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import NOT_READY, Commands, config_option, load_settings, refuse

WIDTH = 28
"""Characters for the name of a table."""


@click.group(cls=Commands)
def database() -> None:
    """Look at the tables of the process layer, and upgrade them."""


@database.command()
@config_option
def status(config: Path) -> None:
    """Say which revision the tables have, which one this version needs, and what an upgrade would do (then exit with
    3)."""
    from process_apis.records.revisions import REVISIONS, oldest_code, pending, revision, title, works_with_former
    from tiergate.composition import process_database

    with process_database(load_settings(config)) as engine:
        with engine.connect() as connection:
            found = revision(connection)
            missing = pending(found, oldest_code(connection))
        click.echo(
            f"{engine.dialect.name} database {engine.url.database}: it has {found or 'no revision'} "
            f"and needs {REVISIONS[-1]}"
        )
        for each in missing:
            click.echo(f"  to do: {each} {title(each)}")
        if missing and found:
            both = all(map(works_with_former, missing))
            click.echo("Replicas of the present version may run on." if both else "Stop the process layers before it.")
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


@database.command()
@config_option
def size(config: Path) -> None:
    """Say how many rows and bytes each table has, with its indexes, and how many bytes that is for a finished order.
    On a large database it takes as long as to read all of it."""
    from process_apis.records.sizes import SizesUnknown, finished_orders, table_sizes
    from tiergate.composition import process_database

    try:
        with process_database(load_settings(config)) as engine:
            found, orders = table_sizes(engine), finished_orders(engine)
    except SizesUnknown as error:
        refuse([str(error)], NOT_READY)
    click.echo(f"{orders:,} finished orders")
    click.echo(f"{'table':{WIDTH}}{'rows':>12}{'bytes':>16}{'bytes an order':>18}")
    total = sum(each.size for each in found)
    for name, rows, size in [*found, ("all", sum(each.rows for each in found), total)]:
        click.echo(f"{name:{WIDTH}}{rows:>12,}{size:>16,}{size / orders if orders else 0:>18,.0f}")
