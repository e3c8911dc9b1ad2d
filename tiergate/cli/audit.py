"""The record of who did what."""

from __future__ import annotations

import sys
from contextlib import closing
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
    from policies.audit.records import sealing_key
    from policies.audit.verify import verify

    settings = load_settings(config)
    whole = True
    for layer in LAYERS.choices:
        files = settings.audit_files(layer)
        if not files.exist() and not files.head.exists():
            continue
        count, broken = verify(files, sealing_key(settings.audit_key()))
        whole = whole and not broken
        click.echo(f"{layer}: {count} records, {'as they were written' if not broken else 'NOT as they were written'}")
        for each in broken:
            click.echo(f"  {each.path}{f':{each.line}' if each.line else ''}: {each.reason}")
    if not whole:
        sys.exit(FAILED)
    _say_when_none(settings)


@audit.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
def prune(config: Path, *, dry_run: bool) -> None:
    """Remove the records that were kept as long as the catalogue says. Running layers do it by themselves."""
    from canonical.ids import utc_now
    from policies.audit.log import AuditLog
    from policies.audit.records import sealing_key
    from policies.audit.retention import due, remove_due
    from tiergate.composition import open_catalogue

    settings = load_settings(config)
    catalogue, now, key = open_catalogue(settings).current, utc_now(), sealing_key(settings.audit_key())
    for layer in LAYERS.choices:
        files = settings.audit_files(layer)
        if not files.exist():
            continue
        if dry_run:
            click.echo(f"{layer}: {due(files, key, catalogue, now)} records were kept long enough")
        else:
            with closing(AuditLog(files, key)) as log:
                click.echo(f"{layer}: {remove_due(log, catalogue, now)} records removed")
    _say_when_none(settings)


def _say_when_none(settings: Settings) -> None:
    """Name the folder when it holds no log, as when the settings are not those of the layers that run."""
    folder = settings.audit_files("process").log.parent
    if not any(settings.audit_files(layer).exist() for layer in LAYERS.choices):
        click.echo(f"there are no records in {folder}")


@audit.command()
@config_option
@click.option("--since", type=click.DateTime(), help="Only records of this time (UTC) or later.")
@click.option("--until", type=click.DateTime(), help="Only records before this time (UTC).")
@click.option("--client", help="Only what this client did.")
def export(config: Path, since: datetime | None, until: datetime | None, client: str | None) -> None:
    """Write the records of all layers to standard output, one JSON object a line, in the order of their time."""
    from policies.audit.verify import export

    settings = load_settings(config)
    logs = [settings.audit_files(layer) for layer in LAYERS.choices]
    if client and next(export(logs, None, None, client), None) is None:  # one of a former client stays
        require_client(client, load_catalogue(settings.governance.path()).clients)
    for line in export(logs, since, until, client):
        click.echo(line)
