"""What every connector is passed, and how one instance of a domain is found among several.

A connector is a folder `system_apis/<domain>/<connector>/` that exports three names: `Settings` (a struct of its
section in the settings file, with a `url`), `FIELDS` (which canonical field each field of its records is) and
`connect(settings, context)`, which returns an implementation of the domain's `port.py`. No other code knows its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from canonical.ids import Clock, NewId
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Domain
from policies.outbound.platform_client import PlatformClient
from policies.problems import INVALID, FieldError, ProblemError
from system_apis.feed_position import FeedPosition

T = TypeVar("T")


class ConnectorContext(msgspec.Struct, frozen=True):
    """What one instance works with.

    `instance` is its name in the catalogue, `webhook_url` the address at which its platform calls back, `position`
    how far its change feed has been read, `timezone` that of a legal entity's books, which says what a day is.
    """

    instance: str
    client: PlatformClient
    clock: Clock
    new_id: NewId
    position: FeedPosition
    webhook_url: str
    timezone: Callable[[str], tzinfo] = lambda _: UTC


class Misfit(msgspec.Struct, frozen=True):
    """What of an instance's settings or mapping does not fit its platform, and what to do about it.

    `blocks` is whether work is held up by it; what does not is to be known all the same.
    """

    what: str
    remedy: str
    blocks: bool = True


class Translation(msgspec.Struct, frozen=True):
    """A field of a real record: its canonical name, the platform's name of it, and its value before and after.

    Where it is not `readable`, `after` says why.
    """

    field: str
    theirs: str
    before: str
    after: str
    readable: bool


@runtime_checkable
class Comparable(Protocol):
    """A connector that can hold its settings and its mapping against its platform as it is at this moment."""

    async def misfits(self) -> list[Misfit]:
        """Return all that does not fit. Only reads; raises leaves of `PlatformFault` when that is not possible."""
        ...


@runtime_checkable
class Exemplified(Protocol):
    """A connector that can show what a mapping makes of a real record."""

    async def example(self, record_id: str) -> tuple[str, list[Translation]]:
        """Return the id of a record and its fields: the newest one if `record_id` is empty.

        Raises `NotFound` when there is none, and other leaves of `PlatformFault`.
        """
        ...


class Instances(Generic[T]):
    """Find the connectors of one domain, by the name that the catalogue gives each."""

    def __init__(self, domain: Domain, connectors: Mapping[str, T], live_catalogue: LiveCatalogue) -> None:
        self._domain: Domain = domain
        self._connectors = dict(connectors)
        self._live_catalogue = live_catalogue

    def named(self, instance: str | None) -> T:
        """Return the connector of an instance; without a name, of the only one there is.

        Raises `ProblemError` (422) for an unknown name, and for none when there are several.
        """
        known = self._connectors
        found = known.get(instance) if instance else next(iter(known.values())) if len(known) == 1 else None
        if found is None:
            raise _unknown(self._domain, "instance", f"use one of {', '.join(sorted(known))}")
        return found

    def serving(self, legal_entity: str) -> T:
        """Return the connector that a legal entity's records belong to.

        Raises `ProblemError` (422) when there is none.
        """
        instance = self._live_catalogue.current.instance_for(self._domain, legal_entity)
        found = self._connectors.get(instance or "")
        if found is None:
            raise _unknown(self._domain, "legal_entity", f"no {self._domain} of this deployment serves it")
        return found

    def __iter__(self) -> Iterator[tuple[str, T]]:
        return iter(self._connectors.items())


def _unknown(domain: Domain, field: str, reason: str) -> ProblemError:
    return ProblemError(INVALID, f"Which {domain} is meant cannot be determined.", (FieldError(f"$.{field}", reason),))
