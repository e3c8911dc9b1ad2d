"""What people decide about a dispute: to answer it, or to give the money up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.disputes import LARGEST_ANSWER, DisputeAction, DisputeRecord, Evidence
from policies.business.disputes import ANSWER_TOO_LATE, DISPUTE_DECIDED, EVIDENCE_TOO_LARGE
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.records.disputes import NEEDS_RESPONSE, OVER, Disputes, is_late
from process_apis.runtime.context import WorkflowContext


class DisputeDecisions:
    """Acts on disputes. Asking for the same twice is asking once."""

    def __init__(self, context: WorkflowContext, records: Disputes, look: Callable[[], None]) -> None:
        """`look` says that something is to be done at once."""
        self._context = context
        self._records = records
        self._look = look

    def read(self, dispute_id: str, principal: Principal) -> DisputeRecord:
        """Return a dispute with its history. Raises `ProblemError` (404) for one that is not there for this caller."""
        found = self._records.visible(dispute_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no dispute {dispute_id}.")
        return found

    def act(self, dispute_id: str, wanted: DisputeAction, principal: Principal) -> DisputeRecord:
        """Keep what is asked for, which is done at once, whatever becomes of this process, and return the dispute.

        Raises `ProblemError`: 404 for one that is not there for this caller; 409 for one that is decided, that takes no
        answer any more, or that leaves no such thing to do now; 422 for evidence that is missing or too large.
        """
        self.read(dispute_id, principal)
        evidence = wanted.evidence if wanted.action == "answer" else None
        if wanted.action == "answer":
            _check_evidence(evidence)
        elif wanted.evidence is not None:
            raise ProblemError(INVALID, "What is accepted needs no evidence.", (FieldError("$.evidence", "leave it"),))
        digest = hashlib.sha256(msgspec.json.encode(evidence)).hexdigest()
        with self._records.at(dispute_id) as one:
            if self._is_asked(one.row, wanted, digest):
                return self.read(dispute_id, principal)
            self._check(one.row, wanted)
            one.ask(wanted.action, principal.subject, wanted.reason, evidence, digest)
        self._look()
        return self.read(dispute_id, principal)

    def _is_asked(self, row: sa.Row[Any], wanted: DisputeAction, digest: str) -> bool:
        """Return whether the same was asked for, and is being done or was done."""
        done = "answered" if wanted.action == "answer" else "lost"
        return (row.asked, row.digest) == (wanted.action, digest) and (bool(row.doing) or row.state == done)

    def _check(self, row: sa.Row[Any], wanted: DisputeAction) -> None:
        about = f"The dispute {row.id} is {row.state}"
        if row.state in OVER:
            raise ProblemError(DISPUTE_DECIDED, f"{about}.")
        if row.doing:
            raise ProblemError(
                NOT_ALLOWED_NOW, f"Somebody has asked to {row.doing} it already, and that is being done."
            )
        if row.state not in NEEDS_RESPONSE:
            raise ProblemError(NOT_ALLOWED_NOW, f"{about}: there is nothing to {wanted.action} now.")
        if wanted.action == "answer" and is_late(row, self._context.clock()):
            raise ProblemError(ANSWER_TOO_LATE, f"{about}, and takes no answer since {row.respond_by}.")
        if wanted.action == "accept" and row.state == "inquired":
            reason = f"{about}: nothing was taken yet. To give the money up, refund it in billing."
            raise ProblemError(NOT_ALLOWED_NOW, reason)


def _check_evidence(evidence: Evidence | None) -> None:
    if evidence is None or not evidence.length:
        reason = FieldError("$.evidence", "say at least one thing that shows that the payment is right")
        raise ProblemError(INVALID, "An answer needs evidence.", (reason,))
    if evidence.length > LARGEST_ANSWER:
        what = f"The evidence has {evidence.length} characters in all; {LARGEST_ANSWER} are taken."
        raise ProblemError(EVIDENCE_TOO_LARGE, what)
