"""A backup is whole or not there, and a restore puts back the work, and nothing that stands."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from policies.audit.log import AuditLog
from policies.audit.records import AuditEntry, sealing_key
from policies.audit.verify import export, verify
from policies.identity.revocation import begin
from policies.store.documents import FileDocument
from policies.store.files import write_atomically
from policies.store.shared_store import SharedFileStore
from process_apis.records.database import open_database
from process_apis.records.revisions import REVISIONS, upgrade
from tiergate.backup import MANIFEST, copy_database
from tiergate.cli.main import cli
from tiergate.settings import Settings, load
from tiergate.state_in_use import RESTORING, used_alone, used_by_layer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT = "SELECT COUNT(*) FROM executors"


class State:
    """The state of a machine, as the layers leave it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.config = folder / "tiergate.toml"
        self.config.touch()
        self.settings: Settings = load(self.config, {})

    def fill(self) -> None:
        database = open_database(self.settings.process_database())
        upgrade(database)
        database.dispose()
        SharedFileStore(self.folder / "experience-shared.sqlite", lambda: NOW)
        write_atomically(self.folder / "cursors" / "salesforce", b"before")
        write_atomically(self.folder / "client-secrets.json", b"before")
        write_atomically(self.folder / "issuer.pem", b"private")
        write_atomically(self.folder / "signing-keys.json", b"{}")
        begin(FileDocument(self.settings.revoked_file()), NOW)
        self.act("before")

    def act(self, what: str) -> None:
        """Do something that leaves a row, and a record of the audit log."""
        with closing(sqlite3.connect(self.folder / "process.sqlite")) as connection, connection:
            connection.execute("INSERT INTO executors VALUES (?, 0)", (what,))
        with closing(AuditLog(self.settings.audit_files("process"), self.key)) as log:
            log.write(
                AuditEntry(
                    at=NOW,
                    layer="process",
                    operation="act_on_case",
                    version="v1",
                    client=what,
                    on_behalf_of="",
                    object="",
                    status=200,
                    correlation_id="",
                )
            )

    def go_on(self) -> None:
        """Do what comes after the backup."""
        write_atomically(self.folder / "cursors" / "salesforce", b"after")
        write_atomically(self.folder / "client-secrets.json", b"after")
        write_atomically(self.settings.revoked_file(), b"{}")
        self.act("after")

    @property
    def key(self) -> bytes:
        return sealing_key(self.settings.audit_key())

    @property
    def rows(self) -> int:
        with closing(sqlite3.connect(self.folder / "process.sqlite")) as connection:
            return connection.execute(KEPT).fetchone()[0]

    def records(self) -> list[bytes]:
        """Return the records of the audit log, which is as it was written."""
        files = self.settings.audit_files("process")
        _, broken = verify(files, self.key)
        assert broken == []
        return list(export([files], None, None, None))

    def contents(self) -> dict[str, bytes]:
        """Return all files of the work and of what stands."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        }

    def run(self, *arguments: str | Path, **environment: str) -> Result:
        words = [*map(str, arguments), "--config", str(self.config)]
        return CliRunner(env=environment).invoke(cli, words, catch_exceptions=False)


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "state")
    made.fill()
    return made


@pytest.fixture
def backup(state: State, tmp_path: Path) -> Path:
    folder = tmp_path / "backups" / "first"
    done = state.run("backup", folder)
    assert done.exit_code == 0, done.stderr
    return folder


def test_a_backup_belongs_to_its_user_alone_and_leaves_nothing_beside_it(backup: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in backup.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (backup, *backup.rglob("*")) if path.is_dir()}

    assert (modes, folders) == ({0o600}, {0o700})
    assert list(backup.parent.iterdir()) == [backup]


def test_what_would_let_somebody_in_is_in_no_backup(backup: Path) -> None:
    names = {path.name for path in backup.rglob("*")}

    assert names.isdisjoint({"revoked.json", "issuer.pem", "signing-keys.json", "tiergate.toml"})


def test_a_copy_of_a_database_that_is_written_to_is_one_moment(tmp_path: Path) -> None:
    source, done = tmp_path / "of.sqlite", threading.Event()
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE a (n); CREATE TABLE b (n);")

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=30)) as connection:
            for number in range(100_000):
                with connection:
                    connection.execute("INSERT INTO a VALUES (?)", (number,))
                    connection.execute("INSERT INTO b VALUES (?)", (number,))
                if done.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    counts: list[tuple[int, int]] = []
    for number in range(20):
        copy_database(source, tmp_path / f"{number}.sqlite")
        with closing(sqlite3.connect(tmp_path / f"{number}.sqlite")) as connection:
            counts.append(connection.execute("SELECT (SELECT COUNT(*) FROM a), (SELECT COUNT(*) FROM b)").fetchone())
    done.set()
    writer.join()

    assert all(first == second for first, second in counts)
    assert counts[-1] > counts[0]


def test_a_backup_that_fails_is_not_there(state: State, tmp_path: Path) -> None:
    (state.folder / "process.sqlite").write_bytes(b"SQLite format 3\0" + bytes(8000))

    done = state.run("backup", tmp_path / "backups" / "broken")

    assert done.exit_code == 4
    assert "process.sqlite cannot be copied" in done.stderr
    assert list((tmp_path / "backups").iterdir()) == []


def test_an_existing_target_is_left_alone(state: State, backup: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in backup.rglob("*")}

    done = state.run("backup", backup)

    assert done.exit_code == 3
    assert "is there already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in backup.rglob("*")} == before


def test_the_work_is_put_back_what_stands_stays_and_the_audit_log_says_so(state: State, backup: Path) -> None:
    state.go_on()

    done = state.run("restore", backup, "--move-aside")

    assert done.exit_code == 0, done.stderr
    assert (state.rows, (state.folder / "cursors" / "salesforce").read_text()) == (1, "before")
    assert (state.folder / "client-secrets.json").read_text() == "after"
    assert state.settings.revoked_file().read_text() == "{}"
    *earlier, restored = state.records()
    assert [b'"client":"before"' in earlier[0], b'"client":"after"' in earlier[1]] == [True, True]
    assert b'"operation":"restore_backup"' in restored
    (aside,) = state.folder.glob("replaced-*")
    with closing(sqlite3.connect(aside / "process.sqlite")) as connection:
        assert connection.execute(KEPT).fetchone() == (2,)
    assert not (state.folder / RESTORING).exists()


def test_a_new_machine_gets_all_of_it_and_no_revocations(state: State, backup: Path, tmp_path: Path) -> None:
    state.go_on()
    other = State(tmp_path / "other")

    done = other.run("restore", backup)

    assert done.exit_code == 0, done.stderr
    assert (other.rows, other.key) == (1, state.key)
    assert (other.folder / "client-secrets.json").read_text() == "before"
    assert not other.settings.revoked_file().exists()
    before, restored = other.records()
    assert (b'"client":"before"' in before, b'"object":"backup of ' in restored) == (True, True)


def test_where_the_head_of_the_log_is_left_what_is_missing_after_the_backup_is_named(
    state: State, backup: Path
) -> None:
    state.act("after")
    shutil.rmtree(state.folder / "audit")

    state.run("restore", backup, "--move-aside")

    _, broken = verify(state.settings.audit_files("process"), state.key)
    assert [each.reason for each in broken] == ["record 2 is missing before it"]


def test_work_that_is_there_is_not_replaced_unless_it_may_be_moved_aside(state: State, backup: Path) -> None:
    before = state.contents()

    done = state.run("restore", backup)

    assert done.exit_code == 3
    assert "has work in it (cursors/salesforce, experience-shared.sqlite, process.sqlite)" in done.stderr
    assert state.contents() == before


@pytest.mark.parametrize("damage", ["changed", "missing", "more", "link", "manifest", "nothing"])
def test_a_damaged_backup_changes_nothing(state: State, backup: Path, damage: str) -> None:
    before, database = state.contents(), backup / "process.sqlite"
    match damage:
        case "changed":
            content = bytearray(database.read_bytes())
            content[-1] ^= 1
            database.write_bytes(content)
        case "missing":
            database.unlink()
        case "more":
            (backup / "more").touch()
        case "link":
            database.rename(backup.with_name("elsewhere"))
            database.symlink_to(backup.with_name("elsewhere"))
        case "manifest":
            (backup / MANIFEST).write_text("{")
        case _:
            (backup / MANIFEST).unlink()

    done, checked = state.run("restore", backup, "--move-aside"), state.run("restore", backup, "--check")

    assert (done.exit_code, checked.exit_code) == (4, 4)
    assert "another backup" in done.stderr or "is no backup" in done.stderr
    assert state.contents() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [('"tiergate": "', '"tiergate": "9'), ('"dbos": "', '"dbos": "9'), (f'"{REVISIONS[-1]}"', '"9999"')],
)
def test_a_backup_of_a_newer_version_is_refused(state: State, backup: Path, old: str, new: str) -> None:
    manifest = backup / MANIFEST
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new))

    done = state.run("restore", backup, "--move-aside")

    assert done.exit_code == 4
    assert "made by a newer version" in done.stderr


def test_nothing_is_restored_while_a_layer_runs_and_no_layer_starts_in_the_middle_of_it(
    state: State, backup: Path
) -> None:
    before = state.contents()
    with used_by_layer(state.folder), used_by_layer(state.folder):
        running = state.run("restore", backup, "--move-aside")
    with used_alone(state.folder):
        started = state.run("serve", "process")
    (state.folder / RESTORING).mkdir()
    with capture_logs():
        cut_short = state.run("serve", "process")

    assert [each.exit_code for each in (running, started, cut_short)] == [3, 3, 3]
    assert "a layer runs on" in running.stderr
    assert "is being restored" in started.stderr
    assert "run `tiergate restore` again" in cut_short.stderr
    assert state.contents() == before


def test_a_restore_that_was_cut_short_is_done_again(state: State, backup: Path) -> None:
    (state.folder / RESTORING).mkdir()
    (state.folder / RESTORING / "process.sqlite").write_bytes(b"half of it")
    (state.folder / "process.sqlite").unlink()

    done = state.run("restore", backup, "--move-aside")

    assert done.exit_code == 0, done.stderr
    assert state.rows == 1


def test_a_database_on_postgresql_is_left_to_its_server(state: State, tmp_path: Path) -> None:
    server = {"TIERGATE_PROCESS_DATABASE_URL": "postgresql://tiergate@database/tiergate"}

    refused = state.run("backup", tmp_path / "all", **server)
    done = state.run("backup", tmp_path / "files", "--files-only", **server)
    other_way = state.run("backup", tmp_path / "all", "--files-only")

    assert (refused.exit_code, done.exit_code, other_way.exit_code) == (3, 0, 2)
    assert "pg_dump" in refused.stderr
    assert not (tmp_path / "files" / "process.sqlite").exists()
    assert (tmp_path / "files" / "cursors" / "salesforce").exists()


def test_keys_that_are_kept_apart_are_in_no_backup(state: State, tmp_path: Path) -> None:
    apart = tmp_path / "apart.key"
    (state.folder / "audit.key").rename(apart)

    done = state.run("backup", tmp_path / "backup", TIERGATE_GOVERNANCE_AUDIT_KEY_FILE=str(apart))

    assert f"{apart} (governance.audit_key_file) is kept apart" in done.stderr
    assert not (tmp_path / "backup" / "audit.key").exists()
