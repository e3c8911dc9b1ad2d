"""What a deal does after it was sold: closed again, changed or lost. Nothing of it is sold a second time, and nothing
of it goes unseen.

As long as nothing was created for an order that waits for a correction, the deal as it is now takes its place. Later
on it is a case for sales: the contract is in force as it was sold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from canonical.cases import Finding
from canonical.events import Event
from canonical.states import BEFORE_CREATION
from process_apis.records.cases import HOLDING
from process_apis.runtime.context import WorkflowContext

NOT_SOLD = ("cancelled", "failed")
"""How an order ends of which nothing is in force."""
CHECKED = ("received", "validating")
"""Where the deal is read, and read again when it changes meanwhile."""


def state_of(event: Event) -> str:
    """Return what tells the states of a deal apart: a digest of what was sold, or its revision where the CRM's
    connector gives none."""
    return event.data.get("digest") or f"revision {event.data.get('revision', '1')}"


def revision_of(event: Event) -> int:
    """Return the revision of a deal, as the CRM has it."""
    return int(event.data.get("revision", "1"))


def report_change(context: WorkflowContext, row: sa.Row[Any], what: str, correlation_id: str) -> None:
    """Open the case of a deal that is no longer as it was sold. `row` is its order, which stays as it is."""
    context.cases.open(
        "deal_changed",
        row.id,
        Finding("deal", f"{what}; what was sold as revision {row.revision} stays in force"),
        ("skip", "compensate"),
        correlation_id=correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
    )


class DealChanges:
    """Decides what becomes of a deal that has an order already."""

    def __init__(self, context: WorkflowContext, restart: Callable[[str], None]) -> None:
        """`restart` begins a new run of an order, where it stands."""
        self._context = context
        self._restart = restart

    def closed(self, event: Event, correlation_id: str) -> int | None:
        """Take a deal that was closed as won. Return the revision that is to be sold, None when it is sold already."""
        row = self._context.orders.newest_of(event.instance, event.subject)
        revision, state = revision_of(event), state_of(event)
        if row is None:
            return revision
        begun = row.revision if row.state == "received" else None  # perhaps the first time was cut short
        is_held = row.state == "on_hold" and row.held_in in BEFORE_CREATION
        is_moved = self._moved(row, event)
        seen = row.deal_revision or row.revision  # an order that sold the deal again has a higher one of its own
        if is_moved or state == row.deal_state or revision < seen:
            if is_held and (is_moved or "account_changed" in event.data):
                self._correct(row.id)
            return begun  # the same again, or one that was overtaken
        is_first = not row.deal_state and revision == row.revision  # placed by a channel, or before states were kept
        if row.state in NOT_SOLD and not is_first:
            return max(revision, row.revision + 1)
        self._context.orders.change(row.id, deal_state=state, deal_revision=revision)
        if is_first or row.state in CHECKED:
            return begun
        if is_held:
            self._correct(row.id)
        else:
            report_change(self._context, row, "the deal was changed or closed again", correlation_id)
        return None

    def lost(self, event: Event, correlation_id: str) -> None:
        """Take a deal that is no longer won. One that was given up is sold again when it is won after this, even as
        it was."""
        row = self._context.orders.newest_of(event.instance, event.subject)
        if row is None or row.deal_state == state_of(event) or self._moved(row, event):
            return
        self._context.orders.change(row.id, deal_state=state_of(event))
        if row.state not in (*NOT_SOLD, "compensating"):
            report_change(self._context, row, "the deal was lost after it was won", correlation_id)

    def _moved(self, row: sa.Row[Any], event: Event) -> bool:
        """Return whether a deal is as it was seen last, but for its account, which was merged into another."""
        is_moved = row.deal_state in event.data.get("digest_before", "").split()
        if is_moved:
            self._context.orders.change(row.id, deal_state=state_of(event))
        return is_moved

    def _correct(self, order_id: str) -> None:
        """Check an order again from its beginning, with the deal as it is now: what held it is no trouble any more."""
        self._context.orders.release(order_id, self._context.stalled_at(), into="validating")
        self._context.cases.end(order_id, "the deal or its account was corrected", HOLDING)
        self._restart(order_id)
