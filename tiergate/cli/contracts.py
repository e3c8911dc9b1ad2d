"""The contracts of the APIs."""

from __future__ import annotations

from pathlib import Path

import click

from tiergate.cli.common import refuse, shipped_catalogue


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("openapi"),
    show_default=True,
    help="The folder to write to.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing: judge the contracts, and compare them with what was released."
)
@click.option("--release", is_flag=True, help="Release the contracts as they are: from now on they must not break.")
def openapi(into: Path, *, check: bool, release: bool) -> None:
    """Write the contract of every API and of the events, and the diagrams of the documentation; judge or release
    them."""
    if (check or release) and not any(into.glob("*.json")):
        refuse([f"there are no contracts in {into}: run it in a checkout, or name their folder with --into"])
    from tiergate.contracts import checks, diagrams
    from tiergate.contracts.write import write, write_schema

    if not check:
        for path in [
            *write(into),
            write_schema(shipped_catalogue().with_name("catalogue.schema.json")),
            diagrams.draw(),
            *map(diagrams.draw, diagrams.GUIDES),
        ]:
            click.echo(path)
    if check or release:
        wrong = checks.judged(into)
        for each in wrong:
            click.echo(each, err=True)
        if wrong:
            raise SystemExit(1)
    if release:
        checks.release(into)
