"""What the commands share: options, and how settings are read and refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from policies.catalogue.model import Catalogue, Layer
    from tiergate.platforms import ConnectedPlatform
    from tiergate.settings import Settings

CONFIG = Path(".tiergate/tiergate.toml")
LAYERS: click.Choice[Layer] = click.Choice(["system", "process", "experience"])
BAD_SETTINGS, NOT_READY, FAILED = 2, 3, 4
"""Exit codes: wrong usage or settings, something is missing or out of reach, the work failed."""
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=CONFIG,
    show_default=True,
    envvar="TIERGATE_CONFIG",
    help="The settings file.",
)
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".tiergate"),
    show_default=True,
    help="Where all state is kept.",
)
catalogue_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@contextmanager
def refusing() -> Generator[None]:
    """Tell what is wrong with the settings, and exit."""
    from tiergate.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        refuse(error.errors)


def load_settings(config: Path) -> Settings:
    from tiergate.settings import load

    with refusing():
        return load(config, os.environ)


def platforms_of(settings: Settings) -> dict[str, ConnectedPlatform]:
    from tiergate.platforms import load_platforms

    with refusing():
        return load_platforms(settings, load_catalogue(settings.governance.path()), os.environ)


def load_catalogue(path: Path) -> Catalogue:
    from policies.catalogue.check import load
    from policies.catalogue.model import CatalogueError

    try:
        return load(path)
    except (OSError, CatalogueError) as error:
        refuse(str(error).splitlines())


def shipped_catalogue() -> Path:
    from policies.catalogue.model import SHIPPED

    return SHIPPED


def refuse(errors: list[str]) -> NoReturn:
    for each in errors:
        click.echo(f"tiergate: {each}", err=True)
    sys.exit(BAD_SETTINGS)
