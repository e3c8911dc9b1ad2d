"""Makes a governed Litestar app, and is the only way to make one.

On the way in: size limit → correlation → version → authentication → load → throttle → authorization (scope; objects are
checked where they are read) → idempotency → unknown fields → handler. On the way out: problem details, headers of the
version and of the limits, correlation header, audit line. A new policy is one more plain function of the `Gate`, called
by `Governance`. Each request is governed by the catalogue as it is when the request comes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from datetime import date, datetime
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response, get
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, HTTPScope, LifespanHook, Message, Receive, Scope, Send
from slowapi.wrappers import Limit

from canonical.ids import Clock, NewId
from policies.audit.log import AuditEntry, AuditLog
from policies.audit.retention import Retention
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Api, Catalogue, Client, Layer, Operation, ThrottleTier
from policies.context import correlation, deadline
from policies.context.background import Background
from policies.contract import versions
from policies.contract.bodies import MAX_BODY, refuse_unknown_fields
from policies.contract.deprecation_usage import DeprecationUsage
from policies.identity.authentication import Principal, Verifier, unauthenticated
from policies.identity.revocation import Revocations
from policies.problems import FORBIDDEN, HANDLERS, UNAUTHENTICATED, Headers, ProblemError
from policies.store.shared_store import SharedStore
from policies.traffic.idempotency import Idempotency
from policies.traffic.rate_limit import LoadShedder, RateLimitedCall, RateLimiter, limits_of

log = structlog.get_logger("tiergate.chain")
MARK = correlation.HEADER.encode()
Readiness = Callable[[], dict[str, str]]
"""What this deployable depends on, each `ok` or the reason why not."""


ACTS_FOR = "acts_for"
"""Where an operation that verifies its caller itself says who that is, for the audit record."""
DESCRIBED_AT = "/schema"
"""Where an app that is made to be described has its description. Such an app is never served."""


class Ungoverned(RuntimeError):
    """A route that the catalogue does not know. Such an app does not start."""


class Rules:
    """What governs one operation, under one catalogue. An operation of the health checks belongs to no API.

    A request reads its rules once and all else from them, so that a catalogue that changes meanwhile governs the next
    one.
    """

    def __init__(
        self,
        operation: Operation,
        catalogue: Catalogue,
        entities: dict[str, frozenset[str]],
        name: str = "",
        api: Api | None = None,
    ) -> None:
        """`entities` are the legal entities whose records each client of the catalogue may see."""
        self.operation = operation
        self.catalogue = catalogue
        self.entities = entities
        self.name = name
        self.api = api
        self.service_tier = catalogue.service_tiers[operation.tier]
        self.carried = operation.open != "health"
        """Those who look after us must see us most of all when we are busy."""
        self.lives: dict[str, date] = {}
        """The day for which a version is known to be served."""
        self.marks: dict[str, Headers] = {}
        """What its answers say of its life on that day."""
        self._limits = {
            name: limits_of(tier, operation) for name, tier in catalogue.throttle_tiers.items() if not operation.open
        }

    def tier_of(self, client: Client) -> ThrottleTier | None:
        return self.catalogue.throttle_tiers[client.tier] if client.tier else None

    def limits_of(self, client: Client) -> list[Limit] | None:
        return self._limits[client.tier] if client.tier else None


class Caller(msgspec.Struct, frozen=True):
    """Who calls, and what the catalogue says of it."""

    principal: Principal
    client: Client


class Gate:
    """What every request of one layer passes through."""

    def __init__(
        self,
        layer: Layer,
        live_catalogue: LiveCatalogue,
        verifier: Verifier,
        revocations: Revocations,
        throttle: RateLimiter,
        shared: SharedStore,
        audit: AuditLog,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self.layer: Layer = layer
        self.live_catalogue = live_catalogue
        self.throttle = throttle
        self.revocations = revocations
        self.idempotency = Idempotency(shared, new_id)
        self.usage = DeprecationUsage(shared, clock)
        self._load = LoadShedder()
        self.rules: dict[str, Rules] = {}
        self.methods: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
        """What each path can be asked."""
        self._verifier = verifier
        self._audit = audit
        self.retention = Retention(audit, live_catalogue, clock)
        self._clock = clock
        self._new_id = new_id
        live_catalogue.when_changed(self._govern)

    def _govern(self, catalogue: Catalogue) -> None:
        """Look up once what each operation of this layer is governed by."""
        entities = {name: catalogue.entities_of(client) for name, client in catalogue.clients.items()}
        made = {name: Rules(operation, catalogue, entities) for name, operation in catalogue.gateway.operations.items()}
        for name, api in catalogue.apis.items():
            if api.layer == self.layer:
                made |= {
                    each: Rules(operation, catalogue, entities, name, api) for each, operation in api.operations.items()
                }
        self.rules = made

    def correlation_id(self, headers: dict[bytes, bytes]) -> str:
        offered = headers.get(MARK)
        if offered is not None and correlation.accepted(known := offered.decode("latin-1")):
            return known
        return self._new_id("cor")

    def begin(self, operation_id: str, rules: Rules, headers: dict[bytes, bytes]) -> Token[deadline.Deadline | None]:
        """Give the call the time of its service tier from here on, or less if its caller waits less."""
        return deadline.enter(operation_id, rules.service_tier.timeout, headers.get(deadline.MARK, b""))

    def now(self) -> datetime:
        """Return the moment in UTC. A request asks once."""
        return self._clock()

    def version(self, rules: Rules, version: str, now: datetime) -> Headers:
        """Return the headers that tell of the version's life. Raises 404 or 410 when it is not served."""
        if rules.api is None:
            return []
        today = now.date()
        if rules.lives.get(version) != today:
            rules.marks[version] = versions.check(rules.name, version, rules.api.versions[version], today)
            rules.lives[version] = today
        return rules.marks[version].copy()

    def note(self, rules: Rules, caller: Caller | None, version: str) -> None:
        """Remember who calls a deprecated version."""
        if caller and rules.api and rules.api.versions[version].state == "deprecated":
            self.usage.note(caller.principal.client, rules.name, version)

    async def authenticate(self, rules: Rules, headers: dict[bytes, bytes]) -> Caller | None:
        """Return who calls, or None where the catalogue leaves the door open. Raises 401."""
        if rules.operation.open:
            return None
        authorization = headers.get(b"authorization", b"")
        principal = self._verifier.known(authorization) or await self._verifier.principal(
            authorization.decode("latin-1")
        )
        client = rules.catalogue.clients.get(principal.client)
        if client is None or client.audience != self.layer:
            raise unauthenticated()
        return Caller(principal, client)

    def admit(self, rules: Rules, caller: Caller | None) -> None:
        """Carry the call until it is released. Raises 503 under overload, 429 when the client has too many running."""
        if rules.carried:
            self._load.begin(rules.service_tier)
        if caller and (tier := rules.tier_of(caller.client)):
            try:
                self.throttle.begin(caller.principal.client, tier)
            except ProblemError:
                self._load.end()
                raise

    def release(self, rules: Rules, caller: Caller | None) -> None:
        """End a call that was admitted."""
        if caller and caller.client.tier:
            self.throttle.end(caller.principal.client)
        if rules.carried:
            self._load.end()

    async def count(self, operation_id: str, rules: Rules, caller: Caller | None, now: datetime) -> Headers:
        """Count the call against its client's limits. Raises 429; returns the fields that tell what is left."""
        if caller is None or (limits := rules.limits_of(caller.client)) is None:
            return []
        call = RateLimitedCall(caller.principal.client, operation_id)
        return await self.throttle.take(call, limits, rules.operation.cost, now)

    def authorize(self, rules: Rules, caller: Caller | None) -> Principal | None:
        """Return the caller with what the request's catalogue lets it see. Raises 403."""
        if caller is None:
            return None
        scope = rules.operation.scope
        if scope not in caller.principal.scopes or scope not in caller.client.scopes:
            raise ProblemError(FORBIDDEN, f"The operation needs the scope {scope}.")
        return caller.principal.within(caller.client, rules.entities[caller.principal.client])

    def refused(self, operation_id: str, status: int, correlation_id: str) -> None:
        """Log a caller that is turned away for want of credentials."""
        if status == UNAUTHENTICATED.status:
            log.warning("refused", operation=operation_id, status=status, correlation_id=correlation_id)

    def leave(
        self, operation_id: str, rules: Rules, principal: Principal | None, path: str, status: int, acts_for: str
    ) -> None:
        """Keep an audit record of every write, and of every write that was unauthenticated."""
        if rules.operation.idempotency == "safe":
            return
        client, subject = (
            (principal.client, principal.subject) if principal else (rules.operation.open or "unknown", acts_for)
        )
        self._audit.write(
            AuditEntry(
                at=self._clock(),
                layer=self.layer,
                operation=operation_id,
                version=versions.named_in(path) if rules.api else "",
                client=client,
                on_behalf_of=subject,
                object=path,
                status=status,
                correlation_id=correlation.current(),
            )
        )


