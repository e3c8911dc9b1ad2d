"""`tiergate database`, and a start on tables that it cannot use: sentences and exit codes, on both kinds of
database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from process_apis.records.database import OLDEST, open_database
from process_apis.records.revisions import REVISIONS, title, upgrade
from tests.end_to_end.command_line.test_command_line import run
from tests.support.process_context import TestClock, accepted_order, context_over
from tiergate.cli.main import cli

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
    others, own = text.split("[process]")
    assert 'database_url = ""' in own
    path.write_text("[process]".join((others, own.replace('database_url = ""', f'database_url = "{url}"'))))
    return str(path)


def invoke(*arguments: str, **environment: str) -> Result:
    """Run a command in this process. What it does not tell in a sentence is raised."""
    return CliRunner(env=environment).invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'process.sqlite'}"


def test_size_says_how_much_room_each_table_takes_and_what_that_is_for_an_order(
    database_url: str, tmp_path: Path
) -> None:
    config = settings_for(database_url, tmp_path)
    invoke("database", "upgrade", "--config", config)
    with context_over(database_url, TestClock()) as context:
        for deal in ("first", "second"):
            accepted_order(context, deal, "validating", "cancelled")
        accepted_order(context, "third", "validating")

    done = invoke("database", "size", "--config", config)

    assert done.exit_code == 0, done.stderr
    orders, _, *tables, everything = done.stdout.splitlines()
    assert orders == "2 finished orders"
    rows = {name: count for name, count, _, _ in (each.split() for each in tables)}
    assert (rows["orders"], rows["order_lines"], rows["leases"]) == ("3", "6", "0")
    _, _, total, for_an_order = everything.replace(",", "").split()
    assert int(total) == 2 * int(for_an_order) > 0


def test_status_says_what_an_upgrade_would_do_and_upgrade_does_it_once(database_url: str, tmp_path: Path) -> None:
    config = settings_for(database_url, tmp_path)

    before = invoke("database", "status", "--config", config)
    upgraded, again = (invoke("database", "upgrade", "--config", config) for _ in range(2))
    after = invoke("database", "status", "--config", config)

    assert before.exit_code == 3
    assert f"it has no revision and needs {NEWEST}" in before.stdout
    assert f"to do: {REVISIONS[0]} {title(REVISIONS[0])}" in before.stdout
    assert (upgraded.exit_code, again.exit_code) == (0, 0)
    assert upgraded.stdout == f"upgraded: {', '.join(REVISIONS)}\n"
    assert again.stdout.startswith("nothing to do")
    assert after.exit_code == 0
    assert f"it has {NEWEST} and needs {NEWEST}" in after.stdout
    assert "to do" not in after.stdout


@pytest.fixture
def newer_url(sqlite_url: str) -> str:
    """A database that a newer version has upgraded, in a way with which this code does not work."""
    engine = open_database(sqlite_url)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(OLDEST.update().values(revision="9999"))
    engine.dispose()
    return sqlite_url


NEWER = "the tables have the revision 9999, and this version of Tiergate knows none after"


@pytest.mark.parametrize("command", [("up",), ("database", "status"), ("database", "upgrade")])
def test_tables_of_a_newer_version_are_refused_in_a_sentence(
    newer_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = invoke(*command, "--config", settings_for(newer_url, tmp_path), **SECRETS)

    assert done.exit_code == 2
    assert NEWER in done.stderr
    assert "restore the backup" in done.stderr


def test_a_layer_on_tables_of_a_newer_version_ends_in_a_sentence(newer_url: str, tmp_path: Path) -> None:
    done = run("serve", "process", "--config", settings_for(newer_url, tmp_path), **SECRETS)

    assert done.returncode == 2
    assert NEWER in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_that_must_not_upgrade_is_refused_with_the_command_that_does(sqlite_url: str, tmp_path: Path) -> None:
    done = invoke(
        "up", "--config", settings_for(sqlite_url, tmp_path), TIERGATE_PROCESS_UPGRADE_AT_START="false", **SECRETS
    )

    assert done.exit_code == 2
    assert "run `tiergate database upgrade`" in done.stderr


def test_a_layer_that_must_not_upgrade_ends_with_the_command_that_does(sqlite_url: str, tmp_path: Path) -> None:
    config = settings_for(sqlite_url, tmp_path)

    done = run("serve", "process", "--config", config, TIERGATE_PROCESS_UPGRADE_AT_START="false", **SECRETS)

    assert done.returncode == 2
    assert "run `tiergate database upgrade`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_out_of_reach_is_told_in_a_sentence(tmp_path: Path) -> None:
    config = settings_for(f"postgresql://somebody:hidden@/process?host={tmp_path}", tmp_path)

    done = invoke("database", "status", "--config", config)

    assert done.exit_code == 3
    assert "the database is out of reach" in done.stderr
    assert "hidden" not in done.output
