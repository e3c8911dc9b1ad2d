"""The composition root: puts the three deployables together. No other module knows all layers."""

from __future__ import annotations

import secrets as randomness
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, get_args
from zoneinfo import ZoneInfo

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp

from canonical.ids import Clock, identifiers, utc_now
from canonical.jobs import JobsReport
from policies.audit.log import AuditLog
from policies.audit.records import sealing_key
from policies.business.posting_windows import window_of
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Catalogue, Client, Domain, Layer, Report
from policies.chain.gate import Gate
from policies.chain.passthrough import Passthrough, passthrough_routes
from policies.chain.readiness import SCOPE
from policies.identity.authentication import Verifier
from policies.identity.issuer import ISSUER, Issuer
from policies.identity.jwks import Discovery, SigningKeys
from policies.identity.key_ring import PACE
from policies.identity.openid import OpenIdIssuer
from policies.identity.revocation import Revocations
from policies.observe.metrics import Metrics
from policies.outbound.layer_client import AsyncLayerClient, LayerClient, report_jobs
from policies.outbound.platform_metrics import PlatformMetrics
from policies.outbound.public_address import HTTPS, OutboundAddresses, networks_of
from policies.outbound.residency import Residency
from policies.store.documents import Document, FileDocument
from policies.store.leases import KeptLease
from policies.store.secret import Secret
from policies.store.shared_store import REDIS_SECONDS, SharedFileStore, SharedStore
from policies.traffic.rate_limit import RateLimiter, shared_storage
from tiergate.platforms import ConnectedPlatform
from tiergate.settings import NotReady, Settings, SettingsError
from tiergate.shared import SharedState, read_secret, replica_name
from tiergate.sqlite_version import check_sqlite

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from experience_apis.console.guard import Console, PeopleIssuer
    from experience_apis.oauth import Tokens
    from experience_apis.process_client import Process
    from policies.outbound.platform_client import PlatformClient
    from process_apis.runtime.context import WorkflowContext
    from system_apis.connector import ConnectorContext

new_id = identifiers()
LEAST_OF_A_TOKEN = 16
"""Characters that a token has at least which a person makes."""


def issuer(settings: Settings) -> Issuer:
    """Return the local issuer, as commands have it."""
    return SharedState(settings).issuer()


def open_catalogue(settings: Settings) -> LiveCatalogue:
    """Return the catalogue that the settings name. Raises `CatalogueError` when it is not valid."""
    return LiveCatalogue(settings.governance.path())


def caller(name: str, governs: Gate) -> Callable[[], str]:
    """Return what makes tokens for one of our own layers, as the catalogue defines it at the time of each call. Raises
    `CatalogueError` when it does not; a later catalogue that does not is refused."""
    signer, client = Issuer(governs.keys, governs.clock, governs.revocations), identity(name, governs.live_catalogue)
    return lambda: signer.token(name, client())


def readiness_token(layer: Layer, settings: Settings, catalogue: Catalogue) -> str:
    """Return a token to which a layer shows what it depends on, of the first client of the catalogue that may see it;
    empty when none may, or where the local issuer has no key."""
    if not settings.issuer_key().exists():
        return ""
    for name, client in catalogue.clients.items():
        if client.audience == layer and (layer != "experience" or SCOPE in client.scopes):
            return issuer(settings).token(name, client)
    return ""


def identity(name: str, live_catalogue: LiveCatalogue) -> Callable[[], Client]:
    """Return what reads the client that one of our own layers calls as. Raises as `caller` does."""

    def missing(catalogue: Catalogue) -> Iterable[Report]:
        if name not in catalogue.clients:
            yield ("clients", name), "a layer that runs calls the next one as it, and it is missing", "put it back"

    live_catalogue.require(missing)
    return lambda: live_catalogue.current.clients[name]


def gate(layer: Layer, settings: Settings, live_catalogue: LiveCatalogue, shared: SharedState) -> Gate:
    password = read_secret("governance", settings.governance.redis_password)
    revocations = shared.revocations()
    audit = AuditLog(settings.audit_files(layer), sealing_key(settings.audit_key()))
    redis_url = settings.governance.redis_url
    throttle = RateLimiter(shared.clock, shared_storage(redis_url, REDIS_SECONDS, password) if redis_url else None)
    return Gate(
        layer,
        live_catalogue,
        verifier(layer, settings, live_catalogue, revocations, shared),
        revocations,
        shared.keys,
        throttle,
        shared_store(layer, settings, password, shared.clock),
        audit,
        shared.clock,
        new_id,
        Metrics(layer),
        metrics_token(settings),
        shared.jobs,
    )


