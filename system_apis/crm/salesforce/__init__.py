"""Salesforce through its REST API (REST API Developer Guide, v66.0)."""

from system_apis.crm.salesforce.client import Settings
from system_apis.crm.salesforce.connector import connect
from system_apis.crm.salesforce.mapping import FIELDS
from system_apis.crm.salesforce.setup import prepare

MADE_BY_SETUP = frozenset[str]()

__all__ = ["FIELDS", "MADE_BY_SETUP", "Settings", "connect", "prepare"]
