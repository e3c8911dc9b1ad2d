"""Where changes on platforms are sent: as canonical events to the process layer, and nowhere else."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from canonical.events import Event
from policies.context import correlation
from policies.context.correlation import correlated
from policies.outbound.layer_client import AsyncLayerClient, Token


@runtime_checkable
class Intake(Protocol):
    """Take an event once, however often it is offered."""

    async def offer(self, event: Event, correlation_id: str) -> None:
        """Return when the event is stored. Raises a leaf of `PlatformFault` when it is not: offer it again."""
        ...


class ProcessIntake:
    """Send events to the process layer over HTTP."""

    def __init__(self, client: AsyncLayerClient, token: Token) -> None:
        self._client = client
        self._token = token

    async def offer(self, event: Event, correlation_id: str) -> None:
        with correlated(correlation_id or correlation.current(), "offer an event"):
            await self._client.call("POST", "/process/v1/events", self._token(), dict[str, bool], event)
