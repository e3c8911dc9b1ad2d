"""The mappings of the platforms: whether each fits its platform as it is at this moment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import BAD_SETTINGS, NOT_READY, Commands, config_option, load_settings, platforms_of, refuse

if TYPE_CHECKING:
    from system_apis.connector import Comparable
    from tiergate.platforms import ConnectedPlatform
    from tiergate.settings import Settings


@click.group(cls=Commands)
def mapping() -> None:
    """Look at what the platforms' own fields, values and records are called here."""


@mapping.command()
@click.option("--instance", help="The platform, by its name in the catalogue. [default: all]")
@click.option("--deal", default="", help="The deal that is shown. [default: the newest one that was won]")
@config_option
def check(instance: str | None, deal: str, config: Path) -> None:
    """Hold what is needed of each platform against it: all that does not fit, with its key and the remedy.

    Of a CRM a real deal is shown too, with what is in its fields and what that is here.
    """
    settings = load_settings(config)
    platforms = platforms_of(settings)
    if instance and instance not in platforms:
        refuse([f"the catalogue has no platform {instance!r}; it has {', '.join(platforms)}"])
    wanted = [platforms[instance]] if instance else list(platforms.values())
    sys.exit(asyncio.run(_check(settings, wanted, deal)))


async def _check(settings: Settings, platforms: list[ConnectedPlatform], deal: str) -> int:
    """Print what does not fit. Return the exit code."""
    from canonical.faults import PlatformFault
    from system_apis.connector import Comparable
    from tiergate.composition import connectors_of

    code = 0
    async with connectors_of(settings, platforms) as connectors:
        for name, connector in connectors.items():
            if not isinstance(connector, Comparable):
                click.echo(f"{name}: nothing of it can be compared: it has no mapping")
                continue
            try:
                fits = await _fits(name, connector)
                readable = await _show(name, connector, deal)
            except PlatformFault as fault:
                click.echo(f"{name}: {fault}")
                code = NOT_READY
            else:
                code = code if fits and readable else code or BAD_SETTINGS
    return code


async def _fits(name: str, connector: Comparable) -> bool:
    """Print what does not fit. Return whether nothing of it holds work up."""
    found = await connector.misfits()
    for each in found:
        click.echo(f"{name}: {each.what}\n    {each.remedy}")
    if not found:
        click.echo(f"{name}: everything fits")
    return not any(each.blocks for each in found)


async def _show(name: str, connector: object, record_id: str) -> bool:
    """Print what the mapping makes of a real record. Return whether all of it can be read."""
    from canonical.faults import NotFound, Rejected
    from system_apis.connector import Exemplified

    if not isinstance(connector, Exemplified):
        return True
    try:
        shown, fields = await connector.example(record_id)
    except (NotFound, Rejected) as fault:  # there is none yet; or a field that was named above is not there
        click.echo(f"{name}: no example: {fault.reason}")
        return not record_id
    click.echo(f"{name}: the deal {shown}, as it is there and here")
    width, theirs = (
        max(map(len, column)) for column in zip(*((each.field, each.theirs) for each in fields), strict=True)
    )
    for each in fields:
        after = each.after if each.readable else f"cannot be read: {each.after}"
        click.echo(f"  {each.field:{width}}  {each.theirs:{theirs}}  {each.before!r} → {after!r}")
    return all(each.readable for each in fields)
