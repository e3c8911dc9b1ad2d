"""One Stripe account: its objects, the events about them, and the webhooks that carry the events."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import msgspec

from sandbox.store import Overlay, SandboxClock, Store
from sandbox.stripe.errors import missing
from sandbox.stripe.objects import KINDS, Object, fresh
from sandbox.stripe.versions import CURRENT, rendered

ATTEMPTS = 12


class Moments:
    """The time of the account, or the one that is held for what a test clock or a preview does."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self.held: int | None = None

    def seconds(self) -> int:
        """Return the time in seconds since 1970, UTC."""
        return self._clock.seconds() if self.held is None else self.held

    def now(self) -> datetime:
        """Return the time at which webhooks are sent, which nothing holds."""
        return self._clock.now()


class Account:
    """Store objects by kind and id. Every change is an event; every event is sent to the endpoints that want it."""

    def __init__(self, store: Store, clock: SandboxClock, http: httpx.AsyncClient | None = None) -> None:
        self._store = store
        self._clock = clock
        self.clock = Moments(clock)
        self._http = http or httpx.AsyncClient(timeout=10)
        self.request: Object = {"id": None, "idempotency_key": None}

    def copied(self) -> Account:
        """Return a copy at this moment. What is done to it is neither stored nor sent."""
        copy = Account(Overlay(self._store), self._clock, self._http)
        copy.clock.held = self.clock.seconds()
        return copy

    @contextmanager
    def at(self, moment: int | None) -> Generator[None]:
        """Hold the time at `moment` for as long as this lasts; None is the time as it is."""
        before, self.clock.held = self.clock.held, moment if moment is not None else self.clock.held
        try:
            yield
        finally:
            self.clock.held = before

    def clock_of(self, customer: str | None) -> str | None:
        """Return the test clock of a customer, which is that of all that belongs to the customer."""
        found = self.find("customer", customer or "")
        return found["test_clock"] if found else None

    def make(self, kind: str, key: str = "", **values: Any) -> Object:
        """Return a new object, not stored yet."""
        key = key or f"{KINDS[kind][0]}_{secrets.token_hex(8)}"
        return fresh(kind, key, self.clock.seconds()) | values

    def save(self, thing: Object, event: str = "", previous: Object | None = None) -> Object:
        """Store the object, with an event of the type `event` unless that is empty. Return the object."""
        self._store.put(thing["object"], thing["id"], thing)
        if event:
            self._emit(event, thing, previous)
        return thing

    def find(self, kind: str, key: str) -> Object | None:
        return self._store.get(kind, key)

    def get(self, kind: str, key: str, param: str = "id") -> Object:
        found = self._store.get(kind, key)
        if found is None:
            raise missing(kind, key, param)
        return found

    def retrieve(self, kind: str, key: str) -> Object:
        """Return an object as a request for it sees it: of a deleted customer no more than that it was deleted.

        (API reference: Retrieve a customer.) Nothing else sees it: neither a write, nor a list, nor a search.
        """
        return self._store.get(f"deleted_{kind}", key) or self.get(kind, key)

    def coupon_of(self, discount: Object) -> Object:
        """Return the coupon that a discount was made of, which goes on when the coupon is deleted (Delete a coupon)."""
        key = discount["source"]["coupon"]
        return self.find("coupon", key) or self.get("redeemed_coupon", key)

    def all(self, kind: str) -> Iterator[Object]:
        return self._store.all(kind)

    def remove(self, thing: Object, event: str = "") -> Object:
        self._store.delete(thing["object"], thing["id"])
        if event:
            self._emit(event, thing, None)
        left: Object = {"id": thing["id"], "object": thing["object"], "deleted": True}
        if thing["object"] == "customer":
            self._store.put("deleted_customer", thing["id"], left)
        if thing["object"] == "coupon":
            self._store.put("redeemed_coupon", thing["id"], thing)
        return left

    # ---- events and webhooks (API reference: Events; Webhooks: signatures and retries)

    def _emit(self, kind: str, thing: Object, previous: Object | None) -> None:
        data: Object = {"object": msgspec.json.decode(msgspec.json.encode(thing))}
        if previous is not None:
            data["previous_attributes"] = {key: previous[key] for key in previous if previous[key] != thing.get(key)}
        endpoints = [each for each in self.all("webhook_endpoint") if _wants(each, kind)]
        event = self.make("event", type=kind, data=data, api_version=CURRENT, request=dict(self.request))
        event["pending_webhooks"] = len(endpoints)
        self.save(event)
        self._queue(event, endpoints)

    def _queue(self, event: Object, endpoints: list[Object]) -> None:
        for each in endpoints:
            key = f"{event['id']}:{each['id']}"
            delivery: Object = {"id": key, "event": event["id"], "endpoint": each["id"], "attempt": 0, "due": 0.0}
            self._store.put("delivery", key, delivery)

    def resend(self, event_id: str) -> None:
        """Deliver an event again, to every endpoint that wants it (Stripe CLI: events resend)."""
        event = self.get("event", event_id)
        self._queue(event, [each for each in self.all("webhook_endpoint") if _wants(each, event["type"])])

    async def deliver(self) -> int:
        """Send the deliveries that are due, and return how many. A failed one is retried later, ever more slowly."""
        due = [each for each in self._store.all("delivery") if each["due"] <= self.clock.now().timestamp()]
        for delivery in due:
            endpoint, event = self.find("webhook_endpoint", delivery["endpoint"]), self.find("event", delivery["event"])
            if endpoint is None or event is None or await self._sent(endpoint, event):
                self._store.delete("delivery", delivery["id"])
                if event:
                    event["pending_webhooks"] -= 1
                    self.save(event)
                continue
            attempt = delivery["attempt"] + 1
            if attempt >= ATTEMPTS:
                self._store.delete("delivery", delivery["id"])
                continue
            later = self.clock.now().timestamp() + min(0.5 * 2**attempt, 3600)
            self._store.put("delivery", delivery["id"], delivery | {"attempt": attempt, "due": later})
        return len(due)

    async def _sent(self, endpoint: Object, event: Object) -> bool:
        body = msgspec.json.encode(as_sent(endpoint, event))
        secret = self._store.get("secret", endpoint["id"])
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": signature(str((secret or {}).get("value")), body, self.clock.seconds()),
        }
        try:
            answer = await self._http.post(endpoint["url"], content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success

    def endpoint(self, values: Object) -> Object:
        """Create a webhook endpoint and return it with its secret, which is shown this one time."""
        made = self.save(self.make("webhook_endpoint", **values))
        secret = f"whsec_{secrets.token_hex(24)}"
        self._store.put("secret", made["id"], {"value": secret})
        return made | {"secret": secret}

    # ---- idempotency (API reference: Idempotent requests)

    def remembered(self, key: str) -> Object | None:
        stored = self._store.get("idempotency", key)
        return stored if stored and stored["at"] > self.clock.seconds() - 24 * 3600 else None

    def remember(self, key: str, fingerprint: str, status: int, body: Any) -> None:
        stored = {"at": self.clock.seconds(), "fingerprint": fingerprint, "status": status, "body": body}
        self._store.put("idempotency", key, stored)

    async def close(self) -> None:
        await self._http.aclose()


def as_sent(endpoint: Object, event: Object) -> Object:
    """Return an event as an endpoint gets it: in the endpoint's version, or in the account's where it has none.

    (API reference: Webhook Endpoints, `api_version`.)
    """
    version = endpoint["api_version"] or event["api_version"]
    return event | {"api_version": version, "data": rendered(event["data"], version)}


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the `Stripe-Signature` header: HMAC-SHA256 over `timestamp.body`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _wants(endpoint: Object, kind: str) -> bool:
    return endpoint["status"] == "enabled" and ("*" in endpoint["enabled_events"] or kind in endpoint["enabled_events"])
