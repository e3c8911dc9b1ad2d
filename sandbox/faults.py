"""Faults on demand: what the control port switches on, a stand-in does to the requests that match."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

ASGI = Callable[[Any, Any, Any], Awaitable[None]]
Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """A fault to inject. `slow` answers after `milliseconds`; `late` acts, and answers after them.

    `drop` acts, then closes the connection without an answer. `status` answers `status` without acting. `stale` repeats
    the last answer to the same GET.

    It applies to requests whose method, path or body contain `matching`, `times` times (0: until it is switched off).
    """

    kind: Literal["slow", "drop", "late", "status", "stale"]
    matching: str = ""
    milliseconds: int = 0
    status: int = 503
    retry_after: int = 1
    times: int = 1


class Dropped(Exception):
    """Raised into the server in mid-answer: it closes the connection, and the caller never learns what happened."""


async def _buffered(receive: Receive) -> tuple[bytes, Receive]:
    """Return the whole body, and a `receive` that returns it again."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    returned = False

    async def again() -> Message:
        nonlocal returned
        if returned:
            return await receive()
        returned = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again


class Faults:
    """Inject the faults of one stand-in, as middleware around it."""

    def __init__(self, app: ASGI, error_body: Callable[[int], bytes]) -> None:
        self._app = app
        self._error_body = error_body
        self._last: dict[str, list[dict[str, Any]]] = {}
        self.active: list[Fault] = []

    def _take(self, request: str) -> Fault | None:
        for fault in self.active:
            if fault.matching in request:
                if fault.times == 1:
                    self.active.remove(fault)
                elif fault.times:
                    fault.times -= 1
                return fault
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}"
        if self.active:
            body, receive = await _buffered(receive)
            fault = self._take(f"{request} {body.decode(errors='replace')}")
        else:
            fault = None
        if fault is None:
            if scope["method"] == "GET":
                await self._remembering(request, scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        match fault.kind:
            case "slow":
                await asyncio.sleep(fault.milliseconds / 1000)
                await self._app(scope, receive, send)
            case "status":
                await self._refuse(fault, send)
            case "stale" if request in self._last:
                for message in self._last[request]:
                    await send(message)
            case "stale":
                await self._app(scope, receive, send)
            case "drop" | "late":
                answer: list[dict[str, Any]] = []

                async def keep(message: dict[str, Any]) -> None:
                    answer.append(message)

                await self._app(scope, receive, keep)
                if fault.kind == "drop":
                    await send(
                        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]}
                    )
                    await send({"type": "http.response.body", "body": b"{", "more_body": True})
                    raise Dropped(request)
                await asyncio.sleep(fault.milliseconds / 1000)
                for message in answer:
                    await send(message)

    async def _remembering(self, request: str, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[dict[str, Any]] = []

        async def both(message: dict[str, Any]) -> None:
            answer.append(message)
            await send(message)

        await self._app(scope, receive, both)
        if len(self._last) > 1000:
            self._last.clear()
        self._last[request] = answer

    async def _refuse(self, fault: Fault, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"retry-after", str(fault.retry_after).encode())]
        await send({"type": "http.response.start", "status": fault.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._error_body(fault.status)})
