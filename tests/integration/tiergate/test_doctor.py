"""The doctor, beside servers that are not Tiergate's."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.integration.tiergate.test_database_command import EXAMPLE, SECRETS
from tiergate.cli.main import cli


class Stranger(BaseHTTPRequestHandler):
    said = b"hello"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.said)


class Layer(Stranger):
    said = (
        b'{"salesforce": "ok", "salesforce changes": "ok, last read 7 s ago", '
        b'"crm-fr changes": "last read 640 s ago; the last look failed: crm: it refuses what is asked"}'
    )


@contextmanager
def serving(handler: type[Stranger]) -> Generator[int]:
    """Yield the port of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def port() -> Generator[int]:
    """Return the port of a server that is no layer."""
    with serving(Stranger) as taken:
        yield taken


def test_the_doctor_says_that_something_else_answers_at_the_port_of_a_layer(port: int, tmp_path: Path) -> None:
    ports = {f"TIERGATE_SERVER_{layer}_PORT": str(port) for layer in ("SYSTEM", "PROCESS", "EXPERIENCE")}
    urls = {
        f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{port}"
        for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
    }
    environment = SECRETS | ports | urls | {"TIERGATE_FOLDER": str(tmp_path), "COLUMNS": "300"}

    done = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)

    assert done.exit_code == 3
    for layer in ("system", "process", "experience"):
        assert f"{layer} layer at http://127.0.0.1:{port}: something else answers there" in done.stdout
        assert f"give it another server.{layer}_port" in done.stdout


def test_the_doctor_says_how_old_the_last_good_look_at_each_change_feed_is(tmp_path: Path) -> None:
    with serving(Layer) as port:
        environment = SECRETS | {
            "TIERGATE_SERVER_SYSTEM_PORT": str(port),
            "TIERGATE_FOLDER": str(tmp_path),
            "COLUMNS": "300",
        }
        environment |= {
            f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{port}"
            for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
        }
        done = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)

    assert "ok      system layer: salesforce changes: last read 7 s ago" in done.stdout
    assert f"missing system layer at http://127.0.0.1:{port}: crm-fr changes: last read 640 s ago" in done.stdout
