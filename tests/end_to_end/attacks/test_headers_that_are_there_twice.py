"""A header of which two readers would take two values is refused, on the short way and on the long one."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.support.environment import Environment

SHORT, LONG = "/sales/v1/orders", "/sales/v1/orders?limit=1&limit=2"


def asked(environment: Environment, path: str, *headers: str) -> tuple[int, str]:
    """Send a read with just these headers. Return the status, and the detail of a problem."""
    url = urlsplit(environment.sandbox.url("experience"))
    lines = [f"GET {path} HTTP/1.1", *headers, "Connection: keep-alive", "", ""]
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        length = 0
        while line := answer.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(answer.read(length)).get("detail", "")


@pytest.mark.parametrize("path", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("name", ["Authorization", "Host", "Idempotency-Key", "Content-Type", "X-Correlation-Id"])
def test_a_header_that_is_there_twice_is_refused(environment: Environment, path: str, name: str) -> None:
    token = environment.channels.headers("sales-app")["authorization"]
    own = {"Host": "localhost", "Authorization": token, "X-Correlation-Id": "cor_1"}
    headers = [f"{each}: {value}" for each, value in own.items()]
    twice = own.get(name, "once")

    answer = asked(environment, path, *headers, f"{name}: {twice}", *([] if name in own else [f"{name}: {twice}"]))

    assert answer == (400, f"The header {name.lower()} is there twice: send it once.")


@pytest.mark.parametrize("path", [SHORT, LONG], ids=["short", "long"])
def test_a_request_without_a_host_is_refused(environment: Environment, path: str) -> None:
    token = environment.channels.headers("sales-app")["authorization"]

    assert asked(environment, path, f"Authorization: {token}") == (400, "The header host is missing: send it.")
    assert asked(environment, SHORT, "Host: localhost", f"Authorization: {token}")[0] == 200