class Governance:
    """The gate as ASGI middleware, for one route."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await self._say_methods(scope["path_template"], send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        operation_id = operation_of(scope["route_handler"])
        rules = self.gate.rules[operation_id]
        principal: Principal | None = None
        marks: Headers = []
        settled = False

        def settle(status: int) -> None:
            """Write the audit record once, and before the caller hears of it: no write is answered without one."""
            nonlocal settled
            if not settled:
                settled = True
                self.gate.refused(operation_id, status, correlation_id)
                self.gate.leave(operation_id, rules, principal, scope["path"], status, scope["state"].get(ACTS_FOR, ""))

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                settle(message["status"])
                kept = [each for each in message["headers"] if each[0] != MARK]
                message["headers"] = [*kept, *marks, (MARK, correlation_id.encode())]
            await send(message)

        correlation_id = self.gate.correlation_id(headers)
        scope["state"][correlation.STATE] = correlation_id
        with correlation.correlated(correlation_id):
            limited, now = self.gate.begin(operation_id, rules, headers), self.gate.now()
            try:
                version = versions.named_in(scope["path"])
                marks = self.gate.version(rules, version, now)
                caller = await self.gate.authenticate(rules, headers)
                principal = caller and caller.principal
                self.gate.admit(rules, caller)
                try:
                    marks += await self.gate.count(operation_id, rules, caller, now)
                    principal = self.gate.authorize(rules, caller)
                    scope["state"]["principal"] = principal
                    self.gate.note(rules, caller, version)
                    await self._handled(operation_id, rules, principal, scope, receive, send_marked)
                finally:
                    self.gate.release(rules, caller)
            except ProblemError as error:
                settle(error.problem.status)
                error.mark(marks)
                raise
            finally:
                deadline.leave(limited)
                settle(500)  # it broke off without an answer

    async def _handled(
        self,
        operation_id: str,
        rules: Rules,
        principal: Principal | None,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Hand the request to its handler; a write that has a name is handed over once."""
        if principal is None or rules.operation.idempotency == "safe":
            await self.app(scope, receive, send)
            return
        await self.gate.idempotency.run(
            self.app,
            scope,
            receive,
            send,
            client=principal.client,
            operation=operation_id,
            needed=rules.operation.idempotency == "key",
        )

    async def _say_methods(self, path: str, send: Send) -> None:
        allowed = ", ".join(sorted(self.gate.methods[path])).encode()
        await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed)]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def operation_of(handler: object) -> str:
    """Return the operation id that a route handler declares. Raises `Ungoverned` if it declares none."""
    operation_id = getattr(handler, "operation_id", None)
    if not isinstance(operation_id, str):
        raise Ungoverned(f"{handler} has no operation id")
    return operation_id


