"""The image and the containers of one host: what goes in, and with which rights it runs."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.manifests import LAYERS, ROOT, compose, containerfile


def of(instruction: str) -> list[str]:
    return [arguments for name, arguments in containerfile() if name == instruction]


def test_the_linter_of_container_files_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([linter, ROOT / "deploy/Containerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_image_is_made_of_locked_packages_without_those_of_the_sandbox() -> None:
    installs = [part for run in of("RUN") for part in re.split(r" && ", run) if " pip install" in part]

    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)
    copied = " ".join(of("COPY"))
    assert "requirements/core.txt" in copied
    assert "requirements/sandbox.txt" not in copied
    assert "requirements/dev.txt" not in copied


def test_the_image_runs_as_nobody_else_and_is_asked_whether_it_lives() -> None:
    assert of("USER") == ["10001:10001"]
    assert len(of("HEALTHCHECK")) == 1
    assert of("ADD") == []
    assert of("CMD") == ['["sh", "-c", "exec tiergate serve \\"${LAYER:?is system, process or experience}\\""]']


def test_the_image_begins_with_a_named_version_that_a_digest_can_replace() -> None:
    assert of("FROM") == ["${PYTHON} AS build", "${PYTHON}"]
    assert of("ARG")[0] == "PYTHON=python:3.11-slim"


def test_the_image_says_what_it_is() -> None:
    (labels,) = of("LABEL")

    for each in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{each}=" in labels


def test_what_is_copied_is_there_and_is_let_through() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [each for copy in of("COPY") if not copy.startswith("--from") for each in copy.split()[:-1]]

    assert sorted(sources) == sorted(let_through)
    assert [each for each in sources if not (ROOT / each).exists()] == []


@contextmanager
def answering(status: int) -> Generator[tuple[int, list[str]]]:
    asked: list[str] = []

    class Layer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            del code, size

    server = http.server.HTTPServer(("127.0.0.1", 0), Layer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
def test_the_health_check_of_the_image_asks_its_layer(status: int, code: int) -> None:
    (check,) = of("HEALTHCHECK")
    _, *arguments = json.loads(check.partition("CMD ")[2])

    with answering(status) as (port, asked):
        environment = {"LAYER": "process", "TIERGATE_SERVER_PROCESS_PORT": str(port), "HTTP_PROXY": "http://nowhere"}
        done = subprocess.run([sys.executable, *arguments], env=environment, check=False, timeout=20)

    assert (done.returncode, asked) == (code, ["/health/live"])


@pytest.mark.parametrize("service", ["system", "process", "experience", "postgres", "redis", "nginx"])
def test_a_container_has_no_right_that_it_does_not_need(service: str) -> None:
    found = compose()["services"][service]

    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["tmpfs"]
    assert "privileged" not in found
    assert "mem_limit" in found
    assert "healthcheck" in found or service in LAYERS  # the image of the layers has one
    assert not found["image"].endswith(":latest")
    assert ":" in found["image"]


def test_nothing_is_reached_from_outside_but_nginx() -> None:
    services = compose()["services"]
    networks = compose()["networks"]

    assert {name for name, each in services.items() if "ports" in each} == {"nginx"}
    assert {name for name, each in networks.items() if each != {"internal": True}} == {"outside"}
    assert {name for name, each in services.items() if "outside" in each["networks"]} == {
        "nginx",
        "system",  # to the platforms
        "process",  # to the webhooks of partners
    }


def test_what_a_service_names_is_declared() -> None:
    found = compose()
    for each in found["services"].values():
        assert set(each.get("secrets", ())) <= found["secrets"].keys()
        assert {config["source"] for config in each.get("configs", ())} <= found["configs"].keys()
        assert {volume.partition(":")[0] for volume in each.get("volumes", ())} <= found["volumes"].keys()
        assert set(each["networks"]) <= found["networks"].keys()
        assert set(each.get("depends_on", ())) <= found["services"].keys()


def test_no_file_of_a_secret_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "deploy"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert [each for each in listed.stdout.split() if "secrets/" in each or each.endswith((".pem", ".key"))] == []
    ignored = ["deploy/secrets/audit_key", "deploy/tiergate.toml"]
    done = subprocess.run(["git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ignored
