"""Tryton 8.2 through JSON-RPC. Tryton is GPL: a server beside us, never imported."""

from system_apis.erp.tryton.client import Settings
from system_apis.erp.tryton.connector import connect
from system_apis.erp.tryton.mapping import FIELDS

__all__ = ["FIELDS", "Settings", "connect"]
