"""Merges of customers: two accounts of the CRM became one, and what became of the customers that they were."""

from __future__ import annotations

from typing import Literal

import msgspec

from canonical.amendments import ContractSummary
from canonical.ids import Instant
from canonical.money import Money
from canonical.orders import OrderSummary
from canonical.states import CustomerMergeState

LeadChoice = Literal["keep", "switch"]
"""Who leads of two customers under one account: that of the account that is left, or that of the merged one."""


class CustomerMergeAction(msgspec.Struct, frozen=True):
    """Who is to lead, and why. New deals are those of the customer that leads."""

    action: LeadChoice
    reason: str = ""


class CustomerMergeStep(msgspec.Struct, frozen=True):
    """A state that a merge reached: when, by whom and why. `by` is empty for what happened by itself."""

    state: CustomerMergeState
    at: Instant
    by: str = ""
    reason: str = ""


class CustomerMergeSummary(msgspec.Struct, frozen=True):
    """One account of the CRM that was merged into another, as one row of a list.

    `customer_id` is the customer of the account that was merged, `other_customer_id` that of the account that was left;
    empty where that had none, and took the first one over. `leading_customer_id` gets the new deals now.
    """

    id: str
    state: CustomerMergeState
    crm: str
    """The CRM of both accounts, by the platform's name in the catalogue."""
    merged_account_id: str
    account_id: str
    """The account that was left when the merge was seen."""
    customer_id: str
    other_customer_id: str
    leading_customer_id: str
    legal_entity: str
    seen_at: Instant
    updated_at: Instant
    correlation_id: str
    actions: tuple[LeadChoice, ...] = ()
    """What may be chosen now."""
    decided_at: Instant | None = None
    decided_by: str = ""
    """Who chose last, or decided about an account that is alive again; empty where nobody had to."""
    account_in_question: str = ""
    """The account that a case asks about, or has asked: whether the customer goes (back) to it."""


class Receivable(msgspec.Struct, frozen=True):
    """What a customer owes a legal entity by the ERP, and may owe it; `limit` is null where none is set."""

    legal_entity: str
    owed: Money
    limit: Money | None


class MergedCustomer(msgspec.Struct, frozen=True):
    """One of the customers of a merge, with what it has that the caller may see: the newest 25 of each at the most."""

    customer_id: str
    name: str
    leads: bool
    contracts: tuple[ContractSummary, ...]
    """Those in force, or to come into force."""
    open_orders: tuple[OrderSummary, ...]
    receivables: tuple[Receivable, ...]
    open_cases: tuple[str, ...]


class CustomerMerge(CustomerMergeSummary, frozen=True, kw_only=True):
    """A merge with its history, and with what each of its customers has."""

    history: tuple[CustomerMergeStep, ...]
    customers: tuple[MergedCustomer, ...]
