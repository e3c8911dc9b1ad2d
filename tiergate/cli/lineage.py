"""All that happened to a record, in every system."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import NOT_READY, config_option, load_settings, refuse

if TYPE_CHECKING:
    from canonical.lineage import Lineage

WIDTH = 100
"""Columns of a terminal."""
SYSTEM = 12
"""Characters for the name of a system."""
INDENT = " " * (19 + 2 + SYSTEM + 1)


@click.command()
@click.argument("record")
@click.option("--as-of", type=click.DateTime(), help="Only what happened up to this moment (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print it for a machine.")
@config_option
def lineage(record: str, as_of: datetime | None, config: Path, *, as_json: bool) -> None:
    """Show all that happened to a RECORD in every system: an order, contract, customer, invoice, payment or case.

    It is named by our id or by a platform's: a deal, an invoice of billing, a number of the books.
    """
    from tiergate.event_log import lineage_of

    moment = as_of.replace(tzinfo=UTC) if as_of else None
    found = lineage_of(load_settings(config), record, moment)
    if found is None:
        refuse([f"there is nothing with the id {record}"], NOT_READY)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for line in lines_of(found):
        click.echo(line)


def lines_of(found: Lineage) -> list[str]:
    """Return a lineage as lines of a terminal: what the records are, and what happened to them."""
    lines: list[str] = []
    for each in found.records:
        state = f" is {each.state.replace('_', ' ')}" if each.state else ""
        ids = ", ".join(f"{name} {its_id}" for name, its_id in sorted(each.references.items()))
        lines += _wrapped(f"{each.kind} {each.id}{state}{f': {ids}' if ids else ''}", "", "  ")
    lines.append("")
    for each in found.entries:
        head = f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {each.system:<{SYSTEM}} "
        lines += _wrapped(each.words, head, INDENT)
        lines += _wrapped(" ".join(filter(None, (*each.records, each.correlation_id))), "  ", "  ")
    if found.left_out:
        lines.append(f"{found.left_out} later entries are left out: ask for a part of it, an order or an invoice")
    return lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
