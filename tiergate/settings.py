"""Settings: one TOML file and environment variables, all checked at start, all errors reported at once.

`TIERGATE_<SECTION>_<KEY>` overrides a key of the file. Secrets are never in the file (`tiergate.secret_settings`). What
a platform needs is checked by its connector: see `tiergate.platforms`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from policies.audit.files import LogFiles
from policies.catalogue import nearest
from policies.catalogue.document import text_of
from policies.catalogue.model import EXAMPLES, SHIPPED, Layer
from policies.outbound.platform_server import USER_IN_URL
from tiergate.secret_settings import NOWHERE, SecretError, SecretSetting, keys_of, locate

DEFAULT_FOLDER = Path(".tiergate")
HERE = "here.sh"
"""The file that says where a sandbox is, to a shell; it is there where the settings are those of one."""
CommandWords = tuple[str, ...]
HttpUrl = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+")]
"""The URL of a server, with its scheme."""
OptionalHttpUrl = Annotated[str, msgspec.Meta(pattern=r"^(https?://[^\s/]+.*)?\Z")]
"""The URL of a server, or empty."""


RedisUrl = Annotated[str, msgspec.Meta(pattern=r"^((rediss?|unix)://.+)?\Z")]
"""The URL of a Redis, or empty."""
PostgresqlUrl = Annotated[str, msgspec.Meta(pattern=r"^(postgresql://.+)?\Z")]
"""The URL of a PostgreSQL, or empty."""


class SettingsError(ValueError):
    """All that is wrong with the settings, one line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class NotReady(RuntimeError):
    """Something is missing, taken or out of reach. The message says what, and what to do."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the three deployables listen, and the region in which they run and store records.

    `*_url` is the address at which others find them, when that is another one; `public_url` is that of the system layer
    for the platforms, which call back to it, and `console_url` that of the experience layer for browsers. `fast_path`
    is whether reads take the short way in front of uvicorn.

    A layer holds at most so many `connections`, and of one address `connections_per_address`. The head of a request
    comes whole within `head_seconds`, its body within `body_seconds` after that; an answer is read within
    `write_seconds`. A connection without a request is closed after `idle_seconds`: longer than our own clients use one.

    Who sends the `metrics_token` is shown a layer's metrics; without one nobody is.
    """

    host: str = "127.0.0.1"
    region: str = "eu"
    system_port: int = 8101
    process_port: int = 8102
    experience_port: int = 8103
    fast_path: bool = True
    connections: Annotated[int, msgspec.Meta(ge=1)] = 2000
    connections_per_address: Annotated[int, msgspec.Meta(ge=1)] = 1000
    head_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    body_seconds: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    write_seconds: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    idle_seconds: Annotated[float, msgspec.Meta(gt=60)] = 75.0
    system_url: OptionalHttpUrl = ""
    process_url: OptionalHttpUrl = ""
    public_url: OptionalHttpUrl = ""
    console_url: OptionalHttpUrl = ""
    metrics_token: SecretSetting = NOWHERE

    def url_of_system(self) -> str:
        return self.system_url or f"http://{self.host}:{self.system_port}"

    def url_for_platforms(self) -> str:
        return self.public_url.rstrip("/") or self.url_of_system()

    def url_of_console(self) -> str:
        return self.console_url.rstrip("/") or f"http://{self.host}:{self.experience_port}"

    def url_of_process(self) -> str:
        return self.process_url or f"http://{self.host}:{self.process_port}"


