"""Checks of what is set up and what can be reached, with what to do about the rest.

Each platform is logged in to and held against what its connector needs, through the connector's own client and under
the policies of the catalogue, all platforms at once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from shlex import quote
from typing import Any, Literal, get_args

import httpx
import msgspec

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome
from canonical.ids import utc_now
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Catalogue, CatalogueError, Layer
from policies.chain.readiness import OK, is_ok
from policies.context import deadline
from policies.context.correlation import correlated
from policies.identity.jwks import Discovery, usable
from policies.identity.trusted_issuers import ISSUERS, TokenRefused
from policies.outbound.platform_client import PlatformClient
from policies.policy import Principal
from system_apis.connector import Comparable, Misfit
from tiergate.composition import (
    contexts,
    new_id,
    open_catalogue,
    readiness_token,
    verifier,
)
from tiergate.platforms import ConnectedPlatform, read_platforms
from tiergate.private_state import too_open
from tiergate.secret_settings import SecretError
from tiergate.settings import DEFAULT_FOLDER, HERE, NotReady, Settings, SettingsError, load
from tiergate.shared import SharedState
from tiergate.sqlite_version import sqlite_is_too_old

OLDEST = (3, 11)
ENOUGH = 200 * 2**20
PLATFORM_SECONDS = 20.0
"""Seconds that the checks of one platform may take."""
CONNECT_SECONDS = 1.0
SKEW = 60.0
"""Seconds by which clocks may differ: a signature or a log-in is refused when they differ by minutes."""

RUNBOOK = "docs/runbooks/health.md"
"""The page of the documentation that says what to do about what is found here."""
Word = Literal[
    "platform",
    "changes",
    "database",
    "system",
    "engine",
    "process",
    "catalogue",
    "limits",
    "background",
    "disk",
    "audit",
    "revocations",
    "keys",
    "readiness",
]
"""What readiness names; `platform` and `changes` stand for those of each instance."""
Trouble = Literal[
    "python",
    "sqlite",
    "settings",
    "secrets",
    "catalogue",
    "issuers",
    "state-folder",
    "disk",
    "platform",
    "misfits",
    "clock",
    "layer",
    "shared",
]
"""What the doctor finds wrong. Each of these, and each `Word`, has a heading in the runbook."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked. What is `missing` has to be done; a `warning` is to be known.

    `runbook` is the page of the documentation that says more, empty for what is well.
    """

    what: str
    state: Literal["ok", "warning", "missing"] = "ok"
    remedy: str = ""
    runbook: str = ""


def _see(about: Trouble | Word) -> str:
    """Return where the runbook says what to do."""
    return f"{RUNBOOK}#{about}"


def examine(config: Path) -> Iterator[Check]:
    """Yield what was found, one check after the other."""
    version = f"Python {sys.version.split()[0]}"
    yield _required(version, "Tiergate needs 3.11 or later", "python", good=sys.version_info >= OLDEST)
    try:
        settings = load(config, os.environ)
    except SettingsError as error:
        yield from (Check(each, "missing", runbook=_see("settings")) for each in error.errors)
        return
    yield Check(f"settings in {config}" if config.exists() else "settings in the environment")
    yield from _passwords(settings)
    yield from _secret_files(settings)
    if reason := sqlite_is_too_old(settings):
        yield Check(f"SQLite {sqlite3.sqlite_version}", "missing", reason, _see("sqlite"))
    path = settings.governance.path()
    platforms: dict[str, ConnectedPlatform] = {}
    catalogue = None
    try:
        catalogue = load_catalogue(path)
    except (OSError, CatalogueError) as error:
        yield Check(f"catalogue {path.name}: {error}", "missing", "see `tiergate policy check`", _see("catalogue"))
    else:
        yield Check(f"catalogue {path.name}")
        platforms, errors = read_platforms(settings, catalogue, os.environ)
        yield from (Check(each, "missing", runbook=_see("settings")) for each in errors)
        if not errors:
            yield Check("every platform has its settings and secrets")
        yield from asyncio.run(_examine_issuers(settings, catalogue))
    yield from _folder(settings.state)
    if (settings.state / HERE).exists() and not any(map(_listens, _addresses(settings, platforms))):
        yield _stopped(settings.state)
        return
    for found in asyncio.run(_examine_platforms(settings, platforms)):
        yield from found
    yield from _layers(settings, catalogue)


def examine_token(config: Path, token: str) -> Check:
    """Return whether the channels take a token, and why not. Raises `SettingsError` and `CatalogueError`."""
    settings = load(config, os.environ)
    shared = SharedState(settings)
    revocations = shared.revocations()
    verifying = verifier("experience", settings, open_catalogue(settings), revocations, shared)

    async def ask() -> Principal:
        stored = await revocations.peek()
        caller = await verifying.verify(token)
        if stored and revocations.current.covers(caller.token_id, caller.client, caller.issued_at):
            raise TokenRefused("it was revoked, or may have been: `tiergate doctor` says what is known of revocations")
        return caller

    try:
        caller = asyncio.run(ask())
    except TokenRefused as refused:
        remedy = "get one that [issuers] in the catalogue names, and send it as it came"
        return Check(f"the token is refused: {refused.reason}", "missing", remedy)
    scopes = ", ".join(sorted(caller.scopes)) or "no scope"
    return Check(f"the token is of {caller.client}, for {caller.subject}, with {scopes}")


async def _examine_issuers(settings: Settings, catalogue: Catalogue) -> list[Check]:
    """Return whether the keys of each OIDC issuer can be read."""
    urls = dict.fromkeys([settings.governance.issuer, *(each.url for each in ISSUERS.of(catalogue).values())])
    return [await _examine_issuer(url) for url in urls if url]


async def _examine_issuer(url: str) -> Check:
    try:
        usable_keys = [each for each in await Discovery(url).fetch() if usable(each)]
    except PlatformFault as fault:
        return Check(
            f"the issuer {url}: {fault.reason}", "missing", "correct its url, or ask its owner", _see("issuers")
        )
    if not usable_keys:
        what, remedy = f"the issuer {url} has no key that we accept", "it has to sign with RS256, ES256 or EdDSA"
        return Check(what, "missing", remedy, _see("issuers"))
    return Check(f"the issuer {url} has {len(usable_keys)} keys that we accept")


def _passwords(settings: Settings) -> Iterator[Check]:
    """Yield the passwords of our own servers that cannot be read."""
    for section, each in settings.passwords():
        try:
            each.read()
        except SecretError as error:
            yield Check(f"[{section}]: {error}", "missing", runbook=_see("secrets"))


def _secret_files(settings: Settings) -> Iterator[Check]:
    """Yield the files of secrets that others than their owner and its group may read."""
    named = [each.path for _, each in settings.passwords()]
    ours = (settings.governance.issuer_key_file, settings.governance.audit_key_file)
    named += [Path(file) for file in ours if file]
    for section in settings.platforms.values():
        named += [Path(str(file)) for key, file in section.items() if key.endswith("_file")]
    for path in named:
        if path is not None and path.is_file() and path.stat().st_mode & stat.S_IROTH:
            what = f"{path} holds a secret, and every user of this machine may read it"
            yield Check(what, "warning", f"chmod o= {quote(str(path))}", _see("secrets"))


def _required(what: str, remedy: str, about: Trouble, *, good: bool) -> Check:
    return Check(what) if good else Check(what, "missing", remedy, _see(about))


def _folder(folder: Path) -> Iterator[Check]:
    writable = folder.exists() and os.access(folder, os.W_OK)
    yield _required(f"state folder {folder}", "create it, or run `tiergate sandbox`", "state-folder", good=writable)
    for path, mode in too_open(folder):
        what = f"{path} has the mode {mode:04o}: other users may read it, or hold its lock"
        remedy = f"chmod go= {quote(str(path))}, or start a layer as its owner"
        yield Check(what, "warning", remedy, _see("state-folder"))
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    roomy = "make room: the records and logs need it"
    yield _required(f"{free // 2**20} MiB of disk are free", roomy, "disk", good=free > ENOUGH)


# ---- a sandbox that is stopped


def _addresses(settings: Settings, platforms: dict[str, ConnectedPlatform]) -> Iterator[tuple[str, int]]:
    """Yield the host and port of each platform and each layer."""
    for each in platforms.values():
        url = httpx.URL(each.settings.url)
        yield url.host, url.port or (443 if url.scheme == "https" else 80)
    server = settings.server
    for port in (server.system_port, server.process_port, server.experience_port):
        yield server.host, port


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _stopped(state: Path) -> Check:
    """Return what there is to do where nothing of a demo or a sandbox runs."""
    demo = state.name == "demo" and (state.parent / "demo.lock").exists()
    what, folder = ("demo", state.parent) if demo else ("sandbox", state)
    option = "" if folder.resolve() == DEFAULT_FOLDER.resolve() else f" --folder {quote(str(folder))}"
    layers = "" if demo else ", then `tiergate up`"
    return Check(f"the {what} in {folder} is stopped", "missing", f"start it with `tiergate {what}{option}`{layers}")


# ---- platforms


async def _examine_platforms(settings: Settings, platforms: dict[str, ConnectedPlatform]) -> list[list[Check]]:
    async with contexts(settings, platforms.values()) as found:

        async def of(platform: ConnectedPlatform) -> list[Check]:
            context = found[platform.name]
            connector = platform.connector.connect(platform.settings, context)
            with correlated(new_id("cor")), deadline.within("doctor", PLATFORM_SECONDS):
                return await examine_platform(platform, connector, context.client)

        return await asyncio.gather(*map(of, platforms.values()))


async def examine_platform(platform: ConnectedPlatform, connector: Any, client: PlatformClient) -> list[Check]:
    """Return what is found when a platform is logged in to and held against what its connector needs."""
    name = f"{platform.name} ({platform.domain}) at {platform.settings.url}"
    try:
        async with asyncio.timeout(PLATFORM_SECONDS):
            await connector.check()
            misfits: list[Misfit] = await connector.misfits() if isinstance(connector, Comparable) else []
    except TimeoutError:
        what = f"{name}: no answer within {PLATFORM_SECONDS:.0f} s"
        return [Check(what, "missing", "ask again, or its owner", _see("platform"))]
    except PlatformFault as fault:
        away = isinstance(fault, (Unavailable, UnknownOutcome))
        remedy = "start it (`tiergate sandbox` for the stand-ins), or correct its url"
        settings = f"see [platforms.{platform.name}] in the settings, and its secrets"
        return [Check(f"{name}: {fault.reason}", "missing", remedy if away else settings, _see("platform"))]
    found = [Check(f"{platform.name}: {each.what}", _state(each), each.remedy, _see("misfits")) for each in misfits]
    found += _skew(platform.name, client.last_date)
    good = all(each.state != "missing" for each in found)
    return [Check(f"{name} lets us in" + (", and has what is needed" if good else "")), *found]


def _state(misfit: Misfit) -> Literal["warning", "missing"]:
    return "missing" if misfit.blocks else "warning"


def _skew(name: str, date: bytes) -> list[Check]:
    """Return how far our clock is from that of a platform, if it is too far (RFC 9110: Date)."""
    try:
        ahead = (utc_now() - parsedate_to_datetime(date.decode("latin-1"))).total_seconds()
    except (ValueError, TypeError):  # it says none, or one without a time zone
        return []
    if abs(ahead) <= SKEW:
        return []
    words = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'}"
    remedy = "set the clock (NTP): webhooks and log-ins are refused by their time"
    return [Check(f"{name}: our clock is {words} the platform's", "missing", remedy, _see("clock"))]


# ---- layers


def _layers(settings: Settings, catalogue: Catalogue | None) -> Iterator[Check]:
    """Yield what the readiness of each layer says. Where none runs, it is one thing to do."""
    server = settings.server
    layers: tuple[Layer, ...] = ("system", "process", "experience")
    try:
        tokens = {layer: readiness_token(layer, settings, catalogue) if catalogue else "" for layer in layers}
    except (NotReady, SettingsError) as error:
        yield Check(f"what replicas share: {error}", "missing", "see that the database runs", _see("shared"))
        tokens = dict.fromkeys(layers, "")
    found = {
        layer: readiness_at(f"http://{server.host}:{getattr(server, f'{layer}_port')}", tokens[layer])
        for layer in layers
    }
    for layer, entries in found.items():
        place = f"{layer} layer at http://{server.host}:{getattr(server, f'{layer}_port')}"
        if entries is None:
            others = any(each is not None for each in found.values())
            remedy = f"start it with `tiergate {f'serve {layer}' if others else 'up'}`"
            yield Check(place, "missing", remedy, _see("layer"))
        elif isinstance(entries, str):
            yield Check(f"{place}: {entries}", "missing", f"give it another server.{layer}_port", _see("layer"))
        else:
            yield from _of_layer(layer, place, entries)


def _of_layer(layer: str, place: str, entries: dict[str, str]) -> Iterator[Check]:
    if all(map(is_ok, entries.values())):
        yield Check(place)
    for name, said in entries.items():
        if not is_ok(said):
            yield Check(f"{place}: {name}: {said}", "missing", f"look at {name}", _see(_word(layer, name)))
        elif said != OK:
            yield Check(f"{layer} layer: {name}: {said.removeprefix(f'{OK}, ')}")


def _word(layer: str, name: str) -> Word:
    """Return by which word the runbook has an entry of readiness: those of instances have their names."""
    words: dict[str, Word] = {each: each for each in get_args(Word)}
    return words.get(name.rsplit(maxsplit=1)[-1], "platform" if layer == "system" else "readiness")


def readiness_at(url: str, token: str) -> dict[str, str] | str | None:
    """Return what a layer says of itself, None where nothing answers, and a sentence where it is no layer."""
    try:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(f"{url}/health/ready", headers=headers, timeout=5)
        return msgspec.json.decode(answer.content, type=dict[str, str])
    except httpx.HTTPError:
        return None
    except msgspec.DecodeError:
        return "something else answers there"
