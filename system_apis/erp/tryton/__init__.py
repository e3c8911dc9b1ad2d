"""Tryton 8.2 through JSON-RPC. Tryton is GPL: a server beside us, never imported."""

from system_apis.erp.tryton.client import TrytonSettings
from system_apis.erp.tryton.connector import Tryton

__all__ = ["Tryton", "TrytonSettings"]
