"""Preparing the platforms for the first deal."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from tiergate.cli.common import BAD_SETTINGS, FAILED, NOT_READY, config_option, load_catalogue, load_settings, refuse

if TYPE_CHECKING:
    from canonical.faults import PlatformFault
    from policies.catalogue.model import Domain
    from policies.store.secret import Secret
    from tiergate.platforms import PlatformToPrepare
    from tiergate.settings import Settings

DOMAINS: click.Choice[Domain] = click.Choice(["crm", "erp", "billing"])
ADMINISTRATOR = "TIERGATE_SETUP_ADMINISTRATOR"


@click.command()
@click.argument("domain", type=DOMAINS)
@click.argument("instance")
@click.option("--yes", is_flag=True, help="Do it. Without this nothing is changed.")
@click.option("--remove", is_flag=True, help="Take away what setup made, and nothing else.")
@click.option("--url", default="", help="The public address of the system layer. [default: server.public_url]")
@config_option
def setup(domain: Domain, instance: str, url: str, config: Path, *, yes: bool, remove: bool) -> None:
    """Create on a platform what Tiergate needs there, after showing it.

    Without --yes it only says what is there, what is missing and what would be done, and exits with 3 when something
    is left to do. It is done with our own credentials, or with those of an administrator in the variable
    TIERGATE_SETUP_ADMINISTRATOR: an access token, an API key, or USER:PASSWORD, as the platform has them.
    """
    from tiergate.platforms import load_platform
    from tiergate.settings import HttpUrl

    settings = load_settings(config)
    if url:
        try:
            msgspec.convert(url, HttpUrl)
        except msgspec.ValidationError:
            refuse(["--url: it is to begin with http:// or https://"])
        settings = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, public_url=url))
    catalogue = load_catalogue(settings.governance.path())
    known = catalogue.instances(domain)
    if instance not in known:
        refuse([f"the catalogue has no {domain} {instance!r}; it has {', '.join(known)}"], BAD_SETTINGS)
    found = load_platform(settings, catalogue, os.environ, instance)
    sys.exit(asyncio.run(prepare(settings, found, yes=yes, remove=remove)))


async def prepare(settings: Settings, found: PlatformToPrepare, *, yes: bool, remove: bool) -> int:
    """Show the steps of a setup or of its removal, and take them if `yes`. Return the exit code."""
    from canonical.faults import PlatformFault
    from policies.store.secret import Secret
    from tiergate.setup import keep, setup_of

    administrator = Secret(os.environ.get(ADMINISTRATOR, ""))
    try:
        async with setup_of(settings, found, administrator) as work:
            steps = await (work.removal() if remove else work.steps())
            for each in steps:
                if not yes or each.act is None:
                    click.echo(f"{each.state:8} {each.what}" + (f"\n         {each.plan}" if each.plan else ""))
            for each in steps if yes else ():
                if each.act is not None:
                    note = keep(await each.act(), found)
                    click.echo(f"done     {each.what}" + (f"\n         {note}" if note else ""))
    except PlatformFault as fault:
        click.echo(f"tiergate: {found.platform.name}: {fault.reason}{_hint(fault, administrator)}", err=True)
        return FAILED if yes else NOT_READY
    if not steps:
        click.echo("There is nothing.")
    to_do = [each for each in steps if each.act is not None]
    if to_do and not yes:
        click.echo("Nothing was changed. Add --yes to do it.")
    for_people = [each for each in steps if each.state in {"missing", "wrong"} and each.act is None]
    return NOT_READY if for_people or (to_do and not yes) else 0


def _hint(fault: PlatformFault, administrator: Secret) -> str:
    """Return what else may help where a platform refuses what is asked with these credentials."""
    from canonical.faults import Misconfigured, Rejected

    if not isinstance(fault, Rejected):
        return ""
    if not administrator:
        return f", or put an administrator's credentials in {ADMINISTRATOR}"
    return f" ({ADMINISTRATOR} has the ones that were used)" if isinstance(fault, Misconfigured) else ""
