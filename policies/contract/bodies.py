"""What a request may carry: a bounded body that fits its contract, and no field that the contract does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, cast

import msgspec
from litestar import Request
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send
from msgspec import inspect

from policies.contract.conformance import unfit
from policies.contract.operation import MAX_STREAM
from policies.http.client import storable
from policies.policy import Call, Policy, Rules
from policies.problems import INVALID, REQUEST, TOO_LARGE, UNFIT, FieldError, ProblemError

MAX_BODY = 256 * 1024


@lru_cache
def described(kind: Any) -> inspect.Type:
    """Return what msgspec knows of a type: its fields, its items, its members."""
    return inspect.type_info(kind)


async def read_body(receive: Receive, longest: int = MAX_BODY) -> bytes:
    """Return the whole body of a request. Raises `ProblemError`: 413 when it is longer, 400 when it breaks off."""
    body = b""
    async for part in parts_of_body(receive, longest):
        body += part
    return body


async def parts_of_body(receive: Receive, longest: int = MAX_STREAM) -> AsyncIterator[bytes]:
    """Yield the body of a request as it comes. Raises `ProblemError` as `read_body` does."""
    left = longest
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ProblemError(REQUEST, "The request broke off.")
        left -= len(message["body"])
        if left < 0:
            raise ProblemError(TOO_LARGE, TOO_LARGE.title + ".")
        yield message["body"]
        if not message["more_body"]:
            return


def replayed(body: bytes) -> Receive:
    """Return the same body for the next reader."""

    async def receive() -> HTTPReceiveMessage:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class ReceivedBody:
    """The body of one request: it is read to its end once, and `receive` returns it from then on."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive

    async def read_all(self) -> None:
        """Read the body. Raises `ProblemError` as `read_body` does."""
        self.receive = replayed(await read_body(self.receive))


class WholeRequest(Policy):
    """A call that changes something goes on when its body has come whole: one that never does takes no slot. A body
    that is streamed cannot be waited for; it ends within the time of its call."""

    @staticmethod
    def applies(rules: Rules) -> bool:
        return rules.operation.idempotency != "safe" and not rules.operation.streamed

    def enter(self, call: Call) -> Awaitable[None] | None:
        return call.receive_all() if call.receive_all is not None else None


class CapturedResponse(msgspec.Struct, frozen=True):
    """A whole answer, before anybody has seen it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


async def captured(app: ASGIApp, scope: Scope, receive: Receive) -> CapturedResponse:
    """Return what an app answers, held back."""
    status, headers, parts = 0, tuple[tuple[bytes, bytes], ...](), list[bytes]()

    async def hold(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], tuple(message["headers"])
        elif message["type"] == "http.response.body":
            parts.append(message["body"])

    await app(scope, receive, hold)
    return CapturedResponse(status, headers, b"".join(parts))


async def send_response(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Send an answer whose headers may come from another body: its length is that of this one."""
    kept = [each for each in headers if each[0] != b"content-length"]
    kept.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def decoded_body(raw: bytes) -> Any:
    """Return the value of a JSON body. Raises `ProblemError` (422) when it is none, or one that cannot be kept."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        wrong = FieldError("$", f"it is not JSON: {str(error).lower()}")
        raise ProblemError(INVALID, "The body is not JSON.", (wrong,)) from error
    except RecursionError as error:
        raise ProblemError(INVALID, UNFIT, (FieldError("$", "it is nested too deeply"),)) from error
    if b"\\u0000" in raw and storable(value) != value:
        raise ProblemError(INVALID, UNFIT, (FieldError("$", "it has the character U+0000, which cannot be kept"),))
    return value


async def refuse_unfit_body(request: Request[Any, Any, Any]) -> None:
    """Refuse a JSON body that does not fit its contract, or has fields that it lacks: 422, with the path of each
    trouble."""
    expected = getattr(request.route_handler, "parsed_data_field", None)
    if expected is None or not (raw := await request.body()):
        return
    value = decoded_body(raw)
    try:
        msgspec.convert(value, expected.annotation, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise ProblemError(INVALID, UNFIT, unfit(expected.annotation, value)) from error
    unknown = _unknown(described(expected.annotation), value, "$")
    if (first := next(unknown, None)) is not None:
        raise ProblemError(INVALID, "The body has fields that the contract does not know.", chain([first], unknown))


def names_the_same(in_path: str, in_body: str, member: str = "id") -> None:
    """Refuse a body that is about another object than the path: 422."""
    if in_path != in_body:
        raise ProblemError(
            INVALID, f"The path names {in_path}, the body {in_body}.", (FieldError(f"$.{member}", "not the path's"),)
        )


@lru_cache
def _fields(kind: type[Any]) -> dict[str, inspect.Type]:
    """Return the fields of a struct by the names under which they are sent."""
    expected = described(kind)
    return (
        {field.encode_name: field.type for field in expected.fields} if isinstance(expected, inspect.StructType) else {}
    )


def _is_meant(one: inspect.StructType, value: dict[str, Any]) -> bool:
    """Return whether a value says that it is this one of several structs; of one without a tag, it is."""
    return one.tag_field is None or value.get(one.tag_field) == one.tag


def _unknown(expected: inspect.Type, value: Any, path: str) -> Iterator[FieldError]:
    match expected, value:
        case inspect.StructType(), dict():
            fields = _fields(expected.cls)
            for key, inner in cast("dict[str, Any]", value).items():
                if key not in fields and key != expected.tag_field:
                    yield FieldError(f"{path}.{key}", "unknown field")
                elif isinstance(inner, dict | list) and key in fields:
                    yield from _unknown(fields[key], inner, f"{path}.{key}")
        case ((inspect.ListType() | inspect.VarTupleType()), list()):
            for index, inner in enumerate(cast("list[Any]", value)):
                yield from _unknown(expected.item_type, inner, f"{path}[{index}]")
        case inspect.UnionType(), dict():
            for each in expected.types:
                if isinstance(each, inspect.StructType) and _is_meant(each, cast("dict[str, Any]", value)):
                    yield from _unknown(each, value, path)
        case _:
            return
