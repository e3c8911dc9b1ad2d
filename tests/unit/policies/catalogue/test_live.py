"""A changed catalogue governs at once; a wrong one is refused, and the old one stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from policies.catalogue import live
from policies.catalogue.live import LiveCatalogue, governed_by
from policies.catalogue.model import Catalogue
from tests.support.governed_app import CATALOGUE, GOVERNOR, Door

V1 = 'versions.v1 = { state = "active" }'


@pytest.fixture
def shop(tmp_path: Path) -> Door:
    return Door(tmp_path)


def govern(shop: Door, old: str, new: str) -> None:
    assert old in CATALOGUE
    shop.catalogue.write_text(CATALOGUE.replace(old, new))
    shop.live_catalogue.look()


def status(shop: Door) -> int:
    return shop.client.get("/shop/v1/read", headers=shop.headers()).status_code


def test_a_scope_that_is_taken_away_no_longer_opens_though_the_token_still_has_it(shop: Door) -> None:
    assert status(shop) == 200

    other = CATALOGUE[CATALOGUE.index("[clients.someone]") :].replace("someone", "other")
    govern(
        shop, '"shop:read", "shop:write"]\nlegal_entities = ["*"]', f'"shop:write"]\nlegal_entities = ["*"]\n{other}'
    )

    assert status(shop) == 403


def test_a_client_that_is_gone_is_no_longer_known(shop: Door) -> None:
    govern(shop, "[clients.someone]", "[clients.somebody-else]")

    assert status(shop) == 401


def test_legal_entities_that_are_taken_away_are_no_longer_seen(shop: Door) -> None:
    govern(shop, 'legal_entities = ["*"]', 'legal_entities = ["FR01"]')

    assert shop.client.get("/shop/v1/sees", headers=shop.headers()).json() == ["FR01"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('audience = "experience"', 'audience = "moon"', "'moon'"),
        (
            'read = { scope = "shop:read", tier = "t", idempotency = "safe" }\n',
            "",
            "operations.read: the experience layer serves it and has no rules for it; put it back",
        ),
        (
            V1,
            V1.replace("v1", "v2"),
            "apis.shop.versions.v1: the experience layer serves it and has no rules for it; put it back",
        ),
        (
            'write = { scope = "shop:write", tier = "t", idempotency = "natural" }',
            'write = { scope = "shop:write", tier = "t", idempotency = "safe" }',
            "apis.shop.operations.write.idempotency: it changes something",
        ),
        ("[apis.shop]", "[apis.shop", "not TOML"),
    ],
)
def test_a_wrong_catalogue_is_refused_and_said_and_the_old_one_stays(
    shop: Door, old: str, new: str, reason: str
) -> None:
    govern(shop, old, new)

    assert status(shop) == 200
    assert reason in shop.live_catalogue.refused
    ready = shop.client.get("/health/ready", headers=shop.headers(GOVERNOR)).json()["catalogue"]
    assert ready == "refused, the previous one governs: the log of this layer says why"

    govern(shop, "fast", "faster")

    assert shop.live_catalogue.refused == ""
    assert shop.client.get("/health/ready", headers=shop.headers(GOVERNOR)).json()["catalogue"] == "ok"


SYSTEM = """
[apis.store]
layer = "system"
owner = "somebody"
title = "Store"
audit_days = 60
versions.v1 = { state = "active" }

