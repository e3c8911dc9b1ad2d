"""Errors as RFC 9457 problem details, from one catalogue of problem types."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from canonical.faults import Conflict, NotFound, PlatformFault, Rejected, Throttled, Unavailable, UnknownOutcome
from policies.context import correlation
from policies.policy import Headers

OURS = "The fault is on our side."
MOST_ERRORS = 50
"""So many errors of a request are named."""
LONGEST = 300
"""Characters of a path or a reason."""
UNFIT = "The request does not fit the contract."
CONTENT_TYPE = "application/problem+json"
NEVER_STORED: Headers = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
"""What each answer says, unless its route says otherwise: it is what it says it is, and nobody stores it."""
TRANSPORT = re.compile(r" \([A-Z]\w*\)$")
"""The name of an exception at the end of a reason."""
log = structlog.get_logger("tiergate.problems")


URIS = "/problems/"
"""What the URI of each type begins with: its page is there."""


class ProblemType(msgspec.Struct, frozen=True):
    """A type of problem: `name` ends its URI, `remedy` says what the caller can do, `meaning` explains it
    on its page.
    """

    name: str
    status: int
    title: str
    remedy: str
    meaning: str = ""

    @property
    def uri(self) -> str:
        return f"{URIS}{self.name}"


def name_in(uri: str) -> str:
    """Return the name of a type of problem from its URI."""
    return uri.removeprefix(URIS)


TYPES: dict[str, ProblemType] = {}
"""All problem types, by name: those of this module, and those that policies declare in their own files."""


def problem_type(name: str, status: int, title: str, remedy: str, meaning: str) -> ProblemType:
    """Declare a problem that callers meet: it has a page of its own. Raises `ValueError` when the name is taken."""
    if name in TYPES:
        raise ValueError(f"there is a problem {name!r} already")
    TYPES[name] = made = ProblemType(name, status, title, remedy, meaning)
    return made


UNAUTHENTICATED = problem_type(
    "unauthenticated",
    401,
    "No valid credentials",
    "Send a fresh access token for this layer.",
    "There is no token, or it is expired, revoked, malformed, or made for another layer. Which of these is not said.",
)
FORBIDDEN = problem_type(
    "forbidden",
    403,
    "Not allowed",
    "Ask the platform team for the API or the scope that the operation needs.",
    "The token is good, and does not allow this: the API is not one of your client's, a scope is missing, or the "
    "duties of two people would fall together.",
)
NOT_OWNED = problem_type(
    "not-owned",
    403,
    "Another system owns the field",
    "Change the field where it is owned, or ask the platform team to declare a copy.",
    "Each field has one owner. "
    "A write to a platform carries what that platform owns, and copies that the catalogue declares.",
)
OUTSIDE_REGION = problem_type(
    "outside-region",
    403,
    "The record stays in its region",
    "Work with the record in its own region.",
    "Records stay in the region of their legal entity, but for the few fields that the catalogue allows to leave.",
)
MISSING = problem_type(
    "not-found",
    404,
    "No such record",
    "Check the identifier, and that it is yours to see.",
    "There is no such record for you. One that belongs to somebody else looks just the same.",
)
NO_SUCH_PATH = problem_type(
    "no-such-path",
    404,
    "There is no such path",
    "See /docs for the APIs, their versions and their paths.",
    "No API has this path, or none of the versions that are served has it.",
)
NO_SUCH_METHOD = problem_type(
    "method-not-allowed",
    405,
    "The path does not take this method",
    "Use one of the methods that `Allow` names.",
    "There is such a path, and it cannot be asked in this way. `Allow` names the ways in which it can.",
)
OVERLOADED = problem_type(
    "overloaded",
    503,
    "Too much is going on",
    "Try again after `Retry-After`; nothing was done.",
    "The gateway is busier than it can bear, and lets calls of higher service tiers go first. Nothing was done.",
)
REQUEST_TIMEOUT = problem_type(
    "request-timeout",
    408,
    "The request did not come in time",
    "Send it again, whole.",
    "The head and the body of a request each have a time in which they are to come whole. Nothing was done.",
)
HEAD_TOO_LARGE = problem_type(
    "head-too-large",
    431,
    "The head of the request is too large",
    "Send a shorter path, and fewer or shorter headers.",
    "The line and the headers of a request have at most 32 KiB together, and what frames a body is bounded too.",
)
TOO_LARGE = problem_type(
    "body-too-large",
    413,
    "The body is too large",
    "Send less at a time.",
    "A body has at most 256 KiB, one of usage records 64 MiB.",
)
INVALID = problem_type(
    "invalid-request",
    422,
    "The request does not fit the contract",
    "Correct the fields that `errors` names.",
    "Something in the path, the query or the body breaks the contract. `errors` names each place and why.",
)
NOT_ALLOWED_NOW = problem_type(
    "not-allowed-now",
    409,
    "Not possible in the present state",
    "Read the record again and choose one of its allowed actions.",
    "The record has moved on: what you ask for does not fit the state that it is in.",
)
OWNER_CHANGED = problem_type(
    "owner-changed",
    409,
    "The owner says something else by now",
    "Read the drift again: it has the owner's value of now. Repair it if that is what the other system is to hold.",
    "What was seen when the drift was read is not what would be written. Nothing was done.",
)
DRIFT_STAYS = problem_type(
    "drift-stays",
    409,
    "The other system holds its value all the same",
    "Correct it in that system, or accept it. Somebody may have added a value there that is not ours to take away.",
    "The owner's value was written, and a look after it found another one still: the drift stays open.",
)
REQUEST = problem_type(
    "bad-request",
    400,
    "The request cannot be handled",
    "See the detail.",
    "The request cannot be understood as HTTP.",
)
INTERNAL = problem_type(
    "internal",
    500,
    "Something of ours broke",
    "Try again; if it stays, give the correlation id to the platform team.",
    "A fault of ours. It is in our log under the correlation id.",
)

FAULTS: dict[type[PlatformFault], ProblemType] = {
    Rejected: problem_type(
        "platform-rejected",
        422,
        "A platform refused it",
        "Correct what the detail names; trying again is useless.",
        "The CRM, ERP, billing or provisioning understood the request and refuses it. "
        "`platform` and `field` say which and where.",
    ),
    NotFound: problem_type(
        "platform-not-found",
        404,
        "A platform has no such record",
        "Check the identifier.",
        "The platform behind the gateway does not have what the request names.",
    ),
    Conflict: problem_type(
        "platform-conflict",
        409,
        "Somebody else was there first",
        "Read the record again, then try again.",
        "Two changed the same record at once, or it exists already.",
    ),
    Throttled: problem_type(
        "platform-throttled",
        429,
        "A platform's limit is reached",
        "Wait as `Retry-After` says.",
        "The platform behind the gateway allows no more calls at the moment.",
    ),
    Unavailable: problem_type(
        "platform-unavailable",
        503,
        "A system behind the gateway cannot be reached",
        "Try again later; nothing was done.",
        "The platform, or a layer of ours, did not take the request.",
    ),
    UnknownOutcome: problem_type(
        "outcome-unknown",
        504,
        "A system behind the gateway did not answer in time",
        "It may have acted: read the record before trying again.",
        "The connection to a platform, or to a layer of ours, ended before the answer: it may have been done, or not.",
    ),
}
WRITES = (NOT_OWNED, OUTSIDE_REGION)
"""The types that every write to a platform can be refused with."""
FAULT_BY_NAME = {problem.name: fault for fault, problem in FAULTS.items()}


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field. `path` is a JSON path such as `$.lines[0].quantity`."""

    path: str
    """Which field of the request, as a JSON path such as `$.lines[0].quantity`."""
    reason: str
    """What is wrong with it, in words."""


