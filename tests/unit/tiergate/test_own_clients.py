"""Our own layers call each other as clients of the catalogue: one that lacks them does not govern."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED, CatalogueError
from tiergate.composition import identity

TEXT = SHIPPED.read_text()


def without(client: str) -> str:
    return TEXT.replace(f"[clients.{client}]", f"[clients.{client}-2]")


@pytest.mark.parametrize("client", ["system-layer", "process-layer", "experience-layer"])
def test_a_catalogue_without_the_client_of_a_running_layer_is_refused_and_the_layer_calls_on(
    tmp_path: Path, client: str
) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT)
    live_catalogue = LiveCatalogue(path)
    found = identity(client, live_catalogue)

    path.write_text(without(client))
    live_catalogue.look()

    assert f"clients.{client}: a layer that runs calls the next one as it" in live_catalogue.refused
    assert "put it back" in live_catalogue.refused
    assert found() == live_catalogue.current.clients[client]


def test_a_layer_does_not_start_without_the_client_that_it_calls_as(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(without("process-layer"))

    with pytest.raises(CatalogueError, match="process-layer"):
        identity("process-layer", LiveCatalogue(path))
