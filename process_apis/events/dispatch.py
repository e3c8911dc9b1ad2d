"""Who does what when an event comes. Every reaction may happen twice: each has an identity of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.cases import Finding
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, INVOICE_FINALIZED, INVOICE_PAID, LINE_PROVISIONED, Event
from canonical.orders import LineState, PostingKind
from process_apis.activation import Activation
from process_apis.customer_sync import CustomerSync
from process_apis.events import log
from process_apis.invoicing import Invoicing
from process_apis.payments import Payments
from process_apis.posting import posting_run
from process_apis.quote_to_cash import QuoteToCash
from process_apis.records import cross_references
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.steps import line_field

ENDING = 0.5
"""Seconds that a run may take to end."""
LOOKED_AT = 8
"""Postings among which the next one is looked for: others may claim, or have in hand, those that come first."""


class Capabilities(msgspec.Struct, frozen=True):
    """The workflows that events start."""

    quote_to_cash: QuoteToCash
    activation: Activation
    invoicing: Invoicing
    payments: Payments
    customer_sync: CustomerSync


class Dispatcher:
    """Takes events in, and sweeps up what no event will move any more."""

    def __init__(self, context: WorkflowContext, engine: Engine, capabilities: Capabilities) -> None:
        self._context = context
        self._engine = engine
        self._do = capabilities
        self._reactions: dict[str, Callable[[Event, str], None]] = {
            DEAL_CLOSED: self._deal_closed,
            CUSTOMER_CHANGED: self._customer_changed,
            LINE_PROVISIONED: self._line_reported,
            INVOICE_FINALIZED: self._invoice_finalized,
            INVOICE_PAID: self._invoice_paid,
        }

    def take(self, event: Event, correlation_id: str) -> bool:
        """Keep the event and react to it. A repeat is reacted to again, since the first time may have been cut short:
        that changes nothing when it was not. Gives whether it was new."""
        new, correlation_id = log.append(self._context.database, event, correlation_id)
        reaction = self._reactions.get(event.type)
        if reaction is not None:
            reaction(event, correlation_id)
        return new

    # ---- reactions

    def _deal_closed(self, event: Event, correlation_id: str) -> None:
        self.open_order(event.instance, event.subject, int(event.data.get("revision", "1")), correlation_id)

    def open_order(self, crm: str, deal_id: str, revision: int, correlation_id: str, **known: str) -> str:
        """The order of a deal, on its way; the same one however often it is asked for. `known` as for the record."""
        order_id, state = self._context.orders.receive(
            crm, deal_id, revision, correlation_id, self._context.stalled_at(), **known
        )
        if state == "received":
            self._engine.start(order_run(order_id, 1), self._do.quote_to_cash.run, order_id)
        return order_id

    def _customer_changed(self, event: Event, correlation_id: str) -> None:
        self.follow(event.subject, correlation_id)

    def follow(self, customer_id: str, correlation_id: str) -> None:
        """Let the other platforms follow a customer, as the CRM has it when the run looks."""
        run = cross_references.expect_change(
            self._context.database, customer_id, correlation_id, self._context.stalled_at()
        )
        if run is not None:
            self._engine.start(f"customer:{customer_id}:{run}", self._do.customer_sync.run, customer_id)

    def _line_reported(self, event: Event, _: str) -> None:
        state: LineState = "provisioned" if event.data.get("succeeded") == "true" else "failed"
        line, reason = event.data.get("line", ""), event.data.get("reason", "")
        if self._context.orders.report_line(event.subject, line, state, reason):
            self.activate(event.subject)

    def activate(self, order_id: str) -> None:
        """Every line has a result: whoever sees it first starts the activation, and its identity makes it one."""
        row = self._context.orders.row(order_id)
        if row.state in ("provisioning", "partially_active"):
            workflow_id = f"activation:{order_id}:{row.run}:{row.provisioning_attempt}"
            self._engine.start(workflow_id, self._do.activation.run, order_id)

    def _invoice_finalized(self, event: Event, correlation_id: str) -> None:
        self._expect("invoice", event, correlation_id)

    def _invoice_paid(self, event: Event, correlation_id: str) -> None:
        self._expect("payment", event, correlation_id)

    def _expect(self, kind: PostingKind, event: Event, correlation_id: str) -> None:
        now = self._context.postings.expect(
            kind, event.instance, event.subject, correlation_id, self._context.stalled_at(), contract_id=event.data.get("contract", ""),
            customer_id=event.data.get("customer", ""), legal_entity=event.data.get("legal_entity", ""),
        )  # fmt: skip
        if now:
            self._engine.wake()

    # ---- the sweep

    def poll_orders(self) -> None:
        """Start again the orders whose time has come, unless they are being worked on."""
        for row in self._context.orders.due():
            if self._engine.is_running(order_run(row.id, row.run)):
                self._context.orders.change(row.id, next_attempt_at=self._context.stalled_at().isoformat())
                continue
            if (
                row.state in ("provisioning", "partially_active")
                and not row.blocked_reason
                and self._undelivered(row.id)
            ):
                self._tell_of_silence(row)
            self.restart_order(row.id)

    def _tell_of_silence(self, row: sa.Row[Any]) -> None:
        lines = self._context.orders.lines(row.id)
        for line in (each.line for each in lines if each.state == "requested"):
            reason = f"the target has not reported on {line.name}; it is asked again"
            self._context.cases.open(
                "not_delivered", row.id, Finding(line_field(lines, line.id), reason), ("retry", "compensate"),
                correlation_id=row.correlation_id, legal_entity=row.legal_entity, customer_id=row.customer_id,
                given={"line": line.id},
            )  # fmt: skip

    def restart_order(self, order_id: str) -> None:
        """A new run, which begins where the order stands."""
        row = self._context.orders.row(order_id)
        run = row.run + 1
        self._context.orders.change(order_id, run=run, next_attempt_at=self._context.stalled_at().isoformat())
        if row.state == "compensating":
            self._engine.start(f"compensation:{order_id}:{run}", self._do.quote_to_cash.compensate, order_id)
        elif row.state in ("provisioning", "partially_active") and not self._undelivered(order_id):
            self.activate(order_id)
        else:
            self._engine.start(order_run(order_id, run), self._do.quote_to_cash.run, order_id)

    def _undelivered(self, order_id: str) -> bool:
        return any(each.state in ("waiting", "requested") for each in self._context.orders.lines(order_id))

    def poll_customers(self) -> None:
        """Follow again the customers whose time has come."""
        for row in cross_references.changes_due(self._context.database, self._context.clock()):
            workflow_id = f"customer:{row.id}:{row.run}:{row.attempts}"
            cross_references.settle_change(self._context.database, row, self._context.stalled_at(), row.attempts)
            self._engine.start(workflow_id, self._do.customer_sync.run, row.id)

    def next_posting(self) -> Work | None:
        """The posting that waits longest of those whose time has come, claimed. They wait in their table, not in a queue
        beside it."""
        for row in self._context.postings.due(LOOKED_AT):
            if (again := self._in_hand(row)) is not None:
                self._context.postings.change(row.kind, row.id, next_attempt_at=again.isoformat())
            elif self._context.postings.claim(row, self._context.stalled_at()):
                workflow = self._do.invoicing.run if row.kind == "invoice" else self._do.payments.run
                return Work(posting_run(row.kind, row.id, row.run + 1), partial(workflow, row.id))
        return None

    def _in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """When to look again at a posting that a run is at already: its own, or its invoice's, which books both."""
        if row.run and self._engine.is_running(posting_run(row.kind, row.id, row.run)):
            return self._context.stalled_at()
        invoice = self._context.postings.find("invoice", row.invoice_id) if row.kind == "payment" else None
        if invoice is None:
            return None
        if invoice.state == "waiting":
            return self._context.stalled_at()
        ending = self._engine.is_running(posting_run("invoice", invoice.id, invoice.run))
        return self._context.later(ENDING) if ending else None  # it may have looked for payments already


def order_run(order_id: str, run: int) -> str:
    """Return the identity of an order's workflow; a revision of a deal has one order."""
    return f"order:{order_id}:{run}"
