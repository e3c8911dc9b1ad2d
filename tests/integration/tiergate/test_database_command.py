"""`tiergate database`, and a start on tables that it cannot use: sentences and exit codes, on both kinds of database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from process_apis.records.database import open_database
from process_apis.records.revisions import REVISIONS, title, upgrade
from tests.end_to_end.command_line.test_command_line import run

EXAMPLE = Path("deploy/tiergate.example.toml")
SECRETS = {
    f"TIERGATE_PLATFORMS_{each}": "secret"
    for each in (
        "SALESFORCE_CLIENT_SECRET",
        "TRYTON_PASSWORD",
        "STRIPE_API_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "PROVISIONER_SECRET",
    )
}
NEWEST = REVISIONS[-1]


def settings_for(url: str, folder: Path) -> str:
    """Return the path of a settings file that names this database."""
    path, text = folder / "tiergate.toml", EXAMPLE.read_text()
    assert 'database_url = ""' in text
    path.write_text(text.replace('database_url = ""', f'database_url = "{url}"'))
    return str(path)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'process.sqlite'}"


def test_status_says_what_an_upgrade_would_do_and_upgrade_does_it_once(database_url: str, tmp_path: Path) -> None:
    config = settings_for(database_url, tmp_path)

    before = run("database", "status", "--config", config)
    upgraded, again = (run("database", "upgrade", "--config", config) for _ in range(2))
    after = run("database", "status", "--config", config)

    assert before.returncode == 3
    assert f"it has no revision and needs {NEWEST}" in before.stdout
    assert f"to do: {REVISIONS[0]} {title(REVISIONS[0])}" in before.stdout
    assert (upgraded.returncode, again.returncode) == (0, 0)
    assert upgraded.stdout == f"upgraded: {', '.join(REVISIONS)}\n"
    assert again.stdout.startswith("nothing to do")
    assert after.returncode == 0
    assert f"it has {NEWEST} and needs {NEWEST}" in after.stdout
    assert "to do" not in after.stdout


@pytest.mark.parametrize("command", [("serve", "process"), ("up",), ("database", "status"), ("database", "upgrade")])
def test_tables_of_a_newer_version_are_refused_in_a_sentence(
    sqlite_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    engine = open_database(sqlite_url)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    done = run(*command, "--config", settings_for(sqlite_url, tmp_path), **SECRETS)

    assert done.returncode == 2
    assert "the tables have the revision 9999, and this version of Tiergate knows none after" in done.stderr
    assert "restore the backup" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("serve", "process"), ("up",)])
def test_a_start_that_must_not_upgrade_is_refused_with_the_command_that_does(
    sqlite_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = settings_for(sqlite_url, tmp_path)

    done = run(*command, "--config", config, TIERGATE_PROCESS_UPGRADE_AT_START="false", **SECRETS)

    assert done.returncode == 2
    assert "run `tiergate database upgrade`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_out_of_reach_is_told_in_a_sentence(tmp_path: Path) -> None:
    config = settings_for(f"postgresql://somebody:hidden@/process?host={tmp_path}", tmp_path)

    done = run("database", "status", "--config", config)

    assert done.returncode == 3
    assert "the database is out of reach" in done.stderr
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr
