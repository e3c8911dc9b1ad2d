"""Settings are checked as a whole at the start, and secrets never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiergate.settings import SettingsError, load, secrets

GOOD = """
[crm]
url = "http://crm"
client_id = "id"
[erp]
url = "http://erp"
database = "db"
user = "admin"
[billing]
url = "http://billing"
[provisioning]
url = "http://target"
"""
SECRETS = {
    "TIERGATE_CRM_CLIENT_SECRET": "s1",
    "TIERGATE_ERP_PASSWORD": "s2",
    "TIERGATE_BILLING_API_KEY": "s3",
    "TIERGATE_BILLING_WEBHOOK_SECRET": "s4",
    "TIERGATE_PROVISIONING_SECRET": "s5",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "tiergate.toml"
    path.write_text(text)
    return path


def test_a_file_and_the_environment_make_the_settings(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, GOOD), {"TIERGATE_CRM_URL": "http://other", "TIERGATE_SERVER_SYSTEM_PORT": "9000"}
    )

    assert (settings.crm.url, settings.server.system_port) == ("http://other", 9000)
    assert settings.state == tmp_path
    assert settings.process_database() == f"sqlite:///{tmp_path / 'process.sqlite'}"


def test_every_error_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    text = (
        GOOD.replace('client_id = "id"', 'client = "id"').replace("[billing]", 'colour = "red"\n[billing]')
        + "[extra]\na = 1\n"
    )

    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, text), {"TIERGATE_SERVER_SYSTEM_PORT": "many", "TIERGATE_PROVISIONING_URL": "target"})

    told = "\n".join(refused.value.errors)
    assert len(refused.value.errors) == 5
    for part in ("[crm]", "[erp]", "[provisioning]", "[server]", "TIERGATE_SERVER_<KEY>", "'extra' is not a setting"):
        assert part in told


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("ERP_URL", "TIERGATE_ERP_PASSWORD, erp.password_file or erp.password_command"),
        ("CRM_URL", "TIERGATE_CRM_CLIENT_SECRET"),
        ("BILLING_URL", "TIERGATE_BILLING_API_KEY"),
        ("PROVISIONING_URL", "TIERGATE_PROVISIONING_SECRET"),
        ("SERVER_SYSTEM_URL", "leave it out"),
        ("SERVER_PROCESS_URL", "leave it out"),
        ("GOVERNANCE_ISSUER", "leave it out"),
    ],
)
@pytest.mark.parametrize(
    "address", ["https://user:hush@example.com/a", "HTTP://hush@example.com", "http://@example.com"]
)
def test_an_address_with_a_user_is_refused_with_where_the_secret_belongs(
    tmp_path: Path, variable: str, remedy: str, address: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD), {f"TIERGATE_{variable}": address})

    told = str(refused.value)
    assert remedy in told
    assert variable.partition("_")[2].lower() in told
    assert "hush" not in told


def test_databases_carry_their_user_and_a_path_may_hold_an_at_sign(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, GOOD),
        {
            "TIERGATE_PROCESS_DATABASE_URL": "postgresql://user:word@host/database",
            "TIERGATE_GOVERNANCE_REDIS_URL": "rediss://user:word@host",
            "TIERGATE_ERP_URL": "https://erp/a@b",
        },
    )

    assert settings.erp.url == "https://erp/a@b"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"CA_FILE": "none.pem"}, "cannot be used (No such file or directory)"),
        ({"CA_FILE": "pyproject.toml"}, "they are PEM files"),
        ({"CLIENT_CERT_FILE": "pyproject.toml"}, "they are PEM files"),
        ({"CLIENT_KEY_FILE": "erp.key"}, "of no use without client_cert_file"),
        ({"CA_FILE": "none.pem", "URL": "http://erp"}, "of no use without an https:// url"),
    ],
)
def test_files_for_tls_that_cannot_be_used_are_told_at_start(tmp_path: Path, said: dict[str, str], told: str) -> None:
    environment = {"TIERGATE_ERP_URL": "https://erp"} | {f"TIERGATE_ERP_{key}": value for key, value in said.items()}

    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD), environment)

    assert "[erp]: " in str(refused.value)
    assert told in str(refused.value)


def test_a_file_that_is_missing_or_broken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tiergate sandbox"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(SettingsError, match=r"tiergate\.toml"):
        load(written(tmp_path, "[crm"), {})


def test_secrets_come_from_the_environment_or_from_files_and_do_not_show(tmp_path: Path) -> None:
    kept = tmp_path / "password"
    kept.write_text("from a file\n")
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', f'user = "admin"\npassword_file = "{kept}"')), {})

    found = secrets(settings, {key: value for key, value in SECRETS.items() if key != "TIERGATE_ERP_PASSWORD"})

    assert (found.erp_password.reveal(), found.billing_api_key.reveal()) == ("from a file", "s3")
    assert "s3" not in repr(found)
    assert "from a file" not in repr(found)


def test_every_missing_secret_is_named_and_none_is_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        secrets(load(written(tmp_path, GOOD), {}), {"TIERGATE_BILLING_API_KEY": "hush"})

    told = str(refused.value)
    assert len(refused.value.errors) == 4
    assert "TIERGATE_ERP_PASSWORD" in told
    assert "crm credentials" in told
    assert "hush" not in told


def test_the_example_is_complete_and_valid() -> None:
    settings = load(Path("deploy/tiergate.example.toml"), {})

    assert secrets(settings, SECRETS).erp_password.reveal() == "s2"
    assert settings.crm.url.startswith("https://")


def test_a_secret_can_come_from_a_command(tmp_path: Path) -> None:
    said = 'user = "admin"\npassword_command = ["printf", "%s", "from a command"]'
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', said)), {})

    found = secrets(settings, {key: value for key, value in SECRETS.items() if key != "TIERGATE_ERP_PASSWORD"})

    assert found.erp_password.reveal() == "from a command"


@pytest.mark.parametrize("command", ['["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]', '["no-such-command"]'])
def test_a_command_that_fails_is_told_without_what_it_said(tmp_path: Path, command: str) -> None:
    said = f'user = "admin"\npassword_command = {command}'
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', said)), {})

    with pytest.raises(SettingsError, match=r"erp_password cannot be read: .*erp\.password_command") as refused:
        secrets(settings, {key: value for key, value in SECRETS.items() if key != "TIERGATE_ERP_PASSWORD"})

    assert "hunter2" not in str(refused.value)
