"""How a route is declared: with the options that there are and no others, so that a misspelt one is an error of
types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from policies.problems import ProblemType

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
DECLARED = "declared"
"""Where a route has its declaration, in Litestar's `opt`."""
CREATED, OK = 201, 200
MAX_STREAM = 64 * 1024 * 1024
"""Bytes of a body that is read while it comes."""
LINES = "application/x-ndjson"
"""The type of a body that is a JSON value on each line."""


class Declaration(msgspec.Struct, frozen=True):
    """What a route says of itself beside what the web framework asks for.

    `problems` are those of its own. `asks_platforms` is whether the answer may be a platform's fault. `passes` is the
    path at the next layer that a read is passed through to, with `{parameter}` where the last segment goes. `links` are
    where an answer leads: the next operation, its parameter, and where in the answer its value is (RFC 6901). An answer
    that `holds_secret` is kept nowhere: the same request again is handled again.
    `lines` is the type of each line of a body that is lines of JSON, which the handler reads itself; with `streamed` it
    does so while they come. An answer that is a file has one of the media types `files`.
    """

    problems: tuple[ProblemType, ...] = ()
    asks_platforms: bool = False
    passes: str = ""
    links: Mapping[str, tuple[str, str]] = {}
    holds_secret: bool = False
    lines: Any = None
    streamed: bool = False
    files: tuple[str, ...] = ()


def operation(
    operation_id: str,
    method: Method,
    path: str,
    *,
    summary: str,
    answers: Any = None,
    status: int = 0,
    problems: tuple[ProblemType, ...] = (),
    asks_platforms: bool = False,
    passes: str = "",
    links: Mapping[str, tuple[str, str]] | None = None,
    holds_secret: bool = False,
    sync_to_thread: bool | None = None,
    lines: Any = None,
    streamed: bool = False,
    files: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Declare a route for an operation of the catalogue.

    `answers` is the type of the answer where the handler passes bytes on or shapes them itself. `status` is that of
    success: 201 for a POST and 200 for the others, if not said. `sync_to_thread` is asked for a handler that is no
    coroutine. `lines`, `streamed` and `files` are those of `Declaration`.
    """
    succeeds = status or (CREATED if method == "POST" else OK)

    def declare(handler: Callable[..., Any]) -> HTTPRouteHandler:
        declared = Declaration(problems, asks_platforms, passes, links or {}, holds_secret, lines, streamed, files)
        responses = {} if answers is None else {succeeds: ResponseSpec(answers, generate_examples=False)}
        route = HTTPRouteHandler(
            path,
            http_method=method,
            operation_id=operation_id,
            summary=summary,
            status_code=succeeds,
            responses=responses,
            sync_to_thread=sync_to_thread,
            opt={DECLARED: declared},
        )
        return route(handler)

    return declare


def declaration_of(handler: HTTPRouteHandler) -> Declaration:
    """Return what a route says of itself; an empty declaration for one that the web framework alone declares."""
    return handler.opt.get(DECLARED, Declaration())


def answer_type(handler: HTTPRouteHandler) -> Any:
    """Return the type of what a route answers: the declared one where the handler passes bytes on or shapes them
    itself."""
    declared: Any = next(iter((handler.responses or {}).values()), None)
    return declared.data_container if declared else handler.parsed_fn_signature.return_type.annotation
