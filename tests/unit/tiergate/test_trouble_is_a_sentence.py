"""What stops a command is reported in a sentence, with its exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.end_to_end.command_line.test_command_line import run
from tests.integration.tiergate.test_database_command import SECRETS
from tiergate.cli.main import cli
from tiergate.dev.ports import free_port
from tiergate.dev.sandbox import CLIENT_ID

EXAMPLE = Path("deploy/tiergate.example.toml")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiergate.toml"
    path.write_text(EXAMPLE.read_text())
    return path


def invoke(config: Path, *arguments: str, **environment: str) -> Result:
    """Run a command in this process. What it does not report in a sentence is raised."""
    variables = SECRETS | environment
    return CliRunner(env=variables).invoke(cli, [*arguments, "--config", str(config)], catch_exceptions=False)


def served(config: Path, layer: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Serve a layer in a process of its own, which ends by itself."""
    return run("serve", layer, "--config", str(config), **SECRETS, **environment)


def test_selling_to_a_crm_that_does_not_answer(config: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    stand_in = {"TIERGATE_PLATFORMS_SALESFORCE_URL": url, "TIERGATE_PLATFORMS_SALESFORCE_CLIENT_ID": CLIENT_ID}

    done = invoke(config, "sell", **stand_in)

    assert done.exit_code == 3
    assert done.stderr == f"tiergate: the CRM at {url} does not answer; is `make demo` running?\n"


def test_nothing_is_sold_in_a_crm_that_is_no_stand_in(config: Path) -> None:
    done = invoke(config, "sell")

    assert done.exit_code == 2
    assert done.stderr == (
        "tiergate: salesforce is no stand-in: `tiergate sell` sells in the CRM of the demo or the sandbox alone\n"
    )


def test_a_buyer_without_a_name(config: Path) -> None:
    done = invoke(config, "sell", "--buyer", " ")

    assert done.exit_code == 2
    assert "--buyer needs a name" in done.stderr


@pytest.mark.parametrize("name", ["nope", "tryton"])
def test_selling_through_what_is_no_crm(config: Path, name: str) -> None:
    done = invoke(config, "sell", "--platform", name)

    assert done.exit_code == 2
    assert done.stderr == f"tiergate: the catalogue has no CRM {name!r}; it has salesforce\n"


COMMANDS = [("up",), ("database", "status"), ("database", "upgrade")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_out_of_reach(config: Path, command: tuple[str, ...]) -> None:
    url = f"postgresql://somebody:hidden@/process?host={config.parent}"

    done = invoke(config, *command, TIERGATE_PROCESS_DATABASE_URL=url)

    assert done.exit_code == 3
    assert done.stderr.startswith("tiergate: the database is out of reach: ")
    assert "hidden" not in done.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("url", ["here", "oracle9://here/hidden", "mysql://here/hidden"])
def test_an_address_of_no_database(config: Path, command: tuple[str, ...], url: str) -> None:
    done = invoke(config, *command, TIERGATE_PROCESS_DATABASE_URL=url)

    assert done.exit_code == 2
    assert done.stderr.startswith("tiergate: process.database_url: ")
    assert "hidden" not in done.output


@pytest.mark.parametrize("command", [("up",), ("database", "status"), ("revoke", "--client", "sales-app"), ("doctor",)])
def test_a_password_that_cannot_be_read(config: Path, command: tuple[str, ...]) -> None:
    secret = "REDIS_PASSWORD" if command[0] == "revoke" else "DATABASE_PASSWORD"
    variable = f"TIERGATE_{'GOVERNANCE' if command[0] == 'revoke' else 'PROCESS'}_{secret}_FILE"
    servers = {
        "TIERGATE_PROCESS_DATABASE_URL": f"postgresql:///process?host={config.parent}",
        "TIERGATE_GOVERNANCE_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }

    done = invoke(config, *command, **servers, **{variable: "/nowhere"})

    assert done.exit_code == (3 if command[0] == "doctor" else 2)
    assert f"{secret.lower()} cannot be read: " in done.output
    assert "/nowhere: No such file or directory" in done.output


def test_a_layer_without_its_database(config: Path) -> None:
    away = served(config, "process", TIERGATE_PROCESS_DATABASE_URL=f"postgresql:///process?host={config.parent}")
    none = served(config, "process", TIERGATE_PROCESS_DATABASE_URL="here")

    assert (away.returncode, none.returncode) == (3, 2)
    assert away.stderr.startswith("tiergate: the database is out of reach: ")
    assert none.stderr.startswith("tiergate: process.database_url: ")


@pytest.mark.parametrize("layer", ["system", "process", "experience"])
def test_a_catalogue_that_is_wrong(config: Path, layer: str) -> None:
    wrong = config.with_name("wrong.toml")
    wrong.write_text("[apis]\n")

    done = served(config, layer, TIERGATE_GOVERNANCE_CATALOGUE=str(wrong))

    assert done.returncode == 2
    assert done.stderr.startswith("tiergate: wrong.toml: ")


@pytest.mark.parametrize("command", [("token", "sales-app"), ("up",), ("audit", "verify"), ("serve", "system")])
@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_settings_that_are_no_text_or_a_folder(tmp_path: Path, command: tuple[str, ...], content: bytes | None) -> None:
    path = tmp_path / "settings"
    path.mkdir() if content is None else path.write_bytes(content)

    done = invoke(path, *command)

    assert done.exit_code == 2
    assert f"tiergate: {path}: " in done.stderr


def test_an_address_of_no_redis(config: Path) -> None:
    done = invoke(config, "revoke", "--client", "sales-app", TIERGATE_GOVERNANCE_REDIS_URL="here")

    assert done.exit_code == 2
    assert "redis_url" in done.stderr


def test_a_state_folder_that_is_a_file(config: Path) -> None:
    done = invoke(config, "token", "sales-app", TIERGATE_FOLDER=str(config))

    assert done.exit_code == 3
    assert done.stderr.startswith(f"tiergate: {config}")


def test_contracts_that_are_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["openapi", "--check", "--into", str(tmp_path)], catch_exceptions=False)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"tiergate: there are no contracts in {tmp_path}: ")
