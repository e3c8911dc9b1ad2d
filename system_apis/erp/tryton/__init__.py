"""Tryton 8.2 through JSON-RPC. Tryton is GPL: a server beside us, never imported."""

from system_apis.erp.tryton.client import Settings
from system_apis.erp.tryton.connector import connect
from system_apis.erp.tryton.mapping import FIELDS
from system_apis.erp.tryton.setup import prepare

MADE_BY_SETUP = frozenset[str]()

__all__ = ["FIELDS", "MADE_BY_SETUP", "Settings", "connect", "prepare"]
