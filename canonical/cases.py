"""A case: something that cannot go on by itself, for the team that owns it."""

from __future__ import annotations

from typing import Literal

import msgspec

from canonical.ids import Instant

Team = Literal["sales", "finance", "support", "platform"]
Action = Literal["retry", "skip", "compensate", "approve", "reject"]
CaseState = Literal["open", "resolved"]


class CaseAction(msgspec.Struct, frozen=True):
    """What is to be done about a case, and why. A reason is needed to skip."""

    action: Literal["retry", "skip", "compensate"]
    reason: str = ""


class Approval(msgspec.Struct, frozen=True):
    """The decision of somebody other than who asked for it."""

    decision: Literal["approve", "reject"]
    reason: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong with a deal: which field, why, and whose it is to mend."""

    field: str
    reason: str
    team: Team


class Case(msgspec.Struct, frozen=True):
    """`kind` names the trouble, `subject` the record it is about, `input` what was being done."""

    id: str
    kind: str
    team: Team
    subject: str
    field: str
    reason: str
    actions: tuple[Action, ...]
    state: CaseState
    opened_at: Instant
    correlation_id: str
    input: dict[str, str] = {}
    resolved_at: Instant | None = None
    resolution: str = ""
