"""Revocations that are lost, or cannot be read at a start, open nothing; and what is refused for it is bounded."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from policies.identity.issuer import Issuer
from policies.identity.revocation import RevocationDocument, Revocations
from policies.store.documents import FileDocument, StoreAway
from tests.support.governed_app import GOVERNOR, NOW, READER, Door

BEFORE = NOW.timestamp() - 60
LATER = NOW + timedelta(minutes=5)


class Away(RevocationDocument):
    async def read(self) -> bytes:
        raise StoreAway("ConnectionError")


def at(moment: datetime, path: Path, kind: type[RevocationDocument] = RevocationDocument) -> Revocations:
    return Revocations(kind(FileDocument(path)), lambda: moment)


def refuses(revocations: Revocations, issued_at: float, jti: str = "t") -> bool:
    return revocations.current.covers(jti, "c", issued_at)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "revoked.json"


def test_a_file_that_is_removed_while_a_layer_runs_opens_nothing(path: Path) -> None:
    running = at(NOW, path)
    asyncio.run(running.revoke(token="bad"))
    path.unlink()

    asyncio.run(running.look())

    assert refuses(running, BEFORE, "bad")
    assert refuses(running, BEFORE, "another"), "it may have been revoked by another replica just before"
    assert "are refused" in running.said


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_a_file_that_is_lost_or_broken_before_a_start_opens_nothing(path: Path, content: bytes | None) -> None:
    asyncio.run(at(NOW, path).revoke(token="bad"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    started, other = at(LATER, path), at(LATER, path)
    asyncio.run(started.look())
    asyncio.run(other.look())

    assert refuses(started, NOW.timestamp(), "bad")
    assert refuses(other, NOW.timestamp(), "bad")
    assert not refuses(started, LATER.timestamp()), "what is issued from now on is good"


def test_a_command_that_begins_the_file_again_opens_nothing(path: Path) -> None:
    running = at(NOW, path)
    asyncio.run(running.revoke(token="bad"))
    path.unlink()

    asyncio.run(at(LATER, path).revoke(token="another"))
    asyncio.run(running.look())

    assert refuses(running, NOW.timestamp(), "bad")


def test_a_store_that_is_away_at_a_start_opens_nothing_that_was_issued_before(path: Path) -> None:
    started = at(NOW, path, Away)

    asyncio.run(started.try_to_look())

    assert refuses(started, BEFORE)
    assert not refuses(started, NOW.timestamp())
    assert started.said == "cannot be read (ConnectionError); tokens issued before 2026-03-01T12:00:00Z are refused"


def test_what_is_refused_for_it_is_said_for_as_long_as_such_a_token_may_be_valid(path: Path) -> None:
    asyncio.run(at(NOW, path).look())
    during, after = at(NOW + timedelta(hours=23), path), at(NOW + timedelta(hours=25), path)
    asyncio.run(during.look())
    asyncio.run(after.look())

    assert during.said.startswith("ok, tokens issued before 2026-03-01T12:00:00Z are refused")
    assert after.said == "ok"


def test_a_file_of_an_older_version_is_complete(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"tokens":{"bad":1.0},"clients":{}}')
    started = at(NOW, path)

    asyncio.run(started.look())

    assert refuses(started, BEFORE, "bad")
    assert not refuses(started, BEFORE)
    assert started.said == "ok"


def test_to_look_without_a_right_to_change_begins_nothing(path: Path) -> None:
    assert not asyncio.run(at(NOW, path).peek())
    assert not path.exists()


def test_an_issuer_signs_nothing_that_is_refused_at_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    asyncio.run(door.revocations.revoke(client="someone"))
    issuer = Issuer(door.keys, door.clock, door.revocations)

    with door.client:
        authorization = {"authorization": f"Bearer {issuer.token('someone', READER)}"}
        assert door.client.get("/shop/v1/read", headers=authorization).status_code == 200


def test_readiness_says_that_revocations_cannot_be_read(tmp_path: Path) -> None:
    door = Door(tmp_path)

    def said() -> str:
        with door.client:
            return door.client.get("/health/ready", headers=door.headers(GOVERNOR)).json()["revocations"]

    before = said()
    (tmp_path / "revoked.json").unlink()
    (tmp_path / "revoked.json").mkdir()

    assert before == "ok"
    assert "cannot be read (IsADirectoryError)" in said()
