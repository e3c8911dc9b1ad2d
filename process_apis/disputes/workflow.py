"""What is done about a dispute: it is read in billing, answered or accepted there where somebody has asked for it, and
reported to those whom it concerns.

Each look decides by what billing says then, so that it may be done again whenever a process ends, and in whatever order
events come. It is done in the partition of the dispute.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.disputes import Dispute, Evidence
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.states import IllegalTransition, check_dispute
from policies.context.correlation import correlated
from process_apis.records.disputes import HOLDS_UNREAD, OVER, Disputes, is_unread
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome

KIND: CaseKind = "payment_disputed"
LOOK_AGAIN = timedelta(days=1)
"""From one look at a dispute to the next that is not over, where billing tells of nothing: an answer that was sent in
billing itself is seen by that."""
UNTIL = "%Y-%m-%d %H:%M"
"""How a case says until when a dispute is to be answered (UTC)."""
log = structlog.get_logger("tiergate.disputes")


@DBOS.dbos_class("Disputing")
class Disputing(DBOSConfiguredInstance):
    """The workflow of a dispute."""

    def __init__(self, context: WorkflowContext, records: Disputes, wake: Callable[[], None]) -> None:
        """`wake` says that there is something to be booked."""
        super().__init__("disputing")
        self._context = context
        self._records = records
        self._wake = wake

    @DBOS.workflow(name="Disputing.run")
    def run(self, dispute_id: str) -> Outcome:
        return self.look(dispute_id)

    @DBOS.step(name="Disputing.look")
    @resumable
    def look(self, dispute_id: str) -> Outcome:
        """Bring a dispute to where billing has it, and say when to look again. What another run has seen to is not done
        again."""
        row = self._records.find(dispute_id)
        if row is None or row.next_attempt_at is None:
            return "done"
        with correlated(row.correlation_id):
            try:
                self._look(row)
            except TRANSIENT as fault:
                if is_unread(row, self._context.clock()):
                    self._give_up(row, fault)
                    return "stopped"
                again = retry(self._context, row.attempts + 1, fault.retry_after).at
                self._records.postpone(row, again, row.attempts + 1, f"{fault.platform}: {fault.reason}")
            except (Rejected, NotFound) as fault:
                self._give_up(row, fault)
            except IllegalTransition as error:
                self._give_up(row, Rejected("billing", f"{error}", field="state"))
            else:
                return "done"
        return "stopped"

    def _give_up(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Leave a dispute that cannot be read to people, and look again whatever they do. The same reason is
        reported once, and again when nothing waits for it any more; after it, support knows of no moment to answer
        by."""
        again = self._context.clock() + LOOK_AGAIN
        what = "cannot be read"
        if is_unread(row, self._context.clock()):
            what += (
                f", for {HOLDS_UNREAD.days} days, so that dunning and the renewal of its contract wait for it no more"
            )
        why = f"it {what}: {fault.platform}: {fault.reason}"
        if row.blocked_reason != why or not row.attempts:
            self._report(row, fault, what)
        self._records.postpone(row, again, row.attempts + 1, why, reported_until="")

    def _look(self, row: sa.Row[Any]) -> None:
        """Do what is asked for, tell what follows, and write the record last: what is cut short is done again."""
        found, refusal = self._carried_out(row)
        check_dispute(row.state, found.state)
        for fee in found.fees:
            self._records.keep_fee(fee)
            self._context.postings.expect(
                "fee",
                row.billing,
                fee.id,
                row.correlation_id,
                self._context.stalled_at(),
                invoice_id=found.invoice_id,
                contract_id=found.contract_id,
                customer_id=found.customer_id,
                legal_entity=found.legal_entity,
            )
        reported_until = self._tell(row, found, refusal)
        again = None if found.state in OVER else self._context.clock() + LOOK_AGAIN
        if self._records.seen(row, found, again, reported_until, refusal) and found.state != row.state:
            log.info("dispute", dispute=row.id, state=found.state, correlation_id=row.correlation_id)
        if found.fees:
            self._wake()

    def _carried_out(self, row: sa.Row[Any]) -> tuple[Dispute, str]:
        """Return a dispute as billing has it, after what was asked for is done, and why billing has not done it."""
        billing, platforms = row.billing, self._context.platforms
        try:
            if row.doing == "accept":
                return platforms.accept_dispute(billing, row.id), ""
            if row.doing == "answer":
                evidence = msgspec.json.decode(row.evidence, type=Evidence)
                return platforms.answer_dispute(billing, row.id, evidence, row.legal_entity), ""
        except Rejected as fault:
            return platforms.dispute(billing, row.id), f"{fault.platform} has not taken it: {fault.reason}"
        return platforms.dispute(billing, row.id), ""

    def _tell(self, row: sa.Row[Any], found: Dispute, refusal: str) -> str:
        """Let support know until when an answer is taken, once for each such moment, and again when it was refused.
        Return the moment that support knows of. What nobody can answer, and what is over, is no case."""
        until = f"{found.respond_by:{UNTIL}}" if found.respond_by and found.state not in OVER else ""
        for case in self._open_cases(row, found.customer_id):
            if refusal or _is_of_failure(case) or case.input.get("respond_by") != until:
                self._context.cases.close(case, _resolution(found, refusal, case))
        if until and (refusal or row.reported_until != until):
            note = f" What was asked for was not done: {refusal}." if refusal else ""
            self._open(
                row, found.customer_id, Finding(row.id, _reason(found, until) + note, "billing"), ("skip",), until
            )
        return until

    def _report(self, row: sa.Row[Any], fault: PlatformFault, what: str) -> None:
        """Let support know of a dispute that cannot be read: nobody can say until when it is to be answered. That takes
        the place of what was asked of them before, since there is one case of a dispute."""
        for case in self._open_cases(row):
            if not _is_of_failure(case):
                self._context.cases.close(case, "the dispute cannot be read any more")
        reason = f"the dispute {what}: {fault.reason}. See to it in billing, and retry; or skip."
        self._open(row, row.customer_id, Finding(row.id, reason, fault.platform), ("retry", "skip"))

    def _open_cases(self, row: sa.Row[Any], customer_id: str = "") -> list[Case]:
        """Return the open cases of a dispute: under the customer that was reported, and the one that was read."""
        customers = {row.customer_id, customer_id or row.customer_id}
        found = [case for each in customers for case in self._context.cases.open_of(each, KIND)]
        return [case for case in found if case.field == row.id]

    def _open(
        self, row: sa.Row[Any], customer_id: str, finding: Finding, actions: tuple[Action, ...], until: str = ""
    ) -> None:
        case = self._context.cases.open(
            KIND,
            f"invoice:{row.invoice_id}",
            finding,
            actions,
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            customer_id=customer_id,
            given={"invoice": row.invoice_id, "respond_by": until},
            by=datetime.strptime(until, UNTIL).replace(tzinfo=UTC) if until else None,
        )
        if case.reason != finding.reason:
            self._context.cases.restate(case, finding.reason)


def _reason(found: Dispute, until: str) -> str:
    does = "asks about" if found.state == "inquired" else "disputes"
    said = (
        f"the customer's bank {does} {found.amount} of the invoice {found.invoice_id}"
        f" ({found.reason or 'no reason was given'})."
    )
    if found.state == "answered":
        return f"{said} It was answered, and the bank decides. Skip: it is known."
    what = f"Answer the dispute {found.id}, with evidence, by {until} UTC"
    return f"{said} {what}: what is not answered is lost. Skip: it is accepted, or answered."


def _is_of_failure(case: Case) -> bool:
    """Return whether a case says that a dispute cannot be read."""
    return "retry" in case.actions


def _resolution(found: Dispute, refusal: str, case: Case) -> str:
    if found.state in OVER:
        return f"the dispute is {found.state}"
    if _is_of_failure(case):
        return "it was read after all"
    return "it is asked again" if refusal else "it has become a dispute, with another moment to answer by"
