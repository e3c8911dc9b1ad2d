"""The keys that tokens of the local issuer are signed with."""

from __future__ import annotations

from pathlib import Path

import click

from tiergate.cli.common import Commands, config_option, load_settings, refuse, shared_state


@click.group("keys", cls=Commands)
def keys() -> None:
    """Keys that tokens of the local issuer are signed with."""


@keys.command("list")
@config_option
def list_keys(config: Path) -> None:
    """Print the public keys of all replicas: id, since when, until when if it is not published again, by whom."""
    from datetime import UTC, datetime

    shared = shared_state(load_settings(config))
    ring = shared.keys
    valid = ring.directory().valid(shared.clock().timestamp())
    for name, key in sorted(valid.items(), key=lambda each: each[1].since):
        since, until = (
            datetime.fromtimestamp(each, UTC).isoformat(timespec="seconds") for each in (key.since, key.until)
        )
        signs = "  signs here" if name == ring.signs.key_id else ""
        click.echo(f"{name}  {since}  {until}  {key.by}{signs}")


@keys.command("rotate")
@config_option
def rotate(config: Path) -> None:
    """Make a new key for the layers of this state folder. It signs after a minute; tokens of the one before stay
    good."""
    settings = load_settings(config)
    if settings.governance.issuer_key_file:
        refuse(["governance.issuer_key_file names the key: put a new one there, in every replica"])
    click.echo(f"made: {shared_state(settings).keys.follow()}. It signs after a minute, when all replicas know it.")


ANY_ID = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""A thumbprint may begin with a hyphen, and is no option then."""


@keys.command("withdraw", context_settings=ANY_ID)
@click.argument("key_id", metavar="ID")
@config_option
def withdraw(key_id: str, config: Path) -> None:
    """Let a key count no more, and no token that it has signed, in every replica within ten seconds. The replica that
    has it makes a new one."""
    if not shared_state(load_settings(config)).keys.withdraw(key_id):
        refuse([f"no replica has published a key {key_id!r}: see `tiergate keys list`"])
    click.echo(f"withdrawn: {key_id}, and every token that it has signed")