def trace(layer: Layer, settings: Settings) -> None:
    """Turn tracing on where the settings name a collector. It comes before the layer's app is made."""
    said = settings.tracing
    if not said.endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from policies.observe.tracing import Tracer, turn_on

    secret = read_secret("tracing", said.authorization).reveal()
    exporter = OTLPSpanExporter(said.endpoint, headers={"authorization": secret} if secret else {})
    turn_on(Tracer(layer, said.share, BatchSpanProcessor(exporter)))


def metrics_token(settings: Settings) -> Secret:
    """Return the token that shows the metrics, `NO_SECRET` when nobody is shown them. Raises `SettingsError` for one
    that can be guessed."""
    token = read_secret("server", settings.server.metrics_token)
    if settings.server.metrics_token and len(token.reveal()) < LEAST_OF_A_TOKEN:
        raise SettingsError([f"[server]: metrics_token has at least {LEAST_OF_A_TOKEN} characters"])
    return token


def verifier(
    layer: Layer, settings: Settings, live_catalogue: LiveCatalogue, revocations: Revocations, shared: SharedState
) -> Verifier:
    """Return the verifier of a layer: the channels accept tokens of the issuer that the settings name, and of those
    that the catalogue names.

    Our own layers accept tokens of the local issuer, as the channels do when the settings name none.
    """
    if layer != "experience":
        return Verifier(own_keys(shared), ISSUER, layer, revocations, shared.clock)
    foreign = settings.governance.issuer
    keys = keys_of(foreign) if foreign else own_keys(shared)
    made = Verifier(keys, foreign or ISSUER, layer, revocations, shared.clock)
    live_catalogue.when_changed(lambda catalogue: made.trust(catalogue, keys_of))
    return made


def keys_of(issuer: str) -> SigningKeys:
    """Return the keys of an OIDC issuer, read when they are first needed."""
    return SigningKeys(Discovery(issuer).fetch, utc_now)


def own_keys(shared: SharedState) -> SigningKeys:
    """Return the keys of all replicas of ours. One that has just come is known within a second."""
    return SigningKeys(shared.keys.fetch, shared.clock, pace=1.0, good_for=PACE)


def shared_store(layer: Layer, settings: Settings, password: Secret, clock: Clock) -> SharedStore:
    if settings.governance.redis_url:
        from policies.store.shared_redis import SharedRedisStore  # and Redis, where there is one

        return SharedRedisStore(settings.governance.redis_url, REDIS_SECONDS, password)
    return SharedFileStore(settings.state / f"{layer}-shared.sqlite", clock)


def residency(settings: Settings, live_catalogue: LiveCatalogue) -> Residency:
    """Return the check of where records may be.

    Raises `SettingsError` for a region that the catalogue does not know. A later catalogue that does not is refused.
    """
    region = settings.server.region
    try:
        found = Residency(live_catalogue, region)
    except LookupError as error:
        raise SettingsError([f"server.region: {error.args[0]}"]) from error

    def nowhere(catalogue: Catalogue) -> Iterable[Report]:
        if region not in catalogue.regions:
            yield (
                ("regions", region),
                "a deployment that runs is in it (server.region), and it is missing",
                "put it back",
            )

    live_catalogue.require(nowhere)
    return found


class PlatformClientFactory:
    """Create clients of platforms, and close the clients that it created."""

    def __init__(
        self, live_catalogue: LiveCatalogue, residency: Residency, throttle: RateLimiter, metrics: Metrics
    ) -> None:
        self._live_catalogue = live_catalogue
        self._residency = residency
        self._throttle = throttle
        self._metrics = PlatformMetrics(metrics)
        self._made: list[PlatformClient] = []

    def to(self, platform: ConnectedPlatform) -> PlatformClient:
        """Return a client of one platform, which writes the fields that its connector declares."""
        from policies.outbound.platform_client import PlatformClient  # the system layer alone needs it

        jitter = randomness.SystemRandom().random
        made = PlatformClient(
            platform.name,
            platform.settings.url,
            platform.settings.fields(platform.connector.FIELDS),
            self._live_catalogue,
            self._residency,
            self._throttle,
            jitter,
            self._metrics,
            platform.settings.tls(),
        )
        self._made.append(made)
        return made

    async def close(self) -> None:
        for each in self._made:
            await each.close()


