"""A write that is sent again is done once, and gets the same answer.

A client names a write with `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07). The first request with a
key runs. The same request again gets the first one's answer as long as that is stored, and 409 while the first still
runs; another request with the same key gets 422. What was refused is run again: nothing was done, and the cause may be
gone by now. So is what has an answer that is too long to be kept, or holds a secret, and a client keeps no more answers
than its throttle tier says. The replica that runs a request holds a short lease and renews it, so that the key is free
within seconds when the replica dies. What it may have done until then is found by the next attempt: both have the same
`act` id, which a handler uses as the natural key of what it creates.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus
from typing import cast

import msgspec
import structlog
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Receive, Send

from canonical.ids import NewId
from policies.catalogue.explain import Outcome, Question
from policies.contract.bodies import CapturedResponse, captured, read_body, replayed, send_response
from policies.contract.operation import declaration_of
from policies.policy import Call, Policy, Rules
from policies.problems import OVERLOADED, REQUEST, ProblemError, problem_type
from policies.store.documents import StoreAway
from policies.store.shared_store import Owner, SharedStore, StoreFull
from policies.traffic.rate_limit import KEPT_ANSWERS, THROTTLE_TIERS

HEADER = b"idempotency-key"
LONGEST = 255
KEY = re.compile(rf"[!#-~]{{1,{LONGEST}}}")
KEPT = 24 * 3600.0
"""Seconds for which an answer is stored."""
LEASE = 5.0
"""Seconds without a renewal after which a request counts as dead."""
OF_THE_ANSWER = {b"content-type", b"location"}
LONGEST_ANSWER = 128 * 1024
"""Bytes of an answer that is kept: those of an order of a hundred lines are fewer."""
STILL_RUNS = problem_type(
    "request-in-progress",
    409,
    "The first request still runs",
    "Wait as `Retry-After` says and send the same again.",
    "A request with this `Idempotency-Key` is being worked on at this moment.",
)
REUSED_KEY = problem_type(
    "idempotency-key-reused",
    422,
    "The key belongs to another request",
    "Use a new key for a new request.",
    "A request with this `Idempotency-Key` had another body, path or query.",
)
MISSING_KEY = problem_type(
    "idempotency-key-missing",
    400,
    "A key is needed",
    "Send `Idempotency-Key` with a value of your own for each act.",
    "This write is done once for each `Idempotency-Key`, and the request has none.",
)
TOO_MANY_KEYS = problem_type(
    "idempotency-keys-used-up",
    429,
    "Too many keys at a time",
    "Wait as `Retry-After` says, or ask the platform team for more. Send a request again with the key that it had.",
    "The answer to each `Idempotency-Key` is kept for a day, and your client has as many as it may have.",
)
log = structlog.get_logger("tiergate.idempotency")


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """What is stored for a key. `status` is 0 while the request of `holder` runs."""

    request: bytes
    holder: str
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Idempotency:
    """Run each write that a key names once."""

    def __init__(self, shared: SharedStore, new_id: NewId) -> None:
        self._shared = shared
        self._new_id = new_id
        self.replayed = 0
        """Requests that were answered with what was kept."""

    async def run(self, app: ASGIApp, call: Call, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Run `app`, or send the stored answer of the same request.

        Raises `ProblemError`: 409, 422, 429 when the client has too many keys, or 503 when the store is away.
        """
        key, client, operation = call.idempotency_key, call.client_name, call.rules.operation_id
        if not key:
            scope["state"]["act"] = self._new_id("act")
            await app(scope, receive, send)
            return
        name = hashlib.sha256(f"{client}\0{operation}\0{key}".encode()).hexdigest()
        body = await read_body(receive)
        running = IdempotencyRecord(_print(scope, body), self._new_id("act"))
        owner = _owner(call)
        known = await self._take(name, running, owner)
        if known is not None:
            await self._answer(known, running, send)
            return
        scope["state"]["act"] = f"act_{name[:32]}"
        async with self._renewed(name, running, owner):
            answer = await captured(app, scope, replayed(body))
        is_kept = not declaration_of(cast("HTTPRouteHandler", scope["route_handler"])).holds_secret
        await self._store(name, running, answer, owner, is_kept=is_kept)
        await send_response(send, answer.status, answer.headers, answer.body)

    async def _take(self, name: str, running: IdempotencyRecord, owner: Owner) -> IdempotencyRecord | None:
        try:
            there = await self._shared.put_if_absent(_named(name), msgspec.msgpack.encode(running), LEASE, owner)
        except StoreFull as full:
            detail = f"{owner.name} has {owner.most} keys of the last day."
            raise ProblemError(TOO_MANY_KEYS, detail, headers={"Retry-After": str(math.ceil(full.seconds))}) from full
        except StoreAway as error:
            log.warning("the store of idempotency keys is away", reason=str(error))
            detail = "Nothing was done: it cannot be made sure that it is done once."
            raise ProblemError(OVERLOADED, detail, headers={"Retry-After": "1"}) from error
        return msgspec.msgpack.decode(there, type=IdempotencyRecord) if there else None

    async def _answer(self, known: IdempotencyRecord, asked: IdempotencyRecord, send: Send) -> None:
        if known.request != asked.request:
            raise ProblemError(REUSED_KEY, "The key was used for another request.")
        if not known.status:
            raise ProblemError(
                STILL_RUNS, "The first request with this key has no answer yet.", headers={"Retry-After": "1"}
            )
        self.replayed += 1
        await send_response(send, known.status, (*known.headers, (b"idempotency-replayed", b"true")), known.body)

    @contextlib.asynccontextmanager
    async def _renewed(self, name: str, running: IdempotencyRecord, owner: Owner) -> AsyncGenerator[None]:
        async def renew() -> None:
            document = msgspec.msgpack.encode(running)
            while True:
                await asyncio.sleep(LEASE / 4)
                with contextlib.suppress(StoreAway):  # the next renewal, or the answer, may come through
                    await self._shared.compare_and_swap(_named(name), document, document, LEASE, owner)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _store(
        self, name: str, running: IdempotencyRecord, answer: CapturedResponse, owner: Owner, *, is_kept: bool
    ) -> None:
        document = msgspec.msgpack.encode(running)
        done = answer.status < HTTPStatus.BAD_REQUEST
        if done and len(answer.body) > LONGEST_ANSWER:
            log.warning("an answer is too long to be kept", bytes=len(answer.body))
        try:
            if done and is_kept and len(answer.body) <= LONGEST_ANSWER:
                headers = tuple(each for each in answer.headers if each[0] in OF_THE_ANSWER)
                stored = msgspec.structs.replace(running, status=answer.status, headers=headers, body=answer.body)
                kept = msgspec.msgpack.encode(stored)
                await self._shared.compare_and_swap(_named(name), document, kept, KEPT, owner)
            else:
                await self._shared.compare_and_delete(_named(name), document, owner)
        except (
            StoreAway
        ) as error:  # the act is done and found by its id: the client gets the answer, a repeat runs again
            log.warning("an answer could not be kept", reason=str(error))