def _principal(request: Request[Any, Any, Any]) -> Principal:
    principal = request.scope["state"]["principal"]
    if not isinstance(principal, Principal):
        raise unauthenticated()
    return principal


def _act(request: Request[Any, Any, Any]) -> str:
    """Return the id of the act that this request is, whenever it is sent: the natural key of what it creates."""
    return str(request.scope["state"]["act"])


def _giving(provided: object) -> Callable[[], Any]:
    def give() -> Any:
        return provided

    return give


def governed(
    gate: Gate,
    handlers: Sequence[ControllerRouterHandler],
    *,
    readiness: Readiness,
    provided: Mapping[str, object],
    on_startup: Sequence[LifespanHook] = (),
    on_shutdown: Sequence[LifespanHook] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the app of one deployable, whose handlers are given what is `provided` by name; `openapi` makes one
    that is described and not served. Raises `Ungoverned` when a route's operation is not in the catalogue."""

    @get("/health/live", operation_id="live", summary="Whether the process runs")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @get(
        "/health/ready",
        operation_id="ready",
        summary="Whether all that it depends on can be reached",
        sync_to_thread=True,
    )
    def ready() -> Response[dict[str, str]]:
        found = readiness()
        ready = all(each == "ok" for each in found.values())
        wrong = gate.live_catalogue.refused  # said, and no reason to stop: the previous catalogue governs
        said = found | {"catalogue": f"refused, the previous one governs: {wrong}" if wrong else "ok"}
        if away := gate.throttle.away:
            said["limits"] = f"counted in memory, for each replica alone: Redis is away ({away})"
        return Response(said, status_code=200 if ready else 503)

    watching = Background(gate.live_catalogue.watch, gate.revocations.watch, gate.usage.watch, gate.retention.watch)
    app = Litestar(
        route_handlers=[live, ready, *handlers],
        middleware=[DefineMiddleware(Governance, gate=gate)],
        exception_handlers=dict(HANDLERS),
        before_request=refuse_unknown_fields,
        request_max_body_size=MAX_BODY,
        dependencies={
            "principal": Provide(_principal, sync_to_thread=False),
            "act": Provide(_act, sync_to_thread=False),
            **{name: Provide(_giving(each), sync_to_thread=False) for name, each in provided.items()},
        },
        on_startup=[watching.start, *on_startup],
        on_shutdown=[*on_shutdown, watching.stop],
        openapi_config=openapi,
        logging_config=None,
    )
    gate.live_catalogue.serves(_served(app, gate, described=openapi is not None))
    return app


def _served(app: Litestar, gate: Gate, *, described: bool) -> set[str]:
    """Return the operations of all routes. Raises `Ungoverned` for one that the catalogue does not know."""
    served: set[str] = set()
    for route in app.routes:
        if described and route.path.startswith(DESCRIBED_AT):
            continue
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            gate.methods[route.path_format] |= handler.http_methods
            if "OPTIONS" in handler.http_methods:
                continue
            operation_id = operation_of(handler)
            rules = gate.rules.get(operation_id)
            if rules is None:
                raise Ungoverned(f"the catalogue does not know the operation {operation_id!r}")
            if rules.api and versions.named_in(route.path) not in rules.api.versions:
                raise Ungoverned(f"the catalogue does not know the version of {route.path}")
            if (rules.operation.idempotency == "safe") != (handler.http_methods <= {"GET", "HEAD"}):
                raise Ungoverned(f"{operation_id!r} changes something and is called safe, or the other way round")
            served.add(operation_id)
    return served
