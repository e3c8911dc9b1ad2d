"""What a deal makes of a contract: its lines as actions, and what of it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, cast

import msgspec

from canonical.amendments import (
    AddLine,
    Cancel,
    ChangePrice,
    ChangeQuantity,
    ChangeTerm,
    LineAction,
    NewAmendment,
    RecurringInterval,
    RemoveLine,
    Renew,
    end_after,
    ends_on,
)
from canonical.billing import Contract
from canonical.cases import Finding
from canonical.deals import MONTHS, Deal, DealLine, PricedLine, deal_line, plain
from policies.problems import ProblemError
from process_apis.amendments.contract import NotPossible, RunningContract
from process_apis.amendments.request import check
from process_apis.records.amendments import Applied


class Sold(NamedTuple):
    """An action, and the place of the line of the deal that it comes from."""

    action: LineAction | AddLine | Cancel | ChangeTerm | Renew
    place: int


def wanted(deal: Deal, found: RunningContract, to_come: Sequence[Applied], key: str, now: datetime) -> NewAmendment:
    """Return what a deal asks of a contract at `now`. `to_come` are changes of days to come. Raises `NotPossible`, with
    fields of the deal."""
    sold = _renewal(deal, found) if deal.change == "renewal" else _actions(deal, found.contract)
    _check_to_come(sold, to_come)
    today = now.astimezone(found.zone).date()
    is_later = deal.starts_on > today and not isinstance(sold[0].action, Renew | ChangeTerm)
    effective_on: date | None = deal.starts_on if is_later else None
    at_period_end = _ends_by_use(sold, found.contract)
    if effective_on and at_period_end:
        reason = "what is charged by use ends with the period that runs: let the deal start no later than today"
        raise NotPossible([Finding("deal.starts_on", reason)])
    asked = NewAmendment(
        tuple(each.action for each in sold),
        effective="period_end" if at_period_end else "date" if effective_on else "now",
        effective_on=effective_on,
        reason=deal.name[:500],
        key=key,
    )
    try:
        msgspec.convert(msgspec.to_builtins(asked), NewAmendment)  # what is kept has to be read again
        check(found, asked)
    except msgspec.ValidationError as error:
        raise NotPossible([Finding("deal.lines", str(error))]) from error
    except ProblemError as refused:
        findings = [Finding(_field(each.path, sold), each.reason) for each in refused.errors]
        raise NotPossible(findings or [Finding("deal.contract_id", refused.detail)]) from refused
    return asked


def _ends_by_use(sold: Sequence[Sold], contract: Contract) -> bool:
    """Return whether a deal ends a line that is charged by use. A renewal is no time for that, and is refused."""
    by_use = {each.id for each in contract.lines if each.meter}
    ended = {action.line for action, _ in sold if isinstance(action, RemoveLine)}
    return not isinstance(sold[0].action, Renew) and not by_use.isdisjoint(ended)


def _field(path: str, sold: Sequence[Sold]) -> str:
    """Return the field of the deal that a part of a request comes from."""
    if path == "$.effective_on":
        return "deal.starts_on"
    for number, each in enumerate(sold):
        if path.startswith(f"$.actions[{number}]"):
            match each.action:
                case Renew():
                    return "deal.term_months"
                case ChangeTerm():
                    return "deal.starts_on"
                case Cancel():
                    return "deal.lines"
                case _:
                    return f"deal.lines[{each.place}].quantity"
    return "deal.lines"


def _actions(deal: Deal, contract: Contract) -> list[Sold]:
    """Return what a deal changes of a contract, or its end: with its term, where that is over on the deal's day."""
    lines = contract.lines
    if deal.change == "cancellation":
        until = ends_on(contract)
        return [Sold(ChangeTerm(until) if until == deal.starts_on else Cancel(), 0)]
    had = {each.id: each.terms.quantity for each in lines}
    left, places, added, wrong = dict(had), dict[str, int](), list[Sold](), list[Finding]()
    for place, each in enumerate(deal.lines):
        line = _line_of(each, lines)
        if reason := _not_sold(each):
            wrong.append(Finding(f"deal.lines[{place}].{reason[0]}", reason[1]))
        elif line is not None:
            left[line.id] += each.quantity
            places.setdefault(line.id, place)
        elif each.quantity < 0:
            reason = f"the contract has no line of {each.sku} at this price, of which there could be fewer"
            wrong.append(Finding(f"deal.lines[{place}].quantity", reason))
        else:
            added.append(Sold(_new(each), place))
    for line_id, place in places.items():
        if left[line_id] < 0:
            reason = f"{plain(had[line_id] - left[line_id])} fewer are sold, and the contract has {plain(had[line_id])}"
            wrong.append(Finding(f"deal.lines[{place}].quantity", reason))
    changed = [_changed(each, left[each], places[each]) for each in places if left[each] != had[each]]
    if not wrong and not (changed or added):
        wrong.append(Finding("deal.lines", "nothing of the contract is changed by them"))
    if wrong:
        raise NotPossible(wrong)
    return [*changed, *added]


