"""Any target that takes a webhook and calls back, signed after the Standard Webhooks specification."""

from system_apis.provisioning.webhook.connector import WebhookSettings, WebhookTarget

__all__ = ["WebhookSettings", "WebhookTarget"]
