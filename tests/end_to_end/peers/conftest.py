"""The Stripe stand-in in the test's own process, with an account of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import stripe

from tests.support.stripe_account import StripeAccount


@pytest.fixture
def account(tmp_path: Path) -> StripeAccount:
    return StripeAccount(tmp_path)


@pytest.fixture
def api(account: StripeAccount) -> stripe.StripeClient:
    return account.api
