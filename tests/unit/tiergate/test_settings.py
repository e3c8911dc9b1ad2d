"""Settings are checked as a whole at the start, and secrets never show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from policies.catalogue.check import load as load_catalogue
from tiergate.composition import metrics_token
from tiergate.platforms import load_platforms, unknown_platform_variables
from tiergate.settings import Settings, SettingsError, load, unknown_variables

GOOD = """
[platforms.salesforce]
url = "http://crm"
client_id = "id"
cut_over = "2026-01-01"
[platforms.tryton]
url = "http://erp"
database = "db"
user = "admin"
[platforms.stripe]
url = "http://billing"
[platforms.provisioner]
url = "http://target"
"""
SECRETS = {
    "TIERGATE_PLATFORMS_SALESFORCE_CLIENT_SECRET": "s1",
    "TIERGATE_PLATFORMS_TRYTON_PASSWORD": "s2",
    "TIERGATE_PLATFORMS_STRIPE_API_KEY": "s3",
    "TIERGATE_PLATFORMS_STRIPE_WEBHOOK_SECRET": "s4",
    "TIERGATE_PLATFORMS_PROVISIONER_SECRET": "s5",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "tiergate.toml"
    path.write_text(text)
    return path


def platforms(settings: Settings, environment: dict[str, str]) -> dict[str, Any]:
    """Return the settings of each platform of the shipped catalogue."""
    return {name: each.settings for name, each in load_platforms(settings, load_catalogue(), environment).items()}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in SECRETS.items() if key != name}


def test_a_file_and_the_environment_make_the_settings(tmp_path: Path) -> None:
    environment = {"TIERGATE_PLATFORMS_SALESFORCE_URL": "http://other", "TIERGATE_SERVER_SYSTEM_PORT": "9000"}
    settings = load(written(tmp_path, GOOD), environment)

    assert platforms(settings, environment | SECRETS)["salesforce"].url == "http://other"
    assert settings.server.system_port == 9000
    assert settings.state == tmp_path
    assert settings.process_database() == f"sqlite:///{tmp_path / 'process.sqlite'}"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.write_text(path.read_text(), encoding="utf-8-sig")

    assert load(path, {}).state == tmp_path


def test_every_error_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD + "[extra]\na = 1\n[crm]\nb = 1\n"), {"TIERGATE_SERVER_SYSTEM_PORT": "many"})

    reported = "\n".join(refused.value.errors)
    assert len(refused.value.errors) == 3
    for part in (
        "[server]",
        "TIERGATE_SERVER_SYSTEM_PORT",
        "'extra' is not a setting",
        "[crm] is [platforms.<name>] now",
    ):
        assert part in reported


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("PLATFORMS_TRYTON_URL", "a secret belongs in password"),
        ("PLATFORMS_SALESFORCE_URL", "a secret belongs in client_secret or private_key"),
        ("PLATFORMS_STRIPE_URL", "a secret belongs in api_key or webhook_secret"),
        ("PLATFORMS_PROVISIONER_URL", "a secret belongs in secret"),
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
    environment = {f"TIERGATE_{variable}": address}

    with pytest.raises(SettingsError) as refused:
        platforms(load(written(tmp_path, GOOD), environment), environment | SECRETS)

    reported = str(refused.value)
    assert remedy in reported
    assert "url names a user" in reported or "issuer names a user" in reported
    assert "hush" not in reported


def test_databases_carry_their_user_and_a_path_may_hold_an_at_sign(tmp_path: Path) -> None:
    environment = {
        "TIERGATE_PROCESS_DATABASE_URL": "postgresql://user:word@host/database",
        "TIERGATE_GOVERNANCE_REDIS_URL": "rediss://user:word@host",
        "TIERGATE_PLATFORMS_TRYTON_URL": "https://erp/a@b",
    }
    settings = load(written(tmp_path, GOOD), environment)

    assert platforms(settings, environment | SECRETS)["tryton"].url == "https://erp/a@b"


@pytest.mark.parametrize(
    ("said", "reported"),
    [
        ({"CA_FILE": "none.pem"}, "cannot be used (No such file or directory)"),
        ({"CA_FILE": "pyproject.toml"}, "they are PEM files"),
        ({"CLIENT_CERT_FILE": "pyproject.toml"}, "they are PEM files"),
        ({"CLIENT_KEY_FILE": "erp.key"}, "of no use without client_cert_file"),
        ({"CA_FILE": "none.pem", "URL": "http://erp"}, "of no use without an https:// url"),
    ],
)
def test_files_for_tls_that_cannot_be_used_are_told_at_start(
    tmp_path: Path, said: dict[str, str], reported: str
) -> None:
    tls = {f"TIERGATE_PLATFORMS_TRYTON_{key}": value for key, value in said.items()}

    with pytest.raises(SettingsError) as refused:
        platforms(load(written(tmp_path, GOOD), {}), {"TIERGATE_PLATFORMS_TRYTON_URL": "https://erp"} | tls | SECRETS)

    assert "[platforms.tryton]: " in str(refused.value)
    assert reported in str(refused.value)


def test_every_error_of_a_platform_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    text = GOOD.replace('client_id = "id"', 'client = "id"').replace(
        'url = "http://target"', 'url = "target"\ncolour = 1'
    )
    settings = load(written(tmp_path, text + "[platforms.nobody]\nurl = 'http://x'\n"), {})

    with pytest.raises(SettingsError) as refused:
        platforms(settings, SECRETS | {"TIERGATE_PLATFORMS_STRIPE_URL": "nowhere"})

    reported = "\n".join(refused.value.errors)
    assert len(refused.value.errors) == 6
    for part in ("[platforms.salesforce]", "[platforms.stripe]", "[platforms.provisioner]", "no such platform; it has"):
        assert part in reported
    assert "url: it is to begin with http:// or https://; set it there or as TIERGATE_PLATFORMS_STRIPE_URL" in reported
    assert "client_id: it is missing; set it there or as TIERGATE_PLATFORMS_SALESFORCE_CLIENT_ID" in reported
    assert "'client' is not a setting (did you mean client_id?); there are" in reported
    assert "'colour' is not a setting; there are ca_file, client_cert_file" in reported


@pytest.mark.parametrize(
    ("section", "sentences"),
    [
        ('[server]\nsystem_port = "many"\n', ["system_port: it is to be a whole number, and is a text"]),
        ("[process]\npause = true\n", ["pause: it is to be a number, and is true or false"]),
        ('[governance]\nissuer = "here"\n', ["issuer: it is to begin with http:// or https://"]),
        ('[governance]\nredis_url = "here"\n', ["redis_url: it is to begin with redis://, rediss:// or unix://"]),
        (
            "[process]\npaus = 1\ncolour = 2\n",
            [
                "'paus' is not a setting (did you mean pause?); there are call_timeout, case_days, database_password",
                "'colour' is not a setting; there are call_timeout, case_days, database_password",
            ],
        ),
        ("[proces]\n", ["'proces' is not a setting (did you mean process?); there are console, folder"]),
    ],
)
def test_an_error_is_in_the_words_of_the_file_with_the_keys_there_are(
    tmp_path: Path, section: str, sentences: list[str]
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, section), {})

    assert len(refused.value.errors) == len(sentences)
    for error, sentence in zip(refused.value.errors, sentences, strict=True):
        assert sentence in error
        assert ("TIERGATE_" in error) == ("not a setting" not in error)


def test_a_variable_that_is_no_setting_is_told_with_the_nearest() -> None:
    environment = {
        "TIERGATE_PROCESS_PAUS": "1",
        "TIERGATE_PROCESS_PAUSE": "1",
        "TIERGATE_FOLDER": "state",
        "TIERGATE_PLATFORMS_TRYTON_PASWORD_FILE": "x",
        "TIERGATE_PLATFORMS_NOBODY": "x",
    }

    assert list(unknown_variables(environment)) == [
        "the variable TIERGATE_PROCESS_PAUS is not a setting (did you mean TIERGATE_PROCESS_PAUSE?)"
    ]
    password, nobody = unknown_platform_variables(load_catalogue(), environment | SECRETS)
    assert password.endswith("(did you mean TIERGATE_PLATFORMS_TRYTON_PASSWORD_FILE?)")
    assert nobody.startswith("the variable TIERGATE_PLATFORMS_NOBODY is not a setting")


def test_credentials_that_are_missing_are_told_with_every_way_to_set_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        platforms(load(written(tmp_path, GOOD), {}), without("TIERGATE_PLATFORMS_SALESFORCE_CLIENT_SECRET"))

    (error,) = refused.value.errors
    for name in ("client_secret", "private_key"):
        variable = f"TIERGATE_PLATFORMS_SALESFORCE_{name.upper()}"
        assert f"set {variable}, {name}_file to a file, or {name}_command" in error


def test_a_connector_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    catalogue = load_catalogue()
    odd = msgspec.structs.replace(catalogue.platforms["tryton"], connector="odoo")
    catalogue = msgspec.structs.replace(catalogue, platforms=catalogue.platforms | {"tryton": odd})

    with pytest.raises(SettingsError, match="no connector 'odoo' for erp; use one of tryton"):
        load_platforms(load(written(tmp_path, GOOD), {}), catalogue, SECRETS)


def test_a_file_that_is_missing_or_broken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tiergate sandbox"):
        load(tmp_path / "none.toml", {})
    (tmp_path / "demo").mkdir()
    written(tmp_path / "demo", GOOD)
    with pytest.raises(SettingsError, match=r"that of the demo is .*demo/tiergate\.toml: --config or TIERGATE_CONFIG"):
        load(tmp_path / "tiergate.toml", {})
    with pytest.raises(SettingsError, match=r"tiergate\.toml"):
        load(written(tmp_path, "[platforms"), {})


def test_secrets_come_from_the_environment_or_from_files_and_do_not_show(tmp_path: Path) -> None:
    kept = tmp_path / "password"
    kept.write_text("from a file\n")
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', f'user = "admin"\npassword_file = "{kept}"')), {})

    found = platforms(settings, without("TIERGATE_PLATFORMS_TRYTON_PASSWORD"))

    assert (found["tryton"].password.reveal(), found["stripe"].api_key.reveal()) == ("from a file", "s3")
    assert "s3" not in repr(found)
    assert "from a file" not in repr(found)


def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', 'user = "admin"\npassword = "hunter2"')), {})

    with pytest.raises(SettingsError, match="take password out") as refused:
        platforms(settings, SECRETS)

    assert "hunter2" not in str(refused.value)


def test_every_missing_secret_is_named_and_none_is_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        platforms(load(written(tmp_path, GOOD), {}), {"TIERGATE_PLATFORMS_STRIPE_API_KEY": "hush"})

    reported = str(refused.value)
    assert len(refused.value.errors) == 4
    assert "TIERGATE_PLATFORMS_TRYTON_PASSWORD" in reported
    assert "the secret is missing" in reported
    assert "hush" not in reported


def test_the_example_is_complete_and_valid() -> None:
    found = platforms(load(Path("deploy/tiergate.example.toml"), {}), SECRETS)

    assert found["tryton"].password.reveal() == "s2"
    assert found["salesforce"].url.startswith("https://")


def test_a_secret_can_come_from_a_command(tmp_path: Path) -> None:
    said = 'user = "admin"\npassword_command = ["printf", "%s", "from a command"]'
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', said)), {})

    found = platforms(settings, without("TIERGATE_PLATFORMS_TRYTON_PASSWORD"))

    assert found["tryton"].password.reveal() == "from a command"


@pytest.mark.parametrize("command", ['["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]', '["no-such-command"]'])
def test_a_command_that_fails_is_told_without_what_it_said(tmp_path: Path, command: str) -> None:
    said = f'user = "admin"\npassword_command = {command}'
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', said)), {})

    with pytest.raises(
        SettingsError, match=r"\[platforms\.tryton\]: password cannot be read: .*password_command"
    ) as refused:
        platforms(settings, without("TIERGATE_PLATFORMS_TRYTON_PASSWORD"))

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("said", ["", 'password_command = ["false"]', 'password_file = "/nowhere"'])
def test_the_environment_may_name_the_file_or_the_command_of_a_secret(tmp_path: Path, said: str) -> None:
    kept = tmp_path / "password"
    kept.write_text("from a file\n")
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', f'user = "admin"\n{said}')), {})
    others = without("TIERGATE_PLATFORMS_TRYTON_PASSWORD")

    by_file = platforms(settings, others | {"TIERGATE_PLATFORMS_TRYTON_PASSWORD_FILE": str(kept)})
    by_command = platforms(settings, others | {"TIERGATE_PLATFORMS_TRYTON_PASSWORD_COMMAND": "printf 'two words'"})

    assert by_file["tryton"].password.reveal() == "from a file"
    assert by_command["tryton"].password.reveal() == "two words"


WITH_SERVERS = """
[governance]
redis_url = "redis://tiergate@cache:6379/0"
[process]
database_url = "postgresql://tiergate@db/tiergate"
[server]

