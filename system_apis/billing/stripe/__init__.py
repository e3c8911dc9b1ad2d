"""Stripe Billing through its API, version 2026-10-28.endive."""

from system_apis.billing.stripe.client import Settings
from system_apis.billing.stripe.connector import connect
from system_apis.billing.stripe.mapping import FIELDS
from system_apis.billing.stripe.setup import prepare

MADE_BY_SETUP = frozenset({"webhook_secret"})

__all__ = ["FIELDS", "MADE_BY_SETUP", "Settings", "connect", "prepare"]
