"""The keys of an issuer are read once for all who need them at the same time."""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policies.identity.jwks import Jwk, SigningKeys
from policies.identity.key_ring import public_jwk
from tests.support.governed_app import NOW

KEY = public_jwk(Ed25519PrivateKey.generate())


def test_all_who_ask_while_the_keys_are_read_for_the_first_time_get_them() -> None:
    asked = 0

    async def fetch() -> list[Jwk]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.02)
        return [KEY]

    async def ask() -> list[object]:
        keys = SigningKeys(fetch, lambda: NOW)
        return list(await asyncio.gather(*(keys.find(KEY["kid"]) for _ in range(50))))

    assert None not in asyncio.run(ask())
    assert asked == 1
