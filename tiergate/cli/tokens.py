"""Tokens, and the secrets that clients get them for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiergate.cli.common import (
    CLIENT,
    NOT_READY,
    Commands,
    config_option,
    load_catalogue,
    load_settings,
    refuse,
    require_client,
    shared_state,
)

if TYPE_CHECKING:
    from policies.catalogue.model import Catalogue


@click.command()
@click.argument("client", type=CLIENT)
@config_option
@click.option(
    "--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True, help="How long the token is good."
)
def token(client: str, config: Path, minutes: int) -> None:
    """Print an access token of the local issuer for CLIENT, as the catalogue defines it."""
    from datetime import timedelta

    settings = load_settings(config)
    clients = load_catalogue(settings.governance.path()).clients
    require_client(client, clients)
    shared = shared_state(settings)
    shared.begin_revocations()
    click.echo(shared.issuer().token(client, clients[client], ttl=timedelta(minutes=minutes)))


@click.command()
@click.option("--token", default="", metavar="TOKEN", help="One token: itself, or its id (its `jti`).")
@click.option(
    "--client", type=CLIENT, default="", metavar="CLIENT", help="Every token that this client has got until now."
)
@config_option
def revoke(token: str, client: str, config: Path) -> None:
    """Make tokens worthless, in every replica within five seconds. A client gets new ones for its secrets, until they
    are forgotten."""
    import asyncio

    from policies.store.documents import why_away

    if not token and not client:
        raise click.UsageError("name a --token or a --client")
    settings = load_settings(config)
    catalogue = load_catalogue(settings.governance.path())
    if client:
        require_client(client, catalogue.clients)
    token_id = _token_id(token, catalogue, foreign=bool(settings.governance.issuer)) if token else ""
    shared = shared_state(settings)
    try:
        asyncio.run(shared.revocations().revoke(token=token_id, client=client))
    except OSError as error:
        refuse([f"the revocations cannot be written: {why_away(error)}"], NOT_READY)
    if token:
        click.echo(f"revoked: the token {token_id}")
    if client:
        click.echo(f"revoked: every token that {client} has got until now")
        if settings.governance.issuer:
            click.echo(f"It can still get new ones from {settings.governance.issuer}: lock it out there.")
        elif shared.client_secrets().count(client):
            click.echo(
                "Its secrets still work, for new tokens. "
                f"To lock it out: `tiergate client forget {client}`, then revoke."
            )


def _token_id(token: str, catalogue: Catalogue, *, foreign: bool) -> str:
    """Return the id of a token, or the one given. The ids of a `foreign` issuer can be any text."""
    import jwt

    from policies.identity.issuer import TOKEN_ID
    from policies.identity.trusted_issuers import ISSUERS, TokenRefused

    trusted = {each.url: each for each in ISSUERS.of(catalogue).values()}
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        issuer = trusted.get(str(claims.get("iss")))
        return str(issuer.id_of(claims, token) if issuer else claims["jti"])
    except (jwt.InvalidTokenError, KeyError, TokenRefused):
        if TOKEN_ID.fullmatch(token) or ((foreign or trusted) and "." not in token):
            return token
        refuse([f"{token!r} is no token, and not the `jti` of one: 24 hexadecimal digits"])


@click.group("client", cls=Commands)
def clients() -> None:
    """Secrets that clients get access tokens for."""


@clients.command("secret")
@click.argument("name", type=CLIENT)
@config_option
def client_secret(name: str, config: Path) -> None:
    """Make a new secret of a client and print it, this once. The one before stays valid until the next."""
    settings = load_settings(config)
    known = load_catalogue(settings.governance.path()).clients
    require_client(name, known)
    click.echo(shared_state(settings).client_secrets().make(name))


@clients.command("forget")
@click.argument("name", type=CLIENT)
@config_option
def client_forget(name: str, config: Path) -> None:
    """Let no secret of a client count any more. Tokens that it has are revoked with `tiergate revoke`."""
    settings = load_settings(config)
    secrets = shared_state(settings).client_secrets()
    count = secrets.count(name)
    if not count:  # one that has left the catalogue may have some
        require_client(name, load_catalogue(settings.governance.path()).clients)
    secrets.forget(name)
    click.echo(
        f"forgotten: {count} secrets of {name}. Tokens that it has are good until `tiergate revoke --client {name}`"
    )
