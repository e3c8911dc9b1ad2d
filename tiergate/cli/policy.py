"""The catalogue: what is wrong with it, what it decides, what a change of it changes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tiergate.cli.common import BAD_SETTINGS, catalogue_file, load_catalogue, refuse, shipped_catalogue


@click.group()
def policy() -> None:
    """Look at the catalogue: what is wrong with it, what it decides, what a change of it changes."""


@policy.command()
@click.argument("file", type=catalogue_file, required=False)
def check(file: Path | None) -> None:
    """Say everything that is wrong with a catalogue (the shipped one if none is named): line, key and remedy."""
    from canonical.ids import utc_now
    from policies.catalogue.check import read

    path = file or shipped_catalogue()
    catalogue, violations = read(path.read_bytes(), utc_now().date())
    for each in violations:
        click.echo(f"{path.name}:{each.line}: {each.key}: {each.reason}\n    {each.remedy}")
    if violations or catalogue is None:
        sys.exit(BAD_SETTINGS)
    operations = sum(len(each.operations) for each in catalogue.apis.values())
    click.echo(
        f"{path.name}: {len(catalogue.apis)} APIs, {operations} operations, {len(catalogue.clients)} clients: fine"
    )


@policy.command()
@click.argument("client")
@click.argument("operation")
@click.option("--catalogue", "file", type=catalogue_file, help="The catalogue, if it is not the shipped one.")
def explain(client: str, operation: str, file: Path | None) -> None:
    """Say what would happen if CLIENT called OPERATION, and which line decides each part."""
    from canonical.ids import utc_now
    from policies.catalogue.explain import Unknown
    from policies.chain.pipeline import explain

    path = file or shipped_catalogue()
    try:
        found = explain(load_catalogue(path), path.read_text(), client, operation, utc_now().date())
    except Unknown as error:
        refuse([str(error)])
    click.echo(f"{client} {'may' if found.allowed else 'may not'} call {operation}")
    for each in found.decisions:
        click.echo(f"  {each.policy:15} {each.outcome}  ({path.name}:{each.line})")


@policy.command()
@click.argument("before", type=catalogue_file)
@click.argument("after", type=catalogue_file)
def diff(before: Path, after: Path) -> None:
    """Say in words what changes for which client between two catalogues."""
    from policies.catalogue.diff import diff

    for each in diff(load_catalogue(before), load_catalogue(after)) or ["Nothing changes for anybody."]:
        click.echo(each)