def unserved(catalogue: Catalogue, connected: Collection[str]) -> Iterable[Report]:
    """Report each legal entity that a catalogue gives to an instance which is not connected. A CRM is asked by its
    name, so a new one takes nothing from those that are."""
    homes = sorted(catalogue.homes())
    for domain in get_args(Domain):
        strangers = [each for each in catalogue.instances(domain) if each not in connected]
        for name in strangers if domain != "crm" else ():
            if given := [each for each in homes if catalogue.instance_for(domain, each) == name]:
                reason = f"it serves {', '.join(given)}, and the system layer that runs has no connector for it"
                yield ("platforms", name, "legal_entities"), reason, "restart the system layer with it"


def system_app(
    settings: Settings, platforms: Mapping[str, ConnectedPlatform], openapi: OpenAPIConfig | None = None
) -> Litestar:
    from system_apis.app import Platforms, create_app
    from system_apis.connector import Instances
    from system_apis.intake import ProcessIntake

    live_catalogue = open_catalogue(settings)

    def disconnected(catalogue: Catalogue) -> Iterable[Report]:
        for name in sorted(platforms.keys() - catalogue.platforms.keys()):
            yield ("platforms", name), "it is connected and has no rules any more", "put it back"
        yield from unserved(catalogue, platforms.keys())

    if openapi is None:  # an app that is only described has no platforms
        live_catalogue.require(disconnected)
    shared = SharedState(settings)
    governs = gate("system", settings, live_catalogue, shared)
    clients = PlatformClientFactory(
        live_catalogue, residency(settings, live_catalogue), governs.throttle, governs.metrics
    )

    feeds = {name: _feed(each, settings, shared, live_catalogue) for name, each in platforms.items()}

    def instances(domain: Domain) -> Instances[Any]:
        connected = {
            name: each.connector.connect(
                each.settings, _context(each, settings, clients, live_catalogue, feeds[name][0], shared.clock)
            )
            for name, each in platforms.items()
            if each.domain == domain
        }
        return Instances(domain, connected, live_catalogue)

    connected = Platforms(instances("crm"), instances("erp"), instances("billing"), instances("provisioning"))
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    token = caller("system-layer", governs)
    silence = settings.system.longest_silence
    intake = ProcessIntake(client, token)
    leases = {name: lease for name, (_, lease) in feeds.items() if platforms[name].domain in ("crm", "billing")}

    async def report(jobs: JobsReport, correlation_id: str) -> None:
        await report_jobs(client, token(), jobs, correlation_id)

    closing = (client, clients)
    return create_app(governs, connected, leases, intake, shared.clock, new_id, silence, report, closing, openapi)


def _feed(
    platform: ConnectedPlatform, settings: Settings, shared: SharedState, live_catalogue: LiveCatalogue
) -> tuple[Document, KeptLease]:
    alone = len(live_catalogue.current.instances(platform.domain)) == 1
    former = settings.state / "cursors" / platform.domain
    return shared.feed(platform.name, former if alone else None)


def _context(
    platform: ConnectedPlatform,
    settings: Settings,
    clients: PlatformClientFactory,
    live_catalogue: LiveCatalogue,
    position: Document,
    clock: Clock = utc_now,
) -> ConnectorContext:
    """Return what the connector of one platform works with. `position` is how far its changes were read."""
    from system_apis.connector import ConnectorContext
    from system_apis.feed_position import FeedPosition

    def timezone(legal_entity: str) -> tzinfo:
        return ZoneInfo(window_of(live_catalogue.current, legal_entity).timezone)

    webhooks = f"{settings.server.url_for_platforms()}/{platform.domain}/v1/webhooks?instance={platform.name}"
    return ConnectorContext(
        platform.name, clients.to(platform), clock, new_id, FeedPosition(position), webhooks, timezone
    )


