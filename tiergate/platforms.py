"""The platforms of this deployment: those of the catalogue, each with its connector and the connector's own settings.

`[platforms.<name>]` holds the settings under the platform's name in the catalogue, `TIERGATE_PLATFORMS_<NAME>_<KEY>`
overrides a key. What a connector declares as a secret is never in the file: it comes from its environment variable,
from the file that `<key>_file` names, or from the output of the command in `<key>_command` (a list of words, run
without a shell; in a variable they are written as for a shell).
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, get_type_hints

import msgspec

from policies.catalogue.model import Catalogue, Domain
from policies.outbound.ownership import Fields
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import NO_SECRET, Secret
from tiergate.secret_settings import SecretError, how_to_set, keys_of, locate, variables_of
from tiergate.settings import Settings, SettingsError, in_words, unknown_keys, unread


class Connector(Protocol):
    """The names that a folder `system_apis/<domain>/<connector>/` exports."""

    Settings: type[PlatformServer]
    FIELDS: Mapping[str, Fields]
    connect: Callable[..., Any]


class Preparing(Connector, Protocol):
    """A connector that can prepare its platform too (`system_apis.setup`).

    `MADE_BY_SETUP` names its secrets that come from there, and so are missing before.
    """

    MADE_BY_SETUP: Collection[str]
    prepare: Callable[..., Any]


class ConnectedPlatform(msgspec.Struct, frozen=True):
    """One instance: its name in the catalogue, its domain, its connector, and the settings of that connector."""

    name: str
    domain: Domain
    connector: Connector
    settings: PlatformServer


class PlatformToPrepare(msgspec.Struct, frozen=True):
    """An instance whose setup makes some of its secrets, and the files that hold them, by the names of the settings."""

    platform: ConnectedPlatform
    connector: Preparing
    secret_files: dict[str, Path]


def load_platforms(
    settings: Settings, catalogue: Catalogue, environment: Mapping[str, str]
) -> dict[str, ConnectedPlatform]:
    """Return every platform of the catalogue by name.

    Raises `SettingsError` with all errors at once. They name a secret that is missing, and never show one.
    """
    found, errors = read_platforms(settings, catalogue, environment)
    if errors:
        raise SettingsError(errors)
    return found


def load_platform(
    settings: Settings, catalogue: Catalogue, environment: Mapping[str, str], name: str
) -> PlatformToPrepare:
    """Return one platform of the catalogue, before its setup is done.

    Raises `SettingsError` for one whose connector has no setup, and with all that is wrong with its settings.
    """
    about = catalogue.platforms[name]
    connector = _connector(about.domain, about.connector)
    if connector is None or not hasattr(connector, "prepare"):
        raise SettingsError([f"[platforms.{name}]: its connector {about.connector} has nothing to set up"])
    errors: list[str] = []
    preparing = cast("Preparing", connector)
    section = _Section(name, settings, environment, errors, preparing.MADE_BY_SETUP)
    made = section.convert(connector.Settings)
    if made is None:
        raise SettingsError(errors)
    return PlatformToPrepare(ConnectedPlatform(name, about.domain, connector, made), preparing, section.secret_files)


def read_platforms(
    settings: Settings, catalogue: Catalogue, environment: Mapping[str, str]
) -> tuple[dict[str, ConnectedPlatform], list[str]]:
    """Return every platform whose settings are right by name, and what is wrong with those of the others."""
    errors = [
        f"[platforms.{name}]: the catalogue has no such platform; it has {', '.join(catalogue.platforms)}"
        for name in settings.platforms
        if name not in catalogue.platforms
    ]
    found: dict[str, ConnectedPlatform] = {}
    for name, platform in catalogue.platforms.items():
        connector = _connector(platform.domain, platform.connector)
        if connector is None:
            known = ", ".join(_connectors(platform.domain))
            missing = f"there is no connector {platform.connector!r} for {platform.domain}"
            errors.append(f"[platforms.{name}]: {missing}; use one of {known}")
            continue
        section = _Section(name, settings, environment, errors)
        made = section.convert(connector.Settings)
        if made is not None:
            found[name] = ConnectedPlatform(name, platform.domain, connector, made)
    return found, errors


def unknown_platform_variables(catalogue: Catalogue, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like a platform's setting and is none."""
    known: set[str] = set()
    for name, platform in catalogue.platforms.items():
        connector = _connector(platform.domain, platform.connector)
        for key, kind in get_type_hints(connector.Settings).items() if connector else ():
            variable = f"{_prefix(name)}{key}".upper()
            known |= {*variables_of(variable)} if kind is Secret else {variable}
    yield from unread(environment, "TIERGATE_PLATFORMS_", known)


