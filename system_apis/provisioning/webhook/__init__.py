"""A target that takes signed webhooks (Standard Webhooks) and reports back the same way."""

from system_apis.provisioning.webhook.connector import FIELDS, Settings, connect

__all__ = ["FIELDS", "Settings", "connect"]
