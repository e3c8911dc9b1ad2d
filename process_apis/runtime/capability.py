"""What a capability brings, so that adding one is a module and a line in `app`: whatever runs it looks here, and knows
none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import msgspec
from litestar.types import ControllerRouterHandler

from canonical.cases import Action, Case, CaseKind
from canonical.events import Event
from policies.background import Job
from policies.observe.metrics import Find
from process_apis.runtime.agenda import Due

Reaction = Callable[[Event, str], None]
"""Takes an event and its correlation id. May happen twice for one event: what it starts has an identity of its own."""
Next = Callable[[], object]


def nothing() -> None:
    """Do nothing: nothing follows."""


def unowned(_: Case) -> str:
    """Return that nobody in particular asked for what the case is about."""
    return ""


def as_opened(case: Case) -> tuple[Action, ...]:
    """Return what a case was opened with: that does not change."""
    return case.actions


class Signed(msgspec.Struct, frozen=True):
    """What acts on cases and keeps with it, in one transaction, who acts and why. Else the closed case says so."""

    act: Callable[[Case, Action, str, str], Next]


class CaseOwner(msgspec.Struct, frozen=True):
    """What people may do about a capability's cases.

    `act` does what an action means for a case, and returns what is to be done once the case is closed: what fails again
    opens another. It raises `IllegalTransition` where the subject does not allow it any more. `asked_by` says who asked
    for what the case wants approved, and cannot approve it. `outlive` are kinds that stay open when an action ends the
    subject. Cases that are not `closed_by_action` close themselves, when the trouble is over. `allowed` returns which
    of the actions that an open case names its subject allows now.
    """

    kinds: frozenset[CaseKind]
    act: Callable[[Case, Action], Next] | Signed
    asked_by: Callable[[Case], str] = unowned
    outlive: frozenset[CaseKind] = frozenset()
    closed_by_action: bool = True
    allowed: Callable[[Case], tuple[Action, ...]] = as_opened


class Capability(msgspec.Struct, frozen=True):
    """One thing that the process layer does for the business.

    `due` is work that waits for its time in a table. `periodic_jobs` are done at each poll, and `background` are jobs
    beside it, for as long as the layer runs. `measures` are what each process measures of it. `is_made` says for a type
    of events whether the record is there that such an event makes: without it an event that was taken is done.
    """

    name: str
    reactions: Mapping[str, Reaction] = {}
    is_made: Mapping[str, Callable[[Event], bool]] = {}
    due: Sequence[Due] = ()
    periodic_jobs: Sequence[Callable[[], None]] = ()
    background: Sequence[Job] = ()
    measures: Sequence[Find] = ()
    cases: CaseOwner | None = None
    routes: Sequence[ControllerRouterHandler] = ()


def owners(capabilities: Sequence[Capability]) -> dict[CaseKind, CaseOwner]:
    """Return whose each kind of case is. Raises `ValueError` for a kind that two capabilities claim, or none."""
    found: dict[CaseKind, CaseOwner] = {}
    for name, cases in ((each.name, each.cases) for each in capabilities if each.cases is not None):
        if taken := cases.kinds & found.keys():
            raise ValueError(f"the capability {name} claims cases that another one has: {', '.join(sorted(taken))}")
        found |= dict.fromkeys(cases.kinds, cases)
    if missing := set(get_args(CaseKind)) - found.keys():
        raise ValueError(f"no capability has the cases of these kinds: {', '.join(sorted(missing))}")
    return found
