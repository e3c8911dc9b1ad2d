"""What a change of a contract makes of its subscriptions, decided before anything is written.

A line stays in the subscription that bills it. Which changes a subscription has had is written in its metadata, so a
change that was interrupted goes on where it was, and one that is complete is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from canonical.amendments import ContractChange
from canonical.deals import PricedLine
from canonical.faults import NotFound, Rejected
from system_apis.billing.stripe import mapping, parts
from system_apis.billing.stripe.parts import MAX_ITEMS, MAX_VALUE, Item, price_key

Row = dict[str, Any]
CHANGES = "tiergate_changes"
"""The ids of the changes that a subscription has had, the latest last. The oldest give way to what metadata holds."""
OVER = ("canceled", "incomplete_expired")
"""The states of a subscription that bills nothing more (The Subscription object, `status`)."""


class ChangedSubscription(msgspec.Struct, frozen=True):
    """A subscription and the items that it is to have; one that `ends` has none."""

    subscription: Row
    items: tuple[Item, ...]

    @property
    def ends(self) -> bool:
        return not self.items


class Remaining(msgspec.Struct, frozen=True):
    """What is left to be done: subscriptions to change, those to cancel, and the items of new ones.

    `concerned` are the ids of all subscriptions that are there and have the change, or are to have it.
    """

    to_change: tuple[ChangedSubscription, ...] = ()
    to_cancel: tuple[Row, ...] = ()
    to_begin: tuple[tuple[Item, ...], ...] = ()
    concerned: tuple[str, ...] = ()


def has(row: Row, change_id: str) -> bool:
    """Return whether a subscription, or an invoice's copy of its metadata, has had a change."""
    return change_id in changes_of(row["metadata"])


def changes_of(metadata: Mapping[str, str]) -> list[str]:
    """Return the ids of the changes that metadata names, the latest last."""
    return (metadata.get(CHANGES) or "").split()


def with_change(metadata: Mapping[str, str], change_id: str) -> str:
    """Return the ids of changes with one more, of the latest as many as metadata holds."""
    named = [*changes_of(metadata), change_id]
    while len(" ".join(named)) > MAX_VALUE:
        named = named[1:]
    return " ".join(named)


def without_change(metadata: Mapping[str, str], change_id: str) -> str:
    """Return the ids of changes without one that was taken back."""
    return " ".join(each for each in changes_of(metadata) if each != change_id)


def planned(change: ContractChange, subscriptions: Sequence[Row], waiting: Sequence[Row]) -> Remaining:
    """Return what is left to be done for a change.

    `subscriptions` are all that the contract has or had, the oldest first, with all of their items, `waiting` the
    schedules that begin later. Raises `NotFound` and `Rejected` for a contract that cannot be changed so.
    """
    done = [each for each in subscriptions if has(each, change.id)]
    concerned = tuple(each["id"] for each in done)
    if any(changes_of(each["metadata"])[-1] != change.id for each in done):
        return Remaining(concerned=concerned)  # a later change came after it, so it was complete
    running = [each for each in subscriptions if each["status"] not in OVER]
    _check_runs(change, subscriptions, running, waiting)
    present, wanted = _recurring(change.contract.lines), _recurring(change.lines)
    homes = _homes(running, done, waiting)
    unchanged = [each for each in running if each not in done and not _ends(each, present)]
    _check_billed(change, present, homes, unchanged, partly=bool(done))
    placed: list[tuple[Row, list[PricedLine]]] = []
    unplaced = [line for line in wanted.values() if line.id not in homes]
    touched = {key for key in present.keys() | wanted.keys() if present.get(key) != wanted.get(key)}
    if change.term is not None or change.renewal is not None or change.pause is not None:
        touched |= set(present)
    _check_begun(change, touched, waiting)
    free = [each for each in running if each not in done and _goes_on(change, each, present)]
    for row in running:
        if row in done:
            continue
        own = [key for key, home in homes.items() if home == row["id"]]
        kept, left = _fitting(row, [wanted[key] for key in own if key in wanted], change.contract.id)
        unplaced += left
        placed.append((row, kept))
    for line in list(unplaced):
        for row, lines in placed:
            if row in free and parts.months(line) == _months(row) and _has_room(row, lines, line):
                lines.append(line)
                touched.add(line.id)
                unplaced.remove(line)
                break
    _check_end(change, unplaced)
    to_change = tuple(
        ChangedSubscription(row, tuple(parts.merged(lines)))
        for row, lines in placed
        if any(line.id in touched for line in lines)
        or any(key in touched for key, home in homes.items() if home == row["id"])
    )
    return Remaining(
        to_change,
        tuple(each for each in done if each["status"] not in OVER and not _named(each)),
        tuple(_chunked(unplaced)),
        (*concerned, *(each.subscription["id"] for each in to_change)),
    )


def _recurring(lines: Iterable[PricedLine]) -> dict[str, PricedLine]:
    return {line.id: line for line in lines if line.interval != "one_time"}


def _named(row: Row) -> list[str]:
    """Return the ids of the lines that a subscription bills."""
    return [key for item in row["items"]["data"] for key in parts.line_ids(item["metadata"])]


def _ends(row: Row, present: Mapping[str, PricedLine]) -> bool:
    """Return whether a subscription only waits for the end of its period: an earlier change has ended all its lines."""
    return bool(row["cancel_at"]) and present.keys().isdisjoint(_named(row))


