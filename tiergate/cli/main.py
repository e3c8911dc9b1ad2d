"""The `tiergate` command. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from policies.catalogue.model import Catalogue, Layer
    from tiergate.platforms import ConnectedPlatform
    from tiergate.settings import Settings

CONFIG = Path(".tiergate/tiergate.toml")
LAYERS: click.Choice[Layer] = click.Choice(["system", "process", "experience"])
BAD_SETTINGS, NOT_READY, FAILED = 2, 3, 4
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=CONFIG,
    show_default=True,
    envvar="TIERGATE_CONFIG",
    help="The settings file.",
)
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".tiergate"),
    show_default=True,
    help="Where all state is kept.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tiergate")
def cli() -> None:
    """Links CRM, ERP and subscription billing: a closed deal becomes service, invoices and booked cash.

    Exit codes: 0 done, 2 wrong usage or settings, 3 something is missing or out of reach, 4 the work failed.
    """


def main() -> None:
    """The entry point."""
    cli(prog_name="tiergate")


@contextmanager
def _refusing() -> Generator[None]:
    """Tell what is wrong with the settings, and exit."""
    from tiergate.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        _refuse(error.errors)


def _settings(config: Path) -> Settings:
    from tiergate.settings import load

    with _refusing():
        return load(config, os.environ)


def _platforms(settings: Settings) -> dict[str, ConnectedPlatform]:
    from tiergate.platforms import load_platforms

    with _refusing():
        return load_platforms(settings, _catalogue(settings.governance.path()), os.environ)


def _catalogue(path: Path) -> Catalogue:
    from policies.catalogue.check import load
    from policies.catalogue.model import CatalogueError

    try:
        return load(path)
    except (OSError, CatalogueError) as error:
        _refuse(str(error).splitlines())


def _refuse(errors: list[str]) -> NoReturn:
    for each in errors:
        click.echo(f"tiergate: {each}", err=True)
    sys.exit(BAD_SETTINGS)


@cli.command()
@click.argument("layer", type=LAYERS)
@config_option
def serve(layer: Layer, config: Path) -> None:
    """Serve one layer until it is told to stop."""
    from tiergate.server.server import serve as run

    settings = _settings(config)
    platforms = _platforms(settings) if layer == "system" else {}
    with _refusing():
        run(layer, settings, platforms)


@cli.command()
@config_option
def up(config: Path) -> None:
    """Serve all three layers on this machine until Ctrl-C."""
    from tiergate.composition import records
    from tiergate.dev.sandbox import run_layers

    settings = _settings(config)
    _platforms(settings)
    with _refusing():
        records(settings).dispose()
    run_layers(settings, config)


@cli.command()
@folder_option
@click.option("--database", default="", metavar="URL", help="A PostgreSQL database for the process layer, not SQLite.")
@click.option("--erp-database", default="", metavar="URL", help="A PostgreSQL server for Tryton, not SQLite.")
@click.option("--prepare", is_flag=True, help="Only make what takes long the first time, then exit.")
@click.option("--instances", type=click.IntRange(1, 2), default=1, show_default=True, help="How many to prepare.")
def sandbox(folder: Path, database: str, erp_database: str, instances: int, *, prepare: bool) -> None:
    """Run the stand-ins and a real Tryton until Ctrl-C, and write settings that point at them."""
    from sandbox.site import SITES
    from tiergate.dev.sandbox import prepare_sandbox, run_sandbox

    if prepare:
        prepare_sandbox(folder, SITES[:instances])
    else:
        run_sandbox(folder, database, erp_database)


@cli.command()
@click.argument("client")
@config_option
@click.option(
    "--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True, help="How long the token is good."
)
def token(client: str, config: Path, minutes: int) -> None:
    """Print an access token of the local issuer for CLIENT, as the catalogue defines it."""
    from datetime import timedelta

    from tiergate.composition import issuer

    settings = _settings(config)
    clients = _catalogue(settings.governance.path()).clients
    if client not in clients:
        _refuse([f"the catalogue has no client {client!r}; it has {', '.join(sorted(clients))}"])
    click.echo(issuer(settings).token(client, clients[client], ttl=timedelta(minutes=minutes)))


@cli.command()
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
    revocations = Revocations(revoked_store(_settings(config)), utc_now)
    try:
        asyncio.run(revocations.revoke(token=token_id, client=client))
    except (OSError, RedisError) as error:
        _refuse([f"the revocations cannot be written: {type(error).__name__}"])
    click.echo(f"revoked: {', '.join(filter(None, (token_id, client)))}")


@cli.command()
@click.option("--once", is_flag=True, help="Exit when the deal is done, instead of staying up.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what came out to this file, as JSON.")
@click.option("--instances", type=click.IntRange(1, 2), default=1, show_default=True, help="How many of each platform.")
@folder_option
def demo(folder: Path, report: Path | None, instances: int, *, once: bool) -> None:
    """Start everything, close a deal in the CRM and follow it to cash."""
    from tiergate.dev.demo import DemoFailed, run

    try:
        run(folder, once=once, report=report, instances=instances)
    except DemoFailed as error:
        click.echo(f"tiergate: {error}", err=True)
        sys.exit(FAILED)


@cli.command()
@config_option
@click.option(
    "--buyer", default="Südwind Energie GmbH", show_default=True, help="The company that buys; a known one buys again."
)
@click.option("--seats", default=10.0, show_default=True, help="How many seats.")
@click.option("--entity", default="DE01", show_default=True, help="The legal entity that sells; empty for none.")
@click.option("--tax-number", default="", help="The buyer's VAT number.")
@click.option("--platform", default="salesforce", show_default=True, help="The CRM, by its name in the catalogue.")
def sell(config: Path, buyer: str, seats: float, entity: str, tax_number: str, platform: str) -> None:
    """Close a deal in the sandbox's CRM, as a salesperson would."""
    from canonical.ids import utc_now
    from sandbox.salesperson import Sale, SaleLine, close_deal, open_deal
    from tiergate.dev.platform_views import crm_of

    settings = _settings(config)
    crm = crm_of(_platforms(settings), platform)
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", seats), SaleLine("ONBOARDING", 1))
    sale = Sale(buyer=buyer, lines=lines, legal_entity=entity or None, tax_number=tax_number or None)
    quoted = buyer.replace("\\", "\\\\").replace("'", "\\'")
    known = crm.query(f"SELECT Id FROM Account WHERE Name = '{quoted}' LIMIT 1")
    _, deal = open_deal(crm, sale, utc_now().date(), known[0]["Id"] if known else None)
    close_deal(crm, deal)
    crm.close()
    click.echo(f"closed the deal {deal} with {buyer}")


