"""How a deployable is served, and what it logs of its own faults: which one and where, and nothing of what it was
about."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tests.support.platforms import wait_until
from tiergate.dev.ports import free_port
from tiergate.dev.processes import Child, wait_for
from tiergate.server import bounded
from tiergate.server.protocol import FastPathProtocol, missing
from tiergate.server.server import protocol, run
from tiergate.settings import NotReady, Server

IN_A_LIBRARY = "logging.getLogger('dbos').error('a workflow ended: %s', 'x', exc_info=fault())"
IN_A_THREAD = "thread = threading.Thread(target=work); thread.start(); thread.join()"
PROGRAM = """
import logging, threading
from tiergate.server.logs import log_as_json

def fault():
    try:
        work()
    except ValueError as error:
        return error

def work():
    raise ValueError("Erika Mustermann")

log_as_json()
"""


@pytest.mark.parametrize(
    ("broken", "said"), [(IN_A_LIBRARY, "a workflow ended: x ValueError at"), (IN_A_THREAD, "a thread ended")]
)
def test_a_fault_of_ours_is_logged_without_its_message(broken: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM + broken], capture_output=True, text=True, check=True)

    assert said in done.stderr
    assert "ValueError" in done.stderr
    assert " work" in done.stderr
    assert "Mustermann" not in done.stderr


# ---- the short way in front of uvicorn

SERVED = """
import contextvars, sys
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from tiergate.server import server as serving
from tiergate.settings import Server

carried = contextvars.ContextVar("carried", default="")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    took = sys._getframe()
    while took and took.f_code.co_name != "run_asgi":
        took = took.f_back
    owner = type(took.f_locals["self"].on_response.__self__).__name__ + carried.get()
    carried.set(" and what the one before left")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(owner))]})
    await send({"type": "http.response.body", "body": owner.encode()})

serving.log_as_json()
exec(sys.argv[2])
serving.run(app, int(sys.argv[1]), Server(fast_path=sys.argv[3] == "on"), until_input_ends="until" in sys.argv)
"""
STARTER = """
import signal, sys
from pathlib import Path
from tests.support.platforms import wait_until
from tiergate.dev.processes import Child

port, log, served = sys.argv[1:]
child = Child("layer", [sys.executable, "-c", served, port, "", "on", "until"], Path(log), stdin=b"")
signal.pause()
"""


@contextmanager
def served(log: Path, change: str, switch: str) -> Generator[int]:
    """Serve the app above in a process of its own, changed before it begins. Return its port."""
    port = free_port()
    child = Child("layer", [sys.executable, "-c", SERVED, str(port), change, switch], log)
    try:
        wait_for(f"http://127.0.0.1:{port}/", child, 30)
        yield port
    finally:
        child.stop()


OLDER = "del HttpToolsProtocol.shutdown"
LOGGED = "its own protocol answers every request"


@pytest.mark.parametrize(
    ("change", "switch", "answers", "logged"),
    [
        ("", "on", "FastPathProtocol", False),
        ("", "off", "BoundedProtocol", False),
        (OLDER, "on", "BoundedProtocol", True),
        ("sys.modules['uvicorn.protocols.http.flow_control'] = None", "on", "BoundedProtocol", True),
    ],
    ids=["as it is", "switched off", "a name is missing", "a module is missing"],
)
def test_a_layer_is_served_by_plain_uvicorn_when_it_should_be_or_must_be(
    tmp_path: Path, change: str, switch: str, answers: str, *, logged: bool
) -> None:
    with served(tmp_path / "log", change, switch) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/").text == answers

    text = (tmp_path / "log").read_text()
    assert (LOGGED in text) is logged
    assert '"event": "serving"' in text
    assert f'"address": "http://127.0.0.1:{port}"' in text


def test_a_layer_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    starter = Child("starter", [sys.executable, "-c", STARTER, str(port), str(log), SERVED], tmp_path / "starter.log")
    wait_for(f"http://127.0.0.1:{port}/", starter, 30)

    starter.process.kill()
    starter.process.wait()

    wait_until(lambda: not listens(port), 10, "the end of the layer")


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_a_request_begins_with_nothing_of_the_one_that_is_pipelined_before_it(tmp_path: Path) -> None:
    with served(tmp_path / "log", "", "on") as port, socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answered = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answered.count(b"FastPathProtocol") == 2
    assert b"left" not in answered


def test_this_uvicorn_has_all_that_a_layer_takes() -> None:
    assert bounded.missing() == missing() == []
    assert protocol(fast_path=True) is FastPathProtocol


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HttpToolsProtocol, "shutdown"),
        (FlowControl, "pause_reading"),
    ],
)
def test_a_method_that_the_short_way_takes_and_uvicorn_has_no_more_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    monkeypatch.delattr(owner, name)

    assert missing() == [f"{owner.__name__}.{name}"]
    assert protocol(fast_path=True) is bounded.BoundedProtocol


@pytest.mark.parametrize("name", ["on_url", "on_response_complete", "_unset_keepalive_if_required"])
def test_a_layer_does_not_start_with_a_uvicorn_that_cannot_be_bounded(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(HttpToolsProtocol, name)

    with pytest.raises(NotReady, match=f"lacks HttpToolsProtocol.{name}: install the packages"):
        run(cast("Any", None), 0, Server())


def begins_otherwise(_: object, config: Config, server_state: object, app_state: dict[str, Any]) -> None:
    """Begin as another protocol would, which sets nothing and takes no loop."""


def test_attributes_and_parameters_that_uvicorn_has_no_more_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestResponseCycle, "__init__", begins_otherwise)
    monkeypatch.setattr(HttpToolsProtocol, "__init__", begins_otherwise)

    found = bounded.missing()

    assert {"HttpToolsProtocol.parser", "HttpToolsProtocol.__init__", "RequestResponseCycle.response_started"} <= {
        *found
    }
    assert missing() == ["HttpToolsProtocol.app", "HttpToolsProtocol.tasks", "HttpToolsProtocol.__init__"]