def _renewal(deal: Deal, found: RunningContract) -> list[Sold]:
    """Return what a renewal makes of a contract: its lines are all that the next term has. A line of the contract has
    the price and the quantity of the deal's line of its product, of several the one at its price."""
    contract = found.contract
    if ends_on(contract) is None:
        raise NotPossible([Finding("deal.contract_id", "the contract has no end: there is nothing to renew")])
    if deal.evergreen or deal.term_months < 1:
        raise NotPossible([Finding("deal.term_months", "a renewal has a term: say for how many months")])
    renewed = Sold(Renew(end_after(contract, deal.term_months)), 0)
    return [renewed, *_next_term(deal.lines, contract.lines)] if deal.lines else [renewed]


def _next_term(sold: Sequence[DealLine], lines: Sequence[PricedLine]) -> list[Sold]:
    """Return what makes the lines of a contract those that are sold."""
    wrong: list[Finding] = []
    for place, each in enumerate(sold):
        if reason := _not_sold(each):
            wrong.append(Finding(f"deal.lines[{place}].{reason[0]}", reason[1]))
        elif each.quantity < 0:
            wrong.append(Finding(f"deal.lines[{place}].quantity", "it is how many the next term has, in all"))
    if wrong:
        raise NotPossible(wrong)
    left, places, found = {each.id: each for each in lines}, dict(enumerate(sold)), list[Sold]()
    for exact in (True, False):
        for place, each in list(places.items()):
            same = [line for line in left.values() if _is_again(line, each, exact=exact)]
            if same:
                found += _again(left.pop(same[0].id), each, place)
                del places[place]
    found += [Sold(RemoveLine(key), 0) for key in left]
    return [*found, *(Sold(_new(each), place) for place, each in places.items())]


def _is_again(line: PricedLine, sold: DealLine, *, exact: bool) -> bool:
    """Return whether a deal sells a product of the contract again, at the price that it has now if that is `exact`."""
    price, interval = _price(deal_line(line))
    return line.sku == sold.sku and interval == sold.interval and (price == sold.unit_price or not exact)


def _again(line: PricedLine, sold: DealLine, place: int) -> Iterator[Sold]:
    if line.terms.quantity != sold.quantity:
        yield Sold(ChangeQuantity(line.id, sold.quantity), place)
    if _price(deal_line(line))[0] != sold.unit_price:
        yield Sold(ChangePrice(line.id, sold.unit_price), place)


def _new(line: DealLine) -> AddLine:
    interval = cast("RecurringInterval", line.interval)
    return AddLine(line.id, line.sku, line.name, line.quantity, line.unit_price, interval)


def _changed(line_id: str, quantity: Decimal, place: int) -> Sold:
    return Sold(ChangeQuantity(line_id, quantity) if quantity else RemoveLine(line_id), place)


def _not_sold(line: DealLine) -> tuple[str, str] | None:
    """Return the field of a line that no contract can be changed by, and why."""
    if line.interval not in MONTHS:
        return "interval", "what is charged once is sold with a deal of its own, which names no contract"
    if not line.quantity:
        return "quantity", "it is how many more, or less, there are to be, and not 0"
    if not line.listed:
        return "listed", f"the price list has no price for {line.sku} in the deal's currency"
    return None


def _line_of(sold: DealLine, lines: Sequence[PricedLine]) -> PricedLine | None:
    """Return the line of a contract that a line of a deal is more or less of: the same product at the same price. Less
    of a product that the contract has once is of that line, whatever the price list says today."""
    of_product = [each for each in lines if each.sku == sold.sku]
    same = [each for each in of_product if _price(deal_line(each)) == _price(sold)]
    if same:
        return max(same, key=lambda each: each.terms.quantity)
    return of_product[0] if sold.quantity < 0 and len(of_product) == 1 else None


def _price(line: DealLine) -> tuple[Decimal, str]:
    return line.unit_price, line.interval


def _check_to_come(sold: Sequence[Sold], to_come: Sequence[Applied]) -> None:
    """Raise `NotPossible` for a line that has a change of a day to come: that one holds how many there are in all. The
    end of a contract stops none: what was to come after it is given up."""
    wrong: list[Finding] = []
    for each in to_come:
        changed = each.touched()
        for action, place in sold:
            if not isinstance(action, Cancel | ChangeTerm | Renew) and action.line in changed:
                reason = f"{each.id} changes this from {each.since:%Y-%m-%d} on: withdraw it, and sell both together"
                wrong.append(Finding(f"deal.lines[{place}].quantity", reason))
    if wrong:
        raise NotPossible(wrong)