class IdempotencyKeys(Policy):
    """A write may name itself, or must; the handler behind the policies then runs it once (`Idempotency.run`). What is
    streamed has no answer that could be kept for its body: each of its records has a key of its own."""

    def __init__(self, rules: Rules) -> None:
        self._needed = rules.operation.idempotency == "key"

    @staticmethod
    def applies(rules: Rules) -> bool:
        operation = rules.operation
        return operation.idempotency != "safe" and not operation.open and not operation.streamed

    def enter(self, call: Call) -> None:
        given = call.headers.get(HEADER)
        if given is None and not self._needed:
            return
        key = (given or b"").decode("latin-1").strip('"')
        if not KEY.fullmatch(key):
            wrong = REQUEST if key else MISSING_KEY
            raise ProblemError(wrong, f"Idempotency-Key has 1 to {LONGEST} printable characters.")
        call.idempotency_key = key

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        repeated = {
            "safe": "changes nothing: may be repeated, and leaves no audit record",
            "natural": "the same call twice is the call once",
            "key": "asks for Idempotency-Key: the same key again is answered as the first time, for 24 h",
        }
        yield Outcome(True, "idempotency", repeated[question.operation.idempotency], question.of_operation)


def _owner(call: Call) -> Owner:
    """Return whose the answer is, and how many it may have kept."""
    tier = call.client.tier if call.client else None
    most = THROTTLE_TIERS.of(call.rules.catalogue)[tier].kept_answers if tier else KEPT_ANSWERS
    return Owner(call.client_name, most)


def _named(name: str) -> str:
    return f"act:{name}"


def _print(scope: HTTPScope, body: bytes) -> bytes:
    """Return a digest that differs between two requests."""
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    return hashlib.sha256(b"\0".join(parts)).digest()
