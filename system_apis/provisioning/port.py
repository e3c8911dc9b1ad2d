"""What a provisioning connector must do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from canonical.deals import Holder, ProvisioningRequest, Suspension
from canonical.events import Event


class Provisioning(Protocol):
    """What the process layer needs of a provisioning target. Every method raises leaves of `PlatformFault`."""

    async def put(self, request: ProvisioningRequest, correlation_id: str) -> None:
        """Ask for the delivery of each line. A line that was asked for with the same attempt is not begun again. When
        it has ended, that is reported again: so a report that was lost here is asked for."""
        ...

    async def remove(self, order_id: str) -> None:
        """Undo the delivery of an order."""
        ...

    async def suspend(self, wanted: Suspension, correlation_id: str) -> None:
        """Suspend the service of an order, or take it up again. What is so already stays so. Raises `NotFound` for an
        order of which nothing is delivered."""
        ...

    async def hand_over(self, wanted: Holder, correlation_id: str) -> None:
        """Say who has what was delivered for an order from now on. Nothing is delivered for that, taken back or
        suspended. The same again changes nothing. Raises `NotFound` for an order of which nothing is delivered."""
        ...

    def reported(self, headers: Mapping[str, str], body: bytes) -> Event:
        """Return the canonical event of a call-back, verified on its raw bytes."""
        ...

    async def check(self) -> None:
        """Return when the target answers."""
        ...
