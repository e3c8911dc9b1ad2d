"""Backups of what one machine has, made while the layers run, and put back while none does.

There are two kinds of state. The *work* (the databases, and how far change feeds were read) is put back as a whole: it
is one moment of the past. What *stands* (client secrets, the key of webhooks, who was erased, the audit log with its
key and heads) is put back only where nothing is: an older one would let in who was locked out since, and forget who was
erased and what was recorded since.

Signing keys and revocations are in no backup: it would let in anybody who reads it. Where they are lost, keys are made
again and nothing from before is good (`policies.identity.key_ring`, `policies.identity.revocation`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import BinaryIO, get_args

import msgspec
from sqlalchemy import make_url

from policies.audit.files import LogFiles, snapshot
from policies.catalogue.model import Layer
from policies.store.documents import FileDocument
from policies.store.files import make_private
from process_apis.records.database import open_database
from process_apis.records.erased import ErasedPeople
from process_apis.records.orders import ask_targets_again
from process_apis.records.revisions import REVISIONS
from tiergate.recorded import record
from tiergate.settings import NotReady, Settings
from tiergate.state_in_use import RESTORING, used_alone

FORMAT = 1
MANIFEST = "manifest.json"
WEBHOOK_KEY = "webhook.key"
ERASED = "erased.json"
"""The list of who was erased, with the key of its digests."""
PROCESS = "process.sqlite"
LAYERS: tuple[Layer, ...] = get_args(Layer)
PACKAGES = ("tiergate", "dbos")
"""The packages whose tables and files are in a backup."""
JOURNALS = ("-wal", "-shm", "-journal")
RESTORED = "restore_backup"
"""The operation that the audit log names for a restore."""
SQLITE_SECONDS = 30.0
"""Seconds to wait for a database that another process has locked."""


class BackupError(Exception):
    """A backup cannot be used. The message says why, and what to do."""


class BackupFile(msgspec.Struct, frozen=True):
    """A file of a backup: its path inside it, its size in bytes, its digest in hex."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: when it was made (UTC), by which versions of `PACKAGES`, the revision of the tables (empty
    without them), its files."""

    format: int
    made_at: datetime
    versions: dict[str, str]
    revision: str
    files: tuple[BackupFile, ...]

    @property
    def size(self) -> int:
        """Return the size of all files in bytes."""
        return sum(each.size for each in self.files)


class Restored(msgspec.Struct, frozen=True):
    """What a restore did: the names that it put back, those that stayed as they were, where the former work is, and how
    many people were erased that the backup may have."""

    manifest: Manifest
    put_back: list[str]
    stayed: list[str]
    aside: Path | None
    erased: int


class StatePaths(msgspec.Struct, frozen=True):
    """Where the state of the settings is, by the names that it has in a backup."""

    work: dict[str, Path]
    """The databases, which may be there or not."""
    positions: Path
    standing: dict[str, Path]
    logs: dict[Layer, LogFiles]
    elsewhere: dict[str, str]
    """What no backup has since it is kept apart, by its setting."""


def state_paths(settings: Settings) -> StatePaths:
    """Return where the state is. Keys that the settings keep outside the state folder are in no backup: who has
    the log must not have the key that seals it."""
    governance = settings.governance
    named = {
        "audit.key": ("governance.audit_key_file", governance.audit_key_file, settings.audit_key()),
        "client-secrets.json": (
            "governance.client_secrets_file",
            governance.client_secrets_file,
            settings.client_secrets(),
        ),
    }
    work = {f"{layer}-shared.sqlite": settings.state / f"{layer}-shared.sqlite" for layer in LAYERS}
    if (database := database_file(settings)) is not None:
        work[PROCESS] = database
    standing = {name: path for name, (_, elsewhere, path) in named.items() if not elsewhere}
    return StatePaths(
        work,
        settings.state / "cursors",
        standing | {ERASED: settings.erased_people(), WEBHOOK_KEY: settings.webhook_key()},
        {layer: settings.audit_files(layer) for layer in LAYERS},
        {setting: elsewhere for setting, elsewhere, _ in named.values() if elsewhere},
    )


def database_file(settings: Settings) -> Path | None:
    """Return the file of the process layer's database, None when a server has it."""
    url = make_url(settings.process_database())
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


# ---- making one


