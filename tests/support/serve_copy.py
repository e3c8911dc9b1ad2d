"""A program that runs in a copy of the source tree.

It writes the copy's contracts, answers the requests of standard input with its experience layer, and writes the answers
to `served.json`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from litestar.testing import TestClient

import tiergate
from policies.catalogue.check import load
from tiergate import composition
from tiergate.contracts import checks
from tiergate.contracts.write import write
from tiergate.settings import Server, Settings

HERE = Path.cwd()


def main() -> None:
    assert Path(tiergate.__file__).is_relative_to(HERE), "this is not the copy"
    contracts = HERE / "openapi"
    checks.release(contracts)  # what was there before is what must not break
    write(contracts)
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(server=Server(process_url="http://127.0.0.1:9"), folder=folder)
        clients, issuer = load().clients, composition.issuer(settings)
        with TestClient(composition.experience_app(settings)) as client:
            for number, asked in enumerate(msgspec.json.decode(sys.stdin.buffer.read())):
                headers = {"idempotency-key": f"key-{number}"} if asked["method"] != "GET" else {}
                if name := asked["client"]:
                    headers["authorization"] = f"Bearer {issuer.token(name, clients[name])}"
                answer = client.request(asked["method"], asked["path"], json=asked["body"], headers=headers)
                while answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                    time.sleep(float(answer.headers["retry-after"]))
                    answer = client.request(asked["method"], asked["path"], json=asked["body"], headers=headers)
                body = answer.json() if "json" in answer.headers["content-type"] else answer.text
                answers.append({"status": answer.status_code, "headers": dict(answer.headers), "body": body})
    released = {path.name: path.read_bytes() for path in (contracts / checks.RELEASED).iterdir()}
    changed = [path for path in contracts.glob("*.json") if path.read_bytes() != released.get(path.name)]
    breaks = [*map(str, checks.breaks(contracts))]
    result = {"answers": answers, "breaks": breaks, "style": checks.style(contracts, *changed)}
    (HERE / "served.json").write_bytes(msgspec.json.encode(result))  # the log has the standard output


if __name__ == "__main__":
    main()
