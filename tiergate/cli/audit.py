"""The record of who did what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import FAILED, LAYERS, Commands, config_option, load_catalogue, load_settings, require_client

if TYPE_CHECKING:
    from datetime import datetime

    from tiergate.settings import Settings


@click.group(cls=Commands)
def audit() -> None:
    """Look at the record of who did what."""


@audit.command()
@config_option
def verify(config: Path) -> None:
    """Find every record that was changed, moved or taken away, in the log of each layer."""
    from policies.audit.log import sealing_key, verify

    settings = load_settings(config)
    whole = True
    for layer in LAYERS.choices:
        path = settings.audit_log(layer)
        if not path.exists():
            continue
        count, broken = verify(path, sealing_key(settings.audit_key()))
        whole = whole and not broken
        click.echo(f"{layer}: {count} records, {'as they were written' if not broken else 'NOT as they were written'}")
        for each in broken:
            click.echo(f"  {path}:{each.line}: {each.reason}")
    if not whole:
        sys.exit(FAILED)
    _say_when_none(settings)


@audit.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
def prune(config: Path, *, dry_run: bool) -> None:
    """Remove the records that were kept as long as the catalogue says. Running layers do it by themselves."""
    from canonical.ids import utc_now
    from policies.audit.log import sealing_key
    from policies.audit.retention import due, remove_due
    from tiergate.composition import open_catalogue

    settings = load_settings(config)
    catalogue, now = open_catalogue(settings).current, utc_now()
    for layer in LAYERS.choices:
        path = settings.audit_log(layer)
        if dry_run:
            click.echo(f"{layer}: {due(path, catalogue, now)} records were kept long enough")
        else:
            removed = remove_due(path, sealing_key(settings.audit_key()), catalogue, now)
            click.echo(f"{layer}: {removed} records removed")
    _say_when_none(settings)


def _say_when_none(settings: Settings) -> None:
    """Name the folder when it holds no log, as when the settings are not those of the layers that run."""
    folder = settings.audit_log("process").parent
    if not any(settings.audit_log(layer).exists() for layer in LAYERS.choices):
        click.echo(f"there are no records in {folder}")


@audit.command()
@config_option
@click.option("--since", type=click.DateTime(), help="Only records of this time (UTC) or later.")
@click.option("--until", type=click.DateTime(), help="Only records before this time (UTC).")
@click.option("--client", help="Only what this client did.")
def export(config: Path, since: datetime | None, until: datetime | None, client: str | None) -> None:
    """Write the records of all layers to standard output, one JSON object a line, in the order of their time."""
    from policies.audit.log import export

    settings = load_settings(config)
    paths = [settings.audit_log(layer) for layer in LAYERS.choices]
    if client and next(export(paths, None, None, client), None) is None:  # one of a former client stays
        require_client(client, load_catalogue(settings.governance.path()).clients)
    for line in export(paths, since, until, client):
        click.echo(line)