def back_up(settings: Settings, target: Path, now: datetime) -> Manifest:
    """Make a backup in the folder `target`, whole or not at all. Layers may run.

    Raises `NotReady` for a target that is there, and when there is nothing to back up.
    """
    if target.exists() or target.is_symlink():
        raise NotReady(f"{target} is there already: name a folder that is not")
    if not settings.state.is_dir():
        raise NotReady(f"there is no state in {settings.state}: --config names the settings of the layers")
    draft = target.with_name(f"{target.name}.partial-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that had the same number and was killed
    make_private(target.parent)
    draft.mkdir(0o700)
    try:
        revision = _copy_state(state_paths(settings), draft)
        files = tuple(_described(draft, path) for path in _files(draft))
        versions = {each: version(each) for each in PACKAGES}
        manifest = Manifest(format=FORMAT, made_at=now, versions=versions, revision=revision, files=files)
        with _created(draft / MANIFEST) as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        for folder in (*(each for each in draft.rglob("*") if each.is_dir()), draft):
            _sync(folder)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(target.parent)
    return manifest


def _copy_state(state: StatePaths, draft: Path) -> str:
    """Copy everything. Return the revision of the tables.

    The order is what makes of several files one moment: what says that something was done is copied before that which
    has it. A position that is older than the database reads a change twice, which is found; one that is newer would
    lose it. An answer that was kept is older than the records that it is about. The engine's tables and ours are one
    database, and so one moment. The audit log comes last: all that the databases hold is in it.
    """
    for path in _positions(state):
        _copy(path, draft / "cursors" / path.name)
    for name, path in state.work.items():
        if name != PROCESS and path.exists():
            copy_database(path, draft / name)
    if (database := state.work.get(PROCESS)) is not None and database.exists():
        copy_database(database, draft / PROCESS)
    for name, path in state.standing.items():
        if path.exists():
            _copy(path, draft / name)
    for files in state.logs.values():
        _copy_log(files, draft)
    return _revision(draft / PROCESS)


def _positions(state: StatePaths) -> list[Path]:
    """Return the files of positions, without locks and drafts."""
    found = sorted(state.positions.iterdir()) if state.positions.is_dir() else []
    return [path for path in found if not path.suffix]


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it is at one moment, while others write to it (SQLite: Online Backup API). Raises
    `BackupError` when that is not possible, or it is damaged."""
    with _created(target):
        pass
    address = f"{source.resolve().as_uri()}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=SQLITE_SECONDS)) as present,
            closing(sqlite3.connect(target)) as copy,
        ):
            present.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise BackupError(f"{source} cannot be copied ({found}): if it is damaged, restore the last backup")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _copy_log(files: LogFiles, draft: Path) -> None:
    """Copy an audit log as far as its head says, which is the moment at which it was opened."""
    with snapshot(files) as taken:
        head = files.read_head(taken.head)
        for path in taken.closed:
            with contextlib.suppress(FileNotFoundError):  # its gap is in the next one by now
                _copy(path, draft / "audit" / path.name)
        if taken.opened is not None:
            left = head.size if head and head.size >= 0 else os.fstat(taken.opened.fileno()).st_size
            with _created(draft / "audit" / files.log.name) as file:
                while part := taken.opened.read(min(left, 1 << 20)):
                    left -= file.write(part)
        for content, path in (
            (taken.spilled, draft / "audit" / files.reserve.name),
            (taken.head, draft / "audit-heads" / files.head.name),
        ):
            if content:
                with _created(path) as file:
                    file.write(content)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, _created(target) as made:
        shutil.copyfileobj(file, made)


@contextlib.contextmanager
def _created(path: Path) -> Generator[BinaryIO]:
    """Yield a new file that nobody else may open, which is on the disk at the end of the block."""
    make_private(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Let the names in a folder be there after a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _revision(database: Path) -> str:
    if not database.exists():
        return ""
    with closing(sqlite3.connect(database)) as connection:
        row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if row else None
    return found[0] if found else ""


# ---- checking one


def check(folder: Path) -> Manifest:
    """Return the manifest of a backup that is as it was made and can be used by this version. Raises `BackupError`."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}") from error
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / MANIFEST} is not as it was written ({error}): use another backup") from error
    _check_versions(manifest)
    found = {_name(folder, path): path for path in _files(folder)}
    described = {each.name: each for each in manifest.files}
    wrong = [f"{name} is missing" for name in sorted(described.keys() - found.keys())]
    wrong += [f"{name} is no part of it" for name in sorted(found.keys() - described.keys())]
    wrong += [
        f"{name} is not as it was written"
        for name, path in sorted(found.items())
        if name in described and (path.is_symlink() or _described(folder, path) != described[name])
    ]
    if wrong:
        raise BackupError(f"{folder} is damaged: {'; '.join(wrong)}. Use another backup")
    return manifest


