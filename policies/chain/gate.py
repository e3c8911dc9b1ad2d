"""Makes a governed Litestar app, and is the only way to make one.

Every request of every route passes the policies of `policies/chain/pipeline.py`, under the catalogue as it is when the
request comes. Its answer carries what they left: headers of the version and of the limits, and the correlation id.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from itertools import chain
from os import uname
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response, get
from litestar.di import Provide
from litestar.exceptions import ValidationException
from litestar.middleware import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, HTTPScope, LifespanHook, Message, Receive, Scope, Send

from canonical.faults import PlatformFault
from canonical.ids import Clock, NewId
from policies.audit.log import AuditLog
from policies.audit.retention import Retention
from policies.audit.trail import AuditTrail
from policies.background import Background, Course, Job, troubles
from policies.catalogue.live import LiveCatalogue, governed_by
from policies.catalogue.model import Catalogue, Layer, Report
from policies.chain.exposition import Asked, measured, metrics_route
from policies.chain.job_reports import JobReports, SendReport
from policies.chain.pipeline import Pipeline, Services
from policies.chain.readiness import SCOPE, UNKNOWN, Latest, is_ok
from policies.chain.refusals import Refusals
from policies.context import correlation
from policies.contract import versions
from policies.contract.bodies import MAX_BODY, ReceivedBody, refuse_unfit_body, send_response
from policies.contract.conformance import in_words
from policies.contract.deprecation_usage import DeprecationUsage
from policies.contract.headers import single
from policies.contract.operation import declaration_of
from policies.contract.parameters import refuse_unknown_parameters, sent_names
from policies.contract.paths import refuse_other_spelling
from policies.http.client import EXCHANGE_MARK
from policies.identity.authentication import Verifier, unauthenticated
from policies.identity.key_ring import KeyRing
from policies.identity.revocation import Revocations
from policies.observe import tracing
from policies.observe.metrics import Metrics
from policies.policy import Call, Headers, Principal, Rules
from policies.problems import HANDLERS, NEVER_STORED, Handler, Problem, ProblemError, as_answer, name_in
from policies.store.secret import NO_SECRET, Secret
from policies.store.shared_store import SharedStore
from policies.traffic.idempotency import Idempotency, IdempotencyKeys
from policies.traffic.load_shedding import Load
from policies.traffic.rate_limit import RateLimiter

Readiness = Callable[[], dict[str, str]]
"""What this deployable depends on, each `ok` or the reason why not."""


PROVED = "proved"
"""Where the state of a request that a layer makes to itself has its caller. Nobody outside writes into it."""
CALL = "call"
"""Where a request's state has its call, for answers that are made outside of its work."""
REFUSALS = "refusals"
"""Where an app's state has what takes note of its refusals."""
STREAMED = "streamed"
"""Where an app's state has the paths whose bodies are read while they come."""
ACTS_FOR = "acts_for"
"""Where an operation that verifies its caller itself says who that is, for the audit record."""
REFUSED = "refused, the previous one governs: the log of this layer says why"
"""What readiness says of a refused catalogue. It is open to everybody, and the reason names clients and scopes."""
log = structlog.get_logger("tiergate.gate")
DESCRIBED_AT = "/schema"
"""Where an app that is made to be described has its description. Such an app is never served."""


OURS = (correlation.MARK, EXCHANGE_MARK)
"""Headers of an answer that stand for the call, whatever the route says."""


def exchange_of(headers: Mapping[bytes, bytes]) -> Headers:
    """Return the header with which an answer names the request that it belongs to, if the request names itself."""
    named = headers.get(EXCHANGE_MARK)
    return [(EXCHANGE_MARK, named)] if named else []


class Ungoverned(RuntimeError):
    """A route that the catalogue does not know. Such an app does not start."""


class ServedRoute(msgspec.Struct, frozen=True):
    """A route of a layer: its operation, the version that its path names, whether its methods change nothing, and
    whether its body is read while it comes."""

    operation_id: str
    version: str
    safe: bool
    streamed: bool


