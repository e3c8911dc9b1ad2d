"""Settings: one TOML file and environment variables, all checked at start, all errors told at once.

`TIERGATE_<SECTION>_<KEY>` overrides a key of the file. A secret is never in the file: it comes from its environment
variable, from the file that `<key>_file` names, or from what the command says that `<key>_command` names (a list of
words, run without a shell). A file is read again when it changes, a command is run again after `secrets_seconds`.
"""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from policies.catalogue.model import SHIPPED, Layer
from policies.http.platform_http import tls_context
from policies.store.secret import FromCommand, FromFile, Secret

DEFAULT_FOLDER = Path(".tiergate")
CommandWords = tuple[str, ...]
HttpUrl = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+")]
"""Where a server is, with its scheme."""
OptionalHttpUrl = Annotated[str, msgspec.Meta(pattern=r"^(https?://[^\s/]+.*)?$")]
"""The same, or empty."""


class SettingsError(ValueError):
    """All that is wrong with the settings, one line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the three deployables listen, and the region in which they run and store. `*_url` says where others find
    them, when that is another address. `fast_path` is whether reads take the short way in front of uvicorn."""

    host: str = "127.0.0.1"
    region: str = "eu"
    system_port: int = 8101
    process_port: int = 8102
    experience_port: int = 8103
    fast_path: bool = True
    system_url: OptionalHttpUrl = ""
    process_url: OptionalHttpUrl = ""

    def url_of_system(self) -> str:
        return self.system_url or f"http://{self.host}:{self.system_port}"

    def url_of_process(self) -> str:
        return self.process_url or f"http://{self.host}:{self.process_port}"


class Governance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`catalogue` names the file that governs; empty for the one that is shipped. `redis_url` is where replicas count
    together; empty when each layer runs once. `issuer` is the OIDC issuer whose tokens the channels take; empty for the
    local one. `local_tokens` is whether clients with a secret get tokens of the local one at `/oauth/token`. `secrets_seconds` is how old a secret may be that a command said."""

    catalogue: str = ""
    issuer: OptionalHttpUrl = ""
    redis_url: str = ""
    audit_key_file: str = ""
    local_tokens: bool = True
    secrets_seconds: float = 300.0

    def path(self) -> Path:
        return Path(self.catalogue) if self.catalogue else SHIPPED


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`database_url` is empty for SQLite in the state folder. `upgrade_at_start` is whether a start upgrades its tables;
    without it `tiergate database upgrade` does. Times are in seconds."""

    database_url: str = ""
    upgrade_at_start: bool = True
    dead_after: float = 5.0
    pause: float = 5.0
    longest_pause: float = 300.0
    call_timeout: float = 30.0
    delivery: float = 3600.0


class PlatformServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a platform is, and how a TLS connection to it is made: PEM files with the authorities that it trusts (empty:
    those of the machine), and with the certificate and key that it shows of us (empty: none)."""

    url: HttpUrl
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""

    def tls(self) -> ssl.SSLContext:
        """Raises `OSError` for a file that cannot be used."""
        return tls_context(self.ca_file, self.client_cert_file, self.client_key_file)


class Crm(PlatformServer, frozen=True, kw_only=True):
    client_id: str
    username: str = ""
    poll_seconds: float = 1.0
    client_secret_file: str = ""
    client_secret_command: CommandWords = ()
    private_key_file: str = ""
    private_key_command: CommandWords = ()


class Erp(PlatformServer, frozen=True, kw_only=True):
    database: str
    user: str
    password_file: str = ""
    password_command: CommandWords = ()


class Billing(PlatformServer, frozen=True, kw_only=True):
    api_key_file: str = ""
    api_key_command: CommandWords = ()
    webhook_secret_file: str = ""
    webhook_secret_command: CommandWords = ()


class Provisioning(PlatformServer, frozen=True, kw_only=True):
    secret_file: str = ""
    secret_command: CommandWords = ()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `folder` holds all state, and can be deleted."""

    crm: Crm
    erp: Erp
    billing: Billing
    provisioning: Provisioning
    folder: str = str(DEFAULT_FOLDER)
    server: Server = Server()
    governance: Governance = Governance()
    process: Process = Process()

    @property
    def state(self) -> Path:
        return Path(self.folder)

    def audit_log(self, layer: Layer) -> Path:
        return self.state / "audit" / f"{layer}.jsonl"

    def client_secrets(self) -> Path:
        """The digests of the secrets that clients get tokens for."""
        return self.state / "client-secrets.json"

    def audit_key(self) -> Path:
        """What seals the audit records. Whoever has it can forge them: keep it where the log is not."""
        return Path(self.governance.audit_key_file) if self.governance.audit_key_file else self.state / "audit.key"

    def process_database(self) -> str:
        return self.process.database_url or f"sqlite:///{(self.state / 'process.sqlite').resolve()}"


class Secrets(msgspec.Struct, frozen=True):
    """What must never be printed."""

    crm_client_secret: Secret
    crm_private_key: Secret
    erp_password: Secret
    billing_api_key: Secret
    billing_webhook_secret: Secret
    provisioning_secret: Secret


