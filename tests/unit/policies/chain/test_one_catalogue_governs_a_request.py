"""A catalogue that changes while a request is on its way governs the next request, on the long way and the short
one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from limits.aio.storage import MemoryStorage
from litestar.testing import TestClient
from litestar.types import ASGIApp

from policies.chain.passthrough import Passthrough, passthrough_routes
from policies.identity.authentication import Principal
from policies.outbound.layer_client import LayerResponse
from tests.support.governed_app import CATALOGUE, Door

SEES = 'sees = { scope = "shop:read", tier = "t", idempotency = "safe" }'
CHANGES = {
    "client removed": ("[clients.someone]", "[clients.somebody-else]", 401),
    "tier renamed": ("many", "few", 200),
    "entities taken away": ('legal_entities = ["*"]', "legal_entities = []", 200),
    "another scope needed": (SEES, SEES.replace("shop:read", "shop:write"), 403),
    "operation removed": (SEES, "", 200),  # refused: it is served
}


class SharedCounts(MemoryStorage):
    """A storage that takes its time, in which something happens."""

    meanwhile: Callable[[], None]

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        await asyncio.sleep(0)
        self.meanwhile()
        return await super().incr(key, expiry, amount)


def passing_through(door: Door) -> ASGIApp:
    async def fetch(principal: Principal, _: str) -> LayerResponse:
        return LayerResponse(200, msgspec.json.encode(sorted(principal.entities)), "application/json", None)

    return Passthrough(door.app, door.gate, passthrough_routes(door.app), fetch)


def the_whole_app(door: Door) -> ASGIApp:
    return door.app


@pytest.mark.parametrize("way", [the_whole_app, passing_through])
@pytest.mark.parametrize("during", ["authentication", "counting"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_request_ends_under_the_catalogue_it_began_with(
    tmp_path: Path, change: str, during: str, way: Callable[[Door], ASGIApp]
) -> None:
    old, new, afterwards = CHANGES[change]
    counts = SharedCounts()
    door = Door(tmp_path, counts)
    client: TestClient[Any] = TestClient(way(door), raise_server_exceptions=False)

    def change_the_catalogue() -> None:
        door.catalogue.write_text(CATALOGUE.replace(old, new))
        door.live_catalogue.look()

    door.while_fetching = change_the_catalogue if during == "authentication" else lambda: None
    counts.meanwhile = change_the_catalogue if during == "counting" else lambda: None
    first = client.get("/shop/v1/sees", headers=door.headers())
    counts.meanwhile = lambda: None
    second = client.get("/shop/v1/sees", headers=door.headers())

    assert (first.status_code, first.json()) == (200, ["*"])
    assert second.status_code == afterwards
