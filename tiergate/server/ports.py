"""Where the layers listen."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from policies.catalogue.model import Layer
from tiergate.settings import NotReady, Server


def require_ports(server: Server, layers: Iterable[Layer]) -> None:
    """Raise `NotReady` when layers cannot listen where the settings say, with each address and its setting."""
    trouble: list[str] = []
    with ExitStack() as held:
        for layer in layers:
            port = getattr(server, f"{layer}_port")
            setting = f"server.{layer}_port (TIERGATE_SERVER_{layer.upper()}_PORT)"
            try:
                family, *_, address = socket.getaddrinfo(server.host, port, type=socket.SOCK_STREAM)[0]
                held.enter_context(socket.create_server(address, family=family))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                remedy = f"stop what listens there, or set {setting}" if taken else f"set server.host or {setting}"
                reason = "is in use" if taken else f"cannot be listened on ({error.strerror})"
                trouble.append(f"{server.host}:{port} of the {layer} layer {reason}: {remedy}")
    if trouble:
        raise NotReady("\n".join(trouble))
