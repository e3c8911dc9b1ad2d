"""The tables of states: what can follow what, and that nothing is a trap."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from canonical.states import (
    CONTRACT_STATES,
    CONTRACT_TRANSITIONS,
    ORDER_STATES,
    ORDER_TRANSITIONS,
    IllegalTransition,
    OrderState,
    RenewalState,
    check_contract,
    check_order,
    check_renewal,
    mermaid,
)

PATH: tuple[OrderState, ...] = (
    "received",
    "validating",
    "credit_review",
    "onboarding",
    "subscribing",
    "provisioning",
    "active",
)


def test_every_state_is_in_its_table() -> None:
    assert set(ORDER_TRANSITIONS) == set(ORDER_STATES)
    assert set(CONTRACT_TRANSITIONS) == set(CONTRACT_STATES)


def test_the_way_of_an_undisturbed_order_is_allowed() -> None:
    for present, wanted in pairwise(PATH):
        check_order(present, wanted)


def test_exactly_the_changes_of_the_table_are_allowed() -> None:
    for present, wanted in product(ORDER_STATES, repeat=2):
        if wanted == present or wanted in ORDER_TRANSITIONS[present]:
            check_order(present, wanted)
        else:
            with pytest.raises(IllegalTransition, match=f"from {present} to {wanted}"):
                check_order(present, wanted)


@pytest.mark.parametrize("wanted", ["expired", "renewed", "dropped"])
def test_days_of_grace_end_as_the_contract_stands_then(wanted: RenewalState) -> None:
    check_renewal("grace", wanted)

    with pytest.raises(IllegalTransition, match=f"from {wanted} to grace"):
        check_renewal(wanted, "grace")


def test_from_every_state_an_end_can_be_reached() -> None:
    ends = {state for state, after in ORDER_TRANSITIONS.items() if not after}
    reaching = set(ends)
    while more := {state for state, after in ORDER_TRANSITIONS.items() if after & reaching} - reaching:
        reaching |= more

    assert ends == {"active", "cancelled"}
    assert reaching == set(ORDER_STATES)


def test_a_cancelled_contract_stays_cancelled() -> None:
    for wanted in CONTRACT_STATES:
        if wanted != "cancelled":
            with pytest.raises(IllegalTransition):
                check_contract("cancelled", wanted)


def test_the_drawing_has_every_change_of_the_table() -> None:
    drawn = mermaid(ORDER_TRANSITIONS)

    assert drawn.startswith("stateDiagram-v2")
    assert sum(len(after) for after in ORDER_TRANSITIONS.values()) == drawn.count("-->") - 2
    assert "active --> [*]" in drawn
