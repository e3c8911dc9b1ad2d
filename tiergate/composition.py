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
from policies.catalogue.live import Living
from policies.catalogue.model import Domain, Layer
from policies.chain.gate import Gate
from policies.chain.passthrough import Thin, passages
from policies.identity.authentication import Verifier
from policies.identity.client_secrets import Credentials
from policies.identity.issuer import ISSUER, Issuer, public_jwk, signing_key
from policies.identity.jwks import Discovery, Jwk, Keys
from policies.identity.revocation import FileStore, RedisStore, Revocations, Store
from policies.outbound.layer_client import AsyncLayerClient, LayerClient
from policies.outbound.ownership import Fields
from policies.outbound.platform_client import Outbound
from policies.outbound.residency import Residency
from policies.store.shared_store import Shared, SharedFile, SharedRedis
from policies.traffic.rate_limit import Throttle, shared_counts
from tiergate.settings import PlatformServer, Secrets, Settings, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

REDIS_SECONDS = 0.25
"""After so long a count goes on in memory."""


new_id = identifiers()


def issuer(settings: Settings) -> Issuer:
    """The local issuer, with its key in the state folder."""
    return Issuer(signing_key(settings.state / "issuer.pem"), utc_now)


def living(settings: Settings) -> Living:
    """The catalogue that the settings name. Raises `CatalogueError` when it cannot govern."""
    return Living(settings.governance.path())


def caller(name: str, settings: Settings, governed_by: Living) -> Callable[[], str]:
    """Tokens for one of our own layers, as the catalogue defines it at the time of each call."""
    signer = issuer(settings)
    return lambda: signer.token(name, governed_by.now.clients[name])


def gate(layer: Layer, settings: Settings, governed_by: Living) -> Gate:
    revocations = Revocations(revoked_store(settings), utc_now)
    audit = AuditLog(settings.audit_log(layer), sealing_key(settings.audit_key()))
    redis_url = settings.governance.redis_url
    throttle = Throttle(utc_now, shared_counts(redis_url, REDIS_SECONDS) if redis_url else None)
    return Gate(
        layer, governed_by, verifier(layer, settings, revocations), revocations, throttle, shared_store(layer, settings), audit,
        utc_now, new_id,
    )  # fmt: skip


def verifier(layer: Layer, settings: Settings, revocations: Revocations) -> Verifier:
    """The channels take the tokens of the issuer that the settings name; our own layers those of the local one."""
    if settings.governance.issuer and layer == "experience":
        keys = Keys(Discovery(settings.governance.issuer).fetch, utc_now)
        return Verifier(keys, settings.governance.issuer, layer, revocations, utc_now)
    own = public_jwk(signing_key(settings.state / "issuer.pem"))

    async def fetch() -> list[Jwk]:
        return [own]

    return Verifier(Keys(fetch, utc_now), ISSUER, layer, revocations, utc_now)


def shared_store(layer: Layer, settings: Settings) -> Shared:
    if settings.governance.redis_url:
        return SharedRedis(settings.governance.redis_url, REDIS_SECONDS)
    return SharedFile(settings.state / f"{layer}-shared.sqlite", utc_now)


def revoked_store(settings: Settings) -> Store:
    if settings.governance.redis_url:
        return RedisStore(settings.governance.redis_url, REDIS_SECONDS)
    return FileStore(settings.state / "revoked.json")


def residency(settings: Settings, governed_by: Living) -> Residency:
    """Where this deployment stores. Raises `SettingsError` for a region that the catalogue does not know."""
    try:
        return Residency(governed_by, settings.server.region)
    except LookupError as error:
        raise SettingsError([f"server.region: {error.args[0]}"]) from error


class Leaving:
    """Makes what calls a platform as the catalogue allows it, and closes what it made."""

    def __init__(self, governed_by: Living, residency: Residency, throttle: Throttle) -> None:
        self._living = governed_by
        self._residency = residency
        self._throttle = throttle
        self._made: list[Outbound] = []

    def to(self, domain: Domain, server: PlatformServer, known: Mapping[str, Fields]) -> Outbound:
        jitter = randomness.SystemRandom().random
        made = Outbound(domain, server.url, known, self._living, self._residency, self._throttle, jitter, server.tls())
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
    from system_apis.cursors import Cursor
    from system_apis.erp.tryton import Tryton, TrytonSettings
    from system_apis.erp.tryton import mapping as tryton
    from system_apis.intake import ProcessIntake
    from system_apis.provisioning.webhook import WebhookSettings, WebhookTarget
    from system_apis.provisioning.webhook import connector as webhook

    governed_by = living(settings)
    governs = gate("system", settings, governed_by)
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
    cursor = Cursor(settings.state / "cursors" / "crm")

    leaving = Leaving(governed_by, residency(settings, governed_by), governs.throttle)
    platforms = Platforms(
        crm=Salesforce(crm, leaving.to("crm", settings.crm, salesforce.FIELDS), cursor, utc_now, new_id, settings.crm.poll_seconds),
        erp=Tryton(erp, leaving.to("erp", settings.erp, tryton.FIELDS)),
        billing=Stripe(billing, leaving.to("billing", settings.billing, stripe.FIELDS), utc_now),
        provisioning=WebhookTarget(target, leaving.to("provisioning", settings.provisioning, webhook.FIELDS), utc_now),
    )  # fmt: skip
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    token = caller("system-layer", settings, governed_by)
    return create_app(governs, platforms, ProcessIntake(client, token), (client, leaving), openapi)


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


def process_app(settings: Settings, openapi: OpenAPIConfig | None = None) -> Litestar:
    from process_apis.app import create_app
    from process_apis.records.cases import Cases
    from process_apis.records.orders import Orders
    from process_apis.records.postings import Postings
    from process_apis.runtime.context import Desk, Patience
    from process_apis.runtime.engine import EngineSettings
    from process_apis.system_client import Platforms

    governed_by = living(settings)
    token = caller("process-layer", settings, governed_by)
    client = LayerClient(settings.server.url_of_system(), "system", token, settings.process.call_timeout)
    database = records(settings)
    desk = Desk(
        database, Platforms(client), Orders(database, utc_now, new_id), Postings(database, utc_now),
        Cases(database, governed_by, utc_now, new_id), utc_now, new_id, residency(settings, governed_by), governed_by, Patience(pause=settings.process.pause, longest=settings.process.longest_pause, delivery=settings.process.delivery),
    )  # fmt: skip
    executor = f"{os.uname().nodename}-{os.getpid()}-{randomness.token_hex(4)}"
    engine = EngineSettings(settings.process_database(), executor, dead_after=settings.process.dead_after)
    return create_app(gate("process", settings, governed_by), desk, engine, openapi)


def experience_front(settings: Settings) -> ASGIApp:
    """The experience app behind its thin path."""
    app = experience_app(settings)
    return Thin(app, app.state.gate, passages(app), app.state.process.fetch)


def experience_app(settings: Settings, openapi: OpenAPIConfig | None = None) -> Litestar:
    from experience_apis.app import create_app
    from experience_apis.oauth import Tokens
    from experience_apis.process_client import NAME, Process

    governed_by = living(settings)
    client = AsyncLayerClient(settings.server.url_of_process(), "process", settings.process.call_timeout)
    process = Process(client, issuer(settings), lambda: governed_by.now.clients[NAME])
    local = settings.governance.local_tokens and not settings.governance.issuer
    tokens = Tokens(issuer(settings), Credentials(settings.client_secrets())) if local else None
    return create_app(gate("experience", settings, governed_by), process, tokens, openapi)
