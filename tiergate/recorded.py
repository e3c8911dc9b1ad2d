"""What commands do beside the layers, and a layer's audit log has to say."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from policies.audit.log import AuditLog
from policies.audit.records import AuditEntry, sealing_key
from policies.catalogue.model import Layer
from tiergate.settings import Settings


def record(settings: Settings, layer: Layer, operation: str, what: str, now: datetime) -> None:
    """Write to the audit log of a layer, which may run, that a command did an operation on `what`. Raises `OSError`
    when it cannot be written."""
    entry = AuditEntry(
        at=now,
        layer=layer,
        operation=operation,
        version="",
        client="tiergate",
        on_behalf_of=_user(),
        object=what,
        status=200,
        correlation_id="",
    )
    with closing(AuditLog(settings.audit_files(layer), sealing_key(settings.audit_key()))) as log:
        log.write(entry)


def _user(name_of: Callable[[], str] = os.getlogin) -> str:
    """Return who runs the command: the user of the terminal, or the number of the user without one."""
    try:
        return name_of()
    except OSError:
        return f"uid {os.getuid()}"
