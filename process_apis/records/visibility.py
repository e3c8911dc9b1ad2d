"""Which rows a caller may see, as a condition of each query, and which of their fields: the object-level checks.

A partner gets nothing of how we work inside, whatever channel asks for it: not how a customer pays, who its contact is,
what it is called on our platforms, or who placed an order.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from canonical.orders import CustomerOverview, Order, PostingStatus
from canonical.parties import Customer
from policies.identity.authentication import Principal
from process_apis.records.database import amendments, customer_merges, customers, events, orders, postings


def visible(table: sa.Table, principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: rows of the legal entities that the caller may see, and of a
    partner's own customers."""
    sold = sa.true() if "*" in principal.entities else table.c.legal_entity.in_(sorted(principal.entities))
    if not principal.partner:
        return sold
    if "partner" in table.c:
        return sa.and_(sold, table.c.partner == principal.partner)
    return sa.and_(
        sold, table.c.customer_id.in_(sa.select(customers.c.id).where(customers.c.partner == principal.partner))
    )


def visible_events(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition of events: about the records that the caller may see, and none for a partner."""
    if principal.partner:
        return sa.false()
    if "*" in principal.entities:
        return sa.true()
    sold, other = visible(orders, principal), customer_merges.c.other_legal_entity
    return sa.or_(
        events.c.legal_entity.in_(sorted(principal.entities)),
        *(
            events.c.subject.in_(sa.select(each).where(sold))
            for each in (orders.c.id, orders.c.deal_id, orders.c.customer_id)
        ),
        events.c.subject.in_(sa.select(amendments.c.id).where(visible(amendments, principal))),
        events.c.subject.in_(sa.select(postings.c.invoice_id).where(visible(postings, principal))),
        events.c.subject.in_(sa.select(customer_merges.c.id).where(other.in_(sorted(principal.entities)))),
    )


def customer_for(principal: Principal, of: Customer) -> Customer:
    """Return what a caller sees of a customer."""
    if not principal.partner:
        return of
    return replace(of, contact=None, parent_id=None, payment_method=None, revision="", references={}, crm="")


def order_for(principal: Principal, of: Order) -> Order:
    """Return what a caller sees of an order."""
    if not principal.partner:
        return of
    plan = of.plan and replace(of.plan, customer=customer_for(principal, of.plan.customer), account_id="")
    return replace(of, deal_id="", plan=plan, placed_by="", crm="", queue=None)


def posting_for(principal: Principal, of: PostingStatus) -> PostingStatus:
    """Return what a caller sees of a posting."""
    return replace(of, blocked_reason="", attempts=0, billing="", queue=None) if principal.partner else of


def overview_for(principal: Principal, of: CustomerOverview) -> CustomerOverview:
    """Return what a caller sees of a customer with all that is going on."""
    if not principal.partner:
        return of
    postings = tuple(posting_for(principal, each) for each in of.postings)
    ours: dict[str, Any] = {"open_cases": 0, "corrections": (), "disputes": (), "dunnings": ()}
    return replace(of, customer=customer_for(principal, of.customer), postings=postings, **ours)