@cli.command()
@config_option
def doctor(config: Path) -> None:
    """Say what is set up, reachable or missing, and what to do about it."""
    from tiergate.doctor import examine

    sys.exit(0 if examine(config) else NOT_READY)


@cli.command()
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
    """Write the contract of every API and of the events, and the diagrams of the documentation; judge or release them."""
    from tiergate.contracts import checks, diagrams
    from tiergate.contracts.write import write, write_schema

    if not check:
        for path in [*write(into), write_schema(_shipped().with_name("catalogue.schema.json")), diagrams.draw()]:
            click.echo(path)
    if check or release:
        wrong = checks.judged(into)
        for each in wrong:
            click.echo(each, err=True)
        if wrong:
            raise SystemExit(1)
    if release:
        checks.release(into)


@cli.group("client")
def clients() -> None:
    """Secrets that clients get access tokens for."""


@clients.command("secret")
@click.argument("name")
@config_option
def client_secret(name: str, config: Path) -> None:
    """Make a new secret of a client and print it, this once. The one before stays valid until the next."""
    from policies.identity.client_secrets import ClientSecrets

    settings = _settings(config)
    known = _catalogue(settings.governance.path()).clients
    if name not in known:
        _refuse([f"the catalogue has no client {name!r}; it has {', '.join(sorted(known))}"])
    click.echo(ClientSecrets(settings.client_secrets()).make(name))


@clients.command("forget")
@click.argument("name")
@config_option
def client_forget(name: str, config: Path) -> None:
    """Let no secret of a client count any more. Tokens that it has are revoked with `tiergate revoke`."""
    from policies.identity.client_secrets import ClientSecrets

    ClientSecrets(_settings(config).client_secrets()).forget(name)


@cli.group()
def database() -> None:
    """Look at the tables of the process layer, and upgrade them."""


@contextmanager
def _database(config: Path) -> Generator[Engine]:
    """The process layer's database, as long as the block lasts. Trouble with it is told in a sentence."""
    from sqlalchemy.exc import OperationalError

    from process_apis.records.database import open_database
    from process_apis.records.revisions import RevisionError

    engine = open_database(_settings(config).process_database())
    try:
        yield engine
    except RevisionError as error:
        _refuse([str(error)])
    except OperationalError as error:
        click.echo(f"tiergate: the database is out of reach: {error.orig}", err=True)
        sys.exit(NOT_READY)
    finally:
        engine.dispose()