def bounded(errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
    """Return the first of some errors, with what they quote shortened: what a caller sends makes no long answer."""
    return tuple(FieldError(_short(each.path), _short(each.reason)) for each in islice(errors, MOST_ERRORS))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class ProblemError(Exception):
    """A refusal of ours, as a problem of a known type."""

    def __init__(
        self,
        problem: ProblemType,
        detail: str,
        errors: Iterable[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """`errors` are read as far as they are shown."""
        super().__init__(detail)
        self.headers = headers
        self.problem = problem
        self.detail = detail
        self.errors = bounded(errors)

    def mark(self, marks: Headers) -> None:
        """Add the headers that every answer has, on limits and versions."""
        if marks:
            self.headers = {name.decode(): value.decode() for name, value in marks} | (self.headers or {})


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body (RFC 9457, section 3.1), with members of our own after `instance`."""

    type: str
    """What kind of problem this is: the address of the page that explains it, relative to this host."""
    title: str
    """What kind of problem this is, in words."""
    status: int
    """The HTTP status of the answer."""
    detail: str
    """What went wrong this time, in words."""
    remedy: str
    """What to do about it, in words."""
    correlation_id: str
    """The id under which this call is in the logs: name it when you ask for help."""
    errors: tuple[FieldError, ...] = ()
    """Each field of the request that is wrong."""
    platform: str = ""
    """The platform that caused it, by its name in the catalogue; left out when none did."""
    field: str = ""
    """The field that the platform refused; left out when it named none."""


def as_answer(error: ProblemError | PlatformFault, correlation_id: str) -> tuple[int, Headers, bytes]:
    """Return (status, headers, body) of a refusal, where there is no request of the web framework."""
    if isinstance(error, PlatformFault):
        problem, detail, given = FAULTS[type(error)], _said(error), _wait(error)
        members: dict[str, Any] = {"platform": error.platform, "field": error.field}
    else:
        problem, detail, given = error.problem, error.detail, error.headers or {}
        members = {"errors": error.errors}
    body = _body(problem, detail, correlation_id, **members)
    headers = [(b"content-type", CONTENT_TYPE.encode()), *NEVER_STORED]
    headers += [(name.lower().encode(), value.encode()) for name, value in given.items()]
    return problem.status, headers, msgspec.json.encode(body)


def _body(problem: ProblemType, detail: str, correlation_id: str, **members: Any) -> Problem:
    return Problem(problem.uri, problem.title, problem.status, detail, problem.remedy, correlation_id, **members)


def _said(fault: PlatformFault) -> str:
    """Return the reason of a fault without the transport's own name of it, which says how we are made."""
    return TRANSPORT.sub("", fault.reason)


def _wait(fault: PlatformFault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:.0f}"}


def _answer(
    request: Request[Any, Any, Any],
    problem: ProblemType,
    detail: str,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> Response[Problem]:
    """Return the response for a problem, with the correlation id that the request was given."""
    correlation_id = str(request.scope["state"].get(correlation.STATE, ""))
    body = _body(problem, detail, correlation_id, **members)
    never_stored = {name.decode(): value.decode() for name, value in NEVER_STORED}
    headers = {**never_stored, **({correlation.HEADER: correlation_id} if correlation_id else {}), **(headers or {})}
    return Response(body, status_code=problem.status, media_type=CONTENT_TYPE, headers=headers)


def _ours(request: Request[Any, Any, Any], error: ProblemError) -> Response[Problem]:
    return _answer(request, error.problem, error.detail, error.headers, errors=error.errors)


def _fault(request: Request[Any, Any, Any], fault: PlatformFault) -> Response[Problem]:
    return _answer(request, FAULTS[type(fault)], _said(fault), _wait(fault), platform=fault.platform, field=fault.field)


def _validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[Problem]:
    found: list[dict[str, Any]] = error.extra if isinstance(error.extra, list) else []
    errors = bounded(FieldError(_path(each), str(each.get("message", ""))) for each in found)
    return _answer(request, INVALID, UNFIT, errors=errors)


def _path(found: dict[str, Any]) -> str:
    """Return the JSON path of a wrong field.

    It is `$` for the whole body, which the web framework names by the handler's argument.
    """
    key = found.get("key", "")
    return "$" if not key or (key == "data" and found.get("source") == "body") else f"$.{key}"


KNOWN = {each.status: each for each in (UNAUTHENTICATED, FORBIDDEN, NO_SUCH_METHOD, TOO_LARGE)}
"""The problems that the web framework finds by itself."""


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    if error.status_code >= INTERNAL.status:
        return _broken(request, error)  # the framework's text for a fault of ours may hold what is internal
    missing = MISSING if "route_handler" in request.scope else NO_SUCH_PATH
    known = KNOWN.get(error.status_code) or (missing if error.status_code == MISSING.status else None)
    if known:
        return _answer(request, known, known.title + ".", dict(error.headers or {}))
    problem = ProblemType(REQUEST.name, error.status_code, error.detail, REQUEST.remedy)
    return _answer(request, problem, error.detail, dict(error.headers or {}))


def broken(error: BaseException) -> tuple[int, Headers, bytes]:
    """Log a fault of ours with where it was raised. Return (status, headers, body) of the answer."""
    _log(error, correlation_id=correlation.current())
    return as_answer(ProblemError(INTERNAL, OURS), correlation.current())


def _broken(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    _log(error, path=_short(request.url.path), correlation_id=str(request.scope["state"].get(correlation.STATE, "")))
    return _answer(request, INTERNAL, OURS)


def _log(error: BaseException, **about: str) -> None:
    log.error("request failed", **about, fault=type(error).__name__, at=places(error))


def places(error: BaseException) -> list[str]:
    """Return where an error was raised, outermost frame first.

    The message and the values are left out: they may hold personal fields and secrets.
    """
    frames = traceback.extract_tb(error.__traceback__)
    causes = places(error.__cause__) if error.__cause__ else []
    return [*causes, *(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames[-12:])]


Handler = Callable[[Request[Any, Any, Any], Any], Response[Problem]]
HANDLERS: dict[int | type[Exception], Handler] = {
    ProblemError: _ours,
    PlatformFault: _fault,
    ValidationException: _validation,
    HTTPException: _http,
    Exception: _broken,
}
