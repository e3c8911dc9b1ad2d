"""Where a record stands in the table of its states: the way that it takes if nothing stops it, and what may follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from canonical.states import (
    AMENDMENT_TRANSITIONS,
    CONTRACT_TRANSITIONS,
    CORRECTION_TRANSITIONS,
    MEANING,
    ORDER_TRANSITIONS,
)

WAYS: Mapping[str, tuple[str, ...]] = {
    "order": ("received", "validating", "credit_review", "onboarding", "subscribing", "provisioning", "active"),
    "contract": ("pending", "active"),
    "amendment": ("requested", "checking", "applying", "applied"),
    "correction": ("requested", "checking", "carrying_out", "carried_out", "booked"),
}
"""The states that nothing stops, by what has them; the first is where each begins."""
TABLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "order": {**ORDER_TRANSITIONS},
    "contract": {**CONTRACT_TRANSITIONS},
    "amendment": {**AMENDMENT_TRANSITIONS},
    "correction": {**CORRECTION_TRANSITIONS},
}
MEANINGS: Mapping[str, Mapping[str, str]] = {"order": {**MEANING}}


class Step(msgspec.Struct, frozen=True):
    """A state: what it means, where that is written down, and whether it was reached, and is the present one."""

    state: str
    meaning: str = ""
    is_reached: bool = False
    is_present: bool = False


class StateSteps(msgspec.Struct, frozen=True):
    """The steps of a record, the first first, and the states that may follow the present one; none after an end."""

    steps: tuple[Step, ...]
    follows: tuple[Step, ...]


def standing(kind: str, state: str, history: Collection[str] = ()) -> StateSteps | None:
    """Return where a record stands; None for one whose states have no table, or that is in none of them.

    `history` are the states that it is known to have been in. A step that leads to the present state in every case was
    reached too. A state beside the way comes after the steps that were reached.
    """
    table = TABLES.get(kind, {})
    if state not in table:
        return None
    way, meanings = WAYS[kind], MEANINGS.get(kind, {})
    reached = {state, *history, *(each for each in way if _is_passed(each, state, way[0], table))}
    shown = way if state in way else (*(each for each in way if each in reached), state)
    return StateSteps(
        tuple(Step(each, meanings.get(each, ""), each in reached, each == state) for each in shown),
        tuple(Step(each, meanings.get(each, "")) for each in table if each in table[state]),
    )


def _is_passed(step: str, state: str, first: str, table: Mapping[str, frozenset[str]]) -> bool:
    """Return whether there is no way from the first state to one that leaves a step out."""
    found, left = {step}, [first] if first != step else []
    while left:
        present = left.pop()
        if present not in found:
            found.add(present)
            left.extend(table[present])
    return state == step or state not in found
