"""Guessing at the token endpoint: nobody is locked out by somebody else, and no name is given away."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import argon2
import httpx
import jwt
import pytest

from policies.identity.client_secrets import FREE, ClientSecrets
from policies.store.documents import FileDocument
from tiergate import composition
from tiergate.settings import load

T = TypeVar("T")
HERE, THERE = "192.0.2.1", "198.51.100.7"
MANY = 21
"""So many are too many also where a minute ends in between."""
GRANT = {"grant_type": "client_credentials"}
Ask = Callable[[str, str, str], Awaitable[httpx.Response]]


class Endpoint:
    """The token endpoint of an experience layer in this process."""

    def __init__(self, folder: Path) -> None:
        config = folder / "tiergate.toml"
        config.write_text(f'folder = "{folder}"\n')
        self.settings = load(config, {})
        self.secrets = ClientSecrets(FileDocument(self.settings.client_secrets()))
        self.parts = composition.experience_parts(self.settings)
        self.app = composition.experience_app(self.settings, self.parts)

    async def ask(self, name: str, secret: str, peer: str = HERE) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(peer, 50000))  # pyright: ignore[reportArgumentType]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post("/oauth/token", auth=(name, secret), data=GRANT)


@pytest.fixture(autouse=True)
def cheap_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a digest take a tenth of its time: what is tested is how often one is made."""
    monkeypatch.setattr(argon2, "PasswordHasher", partial(argon2.PasswordHasher, time_cost=1, memory_cost=16 * 1024))


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(tmp_path)


def test_a_client_is_not_locked_out_by_guesses_from_elsewhere(endpoint: Endpoint) -> None:
    secret = endpoint.secrets.make("sales-app")

    async def attack() -> tuple[list[int], int]:
        guesses = [(await endpoint.ask("sales-app", f"tgs_{each}", THERE)).status_code for each in range(MANY)]
        return guesses, (await endpoint.ask("sales-app", secret)).status_code

    guesses, own = asyncio.run(attack())

    assert 429 in guesses
    assert own == 200


def test_a_client_that_was_let_in_before_is_let_in_from_the_address_of_who_guesses(endpoint: Endpoint) -> None:
    """Behind a proxy all come from one address."""
    secret = endpoint.secrets.make("sales-app")

    async def attack() -> int:
        assert (await endpoint.ask("sales-app", secret)).status_code == 200
        for each in range(MANY):
            await endpoint.ask("sales-app", f"tgs_{each}")
        return (await endpoint.ask("sales-app", secret)).status_code

    assert asyncio.run(attack()) == 200


def test_a_secret_that_is_forgotten_is_not_known_from_before(endpoint: Endpoint) -> None:
    secret = endpoint.secrets.make("sales-app")

    async def use() -> tuple[int, int]:
        before = await endpoint.ask("sales-app", secret)
        endpoint.secrets.forget("sales-app")
        return before.status_code, (await endpoint.ask("sales-app", secret)).status_code

    assert asyncio.run(use()) == (200, 401)


def test_a_name_that_no_client_has_is_answered_as_one_that_a_client_has(endpoint: Endpoint) -> None:
    endpoint.secrets.make("sales-app")

    async def answers(name: str) -> set[str]:
        asked = [await endpoint.ask(name, "tgs_wrong") for _ in range(MANY)]
        return {f"{each.status_code} {each.json().get('error', each.json().get('type'))}" for each in asked}

    async def all_of_them() -> list[set[str]]:
        return [await answers("nobody"), await answers("sales-app"), await answers("finance-app")]

    nobody, with_a_secret, without = asyncio.run(all_of_them())

    assert nobody == with_a_secret == without == {"401 invalid_client", "429 /problems/throttled"}


def cpu_of(act: Awaitable[T]) -> float:
    async def measured() -> None:
        await act

    began = time.process_time()
    asyncio.run(measured())
    return time.process_time() - began


def test_a_wrong_guess_takes_as_long_for_every_name(tmp_path: Path) -> None:
    secrets = ClientSecrets(FileDocument(tmp_path / "client-secrets.json"))
    secrets.make("one")
    for _ in range(2):
        secrets.make("two")

    spent = dict.fromkeys(("nobody", "one", "two"), math.inf)
    for _ in range(20):  # what else the machine does only ever adds to it
        spent = {name: min(least, cpu_of(secrets.prove(name, "wrong"))) for name, least in spent.items()}
        if max(spent.values()) < 1.5 * min(spent.values()):
            return
    raise AssertionError(spent)


def test_many_wrong_guesses_slow_down_and_lock_nobody_out(tmp_path: Path) -> None:
    now = 0.0
    secrets = ClientSecrets(FileDocument(tmp_path / "client-secrets.json"), lambda: now)
    secret = secrets.make("sales-app")
    fast = vars(secrets)
    fast["_wrong"] = FREE + 1

    async def timed() -> tuple[bool, float]:
        began = time.monotonic()
        return await secrets.prove("sales-app", secret), time.monotonic() - began

    proved, seconds = asyncio.run(timed())
    assert (proved, seconds >= 0.25) == (True, True)
    assert asyncio.run(secrets.was_proved("sales-app", secret)), "and the next time at once"
    assert not asyncio.run(secrets.was_proved("finance-app", secret))
    now = 2.0
    assert vars(secrets)["_wrong"] - now < FREE, "one is forgiven each second"


def test_a_token_is_never_handed_out_again(endpoint: Endpoint) -> None:
    secret = endpoint.secrets.make("sales-app")

    async def ask() -> tuple[str, str, bool]:
        first = (await endpoint.ask("sales-app", secret)).json()["access_token"]
        await endpoint.parts.gate.revocations.revoke(client="sales-app")
        answer = (await endpoint.ask("sales-app", secret)).json()
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert answer["expires_in"] == 900
        covered = endpoint.parts.gate.revocations.current.covers(claims["jti"], "sales-app", claims["iat"])
        return first, answer["access_token"], covered

    first, second, covered = asyncio.run(ask())

    assert first != second
    assert not covered
