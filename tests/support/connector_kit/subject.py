"""What the author of a connector tells the kit, and the connector under test with all that it is handed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from canonical.events import Event
from canonical.faults import TRANSIENT, PlatformFault
from canonical.ids import identifiers, utc_now
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED, Domain
from policies.context import deadline
from policies.context.correlation import correlated
from policies.http.client import HttpResponse
from policies.observe.metrics import Metrics
from policies.outbound.ownership import Carried
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_metrics import PlatformMetrics
from policies.outbound.platform_server import PlatformServer
from policies.outbound.residency import Residency, record_of
from policies.store.documents import FileDocument
from policies.traffic.rate_limit import RateLimiter
from system_apis.connector import ConnectorContext
from system_apis.feed_position import FeedPosition
from tests.support.connector_kit.loopback import Loopback, Seen
from tiergate.platforms import Connector

C = TypeVar("C")
T = TypeVar("T")
INSTANCE = "under-test"
LEGAL_ENTITY = "DE01"
WEBHOOKS = f"http://127.0.0.1:9/webhooks?instance={INSTANCE}"
SECONDS = 20.0
"""How long each call of a connector may take."""
ATTEMPTS = 6
"""How often what may pass by itself is tried again, as a workflow does."""


class Subject(ABC, Generic[C]):
    """A connector and its platform, of which each check gets a new one. The platform is a stand-in, a server or a
    test account; what is asked of it here goes past the connector, as its own users would."""

    domain: Domain
    connector: Connector
    secrets: tuple[str, ...]
    """Every secret that the settings hold: none may be seen anywhere."""
    answers_json = True
    """Whether the platform's answers are read: of some the status is all that there is to read."""

    @abstractmethod
    def settings(self, url: str) -> PlatformServer:
        """Return the connector's settings, with the platform at `url`."""

    @abstractmethod
    def platform(self) -> httpx.AsyncClient:
        """Return a client of the platform, as it is: `ASGITransport` for one in this process, `base_url` for any
        other."""

    def is_write(self, request: Seen) -> bool:
        """Return whether a request of the connector writes a record. A platform that is read by POST says so here."""
        return request.method != "GET"

    async def close(self) -> None:
        """Release what the platform holds."""


class RecordingClient(PlatformClient):
    """The platform client, which notes what each request was said to carry."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.carried: list[tuple[Seen, list[Carried]]] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        safe: bool,
        carries: list[Carried],
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        self.carried.append((Seen(method, path, content), carries))
        return await super().request(method, path, safe=safe, carries=carries, content=content, headers=headers)


class KitIntake:
    """Collects what a connector offers, each event once: what is offered twice is the same event."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[str, str], Event] = {}

    @property
    def events(self) -> list[Event]:
        return list(self._by_id.values())

    async def offer(self, event: Event, correlation_id: str) -> None:
        assert correlation_id
        self._by_id[event.source, event.id] = event


class Bench(Generic[C]):
    """A connector under test: `connector` as its `connect` returned it, the `loopback` in front of its platform."""

    def __init__(self, subject: Subject[C], loopback: Loopback, folder: Path) -> None:
        self.subject = subject
        self.loopback = loopback
        self.folder = folder
        self.offset = timedelta()
        self.settings = subject.settings(loopback.url)
        catalogue = folder / "catalogue.toml"
        catalogue.write_text(_governing(subject.domain))
        live = LiveCatalogue(catalogue)
        fields = self.settings.fields(subject.connector.FIELDS)
        residency = Residency(live, "eu")
        self.client = RecordingClient(
            INSTANCE,
            loopback.url,
            fields,
            live,
            residency,
            RateLimiter(utc_now),
            lambda: 0.0,
            PlatformMetrics(Metrics("system")),
        )
        self._position = folder / "position"
        self.connector: C = self.connect()

    def clock(self) -> datetime:
        return utc_now() + self.offset

    def connect(self) -> C:
        """Return one more connector of the same instance: what a restart begins with."""
        context = ConnectorContext(
            INSTANCE, self.client, self.clock, identifiers(), FeedPosition(FileDocument(self._position)), WEBHOOKS
        )
        return self.subject.connector.connect(self.settings, context)

    async def call(self, act: Callable[[], Awaitable[T]], seconds: float = SECONDS) -> T:
        """Return what one call gives, as the routes make it: in time, correlated, of a legal entity."""
        with deadline.within("under_test", seconds), correlated("correlation-1"), record_of(LEGAL_ENTITY):
            return await act()

    async def fault(self, act: Callable[[], Awaitable[object]], seconds: float = SECONDS) -> PlatformFault:
        """Return the fault that a call ends with. Fails when it does not."""
        try:
            done = await self.call(act, seconds)
        except PlatformFault as fault:
            return fault
        raise AssertionError(f"it ended well, with {done!r}")

    async def settled(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return what a call gives at last: what may pass by itself is tried again, as a workflow does."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(*TRANSIENT):
                return await self.call(act)
        return await self.call(act)

    def writes(self) -> list[Seen]:
        return [each for each in self.loopback.seen if self.subject.is_write(each)]


@asynccontextmanager
async def bench(subject: Subject[C], folder: Path) -> AsyncGenerator[Bench[C]]:
    """Connect a subject's connector to its platform."""
    loopback = Loopback(subject.platform())
    await loopback.start()
    made = Bench(subject, loopback, folder)
    try:
        yield made
    finally:
        await made.client.close()
        await loopback.close()
        await subject.close()


def run_over(subject: Subject[C], folder: Path, act: Callable[[Bench[C]], Awaitable[None]]) -> None:
    """Do something with a subject's connector, which is connected meanwhile."""

    async def connected() -> None:
        async with bench(subject, folder) as made:
            await act(made)

    asyncio.run(connected())


def _governing(domain: Domain) -> str:
    """Return the shipped catalogue, with the instance under test in the place of the domain's own, and quick to try
    again."""
    text = SHIPPED.read_text()
    name = re.search(rf'\[platforms\.([\w-]+)\]\ndomain = "{domain}"', text)
    assert name
    text = text.replace(f"[platforms.{name[1]}]", f"[platforms.{INSTANCE}]")
    text = re.sub(r"retries = \{ first = [\d.]+, most = [\d.]+", "retries = { first = 0.01, most = 0.02", text)
    text = re.sub(r"failures = \d+", "failures = 10000", text)
    return re.sub(r'rate = "\d+/second"', 'rate = "10000/second"', text)
