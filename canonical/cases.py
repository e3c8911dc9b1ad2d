"""A case: something that cannot go on by itself, for the team that owns it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Team = Literal["sales", "finance", "support", "platform"]
Action = Literal["retry", "skip", "compensate", "approve", "reject"]
CaseState = Literal["open", "resolved"]


class CaseAction(msgspec.Struct, frozen=True):
    """What is to be done about a case, and why. A reason is needed to skip."""

    action: Action
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
    opened_at: datetime
    correlation_id: str
    input: dict[str, str] = {}
    resolved_at: datetime | None = None
    resolution: str = ""