class Governance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policies' settings.

    `catalogue` is the path of the catalogue; empty for the one that is shipped. `redis_url` is where replicas count
    together, with `redis_password`; empty when each layer runs once. `database_url` is a PostgreSQL in which replicas
    on several machines share what must not be lost, with `database_password`; empty when they share the state folder.
    `key_days` is after how many days a signing key is followed by a new one; 0 for never. `issuer` is the OIDC issuer
    whose tokens the channels accept; empty for the local one. `issuer_key_file`, `client_secrets_file` and
    `audit_key_file` are the paths of what replicas have in common; empty for the state folder. `local_tokens` is
    whether clients with a secret get tokens of the local one at `/oauth/token`. `clock_file` is for sandboxes alone: a
    file that says by how many seconds time is ahead. `secrets_seconds` is how old the output of a secret's command may
    be.
    """

    catalogue: str = ""
    issuer: OptionalHttpUrl = ""
    redis_url: RedisUrl = ""
    redis_password: SecretSetting = NOWHERE
    database_url: PostgresqlUrl = ""
    database_password: SecretSetting = NOWHERE
    key_days: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    issuer_key_file: str = ""
    client_secrets_file: str = ""
    audit_key_file: str = ""
    audit_heads: str = ""
    local_tokens: bool = True
    secrets_seconds: float = 300.0
    clock_file: str = ""

    def path(self) -> Path:
        return Path(self.catalogue) if self.catalogue else SHIPPED


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The system layer's settings. After `longest_silence` seconds without a good look at a platform's changes a case
    is opened."""

    longest_silence: Annotated[float, msgspec.Meta(gt=0)] = 600.0


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The process layer's settings. Times are in seconds.

    `database_url` is empty for SQLite in the state folder; `database_password` is for PostgreSQL. `upgrade_at_start` is
    whether a start upgrades its tables; without it `tiergate database upgrade` does.

    What has ended is kept for days, from its end: the engine's workflows for `workflow_days`, events for `event_days`,
    closed cases for `case_days`, and what was sent to webhooks for `delivery_days`. Records of usage are kept for
    `usage_days`: for longer than any may be late.

    Webhooks of partners go to port 443 of the public Internet, and to the `webhook_ports` there. In `webhook_networks`,
    which are of a company's own or a sandbox's, they go to any port, and without TLS too. Both have blanks between
    them.
    """

    database_url: str = ""
    database_password: SecretSetting = NOWHERE
    upgrade_at_start: bool = True
    dead_after: float = 5.0
    pause: float = 5.0
    longest_pause: float = 300.0
    call_timeout: float = 30.0
    delivery: float = 3600.0
    workflow_days: Annotated[int, msgspec.Meta(ge=1)] = 30
    event_days: Annotated[int, msgspec.Meta(ge=1)] = 90
    case_days: Annotated[int, msgspec.Meta(ge=1)] = 730
    delivery_days: Annotated[int, msgspec.Meta(ge=1)] = 30
    webhook_ports: Annotated[str, msgspec.Meta(pattern=r"^[0-9 ]*\Z")] = ""
    webhook_networks: str = ""
    usage_days: Annotated[int, msgspec.Meta(ge=62)] = 730


class Console(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How people sign in to the console: with an OpenID Connect `issuer`, whose client we are by `client_id`, with a
    `client_secret` if it has given us one; without an issuer with links alone.

    The rest names claims of its ID tokens: who somebody is (`person`, as who approves and who asks are known by),
    what he or she is called, and in which `groups`; `scope` is what is asked for, so that they are there.
    """

    issuer: OptionalHttpUrl = ""
    client_id: str = ""
    client_secret: SecretSetting = NOWHERE
    scope: str = "openid profile"
    person: str = "sub"
    name: str = "name"
    groups: str = "groups"


class Tracing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where traces are sent: the `endpoint` of a collector of OpenTelemetry for OTLP over HTTP (`…/v1/traces`); empty
    for nowhere. `share` of the traces are (0 to 1), and `authorization` is that header of what is sent."""

    endpoint: OptionalHttpUrl = ""
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    authorization: SecretSetting = NOWHERE


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `folder` holds all state, and can be deleted."""

    folder: str = str(DEFAULT_FOLDER)
    server: Server = Server()
    governance: Governance = Governance()
    system: System = System()
    process: Process = Process()
    console: Console = Console()
    tracing: Tracing = Tracing()
    platforms: dict[str, dict[str, Any]] = {}
    """The settings that each connector checks itself (`tiergate.platforms`)."""

    @property
    def state(self) -> Path:
        return Path(self.folder)

    def audit_files(self, layer: Layer) -> LogFiles:
        """Return where the audit log of a layer is.

        Its head shows that the end was cut off as long as nobody can put an older one in its place: keep it where a
        holder of the log cannot write.
        """
        heads = Path(self.governance.audit_heads) if self.governance.audit_heads else self.state / "audit-heads"
        return LogFiles(self.state / "audit" / f"{layer}.jsonl", heads / f"{layer}.head")

    def client_secrets(self) -> Path:
        """Return the path of the digests of the secrets with which clients get tokens."""
        named = self.governance.client_secrets_file
        return Path(named) if named else self.state / "client-secrets.json"

    def issuer_key(self) -> Path:
        """Return the path of the key that signs the tokens of the local issuer."""
        return Path(self.governance.issuer_key_file) if self.governance.issuer_key_file else self.state / "issuer.pem"

    def revoked_file(self) -> Path:
        """Return the path of the revocations, where there is no Redis to hold them."""
        return self.state / "revoked.json"

    def webhook_key(self) -> Path:
        """Return the path of the key from which the secrets of webhooks are made, where no database has it."""
        return self.state / "webhook.key"

    def erased_people(self) -> Path:
        """Return the path of the list of who was erased, where no database has it."""
        return self.state / "erased.json"

    def audit_key(self) -> Path:
        """Return the path of the key that seals the audit records.

        A holder of the key can forge them: keep it where the log is not.
        """
        return Path(self.governance.audit_key_file) if self.governance.audit_key_file else self.state / "audit.key"

    def passwords(self) -> Iterator[tuple[str, SecretSetting]]:
        """Yield each password with its section, whether it is set or not."""
        for section, known in PASSWORDS.items():
            for name, *_ in known:
                yield section, getattr(getattr(self, section), name)

    def process_database(self) -> str:
        return self.process.database_url or f"sqlite:///{(self.state / 'process.sqlite').resolve()}"