def _prefix(name: str) -> str:
    return f"TIERGATE_PLATFORMS_{name.replace('-', '_')}_".upper()


def _connectors(domain: Domain) -> list[str]:
    package = import_module(f"system_apis.{domain}")
    return [each.name for each in pkgutil.iter_modules(package.__path__) if each.ispkg]


def _connector(domain: Domain, name: str) -> Connector | None:
    if name not in _connectors(domain):
        return None
    return cast("Connector", import_module(f"system_apis.{domain}.{name}"))


class _Section:
    """Convert the settings of one platform to what its connector declares."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        environment: Mapping[str, str],
        errors: list[str],
        may_be_missing: Collection[str] = (),
    ) -> None:
        """Errors are added to `errors`; a secret that `may_be_missing` is empty then."""
        self.secret_files: dict[str, Path] = {}
        """The file of each secret that is read from one."""
        self._may_be_missing = may_be_missing
        self._section = f"[platforms.{name}]"
        self._prefix = _prefix(name)
        self._environment = environment
        self._given = dict(settings.platforms.get(name, {}))
        self._secrets_seconds = settings.governance.secrets_seconds
        self._errors = errors

    def convert(self, kind: type[PlatformServer]) -> PlatformServer | None:
        """Return the connector's settings, or None after adding an error to the list."""
        hints = get_type_hints(kind)
        self._report_unknown(hints)
        noted = len(self._errors)
        secrets = {each.name: each.required for each in msgspec.structs.fields(kind) if hints[each.name] is Secret}
        values: dict[str, Any] = dict.fromkeys(self._may_be_missing, NO_SECRET)
        for name, required in secrets.items():
            if secret := self._secret(name, required=required and name not in self._may_be_missing):
                values[name] = secret
        for field in hints.keys() - secrets.keys():
            if (override := self._environment.get(f"{self._prefix}{field}".upper())) is not None:
                self._given[field] = override
        if len(self._errors) > noted:
            return None
        try:
            return msgspec.convert(self._given | values, kind, strict=False, dec_hook=_as_it_is)
        except msgspec.ValidationError as error:
            named = [each for each in secrets if re.search(rf"\b{each}\b", str(error))]
            hint = "".join(f"; {self._where(each)}" for each in named)
            self._errors.append(f"{self._section}: {in_words(error, self._prefix)}{hint}")
            return None

    def _report_unknown(self, hints: Mapping[str, Any]) -> None:
        """Add an error for each key that the connector does not have, and take the key out."""
        secrets = [name for name, kind in hints.items() if kind is Secret]
        known = [name for name in hints if name not in secrets]
        known += [key for name in secrets for key in keys_of(name)]
        strangers = [each for each in self._given if each not in (*known, *secrets)]
        self._errors += [f"{self._section}: {each}" for each in unknown_keys(strangers, known)]
        for each in strangers:
            del self._given[each]

    def _where(self, name: str) -> str:
        """Return how a secret is set."""
        return how_to_set(name, f"{self._prefix}{name}".upper())

    def _secret(self, name: str, *, required: bool) -> Secret | None:
        """Return a secret, or None when there is none.

        A `required` one that is missing, and one that cannot be read, add an error to the list.
        """
        variable = f"{self._prefix}{name}".upper()
        try:
            found = locate(name, variable, self._given, self._environment, self._secrets_seconds)
            if found.path:
                self.secret_files[name] = found.path
                if name in self._may_be_missing and not found.path.exists():
                    return None
            secret = found.read()
        except SecretError as error:
            self._errors.append(f"{self._section}: {error}")
            return None
        if not secret and required:
            self._errors.append(f"{self._section}: {name} is missing: {self._where(name)}")
        return secret or None


def _as_it_is(_: type, value: Any) -> Any:
    return value
