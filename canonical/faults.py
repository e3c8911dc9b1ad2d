"""How a platform, or the layer that speaks for it, can fail. One tree; each leaf is one problem type on the wire.

PlatformFault
├── Rejected          it understood and refuses; trying again is useless
├── NotFound          there is no such record
├── Conflict          somebody else was there first, or at the same time; look again
├── Throttled         too fast; `retry_after` seconds
├── Unavailable       it did not take the request; trying again is safe
└── UnknownOutcome    it may have acted; look before you try again
"""

from __future__ import annotations


class PlatformFault(Exception):
    """The root. `platform` is the domain (crm, erp, billing, provisioning); `field` the offending one, if it was named."""

    def __init__(self, platform: str, reason: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{platform}: {reason}")
        self.platform = platform
        self.reason = reason
        self.field = field
        self.retry_after = retry_after


class Rejected(PlatformFault):
    """The platform understood the request and refuses it. Trying again without a change is useless."""


class NotFound(PlatformFault):
    """The platform has no such record."""


class Conflict(PlatformFault):
    """The record exists already, or is being changed at this moment. Look again."""


class Throttled(PlatformFault):
    """The platform's limit is reached. `retry_after` is in seconds."""


class Unavailable(PlatformFault):
    """The platform did not take the request. Trying again is safe."""


class UnknownOutcome(PlatformFault):
    """The connection ended before the answer: the platform may have acted. Look before trying again."""


TRANSIENT = (Conflict, Throttled, Unavailable, UnknownOutcome)
"""What passes by itself. Every create of ours looks for what exists first, so all four may be tried again."""
