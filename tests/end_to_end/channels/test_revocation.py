"""What is revoked is refused everywhere within five seconds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import jwt
import pytest

from canonical.ids import utc_now
from policies.identity.revocation import KEY, RevocationDocument, Revocations, RevocationStore, Revoked
from policies.store.documents import FileDocument, StoreAway
from policies.store.shared_redis import RedisDocument
from tests.end_to_end.command_line.test_command_line import run
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.redis_server import RedisServer


async def seen_by_another(store: RevocationStore, other: RevocationStore) -> tuple[bool, bool]:
    """Return whether what one replica revokes is covered by the other, and something else is not."""
    first, second = Revocations(store, utc_now), Revocations(other, utc_now)
    await second.look()
    await first.revoke(token="a")
    await first.revoke(client="c")
    await second.look()
    now = utc_now().timestamp()
    return (
        second.current.covers("a", "x", now) and second.current.covers("b", "c", now - 1),
        second.current.covers("b", "x", now) or second.current.covers("b", "c", now + 1),
    )


def test_replicas_on_one_machine_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "revoked.json"

    assert asyncio.run(
        seen_by_another(RevocationDocument(FileDocument(path)), RevocationDocument(FileDocument(path)))
    ) == (True, False)


def test_replicas_on_many_machines_share_redis(redis_server: RedisServer) -> None:
    stores = RedisDocument(redis_server.url, KEY, 1.0), RedisDocument(redis_server.url, KEY, 1.0)

    assert asyncio.run(seen_by_another(*stores)) == (True, False)


class Failing(RedisDocument):
    """Says when it has failed for the second time: the caller went on after the first."""

    def __init__(self, url: str) -> None:
        super().__init__(url, KEY, 0.2)
        self.failures = 0
        self.failed_twice = asyncio.Event()

    async def read(self) -> bytes:
        try:
            return await super().read()
        except StoreAway:
            self.failures += 1
            if self.failures == 2:
                self.failed_twice.set()
            raise


def test_when_redis_is_away_what_is_known_goes_on_counting(redis_server: RedisServer) -> None:
    async def watch() -> bool:
        store = Failing(redis_server.url)
        revocations = Revocations(store, utc_now)
        await revocations.revoke(token="a")
        redis_server.kill()
        watching = asyncio.create_task(revocations.watch())
        await asyncio.wait_for(store.failed_twice.wait(), 10)
        alive = not watching.done()
        watching.cancel()
        return alive and revocations.current.covers("a", "c", 0)

    assert asyncio.run(watch())


def test_what_is_older_than_any_token_is_forgotten(tmp_path: Path) -> None:
    now = utc_now()

    async def revoke() -> Revocations:
        nonlocal now
        revocations = Revocations(RevocationDocument(FileDocument(tmp_path / "revoked.json")), lambda: now)
        await revocations.revoke(token="old", client="old")
        now += timedelta(days=2)
        await revocations.revoke(token="new")
        return revocations

    assert asyncio.run(revoke()).current.tokens.keys() == {"new"}


def test_the_command_revokes_a_token_in_a_running_layer_within_five_seconds(environment: Environment) -> None:
    config = ("--config", str(environment.sandbox.config))

    token = run("token", "finance-app", *config).stdout.strip()
    headers = {"authorization": f"Bearer {token}"}
    url = f"{environment.sandbox.url('experience')}/finance/v1/postings"
    assert httpx.get(url, headers=headers).status_code == 200

    done = run("revoke", "--token", jwt.decode(token, options={"verify_signature": False})["jti"], *config)

    assert done.returncode == 0, done.stderr
    wait_until(lambda: httpx.get(url, headers=headers).status_code == 401, 5, "the token is refused")
    assert httpx.get(url, headers=environment.channels.headers("finance-app")).status_code == 200
    assert run("revoke", *config).returncode == 2


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_of_many_revocations_at_once_none_is_lost(tmp_path: Path, redis_server: RedisServer, kind: str) -> None:
    async def revoke() -> Revoked:
        def store() -> RevocationStore:
            return (
                RevocationDocument(FileDocument(tmp_path / "revoked.json"))
                if kind == "file"
                else RedisDocument(redis_server.url, KEY, 5.0)
            )

        await asyncio.gather(*(Revocations(store(), utc_now).revoke(token=str(number)) for number in range(20)))
        seen = Revocations(store(), utc_now)
        await seen.look()
        return seen.current

    assert asyncio.run(revoke()).tokens.keys() == {str(number) for number in range(20)}
