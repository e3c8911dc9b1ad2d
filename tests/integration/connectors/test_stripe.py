"""The Stripe connector passes the kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.connector_kit.billing import BillingKit
from tests.support.connector_kit.kit import behaviours, run
from tests.support.stripe_account import StripeAccount


@pytest.mark.parametrize("behaviour", behaviours(BillingKit))
def test_the_connector(behaviour: str, tmp_path: Path) -> None:
    run(BillingKit, StripeAccount(tmp_path), behaviour, tmp_path)
