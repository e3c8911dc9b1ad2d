"""Contracts that go to another customer: one subscription ends with the period that is paid, and another begins then.

The customer of a subscription cannot be changed (API reference: Update a subscription, which has no such parameter). So
the former one is cancelled at its period's end, and a schedule of the other customer begins at that very second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta, tzinfo
from typing import Any

import msgspec

from canonical.amendments import ContractChange
from canonical.billing import Contract
from canonical.faults import Rejected
from system_apis.billing.stripe import mapping, parts
from system_apis.billing.stripe.change_plan import has
from system_apis.billing.stripe.parts import Item
from system_apis.billing.stripe.periods import moment_of, period_of

Row = dict[str, Any]
TRANSFER = "tiergate_transfer"
"""The id of the transfer with which a subscription of the former customer ends; none where it goes on."""
NOT_STARTED = "not_started"
"""The state of a schedule that bills nothing yet (The Subscription Schedule object, `status`)."""


def schedule_key(change: ContractChange) -> str:
    """Return the natural key of the schedule by which the other customer is billed."""
    made_by = change.handover.taken_back if change.handover else ""
    return mapping.contract_key(msgspec.structs.replace(change.contract, group=made_by or change.id))


def ending(change: ContractChange) -> ContractChange:
    """Return what a transfer is for the former customer: the end of all that it has, with the period that is paid."""
    return msgspec.structs.replace(change, lines=(), handover=None)


def for_the_other(change: ContractChange, contract: Contract) -> ContractChange:
    """Return what a transfer is for the other customer. Its schedule ends with its first period, and its subscription
    goes on: the term is ours."""
    return msgspec.structs.replace(change, contract=msgspec.structs.replace(contract, term_months=0), handover=None)


def items_of(contract: Contract) -> tuple[Item, ...]:
    """Return the items of the one subscription that bills a contract. Raises `Rejected` for what needs several."""
    first, *others = parts.split(contract.lines)
    if others:
        raise _several(contract, 1 + len(others))
    return first.items


def the_only_one(contract: Contract, running: Sequence[Row]) -> Row:
    """Return the subscription that bills a contract. Raises `Rejected` where several do: their periods do not end at
    one moment."""
    if len(running) != 1:
        raise _several(contract, len(running))
    return running[0]


def check_keeps(change: ContractChange, running: Sequence[Row]) -> None:
    """Raise `Rejected` for a change of what ends with a transfer: the former customer would be billed on by it, beside
    the other one. What has the change already is left alone."""
    if change.handover is None and not any(has(each, change.id) for each in running):
        for by in filter(None, (each["metadata"].get(TRANSFER) for each in running)):
            reason = f"{change.contract.id} goes to another customer with {by} when its period ends"
            raise Rejected("billing", f"{reason}: reverse that first, or ask after it", field="actions[0]")


def _several(contract: Contract, count: int) -> Rejected:
    reason = f"{count} subscriptions bill {contract.id}, and one alone can go to another customer"
    return Rejected("billing", f"{reason}: remove what is billed for itself, and add it after that", field="actions[0]")


def check_settled(has_pending: Iterable[bool]) -> None:
    """Raise `Rejected` where a subscription has what is settled with its next invoice, which will not come."""
    if any(has_pending):
        reason = "an earlier change is settled with the next invoice, which the former customer will not get"
        raise Rejected("billing", f"{reason}: ask once that is issued", field="actions[0]")


def check_in_time(change: ContractChange, row: Row, zone: tzinfo) -> None:
    """Raise `Rejected` where the period is over with which the former customer was to be billed for the last time."""
    ends = moment_of(period_of(row)[1])
    if abs(ends - change.effective_at) >= timedelta(seconds=1):
        days = " and ".join(f"{each.astimezone(zone):%Y-%m-%d}" for each in (change.effective_at, ends))
        reason = f"the period of {change.contract.id} ends at another moment than was agreed ({days})"
        raise Rejected("billing", f"{reason}: give the change up, and ask again", field="effective_at")
