"""A usage correction on its way: billing says what it is worth, people decide, and billing credits or charges it once.

Each look decides by what is there: what was approved is never another quantity, billing finds the item that it has made
by our id, and a credit is one correction of the invoice, whose key is ours too. Once it has ended, the period is
compared with its records again, for more may have come.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.corrections import Correctable, CreditedLine, CreditOrder, NewCorrection
from canonical.deals import is_whole
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected, Unavailable
from canonical.money import Money
from canonical.usage import UsageOrder
from policies.context.correlation import correlated
from policies.problems import ProblemError
from process_apis.corrections.asking import ask
from process_apis.corrections.request import back_of, does_not_add_up, worked_out
from process_apis.records.corrections import Corrections, correction_id
from process_apis.records.usage_corrections import ENDED, OneUsageCorrection, UsageCorrections
from process_apis.records.usage_periods import UsagePeriods
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome
from process_apis.usage.handover import usage_of
from process_apis.usage.late import LateUsage

PROPOSED: CaseKind = "usage_correction_proposed"
REFUSED: CaseKind = "usage_correction_refused"
KINDS: frozenset[CaseKind] = frozenset({PROPOSED, REFUSED})
CREDITED = ("carried_out", "booked")
"""The states of a correction of an invoice that billing has done."""
NOT_YET = "not_yet"
"""The field of a fault that says that something else comes first, and people have nothing to do."""


@DBOS.dbos_class("UsageCorrecting")
class UsageCorrecting(DBOSConfiguredInstance):
    """The workflow of a usage correction."""

    def __init__(
        self, context: WorkflowContext, records: UsageCorrections, periods: UsagePeriods, late: LateUsage
    ) -> None:
        super().__init__("usage_correcting")
        self._context = context
        self._records = records
        self._periods = periods
        self._late = late
        self._credits = Corrections(context.database, context.clock)

    @DBOS.workflow(name="UsageCorrecting.run")
    def run(self, usage_correction_id: str) -> Outcome:
        return self.go_on(usage_correction_id)

    @DBOS.step(name="UsageCorrecting.go_on")
    @resumable
    def go_on(self, usage_correction_id: str) -> Outcome:
        """Do what is to be done in the state that a correction is in, or plan when to try again."""
        row = self._records.row(usage_correction_id)
        if row.next_attempt_at is None:
            return "done"
        with correlated(row.correlation_id):
            try:
                if row.state == "found":
                    self._price(row)
                elif row.state == "approved":
                    self._carry_out(row)
            except TRANSIENT as fault:
                self._postpone(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                self._hold(row, Finding.of(fault))
                return "stopped"
            except ProblemError as refused:
                reasons = "; ".join(f"{each.path}: {each.reason}" for each in refused.errors)
                self._hold(row, Finding("invoice", f"{refused.detail} {reasons}".strip(), "billing"))
                return "stopped"
            row = self._records.row(row.id)
            if row.state in ENDED:
                self._end(row)
        return "done"

    # ---- what it is worth

    def _price(self, row: sa.Row[Any]) -> None:
        """Let billing say what the difference is worth, and ask people. Where people charge the period by hand, it is
        no difference of billing's any more."""
        period = self._periods.row(row.period_id)
        if period.state == "by_hand":
            with self._unchanged(row) as one:
                if one is not None:
                    one.advance("gone", next_attempt_at=self._context.stalled_at())
            return
        if period.state != "handed_over":
            raise Unavailable("process", "billing does not have the period yet", field=NOT_YET)
        charge = self._context.platforms.price_usage(self._order(row))
        if not charge.invoice_id:
            raise Unavailable("billing", "the invoice of the period is not issued yet", field=NOT_YET)
        amount = charge.net or self._credit_of(row, charge.invoice_id, charge.line)
        said = {"amount": amount.amount, "currency": amount.currency}
        with self._unchanged(row) as one:
            if one is None:
                return
            one.advance("proposed", next_attempt_at=None, invoice_id=charge.invoice_id, line=charge.line, **said)
            row, finding = one.row, Finding("quantity", _in_words(one.row, amount))
            case = self._open_case(row, "usage_correction_proposed", finding, (), one.connection)
        self._restate(row, case, finding.reason)
        self._context.cases.resolve(row.id, "billing has said what it is worth", REFUSED)

    def _credit_of(self, row: sa.Row[Any], invoice_id: str, line: str) -> Money:
        """Return what billing would credit for what is less, before tax and below nothing."""
        invoice = self._posted(invoice_id)
        wanted = self._credit(row, invoice, line)
        found = self._context.platforms.correctable(invoice.billing, invoice.id)
        order = _order_of(invoice, wanted, found)
        try:
            note = self._context.platforms.preview_credit_note(invoice.billing, order)
        except Rejected as refused:
            raise does_not_add_up(order, found, refused.reason) from refused
        return note.tax - note.total

    def _credit(self, row: sa.Row[Any], invoice: sa.Row[Any], line: str) -> NewCorrection:
        """Return the credit note for what is less. What of it was paid goes into the customer's balance. Raises
        `Rejected` for what is worth nothing, and `ProblemError` for more than is left of the line."""
        found = self._context.platforms.correctable(invoice.billing, invoice.id)
        text = f"{row.quantity} of {row.meter} were used, and {row.charged} were charged"
        credited = self._credited_line(row, found, line)
        wanted = NewCorrection(kind="credit_note", text=text, lines=(credited,), key=_key(row))
        paid, _ = back_of(_order_of(invoice, wanted, found), found)
        return msgspec.structs.replace(wanted, to_balance=paid) if paid.amount else wanted

    def _credited_line(self, row: sa.Row[Any], found: Correctable, line: str) -> CreditedLine:
        """Return what is credited of a line: so many pieces; or, since a credit note names whole ones, the amount that
        billing would charge for as much."""
        order, less = self._order(row), -Decimal(row.difference)
        has_pieces = any(each.line.id == line and each.quantity is not None for each in found.lines)
        if has_pieces and is_whole(less) and is_whole(order.period.quantity):
            return CreditedLine(line, int(less))
        net = self._context.platforms.price_usage(msgspec.structs.replace(order, more=less)).net
        if net is None or not net.amount:
            reason = f"{less:f} less is worth nothing that could be credited: reject it"
            raise Rejected("process", reason, field="quantity")
        return CreditedLine(line, amount=net)

    # ---- billing

    def _carry_out(self, row: sa.Row[Any]) -> None:
        """Let billing charge or credit what was approved, once."""
        is_more = Decimal(row.difference) > 0
        reference = self._context.platforms.charge_usage(self._order(row)).reference if is_more else self._credited(row)
        with self._unchanged(row) as one:
            if one is not None:
                one.advance("carried_out", next_attempt_at=self._context.stalled_at(), reference=reference)

    def _credited(self, row: sa.Row[Any]) -> str:
        """Return the correction by which the invoice is credited. Raises `Unavailable` while that is on its way, and
        `Rejected` for one that was given up."""
        invoice = self._posted(row.invoice_id)
        known = self._credits.known(correction_id(invoice.id, _key(row)))
        if known is None:
            known, _ = ask(
                self._context,
                self._credits,
                invoice,
                self._credit(row, invoice, row.line),
                proposed=False,
                requested_by=row.decided_by,
                correlation_id=row.correlation_id,
                next_attempt_at=self._context.clock(),
            )
        if known.state == "given_up":
            reason = f"the correction {known.id} of the invoice was given up: ask for it again, or credit it by hand"
            raise Rejected("process", reason, field="correction")
        if known.state not in CREDITED:
            raise Unavailable("process", f"the correction {known.id} is {known.state}", field=NOT_YET)
        return str(known.id)

    def _posted(self, invoice_id: str) -> sa.Row[Any]:
        """Return the posting of an invoice. Raises `Unavailable` while billing has not reported it."""
        found = self._credits.posted(invoice_id)
        if found is None:
            raise Unavailable("process", f"the invoice {invoice_id} is not reported yet", field=NOT_YET)
        return found

    def _order(self, row: sa.Row[Any]) -> UsageOrder:
        period = usage_of(self._context, self._periods.row(row.period_id))
        return UsageOrder(row.id, period, Decimal(row.difference), row.tries)

    # ---- what all of them have in common

    @contextmanager
    def _unchanged(self, row: sa.Row[Any]) -> Generator[OneUsageCorrection | None]:
        """Lock a correction for one transaction; None where it has changed since it was read."""
        with self._records.at(row.id) as one:
            is_same = (one.row.state, one.row.revision) == (row.state, row.revision)
            yield one if is_same else None

    def _end(self, row: sa.Row[Any]) -> None:
        """Close the cases of one that has ended, and look whether more has come of its period meanwhile."""
        self._context.cases.end(row.id, f"it is {row.state}", KINDS)
        self._late.again(row.period_id)
        with self._records.at(row.id) as one:
            one.advance(one.row.state, next_attempt_at=None)

    def _postpone(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Try again later; what fails again and again is for people to see, and tried on all the same."""
        attempts = row.attempts + 1
        again = retry(self._context, attempts, fault.retry_after)
        with self._unchanged(row) as one:
            if one is None:
                return
            reason = f"{fault.platform}: {fault.reason}"
            one.advance(row.state, next_attempt_at=again.at, blocked_reason=reason, attempts=attempts)
            if not again.needs_case or fault.field == NOT_YET:
                return
            case = self._open_refused(one, Finding.of(fault))
        self._restate(one.row, case, fault.reason)

    def _hold(self, row: sa.Row[Any], finding: Finding) -> None:
        with self._unchanged(row) as one:
            if one is None:
                return
            one.advance("on_hold", next_attempt_at=None, blocked_reason=finding.reason, held_in=row.state)
            case = self._open_refused(one, finding)
        self._restate(one.row, case, finding.reason)

    def _open_refused(self, one: OneUsageCorrection, finding: Finding) -> Case:
        return self._open_case(one.row, "usage_correction_refused", finding, ("retry", "skip"), one.connection)

    def _restate(self, row: sa.Row[Any], case: Case, reason: str) -> None:
        """Let a case that was open say what the correction is by now: who settles it by hand goes by that."""
        if (case.reason, case.input) != (reason, _given(row)):
            self._context.cases.restate(case, reason, _given(row))

    def _open_case(
        self,
        row: sa.Row[Any],
        kind: CaseKind,
        finding: Finding,
        actions: tuple[Action, ...],
        connection: sa.Connection,
    ) -> Case:
        """Open a case of a correction, in the transaction that changes it."""
        return self._context.cases.open(
            kind,
            row.id,
            finding,
            actions,
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            customer_id=row.customer_id,
            given=_given(row),
            connection=connection,
        )


def _key(row: sa.Row[Any]) -> str:
    """Return the key of the correction of the invoice: one for each time that people have it tried."""
    return f"{row.id}:{row.tries}"


def _order_of(invoice: sa.Row[Any], wanted: NewCorrection, found: Correctable) -> CreditOrder:
    """Return what billing is asked for. Raises `ProblemError` for what the invoice does not allow."""
    order, _ = worked_out(correction_id(invoice.id, wanted.key), wanted, found)
    return cast("CreditOrder", order)


def _given(row: sa.Row[Any]) -> dict[str, str]:
    names = ("meter", "charged", "quantity", "difference")
    return {"contract": row.contract_id} | {each: str(getattr(row, each)) for each in names}


def _in_words(row: sa.Row[Any], amount: Money) -> str:
    until = datetime.fromtimestamp(row.ends_at, UTC).isoformat()
    return (
        f"{row.charged} of {row.meter} are charged until {until}, and it is {row.quantity} by now: "
        f"a difference of {row.difference}, which is {amount} before tax"
    )