[tracing]
"""
OF_SERVERS = (
    ("governance", "redis_password"),
    ("process", "database_password"),
    ("server", "metrics_token"),
    ("tracing", "authorization"),
)


@pytest.mark.parametrize("way", ["file", "command", "variable", "file in a variable"])
def test_the_passwords_of_database_and_redis_are_where_other_secrets_are(tmp_path: Path, way: str) -> None:
    kept = tmp_path / "password"
    kept.write_text("hunter2\n")
    text = WITH_SERVERS
    environment: dict[str, str] = {}
    for section, name in OF_SERVERS:
        variable = f"TIERGATE_{section}_{name}".upper()
        if way == "file":
            text = text.replace(f"[{section}]", f'[{section}]\n{name}_file = "{kept}"')
        elif way == "command":
            text = text.replace(f"[{section}]", f'[{section}]\n{name}_command = ["printf", "hunter2"]')
        else:
            environment |= {variable: "hunter2"} if way == "variable" else {f"{variable}_FILE": str(kept)}

    settings = load(written(tmp_path, text), environment)

    assert settings.process.database_password.read().reveal() == "hunter2"
    assert settings.governance.redis_password.read().reveal() == "hunter2"
    assert settings.server.metrics_token.read().reveal() == "hunter2"
    assert settings.tracing.authorization.read().reveal() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert list(unknown_variables(environment)) == []


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            '[process]\ndatabase_password = "hunter2"\n',
            "is never in this file: take database_password out and",
        ),
        (
            "[process]\ndatabase_password_file = 'x'\n",
            "is for a database_url that begins with postgresql",
        ),
        ("[governance]\nredis_password_command = ['x']\n", "is for a redis_url that begins with redis or unix"),
        (
            "[process]\ndatabase_url = 'postgresql://a:hunter2@b/c'\ndatabase_password_file = 'x'\n",
            "database_password and database_url both name a password",
        ),
        (
            "[governance]\nredis_url = 'redis://b/0?password=hunter2'\nredis_password_file = 'x'\n",
            "redis_password and redis_url both name a password",
        ),
        ("[process]\ndatabase_password_command = 'x'\n", "database_password_command a list of words"),
        ('[server]\nmetrics_token = "hunter2"\n', "is never in this file: take metrics_token out and"),
        ("[process]\ndatabase_pasword_file = 'x'\n", "(did you mean database_password_file?)"),
    ],
)
def test_a_password_in_the_file_for_nothing_or_in_two_places_is_refused(
    tmp_path: Path, section: str, sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, section), {})

    (error,) = refused.value.errors
    assert sentence in error
    assert "hunter2" not in error


@pytest.mark.parametrize("token", ["guessed", ""])
def test_a_token_of_the_metrics_that_can_be_guessed_is_refused(tmp_path: Path, token: str) -> None:
    kept = tmp_path / "token"
    kept.write_text(token)
    settings = load(written(tmp_path, f'[server]\nmetrics_token_file = "{kept}"\n'), {})

    with pytest.raises(SettingsError, match="at least 16 characters"):
        metrics_token(settings)


def test_a_command_of_the_environment_that_is_not_words_is_refused(tmp_path: Path) -> None:
    others = without("TIERGATE_PLATFORMS_TRYTON_PASSWORD")

    with pytest.raises(SettingsError, match="TIERGATE_PLATFORMS_TRYTON_PASSWORD_COMMAND: No closing quotation"):
        platforms(load(written(tmp_path, GOOD), {}), others | {"TIERGATE_PLATFORMS_TRYTON_PASSWORD_COMMAND": "vault '"})


def test_a_file_of_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    said = f'user = "admin"\npassword_file = "{gone}"\npassword_command = ["printf", "other"]'
    settings = load(written(tmp_path, GOOD.replace('user = "admin"', said)), {})

    with pytest.raises(SettingsError, match=f"password cannot be read: .*{gone}: No such file"):
        platforms(settings, without("TIERGATE_PLATFORMS_TRYTON_PASSWORD"))
    assert platforms(settings, SECRETS)["tryton"].password.reveal() == "s2"


def test_what_replicas_have_in_common_is_in_files_that_the_settings_name(tmp_path: Path) -> None:
    named = "[governance]\nissuer_key_file = '/run/issuer.pem'\nclient_secrets_file = '/run/clients.json'\n"

    settings = load(written(tmp_path, named), {})

    assert settings.issuer_key() == Path("/run/issuer.pem")
    assert settings.client_secrets() == Path("/run/clients.json")
    assert load(written(tmp_path, ""), {}).issuer_key() == tmp_path / "issuer.pem"
