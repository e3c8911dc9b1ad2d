"""What replicas on one machine share in files."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from tiergate.settings import load
from tiergate.shared import SharedState


def test_the_replica_that_has_the_lease_of_a_feed_stores_how_far_it_was_read(tmp_path: Path) -> None:
    config = tmp_path / "tiergate.toml"
    config.touch()
    position, lease = SharedState(load(config, {})).feed("salesforce")
    asyncio.run(lease.renew())

    def store() -> None:
        position.change(lambda _: b"here")

    writing = threading.Thread(target=store, daemon=True)
    writing.start()
    writing.join(10)

    assert lease.is_held
    assert position.read() == b"here"
