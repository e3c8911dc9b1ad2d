"""The facts that the platform team governs, as `catalogue.toml` holds them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

import msgspec

from canonical.proration import ProrationRule

Layer = Literal["system", "process", "experience"]
Kind = Literal["internal", "partner", "service"]
State = Literal["draft", "active", "deprecated"]
SHIPPED = pathlib.Path(__file__).with_name("catalogue.toml")
INSTALLED = pathlib.Path(__file__).with_name("examples")
EXAMPLES = INSTALLED if INSTALLED.is_dir() else pathlib.Path(__file__).parents[2] / "deploy"
"""The examples of the files that a company writes: as they are installed, or in the repository."""
Name = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Domain = Literal["crm", "erp", "billing", "provisioning"]
Path = tuple[str, ...]
"""The keys that lead to a part of the catalogue."""
Report = tuple[Path, str, str]
"""Something wrong in a catalogue: where, what, and what to do."""
LEGAL_ENTITY = "[A-Za-z0-9]{1,20}"
"""The code of a legal entity, as the books have it: DE01, 1000, ACME."""
INSTANCE = "[a-z0-9-]{1,40}"
"""How a platform is named: a query carries it, and an environment variable."""
DEFAULT = "default"
"""The rule for calls to a platform that have none of their own."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every part of the catalogue has in common: it never changes, and knows its keys."""


class ServiceTier(Fact, frozen=True):
    """How fast a caller is answered, and the seconds after which no call of it goes on (`timeout`), in whatever layer.
    When a replica has `sheds_at` calls running, it turns new ones of this tier away.

    What is promised, and measured: `promised_share` of the calls are answered within `answered_within` seconds, and
    not with a server error. Without the seconds only errors count against it.
    """

    objective: Name
    timeout: Seconds
    sheds_at: Count
    answered_within: Seconds | None = None
    promised_share: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.99


class Operation(Fact, frozen=True):
    """What governs one operation. Exactly one of `scope` and `open` is given.

    A call counts `cost` against its client's limits; `rates` limits the operation beside them, for each client. The
    body of a `streamed` one is read while it comes: it is longer than others may be, and never in memory as a whole.
    """

    tier: Name
    idempotency: Literal["safe", "natural", "key"]
    scope: str | None = None
    open: Literal["health", "signature", "credentials", "public", "session"] | None = None
    cost: Count = 1
    rates: str | None = None
    streamed: bool = False


class Version(Fact, frozen=True):
    """Where a major version is in its life. Dates are days in UTC; the version ends as the day of its sunset begins.

    A deprecated one has a `successor`, or none because its API is retired as a whole. `guide` is the address of a page
    that says what callers do.
    """

    state: State
    deprecated_on: date | None = None
    sunset_on: date | None = None
    successor: str | None = None
    guide: str | None = None

    @property
    def way_on(self) -> str:
        """Return what callers of a deprecated version are to do, in words."""
        return f"move to {self.successor}" if self.successor else f"nothing comes after it, as {self.guide} explains"


class Api(Fact, frozen=True):
    """A set of operations under one name, which one team answers for. Audit records of them are kept `audit_days`."""

    layer: Layer
    owner: Name
    title: Name
    audit_days: Count
    versions: dict[str, Version]
    operations: dict[str, Operation]


class Gateway(Fact, frozen=True):
    """What belongs to no API: what a layer says of itself, tokens, and pages for people. Audit records of them, and of
    operations that are gone, are kept `audit_days`."""

    audit_days: Count
    operations: dict[str, Operation]


class Client(Fact, frozen=True):
    """Who may call one layer, which of its `apis` (no others), for what, how much, and whose records it sees ("*":
    everybody's), of which regions.

    Our own layers (`service`) have no throttle tier: their callers have been counted already.
    """

    kind: Kind
    owner: Name
    audience: Layer
    scopes: frozenset[str]
    legal_entities: frozenset[str]
    tier: str | None = None
    regions: frozenset[str] = frozenset({"*"})
    apis: frozenset[str] = frozenset()


class PlatformCall(Fact, frozen=True):
    """How one call to a platform is made: given up after `timeout` seconds, tried `tries` times at the most. Only what
    is safe to repeat is tried again. `batch` is how many records are sent together, where the operation takes
    several."""

    timeout: Seconds
    tries: Count
    batch: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class Retries(Fact, frozen=True):
    """The pause before a call is tried again grows from `first` to `most` seconds, a random part of it. New tries are
    at most `budget` of all calls (0.2: one in five), so that a platform in trouble is not asked more than before."""

    first: Seconds
    most: Seconds
    budget: Annotated[float, msgspec.Meta(gt=0, le=1)]


