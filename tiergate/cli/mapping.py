"""The mappings of the platforms: whether each fits its platform as it is at this moment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import BAD_SETTINGS, NOT_READY, config_option, load_settings, platforms_of, refuse

if TYPE_CHECKING:
    from tiergate.platforms import ConnectedPlatform
    from tiergate.settings import Settings


@click.group()
def mapping() -> None:
    """Look at what the platforms' own fields, values and records are called here."""


@mapping.command()
@click.option("--instance", help="The platform, by its name in the catalogue. [default: each that can be compared]")
@config_option
def check(instance: str | None, config: Path) -> None:
    """Hold what is needed of each platform against it: all that does not fit, with its key and the remedy."""
    settings = load_settings(config)
    platforms = platforms_of(settings)
    if instance and instance not in platforms:
        refuse([f"the catalogue has no platform {instance!r}; it has {', '.join(platforms)}"])
    wanted = [platforms[instance]] if instance else list(platforms.values())
    sys.exit(asyncio.run(_check(settings, wanted)))


async def _check(settings: Settings, platforms: list[ConnectedPlatform]) -> int:
    """Print what does not fit. Return the exit code."""
    from canonical.faults import PlatformFault
    from system_apis.connector import Comparable
    from tiergate.composition import connectors_of

    code = 0
    async with connectors_of(settings, platforms) as connectors:
        for name, connector in connectors.items():
            if not isinstance(connector, Comparable):
                continue
            try:
                found = await connector.misfits()
            except PlatformFault as fault:
                click.echo(f"{name}: {fault}")
                code = NOT_READY
                continue
            for each in found:
                click.echo(f"{name}: {each.what}\n    {each.remedy}")
            if any(each.blocks for each in found):
                code = code or BAD_SETTINGS
            if not found:
                click.echo(f"{name}: everything fits")
    return code
