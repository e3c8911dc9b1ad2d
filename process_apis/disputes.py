"""Disputes: the bank of a customer takes a payment back, or asks about it, and somebody has to answer in time.

What is withdrawn and comes in again is accounting's. Here support learns of it; a contract is not renewed meanwhile.
"""

from __future__ import annotations

import sqlalchemy as sa

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.events import DISPUTE_CLOSED, DISPUTE_OPENED, PAYMENT_REVERSED, Event
from process_apis.records.database import events
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

KIND: CaseKind = "payment_disputed"
CLOSED = sa.select(events.c.seq).where(events.c.type == DISPUTE_CLOSED, events.c.subject == sa.bindparam("of")).limit(1)


class Disputes:
    """Opens and closes the cases of disputes: one for each, on its invoice."""

    def __init__(self, context: WorkflowContext) -> None:
        self._context = context

    def opened(self, event: Event, correlation_id: str) -> None:
        """Let support know until when an answer is taken, also of an inquiry whose amount is withdrawn since. A dispute
        that nobody can answer, and one that is over, is no case."""
        said, until = event.data, event.data.get("respond_by", "")
        with self._context.database.connect() as connection:
            is_over = connection.execute(CLOSED, {"of": event.subject}).first() is not None
        if not until or is_over:
            return
        for case in self._context.cases.open_of(said.get("customer", ""), KIND):
            if case.field == event.subject and case.input.get("respond_by") != until:
                self._context.cases.close(case, "it has become a dispute, with another moment to answer by")
        does = "asks about" if said.get("inquiry") else "disputes"
        reason = (
            f"the customer's bank {does} {said.get('amount', 'a payment')} of the invoice {said.get('invoice', '')}"
            f" ({said.get('reason', 'no reason was given')}). Answer in billing, with evidence, by {until} UTC: what is"
            " not answered is lost. Skip: it is accepted, or answered."
        )
        self._context.cases.open(
            KIND,
            f"invoice:{said.get('invoice', '')}",
            Finding(event.subject, reason, "billing"),
            ("skip",),
            correlation_id=correlation_id,
            legal_entity=said.get("legal_entity", ""),
            customer_id=said.get("customer", ""),
            given={"invoice": said.get("invoice", ""), "respond_by": until},
        )

    def closed(self, event: Event, _: str) -> None:
        """Close the case of a dispute on which the bank has decided."""
        outcome = event.data.get("state", "closed").replace("_", " ")
        for case in self._context.cases.open_of(event.data.get("customer", ""), KIND):
            if case.field == event.subject:
                self._context.cases.close(case, f"the dispute is {outcome}")

    def act(self, case: Case, action: Action) -> Next:
        """Leave the dispute to billing: nothing follows here."""
        del case, action
        return nothing


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what disputes bring: cases of support."""
    del engine  # nothing is done in workflows
    disputes = Disputes(context)
    return Capability(
        "disputes",
        reactions={
            DISPUTE_OPENED: disputes.opened,
            PAYMENT_REVERSED: disputes.opened,
            DISPUTE_CLOSED: disputes.closed,
        },
        cases=CaseOwner(frozenset({KIND}), disputes.act),
    )
