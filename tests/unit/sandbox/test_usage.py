"""Tiers of the Stripe stand-in charge what counting unit by unit comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.stripe.usage import Usage
from tests.support.stripe_account import StripeAccount

Tier = dict[str, Any]
SIZES = st.lists(st.integers(min_value=1, max_value=40), max_size=4)
AMOUNTS = st.lists(st.tuples(st.integers(0, 50), st.sampled_from([None, 0, 7, 100])), min_size=5, max_size=5)


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Usage:
    return StripeAccount(tmp_path_factory.mktemp("stripe")).stand_in.billing.usage


def tiers(sizes: list[int], amounts: list[tuple[int, int | None]]) -> list[Tier]:
    """Return tiers of these sizes, and one without an end."""
    tops = [*(sum(sizes[: place + 1]) for place in range(len(sizes))), None]
    return [
        {"up_to": top, "unit_amount_decimal": str(unit), "flat_amount_decimal": None if flat is None else str(flat)}
        for top, (unit, flat) in zip(tops, amounts, strict=False)
    ]


def charged(usage: Usage, mode: str, rows: list[Tier], used: Decimal) -> Decimal:
    usage.account.save({"object": "price.tiers", "id": "price_1", "tiers": rows})
    price = {"id": "price_1", "billing_scheme": "tiered", "tiers_mode": mode}
    parts = list(usage.parts(price, used))
    if mode == "graduated":
        assert sum(each.quantity for each in parts if not each.is_flat) == used
    return sum((each.quantity * Decimal(each.unit) for each in parts), Decimal(0))


def reached(rows: list[Tier], unit: int) -> Tier:
    return next(each for each in rows if each["up_to"] is None or unit <= each["up_to"])


def flat(tier: Tier) -> int:
    return int(tier["flat_amount_decimal"] or 0)


@settings(deadline=None)
@given(SIZES, AMOUNTS, st.integers(min_value=0, max_value=200))
def test_graduated_tiers_charge_each_unit_at_the_price_of_its_own_tier(
    usage: Usage, sizes: list[int], amounts: list[tuple[int, int | None]], used: int
) -> None:
    rows = tiers(sizes, amounts)
    entered = {id(each): each for each in (reached(rows, unit) for unit in range(1, used + 1))}
    units = sum(int(reached(rows, unit)["unit_amount_decimal"]) for unit in range(1, used + 1))

    assert charged(usage, "graduated", rows, Decimal(used)) == units + sum(flat(each) for each in entered.values())


@settings(deadline=None)
@given(SIZES, AMOUNTS, st.integers(min_value=0, max_value=200))
def test_volume_tiers_charge_all_units_at_the_price_of_the_last_one(
    usage: Usage, sizes: list[int], amounts: list[tuple[int, int | None]], used: int
) -> None:
    rows = tiers(sizes, amounts)
    last = reached(rows, used)
    expected = used * int(last["unit_amount_decimal"]) + (flat(last) if used else 0)

    assert charged(usage, "volume", rows, Decimal(used)) == expected


@given(
    st.integers(min_value=0, max_value=5_000), st.integers(min_value=1, max_value=300), st.sampled_from(["up", "down"])
)
def test_packages_are_whole(usage: Usage, used: int, size: int, rounding: str) -> None:
    price = {"billing_scheme": "per_unit", "unit_amount_decimal": "5"}
    (part,) = usage.parts(price | {"transform_quantity": {"divide_by": size, "round": rounding}}, Decimal(used))

    assert part.quantity == (-(-used // size) if rounding == "up" else used // size)
