"""Accounting: every invoice and every payment that billing reports waits in the table of postings until it is
booked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.events import (
    CREDIT_NOTE_ISSUED,
    CREDIT_NOTE_VOIDED,
    INVOICE_CANCELLED,
    INVOICE_FINALIZED,
    INVOICE_PAID,
    PAYMENT_RECEIVED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
    Event,
)
from canonical.orders import PostingEntry
from process_apis.batch_sizes import BatchSizes
from process_apis.credits import DUE_AGAIN, Credits
from process_apis.fees import Fees
from process_apis.invoicing import Invoicing
from process_apis.payments import Payments
from process_apis.posting import CANCELLED, NOT_POSTED, posting_run, subject_of
from process_apis.records.database import NOT_BLOCKED, postings
from process_apis.runtime.agenda import Agenda, Due
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.steps import Outcome

_EARLIER = postings.alias("earlier")
IN_TURN = sa.or_(
    postings.c.kind != "invoice",
    postings.c.contract_id == "",
    ~sa.exists().where(
        _EARLIER.c.contract_id == postings.c.contract_id,
        _EARLIER.c.kind == "invoice",
        _EARLIER.c.state == "waiting",
        _EARLIER.c.blocked_reason == "",
        _EARLIER.c.seq < postings.c.seq,
    ),
)
"""The invoices of a contract are posted in the order in which they came, one at a time. One that was tried, and waits
for an hour or a month, holds up none."""
ENDING = 0.5
"""Seconds that a run may take to end."""


class Accounting:
    """Starts the runs of postings."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.agenda = Agenda(context, postings, only=sa.and_(postings.c.state == "waiting", IN_TURN))
        self._sizes = BatchSizes(context.live_catalogue)
        payments = Payments(context)
        credits_of = Credits(context)
        self._workflows: dict[PostingEntry, Callable[..., Outcome]] = {
            "invoice": Invoicing(context, payments, self._sizes).run,
            "payment": payments.run,
            "credit": credits_of.credit,
            "reversal": credits_of.reverse,
            "fee": Fees(context).run,
        }

    def expect(self, kind: PostingEntry, event: Event, correlation_id: str) -> None:
        """Remember what is to be booked: an invoice, all that is paid for it once it is paid, or one part before."""
        self._expect(kind, event, event.data.get("payment", event.subject), event.subject, correlation_id)

    def _expect(self, kind: PostingEntry, event: Event, key: str, invoice_id: str, correlation_id: str) -> None:
        now = self._context.postings.expect(
            kind,
            event.instance,
            key,
            correlation_id,
            self._context.stalled_at(),
            invoice_id=invoice_id,
            contract_id=event.data.get("contract", ""),
            customer_id=event.data.get("customer", ""),
            legal_entity=event.data.get("legal_entity", ""),
        )
        if now:
            self._engine.wake()

    def is_expected(self, kind: PostingEntry, event: Event) -> bool:
        """Return whether what an event wants to be booked is in the table."""
        return self._context.postings.find(kind, event.data.get("payment", event.subject)) is not None

    def cancelled(self, event: Event, correlation_id: str) -> None:
        """Take an invoice that billing voided or wrote off: what is booked for it is taken back."""
        self.expect("invoice", event, correlation_id)  # the event that it was finalized may come later
        self._context.postings.cancel("invoice", event.subject, event.data.get("state", ""))
        self._engine.wake()

    def went_back(self, event: Event, correlation_id: str) -> None:
        """Remember that money that went back, or is ours again, is to be booked."""
        self._expect("reversal", event, event.subject, event.data.get("invoice", ""), correlation_id)

    def credited(self, event: Event, correlation_id: str) -> None:
        """Remember that a credit note is to be booked; one that is void is taken back."""
        self._expect("credit", event, event.subject, event.data.get("invoice", ""), correlation_id)
        if event.type == CREDIT_NOTE_VOIDED:
            self._context.postings.cancel("credit", event.subject, "void")
            self._engine.wake()

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(posting_run(row.kind, row.id, run), self._workflows[row.kind], (row.id,))

    def gather(self, work: Work, row: sa.Row[Any]) -> Work:
        """Return the work of an invoice with others of its legal entity that are due, as many as go to its ERP
        together."""
        room = self._sizes.of(row.legal_entity) - 1 if row.kind == "invoice" else 0
        if not room:
            return work
        same = postings.c.kind == "invoice", postings.c.legal_entity == row.legal_entity
        others = [each for each in self.agenda.due(room, *same) if self.in_hand(each) is None]
        taken = [each.id for each in others if self.agenda.claim(each, batch=work.workflow_id) is not None]
        return msgspec.structs.replace(work, arguments=(*work.arguments, *taken))

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a posting that a run is at already: its own, or its invoice's, which books
        both."""
        if row.run and self._is_at(row):
            return self._context.stalled_at()
        invoice = self._context.postings.find("invoice", row.invoice_id) if row.kind == "payment" else None
        if invoice is None:
            return None
        if invoice.state == "waiting":
            return self._context.stalled_at()
        # one that is about to end may have looked for payments already
        return self._context.later(ENDING) if self._is_at(invoice) else None

    def _is_at(self, row: sa.Row[Any]) -> bool:
        """Return whether a run is at a posting: its own, or that of the batch that it was last in."""
        return self._engine.is_running(posting_run(row.kind, row.id, row.run), *filter(None, [row.batch]))


def act(context: WorkflowContext, case: Case, action: Action) -> Next:
    """Let a posting that failed wait again, or leave it to people."""
    change, (kind, key) = context.postings.change, subject_of(case)
    if action != "retry":
        context.postings.skip(kind, key)
        return nothing
    later = context.stalled_at().isoformat()
    waits = {"state": "waiting", "blocked_reason": "", "skipped": False, "next_attempt_at": later}
    change(kind, key, **waits, **NOT_BLOCKED)
    return partial(change, kind, key, next_attempt_at=context.clock().isoformat())


def allowed(context: WorkflowContext, case: Case) -> tuple[Action, ...]:
    """Return what a case allows: a posting that is still tried is not left to people, but for a payment of an invoice
    that was."""
    kind, key = subject_of(case)
    row = context.postings.find(kind, key)
    if row is None or row.state != "waiting" or kind in {"credit", "reversal"}:
        return case.actions  # what these two wait for may never come: an invoice or a payment that was seen to by hand
    invoice = context.postings.find("invoice", row.invoice_id) if kind == "payment" else None
    if invoice is not None and invoice.skipped:
        return case.actions
    return tuple(each for each in case.actions if each != "skip")


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what accounting brings. Month-end work is bounded: it runs in worker slots."""
    accounting = Accounting(context, engine)
    return Capability(
        "accounting",
        reactions={
            INVOICE_FINALIZED: partial(accounting.expect, "invoice"),
            INVOICE_PAID: partial(accounting.expect, "payment"),
            PAYMENT_RECEIVED: partial(accounting.expect, "payment"),
            INVOICE_CANCELLED: accounting.cancelled,
            CREDIT_NOTE_ISSUED: accounting.credited,
            CREDIT_NOTE_VOIDED: accounting.credited,
            PAYMENT_REVERSED: accounting.went_back,
            PAYMENT_REINSTATED: accounting.went_back,
        },
        is_made={
            INVOICE_FINALIZED: partial(accounting.is_expected, "invoice"),
            INVOICE_PAID: partial(accounting.is_expected, "payment"),
            PAYMENT_RECEIVED: partial(accounting.is_expected, "payment"),
            INVOICE_CANCELLED: partial(accounting.is_expected, "invoice"),
            CREDIT_NOTE_ISSUED: partial(accounting.is_expected, "credit"),
            CREDIT_NOTE_VOIDED: partial(accounting.is_expected, "credit"),
            PAYMENT_REVERSED: partial(accounting.is_expected, "reversal"),
            PAYMENT_REINSTATED: partial(accounting.is_expected, "reversal"),
        },
        measures=[context.postings.finalized_to_posted.collect],
        due=[Due(accounting.agenda, accounting.begin, accounting.in_hand, can_wait=True, gather=accounting.gather)],
        cases=CaseOwner(
            frozenset({*NOT_POSTED.values(), CANCELLED, DUE_AGAIN}),
            partial(act, context),
            allowed=partial(allowed, context),
        ),
    )