class Gate:
    """What every request of one layer passes through."""

    def __init__(
        self,
        layer: Layer,
        live_catalogue: LiveCatalogue,
        verifier: Verifier,
        revocations: Revocations,
        keys: KeyRing,
        throttle: RateLimiter,
        shared: SharedStore,
        audit: AuditLog,
        clock: Clock,
        new_id: NewId,
        metrics: Metrics,
        metrics_token: Secret = NO_SECRET,
        jobs: Sequence[Job] = (),
    ) -> None:
        """Without a `metrics_token` nobody is shown the `metrics`. `jobs` are done for as long as the layer runs."""
        self.metrics = metrics
        self.metrics_token = metrics_token
        self.refusals = Refusals(metrics, clock)
        self.jobs = jobs
        self.clock = clock
        self.layer: Layer = layer
        self.live_catalogue = live_catalogue
        self.throttle = throttle
        self.revocations = revocations
        self.keys = keys
        self.idempotency = Idempotency(shared, new_id)
        self.usage = DeprecationUsage(shared, clock)
        self.pipelines: dict[str, Pipeline] = {}
        """The policies of each operation, under the present catalogue."""
        self.methods: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
        """What each path can be asked."""
        self.streamed: set[str] = set()
        """The paths whose bodies are read while they come."""
        self.trail = AuditTrail(audit, clock)
        self.load = Load()
        self._services = Services(verifier, throttle, self.load, self.usage, self.trail, clock, metrics)
        self.retention = Retention(audit, live_catalogue, clock)
        self.new_id = new_id
        live_catalogue.when_changed(self._govern)

    def _govern(self, catalogue: Catalogue) -> None:
        """Look up once what each operation of this layer is governed by."""
        of_api = {each: (name, api) for name, api in catalogue.apis.items() for each in api.operations}
        self.pipelines = {
            each: Pipeline(Rules(self.layer, catalogue, each, operation, *of_api.get(each, ("", None))), self._services)
            for each, operation in catalogue.operations(self.layer).items()
        }

    def call(self, pipeline: Pipeline, path: str, version: str, headers: dict[bytes, bytes]) -> Call:
        """Return what the policies see of a request. Its correlation id is taken over, or made."""
        marks = exchange_of(headers) if EXCHANGE_MARK in headers else []
        return Call(pipeline.rules, path, version, headers, self.clock(), self.correlation_id(headers), marks)

    def correlation_id(self, headers: dict[bytes, bytes]) -> str:
        """Return the correlation id that a request brings, or a new one."""
        offered = headers.get(correlation.MARK)
        known = offered is not None and offered.decode("latin-1")
        return known if known and correlation.accepted(known) else tracing.offered(headers) or self.new_id("cor")

    async def shows_details(self, authorization: str) -> bool:
        """Return whether a caller sees what this layer depends on: the platform team, and of the inner layers their own
        callers, which are layers too."""
        if not authorization:
            return False
        try:
            principal = await self._services.verifier.principal(authorization)
        except ProblemError:
            return False
        client = self.live_catalogue.current.clients.get(principal.client)
        known = client is not None and client.audience == self.layer
        return known and (self.layer != "experience" or SCOPE in principal.scopes)

    def readiness(self) -> dict[str, str]:
        """Return what is known of the policies, each `ok` or what is wrong. It looks at a disk: a thread may ask."""
        wrong = self.live_catalogue.refused  # said, and no reason to stop: the previous catalogue governs
        said = {"catalogue": REFUSED if wrong else "ok", "revocations": self.revocations.said}
        if away := self.throttle.away:
            said["limits"] = f"counted in memory, for each replica alone: Redis is away ({away})"
        if free := self.trail.little_room():
            said["disk"] = f"{free}: writes are refused when there is none"
        if trouble := self.trail.trouble():
            said["audit"] = f"writes are refused: {trouble}"
        if self.keys.trouble:
            said["keys"] = self.keys.trouble
        return said

    def now(self) -> datetime:
        """Return the moment in UTC."""
        return self.clock()


