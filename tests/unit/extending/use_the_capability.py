"""Uses the capability of the guide in a process layer that has it: its event, what is due, its cases and its route."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from canonical.ids import utc_now
from tests.support.platforms import wait_until
from tiergate import composition
from tiergate.settings import Settings

EVENT = {
    "id": "1",
    "source": "crm/europe",
    "type": "com.tiergate.crm.contract.announced.v1",
    "subject": "con_1",
    "time": utc_now().isoformat(),
}


def main() -> None:
    """Say each thing once it was seen to work, and check that its durable names are written down."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    settings = Settings(folder=str(folder))
    with TestClient(composition.process_app(settings, composition.records(settings))) as client:
        use(client, lambda name: token(settings, name))
    raise SystemExit(pytest.main(["-q", "tests/unit/process_apis/test_durable_names.py", "-k", "written"]))


def token(settings: Settings, name: str) -> dict[str, str]:
    client = composition.open_catalogue(settings).current.clients[name]
    return {"Authorization": f"Bearer {composition.issuer(settings).token(name, client)}"}


def use(client: TestClient[Any], headers: Callable[[str], dict[str, str]]) -> None:
    people = headers("experience-layer")

    def cases() -> list[dict[str, Any]]:
        return client.get("/process/v1/cases?state=open", headers=people).json()["items"]

    def act(action: str) -> None:
        (case,) = cases()
        body = {"action": action, "reason": "the customer knows"}
        found = client.post(f"/process/v1/cases/{case['id']}/actions", json=body, headers=people)
        assert found.json()["state"] == "resolved", found.text

    taken = client.post("/process/v1/events", json=EVENT, headers=headers("system-layer"))
    assert taken.json() == {"new": True}, taken.text
    wait_until(lambda: len(cases()) == 1, 10, "a case")
    say("reacted")
    assert client.get("/process/v1/reminders", headers=people).json() == 1
    say("routed")
    act("retry")
    wait_until(lambda: len(cases()) == 1, 10, "another case")
    say("asked again")
    act("skip")
    assert cases() == []
    say("left")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
