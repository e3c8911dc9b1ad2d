"""A customer with all that is going on: each kind of record as far as the scopes of the caller allow."""

from __future__ import annotations

from canonical.orders import CustomerOverview
from canonical.parties import Customer
from policies.identity.authentication import Principal
from process_apis.records import visibility
from process_apis.records.corrections import Corrections
from process_apis.records.disputes import Disputes
from process_apis.records.dunnings import Dunnings
from process_apis.runtime.context import WorkflowContext

NEWEST = 25
"""So many of each kind are shown; lists of their own have all."""
CORRECTIONS, DISPUTES, DUNNINGS = "corrections:read", "disputes:read", "cases:read"
"""The scopes of those lists, without which nothing of them is shown here either."""


def overview(context: WorkflowContext, customer: Customer, principal: Principal) -> CustomerOverview:
    """Return a customer whom the caller may see, with what the caller may see of it."""
    database, clock, of, may = context.database, context.clock, customer.id, principal.scopes
    found = CustomerOverview(
        customer,
        context.orders.page(principal, (), of, None, NEWEST).items,
        context.postings.page(principal, None, None, None, of, None, NEWEST).items,
        context.cases.count_open(of),
        corrections=Corrections(database, clock).page(principal, None, None, None, of, None, NEWEST).items
        if CORRECTIONS in may
        else (),
        disputes=Disputes(database, clock).page(principal, None, of, None, None, None, NEWEST).items
        if DISPUTES in may
        else (),
        dunnings=Dunnings(database, clock).page(principal, {"customer_id": of}, None, NEWEST).items
        if DUNNINGS in may
        else (),
    )
    return visibility.overview_for(principal, found)
