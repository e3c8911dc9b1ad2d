"""Stripe Billing through its API, version 2026-10-28.endive."""

from system_apis.billing.stripe.client import Settings
from system_apis.billing.stripe.connector import connect
from system_apis.billing.stripe.mapping import FIELDS

__all__ = ["FIELDS", "Settings", "connect"]
