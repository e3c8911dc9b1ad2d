"""Tokens, and the secrets that clients get them for."""

from __future__ import annotations

from pathlib import Path

import click

from tiergate.cli.common import config_option, load_catalogue, load_settings, refuse


@click.command()
@click.argument("client")
@config_option
@click.option(
    "--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True, help="How long the token is good."
)
def token(client: str, config: Path, minutes: int) -> None:
    """Print an access token of the local issuer for CLIENT, as the catalogue defines it."""
    from datetime import timedelta

    from tiergate.composition import issuer

    settings = load_settings(config)
    clients = load_catalogue(settings.governance.path()).clients
    if client not in clients:
        refuse([f"the catalogue has no client {client!r}; it has {', '.join(sorted(clients))}"])
    click.echo(issuer(settings).token(client, clients[client], ttl=timedelta(minutes=minutes)))


@click.command()
@click.option("--token", "token_id", default="", metavar="JTI", help="One token, by its id (its `jti`).")
@click.option("--client", default="", help="Every token that this client has got until now.")
@config_option
def revoke(token_id: str, client: str, config: Path) -> None:
    """Make tokens worthless, in every replica within five seconds."""
    import asyncio

    from redis import RedisError

    from canonical.ids import utc_now
    from policies.identity.revocation import Revocations
    from tiergate.composition import revoked_store

    if not token_id and not client:
        raise click.UsageError("name a --token or a --client")
    revocations = Revocations(revoked_store(load_settings(config)), utc_now)
    try:
        asyncio.run(revocations.revoke(token=token_id, client=client))
    except (OSError, RedisError) as error:
        refuse([f"the revocations cannot be written: {type(error).__name__}"])
    click.echo(f"revoked: {', '.join(filter(None, (token_id, client)))}")


@click.group("client")
def clients() -> None:
    """Secrets that clients get access tokens for."""


@clients.command("secret")
@click.argument("name")
@config_option
def client_secret(name: str, config: Path) -> None:
    """Make a new secret of a client and print it, this once. The one before stays valid until the next."""
    from policies.identity.client_secrets import ClientSecrets

    settings = load_settings(config)
    known = load_catalogue(settings.governance.path()).clients
    if name not in known:
        refuse([f"the catalogue has no client {name!r}; it has {', '.join(sorted(known))}"])
    click.echo(ClientSecrets(settings.client_secrets()).make(name))


@clients.command("forget")
@click.argument("name")
@config_option
def client_forget(name: str, config: Path) -> None:
    """Let no secret of a client count any more. Tokens that it has are revoked with `tiergate revoke`."""
    from policies.identity.client_secrets import ClientSecrets

    ClientSecrets(load_settings(config).client_secrets()).forget(name)