@asynccontextmanager
async def contexts(
    settings: Settings, platforms: Iterable[ConnectedPlatform]
) -> AsyncGenerator[dict[str, ConnectorContext]]:
    """Yield what connectors work with by the names of their platforms, outside any layer: for commands that ask the
    platforms."""
    live_catalogue = open_catalogue(settings)
    unseen = Metrics("system")
    clients = PlatformClientFactory(live_catalogue, residency(settings, live_catalogue), RateLimiter(utc_now), unseen)
    try:
        positions = settings.state / "cursors"  # nothing that a command asks is a feed
        yield {
            each.name: _context(each, settings, clients, live_catalogue, FileDocument(positions / each.name))
            for each in platforms
        }
    finally:
        await clients.close()


@asynccontextmanager
async def connectors_of(settings: Settings, platforms: Iterable[ConnectedPlatform]) -> AsyncGenerator[dict[str, Any]]:
    """Yield connectors by the names of their platforms, outside any layer."""
    wanted = list(platforms)
    async with contexts(settings, wanted) as found:
        yield {each.name: each.connector.connect(each.settings, found[each.name]) for each in wanted}


def instances_of(settings: Settings) -> dict[str, str]:
    """Return the platform of each domain that has one, by its name in the catalogue."""
    catalogue = open_catalogue(settings).current
    found = {domain: catalogue.instances(domain) for domain in get_args(Domain)}
    return {domain: names[0] for domain, names in found.items() if len(names) == 1}


@contextmanager
def process_database(settings: Settings) -> Generator[Engine]:
    """Yield the process layer's database, which is closed when the block fails.

    Raises `SettingsError` for an address that is none, a password that cannot be read, and for tables that cannot be
    used as they are, `NotReady` when the database is out of reach.
    """
    from sqlalchemy.exc import ArgumentError, OperationalError

    from process_apis.records.database import open_database
    from process_apis.records.revisions import RevisionError

    check_sqlite(settings)
    password = read_secret("process", settings.process.database_password)
    try:
        database = open_database(settings.process_database(), password)
    except (ArgumentError, ImportError) as error:
        raise SettingsError([f"process.database_url: {error}"]) from error
    try:
        yield database
    except RevisionError as error:
        database.dispose()
        raise SettingsError([f"process.database_url: {error}"]) from error
    except OperationalError as error:
        database.dispose()
        raise NotReady(f"the database is out of reach: {error.orig}{_remedy(database)}") from error


@contextmanager
def process_tables(settings: Settings) -> Generator[Engine]:
    """Yield the process layer's database, for commands that use its tables. Raises as `process_database` does, and
    `NotReady` for tables of another revision."""
    from process_apis.records.revisions import REVISIONS, revision

    with process_database(settings) as database:
        try:
            with database.connect() as connection:
                found = revision(connection)
            if found != REVISIONS[-1]:
                there = f"the revision {found}" if found else "no revision"
                raise NotReady(f"the tables have {there}, not {REVISIONS[-1]}: run `tiergate database upgrade` first")
            yield database
        finally:
            database.dispose()


def _remedy(database: Engine) -> str:
    """Return what to do about a database that cannot be used: a file has no server that says so."""
    of_file = database.dialect.name == "sqlite"
    return ": see that its disk has room, and start the layer again" if of_file else ""


def records(settings: Settings) -> Engine:
    """Return the process layer's database, with the tables that this code needs, which can be written. Raises as
    `process_database` does, `SettingsError` too when tables are missing and a start must not make them."""
    from process_apis.records.database import require_room
    from process_apis.records.revisions import prepare

    with process_database(settings) as database:
        prepare(database, instances_of(settings), upgrade_at_start=settings.process.upgrade_at_start)
        require_room(database, replica_name())
    return database


def outbound_addresses(settings: Settings) -> OutboundAddresses:
    """Return where webhooks of partners may go. Raises `SettingsError` for what is no network."""
    own = settings.process
    try:
        networks = networks_of(own.webhook_networks)
    except ValueError as error:
        raise SettingsError([f"[process]: webhook_networks: {error}"]) from error
    return OutboundAddresses(frozenset({HTTPS, *map(int, own.webhook_ports.split())}), networks)


