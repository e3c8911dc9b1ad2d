"""Takes webhooks on loopback, for tests that look at what a stand-in sends."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver:
    """Keeps the body and the signature of each webhook; refuses the first `refusals` of them."""

    def __init__(self, refusals: int) -> None:
        self.got: list[tuple[bytes, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((body, self.headers["stripe-signature"]))
                self.send_response(500 if len(receiver.got) <= refusals else 200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@contextmanager
def receiving(refusals: int = 0) -> Generator[Receiver]:
    """Yield a receiver that runs until the block ends."""
    made = Receiver(refusals)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()
