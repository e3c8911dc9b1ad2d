"""What a policy is, and what it sees of a call. The order of the policies stands in `policies/chain/pipeline.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import Token
from datetime import datetime
from typing import Any

import msgspec

from policies.catalogue.explain import Outcome, Question
from policies.catalogue.model import Api, Catalogue, Client, Layer, Operation, ServiceTier

Headers = list[tuple[bytes, bytes]]
"""Fields of an answer, as ASGI has them."""


class Principal(msgspec.Struct, frozen=True):
    """The verified caller.

    `subject` is the person or system on whose behalf the `client` calls; `entities` are the legal entities whose
    records it may see. Times are in seconds since 1970, UTC.
    """

    subject: str
    client: str
    scopes: frozenset[str]
    entities: frozenset[str]
    token_id: str
    issued_at: float
    expires_at: float
    partner: str = ""
    """The client name of a partner, which sees its own customers' records only; else empty."""

    def within(self, client: Client, allowed: frozenset[str]) -> Principal:
        """Return the same caller, who sees no more than the catalogue lets its client see: the `allowed` entities."""
        partner = self.client if client.kind == "partner" else self.partner
        if partner == self.partner and ("*" in allowed or self.entities <= allowed):
            return self
        seen = self.entities if "*" in allowed else allowed if "*" in self.entities else self.entities & allowed
        return msgspec.structs.replace(self, entities=seen, partner=partner)

    def may_see(self, legal_entity: str) -> bool:
        """Return whether records of `legal_entity` exist for this caller: the object-level check."""
        return "*" in self.entities or legal_entity in self.entities


class Rules(msgspec.Struct, frozen=True):
    """What one catalogue says of one operation of a layer. A call reads them once, so that a catalogue that changes
    meanwhile governs the next call. Tokens and health checks belong to no API."""

    layer: Layer
    catalogue: Catalogue
    operation_id: str
    operation: Operation
    api_name: str = ""
    api: Api | None = None

    @property
    def service_tier(self) -> ServiceTier:
        """Return the service tier of the operation."""
        return self.catalogue.service_tiers[self.operation.tier]


class AuditedItem(msgspec.Struct, frozen=True):
    """One record of a write of many: its path, the status that its own write would have had, and its correlation
    id."""

    record: str
    status: int
    correlation_id: str


class Call(msgspec.Struct):
    """One call on its way through the policies: what they read of it, and what they leave for each other.

    `path` is without the query, `version` the major version that it names, `now` the moment in UTC at which the call
    came. `proved` is who calls where that is known without a token: a person who has signed in here. `principal` and
    `client` are set by the authentication; `marks` are the fields that its answer gets, refusals
    included. `receive_all` reads the request's body to its end, None where the request is whole already. `acts_for` is
    whom an open operation has identified itself, `unrecordable` whether it was refused because the audit log cannot be
    written. `status` is 0 until the call is answered, `entered` how many policies it has passed. `items` are the
    records of a write of many, each of which is audited. `began` is in seconds of a clock that never goes back,
    `is_refused` whether its refusal was taken note of, `span` its part of a trace, None while nothing is traced.
    """

    rules: Rules
    path: str
    version: str
    headers: dict[bytes, bytes]
    now: datetime
    correlation_id: str
    marks: Headers = []
    receive_all: Callable[[], Awaitable[None]] | None = None
    proved: Principal | None = None
    principal: Principal | None = None
    client: Client | None = None
    client_name: str = ""
    idempotency_key: str = ""
    acts_for: str = ""
    unrecordable: bool = False
    status: int = 0
    entered: int = 0
    began: float = 0.0
    is_refused: bool = False
    correlation: Token[str] | None = None
    deadline: Token[Any] | None = None
    items: list[AuditedItem] = []
    noting: Token[list[AuditedItem]] | None = None
    span: Any = None
    span_token: Token[Any] | None = None


class Policy:
    """One rule for the calls of one operation, under one catalogue: it is made again when the catalogue changes.

    A policy overrides what it needs. What `enter` takes, `leave` gives back: it is called for each policy that was
    entered, in the reverse order, also when the call breaks off or is cancelled.
    """

    @staticmethod
    def applies(rules: Rules) -> bool:
        """Return whether calls of this operation pass the policy at all."""
        del rules
        return True

    def enter(self, call: Call) -> Awaitable[None] | None:
        """Let the call in, or raise `ProblemError`. Return an awaitable only where it must wait: most calls do not."""

    def answered(self, call: Call) -> Awaitable[None] | None:
        """Take note of the answer's `status`, once, before the caller hears of it. Called also for refusals. Return an
        awaitable where the answer must wait; it raises a `PlatformFault` that is to be answered instead."""

    def leave(self, call: Call) -> None:
        """Give back what `enter` has taken. Must not raise."""

    @classmethod
    def explain(cls, question: Question) -> Iterable[Outcome]:
        """Return what the policy would do with a call, with the path of the catalogue that decides it."""
        del question
        return ()
