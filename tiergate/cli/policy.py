"""The catalogue: what is wrong with it, what it decides, what a change of it changes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import (
    BAD_SETTINGS,
    CLIENT,
    OPERATION,
    Commands,
    catalogue_file,
    governing_catalogue,
    load_catalogue,
    optional_config_option,
    refuse,
    shown,
)


@click.group(cls=Commands)
def policy() -> None:
    """Look at the catalogue: what is wrong with it, what it decides, what a change of it changes.

    Where no file is named, it is the catalogue of the settings.
    """


@policy.command()
@click.argument("file", type=catalogue_file, required=False)
@optional_config_option
def check(file: Path | None, config: Path | None) -> None:
    """Say everything that is wrong with a catalogue: line, key and remedy."""
    from canonical.ids import utc_now
    from policies.catalogue.check import read

    path = file or governing_catalogue(config)
    catalogue, violations = read(path.read_bytes(), utc_now().date())
    for each in violations:
        click.echo(f"{shown(path)}:{each.line}: {each.key}: {each.reason}\n    {each.remedy}")
    if violations or catalogue is None:
        sys.exit(BAD_SETTINGS)
    operations = sum(len(each.operations) for each in catalogue.apis.values())
    click.echo(
        f"{shown(path)}: {len(catalogue.apis)} APIs, {operations} operations, {len(catalogue.clients)} clients: fine"
    )


@policy.command()
@click.argument("client", type=CLIENT)
@click.argument("operation", type=OPERATION)
@click.option("--catalogue", "file", type=catalogue_file, help="The catalogue, if it is not the one of the settings.")
@optional_config_option
def explain(client: str, operation: str, file: Path | None, config: Path | None) -> None:
    """Say what would happen if CLIENT called OPERATION, and which line decides each part."""
    from canonical.ids import utc_now
    from policies.catalogue.document import text_of
    from policies.catalogue.explain import Unknown
    from policies.chain.pipeline import explain

    path = file or governing_catalogue(config)
    try:
        found = explain(load_catalogue(path), text_of(path.read_bytes()), client, operation, utc_now().date())
    except Unknown as error:
        refuse([str(error)])
    click.echo(f"{client} {'may' if found.allowed else 'may not'} call {operation}, by {shown(path)}")
    for each in found.decisions:
        click.echo(f"  {each.policy:15} {each.outcome}  ({path.name}:{each.line})")


@policy.command()
@click.argument("files", type=catalogue_file, nargs=-1, metavar="[BEFORE] AFTER")
@optional_config_option
def diff(files: tuple[Path, ...], config: Path | None) -> None:
    """Say in words what changes for which client between two catalogues, or between the one of the settings and
    AFTER."""
    from policies.catalogue.diff import diff

    match files:
        case (before, after):
            pass
        case (after,):
            before = governing_catalogue(config)
        case _:
            raise click.UsageError("name the new catalogue, or the one before and the new one")
    click.echo(f"From {shown(before)} to {shown(after)}:")
    for each in diff(load_catalogue(before), load_catalogue(after)) or ["Nothing changes for anybody."]:
        click.echo(each)
