"""What is asked of a connector that takes webhooks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec

from canonical.events import Event
from policies.problems import INVALID, UNAUTHENTICATED, ProblemError, ProblemType
from policies.store.secret import NO_SECRET
from tests.support.connector_kit.kit import Kit, behaviour
from tests.support.connector_kit.subject import Subject

C = TypeVar("C")
Headers = Mapping[str, str]
LATER = timedelta(minutes=10)
"""Older than any signature may be."""


class WebhookSubject(Subject[C]):
    """A platform that reports by webhook."""

    webhook_secret: str
    webhook_secret_setting: str
    """The key of the settings that holds it."""

    @abstractmethod
    async def report(self) -> bytes:
        """Return the body of a webhook that is of interest, as the platform sends it."""

    @abstractmethod
    def sign(self, body: bytes, at: datetime, secret: str) -> Headers:
        """Return the headers that prove `body`, with names in lower case. The empty `secret` is an empty key."""


W = TypeVar("W", bound=WebhookSubject[Any])


class WebhookKit(Kit[C, W], Generic[C, W]):
    """Signatures are verified on raw bytes, and events say where they are from."""

    @abstractmethod
    async def reported(self, headers: Headers, body: bytes) -> Event | None:
        """Return the event that a connector makes of a webhook."""

    @behaviour
    async def a_signed_webhook_is_an_event_of_its_instance(self) -> None:
        body = await self.subject.report()
        raw = body.replace(b",", b" ,\n", 1)  # the same JSON in other bytes
        for each in (body, raw):
            event = await self.reported(self._signed(each), each)
            assert event
            assert event.source == self.source
            assert event.time.tzinfo is not None

    @behaviour
    async def a_repeated_webhook_is_the_same_event(self) -> None:
        body = await self.subject.report()
        first = await self.reported(self._signed(body), body)
        self.bench.connector = self.bench.connect()
        second = await self.reported(self._signed(body), body)
        assert first
        assert second
        assert (first.id, first.source) == (second.id, second.source)

    @behaviour
    async def a_forged_webhook_is_refused(self) -> None:
        body = await self.subject.report()
        signed = self._signed(body)
        for headers, sent in (
            (signed, body + b" "),
            (signed, body[:-1] + b"\xff"),
            ({}, body),
            (dict.fromkeys(signed, "ü"), body),
        ):
            await self._refused(UNAUTHENTICATED, headers, sent)

    @behaviour
    async def a_webhook_of_another_time_is_refused(self) -> None:
        body = await self.subject.report()
        for at in (self.bench.clock() - LATER, self.bench.clock() + LATER):
            await self._refused(UNAUTHENTICATED, self.subject.sign(body, at, self.subject.webhook_secret), body)

    @behaviour
    async def a_webhook_that_is_replayed_later_is_refused(self) -> None:
        body = await self.subject.report()
        headers = self._signed(body)
        assert await self.reported(headers, body)
        self.bench.offset = LATER
        await self._refused(UNAUTHENTICATED, headers, body)

    @behaviour
    async def a_webhook_signed_with_another_secret_is_refused(self) -> None:
        body = await self.subject.report()
        other = self.subject.webhook_secret[:-4] + "AAAA"
        await self._refused(UNAUTHENTICATED, self.subject.sign(body, self.bench.clock(), other), body)

    @behaviour
    async def an_empty_secret_opens_nothing(self) -> None:
        body = await self.subject.report()
        headers = self.subject.sign(body, self.bench.clock(), "")
        await self._refused(UNAUTHENTICATED, headers, body)
        setting: Any = {self.subject.webhook_secret_setting: NO_SECRET}
        self.bench.settings = msgspec.structs.replace(self.bench.settings, **setting)
        self.bench.connector = self.bench.connect()
        await self._refused(UNAUTHENTICATED, headers, body)

    @behaviour
    async def a_signed_webhook_that_is_no_report_is_invalid(self) -> None:
        for body in (b"", b"[]", b"{}", b"<html>", b'{"id": 7}'):
            await self._refused(INVALID, self._signed(body), body)

    def _signed(self, body: bytes) -> Headers:
        return self.subject.sign(body, self.bench.clock(), self.subject.webhook_secret)

    async def _refused(self, problem: ProblemType, headers: Headers, body: bytes) -> None:
        found = await self._problem(headers, body)
        assert found is problem, found.name

    async def _problem(self, headers: Headers, body: bytes) -> ProblemType:
        try:
            event = await self.reported(headers, body)
        except ProblemError as refused:
            return refused.problem
        raise AssertionError(f"it was taken, as {event}")
