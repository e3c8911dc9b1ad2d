"""The commands about clients and tokens: what cannot be is refused, what was done is printed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from canonical.ids import utc_now
from policies.audit.files import LogFiles
from policies.audit.log import AuditLog
from policies.audit.records import AuditEntry
from policies.identity.revocation import RevocationDocument, Revocations
from policies.store.documents import FileDocument
from tiergate.cli.main import cli
from tiergate.settings import load

JTI = "0123456789abcdef01234567"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiergate.toml"
    path.touch()
    return path


def invoke(config: Path, *arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(cli, [*arguments, "--config", str(config)], catch_exceptions=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "nobody"),
        ("client", "secret", "nobody"),
        ("client", "forget", "nobody"),
        ("revoke", "--client", "nobody"),
        ("audit", "export", "--client", "nobody"),
    ],
)
def test_a_client_that_the_catalogue_does_not_have_is_refused_with_those_it_has(
    config: Path, arguments: tuple[str, ...]
) -> None:
    done = invoke(config, *arguments)

    assert done.exit_code == 2
    assert "the catalogue has no client 'nobody'; it has console-finance, console-platform" in done.stderr
    assert done.stdout == ""


def test_a_token_from_before_the_first_start_of_a_layer_is_good_when_it_starts(config: Path) -> None:
    settings = load(config, {"TIERGATE_FOLDER": str(config.parent)})
    made = invoke(config, "token", "sales-app", TIERGATE_FOLDER=str(config.parent)).stdout.strip()
    claims = jwt.decode(made, options={"verify_signature": False})

    revocations = Revocations(RevocationDocument(FileDocument(settings.revoked_file())), utc_now)
    asyncio.run(revocations.look())

    assert not revocations.current.covers(claims["jti"], "sales-app", claims["iat"])
    assert revocations.current.covers(claims["jti"], "sales-app", claims["iat"] - 60)


@pytest.mark.parametrize("given", ["", "\n", "no token\n"])
def test_the_doctor_refuses_a_token_that_is_none(config: Path, given: str) -> None:
    asked = ["doctor", "--token", "-", "--config", str(config)]

    done = CliRunner().invoke(cli, asked, input=given, catch_exceptions=False)

    assert done.exit_code == 3
    assert done.stdout.startswith("missing the token is refused: ")
    assert done.stdout.count("\n") == 1


def test_what_a_former_client_did_can_still_be_exported(config: Path) -> None:
    files = LogFiles(config.parent / "audit" / "process.jsonl", config.parent / "audit-heads" / "process.head")
    log = AuditLog(files, b"key")
    log.write(
        AuditEntry(
            at=utc_now(),
            layer="process",
            operation="take_event",
            version="v1",
            client="former",
            on_behalf_of="",
            object="",
            status=200,
            correlation_id="cor_1",
        )
    )
    log.close()

    done = invoke(config, "audit", "export", "--client", "former")

    assert done.exit_code == 0
    assert '"client":"former"' in done.stdout


@pytest.mark.parametrize("command", [("verify",), ("prune",), ("prune", "--dry-run")])
def test_a_folder_without_records_is_named(config: Path, command: tuple[str, ...]) -> None:
    done = invoke(config, "audit", *command)

    assert done.exit_code == 0
    assert f"there are no records in {config.parent / 'audit'}\n" in done.stdout


def test_what_is_no_token_is_refused(config: Path) -> None:
    done = invoke(config, "revoke", "--token", "abc")

    assert done.exit_code == 2
    assert "'abc' is no token" in done.stderr


def test_a_token_is_revoked_by_itself_or_by_its_id(config: Path) -> None:
    token = invoke(config, "token", "sales-app").stdout.strip()
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]

    assert invoke(config, "revoke", "--token", token).stdout == f"revoked: the token {token_id}\n"
    assert invoke(config, "revoke", "--token", JTI).stdout == f"revoked: the token {JTI}\n"
    revoked = (config.parent / "revoked.json").read_text()
    assert token_id in revoked
    assert JTI in revoked


def test_an_id_of_another_issuer_may_have_any_form(config: Path) -> None:
    done = invoke(config, "revoke", "--token", "ID-1", TIERGATE_GOVERNANCE_ISSUER="https://login.example.com")

    assert done.exit_code == 0


def test_a_client_whose_secrets_still_work_is_said_to_have_them_until_they_are_forgotten(config: Path) -> None:
    for _ in range(2):
        invoke(config, "client", "secret", "reseller-nord")

    with_secrets = invoke(config, "revoke", "--client", "reseller-nord")
    forgotten = invoke(config, "client", "forget", "reseller-nord")
    without = invoke(config, "revoke", "--client", "reseller-nord")

    assert "Its secrets still work" in with_secrets.stdout
    assert "tiergate client forget reseller-nord" in with_secrets.stdout
    assert forgotten.stdout.startswith("forgotten: 2 secrets of reseller-nord")
    assert without.stdout == "revoked: every token that reseller-nord has got until now\n"


def test_keys_are_listed_followed_by_new_ones_and_withdrawn(config: Path) -> None:
    folder = {"TIERGATE_FOLDER": str(config.parent)}

    def listed() -> list[str]:
        return invoke(config, "keys", "list", **folder).stdout.splitlines()

    (before,) = listed()
    assert before.endswith("signs here")

    made = invoke(config, "keys", "rotate", **folder).stdout
    assert "signs after a minute" in made
    assert len(listed()) == 2
    assert [each.split()[0] for each in listed() if each.endswith("signs here")] == [before.split()[0]]

    withdrawn = invoke(config, "keys", "withdraw", before.split()[0], **folder)
    assert "every token that it has signed" in withdrawn.stdout
    assert [each.split()[0] for each in listed()] == [made.split()[1].rstrip(".")]
    assert listed()[0].endswith("signs here")


@pytest.mark.parametrize("name", ["unknown", "-a thumbprint may begin so", "-h"])
def test_a_key_that_nobody_has_published_cannot_be_withdrawn(config: Path, name: str) -> None:
    done = invoke(config, "keys", "withdraw", name, TIERGATE_FOLDER=str(config.parent))

    assert done.exit_code == 2
    assert f"no replica has published a key '{name}': see `tiergate keys list`" in done.stderr


def test_a_key_that_the_settings_name_is_neither_made_nor_rotated_here(config: Path) -> None:
    named = {"TIERGATE_FOLDER": str(config.parent), "TIERGATE_GOVERNANCE_ISSUER_KEY_FILE": str(config.parent / "named")}

    missing = invoke(config, "token", "sales-app", **named)
    rotated = invoke(config, "keys", "rotate", **named)

    assert (missing.exit_code, rotated.exit_code) == (2, 2)
    assert f"there is no {config.parent / 'named'}" in missing.stderr
    assert "put a new one there" in rotated.stderr
    assert not (config.parent / "named").exists()
