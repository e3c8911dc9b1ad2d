"""What the replicas of the layers share: files of the state folder, or documents in a database where they run on
several machines."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from canonical.ids import Clock, utc_now
from policies.background import Job
from policies.identity.client_secrets import ClientSecrets
from policies.identity.issuer import Issuer
from policies.identity.key_ring import KeyRing
from policies.identity.revocation import KEY, RevocationDocument, Revocations, RevocationStore, begin
from policies.store.documents import Document, FileDocument, StoreAway
from policies.store.leases import FileLease, KeptLease
from policies.store.secret import Secret
from policies.store.shared_clock import SharedClock
from policies.store.shared_store import REDIS_SECONDS
from policies.store.virtual_clock import VirtualClock
from tiergate.secret_settings import SecretError, SecretSetting
from tiergate.settings import NotReady, Settings, SettingsError

if TYPE_CHECKING:
    from policies.store.shared_database import DatabaseLease, SharedDatabase


def replica_name() -> str:
    """Return a name that no other process has, which says where this one runs."""
    return f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"


def read_secret(section: str, setting: SecretSetting) -> Secret:
    """Return a secret of the settings. Raises `SettingsError` when it cannot be read."""
    try:
        return setting.read()
    except SecretError as error:
        raise SettingsError([f"[{section}]: {error}"]) from error


class SharedState:
    """The documents and leases that one process shares with others, and the keys that it signs with."""

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingsError` for a database or a key that cannot be used, `NotReady` when the database is out of
        reach."""
        self._settings = settings
        self._name = replica_name()
        self.clock: Clock = _virtual_clock(settings) or utc_now
        """The time that the replicas agree about."""
        self._database = _database(settings, self._name)
        self.jobs: tuple[Job, ...] = ()
        """What has to be done again and again, for as long as a layer runs."""
        if self._database is not None:
            clock = _clock(self._database)
            self.clock, self.jobs = clock, (clock.watch,)
        self.keys = self._keys()
        """Published already: others take a token that is signed with them."""

    def issuer(self) -> Issuer:
        """Return the local issuer, for commands: a layer has one that knows of revocations."""
        return Issuer(self.keys, self.clock)

    def client_secrets(self) -> ClientSecrets:
        return ClientSecrets(self._document("client-secrets", self._settings.client_secrets()))

    def webhook_key(self) -> Document:
        """Return the key from which the secrets of webhooks are made: it outlives a restore of the tables."""
        return self._document("webhook-key", self._settings.webhook_key())

    def erased_people(self) -> Document:
        """Return who was erased, and the key of the digests: it outlives a restore of the tables."""
        return self._document("erased", self._settings.erased_people())

    def revocations(self) -> Revocations:
        return Revocations(self._revoked_store(), self.clock)

    def begin_revocations(self) -> None:
        """Begin the revocations where there are none yet: a token that is made now would be from before the first start
        of a layer otherwise."""
        if self._database is not None or not self._settings.governance.redis_url:
            begin(self._revoked(), self.clock())

    def feed(self, instance: str, former: Path | None = None) -> tuple[Document, KeptLease]:
        """Return how far the change feed of an instance was read, and the lease of who reads it.

        `former` is the path at which an earlier version stored the position.
        """
        path = self._settings.state / "cursors" / instance
        if former is not None and former.exists() and not path.exists():
            former.rename(path)
        if self._database is None:
            return FileDocument(path), KeptLease(
                FileLease(path.with_name(f"{instance}.lease")), name=f"lease of {instance}"
            )
        from policies.store.shared_database import DatabaseLease  # and SQLAlchemy, where there is a use for it

        lease = DatabaseLease(self._database, f"feed:{instance}")
        return self._document(f"feed:{instance}", path, lease), KeptLease(lease, name=f"lease of {instance}")

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _keys(self) -> KeyRing:
        named = self._settings.governance.issuer_key_file
        days = None if named else self._settings.governance.key_days
        published = self._document("signing-keys", self._settings.state / "signing-keys.json")
        made = KeyRing(self._settings.issuer_key(), published, self.clock, by=self._name, days=days)
        try:
            made.begin()
        except StoreAway as error:
            raise NotReady(str(error)) from error
        except FileNotFoundError as error:
            raise SettingsError([f"governance.issuer_key_file: there is no {named}"]) from error
        except ValueError as error:
            raise SettingsError([f"{self._settings.issuer_key()}: {error}"]) from error
        return made

    def _revoked(self) -> Document:
        return self._document("revoked", self._settings.revoked_file())

    def _revoked_store(self) -> RevocationStore:
        governance = self._settings.governance
        if self._database is None and governance.redis_url:
            from policies.store.shared_redis import RedisDocument  # and Redis, where there is one

            password = read_secret("governance", governance.redis_password)
            return RedisDocument(governance.redis_url, KEY, REDIS_SECONDS, password)
        return RevocationDocument(self._revoked())

    def _document(self, name: str, path: Path, lease: DatabaseLease | None = None) -> Document:
        """Return a document. What a file says of it, from before there was a database, is taken over once."""
        local = FileDocument(path)
        if self._database is None:
            return local
        from policies.store.shared_database import DatabaseDocument

        shared = DatabaseDocument(self._database, name)
        try:
            if path.is_file() and not shared.read():
                shared.change(lambda found: found or local.read())
        except StoreAway as error:
            raise NotReady(str(error)) from error
        return DatabaseDocument(self._database, name, lease)


def _virtual_clock(settings: Settings) -> VirtualClock | None:
    path = settings.governance.clock_file
    if not path:
        return None
    if settings.governance.database_url:
        raise SettingsError(["governance.clock_file: replicas that share a database have its time, leave one out"])
    return VirtualClock(Path(path))


def _clock(database: SharedDatabase) -> SharedClock:
    try:
        return SharedClock(database.now)
    except StoreAway as error:
        raise NotReady(str(error)) from error


def _database(settings: Settings, holder: str) -> SharedDatabase | None:
    url = settings.governance.database_url
    if not url:
        return None
    from sqlalchemy.exc import ArgumentError

    from policies.store.shared_database import SharedDatabase

    password = read_secret("governance", settings.governance.database_password)
    try:
        made = SharedDatabase(url, password, holder)
    except (ArgumentError, ImportError) as error:
        raise SettingsError([f"governance.database_url: {error}"]) from error
    try:
        made.prepare()
    except StoreAway as error:
        made.close()
        raise NotReady(str(error)) from error
    return made
