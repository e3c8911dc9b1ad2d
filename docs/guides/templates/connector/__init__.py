"""A template: a provisioning target that is spoken to over REST, and reports back with signed webhooks."""

from .connector import Settings, connect
from .mapping import FIELDS

__all__ = ["FIELDS", "Settings", "connect"]
