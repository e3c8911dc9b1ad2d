"""The provisioning target: takes one job for each order line, works for a while, reports how it ended."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from decimal import Decimal
from hmac import compare_digest
from typing import Any, Literal

import httpx
import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath
from standardwebhooks import Webhook, WebhookVerificationError

from sandbox.store import SandboxClock, Store

PlatformRequest = Request[Any, Any, Any]
TOLERANCE = 300
"""Seconds by which a signature may be old, or early."""
ENDED = ("provisioned", "failed")
"""The states of a job that has a result."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request for one order line. `attempt` tells a new attempt from a repeated request."""

    order_id: str
    line_id: str
    sku: str
    quantity: Decimal
    callback_url: str
    attempt: int = 1
    correlation_id: str = ""


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the service of an order is suspended."""

    suspended: bool
    correlation_id: str = ""


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has the service of an order."""

    customer_id: str
    correlation_id: str = ""


class NothingDelivered(LookupError):
    """There is no job of an order that is not taken back."""


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the target treats jobs of one SKU (or of all, with `*`): how long they take and how they end."""

    sku: str = "*"
    outcome: Literal["succeed", "fail_once", "fail"] = "succeed"
    milliseconds: int = 50


class Provisioning:
    """Do jobs. They are stored on disk, so that a restart finishes what was begun."""

    def __init__(self, store: Store, clock: SandboxClock, secret: str) -> None:
        self._store = store
        self._clock = clock
        self._http = httpx.AsyncClient(timeout=10)
        self.accept(secret)

    def accept(self, secret: str) -> None:
        """Take from here on what is signed with `secret`, and sign with it."""
        self._webhook = Webhook(secret)

    def behave(self, behaviour: Behaviour) -> None:
        self._store.put("behaviour", behaviour.sku, msgspec.to_builtins(behaviour))

    def begin(self, body: bytes, headers: dict[str, str]) -> int:
        """Begin the jobs of a signed request, and return how many are new. Known jobs stay as they are; those that have
        ended are reported again: who asks again has not heard it, or has lost it."""
        self._verify(body, headers)
        jobs = msgspec.json.decode(body, type=list[Job])
        fresh = [each for each in jobs if self._store.get("job", _key(each)) is None]
        for known in filter(None, (self._store.get("job", _key(each)) for each in jobs)):
            if known["state"] in ENDED:
                self._store.put("job", known["id"], known | {"report": self._clock.now().timestamp()})
        for job in fresh:
            chosen = self._store.get("behaviour", job.sku) or self._store.get("behaviour", "*")
            behaviour = msgspec.convert(chosen, Behaviour) if chosen else Behaviour()
            failed = behaviour.outcome == "fail" or (behaviour.outcome == "fail_once" and job.attempt == 1)
            due = self._clock.now().timestamp() + behaviour.milliseconds / 1000
            document = msgspec.to_builtins(job) | {
                "id": _key(job),
                "state": "working",
                "due": due,
                "succeeds": not failed,
            }
            self._store.put("job", document["id"], document)
        return len(fresh)

    def jobs(self, order_id: str) -> list[dict[str, Any]]:
        return [each for each in self._store.all("job") if each["order_id"] == order_id]

    def remove(self, order_id: str, body: bytes, headers: dict[str, str]) -> None:
        self._verify(body, headers)
        for each in self.jobs(order_id):
            self._store.put("job", each["id"], each | {"state": "removed"})

    def suspend(self, order_id: str, body: bytes, headers: dict[str, str]) -> None:
        """Suspend the service of an order, or take it up. A message that was taken before changes nothing: it may be
        older than another one. Raises `NothingDelivered`."""
        self._verify(body, headers)
        wanted = msgspec.json.decode(body, type=Suspension)
        self._note(order_id, headers["webhook-id"], suspended=wanted.suspended)

    def hand_over(self, order_id: str, body: bytes, headers: dict[str, str]) -> None:
        """Let another customer have the service of an order, as it is. A message that was taken before changes
        nothing. Raises `NothingDelivered`."""
        self._verify(body, headers)
        wanted = msgspec.json.decode(body, type=Holder)
        self._note(order_id, headers["webhook-id"], holder=wanted.customer_id)

    def _note(self, order_id: str, message: str, **what: Any) -> None:
        if all(each["state"] == "removed" for each in self.jobs(order_id)):
            raise NothingDelivered(f"nothing is delivered for {order_id}")
        known = self.service(order_id)
        if message not in known["messages"]:
            self._store.put("service", order_id, known | what | {"messages": [*known["messages"], message]})

    def service(self, order_id: str) -> dict[str, Any]:
        """Return whether the service of an order is suspended, who has it (empty for who has ordered it), and the ids
        of the messages about that."""
        nothing_said: dict[str, Any] = {"suspended": False, "holder": "", "messages": []}
        return nothing_said | (self._store.get("service", order_id) or {})

    def _verify(self, body: bytes, headers: dict[str, str]) -> None:
        """Raise `WebhookVerificationError` for what is not signed, or not within five minutes of the sandbox's time
        (Standard Webhooks: Verifying signatures)."""
        stamp, now = headers.get("webhook-timestamp", ""), self._clock.now()
        if not stamp.isdecimal() or abs(now.timestamp() - int(stamp)) > TOLERANCE:
            raise WebhookVerificationError("Message timestamp too old or too new")
        at = datetime.fromtimestamp(int(stamp), UTC)
        expected = self._webhook.sign(headers.get("webhook-id", ""), at, body.decode())
        signatures = headers.get("webhook-signature", "").split(" ")
        if not any(compare_digest(each.encode(), expected.encode()) for each in signatures):
            raise WebhookVerificationError("No matching signature found")

    async def work(self) -> None:
        """Finish the jobs that are due, and report every result until the call-back is accepted."""
        now = self._clock.now().timestamp()
        for job in self._store.all("job"):
            if job["state"] == "working" and job["due"] <= now:
                job |= {"state": "provisioned" if job["succeeds"] else "failed", "report": now}
                self._store.put("job", job["id"], job)
            if "report" in job and job["report"] <= now:
                if await self._reported(job):
                    del job["report"]
                else:
                    job["report"] = now + 1
                self._store.put("job", job["id"], job)

    async def _reported(self, job: dict[str, Any]) -> bool:
        report = {name: job[name] for name in ("order_id", "line_id", "attempt")} | {
            "succeeded": job["state"] == "provisioned",
            "reason": "" if job["succeeds"] else "the target refused the line",
        }
        body = msgspec.json.encode(report)
        now = self._clock.now()
        message_id = f"msg_{secrets.token_hex(12)}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body.decode()),
        }
        if job["correlation_id"]:
            headers["x-correlation-id"] = job["correlation_id"]
        try:
            return (await self._http.post(job["callback_url"], content=body, headers=headers)).is_success
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        await self._http.aclose()


def _key(job: Job) -> str:
    return f"{job.order_id}:{job.line_id}:{job.attempt}"


def provisioning_app(target: Provisioning) -> Litestar:
    """Return the target as an ASGI application."""

    @post("/jobs", status_code=202)
    async def begin(request: PlatformRequest) -> dict[str, int]:
        return {"accepted": target.begin(await request.body(), dict(request.headers))}

    @post("/orders/{order_id:str}/removal", status_code=202)
    async def remove(request: PlatformRequest, order_id: FromPath[str]) -> None:
        target.remove(order_id, await request.body(), dict(request.headers))

    @post("/orders/{order_id:str}/suspension", status_code=202)
    async def suspend(request: PlatformRequest, order_id: FromPath[str]) -> None:
        target.suspend(order_id, await request.body(), dict(request.headers))

    @post("/orders/{order_id:str}/holder", status_code=202)
    async def hand_over(request: PlatformRequest, order_id: FromPath[str]) -> None:
        target.hand_over(order_id, await request.body(), dict(request.headers))

    @get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    def unsigned(_: PlatformRequest, error: WebhookVerificationError) -> Response[Any]:
        return Response({"error": str(error)}, status_code=401)

    def unknown(_: PlatformRequest, error: NothingDelivered) -> Response[Any]:
        return Response({"error": str(error)}, status_code=404)

    def unreadable(_: PlatformRequest, error: msgspec.ValidationError) -> Response[Any]:
        return Response({"error": str(error)}, status_code=400)

    return Litestar(
        [begin, remove, suspend, hand_over, health],
        exception_handlers={
            WebhookVerificationError: unsigned,
            NothingDelivered: unknown,
            msgspec.ValidationError: unreadable,
        },
        openapi_config=None,
        logging_config=None,
    )


def error_body(status: int) -> bytes:
    """Return what the target answers when it is down."""
    return msgspec.json.encode({"error": f"unavailable ({status})"})
