"""Salesforce through its REST API (REST API Developer Guide, v66.0)."""

from system_apis.crm.salesforce.client import Settings
from system_apis.crm.salesforce.connector import connect
from system_apis.crm.salesforce.mapping import FIELDS

__all__ = ["FIELDS", "Settings", "connect"]