def _check_versions(manifest: Manifest) -> None:
    newer = [
        f"{name} {made}" for name, made in manifest.versions.items() if _numbers(made) > _numbers(_installed(name))
    ]
    if manifest.format > FORMAT or newer or (manifest.revision and manifest.revision not in REVISIONS):
        made_by = ", ".join(f"{name} {made}" for name, made in manifest.versions.items())
        raise BackupError(f"the backup was made by a newer version ({made_by}): install that one, and restore with it")


def _installed(package: str) -> str:
    return version(package) if package in PACKAGES else "0"


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version, for comparison."""
    parts = text.split(".")
    return tuple(int(each) for each in parts if each.isdecimal())


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a backup, but for its manifest."""
    for path in sorted(folder.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path != folder / MANIFEST:
            yield path


def _name(folder: Path, path: Path) -> str:
    return str(PurePosixPath(path.relative_to(folder)))


def _described(folder: Path, path: Path) -> BackupFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BackupFile(_name(folder, path), path.stat().st_size, digest)


# ---- putting one back


def restore(settings: Settings, backup: Path, now: datetime, *, move_aside: bool) -> Restored:
    """Put a backup back, after it was checked. What is there of the work is moved aside if that is asked for.

    Raises `BackupError` for a backup that cannot be used, `NotReady` while a layer runs on the state folder, and when
    there is work that must not be moved.
    """
    manifest = check(backup)
    state = state_paths(settings)
    with used_alone(settings.state):
        present = _present_work(state)
        if present and not move_aside:
            names = ", ".join(sorted(present))
            raise NotReady(f"{settings.state} has work in it ({names}): with --move-aside it is kept beside it")
        staged = settings.state / RESTORING
        shutil.rmtree(staged, ignore_errors=True)  # of a restore that was cut short
        for each in manifest.files:
            _copy(backup / each.name, staged / each.name)
        if (staged / PROCESS).exists():
            _prepare(staged / PROCESS, now)
        put, stayed = _plan(state, manifest)
        aside = settings.state / f"replaced-{now:%Y%m%dT%H%M%SZ}" if present else None
        if aside:
            for name, path in present.items():
                _move(path, aside / name, settings.state)
        for name, path in put.items():
            _move(staged / name, path, settings.state)
        what = f"backup of {manifest.made_at.isoformat(timespec='seconds')}"
        for layer, files in state.logs.items():
            if files.exist():
                record(settings, layer, RESTORED, what, now)
        shutil.rmtree(staged)
    people = ErasedPeople(FileDocument(settings.erased_people())).all()
    return Restored(manifest, sorted(put), sorted(stayed), aside, len(people))


def _prepare(database: Path, now: datetime) -> None:
    """Let work be looked for at once that others may have ended since."""
    engine = open_database(f"sqlite:///{database.resolve()}")
    try:
        ask_targets_again(engine, now)
    finally:
        engine.dispose()


def _present_work(state: StatePaths) -> dict[str, Path]:
    """Return the work that is there, with the journals of databases, by its names."""
    found = {name + end: Path(f"{path}{end}") for name, path in state.work.items() for end in ("", *JOURNALS)}
    found |= {f"cursors/{each.name}": each for each in _positions(state)}
    return {name: path for name, path in found.items() if path.exists()}


def _plan(state: StatePaths, manifest: Manifest) -> tuple[dict[str, Path], list[str]]:
    """Return where each file of a backup goes, and the names of those that stay out: something stands there."""
    put: dict[str, Path] = {}
    stayed: list[str] = []
    logs: Mapping[str, LogFiles] = {**state.logs}
    logged = {layer for layer, files in logs.items() if files.exist()}
    for each in manifest.files:
        path = PurePosixPath(each.name)
        layer = path.name.partition(".")[0]
        match path.parts:
            case ["cursors", position]:
                put[each.name] = state.positions / position
            case [single] if single in state.work:
                put[each.name] = state.work[single]
            case [single] if single in state.standing and not state.standing[single].exists():
                put[each.name] = state.standing[single]
            case ["audit", file] if layer in logs and layer not in logged:
                put[each.name] = logs[layer].log.with_name(file)
            case ["audit-heads", _] if layer in logs and not logs[layer].head.exists():
                put[each.name] = logs[layer].head
            case _:  # it stands, or the settings keep it elsewhere by now
                stayed.append(each.name)
    return put, stayed


def _move(source: Path, target: Path, state: Path) -> None:
    """Move a file, to another disk too. It belongs to whom the state does, also when an administrator restores."""
    make_private(target.parent)
    shutil.move(source, target)
    if os.geteuid() == 0:
        owner = state.stat()
        for each in (target, target.parent):
            os.chown(each, owner.st_uid, owner.st_gid)