SECTIONS = {
    "server": Server,
    "governance": Governance,
    "system": System,
    "process": Process,
    "console": Console,
    "tracing": Tracing,
}
TOP = ("folder", *SECTIONS, "platforms")
DATABASE = ("database_password", "database_url", ("postgresql",))
PASSWORDS = {
    "governance": (("redis_password", "redis_url", ("redis", "unix")), DATABASE),
    "process": (DATABASE,),
    "server": (("metrics_token", "", ()),),
    "console": (("client_secret", "", ()),),
    "tracing": (("authorization", "", ()),),
}
"""The passwords of a section, each with the URL of the server that takes it, and how that begins; no URL for one that
we take ourselves."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list",
    "object": "a table",
}
"""The types of msgspec in the words of TOML."""
FORMS = {"https?://": "http:// or https://", "rediss?": "redis://, rediss:// or unix://", "postgresql": "postgresql://"}
"""How an address begins, by what its pattern contains."""
MAKE_ONE = f"`tiergate sandbox` makes one, or copy {EXAMPLES}/tiergate.example.toml"
FORMER = {"crm", "erp", "billing", "provisioning"}
"""Sections of earlier versions, when each domain had one platform."""


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a file and the environment. Raises `SettingsError` with all errors at once."""
    errors: list[str] = []
    raw = _read(path, errors)
    made: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {}
    """What the file says of the password of each section."""
    for name, kind in SECTIONS.items():
        found = raw.get(name, {})
        if not isinstance(found, dict):
            errors.append(f"{path}: [{name}] is not a table")
            continue
        section = dict(cast("dict[str, Any]", found))
        said[name] = {key: section.pop(key) for key in _password_keys(name) if key in section}
        known = _plain_keys(name)
        errors += [f"{path}: [{name}]: {each}" for each in unknown_keys(section, {*known, *_ways(name)})]
        section = {key: value for key, value in section.items() if key in known}
        section |= _overrides(name, known, environment)
        if not section and not path.exists():
            continue  # the missing file is an error already
        errors += [f"{path}: [{name}]: {each}" for each in _users_in_urls(section)]
        try:
            made[name] = msgspec.convert(section, kind, strict=False)
        except msgspec.ValidationError as error:
            errors.append(f"{path}: [{name}]: {in_words(error, f'TIERGATE_{name.upper()}_')}")
    max_age = made.get("governance", Governance()).secrets_seconds
    for name in PASSWORDS.keys() & made.keys():
        try:
            for password in PASSWORDS[name]:
                made[name] = _with_password(name, password, made[name], said[name], environment, max_age)
        except SecretError as error:
            errors.append(f"{path}: [{name}]: {error}")
    errors += [f"{path}: {_unknown(name)}" for name in raw if name not in TOP]
    made["platforms"] = _platforms(path, raw.get("platforms", {}), errors)
    if errors:
        raise SettingsError(errors)
    return Settings(**made, folder=environment.get("TIERGATE_FOLDER", str(raw.get("folder", path.parent))))


