"""What a deal does after it was sold: closed again, changed or lost. Nothing of it is sold a second time, and nothing
of it goes unseen.

As long as nothing was created for an order that waits for a correction, the deal as it is now takes its place. Later
on it is a case for sales: the contract is in force as it was sold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Finding
from canonical.events import Event
from canonical.states import OrderState
from process_apis.runtime.context import WorkflowContext

ENDED = ("cancelled", "failed")
CORRECTED = ("validating", "credit_review")
"""Where an order was held that is checked again: nothing was created for it."""
CHECKED = ("received", "validating")
"""Where the deal is read, and read again when it changes meanwhile."""
UNDER_WAY = ("provisioning", "partially_active", "on_hold")
"""Where an order can be undone."""


def state_of(event: Event) -> str:
    """Return what tells the states of a deal apart: a digest of what was sold, or its revision where the CRM's
    connector gives none."""
    return event.data.get("digest") or f"revision {event.data.get('revision', '1')}"


class DealChanges:
    """Decides what becomes of a deal that has an order already."""

    def __init__(self, context: WorkflowContext, retry: Callable[[str, OrderState], None]) -> None:
        """`retry` lets an order go on that was held in a state, where it was held."""
        self._context = context
        self._retry = retry

    def closed(self, event: Event, correlation_id: str) -> int | None:
        """Take a deal that was closed as won. Return the revision that is to be sold, None when it is sold already."""
        row = self._context.orders.newest_of(event.instance, event.subject)
        revision, state = int(event.data.get("revision", "1")), state_of(event)
        if row is None:
            return revision
        if state == row.deal_state or revision < row.revision:
            # the same again, perhaps since the first time was cut short, or one that was overtaken
            return row.revision if row.state == "received" else None
        if not row.deal_state and revision == row.revision:  # placed by a channel, or before states were kept
            self._context.orders.change(row.id, deal_state=state)
            return row.revision if row.state == "received" else None
        if row.state in ENDED:
            return max(revision, row.revision + 1)
        self._context.orders.change(row.id, deal_state=state)
        if row.state in CHECKED:
            return row.revision if row.state == "received" else None
        if row.state == "on_hold" and row.held_in in CORRECTED:
            self._correct(row)
        else:
            what = "the deal was changed or closed again"
            self._open(row, f"{what}; what was sold as revision {row.revision} stays in force", correlation_id)
        return None

    def lost(self, event: Event, correlation_id: str) -> None:
        """Take a deal that is no longer won."""
        row = self._context.orders.newest_of(event.instance, event.subject)
        if row is None or row.state in ENDED or row.deal_state == state_of(event):
            return
        self._context.orders.change(row.id, deal_state=state_of(event))
        self._open(row, "the deal was lost after it was won; what was sold stays in force", correlation_id)

    def _correct(self, row: sa.Row[Any]) -> None:
        for kind in ("deal_invalid", "duplicate_customer"):
            self._context.cases.resolve(row.id, "the deal was corrected", kind)
        self._retry(row.id, row.held_in)

    def _open(self, row: sa.Row[Any], reason: str, correlation_id: str) -> None:
        actions: tuple[Action, ...] = ("skip", "compensate") if row.state in UNDER_WAY else ("skip",)
        self._context.cases.open(
            "deal_changed",
            row.id,
            Finding("deal", reason),
            actions,
            correlation_id=correlation_id,
            legal_entity=row.legal_entity,
            customer_id=row.customer_id,
        )
