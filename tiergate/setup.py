"""The setup of one platform, outside any layer, and where the secrets that it makes are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from policies.context import deadline
from policies.context.correlation import correlated
from policies.store.files import write_atomically
from policies.store.secret import NO_SECRET, Secret
from tiergate.composition import contexts, new_id

if TYPE_CHECKING:
    from system_apis.setup import Made, Setup
    from tiergate.platforms import PlatformToPrepare
    from tiergate.settings import Settings

SECONDS = 120.0
"""Seconds that a setup may take."""


@asynccontextmanager
async def setup_of(
    settings: Settings, found: PlatformToPrepare, administrator: Secret = NO_SECRET
) -> AsyncGenerator[Setup]:
    """Yield the setup of a platform, done with our own credentials unless an `administrator` has others."""
    platform = found.platform
    async with contexts(settings, [platform]) as made:
        with correlated(new_id("cor")), deadline.within("setup", SECONDS):
            yield found.connector.prepare(platform.settings, made[platform.name], administrator)


def keep(made: Made, found: PlatformToPrepare) -> str:
    """Write a secret that the platform shows this once to the file of its setting.

    Return what has to be known: the secret itself where there is no such file, or it cannot be written.
    """
    if not made.secret:
        return made.note
    file = found.secret_files.get(made.setting)
    reason = f"no file is set for it: put it where {made.setting} of [platforms.{found.platform.name}] is read from"
    if file is not None:
        try:
            write_atomically(file, made.secret.reveal().encode())
        except OSError as error:
            reason = f"{file} cannot be written ({error.strerror}): put it there"
        else:
            return f"{made.setting} is in {file}"
    return f"{made.setting} is shown this once, and {reason}:\n{made.secret.reveal()}"
