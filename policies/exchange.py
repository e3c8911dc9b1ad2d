"""One exchange over HTTP: what came back, and what it means when nothing did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import httpx

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = 3.0
"""Seconds that a connection may take to be made: what failed then was never sent."""


class Reply:
    """What came back, with its body whole. Names of headers are in lower case."""

    __slots__ = ("content", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def retry_after(self) -> str:
        """The header of that name, as it was sent."""
        return self.headers.get(b"retry-after", b"").decode("latin-1")

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_server_error(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class NoAnswer(Exception):
    """There is no answer. `sent` says whether the request may have arrived."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent

    def fault(self, platform: str, *, safe: bool) -> PlatformFault:
        """What it means. `safe` requests change nothing, so their outcome is never in doubt."""
        if safe or not self.sent:
            return Unavailable(platform, f"no answer ({self.reason})")
        return UnknownOutcome(platform, f"no answer after the request was sent ({self.reason})")


class Http:
    """Sends requests wherever they have to go, through the environment's proxies."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=base_url)

    async def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """The answer, with its body. `seconds` bounds the whole exchange. Raises `NoAnswer`, and `ValueError` for what
        is no address."""
        limit = httpx.Timeout(seconds, connect=CONNECTING)
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.request(method, path, content=content, headers=headers, timeout=limit)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NoAnswer(type(error).__name__, sent=False) from error
        except (httpx.TransportError, TimeoutError) as error:
            raise NoAnswer(type(error).__name__, sent=True) from error
        except httpx.InvalidURL as error:
            raise ValueError("no address") from error
        return Reply(
            response.status_code, {name.lower(): value for name, value in response.headers.raw}, response.content
        )

    async def close(self) -> None:
        await self._client.aclose()
