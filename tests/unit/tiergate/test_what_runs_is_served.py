"""A catalogue under which a layer that runs could not go on is refused, and the layer goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from tiergate import composition
from tiergate.settings import Settings, SettingsError

TEXT = SHIPPED.read_text()
SECOND = """[platforms.second]
domain = "erp"
connector = "tryton"
owner = "finance operations"
region = "eu"
rate = "20/second"
concurrent = 8
retries = { first = 0.2, most = 2.0, budget = 0.2 }
breaker = { failures = 5, rest = 10.0 }
calls.default = { timeout = 15.0, tries = 3 }
legal_entities = ["FR01"]

[platforms.tryton]
legal_entities = ["DE01"]
"""


@pytest.fixture
def live_catalogue(tmp_path: Path) -> LiveCatalogue:
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT)
    return LiveCatalogue(path)


def govern(live_catalogue: LiveCatalogue, path: Path, text: str) -> None:
    (path / "catalogue.toml").write_text(text)
    live_catalogue.look()


def test_a_catalogue_that_renames_the_region_of_a_deployment_is_refused(
    live_catalogue: LiveCatalogue, tmp_path: Path
) -> None:
    residency = composition.residency(Settings(), live_catalogue)

    govern(live_catalogue, tmp_path, TEXT.replace("[regions.eu]", "[regions.europe]").replace('"eu"', '"europe"'))

    assert "regions.eu: a deployment that runs is in it (server.region)" in live_catalogue.refused
    residency.check("DE01")


def test_a_deployment_does_not_start_in_a_region_that_the_catalogue_lacks(live_catalogue: LiveCatalogue) -> None:
    settings = msgspec.structs.replace(Settings(), server=msgspec.structs.replace(Settings().server, region="moon"))

    with pytest.raises(SettingsError, match=r"server\.region: the catalogue has no region 'moon'"):
        composition.residency(settings, live_catalogue)


def test_a_catalogue_that_gives_a_legal_entity_to_a_platform_without_a_connector_is_refused(
    live_catalogue: LiveCatalogue, tmp_path: Path
) -> None:
    connected = frozenset(live_catalogue.current.platforms)
    live_catalogue.require(lambda catalogue: composition.unserved(catalogue, connected))

    govern(live_catalogue, tmp_path, TEXT.replace("[platforms.tryton]\n", SECOND))

    assert "platforms.second.legal_entities: it serves FR01" in live_catalogue.refused
    assert "has no connector for it" in live_catalogue.refused