def _read(path: Path, errors: list[str]) -> dict[str, Any]:
    if not path.exists():
        demo = path.parent / "demo" / path.name
        remedy = f"that of the demo is {demo}: --config or TIERGATE_CONFIG names it" if demo.exists() else MAKE_ONE
        errors.append(f"there is no {path}: {remedy}")
        return {}
    try:
        return msgspec.toml.decode(text_of(path.read_bytes()))
    except OSError as error:
        errors.append(f"{path}: {error.strerror}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        errors.append(f"{path}: {error}")
    return {}


def _password_keys(section: str) -> tuple[str, ...]:
    """Return the keys of the passwords of a section, which are never in a file, and those that are."""
    return tuple(key for name, *_ in PASSWORDS.get(section, ()) for key in (name, *keys_of(name)))


def _ways(section: str) -> tuple[str, ...]:
    return tuple(key for name, *_ in PASSWORDS.get(section, ()) for key in keys_of(name))


def _plain_keys(section: str) -> list[str]:
    return [each for each in SECTIONS[section].__struct_fields__ if each not in _password_keys(section)]


def _overrides(section: str, known: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in known:
        value = environment.get(f"TIERGATE_{section}_{field}".upper())
        if value is not None:
            found[field] = value
    return found


def _with_password(
    section: str,
    password: tuple[str, str, tuple[str, ...]],
    made: msgspec.Struct,
    said: dict[str, Any],
    environment: Mapping[str, str],
    max_age: float,
) -> msgspec.Struct:
    """Return a section with where a password is. Raises `SecretError` for one that nothing takes, and for two."""
    name, url_key, begins = password
    found = locate(name, f"TIERGATE_{section}_{name}".upper(), said, environment, max_age)
    url: str = getattr(made, url_key) if url_key else ""
    if found and url_key and not url.startswith(begins):
        raise SecretError(f"{name} is for a {url_key} that begins with {' or '.join(begins)}: set that, or take it out")
    if found and has_password(url):
        raise SecretError(f"{name} and {url_key} both name a password: take it out of {url_key}")
    return msgspec.structs.replace(made, **{name: found})


def has_password(url: str) -> bool:
    """Return whether a URL has a password, before its host or among its parameters."""
    parts = urlsplit(url)
    return bool(parts.password) or "password" in parse_qs(parts.query)


def _users_in_urls(section: Mapping[str, Any]) -> list[str]:
    """Return an error for each URL that names a user, who would be in a header of every request, and be printed."""
    return [
        f"{key} names a user before the @: leave it out; nothing is logged in to there"
        for key, value in section.items()
        if isinstance(value, str) and USER_IN_URL.match(value)
    ]


def _platforms(path: Path, raw: Any, errors: list[str]) -> dict[str, dict[str, Any]]:
    try:
        return msgspec.convert(raw, dict[str, dict[str, Any]])
    except msgspec.ValidationError:
        errors.append(f"{path}: [platforms] holds a table for each platform: [platforms.<its name in the catalogue>]")
        return {}


def _unknown(name: str) -> str:
    if name in FORMER:
        return f"[{name}] is [platforms.<name>] now, with the name that the catalogue gives the platform"
    return next(unknown_keys([name], TOP))


def unknown_keys(given: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each key that is not known, with the nearest one and all that there are."""
    for each in given:
        if each not in known:
            yield f"{each!r} is not a setting{nearest.hint(each, known)}; there are {', '.join(sorted(known))}"


def unknown_variables(environment: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like a setting and is none."""
    for section, kind in SECTIONS.items():
        prefix = f"TIERGATE_{section.upper()}_"
        known = [f"{prefix}{each}".upper() for each in kind.__struct_fields__]
        known += [f"{prefix}{each}".upper() for each in _ways(section)]
        yield from unread(environment, prefix, known)


def unread(environment: Iterable[str], prefix: str, known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each variable with a prefix that is not among the known ones."""
    for each in environment:
        if each.startswith(prefix) and each not in known:
            yield f"the variable {each} is not a setting{nearest.hint(each, known)}"


def in_words(error: msgspec.ValidationError, prefix: str) -> str:
    """Return what is wrong with a section in the words of TOML, with the variable (by its `prefix`) that sets the key
    too."""
    reason, _, place = str(error).partition(" - at `$.")
    key = place.rstrip("`")
    if missing := re.fullmatch("Object missing required field `(.+)`", reason):
        key, reason = missing[1], "it is missing"
    elif wrong := re.fullmatch("Expected `(.+)`, got `(.+)`", reason):
        reason = f"it is to be {_kind(wrong[1])}, and is {_kind(wrong[2])}"
    elif form := re.search("matching regex '(.*)'", reason):
        reason = next((f"it is to begin with {begin}" for mark, begin in FORMS.items() if mark in form[1]), reason)
    return f"{key}: {reason}; set it there or as {prefix}{key.partition('.')[0].upper()}" if key else reason


def _kind(names: str) -> str:
    return " or ".join(KINDS.get(each, each) for each in names.split(" | "))
