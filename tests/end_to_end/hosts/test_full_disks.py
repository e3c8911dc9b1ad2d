"""Layers on a disk without room: they start, or end in a sentence, and need no hands when there is room again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.events import CUSTOMER_CHANGED
from canonical.ids import utc_now
from policies.catalogue.model import Layer
from tests.end_to_end.hosts.network import Disk
from tests.integration.tiergate.test_database_command import EXAMPLE, SECRETS
from tests.support.platforms import wait_until
from tiergate.composition import issuer, open_catalogue, readiness_token
from tiergate.dev.ports import free_port
from tiergate.settings import load

ORDER = {
    "customer_id": "cus_019aba7c5e0e7c4e8f3b7d1a2c9e4f60",
    "name": "Buyer",
    "legal_entity": "DE01",
    "currency": "EUR",
    "starts_on": "2026-11-01",
    "lines": [{"sku": "SEAT", "quantity": 25}],
    "term_months": 12,
}
EVENT = {
    "id": "1",
    "source": "crm/salesforce",
    "type": CUSTOMER_CHANGED,
    "subject": "cus_1",
    "time": utc_now().isoformat(),
}


class Served:
    """A layer by itself: its neighbours and platforms are away."""

    def __init__(self, layer: Layer, folder: Path, variables: dict[str, str]) -> None:
        self.layer: Layer = layer
        nowhere = {
            f"TIERGATE_PLATFORMS_{each}_URL": "http://127.0.0.1:9"
            for each in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
        }
        ports = {f"TIERGATE_SERVER_{each}_PORT": str(free_port()) for each in ("SYSTEM", "PROCESS", "EXPERIENCE")}
        self._variables = SECRETS | nowhere | ports | {"TIERGATE_FOLDER": str(folder)} | variables
        self.settings = load(EXAMPLE, self._variables)
        self.url = f"http://127.0.0.1:{ports[f'TIERGATE_SERVER_{layer.upper()}_PORT']}"

    @contextmanager
    def running(self) -> Generator[None]:
        child = self.start()
        try:
            wait_until(lambda: self.is_live() or child.poll() is not None, 20, "it is served")
            assert child.poll() is None, child.communicate()[1]
            yield
        finally:
            child.terminate()
            child.communicate(timeout=20)

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tiergate", "serve", self.layer, "--config", str(EXAMPLE)]
        return subprocess.Popen(command, env=os.environ | self._variables, stderr=subprocess.PIPE, text=True)

    def is_live(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def readiness(self) -> dict[str, str]:
        token = readiness_token(self.layer, self.settings, open_catalogue(self.settings).current)
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(f"{self.url}/health/ready", headers=headers, timeout=5).json()

    def place(self) -> httpx.Response:
        return self.post("reseller-nord", "/partners/v2/orders", ORDER, **{"idempotency-key": "one"})

    def take(self) -> httpx.Response:
        return self.post("system-layer", "/process/v1/events", EVENT)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=self._authorized("experience-layer"), timeout=20)

    def post(self, client: str, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers | self._authorized(client), timeout=20)

    def _authorized(self, client: str) -> dict[str, str]:
        found = open_catalogue(self.settings).current.clients[client]
        return {"authorization": f"Bearer {issuer(self.settings).token(client, found)}"}


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    with Disk.mounted(tmp_path / "disk") as made:
        yield made


def test_a_system_layer_starts_on_a_full_disk_and_says_so_until_there_is_room(disk: Disk) -> None:
    served = Served("system", disk.folder / "state", {})
    with served.running():
        pass
    disk.fill()
    with served.running():
        full = served.readiness()
        disk.empty()
        wait_until(lambda: "disk" not in served.readiness(), 10, "there is room")

    assert full["disk"] == "0 KiB are free: writes are refused when there is none"


def test_an_experience_layer_starts_on_a_full_disk_and_refuses_writes_until_there_is_room(disk: Disk) -> None:
    served = Served("experience", disk.folder / "state", {})
    with served.running():
        pass
    disk.fill()
    with served.running():
        full, refused = served.readiness(), served.place()
        disk.empty()
        forwarded = wait_until(lambda: asked(served.place()), 10, "the next layer is asked")

    assert "disk" in full
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
    assert forwarded == "process"


def asked(answer: httpx.Response) -> str:
    """Return the layer that an answer says is away: a write was let through to it."""
    return answer.json().get("platform", "")


def test_a_process_layer_whose_database_has_no_room_refuses_writes_and_goes_on_by_itself(
    disk: Disk, tmp_path: Path
) -> None:
    served = Served(
        "process", tmp_path / "state", {"TIERGATE_PROCESS_DATABASE_URL": f"sqlite:///{disk.folder}/p.sqlite"}
    )
    with served.running():
        disk.fill()
        refused = served.take()
        full = wait_until(lambda: engine_trouble(served), 20, "it is said")
        read = served.get("/process/v1/orders")
        disk.empty()
        wait_until(lambda: not engine_trouble(served), 20, "it goes on")
        taken = served.take()

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/platform-unavailable")
    assert full.startswith("nothing could be written for ")
    assert (read.status_code, taken.json()) == (200, {"new": True})


def engine_trouble(served: Served) -> str:
    said = served.readiness()["engine"]
    return "" if said == "ok" else said


@pytest.mark.extended
@pytest.mark.parametrize(
    ("layer", "is_used"), [("system", False), ("experience", False), ("process", False), ("process", True)]
)
def test_a_layer_that_cannot_start_on_a_full_disk_ends_in_a_sentence_and_starts_when_there_is_room(
    disk: Disk, layer: Layer, *, is_used: bool
) -> None:
    served = Served(layer, disk.folder / "state", {})
    if is_used:
        with served.running():
            pass
    disk.fill()
    child = served.start()
    _, said = child.communicate(timeout=30)
    disk.empty()
    with served.running():
        ready = served.readiness()

    assert child.returncode == 3  # deploy/ starts a layer again that has ended so
    assert said.count("\n") == 1
    assert said.startswith("tiergate: ")
    assert " room" in said
    assert "disk" not in ready
