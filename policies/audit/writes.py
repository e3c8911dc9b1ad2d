"""What a layer records of its calls: every write, and every call that was turned away for want of credentials."""

from __future__ import annotations

from http import HTTPStatus

import structlog

from canonical.ids import Clock
from policies.audit.log import AuditLog
from policies.audit.records import AuditEntry
from policies.policy import Call, Policy, Rules

log = structlog.get_logger("tiergate.audit")


class LoggedRefusals(Policy):
    """A call without valid credentials is logged."""

    def refused(self, call: Call) -> None:
        if call.status == HTTPStatus.UNAUTHORIZED:
            log.warning(
                "refused", operation=call.rules.operation_id, status=call.status, correlation_id=call.correlation_id
            )


class AuditedWrites(Policy):
    """Each write leaves one audit record before it is answered, refused ones too."""

    def __init__(self, rules: Rules, audit: AuditLog, clock: Clock) -> None:
        self._rules = rules
        self._audit = audit
        self._clock = clock

    @staticmethod
    def applies(rules: Rules) -> bool:
        return rules.operation.idempotency != "safe"

    def answered(self, call: Call) -> None:
        rules, principal = self._rules, call.principal
        client = principal.client if principal else rules.operation.open or "unknown"
        self._audit.write(
            AuditEntry(
                at=self._clock(),
                layer=rules.layer,
                operation=rules.operation_id,
                version=call.version if rules.api else "",
                client=client,
                on_behalf_of=principal.subject if principal else call.acts_for,
                object=call.path,
                status=call.status,
                correlation_id=call.correlation_id,
            )
        )
