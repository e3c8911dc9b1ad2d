"""A server in the place of a layer, that answers what a test says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from dbos._dbos import _get_or_create_dbos_registry  # pyright: ignore[reportPrivateUsage]

from policies.http.client import EXCHANGE

Answer = Callable[[str, str, bytes], tuple[int, bytes]]
"""Takes the method, the path with its query and the body of a request. Returns status and body."""


@contextmanager
def answering(answer: Answer) -> Generator[str]:
    """Yield the address of a server that answers what a test says, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece: the second of two waits for a delayed acknowledgement (RFC 896)

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, content = answer(self.command, self.path, body)
            self.send_response_only(status)
            self.send_header("content-length", str(len(content)))
            self.send_header(EXCHANGE, self.headers[EXCHANGE])
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def no_workflows() -> Generator[None]:
    """Begin without the workflows that other tests have made in this process, and leave none behind."""
    registry = _get_or_create_dbos_registry()  # the engine has no public way to forget one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "instance_info_map", {})
        yield
