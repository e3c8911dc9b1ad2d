"""What a mass change means for one contract: the actions on its lines, or why it is left out. No platform is asked."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from canonical.amendments import (
    MOST_ACTIONS,
    Action,
    ChangeDiscount,
    ChangePrice,
    NewAmendment,
    NumberRefused,
    amended,
    mrr,
)
from canonical.deals import PricedLine
from canonical.mass_changes import HUNDRED_PERCENT, LeftOut, MassChangeRequest, PricePercentage, SelectedState
from canonical.money import Money, scaled_price
from policies.problems import ProblemError
from process_apis.amendments.contract import RunningContract, began
from process_apis.amendments.request import check
from process_apis.amendments.workflow import ON_THE_WAY
from process_apis.records.amendments import Amendments


class PlannedItem(msgspec.Struct, frozen=True):
    """What becomes of one contract, and of its monthly recurring revenue; with a `reason` nothing."""

    before: Money
    after: Money
    actions: tuple[Action, ...] = ()
    reason: LeftOut | None = None
    detail: str = ""

    def request(self, wanted: MassChangeRequest, key: str) -> NewAmendment:
        """Return the change of the contract that is asked for."""
        return NewAmendment(
            self.actions,
            effective=wanted.effective,
            effective_on=wanted.effective_on,
            settlement=wanted.settlement,
            reason=wanted.reason,
            key=key,
        )


def is_selected(found: RunningContract, wanted: MassChangeRequest) -> bool:
    """Return whether a contract is one of those that a mass change is for; one that has ended is, to be left out."""
    if wanted.customers and found.contract.customer_id not in wanted.customers:
        return False
    state: SelectedState = "pending" if began(found.order, found.contract, found.zone) > found.read_at else "active"
    return found.is_over or state in wanted.states


def plan(amendments: Amendments, found: RunningContract, wanted: MassChangeRequest) -> PlannedItem:
    """Return what a mass change makes of a contract as it is now."""
    contract = found.contract
    before = mrr(contract.lines, contract.currency)
    try:
        return _plan(amendments, found, wanted, before)
    except NumberRefused as refused:  # a line has digits that no change may have
        return PlannedItem(before, before, reason="not_allowed", detail=f"{refused.member}: {refused}")


def _plan(amendments: Amendments, found: RunningContract, wanted: MassChangeRequest, before: Money) -> PlannedItem:
    contract = found.contract
    if not found.is_over and any(each.state in ON_THE_WAY for each in found.order.lines):
        return PlannedItem(before, before, reason="change_on_its_way", detail=found.order.id)
    prices = [(line, _new_price(line, wanted)) for line in contract.lines if line.sku == wanted.sku]
    actions = tuple(each for line, price in prices if price is not None for each in _actions(line, price))
    reasons: tuple[tuple[LeftOut, bool], ...] = (
        ("cancelled", found.is_over),
        ("term_over", found.is_after_term),
        ("without_product", not prices),
        ("no_price", all(price is None for _, price in prices)),
        ("already_at_price", not actions),
    )
    for reason, holds in reasons:
        if holds:
            return PlannedItem(before, before, reason=reason)
    if others := amendments.undecided(contract.id):
        return PlannedItem(before, before, reason="change_on_its_way", detail=others[0])
    made = PlannedItem(before, before, actions)
    if refused := _refused(found, made.request(wanted, "planned")):
        return PlannedItem(before, before, reason="not_allowed", detail=refused)
    after = amended(contract.lines, actions, contract.currency)
    return msgspec.structs.replace(made, after=mrr(after, contract.currency))


def _refused(found: RunningContract, wanted: NewAmendment) -> str:
    """Return why a contract does not allow a change, empty where it does."""
    if len(wanted.actions) > MOST_ACTIONS:
        return f"it has too many lines of the product: a change has {MOST_ACTIONS} actions at the most"
    try:
        check(found, wanted)
    except ProblemError as refused:
        return "; ".join(f"{each.path.removeprefix('$.')}: {each.reason}" for each in refused.errors) or refused.detail
    return ""


def _new_price(line: PricedLine, wanted: MassChangeRequest) -> Decimal | None:
    """Return what one unit of a line is to cost before its discount, in major units; None where nothing is said."""
    currency, price = line.unit_price.currency, wanted.price
    if not isinstance(price, PricePercentage):
        given = price.of(currency, line.interval)
        return None if given is None else given.decimal
    factor = Decimal(HUNDRED_PERCENT + price.basis_points) / HUNDRED_PERCENT
    return scaled_price(line.terms.listed, factor, currency)


def _actions(line: PricedLine, price: Decimal) -> Iterator[Action]:
    """Yield what gives a line another price and leaves its discount; nothing for one that has the price already."""
    if price == line.terms.listed:
        return
    yield ChangePrice(line.id, price)
    if line.terms.discount_percent:
        yield ChangeDiscount(line.id, line.terms.discount_percent)
