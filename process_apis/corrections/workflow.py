"""A correction on its way: held against what is there now, approved, done in billing once, and over when it is booked.

Accounting books what billing reports, as it does for what people do in billing: a correction adds nothing to that, and
looks when it is done. Every step may be run again: billing knows what it was asked for by our id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, CaseKind, Finding
from canonical.corrections import Correctable, CorrectionPreview, CreditOrder, RefundOrder
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.orders import PostingEntry
from canonical.states import CorrectionState
from policies.context.correlation import correlated
from policies.problems import ProblemError
from process_apis.corrections.preview import preview, worth
from process_apis.corrections.request import check_again, does_not_add_up, numbered
from process_apis.records.corrections import Corrections, wanted_of
from process_apis.records.database import NOT_BLOCKED
from process_apis.runtime import outages
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.holds import Stopped
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, passes_by_itself, with_retries

KINDS: frozenset[CaseKind] = frozenset({"correction_approval", "correction_not_agreed", "correction_refused"})
PATH: tuple[CorrectionState, ...] = ("requested", "checking", "carrying_out", "carried_out", "booked")
ENTRY: dict[str, PostingEntry] = {
    "credit_note": "credit",
    "refund": "reversal",
    "void": "invoice",
    "write_off": "invoice",
}
"""What is booked for each kind."""
ENDED = {"void": "void", "write_off": "uncollectible"}
"""The state of an invoice in which each kind that ends one leaves it."""
GONE_ON: tuple[CorrectionState, ...] = ("awaiting_approval", "carried_out", "booked")
"""Where a correction is that has not failed any more, neither in front of billing nor while it was checked again."""
CHECKED_FOR = timedelta(minutes=1)
"""How long a preview counts once both have agreed to it."""
log = structlog.get_logger("tiergate.corrections")


@DBOS.dbos_class("Correcting")
class Correcting(DBOSConfiguredInstance):
    """The workflow of a correction and its steps."""

    def __init__(self, context: WorkflowContext, records: Corrections) -> None:
        super().__init__("correcting")
        self._context = context
        self._records = records

    @DBOS.workflow(name="Correcting.run")
    def run(self, correction_id: str) -> Outcome:
        for step in self.steps:
            if step(correction_id) == "stopped":
                return "stopped"
        return "done"

    @property
    def steps(self) -> tuple[Callable[[str], Outcome], ...]:
        """Return the steps in their order; one that is stopped at is begun with the next run."""
        return self.check, self.carry_out, self.book

    # ---- may it be, and do both agree?

    @DBOS.step(name="Correcting.check")
    @resumable
    def check(self, correction_id: str) -> Outcome:
        """Hold a correction against what is there now, and let it wait for a yes where it needs one."""
        return self._enter(correction_id, "checking", self._check)

    def _check(self, row: sa.Row[Any]) -> Outcome:
        context, wanted = self._context, wanted_of(row)
        found = context.platforms.correctable(row.billing, row.invoice_id)
        if row.tries > 1 and _is_made(row, found):
            return self._go_on(row)
        try:
            check_again(wanted, row.kind, found)
            said = preview(context, row.billing, wanted, row.kind, found, proposed=row.proposed)
        except ProblemError as refused:
            raise _refused_by_us(refused) from refused
        except Rejected as refused:
            if not isinstance(wanted, CreditOrder) or refused.platform != "billing":
                raise
            raise _refused_by_us(does_not_add_up(wanted, found, refused.reason)) from refused
        amount = worth(said)
        self._records.change(row.id, preview=msgspec.json.encode(said), amount=amount.amount, currency=amount.currency)
        if said.differences:
            raise Stopped("correction_not_agreed", list(said.differences), ("retry", "compensate"))
        return self._decided(row, said)

    def _go_on(self, row: sa.Row[Any]) -> Outcome:
        """Let a correction be carried out of which billing has all that was asked for."""
        with self._records.at(row.id) as one:
            if one.row.state != "checking":
                return "stopped"  # it was withdrawn meanwhile
            one.enter("carrying_out", next_attempt_at=self._context.stalled_at(), attempts=row.attempts)
        return "done"

    def _decided(self, row: sa.Row[Any], said: CorrectionPreview) -> Outcome:
        """Let a correction that both agree to go on: to who approves it, or to billing. What was approved was another
        preview, if something has changed since: then it is asked for again."""
        context, approvals = self._context, "; ".join(said.approvals)
        is_approved = not approvals or row.approved == digest(said)
        with self._records.at(row.id) as one:
            if one.row.state != "checking":
                return "stopped"  # it was withdrawn meanwhile
            if is_approved:
                one.enter("carrying_out", next_attempt_at=context.stalled_at(), attempts=row.attempts)
                return "done"
            why = f"another preview than the one that was approved: {approvals}" if row.approved else approvals
            one.enter("awaiting_approval", next_attempt_at=None, why=why, blocked_reason=f"approval: {why}")
            finding = Finding("approvals", why)
            open_case(context, row, "correction_approval", finding, ("approve", "reject"), one.connection)
        return "stopped"

    # ---- billing

    @DBOS.step(name="Correcting.carry_out")
    @resumable
    def carry_out(self, correction_id: str) -> Outcome:
        """Let billing do what was asked for, once."""
        return self._enter(correction_id, "carrying_out", self._carry_out)

    def _carry_out(self, row: sa.Row[Any]) -> Outcome:
        if self._is_outdated(row) and not _is_made(
            row, self._context.platforms.correctable(row.billing, row.invoice_id)
        ):
            with self._records.at(row.id) as one:
                if one.row.state == "carrying_out":
                    why = "it has waited, and billing has nothing of it"
                    one.enter("checking", next_attempt_at=self._context.clock(), why=why, attempts=row.attempts)
            return "stopped"
        reference = self._in_billing(row)
        with self._records.at(row.id) as one:
            if one.row.state == "carrying_out":
                one.enter("carried_out", next_attempt_at=self._context.stalled_at(), reference=reference)
        return "done"

    def _is_outdated(self, row: sa.Row[Any]) -> bool:
        """Return whether a correction has waited since it was checked, for a platform or for a process."""
        since = self._records.came_to(row.id, "carrying_out")
        return since is not None and self._context.clock() - since > CHECKED_FOR

    def _in_billing(self, row: sa.Row[Any]) -> str:
        """Return billing's id of what it has done."""
        platforms = self._context.platforms
        wanted = numbered(wanted_of(row), row.tries)
        match wanted:
            case CreditOrder():
                return platforms.issue_credit_note(row.billing, wanted).id
            case RefundOrder():
                return platforms.refund_payment(row.billing, wanted).id
            case _ if row.kind == "void":
                return platforms.void_invoice(row.billing, wanted).id
            case _:
                return platforms.write_off_invoice(row.billing, wanted).id

    # ---- the books

    @DBOS.step(name="Correcting.book")
    @resumable
    def book(self, correction_id: str) -> Outcome:
        """End a correction of which the ERP has booked what billing has done; look again where it has not yet."""
        return self._enter(correction_id, "carried_out", self._book)

    def _book(self, row: sa.Row[Any]) -> Outcome:
        context = self._context
        posting = context.postings.find(ENTRY[row.kind], row.reference)
        over = _over(row, posting)
        if over is None and row.kind == "refund":
            self._check_refund(row)
        with self._records.at(row.id) as one:
            if one.row.state != "carried_out":
                return "stopped"
            if over is not None:
                one.enter("booked", next_attempt_at=None, why=over)
                return "done"
            attempts = row.attempts + 1
            until = retry(context, attempts).at
            waits = posting.blocked_reason if posting is not None else ""
            one.advance(
                "carried_out",
                next_attempt_at=until,
                attempts=attempts,
                blocked_reason=waits or "the ERP has not booked it yet",
            )
        return "stopped"

    def _check_refund(self, row: sa.Row[Any]) -> None:
        """Raise `Stopped` for a refund that has failed: the customer has no money, and nothing is booked."""
        try:
            self._context.platforms.reversal(row.billing, row.reference)
        except NotFound as gone:
            if gone.field != "status":
                raise
            reason = f"{gone.reason}. Pay it out in another way, or ask for it again"
            raise Stopped("correction_refused", [Finding("status", reason, "billing")], ("compensate",)) from gone
        except TRANSIENT:
            return  # it is pending, or billing is away: accounting waits for the same

    # ---- what all of them have in common

    def _enter(self, correction_id: str, state: CorrectionState, act: Callable[[sa.Row[Any]], Outcome]) -> Outcome:
        """Bring a correction into `state` and do its work there. What is behind it already is not done again."""
        with self._records.at(correction_id) as one:
            present: CorrectionState = one.row.state
            if present not in PATH:
                return "stopped"
            if PATH.index(present) > PATH.index(state):
                return "done"
            if present == "requested":
                one.enter(state, next_attempt_at=self._context.stalled_at())
            elif present != state:
                return "stopped"
            row = one.row
        return self._guarded(row, act)

    def _guarded(self, row: sa.Row[Any], act: Callable[[sa.Row[Any]], Outcome]) -> Outcome:
        """Do the work of a state; what cannot proceed waits or becomes a case."""
        context = self._context
        with correlated(row.correlation_id):
            try:
                outcome: Outcome = with_retries(context.retry_policy, lambda: act(self._records.row(row.id)))
            except TRANSIENT as fault:
                self._postpone(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                finding = Finding.of(fault)
                self._hold(row, Stopped("correction_refused", [finding], ("retry", "compensate")))
                return "stopped"
            except Stopped as stopped:
                self._hold(row, stopped)
                return "stopped"
        if row.attempts and self._records.row(row.id).state in GONE_ON:
            context.cases.end(row.id, "it went on by itself", {"correction_refused"})
        if row.blocked_by:
            outages.is_over(context, row.blocked_by)
        return outcome

    def _postpone(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Let a correction stay where it is, and wait: for a platform that is away, or, where the fault has a field,
        for what is about this correction alone. After many failures of that finance gets a case, which closes itself.
        """
        context, attempts = self._context, row.attempts + 1
        again, blocked = retry(context, attempts, fault.retry_after), {**NOT_BLOCKED}
        if not fault.field:
            blocked = outages.blocked(context, row, fault.platform, row.legal_entity, billing=row.billing)
        with self._records.at(row.id) as one:
            if one.row.state != row.state:
                return
            one.advance(
                row.state,
                next_attempt_at=again.at,
                blocked_reason=f"{fault.platform}: {fault.reason}",
                attempts=attempts,
                **blocked,
            )
            if again.needs_case and fault.field and passes_by_itself(fault):
                finding = Finding(fault.field, fault.reason, fault.platform)
                open_case(context, row, "correction_refused", finding, ("retry", "compensate"), one.connection)

    def _hold(self, row: sa.Row[Any], stopped: Stopped) -> None:
        """Stop a correction, with a case for each finding, in one transaction. One that was withdrawn meanwhile stays
        that."""
        reasons = "; ".join(f"{each.field}: {each.reason}" for each in stopped.findings)
        with self._records.at(row.id) as one:
            if one.row.state != row.state:
                return
            one.enter("on_hold", next_attempt_at=None, why=reasons, blocked_reason=reasons, held_in=row.state)
            for each in stopped.findings:
                open_case(self._context, row, stopped.kind, each, stopped.actions, one.connection)
        about = {"correction": row.id, "state": row.state, "kind": stopped.kind}
        log.warning("correction on hold", **about, correlation_id=row.correlation_id)


def _over(row: sa.Row[Any], posting: sa.Row[Any] | None) -> str | None:
    """Return why nothing is to be booked of a correction any more, empty where it is booked; None while it is."""
    if posting is None:
        return None
    if posting.skipped:
        return "it was seen to by hand"
    if posting.state == "failed" and posting.cancelled and not posting.number:
        return "it is void, and nothing of it was ever booked"
    taken_back = {"void": ("void",), "write_off": ("void", "uncollectible")}  # what is written off may be void since
    is_over = posting.cancelled in taken_back.get(row.kind, (posting.cancelled,))
    return "" if posting.state == "posted" and is_over else None


def _is_made(row: sa.Row[Any], found: Correctable) -> bool:
    """Return whether billing has done it already, and its answer was lost."""
    return row.id in found.made or found.invoice.state == ENDED.get(row.kind)


def digest(said: CorrectionPreview) -> str:
    """Return what an approval is of: the amounts, and where they go."""
    note = said.credit_note
    of_note = (note.lines, note.off_due, note.refunded, note.to_balance, note.outside, note.tax) if note else ()
    what = (said.kind, said.open_before, said.open_after, said.paid_back, said.written_off, worth(said), of_note)
    return sha256(msgspec.json.encode(what)).hexdigest()


def open_case(
    context: WorkflowContext,
    row: sa.Row[Any],
    kind: CaseKind,
    finding: Finding,
    actions: tuple[Action, ...],
    connection: sa.Connection,
) -> None:
    """Open a case of a correction, in the transaction that changes it."""
    context.cases.open(
        kind,
        row.id,
        finding,
        actions,
        correlation_id=row.correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        given={"invoice": row.invoice_id, "kind": row.kind},
        connection=connection,
    )


def _refused_by_us(refused: ProblemError) -> Stopped:
    findings = [Finding(each.path.removeprefix("$."), each.reason) for each in refused.errors]
    return Stopped("correction_refused", findings or [Finding("invoice", refused.detail)], ("retry", "compensate"))