[apis.store.operations]
"""
KEEPER = """
[clients.keeper]
kind = "internal"
owner = "somebody"
tier = "many"
audience = "system"
apis = ["store"]
scopes = ["shop:read"]
legal_entities = ["*"]
"""


def test_a_catalogue_that_gives_a_served_operation_to_another_layer_is_refused(shop: Door) -> None:
    left = 'left = { scope = "shop:read", tier = "t", idempotency = "safe" }\n'

    shop.catalogue.write_text(CATALOGUE.replace(left, "") + KEEPER + SYSTEM + left)
    shop.live_catalogue.look()

    assert "left: the experience layer serves it and has no rules for it" in shop.live_catalogue.refused
    assert shop.client.get("/shop/v1/left", headers=shop.headers()).status_code == 200


def test_one_catalogue_governs_the_whole_of_what_a_request_does(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE)
    watched = LiveCatalogue(path)
    before = watched.current

    with governed_by(before):
        path.write_text(CATALOGUE.replace("daily = 100_000", "daily = 200_000"))
        watched.look()
        assert watched.current is before

    assert watched.current is watched.latest.catalogue
    assert watched.current is not before


def test_a_catalogue_that_is_gone_is_said_and_the_old_one_stays(shop: Door) -> None:
    away = shop.catalogue.rename(shop.catalogue.with_suffix(".away"))
    shop.live_catalogue.look()

    assert status(shop) == 200
    assert "is gone" in shop.live_catalogue.refused

    away.rename(shop.catalogue)
    shop.live_catalogue.look()

    assert shop.live_catalogue.refused == ""


async def comes(wanted: Callable[[], bool]) -> None:
    for _ in range(1000):
        if wanted():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it has not come")


async def watched(shop: Door, wrong: Callable[[], object], reason: str, right: Callable[[], object]) -> None:
    """Let a watched catalogue become `wrong`, which is refused for `reason`, and then `right`, which governs."""
    watching = asyncio.create_task(shop.live_catalogue.watch())
    wrong()
    await comes(lambda: reason in shop.live_catalogue.refused or watching.done())
    right()
    await comes(lambda: not shop.live_catalogue.refused or watching.done())
    assert not watching.done(), "the watch has ended"
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def test_a_catalogue_that_cannot_be_read_is_said_once_and_looked_at_again(
    shop: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PACE", 0.01)

    def put_a_folder_in_its_place() -> None:
        shop.catalogue.unlink()
        shop.catalogue.mkdir()

    def put_it_back() -> None:
        shop.catalogue.rmdir()
        shop.catalogue.write_text(CATALOGUE.replace("fast", "faster"))

    with capture_logs() as logged:
        asyncio.run(watched(shop, put_a_folder_in_its_place, "cannot be read: Is a directory", put_it_back))

    assert shop.live_catalogue.current.service_tiers["t"].objective == "faster"
    assert [each["log_level"] for each in logged if "cannot be read" in each.get("reason", "")] == ["error"]


def test_a_check_that_fails_refuses_the_catalogue_and_the_watch_goes_on(
    shop: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PACE", 0.01)

    def fails(catalogue: Catalogue) -> list[live.Report]:
        if catalogue.service_tiers["t"].objective == "slow":
            raise KeyError("t")
        return []

    shop.live_catalogue.require(fails)

    asyncio.run(
        watched(
            shop,
            lambda: shop.catalogue.write_text(CATALOGUE.replace("fast", "slow")),
            "cannot be checked: KeyError",
            lambda: shop.catalogue.write_text(CATALOGUE.replace("fast", "faster")),
        )
    )


OLD = (
    'versions.v1 = { state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2026-06-01, '
    'successor = "v2", guide = "/docs/v2" }'
)
V2 = 'versions.v2 = { state = "active" }'


def test_a_deprecated_version_says_so_with_its_end_and_its_successor(shop: Door) -> None:
    assert "deprecation" not in shop.client.get("/shop/v1/read", headers=shop.headers()).headers

    govern(shop, V1, f"{OLD}\n{V2}")

    answer = shop.client.get("/shop/v1/read", headers=shop.headers())
    assert answer.status_code == 200
    assert answer.headers["deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
    assert answer.headers["sunset"] == "Mon, 01 Jun 2026 00:00:00 GMT"
    assert answer.headers["link"].split(", ") == [
        '</docs/reference/shop.v2>; rel="successor-version"; type="text/html"',
        '</docs/v2>; rel="deprecation"; type="text/html"',
    ]


def test_a_version_that_has_ended_is_gone_and_says_where_to_go(shop: Door) -> None:
    govern(shop, V1, f"{OLD}\n{V2}")
    shop.now = datetime(2026, 6, 1, tzinfo=UTC)

    answer = shop.client.get("/shop/v1/read", headers=shop.headers())

    assert answer.status_code == 410
    assert answer.json()["type"] == "/problems/version-ended"
    assert "move to v2" in answer.json()["detail"]


def test_an_api_that_is_retired_says_when_it_ends_and_where_to_read_about_it(shop: Door) -> None:
    life = 'state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2026-06-01, guide = "https://example.com/x"'
    govern(shop, V1, f"versions.v1 = {{ {life} }}")

    answer = shop.client.get("/shop/v1/read", headers=shop.headers())
    assert answer.status_code == 200
    assert answer.headers["deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
    assert answer.headers["sunset"] == "Mon, 01 Jun 2026 00:00:00 GMT"
    assert answer.headers["link"] == '<https://example.com/x>; rel="deprecation sunset"; type="text/html"'

    shop.now = datetime(2026, 6, 1, tzinfo=UTC)
    ended = shop.client.get("/shop/v1/read", headers=shop.headers())
    assert ended.status_code == 410
    assert ended.json()["detail"].endswith("nothing comes after it, as https://example.com/x explains.")


def test_a_draft_is_not_there_for_anybody(shop: Door) -> None:
    govern(shop, V1, f'versions.v1 = {{ state = "draft" }}\n{V2}')

    assert status(shop) == 404


def test_a_client_sees_the_records_of_its_regions_alone(shop: Door) -> None:
    regions = '\n[regions.eu]\nlegal_entities = ["DE01", "FR01"]\n\n[regions.us]\nlegal_entities = ["US01"]\n'
    text = shop.catalogue.read_text() + regions

    def seen(granted: str) -> list[str]:
        shop.catalogue.write_text(text.replace('legal_entities = ["*"]', granted))
        shop.live_catalogue.look()
        return shop.client.get("/shop/v1/sees", headers=shop.headers()).json()

    assert seen('legal_entities = ["*"]') == ["*"]
    assert seen('legal_entities = ["*"]\nregions = ["us"]') == ["US01"]
    assert seen('legal_entities = ["DE01", "US01"]\nregions = ["eu"]') == ["DE01"]
    assert seen('legal_entities = ["US01"]\nregions = ["eu"]') == []
