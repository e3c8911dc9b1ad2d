"""Renewals: what becomes of a contract whose term ends."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from canonical.ids import Instant
from canonical.money import Money
from canonical.states import RenewalState

RenewalMode = Literal["quoted", "automatic", "lapse"]
"""What happens when a term ends: an opportunity in the CRM, a renewal by itself, or the end of the contract."""


class Renewal(msgspec.Struct, frozen=True):
    """The end of one term of one contract, and how far its renewal is.

    `blocked_reason` says in words what it waits for. Both amounts are the monthly recurring revenue, net of tax: as the
    contract was when it was checked last, and in the next term. What lapses has none then.
    """

    id: str
    state: RenewalState
    mode: RenewalMode
    contract_id: str
    order_id: str
    customer_id: str
    legal_entity: str
    ends_on: date
    """The first day on which the present term is over."""
    mrr: Money
    mrr_after: Money
    found_at: Instant
    updated_at: Instant
    correlation_id: str
    renews_until: date | None = None
    """The first day on which the next term is over; null where the contract ends."""
    blocked_reason: str = msgspec.field(name="waits_for", default="")
    crm: str = ""
    """The CRM that its opportunity is in, by the platform's name in the catalogue."""
    deal_id: str = ""
    """The opportunity's id in the CRM; empty where there is none."""
    amendment_id: str = ""
    """The amendment that renews the contract, or ends it."""
    note: str = ""
    """Why the next term does not end with another contract of the customer, where it was to."""
