"""How a platform, or the layer that speaks for it, can fail. One tree; each leaf is one problem type (RFC 9457).

PlatformFault
├── Rejected          it understood and refuses; a retry is useless
│   └── Misconfigured for us: our credentials, or something that it has to have; a person has to set it up
├── NotFound          there is no such record
├── Conflict          another write came first, or runs at the same time; read again
├── Throttled         too fast; wait `retry_after` seconds
├── Unavailable       it did not take the request; a retry is safe
└── UnknownOutcome    it may have acted; read before a retry
"""

from __future__ import annotations


class PlatformFault(Exception):
    """The root of the tree.

    `platform` is the domain (crm, erp, billing, provisioning), `field` the offending field (empty when none was named),
    and `retry_after` is in seconds.
    """

    def __init__(self, platform: str, reason: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{platform}: {reason}")
        self.platform = platform
        self.reason = reason
        self.field = field
        self.retry_after = retry_after


class Rejected(PlatformFault):
    """The platform understood the request and refuses it. A retry without a change is useless."""


class Misconfigured(Rejected):
    """The platform refuses our credentials, or lacks what has to be there. `reason` says so to everybody: it holds no
    address, and nothing of a record."""


class NotFound(PlatformFault):
    """The platform has no such record."""


class Conflict(PlatformFault):
    """The record exists already, or is being changed at this moment. Read it again."""


class Throttled(PlatformFault):
    """The platform's limit is reached. `retry_after` is in seconds."""


class Unavailable(PlatformFault):
    """The platform did not take the request. A retry is safe."""


class UnknownOutcome(PlatformFault):
    """The connection ended before the answer: the platform may have acted. Read the record before a retry."""


TRANSIENT = (Conflict, Throttled, Unavailable, UnknownOutcome)
"""Faults that pass by themselves. Every create looks for an existing record first, so all four may be retried."""