def _goes_on(change: ContractChange, row: Row, present: Mapping[str, PricedLine]) -> bool:
    """Return whether a subscription bills as long as its contract, which may have an end that was agreed."""
    ends_with_it = change.contract.ends_on is not None and not _ends(row, present)
    return not row["cancel_at"] or ends_with_it


def _check_end(change: ContractChange, unplaced: Sequence[PricedLine]) -> None:
    """Raise `Rejected` for lines that would begin a subscription of their own, of which the last period would go beyond
    the end that was agreed for the contract."""
    until = change.contract.ends_on
    if until is not None and unplaced and change.renewal is None:
        reason = (
            f"{change.contract.id} ends on {until}, and no subscription of it has room for {unplaced[0].name} every "
            f"{parts.months(unplaced[0])} months: give the contract another end first, or none"
        )
        raise Rejected("billing", reason, field="lines")


def _homes(running: Sequence[Row], done: Sequence[Row], waiting: Iterable[Row]) -> dict[str, str]:
    """Return the id of the subscription, or of the schedule that waits, of each line. One that has the change says
    better than one that has it not."""
    found = {key: row["id"] for row in running for key in _named(row)}
    for schedule in waiting:
        items: list[Row] = schedule["phases"][0]["items"]
        found |= {key: schedule["id"] for item in items for key in parts.line_ids(item["metadata"])}
    return found | {key: row["id"] for row in done for key in _named(row)}


def _months(row: Row) -> int:
    return mapping.months_of((mapping.of_lines(row) or row["items"]["data"])[0]["price"])


def _check_runs(
    change: ContractChange, all_of_it: Sequence[Row], running: Sequence[Row], waiting: Sequence[Row]
) -> None:
    key = change.contract.id
    if not all_of_it and waiting:
        raise Rejected("billing", f"the contract {key} begins on {_first_day(waiting[0])}", field="effective_at")
    if not all_of_it:
        raise NotFound("billing", f"no subscription bills the contract {key}", field="contract.id")
    if not running and not any(has(each, change.id) for each in all_of_it):
        raise Rejected("billing", f"the contract {key} has ended: nothing of it can be changed", field="contract.state")


def _check_begun(change: ContractChange, touched: set[str], waiting: Sequence[Row]) -> None:
    """Raise `Rejected` for a line that an earlier change has added, and that is not billed yet."""
    for schedule in waiting:
        phase: Row = schedule["phases"][0]
        named = {key for item in phase["items"] for key in parts.line_ids(item["metadata"])}
        if named & touched and not has(phase, change.id):
            reason = f"the line {min(named & touched)} of {change.contract.id} begins on {_first_day(schedule)}"
            raise Rejected("billing", f"{reason}: it can be changed from then on", field="effective_at")


def _first_day(schedule: Row) -> date:
    return datetime.fromtimestamp(schedule["phases"][0]["start_date"], UTC).date()


def _check_billed(
    change: ContractChange,
    present: Mapping[str, PricedLine],
    homes: Mapping[str, str],
    unchanged: Sequence[Row],
    *,
    partly: bool,
) -> None:
    """Raise `Rejected` where billing does not bill the contract as it is said to run: people have changed it there, or
    it is another contract. Of a change that was interrupted, what has the change is left out."""
    for row in unchanged:
        names = _named(row)
        said = parts.merged(present[key] for key in names if key in present)
        billed = {each["price"]["lookup_key"]: each.get("quantity") for each in mapping.of_lines(row)}
        wanted = {price_key(each.lines[0], change.contract.id): each.quantity for each in said}
        if set(names) - present.keys() or billed != wanted:
            reason = (
                f"{row['id']} of Stripe bills something else than the contract {change.contract.id} says: "
                "set its items in Stripe to what was agreed, and try again"
            )
            raise Rejected("billing", reason, field="contract.lines")
    missing = sorted(present.keys() - homes.keys())
    if missing and not partly:
        reason = f"no subscription of Stripe bills the line {missing[0]} of the contract {change.contract.id}"
        raise Rejected("billing", reason, field="contract.lines")
    for line in _recurring(change.lines).values():
        before = present.get(line.id)
        if before and parts.months(before) != parts.months(line):
            reason = f"{line.name} is billed every {parts.months(before)} months: remove the line, and add another one"
            raise Rejected("billing", reason, field="lines")


def _fitting(row: Row, lines: list[PricedLine], contract_id: str) -> tuple[list[PricedLine], list[PricedLine]]:
    """Return those of a subscription's lines that it can bill, and those that are too many: the ones whose price is
    new there come last."""
    prices = {each["price"]["lookup_key"] for each in mapping.of_lines(row)}
    kept: list[PricedLine] = []
    left: list[PricedLine] = []
    for line in sorted(lines, key=lambda each: price_key(each, contract_id) not in prices):
        (kept if _has_room(row, kept, line) else left).append(line)
    return kept, left


def _has_room(row: Row, lines: Sequence[PricedLine], line: PricedLine) -> bool:
    """Return whether a subscription can bill one more line, beside these and what people have added to it."""
    prices = {price_key(each, "") for each in lines}
    others = len(row["items"]["data"]) - len(mapping.of_lines(row))
    return price_key(line, "") in prices or len(prices) + others < MAX_ITEMS


def _chunked(lines: Iterable[PricedLine]) -> Iterable[tuple[Item, ...]]:
    """Yield the items of new subscriptions: of one interval each, and no more than one takes."""
    by_months: dict[int | None, list[PricedLine]] = {}
    for line in lines:
        by_months.setdefault(parts.months(line), []).append(line)
    for each in by_months.values():
        yield from parts.chunks(parts.merged(each))
