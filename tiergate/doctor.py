"""Checks of what is set up and what can be reached, with what to do about the rest."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

import httpx
import msgspec
from rich.console import Console
from rich.markup import escape

from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Catalogue, CatalogueError
from policies.chain.readiness import OK, is_ok
from policies.outbound.platform_server import PlatformServer
from tiergate.platforms import ConnectedPlatform, load_platforms
from tiergate.settings import Settings, SettingsError, load

OLDEST = (3, 11)
ENOUGH = 200 * 2**20


class Say(Protocol):
    """Print what was checked and, when it is not good, what to do."""

    def __call__(self, what: str, remedy: str = "", *, good: bool) -> None: ...


def examine(config: Path) -> bool:
    """Print one line for each check. Return whether all is well."""
    console = Console(highlight=False)
    well = True

    def say(what: str, remedy: str = "", *, good: bool) -> None:
        nonlocal well
        well = well and good
        console.print(
            f"{'[green]ok[/]     ' if good else '[red]missing[/]'} {escape(what)}"
            + (f" – {escape(remedy)}" if remedy and not good else "")
        )

    say(f"Python {sys.version.split()[0]}", "Tiergate needs 3.11 or later", good=sys.version_info >= OLDEST)
    settings = _settings(config, say)
    if settings is None:
        return False
    catalogue = _catalogue(settings.governance.path(), say)
    platforms = _platforms(settings, catalogue, say) if catalogue else {}
    folder = settings.state
    writable = folder.exists() and os.access(folder, os.W_OK)
    say(f"state folder {folder}", "create it, or run `tiergate sandbox`", good=writable)
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    say(f"{free // 2**20} MiB of disk are free", "make room: the records and logs need it", good=free > ENOUGH)
    for name, platform in platforms.items():
        remedy = "start it (`tiergate sandbox` for the stand-ins), or correct its url"
        say(f"{name} ({platform.domain}) at {platform.settings.url}", remedy, good=_answers(platform.settings))
    for layer in ("system", "process", "experience"):
        port = getattr(settings.server, f"{layer}_port")
        _layer(f"http://{settings.server.host}:{port}", layer, say)
    return well


def _settings(config: Path, say: Say) -> Settings | None:
    try:
        settings = load(config, os.environ)
    except SettingsError as error:
        for each in error.errors:
            say(each, good=False)
        return None
    say(f"settings in {config}", good=True)
    return settings


def _platforms(settings: Settings, catalogue: Catalogue, say: Say) -> dict[str, ConnectedPlatform]:
    try:
        found = load_platforms(settings, catalogue, os.environ)
    except SettingsError as error:
        for each in error.errors:
            say(each, good=False)
        return {}
    say("every platform has its settings and secrets", good=True)
    return found


def _catalogue(path: Path, say: Say) -> Catalogue | None:
    try:
        found = load_catalogue(path)
    except (OSError, CatalogueError) as error:
        say(f"catalogue {path.name}: {error}", "see `tiergate policy check`", good=False)
        return None
    say(f"catalogue {path.name}", good=True)
    return found


def _answers(server: PlatformServer) -> bool:
    try:
        httpx.get(server.url, timeout=3, verify=server.tls())
    except httpx.HTTPError:
        return False
    return True


def _layer(url: str, layer: str, say: Say) -> None:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=3)
        entries = msgspec.json.decode(answer.content, type=dict[str, str])
    except httpx.HTTPError:
        say(f"{layer} layer at {url}", "start it with `tiergate up`", good=False)
        return
    except msgspec.DecodeError:
        say(f"{layer} layer at {url}: something else answers there", f"give it another server.{layer}_port", good=False)
        return
    trouble = {name: reason for name, reason in entries.items() if not is_ok(reason)}
    if not trouble:
        say(f"{layer} layer at {url}", good=True)
    for name, said in entries.items():
        if is_ok(said) and said != OK:
            say(f"{layer} layer: {name}: {said.removeprefix(f'{OK}, ')}", good=True)
    for name, reason in trouble.items():
        say(f"{layer} layer at {url}: {name}: {reason}", f"look at {name}", good=False)
