"""Ports of loopback for the servers of a sandbox: the usual ones, or any that no process has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TextIO

import msgspec

from tiergate.dev.layers import LAYERS
from tiergate.settings import NotReady

USUAL = {
    "system": 8101,
    "process": 8102,
    "experience": 8103,
    "crm": 8201,
    "billing": 8202,
    "erp": 8203,
    "provisioning": 8204,
    "control": 8205,
    "tryton": 8206,
}
FREE = range(20_000, 32_768)
"""Where free ports are looked for: below those that Linux (32768 and up) and macOS give to outgoing connections. One of
theirs may be taken by a connection between the moment it is chosen and that at which a server listens on it."""


class Ports(msgspec.Struct, frozen=True):
    """A port for each server, all on loopback."""

    system: int
    process: int
    experience: int
    crm: int
    billing: int
    erp: int
    provisioning: int
    control: int
    tryton: int


_usual_ports = contextlib.ExitStack()
"""Holds the lock on the usual ports until this process ends."""


def _usual_ports_are_ours() -> bool:
    """Lock the usual ports for this process, and return whether that succeeded.

    The servers share a port with any process of the same user that listens on it already, so two sandboxes of a user
    must never choose the same.
    """
    lock = _usual_ports.enter_context(lock_file("usual-ports").open("a"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_file(name: str) -> Path:
    """Return where a lock of this user is: another user could not open it."""
    return Path(tempfile.gettempdir()) / f"tiergate-{name}-{os.getuid()}.lock"


_ports_of_ours: set[int] = set()


@cache
def _port_locks() -> TextIO:
    """Return a file with a byte for each port: a process locks those of the ports that it has chosen, until it ends."""
    return lock_file("ports").open("a")


def _is_ours(port: int) -> bool:
    """Lock a port that was chosen and is not bound yet, and return whether that succeeded."""
    if port in _ports_of_ours:
        return False
    try:
        fcntl.lockf(_port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _ports_of_ours.add(port)
    return True


def free_port() -> int:
    """Return a port of loopback that no process has, and that nothing else of ours chooses until this process ends.

    Raises `NotReady` when there is none.
    """
    for port in FREE:
        if _is_ours(port) and _is_free(port):
            return port
    raise NotReady(f"no port of 127.0.0.1 is free between {FREE[0]} and {FREE[-1]}: stop servers that are not needed")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_ports(*, usual: bool = True) -> Ports:
    """Return the usual ports where they are free and no other sandbox has them, and any free port otherwise."""
    usual = usual and _usual_ports_are_ours()
    return Ports(**{name: port if usual and _is_free(port) else free_port() for name, port in USUAL.items()})


def displaced(ports: Ports) -> Iterator[str]:
    """Yield a sentence for each server that is not at its usual port."""
    for name, usual in USUAL.items():
        port = getattr(ports, name)
        if port != usual:
            what = f"the {name} layer" if name in LAYERS else f"{name} of the sandbox"
            yield f"{usual} is taken: {what} is at http://127.0.0.1:{port}"