def process_context(
    settings: Settings, database: Engine, live_catalogue: LiveCatalogue, shared: SharedState, token: Callable[[], str]
) -> WorkflowContext:
    """Return what the capabilities of the process layer work with. `token` lets them ask the system layer."""
    from policies.outbound.webhook_sender import WebhookSender
    from process_apis.records.cases import Cases
    from process_apis.records.erased import ErasedPeople
    from process_apis.records.orders import Orders
    from process_apis.records.postings import Postings
    from process_apis.runtime.context import RetryPolicy, WebhookMeans, WorkflowContext
    from process_apis.system_client import Platforms

    own, clock = settings.process, shared.clock
    client = LayerClient(settings.server.url_of_system(), "system", token, own.call_timeout)
    return WorkflowContext(
        database,
        Platforms(client),
        Orders(database, clock),
        Postings(database, clock),
        Cases(database, live_catalogue, clock, new_id),
        clock,
        residency(settings, live_catalogue),
        live_catalogue,
        WebhookMeans(
            WebhookSender(outbound_addresses(settings)),
            shared.webhook_key(),
            randomness.SystemRandom().random,
            randomness.token_hex,
        ),
        RetryPolicy(pause=own.pause, max_delay=own.longest_pause, delivery=own.delivery),
        ErasedPeople(shared.erased_people()),
    )


def process_app(settings: Settings, database: Engine, openapi: OpenAPIConfig | None = None) -> Litestar:
    from process_apis.app import create_app
    from process_apis.retention import RetentionDays
    from process_apis.runtime.engine import EngineSettings

    live_catalogue = open_catalogue(settings)
    shared = SharedState(settings)
    governs = gate("process", settings, live_catalogue, shared)
    context = process_context(settings, database, live_catalogue, shared, caller("process-layer", governs))
    own = settings.process
    engine = EngineSettings(settings.process_database(), replica_name(), dead_after=own.dead_after)
    days = RetentionDays(
        workflows=own.workflow_days,
        events=own.event_days,
        cases=own.case_days,
        deliveries=own.delivery_days,
        usage=own.usage_days,
    )
    return create_app(governs, context, engine, days, openapi)


def experience_front(settings: Settings) -> ASGIApp:
    """Return the experience app behind its pass-through."""
    parts = experience_parts(settings)
    app = experience_app(settings, parts)
    return Passthrough(app, parts.gate, passthrough_routes(app), parts.process.fetch)


def experience_app(
    settings: Settings, parts: ExperienceParts | None = None, openapi: OpenAPIConfig | None = None
) -> Litestar:
    from experience_apis.app import create_app

    parts = parts or experience_parts(settings)
    return create_app(parts.gate, parts.process, parts.tokens, parts.console, openapi)


class ExperienceParts(msgspec.Struct, frozen=True):
    """What the experience layer and its pass-through share."""

    gate: Gate
    process: Process
    tokens: Tokens | None
    console: Console


def experience_parts(settings: Settings) -> ExperienceParts:
    """Return what the experience layer is made of.

    Clients get tokens of the local issuer unless the settings name another.
    """
    from experience_apis.oauth import Tokens
    from experience_apis.process_client import NAME, Process

    live_catalogue = open_catalogue(settings)
    shared = SharedState(settings)
    governs = gate("experience", settings, live_catalogue, shared)
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    signer = Issuer(governs.keys, governs.clock, governs.revocations)
    process = Process(client, signer, identity(NAME, live_catalogue))
    local = settings.governance.local_tokens and not settings.governance.issuer
    tokens = Tokens(signer, shared.client_secrets()) if local else None
    return ExperienceParts(governs, process, tokens, console(settings, shared, governs.revocations))


def console(settings: Settings, shared: SharedState, revocations: Revocations) -> Console:
    """Return what the console works with, as its pages and the commands have it."""
    from experience_apis.console.guard import Console
    from experience_apis.console.sessions import Sessions

    password = read_secret("governance", settings.governance.redis_password)
    store = shared_store("experience", settings, password, shared.clock)
    sessions = Sessions(store, revocations, shared.clock)
    return Console(sessions, settings.server.url_of_console(), _issuer_of_people(settings, shared.clock))


def _issuer_of_people(settings: Settings, clock: Clock) -> PeopleIssuer | None:
    """Return the issuer that people sign in with, None where there is none. Raises `SettingsError` for one whose client
    we are not."""
    from experience_apis.console.guard import PeopleIssuer

    said = settings.console
    if not said.issuer:
        return None
    if not said.client_id:
        raise SettingsError(["[console]: client_id is missing: who we are to the issuer"])
    secret = read_secret("console", said.client_secret)
    openid = OpenIdIssuer(said.issuer, said.client_id, secret, said.scope, keys_of(said.issuer), clock)
    return PeopleIssuer(openid, said.person, said.name, said.groups)
