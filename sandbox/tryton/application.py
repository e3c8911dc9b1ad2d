"""Tryton's own WSGI application, which begins no transaction again for a lock that does nothing.

Loaded by the server's process alone, so that no process of ours ever holds Tryton's code.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

app: Any = import_module("trytond.application").app
Transaction: Any = import_module("trytond.transaction").Transaction


def go_on(*_of_whom_and_what: Any) -> None:
    """Take no lock, and raise nothing."""


# A transaction that finds out on its way that it needs a lock is begun again, to take it first: a posting is worked
# out three times. On SQLite, which has one writer, `Database.lock` of Tryton's backend does nothing, so it goes on.
if import_module("trytond.backend").name == "sqlite":
    Transaction.lock_table = go_on
    Transaction.lock_records = go_on