class MarkedAnswer:
    """The answer of one call on its way out, which the policies hear of before the caller does."""

    def __init__(self, pipeline: Pipeline, refusals: Refusals, call: Call, state: dict[str, Any], send: Send) -> None:
        self._pipeline = pipeline
        self._refusals = refusals
        self._call = call
        self._state = state
        self._send = send
        self._replaced = False

    async def decided(self, status: int) -> None:
        """Let the policies know, and wait until they have taken note."""
        self._call.acts_for = self._state.get(ACTS_FOR, "")
        if (waiting := self._pipeline.answered(self._call, status)) is not None:
            await waiting

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with what the policies left; nothing of it when they want another instead."""
        if message["type"] == "http.response.start":
            try:
                await self.decided(message["status"])
            except PlatformFault as fault:
                self._replaced = True
                status, own, body = as_answer(fault, self._call.correlation_id)
                self._refusals.note_passed(self._call, status, body)
                await send_response(self._send, status, [*own, *self._marks()], body)
            else:
                own = [each for each in message["headers"] if each[0] not in OURS]
                names = {name for name, _ in own}
                own += [each for each in NEVER_STORED if each[0] not in names]
                message["headers"] = [*own, *self._marks()]
        elif message["type"] == "http.response.body" and self._call.status >= HTTPStatus.BAD_REQUEST:
            self._refusals.note_passed(self._call, self._call.status, message["body"])
        if not self._replaced:
            await self._send(message)

    def _marks(self) -> Headers:
        return [*self._call.marks, (correlation.MARK, self._call.correlation_id.encode())]


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
        pipeline = self.gate.pipelines[operation_of(scope["route_handler"])]
        path, state = scope["path"], scope["state"]
        refuse_other_spelling(scope["raw_path"], of_api=bool(pipeline.rules.api_name))
        headers = single(scope["headers"], scope["http_version"])
        call = self.gate.call(pipeline, path, versions.named_in(path), headers)
        state[correlation.STATE], state[CALL] = call.correlation_id, call
        call.proved = state.get(PROVED)
        answer = MarkedAnswer(pipeline, self.gate.refusals, call, state, send)
        body = ReceivedBody(receive)
        call.receive_all = body.read_all
        try:
            try:
                if (waiting := pipeline.enter(call)) is not None:
                    await waiting
                await self._handle(call, scope, body.receive, answer.send)
            finally:
                pipeline.leave(call)
        except ProblemError as error:
            await answer.decided(error.problem.status)
            error.mark(call.marks)
            raise
        finally:
            await answer.decided(500)  # it broke off without an answer

    async def _handle(self, call: Call, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Hand the request to its route; a write that has a name is handed over once. The catalogue that let it in
        governs what it does."""
        scope["state"]["principal"] = call.principal
        with governed_by(call.rules.catalogue):
            if IdempotencyKeys.applies(call.rules):
                await self.gate.idempotency.run(self.app, call, scope, receive, send)
            else:
                await self.app(scope, receive, send)

    async def _say_methods(self, path: str, send: Send) -> None:
        self.gate.metrics.count("", "", HTTPStatus.NO_CONTENT)
        allowed = ", ".join(sorted(self.gate.methods[path])).encode()
        await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed), *NEVER_STORED]})
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


