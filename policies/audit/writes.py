"""What a layer records of its calls: every write."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from http import HTTPStatus

import structlog
from msgspec.structs import replace

from canonical.faults import UnknownOutcome
from canonical.ids import Clock
from policies.audit.records import AuditEntry
from policies.audit.trail import AuditTrail
from policies.policy import AuditedItem, Call, Policy, Rules
from policies.problems import OVERLOADED, ProblemError

_noted: ContextVar[list[AuditedItem]] = ContextVar("audited_items")
UNRECORDED = "it may have been done, and its audit record could not be written"
log = structlog.get_logger("tiergate.audit")


def note_item(record: str, status: int, correlation_id: str) -> None:
    """Let one `record` of a write of many (its path) leave an audit record of its own, with the status that it would
    have had alone."""
    _noted.get().append(AuditedItem(record, status, correlation_id))


class AuditedWrites(Policy):
    """Each write leaves one audit record before it is answered, refused ones too."""

    def __init__(self, rules: Rules, trail: AuditTrail, clock: Clock) -> None:
        self._rules = rules
        self._trail = trail
        self._clock = clock

    @staticmethod
    def applies(rules: Rules) -> bool:
        return rules.operation.idempotency != "safe"

    def enter(self, call: Call) -> None:
        call.noting = _noted.set(call.items)

    def leave(self, call: Call) -> None:
        if call.noting is not None:
            _noted.reset(call.noting)

    def answered(self, call: Call) -> Awaitable[None] | None:
        rules, principal = self._rules, call.principal
        unproved = principal is None and call.status >= HTTPStatus.BAD_REQUEST
        entry = AuditEntry(
            at=self._clock(),
            layer=rules.layer,
            operation=rules.operation_id,
            version=call.version if rules.api else "",
            client=principal.client if principal else rules.operation.open or "unknown",
            on_behalf_of=principal.subject if principal else call.acts_for,
            object=call.path,
            status=call.status,
            correlation_id=call.correlation_id,
        )
        sampled = unproved or call.unrecordable
        if call.items:
            return self._all(entry, call.items)
        writing = self._trail.sample(entry) if sampled else self._trail.record(entry)
        return None if writing is None else _written(writing, entry)

    async def _all(self, entry: AuditEntry, items: Sequence[AuditedItem]) -> None:
        """Record a write of many: what it was asked for, and what became of each."""
        of_each = [
            replace(entry, object=each.record, status=each.status, correlation_id=each.correlation_id) for each in items
        ]
        for one in (entry, *of_each):
            await _written(self._trail.record(one), one)


async def _written(writing: Awaitable[None], entry: AuditEntry) -> None:
    """Wait for a record. Raises `UnknownOutcome` when something may have been done and its record is not there."""
    try:
        await writing
    except OSError as error:
        known = {"operation": entry.operation, "status": entry.status, "correlation_id": entry.correlation_id}
        log.warning("a record could not be written", reason=type(error).__name__, **known)
        if entry.status < HTTPStatus.BAD_REQUEST:
            raise UnknownOutcome(entry.layer, UNRECORDED) from error


class RecordableWrites(Policy):
    """A write is begun when its audit record can be written, and refused when it cannot."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    @staticmethod
    def applies(rules: Rules) -> bool:
        return AuditedWrites.applies(rules)

    def enter(self, call: Call) -> None:
        if trouble := self._trail.trouble():
            call.unrecordable = True
            detail = f"The audit log has no place for a record: {trouble}. Nothing was done."
            raise ProblemError(OVERLOADED, detail, headers={"Retry-After": "1"})
