"""What a provisioning connector must do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from canonical.deals import ProvisioningRequest
from canonical.events import Event


class Provisioning(Protocol):
    """Every method raises leaves of `PlatformFault`."""

    async def put(self, request: ProvisioningRequest, correlation_id: str) -> None:
        """Ask for the delivery of each line. What was asked before, with the same attempt, is not begun again."""
        ...

    async def remove(self, order_id: str) -> None:
        """Take back what was delivered for an order."""
        ...

    def reported(self, headers: Mapping[str, str], body: bytes) -> Event:
        """The canonical event of a call-back, verified on its raw bytes."""
        ...

    async def check(self) -> None:
        """Return when the target answers."""
        ...
