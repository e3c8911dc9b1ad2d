"""Another user of the machine reads nothing of the state, and holds none of its locks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canonical.ids import utc_now
from policies.identity.key_ring import KeyRing
from policies.store.documents import FileDocument
from policies.store.shared_store import SharedFileStore
from system_apis.feed_position import FeedPosition
from tiergate.cli.common import load_settings
from tiergate.doctor import examine
from tiergate.private_state import too_open

EARLIER = (
    "process.sqlite",
    "process.sqlite-wal",
    "revoked.json",
    "revoked.lock",
    "audit/system.jsonl",
    "cursors/salesforce",
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder as an earlier version left it."""
    folder = tmp_path / "state"
    for name in EARLIER:
        path = folder / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.touch(0o644)
        path.chmod(0o644)
    folder.chmod(0o755)
    (folder / "notes.txt").touch(0o644)
    (tmp_path / "tiergate.toml").write_text(f'folder = "{folder}"\n')
    return folder


def test_what_an_earlier_version_left_open_is_closed_at_the_next_start(state: Path) -> None:
    load_settings(state.parent / "tiergate.toml")

    assert {mode(state / each) for each in EARLIER} == {0o600}
    assert {mode(each) for each in (state, state / "audit", state / "cursors")} == {0o700}
    assert mode(state / "notes.txt") & 0o044, "what is none of ours stays as it is"


def test_a_folder_that_somebody_works_in_keeps_its_mode(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state)

    load_settings(state.parent / "tiergate.toml")

    assert (mode(state), mode(state / "revoked.json")) == (0o755, 0o600)


def test_a_link_leads_to_no_other_file(state: Path) -> None:
    elsewhere = state.parent / "elsewhere.json"
    elsewhere.touch(0o644)
    (state / "client-secrets.json").symlink_to(elsewhere)

    load_settings(state.parent / "tiergate.toml")

    assert mode(elsewhere) == 0o644


def test_the_doctor_says_what_is_too_open_and_changes_nothing(state: Path) -> None:
    secret = state.parent / "key"
    secret.touch(0o644)
    issuer = state.parent / "tokens.pem"
    KeyRing(issuer, FileDocument(state.parent / "published.json"), utc_now).tend()
    issuer.chmod(0o644)
    config = state.parent / "tiergate.toml"
    config.write_text(f"""folder = "{state}"
[governance]
issuer_key_file = "{issuer}"
[platforms.stripe]
url = "https://api.stripe.com"
api_key_file = "{secret}"
""")

    found = [each for each in examine(config) if each.state == "warning"]

    assert [each.what.partition(" has the mode ")[0] for each in found if "mode" in each.what] == [
        str(each) for each, _ in too_open(state)
    ]
    assert len(list(too_open(state))) == len(EARLIER) + 3
    assert [each.remedy for each in found if "secret" in each.what] == [f"chmod o= {issuer}", f"chmod o= {secret}"]


def test_what_a_command_creates_is_its_users_alone(tmp_path: Path) -> None:
    config = tmp_path / "tiergate.toml"
    config.write_text(f'folder = "{tmp_path}/state"\n')
    environment = os.environ | {"TIERGATE_CONFIG": str(config)}
    for command in (("token", "sales-app"), ("revoke", "--client", "sales-app"), ("client", "secret", "sales-app")):
        done = subprocess.run(
            [sys.executable, "-c", "import os; os.umask(0o022); from tiergate.cli.main import main; main()", *command],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {each.name: mode(each) for each in made if mode(each) & 0o077} == {}
    assert len(made) >= 5


def test_stores_that_a_program_opens_are_private_whatever_its_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        SharedFileStore(tmp_path / "state" / "system-shared.sqlite", utc_now)
        asyncio.run(FeedPosition(FileDocument(tmp_path / "cursors" / "salesforce")).write("1"))
    finally:
        os.umask(before)

    made = [tmp_path / "state", tmp_path / "cursors", *tmp_path.glob("*/*")]
    assert {each.name: mode(each) for each in made if mode(each) & 0o077} == {}
