"""What the commands share: options, and how settings are read and refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from policies.catalogue.model import Catalogue, Layer
    from tiergate.platforms import ConnectedPlatform
    from tiergate.settings import Settings
    from tiergate.shared import SharedState

CONFIG = Path(".tiergate/tiergate.toml")
LAYERS: click.Choice[Layer] = click.Choice(["system", "process", "experience"])
BAD_SETTINGS, NOT_READY, FAILED = 2, 3, 4
"""Exit codes: wrong usage or settings, something is missing or out of reach, the work failed."""
SANDBOX = {"granian", "lark", "proteus", "psycopg_pool", "trytond"}
"""The modules of the extra `sandbox`, which a company's own installation does without."""
LONGEST_SENTENCE = 200
NO_ROOM = "there is no room on a disk that this has to write to: make room, and start it again"
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
optional_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="TIERGATE_CONFIG",
    help=f"The settings file that names the catalogue. [default: {CONFIG}, if there is one]",
)
catalogue_file = click.Path(path_type=Path, exists=True, dir_okay=False)


class Commands(click.Group):
    """List its commands with their first sentence as a whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, command.get_short_help_str(limit=LONGEST_SENTENCE))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class CatalogueName(click.ParamType[str]):
    """A name in the catalogue, which the shell completes."""

    name = "name"

    def __init__(self, names: Callable[[Catalogue], Iterable[str]]) -> None:
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        with suppress(ValueError, OSError, SystemExit):  # wrong settings are reported when the command runs
            catalogue = load_catalogue(governing_catalogue(Path(os.environ.get("TIERGATE_CONFIG", CONFIG))))
            return [CompletionItem(each) for each in self._names(catalogue) if each.startswith(incomplete)]
        return []


CLIENT = CatalogueName(lambda catalogue: catalogue.clients)
OPERATION = CatalogueName(lambda catalogue: (each for _, each, _ in catalogue.placed_operations()))


@contextmanager
def reporting() -> Generator[None]:
    """Report wrong settings and what is missing or out of reach, and exit."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SANDBOX:
            raise
        refuse(["this needs the packages of the sandbox: pip install 'tiergate[sandbox]'"], NOT_READY)
    except (ValueError, RuntimeError, OSError) as error:
        from policies.catalogue.model import CatalogueError
        from policies.store.documents import StoreAway
        from policies.store.files import is_full
        from tiergate.settings import NotReady, SettingsError

        if isinstance(error, (SettingsError, CatalogueError)):
            refuse(str(error).splitlines())
        if isinstance(error, (NotReady, StoreAway)):
            refuse(str(error).splitlines(), NOT_READY)
        if isinstance(error, OSError) and is_full(error):
            refuse([NO_ROOM], NOT_READY)
        if isinstance(error, OSError) and error.filename:
            refuse([f"{error.filename}: {error.strerror}"], NOT_READY)
        raise


def load_settings(config: Path) -> Settings:
    from tiergate.private_state import close_to_others
    from tiergate.settings import load, unknown_variables

    settings = load(config, os.environ)
    close_to_others(settings.state)
    warn(unknown_variables(os.environ))
    return settings


def shared_state(settings: Settings) -> SharedState:
    from tiergate.shared import SharedState

    return SharedState(settings)


def platforms_of(settings: Settings) -> dict[str, ConnectedPlatform]:
    from tiergate.platforms import load_platforms, unknown_platform_variables

    catalogue = load_catalogue(settings.governance.path())
    platforms = load_platforms(settings, catalogue, os.environ)
    warn(unknown_platform_variables(catalogue, os.environ))
    return platforms


def load_catalogue(path: Path) -> Catalogue:
    from policies.catalogue.check import load

    try:
        return load(path)
    except OSError as error:
        refuse([str(error)])


def require_client(name: str, known: Iterable[str]) -> None:
    if name not in known:
        refuse([f"the catalogue has no client {name!r}; it has {', '.join(sorted(known))}"])


def shipped_catalogue() -> Path:
    from policies.catalogue.model import SHIPPED

    return SHIPPED


def governing_catalogue(config: Path | None) -> Path:
    """Return the catalogue that the settings name: the shipped one without settings."""
    path = config or CONFIG
    return load_settings(path).governance.path() if path.exists() else shipped_catalogue()


def shown(path: Path) -> str:
    """Return a path as it is seen from here, when it is below."""
    full, here = path.resolve(), Path.cwd()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def warn(sentences: Iterable[str]) -> None:
    for each in sentences:
        click.echo(f"tiergate: {each}", err=True)


def refuse(errors: list[str], code: int = BAD_SETTINGS) -> NoReturn:
    warn(errors)
    sys.exit(code)
