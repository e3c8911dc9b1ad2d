"""Salesforce through its REST API (REST API Developer Guide, v66.0)."""

from system_apis.crm.salesforce.client import SalesforceSettings
from system_apis.crm.salesforce.connector import Salesforce

__all__ = ["Salesforce", "SalesforceSettings"]