class Breaker(Fact, frozen=True):
    """After so many `failures` in a row a platform is left alone for `rest` seconds."""

    failures: Count
    rest: Seconds


class Platform(Fact, frozen=True):
    """One instance of a platform: which connector speaks to it, where its data lies, which legal entities it serves
    ("*": all of them), and how it may be called.

    At most `rate` requests are sent (all replicas together, if they share a Redis), and `concurrent` at once by each
    replica. `calls` has a rule for "default" and for single operations of the domain's API. `proration` is the rule by
    which a billing platform divides the price of a period; what it charges is held against that.
    """

    domain: Domain
    connector: Name
    owner: Name
    region: Name
    rate: Name
    concurrent: Count
    retries: Retries
    breaker: Breaker
    calls: dict[str, PlatformCall]
    legal_entities: frozenset[str] = frozenset({"*"})
    proration: ProrationRule = "seconds"

    def serves(self, legal_entity: str) -> bool:
        """Return whether records of a legal entity belong to this instance."""
        return "*" in self.legal_entities or legal_entity in self.legal_entities


class Region(Fact, frozen=True):
    """A part of the world in which the records of its `legal_entities` stay, but for the fields that `may_leave` it
    ("order.id": an entity of the canonical model, and one of its fields)."""

    legal_entities: frozenset[str]
    may_leave: frozenset[str] = frozenset()


class Catalogue(Fact, frozen=True):
    """What several policies share. The sections that one policy owns are added by `policies/catalogue/sections.py`."""

    service_tiers: dict[str, ServiceTier]
    apis: dict[str, Api]
    gateway: Gateway
    clients: dict[str, Client]
    platforms: dict[str, Platform] = {}
    regions: dict[str, Region] = {}

    def operations(self, layer: Layer) -> dict[str, Operation]:
        """Return every operation that a layer may serve, by id."""
        found = dict(self.gateway.operations)
        for api in self.apis.values():
            if api.layer == layer:
                found |= api.operations
        return found

    def operations_of(self, client: Client) -> dict[str, Operation]:
        """Return every operation of the APIs that a client may call, and those of the gateway, by id."""
        found = dict(self.gateway.operations)
        for name in client.apis & self.apis.keys():
            found |= self.apis[name].operations
        return found

    def placed_operations(self) -> Iterator[tuple[Path, str, Operation]]:
        """Yield every operation: where it stands, its id, and what governs it."""
        for name, api in self.apis.items():
            for operation_id, operation in api.operations.items():
                yield ("apis", name, "operations", operation_id), operation_id, operation
        for operation_id, operation in self.gateway.operations.items():
            yield ("gateway", "operations", operation_id), operation_id, operation

    def audit_days_of(self, operation_id: str) -> int:
        """Return how long audit records of an operation are kept."""
        name = self.api_of(operation_id)
        return self.apis[name].audit_days if name else self.gateway.audit_days

    def api_of(self, operation_id: str) -> str | None:
        """Return the name of the API that an operation belongs to."""
        return next((name for name, api in self.apis.items() if operation_id in api.operations), None)

    def homes(self) -> frozenset[str]:
        """Return every legal entity that has a region."""
        return frozenset[str]().union(*(each.legal_entities for each in self.regions.values()))

    def region_of(self, legal_entity: str) -> str | None:
        """Return the region in which the records of a legal entity stay."""
        return next((name for name, region in self.regions.items() if legal_entity in region.legal_entities), None)

    def instances(self, domain: Domain) -> list[str]:
        """Return the names of the platforms of a domain, in the order in which they are written."""
        return [name for name, platform in self.platforms.items() if platform.domain == domain]

    def instance_for(self, domain: Domain, legal_entity: str) -> str | None:
        """Return the platform that serves a legal entity; the only one of its domain serves what has no legal
        entity."""
        found = self.instances(domain)
        if not legal_entity:
            return found[0] if len(found) == 1 else None
        return next((each for each in found if self.platforms[each].serves(legal_entity)), None)

    def entities_of(self, client: Client) -> frozenset[str]:
        """Return the legal entities whose records a client may see: those it is granted, in the regions it is
        granted."""
        if "*" in client.regions:
            return client.legal_entities
        there = frozenset[str]().union(*(self.regions[each].legal_entities for each in client.regions))
        return there if "*" in client.legal_entities else client.legal_entities & there


class Violation(msgspec.Struct, frozen=True):
    """Something wrong in a catalogue: where (`line` counts from 1, `key` is a dotted path), what, and what to do."""

    line: int
    key: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.reason}; {self.remedy}"


class CatalogueError(ValueError):
    """The catalogue cannot govern; `violations` say why."""

    def __init__(self, name: str, violations: list[Violation]) -> None:
        super().__init__("\n".join(f"{name}: {each}" for each in violations))
        self.violations = violations
