"""What every team sees at a glance: how far the work has come, what waits, and where something is found."""

from __future__ import annotations

from typing import Literal

import msgspec

from canonical.cases import CaseKind, Incident, Team
from canonical.ids import Instant
from canonical.money import Money

HitKind = Literal["customer", "order", "contract", "invoice", "payment", "case", "amendment"]


class RecordsInState(msgspec.Struct, frozen=True):
    """How many records are in a state.

    `oldest_since` is when the one that is in it longest got there (UTC), `oldest_id` which one that is; both say
    nothing of states that are an end. `worth` is what they are worth net of tax, by currency.
    """

    state: str
    count: int
    oldest_since: Instant | None = None
    oldest_id: str = ""
    worth: tuple[Money, ...] = ()


class TeamCases(msgspec.Struct, frozen=True):
    """The open cases of a team: how many, of which kinds, and since when the oldest waits (UTC)."""

    team: Team
    count: int
    oldest_since: Instant | None
    kinds: dict[CaseKind, int]


class Flow(msgspec.Struct, frozen=True):
    """How far everything has come from the deal to the cash, of what the caller may see. `left_out` names what the
    caller's rights do not show."""

    as_of: Instant
    orders: tuple[RecordsInState, ...]
    amendments: tuple[RecordsInState, ...]
    postings: tuple[RecordsInState, ...] = ()
    dunnings: tuple[RecordsInState, ...] = ()
    disputes: tuple[RecordsInState, ...] = ()
    cases: tuple[TeamCases, ...] = ()
    incidents: tuple[Incident, ...] = ()
    left_out: tuple[str, ...] = ()


class Hit(msgspec.Struct, frozen=True):
    """A record that was found: what it is called, what it is by now, and whose it is."""

    kind: HitKind
    id: str
    title: str
    state: str = ""
    customer_id: str = ""
    at: Instant | None = None
    """When it changed last."""


class Found(msgspec.Struct, frozen=True):
    """What was found, the best first; `more` says that there is more than is shown."""

    query: str
    hits: tuple[Hit, ...]
    more: bool = False
