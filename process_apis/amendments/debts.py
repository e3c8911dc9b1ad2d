"""The end of a contract that owes, which its dunning has asked for: carried out only while what is owed in billing is
what the dunning has seen there. A look may be queued behind the end, and what it would find is not known yet."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa

from canonical.amendments import Cancel, NewAmendment
from canonical.orders import Order
from process_apis.records.amendments import OURS
from process_apis.records.database import dunnings
from process_apis.records.dunnings import Asked, Dunnings, asks_for
from process_apis.runtime.context import WorkflowContext


def ends_for_a_debt(row: sa.Row[Any], wanted: NewAmendment) -> bool:
    """Return whether an amendment is the end of a contract that its dunning has asked for."""
    return row.requested_by == OURS and isinstance(wanted.actions[0], Cancel)


def asked_for(context: WorkflowContext, row: sa.Row[Any], order: Order) -> Literal["yes", "no", "unsure"]:
    """Return whether the dunning of a contract asks for its end still. It is unsure before a look that is due, that has
    failed, or that has to come first: billing shows something else than the dunning has seen, or a payment is disputed.
    That look is then made next."""
    asked = asks_for(context.database, row.id, context.clock())
    if not asked.still or asked.look_is_due:
        return "unsure" if asked.look_is_due else "no"
    if _is_as_seen(context, asked, row.contract_id, order):
        return "yes"
    Dunnings(context.database, context.clock).wake(dunnings.c.amendment_id == row.id)
    return "unsure"


def _is_as_seen(context: WorkflowContext, asked: Asked, contract_id: str, order: Order) -> bool:
    """Return whether all is owed in billing that was owed at the last look, and nothing holds what follows. What
    billing has ended already, as after a run that was cut short, is completed."""
    if order.plan is None:
        return True  # nothing was accepted, so that nothing is owed
    billed = context.platforms.open_invoices(order.plan.contract)
    if billed.is_over:
        return True
    if Dunnings(context.database, context.clock).is_disputed(contract_id):
        return False
    due = {each.id: each.due for each in billed.items if not each.in_collection}
    return all(due.get(each.id) == each.due for each in asked.invoices if each.due.amount and not each.returned)
