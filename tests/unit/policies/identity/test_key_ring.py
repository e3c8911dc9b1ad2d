"""Each state folder signs with keys of its own, and all replicas verify what any of them has signed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import jwt
import pytest

from policies.catalogue.check import load
from policies.identity.issuer import LONGEST, Issuer
from policies.identity.jwks import SigningKeys
from policies.identity.key_ring import BEFORE_USE, LIVES, KeyRing
from policies.store.documents import FileDocument
from tests.support.governed_app import NOW

CLIENT = load().clients["sales-app"]


class Replicas:
    """Replicas with folders of their own, which share what they publish."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def published(self) -> FileDocument:
        return FileDocument(self.folder / "published.json")

    def key_file(self, name: str) -> Path:
        return self.folder / name / "issuer.pem"

    def ring(self, name: str, days: float | None = 30.0) -> KeyRing:
        made = KeyRing(self.key_file(name), self.published, self.clock, by=name, days=days)
        made.tend()
        return made

    def verifies(self, ring: KeyRing, token: str) -> bool:
        """Return whether a replica finds the key of a token, as its verifier does."""
        keys = SigningKeys(ring.fetch, self.clock, pace=1.0, good_for=5.0)
        found = asyncio.run(keys.find(jwt.get_unverified_header(token)["kid"]))
        if found is None:
            return False
        jwt.decode(
            token, found.public, algorithms=[found.algorithm], options={"verify_aud": False, "verify_exp": False}
        )
        return True

    def token(self, ring: KeyRing) -> str:
        return Issuer(ring, self.clock).token("sales-app", CLIENT)


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path)


def test_replicas_that_have_copied_nothing_take_each_others_tokens(replicas: Replicas) -> None:
    first, second = replicas.ring("first"), replicas.ring("second")

    assert first.signs.key_id != second.signs.key_id
    assert replicas.verifies(second, replicas.token(first))
    assert replicas.verifies(first, replicas.token(second)), "also of one that came later"


def test_what_is_published_has_no_private_key(replicas: Replicas) -> None:
    replicas.ring("first")

    assert b'"d"' not in replicas.published.read()
    assert b"PRIVATE" not in replicas.published.read()


def test_of_processes_that_start_at_once_in_one_folder_all_sign_with_one_key(replicas: Replicas) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(replicas.ring, ["shared"] * 4))

    for each in made:
        each.tend()
    assert len({each.signs.key_id for each in made}) == 1


def test_a_new_key_signs_when_all_know_it_and_the_one_before_verifies_as_long_as_its_tokens_live(
    replicas: Replicas,
) -> None:
    ring, other = replicas.ring("first"), replicas.ring("other", days=0)
    old, before = replicas.token(ring), ring.signs.key_id
    for _ in range(31 * 24):
        replicas.pass_by(3600)
        ring.tend()
        other.tend()
        if replicas.key_file("first").read_bytes().count(b"BEGIN") > 1:
            break
    assert ring.signs.key_id == before, "nobody else knows the new one yet"

    replicas.pass_by(BEFORE_USE - 10)
    ring.tend()
    late = replicas.token(ring)
    assert ring.signs.key_id == before

    replicas.pass_by(BEFORE_USE)
    ring.tend()
    assert ring.signs.key_id != before
    assert replicas.key_file("first").read_bytes().count(b"BEGIN") == 1, "nothing is signed with the old one any more"
    assert replicas.verifies(other, replicas.token(ring))
    assert replicas.verifies(other, late)

    replicas.pass_by(LONGEST)
    ring.tend()
    other.tend()
    assert replicas.verifies(other, late)
    replicas.pass_by(LIVES)
    ring.tend()
    other.tend()
    assert not replicas.verifies(other, old)


def test_a_key_is_rotated_by_hand_without_a_refusal(replicas: Replicas) -> None:
    ring, other = replicas.ring("first", days=0), replicas.ring("other")
    before = replicas.token(ring)

    made = ring.follow()

    assert ring.signs.key_id != made
    replicas.pass_by(BEFORE_USE + 1)
    ring.tend()
    assert ring.signs.key_id == made
    assert replicas.verifies(other, replicas.token(ring))
    assert replicas.verifies(other, before)


def test_a_key_that_is_withdrawn_verifies_nowhere_and_its_replica_signs_with_another_at_once(
    replicas: Replicas,
) -> None:
    ring, other = replicas.ring("first", days=0), replicas.ring("other")
    stolen, key_id = replicas.token(ring), ring.signs.key_id

    assert other.withdraw(key_id)
    assert not other.withdraw("unknown")

    other.tend()
    assert not replicas.verifies(other, stolen)
    assert not replicas.verifies(ring, stolen)
    assert replicas.verifies(other, replicas.token(ring))


def test_a_replica_that_was_away_does_not_bring_a_withdrawn_key_back(replicas: Replicas) -> None:
    stolen = replicas.token(replicas.ring("first"))
    content = replicas.key_file("first").read_bytes()
    other = replicas.ring("other")
    other.withdraw(jwt.get_unverified_header(stolen)["kid"])
    replicas.pass_by(100 * 24 * 3600)
    replicas.ring("other")
    replicas.key_file("first").write_bytes(content)

    back = replicas.ring("first")

    assert jwt.get_unverified_header(replicas.token(back))["kid"] != jwt.get_unverified_header(stolen)["kid"]
    assert not replicas.verifies(back, stolen)


def test_the_key_of_a_replica_that_is_gone_ends(replicas: Replicas) -> None:
    token, other = replicas.token(replicas.ring("gone")), replicas.ring("other")
    assert replicas.verifies(other, token)

    replicas.pass_by(LIVES + 1)

    assert not replicas.verifies(other, token)


def test_a_key_file_that_somebody_else_sees_to_is_never_written(replicas: Replicas) -> None:
    with pytest.raises(FileNotFoundError):
        replicas.ring("named", days=None)
    replicas.ring("named")
    before = replicas.key_file("named").read_bytes()
    ring = replicas.ring("named", days=None)
    ring.withdraw(ring.signs.key_id)
    replicas.pass_by(1000 * 24 * 3600)

    ring.tend()

    assert replicas.key_file("named").read_bytes() == before


@pytest.mark.parametrize("content", [b"no key", b"-----BEGIN X-----\nAAAA\n-----END X-----\n"])
def test_a_file_that_holds_no_key_is_refused_and_stays_as_it_is(replicas: Replicas, content: bytes) -> None:
    path = replicas.key_file("first")
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"key|PEM"):
        replicas.ring("first")

    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"keys":{"a":{"jwk":{"kid":"b"},"since":0,"until":1e12}}}'])
def test_what_no_replica_has_published_counts_for_nothing(replicas: Replicas, content: bytes) -> None:
    replicas.published.change(lambda _: content)

    ring = replicas.ring("first")

    assert [each["kid"] for each in ring.public()] == [ring.signs.key_id]


def test_keys_that_are_known_go_on_while_what_is_published_cannot_be_read(replicas: Replicas) -> None:
    first, second = replicas.ring("first"), replicas.ring("second")
    first.tend()
    token = replicas.token(second)
    (replicas.folder / "published.json").unlink()
    (replicas.folder / "published.json").mkdir()

    assert replicas.verifies(first, token)
    assert first.trouble
