"""Puts the three deployables together: the only place that knows all layers."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp

from canonical.ids import identifiers, utc_now
from policies.audit.log import AuditLog, sealing_key
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Domain, Layer
from policies.chain.gate import Gate
from policies.chain.passthrough import Passthrough, passthrough_routes
from policies.identity.authentication import Verifier
from policies.identity.client_secrets import ClientSecrets
from policies.identity.issuer import ISSUER, Issuer, public_jwk, signing_key
from policies.identity.jwks import Discovery, Jwk, SigningKeys
from policies.identity.revocation import RevocationFile, RevocationRedis, Revocations, RevocationStore
from policies.outbound.layer_client import AsyncLayerClient, LayerClient
from policies.outbound.ownership import Fields
from policies.outbound.platform_client import PlatformClient
from policies.outbound.residency import Residency
from policies.store.shared_store import SharedFileStore, SharedRedisStore, SharedStore
from policies.traffic.rate_limit import RateLimiter, shared_storage
from tiergate.settings import PlatformServer, Secrets, Settings, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

REDIS_SECONDS = 0.25
"""After so long a count goes on in memory."""


new_id = identifiers()


def issuer(settings: Settings) -> Issuer:
    """The local issuer, with its key in the state folder."""
    return Issuer(signing_key(settings.state / "issuer.pem"), utc_now)


def open_catalogue(settings: Settings) -> LiveCatalogue:
    """The catalogue that the settings name. Raises `CatalogueError` when it cannot govern."""
    return LiveCatalogue(settings.governance.path())


def caller(name: str, settings: Settings, live_catalogue: LiveCatalogue) -> Callable[[], str]:
    """Tokens for one of our own layers, as the catalogue defines it at the time of each call."""
    signer = issuer(settings)
    return lambda: signer.token(name, live_catalogue.current.clients[name])


def gate(layer: Layer, settings: Settings, live_catalogue: LiveCatalogue) -> Gate:
    revocations = Revocations(revoked_store(settings), utc_now)
    audit = AuditLog(settings.audit_log(layer), sealing_key(settings.audit_key()))
    redis_url = settings.governance.redis_url
    throttle = RateLimiter(utc_now, shared_storage(redis_url, REDIS_SECONDS) if redis_url else None)
    return Gate(
        layer, live_catalogue, verifier(layer, settings, revocations), revocations, throttle, shared_store(layer, settings), audit,
        utc_now, new_id,
    )  # fmt: skip


def verifier(layer: Layer, settings: Settings, revocations: Revocations) -> Verifier:
    """The channels take the tokens of the issuer that the settings name; our own layers those of the local one."""
    if settings.governance.issuer and layer == "experience":
        keys = SigningKeys(Discovery(settings.governance.issuer).fetch, utc_now)
        return Verifier(keys, settings.governance.issuer, layer, revocations, utc_now)
    own = public_jwk(signing_key(settings.state / "issuer.pem"))

    async def fetch() -> list[Jwk]:
        return [own]

    return Verifier(SigningKeys(fetch, utc_now), ISSUER, layer, revocations, utc_now)


def shared_store(layer: Layer, settings: Settings) -> SharedStore:
    if settings.governance.redis_url:
        return SharedRedisStore(settings.governance.redis_url, REDIS_SECONDS)
    return SharedFileStore(settings.state / f"{layer}-shared.sqlite", utc_now)


def revoked_store(settings: Settings) -> RevocationStore:
    if settings.governance.redis_url:
        return RevocationRedis(settings.governance.redis_url, REDIS_SECONDS)
    return RevocationFile(settings.state / "revoked.json")


def residency(settings: Settings, live_catalogue: LiveCatalogue) -> Residency:
    """Where this deployment stores. Raises `SettingsError` for a region that the catalogue does not know."""
    try:
        return Residency(live_catalogue, settings.server.region)
    except LookupError as error:
        raise SettingsError([f"server.region: {error.args[0]}"]) from error


class PlatformClientFactory:
    """Makes what calls a platform as the catalogue allows it, and closes what it made."""

    def __init__(self, live_catalogue: LiveCatalogue, residency: Residency, throttle: RateLimiter) -> None:
        self._live_catalogue = live_catalogue
        self._residency = residency
        self._throttle = throttle
        self._made: list[PlatformClient] = []

    def to(self, domain: Domain, server: PlatformServer, known: Mapping[str, Fields]) -> PlatformClient:
        jitter = randomness.SystemRandom().random
        made = PlatformClient(
            domain, server.url, known, self._live_catalogue, self._residency, self._throttle, jitter, server.tls()
        )
        self._made.append(made)
        return made

    async def close(self) -> None:
        for each in self._made:
            await each.close()


def system_app(settings: Settings, secrets: Secrets, openapi: OpenAPIConfig | None = None) -> Litestar:
    from system_apis.app import Platforms, create_app
    from system_apis.billing.stripe import Stripe, StripeSettings
    from system_apis.billing.stripe import mapping as stripe
    from system_apis.crm.salesforce import Salesforce, SalesforceSettings
    from system_apis.crm.salesforce import mapping as salesforce
    from system_apis.cursors import FeedPosition
    from system_apis.erp.tryton import Tryton, TrytonSettings
    from system_apis.erp.tryton import mapping as tryton
    from system_apis.intake import ProcessIntake
    from system_apis.provisioning.webhook import WebhookSettings, WebhookTarget
    from system_apis.provisioning.webhook import connector as webhook

    live_catalogue = open_catalogue(settings)
    governs = gate("system", settings, live_catalogue)
    callback = f"{settings.server.url_of_system()}/provisioning/v1/webhooks"
    crm = SalesforceSettings(
        settings.crm.url,
        settings.crm.client_id,
        secrets.crm_client_secret,
        secrets.crm_private_key,
        settings.crm.username,
    )
    erp = TrytonSettings(settings.erp.url, settings.erp.database, settings.erp.user, secrets.erp_password)
    billing = StripeSettings(settings.billing.url, secrets.billing_api_key, secrets.billing_webhook_secret)
    target = WebhookSettings(settings.provisioning.url, secrets.provisioning_secret, callback)
    cursor = FeedPosition(settings.state / "cursors" / "crm")

    platform_clients = PlatformClientFactory(live_catalogue, residency(settings, live_catalogue), governs.throttle)
    platforms = Platforms(
        crm=Salesforce(crm, platform_clients.to("crm", settings.crm, salesforce.FIELDS), cursor, utc_now, new_id, settings.crm.poll_seconds),
        erp=Tryton(erp, platform_clients.to("erp", settings.erp, tryton.FIELDS)),
        billing=Stripe(billing, platform_clients.to("billing", settings.billing, stripe.FIELDS), utc_now),
        provisioning=WebhookTarget(target, platform_clients.to("provisioning", settings.provisioning, webhook.FIELDS), utc_now),
    )  # fmt: skip
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    token = caller("system-layer", settings, live_catalogue)
    return create_app(governs, platforms, ProcessIntake(client, token), (client, platform_clients), openapi)


def records(settings: Settings) -> Engine:
    """Return the process layer's database, with the tables that this code needs. Raises `SettingsError` when it has them
    not, and must not or cannot make them."""
    from process_apis.records.database import open_database
    from process_apis.records.revisions import RevisionError, prepare

    database = open_database(settings.process_database())
    try:
        prepare(database, upgrade_at_start=settings.process.upgrade_at_start)
    except RevisionError as error:
        raise SettingsError([f"process.database_url: {error}"]) from error
    return database


def process_app(settings: Settings, database: Engine, openapi: OpenAPIConfig | None = None) -> Litestar:
    from process_apis.app import create_app
    from process_apis.records.cases import Cases
    from process_apis.records.orders import Orders
    from process_apis.records.postings import Postings
    from process_apis.runtime.context import RetryPolicy, WorkflowContext
    from process_apis.runtime.engine import EngineSettings
    from process_apis.system_client import Platforms

    live_catalogue = open_catalogue(settings)
    token = caller("process-layer", settings, live_catalogue)
    client = LayerClient(settings.server.url_of_system(), "system", token, settings.process.call_timeout)
    context = WorkflowContext(
        database, Platforms(client), Orders(database, utc_now, new_id), Postings(database, utc_now),
        Cases(database, live_catalogue, utc_now, new_id), utc_now, new_id, residency(settings, live_catalogue), live_catalogue, RetryPolicy(pause=settings.process.pause, max_delay=settings.process.longest_pause, delivery=settings.process.delivery),
    )  # fmt: skip
    executor = f"{os.uname().nodename}-{os.getpid()}-{randomness.token_hex(4)}"
    engine = EngineSettings(settings.process_database(), executor, dead_after=settings.process.dead_after)
    return create_app(gate("process", settings, live_catalogue), context, engine, openapi)


def experience_front(settings: Settings) -> ASGIApp:
    """The experience app behind its thin path."""
    app = experience_app(settings)
    return Passthrough(app, app.state.gate, passthrough_routes(app), app.state.process.fetch)


def experience_app(settings: Settings, openapi: OpenAPIConfig | None = None) -> Litestar:
    from experience_apis.app import create_app
    from experience_apis.oauth import Tokens
    from experience_apis.process_client import NAME, Process

    live_catalogue = open_catalogue(settings)
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    process = Process(client, issuer(settings), lambda: live_catalogue.current.clients[NAME])
    local = settings.governance.local_tokens and not settings.governance.issuer
    tokens = Tokens(issuer(settings), ClientSecrets(settings.client_secrets())) if local else None
    return create_app(gate("experience", settings, live_catalogue), process, tokens, openapi)