SECTIONS = {
    "server": Server,
    "governance": Governance,
    "process": Process,
    "crm": Crm,
    "erp": Erp,
    "billing": Billing,
    "provisioning": Provisioning,
}
SECRETS = {
    "crm_client_secret": ("crm", "client_secret"),
    "crm_private_key": ("crm", "private_key"),
    "erp_password": ("erp", "password"),
    "billing_api_key": ("billing", "api_key"),
    "billing_webhook_secret": ("billing", "webhook_secret"),
    "provisioning_secret": ("provisioning", "secret"),
}
NONE = Secret("")
USER_IN_URL = re.compile(r"https?://[^/?#]*@", re.IGNORECASE)
EITHER = {"crm_client_secret", "crm_private_key"}


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Raises `SettingsError` with every error at once."""
    errors: list[str] = []
    raw = _read(path, errors)
    made: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        found = raw.get(name, {})
        if not isinstance(found, dict):
            errors.append(f"{path}: [{name}] is not a table")
            continue
        section = cast("dict[str, Any]", found) | _overrides(name, kind, environment)
        if not section and not path.exists():
            continue  # that the file is missing says it all
        errors += [f"{path}: [{name}]: {each}" for each in _users_in_urls(name, section)]
        try:
            made[name] = msgspec.convert(section, kind, strict=False)
        except msgspec.ValidationError as error:
            errors.append(f"{path}: [{name}]: {error}; set it there or as TIERGATE_{name.upper()}_<KEY>")
            continue
        if isinstance(made[name], PlatformServer) and (wrong := _wrong_tls(made[name])):
            errors.append(f"{path}: [{name}]: {wrong}")
    errors += [f"{path}: {name!r} is not a setting" for name in raw if name not in (*SECTIONS, "folder")]
    if errors:
        raise SettingsError(errors)
    return Settings(**made, folder=environment.get("TIERGATE_FOLDER", str(raw.get("folder", path.parent))))


def _read(path: Path, errors: list[str]) -> dict[str, Any]:
    if not path.exists():
        errors.append(f"there is no {path}: `tiergate sandbox` makes one, or copy deploy/tiergate.example.toml")
        return {}
    try:
        return msgspec.toml.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        errors.append(f"{path}: {error}")
        return {}


def _overrides(section: str, kind: type[msgspec.Struct], environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in kind.__struct_fields__:
        value = environment.get(f"TIERGATE_{section}_{field}".upper())
        if value is not None:
            found[field] = value
    return found


def _users_in_urls(section: str, found: Mapping[str, Any]) -> list[str]:
    """One error for each address that names a user or a password: it would go out in a header of every request, and be printed."""
    places = [
        f"TIERGATE_{name}".upper() + f", {section}.{key}_file or {section}.{key}_command"
        for name, (owner, key) in SECRETS.items()
        if owner == section
    ]
    remedy = "; a secret belongs in " + ", or in ".join(places) if places else "; nothing is logged in to there"
    return [
        f"{key} names a user before the @: leave it out{remedy}"
        for key, value in found.items()
        if isinstance(value, str) and USER_IN_URL.match(value)
    ]


def _wrong_tls(server: PlatformServer) -> str:
    """What is wrong with the files for TLS; empty when nothing is."""
    if server.client_key_file and not server.client_cert_file:
        return "client_key_file is of no use without client_cert_file"
    if not (server.ca_file or server.client_cert_file):
        return ""
    if not server.url.startswith("https://"):
        return "ca_file and client_cert_file are of no use without an https:// url"
    try:
        server.tls()
    except OSError as error:
        files = "ca_file, client_cert_file or client_key_file"
        return f"{files} cannot be used ({error.strerror or error}): they are PEM files, and the key has no password"
    return ""


def secrets(settings: Settings, environment: Mapping[str, str]) -> Secrets:
    """Raises `SettingsError` that names what is missing, never what was found."""
    errors: list[str] = []
    found: dict[str, Secret] = {}
    for name, (section, key) in SECRETS.items():
        place = f"{section}.{key}"
        try:
            found[name] = _secret(name, settings, environment) or NONE
        except OSError as error:
            errors.append(f"{name} cannot be read: {place}_file or {place}_command: {error.strerror}")
        except subprocess.SubprocessError as error:
            errors.append(f"{name} cannot be read: {place}_command failed ({type(error).__name__})")
        else:
            if not found[name] and name not in EITHER:
                variable = f"TIERGATE_{name}".upper()
                errors.append(f"{name} is missing: set {variable}, {place}_file to a file, or {place}_command")
    if found.keys() >= EITHER and not any(found[name] for name in EITHER):
        errors.append(
            "crm credentials are missing: set TIERGATE_CRM_CLIENT_SECRET or TIERGATE_CRM_PRIVATE_KEY, or their files"
        )
    if errors:
        raise SettingsError(errors)
    return Secrets(**found)


def _secret(name: str, settings: Settings, environment: Mapping[str, str]) -> Secret | None:
    variable = f"TIERGATE_{name}".upper()
    if variable in environment:
        return Secret(environment[variable])
    section, key = SECRETS[name]
    given = getattr(settings, section)
    file, command = getattr(given, f"{key}_file"), getattr(given, f"{key}_command")
    if file and Path(file).exists():
        return FromFile(Path(file))
    return FromCommand(command, settings.governance.secrets_seconds) if command else None
