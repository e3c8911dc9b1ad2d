"""How contracts are renewed, as the catalogue says it for each legal entity."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from policies.business.renewals import RENEWALS, RenewalPolicy
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED, CatalogueError


def read(folder: Path, section: str) -> dict[str, RenewalPolicy]:
    path = folder / "catalogue.toml"
    path.write_text(f"{SHIPPED.read_text()}\n{section}")
    return RENEWALS.of(load(path))


def test_the_shipped_catalogue_leaves_contracts_alone() -> None:
    assert RENEWALS.of(load()) == {}


def test_a_policy_is_of_one_legal_entity_and_has_usual_values(tmp_path: Path) -> None:
    found = read(tmp_path, '[renewals.DE01]\nmode = "quoted"\nuplift_percent = 3.25\n')

    assert found == {"DE01": RenewalPolicy("quoted", 60, 3.25, 0, 0)}
    assert found["DE01"].uplift == Decimal("3.25")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('[renewals.XX99]\nmode = "quoted"\n', "XX99 belongs to no region"),
        ('[renewals.DE01]\nmode = "sometimes"\n', "mode"),
        ("[renewals.DE01]\nnotice_days = 60\n", "mode"),
        ('[renewals.DE01]\nmode = "quoted"\nnotice_days = 6\n', "notice_days"),
        ('[renewals.DE01]\nmode = "quoted"\ngrace_days = 91\n', "grace_days"),
        ('[renewals.DE01]\nmode = "quoted"\nuplift_percent = 1.005\n', "more than two digits"),
        ('[renewals.DE01]\nmode = "quoted"\nuplift_percent = -1\n', "uplift_percent"),
        ('[renewals.DE01]\nmode = "lapse"\nterm_months = 12\n', "what lapses has no new term"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(CatalogueError, match=said):
        read(tmp_path, section)
