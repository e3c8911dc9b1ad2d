"""What of a change somebody else has to approve."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.money import Money
from policies.business.amendments import approvals_for
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED

NOTHING = Money(0, "EUR")


@pytest.fixture
def live_catalogue(tmp_path: Path) -> LiveCatalogue:
    file = tmp_path / "catalogue.toml"
    said = "[amendment_approvals]\n"
    file.write_text(SHIPPED.read_text().replace(said, f"{said}lost_value = {{ EUR = 100000 }}\n"))
    return LiveCatalogue(file)


@pytest.mark.parametrize("value", [Money(-100001, "EUR"), Money(-5000000, "EUR")])
def test_a_loss_of_contract_value_above_the_limit_needs_a_yes(live_catalogue: LiveCatalogue, value: Money) -> None:
    (why,) = approvals_for(live_catalogue.current, {}, (), (), NOTHING, value)

    assert why == f"the contract loses {-value} of its value, and a loss of {Money(100000, 'EUR')} needs no approval"


@pytest.mark.parametrize("value", [Money(-100000, "EUR"), Money(1, "EUR"), Money(-5000000, "USD"), None])
def test_a_smaller_loss_and_one_in_a_currency_without_a_limit_need_none(
    live_catalogue: LiveCatalogue, value: Money | None
) -> None:
    assert approvals_for(live_catalogue.current, {}, (), (), NOTHING, value) == ()
