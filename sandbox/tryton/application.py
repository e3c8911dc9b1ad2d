"""Tryton's own WSGI application on SQLite without two costs that mean nothing there: locks that do nothing, and a new
connection for each transaction.

Loaded by the server's process alone, so that no process of ours ever holds Tryton's code.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

app: Any = import_module("trytond.application").app
Transaction: Any = import_module("trytond.transaction").Transaction
backend: Any = import_module("trytond.backend")


open_connection: Any = backend.Database.connect
free: list[Any] = []
"""Connections to the one database that no transaction has."""


def go_on(*_of_whom_and_what: Any) -> None:
    """Take no lock, and raise nothing."""


def connect(database: Any) -> Any:
    if database._conn is None and free and database.name != ":memory:":
        database._conn = free.pop()
    return open_connection(database)


def put_connection(database: Any, connection: Any = None) -> None:
    if connection and database.name != ":memory:":
        database._conn = None
        free.append(connection)


# A transaction that finds out on its way that it needs a lock is begun again, to take it first: a posting is worked
# out three times. On SQLite, which has one writer, `Database.lock` of Tryton's backend does nothing, so it goes on.
# That backend opens a connection for each transaction, three for a call, and reads the whole schema each time: a
# quarter of all that it costs. The server has one thread, so that one which is put back can be taken by the next.
if backend.name == "sqlite":
    Transaction.lock_table = go_on
    Transaction.lock_records = go_on
    backend.Database.connect = connect
    backend.Database.put_connection = put_connection
