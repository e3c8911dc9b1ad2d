"""What tests of connectors share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stripe_account import StripeAccount


@pytest.fixture
def account(tmp_path: Path) -> StripeAccount:
    """Return an account of the stand-in of Stripe, which nobody else has."""
    return StripeAccount(tmp_path)
