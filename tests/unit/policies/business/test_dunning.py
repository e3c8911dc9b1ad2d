"""What follows when a contract owes, as the catalogue says it for each legal entity."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.money import Money
from policies.business.dunning import DUNNING, DunningPolicy
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED, CatalogueError


def read(folder: Path, section: str) -> dict[str, DunningPolicy]:
    path = folder / "catalogue.toml"
    path.write_text(f"{SHIPPED.read_text()}\n[dunning.{section}\n")
    return DUNNING.of(load(path))


def test_the_shipped_catalogue_suspends_and_ends_nothing() -> None:
    assert DUNNING.of(load()) == {}


def test_a_policy_is_of_one_legal_entity_and_concerns_what_its_minimum_says(tmp_path: Path) -> None:
    found = read(tmp_path, "DE01]\nsuspend_after_days = 14\nminimum = { EUR = 500 }")
    assert found == {"DE01": DunningPolicy(14, None, None, {"EUR": 500})}
    policy = found["DE01"]
    worth = [(0, "EUR"), (499, "EUR"), (500, "EUR"), (1, "USD"), (0, "USD")]
    assert [policy.concerns(Money(*each)) for each in worth] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("XX99]\nsuspend_after_days = 14", "XX99 belongs to no region"),
        ("DE01]\nsuspend_after_days = 0", "suspend_after_days"),
        ("DE01]\nfinal_after_days = 60", "final_after_days says nothing without last_step"),
        ("DE01]\nlast_step = 'keep'", "last_step says nothing without final_after_days"),
        ("DE01]\nfinal_after_days = 60\nlast_step = 'sell'", "last_step"),
        (
            "DE01]\nsuspend_after_days = 60\nfinal_after_days = 60\nlast_step = 'keep'",
            "the last step comes after 60 days, and the service is suspended after 60",
        ),
        ("DE01]\nminimum = { EUX = 5 }", "EUX"),
        ("DE01]\nminimum = { EUR = -1 }", "minimum"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(CatalogueError, match=said):
        read(tmp_path, section)
