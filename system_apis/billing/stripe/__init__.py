"""Stripe Billing through its API, version 2026-10-28.endive."""

from system_apis.billing.stripe.client import StripeSettings
from system_apis.billing.stripe.connector import Stripe

__all__ = ["Stripe", "StripeSettings"]
