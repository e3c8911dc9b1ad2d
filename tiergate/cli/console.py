"""The console: links with which people sign in."""

from __future__ import annotations

from pathlib import Path

import click

from tiergate.cli.common import NOT_READY, Commands, config_option, load_settings, refuse

LONGEST = 120
"""Characters of a person: so many are kept of who decided."""


@click.group(cls=Commands)
def console() -> None:
    """Let people into the console."""


@console.command("link")
@click.argument("person")
@click.option("--role", "roles", multiple=True, help="A role of the catalogue; several for one who has several.")
@click.option("--name", default="", help="What the person is called on the pages.")
@config_option
def link(person: str, roles: tuple[str, ...], name: str, config: Path) -> None:
    """Print a link with which PERSON signs in, once, within ten minutes. Without --role with all roles."""
    from policies.store.documents import StoreAway
    from tiergate.people import sign_in_link

    settings = load_settings(config)
    if not person.strip() or max(len(person), len(name)) > LONGEST:
        raise click.UsageError(f"a person is named with 1 to {LONGEST} characters")
    try:
        click.echo(sign_in_link(settings, person, roles, name))
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    except StoreAway as error:
        refuse([f"the sessions cannot be written: {error}"], NOT_READY)