def _refusing_unknown(gate: Gate) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Return what refuses a body that does not fit the contract, and parameters of an API's query that it lacks. Pages
    and probes take any query."""

    async def refuse(request: Request[Any, Any, Any]) -> None:
        if gate.pipelines[operation_of(request.route_handler)].rules.api_name:
            refuse_unknown_parameters(request)
        await refuse_unfit_body(request)

    return refuse


def _answering(gate: Gate, handle: Handler) -> Handler:
    """Return a handler of exceptions for requests that no route has seen too: they have a correlation id as all have.
    Parameters are named as they are sent, and what is wrong with them is said in the words of JSON."""

    def answer(request: Request[Any, Any, Any], error: Any) -> Response[Problem]:
        if correlation.STATE not in request.scope["state"]:
            request.scope["state"][correlation.STATE] = gate.correlation_id(dict(request.scope["headers"]))
        if isinstance(error, ValidationException):
            names = sent_names(request.route_handler)
            parameters = request.route_handler.parsed_fn_signature.parameters
            found: list[dict[str, Any]] = error.extra if isinstance(error.extra, list) else []
            for each in found:
                if of := parameters.get(str(each.get("key"))):
                    each["message"] = in_words(str(each["message"]), of.annotation)
                if each.get("source") == "query":
                    each["key"] = names.get(each["key"], each["key"])
        answered = handle(request, error)
        for name, value in exchange_of(dict(request.scope["headers"])):
            answered.headers[name.decode()] = value.decode("latin-1")
        call, problem = request.scope["state"].get(CALL), name_in(answered.content.type)
        if call is None:
            correlation_id = request.scope["state"][correlation.STATE]
            gate.refusals.note_unrouted(problem, answered.content.status, correlation_id)
        else:
            gate.refusals.note(call, problem, answered.content.status)
        return answered

    return answer


def _as_fault(fault: PlatformFault) -> Handler:
    """Return a handler that answers an exception as a fault of what the layer depends on."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        log.warning("a request met what is away", away=fault.platform, reason=type(error).__name__)
        return HANDLERS[PlatformFault](request, fault)

    return answer


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
    ready_without: bool = False,
    background: Sequence[Background] = (),
    also: Callable[[], Iterable[Course]] = tuple,
    report: SendReport | None = None,
    away: Mapping[type[Exception], PlatformFault] = MappingProxyType({}),
    measures: Sequence[Asked] = (),
    on_startup: Sequence[LifespanHook] = (),
    on_shutdown: Sequence[LifespanHook] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the app of one deployable, whose handlers are given what is `provided` by name; `openapi` makes one
    that is described and not served. With `ready_without` the layer is ready also when something that its readiness
    names is away. The jobs of `background` run from its start to its end; how they go on, and what is in threads that
    `also` returns, is said by readiness, and goes to `report`. An exception that is in `away` is answered as the
    fault there is. `measures` are asked for with the metrics. Raises `Ungoverned` when a route's operation is not in
    the catalogue."""

    @get("/health/live", operation_id="live", summary="Whether the process runs")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    latest = Latest(readiness, UNKNOWN)

    @get("/health/ready", operation_id="ready", summary="Whether all that it depends on can be reached")
    async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        found = await latest.found()
        ready = ready_without or all(is_ok(each) for each in found.values())
        if not await gate.shows_details(request.headers.get("authorization", "")):
            return Response({"status": "ok" if ready else "not ready"}, status_code=200 if ready else 503)
        said = found | await asyncio.to_thread(gate.readiness)
        if stopped := troubles(courses()):
            said["background"] = stopped
        return Response(said, status_code=200 if ready else 503)

    def courses() -> Iterable[Course]:
        return chain(*(each.courses() for each in (watching, *background)), also())

    reports = [] if report is None else [JobReports(courses, report, gate.new_id, uname().nodename).watch]
    watching = Background(
        *reports,
        gate.live_catalogue.watch,
        gate.revocations.watch,
        gate.keys.watch,
        *gate.jobs,
        gate.usage.watch,
        gate.retention.watch,
        gate.trail.watch,
    )

    gate.metrics.find(partial(measured, gate, courses))
    shown = [metrics_route(gate.metrics, gate.metrics_token, measures)] if gate.metrics_token else []
    app = Litestar(
        route_handlers=[live, ready, *shown, *handlers],
        middleware=[DefineMiddleware(Governance, gate=gate)],
        exception_handlers={
            **{kind: _answering(gate, handle) for kind, handle in HANDLERS.items()},
            **{kind: _answering(gate, _as_fault(fault)) for kind, fault in away.items()},
        },
        before_request=_refusing_unknown(gate),
        request_max_body_size=MAX_BODY,
        dependencies={
            "principal": Provide(_principal, sync_to_thread=False),
            "act": Provide(_act, sync_to_thread=False),
            **{name: Provide(_giving(each), sync_to_thread=False) for name, each in provided.items()},
        },
        on_startup=[gate.revocations.try_to_look, *(each.start for each in (watching, *background)), *on_startup],
        on_shutdown=[*(each.stop for each in background), *on_shutdown, watching.stop],
        openapi_config=openapi,
        logging_config=None,
    )
    routes = tuple(_served(app, gate, described=openapi is not None))
    if wrong := list(ungoverned(gate.live_catalogue.current, gate.layer, routes)):
        raise Ungoverned("; ".join(f"{'.'.join(path)}: {reason}" for path, reason, _ in wrong))
    gate.live_catalogue.require(lambda catalogue: ungoverned(catalogue, gate.layer, routes))
    app.state[REFUSALS] = gate.refusals
    app.state[STREAMED] = gate.streamed
    return app


def refusals_of(app: object) -> Refusals | None:
    """Return what takes note of the refusals of a governed app, for those who refuse before it is asked."""
    return app.state.get(REFUSALS) if isinstance(app, Litestar) else None


def streamed_by(app: object) -> Container[str]:
    """Return the paths of a governed app whose bodies are read while they come."""
    return app.state.get(STREAMED, ()) if isinstance(app, Litestar) else ()


def _served(app: Litestar, gate: Gate, *, described: bool) -> Iterator[ServedRoute]:
    """Yield all routes, and note what each path can be asked. Raises `Ungoverned` for one without an operation."""
    for route in app.routes:
        if described and route.path.startswith(DESCRIBED_AT):
            continue
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            gate.methods[route.path_format] |= handler.http_methods
            if "OPTIONS" not in handler.http_methods:
                safe = handler.http_methods <= {"GET", "HEAD"}
                streamed = declaration_of(handler).streamed
                if streamed:
                    gate.streamed.add(route.path)
                yield ServedRoute(operation_of(handler), versions.named_in(route.path), safe, streamed)


def ungoverned(catalogue: Catalogue, layer: Layer, routes: Iterable[ServedRoute]) -> Iterator[Report]:
    """Report what a catalogue lacks to govern the routes of a layer."""
    operations = catalogue.operations(layer)
    for route in routes:
        operation, name = operations.get(route.operation_id), catalogue.api_of(route.operation_id)
        path = ("apis", name) if name else ()
        if operation is None:
            reason = f"the {layer} layer serves it and has no rules for it"
            yield (*path, "operations", route.operation_id), reason, "put it back"
            continue
        if name and route.version not in catalogue.apis[name].versions:
            reason = f"the {layer} layer serves it and has no rules for it"
            yield (*path, "versions", route.version), reason, "put it back, until the code no longer serves it"
        if (operation.idempotency == "safe") != route.safe:
            reason = "it changes something and is called safe, or the other way round"
            yield (*path, "operations", route.operation_id, "idempotency"), reason, "say what the route does"
        if operation.streamed != route.streamed:
            reason = "its body is streamed and it is not said, or the other way round"
            yield (*path, "operations", route.operation_id, "streamed"), reason, "say what the route does"