@database.command()
@config_option
def status(config: Path) -> None:
    """Say which revision the tables have, which one this version needs, and what an upgrade would do (then exit with 3)."""
    from process_apis.records.revisions import REVISIONS, pending, revision, title

    with _database(config) as engine:
        with engine.connect() as connection:
            found = revision(connection)
        click.echo(
            f"{engine.dialect.name} database {engine.url.database}: it has {found or 'no revision'} and needs {REVISIONS[-1]}"
        )
        missing = pending(found)
        for each in missing:
            click.echo(f"  to do: {each} {title(each)}")
    if missing:
        sys.exit(NOT_READY)


@database.command()
@config_option
def upgrade(config: Path) -> None:
    """Bring the tables to the revision that this version needs. Layers that start do it by themselves."""
    from process_apis.records.revisions import REVISIONS, upgrade
    from tiergate.composition import instances_of

    with _database(config) as engine:
        added = upgrade(engine, instances_of(_settings(config)))
    click.echo(
        f"upgraded: {', '.join(added)}" if added else f"nothing to do: the tables have the revision {REVISIONS[-1]}"
    )


@cli.group()
def policy() -> None:
    """Look at the catalogue: what is wrong with it, what it decides, what a change of it changes."""


catalogue_file = click.Path(path_type=Path, exists=True, dir_okay=False)


def _shipped() -> Path:
    from policies.catalogue.model import SHIPPED

    return SHIPPED


@policy.command()
@click.argument("file", type=catalogue_file, required=False)
def check(file: Path | None) -> None:
    """Say everything that is wrong with a catalogue (the shipped one if none is named): line, key and remedy."""
    from canonical.ids import utc_now
    from policies.catalogue.check import read

    path = file or _shipped()
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
    from policies.catalogue.review import Unknown, explain

    path = file or _shipped()
    try:
        found = explain(_catalogue(path), path.read_text(), client, operation, utc_now().date())
    except Unknown as error:
        _refuse([str(error)])
    click.echo(f"{client} {'may' if found.allowed else 'may not'} call {operation}")
    for each in found.decisions:
        click.echo(f"  {each.policy:15} {each.outcome}  ({path.name}:{each.line})")


@policy.command()
@click.argument("before", type=catalogue_file)
@click.argument("after", type=catalogue_file)
def diff(before: Path, after: Path) -> None:
    """Say in words what changes for which client between two catalogues."""
    from policies.catalogue.review import diff

    for each in diff(_catalogue(before), _catalogue(after)) or ["Nothing changes for anybody."]:
        click.echo(each)


@cli.group()
def audit() -> None:
    """Look at the record of who did what."""


@audit.command()
@config_option
def verify(config: Path) -> None:
    """Find every record that was changed, moved or taken away, in the log of each layer."""
    from policies.audit.log import sealing_key, verify

    settings = _settings(config)
    whole = True
    for layer in LAYERS.choices:
        path = settings.audit_log(layer)
        if not path.exists():
            continue
        count, broken = verify(path, sealing_key(settings.audit_key()))
        whole = whole and not broken
        click.echo(f"{layer}: {count} records, {'as they were written' if not broken else 'NOT as they were written'}")
        for each in broken:
            click.echo(f"  {path}:{each.line}: {each.reason}")
    if not whole:
        sys.exit(FAILED)


@audit.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
def prune(config: Path, *, dry_run: bool) -> None:
    """Remove the records that were kept as long as the catalogue says. Running layers do it by themselves."""
    from canonical.ids import utc_now
    from policies.audit.log import sealing_key
    from policies.audit.retention import due, remove_due
    from tiergate.composition import open_catalogue

    settings = _settings(config)
    catalogue, now = open_catalogue(settings).current, utc_now()
    for layer in LAYERS.choices:
        path = settings.audit_log(layer)
        if dry_run:
            click.echo(f"{layer}: {due(path, catalogue, now)} records were kept long enough")
        else:
            removed = remove_due(path, sealing_key(settings.audit_key()), catalogue, now)
            click.echo(f"{layer}: {removed} records removed")


@audit.command()
@config_option
@click.option("--since", type=click.DateTime(), help="Only records of this time (UTC) or later.")
@click.option("--until", type=click.DateTime(), help="Only records before this time (UTC).")
@click.option("--client", help="Only what this client did.")
def export(config: Path, since: datetime | None, until: datetime | None, client: str | None) -> None:
    """Write the records of all layers to standard output, one JSON object a line, in the order of their time."""
    from policies.audit.log import export

    settings = _settings(config)
    paths = [settings.audit_log(layer) for layer in LAYERS.choices]
    for line in export(paths, since, until, client):
        click.echo(line)
