"""The `tiergate` command as a person meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import jwt
import pytest
from click.testing import CliRunner

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import OUR_READING
from tiergate.cli.main import cli
from tiergate.dev.layers import LAYERS

TIERGATE = str(Path(sys.executable).with_name("tiergate"))
HEAVY = ("litestar", "dbos", "sqlalchemy", "httpx", "granian", "rich", "stripe")


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TIERGATE, *arguments], env=os.environ | extra, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command_and_the_exit_codes() -> None:
    shown = run("--help")

    assert shown.returncode == 0
    for command in (
        "serve",
        "up",
        "sandbox",
        "token",
        "demo",
        "sell",
        "doctor",
        "status",
        "tail",
        "mapping",
        "setup",
        "openapi",
        "policy",
        "audit",
        "database",
        "person",
        "events",
        "lineage",
    ):
        assert f"  {command} " in shown.stdout
    assert "Exit codes: 0 done" in shown.stdout


def test_help_cuts_no_sentence_off() -> None:
    groups = ["", *(name for name, command in cli.commands.items() if isinstance(command, click.Group))]

    shown = {each: CliRunner().invoke(cli, [*each.split(), "--help"], prog_name="tiergate").stdout for each in groups}

    assert len(shown) > 5
    assert [each for each, text in shown.items() if re.search(r"[^\]]\.\.\.$", text, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("token fin", "finance-app"),
        ("revoke --client finance-", "finance-app"),
        ("client secret finance-", "finance-app"),
        ("policy explain finance-app finance_decide_a", "finance_decide_approval"),
    ],
)
def test_the_shell_completes_names_of_the_catalogue(tmp_path: Path, words: str, completed: str) -> None:
    asked = {"_TIERGATE_COMPLETE": "bash_complete", "COMP_WORDS": f"tiergate {words}"}
    place = {"COMP_CWORD": str(len(words.split())), "TIERGATE_CONFIG": str(tmp_path / "none.toml")}

    done = run(**asked, **place)

    assert done.stdout.split() == [f"plain,{completed}"]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, tiergate.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not [name for name in HEAVY if name in loaded]


def test_the_shell_is_told_how_to_complete() -> None:
    done = subprocess.run(
        [TIERGATE],
        capture_output=True,
        text=True,
        check=False,
        env={"_TIERGATE_COMPLETE": "bash_source", "PATH": "/usr/bin:/bin"},
    )

    assert done.returncode == 0
    assert "_tiergate_completion" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reported"),
    [
        (["serve", "middle"], 2, "'middle' is not one of"),
        (["serve", "system", "--config", "none.toml"], 2, "there is no none.toml"),
        (["up", "--config", "none.toml"], 2, "there is no none.toml"),
        (["token", "sales-app", "--config", "none.toml"], 2, "there is no none.toml"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_wrong_usage_ends_with_its_code_and_says_what_to_do(arguments: list[str], code: int, reported: str) -> None:
    done = run(*arguments)

    assert done.returncode == code
    assert reported in done.stderr


def test_a_token_is_what_the_catalogue_says(environment: Environment) -> None:
    done = run("token", "sales-app", "--config", str(environment.sandbox.config), "--minutes", "5")

    claims = jwt.decode(done.stdout.strip(), options={"verify_signature": False})
    assert (claims["client_id"], claims["aud"]) == ("sales-app", "tiergate:experience")
    assert claims["scope"].split() == [
        "cases:act",
        "cases:read",
        "catalogue:read",
        "catalogue:sync",
        "contracts:amend",
        "contracts:mass_change",
        "orders:read",
        "usage:write",
    ]
    assert claims["exp"] - time.time() <= 300


def test_a_token_for_nobody_is_refused_with_the_names_there_are(environment: Environment) -> None:
    done = run("token", "nobody", "--config", str(environment.sandbox.config))

    assert done.returncode == 2
    assert "the catalogue has no client 'nobody'; it has console-finance, console-platform" in done.stderr


def test_selling_closes_a_deal_that_becomes_an_order_and_a_known_buyer_buys_again(environment: Environment) -> None:
    for _ in range(2):
        done = run("sell", "--config", str(environment.sandbox.config), "--buyer", "O'Neill GmbH", "--seats", "3")
        assert done.returncode == 0, done.stderr
        order = environment.order_in(done.stdout.split()[3], "active")
        assert [each.line.quantity for each in order.lines] == [1, 3, 1]

    assert len(environment.crm.query("SELECT Id FROM Account WHERE Name = 'O\\'Neill GmbH'")) == 1


def test_what_would_be_ignored_of_a_known_buyer_is_refused(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Known"))
    environment.order_in(deal, "active")
    (row,) = environment.crm.query(f"SELECT Account.Name FROM Opportunity WHERE Id = '{deal}'")
    buyer, config = row["Account"]["Name"], str(environment.sandbox.config)

    done = run("sell", "--config", config, "--buyer", buyer, "--tax-number", "DE000", "--country", "AT")

    assert done.returncode == 2
    ignored = f"{buyer} is in the CRM already, and --tax-number, --country would be ignored: name another --buyer"
    assert ignored in done.stderr


def test_the_doctor_finds_all_well_in_a_running_environment(environment: Environment) -> None:
    done = run("doctor", "--config", str(environment.sandbox.config))

    assert done.returncode == 0, done.stdout
    assert "missing" not in done.stdout
    for name in ("crm", "erp", "billing", "provisioning", "system layer", "process layer", "experience layer"):
        assert name in done.stdout


def test_the_doctor_logs_in_to_every_platform(environment: Environment) -> None:
    wrong = {"SALESFORCE_CLIENT_SECRET": "wrong1", "TRYTON_PASSWORD": "wrong2", "STRIPE_API_KEY": "wrong3"}
    variables = {f"TIERGATE_PLATFORMS_{name}": value for name, value in wrong.items()}

    done = run("doctor", "--config", str(environment.sandbox.config), **variables)

    assert done.returncode == 3
    refused = [each for each in done.stdout.splitlines() if each.startswith("missing") and "refuses" in each]
    assert [each.split()[1] for each in refused] == ["salesforce", "tryton", "stripe"]
    assert "wrong" not in done.stdout + done.stderr


def test_the_doctor_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    done = run("doctor", "--config", str(tmp_path / "none.toml"))

    assert done.returncode == 3
    assert "missing" in done.stdout
    assert "tiergate sandbox" in done.stdout.replace("\n", " ")
    assert done.stdout.count("missing") == 1

    config = tmp_path / "half.toml"
    config.write_text('[platforms.salesforce]\nurl = "https://crm.example.com"\n')
    done = run("doctor", "--config", str(config), COLUMNS="300")

    assert (
        "[platforms.salesforce]: client_id: it is missing; set it there or as "
        "TIERGATE_PLATFORMS_SALESFORCE_CLIENT_ID" in done.stdout
    )
    assert "[platforms.tryton]: password is missing: set TIERGATE_PLATFORMS_TRYTON_PASSWORD" in done.stdout


def test_the_audit_logs_of_a_running_environment_are_whole_and_a_change_is_found(
    environment: Environment, tmp_path: Path
) -> None:
    _, deal = environment.sell(environment.sale("Audited"))
    order = environment.order_in(deal, "active")
    config = ("--config", str(environment.sandbox.config))

    done = run("audit", "verify", *config)
    records = [
        json.loads(line) for line in run("audit", "export", *config, "--client", "system-layer").stdout.splitlines()
    ]

    assert done.returncode == 0, done.stdout
    assert "process: " in done.stdout
    assert "NOT" not in done.stdout
    mine = [each for each in records if each["correlation_id"] == order.correlation_id]
    assert {(each["operation"], each["version"], each["status"]) for each in mine} == {("take_event", "v1", 200)}

    copy = tmp_path / "copy"
    shutil.copytree(environment.folder / "audit", copy / "audit")
    shutil.copytree(environment.folder / "audit-heads", copy / "audit-heads")
    shutil.copy(environment.folder / "audit.key", copy / "audit.key")
    log = copy / "audit" / "process.jsonl"
    log.write_text(log.read_text().replace('"status":200', '"status":403', 1))
    changed = run("audit", "verify", *config, TIERGATE_FOLDER=str(copy))

    assert changed.returncode == 4
    assert "was changed" in changed.stdout


def test_no_secret_and_no_personal_field_is_in_any_log(environment: Environment) -> None:
    """In fair weather and in foul: what platforms complain of holds the values that they were given."""
    quiet = environment.sale("Quiet", parent="Quiet Parent AG")
    for platform, ours in (("crm", OUR_READING), ("billing", ""), ("erp", "")):
        environment.fault(platform, kind="status", status=500, times=2, matching=ours)
    _, deal = environment.sell(quiet)
    environment.order_in(deal, "active")
    _, refused = environment.sell(environment.sale("Quiet Too", lines=(SaleLine("PLATFORM", -1),)))
    environment.order_in(refused, "on_hold")
    secrets = [path.read_text().strip() for path in environment.sandbox.kept.iterdir()] + [
        environment.sandbox.erp_password
    ]
    personal = ["Quiet", "kim@example.com", "Beispiel", "Hauptstraße", str(quiet.tax_number)]

    ours = [environment.folder / "logs" / f"{layer}.log" for layer in LAYERS]
    for log in [*ours, *(environment.folder / "audit").iterdir()]:
        text = log.read_text()
        assert not [each for each in (*secrets, *personal) if each in text], log
    assert not [each for each in secrets if each in (environment.folder / "logs" / "sandbox.log").read_text()]


def test_setup_finds_in_the_sandbox_all_that_it_would_make(environment: Environment) -> None:
    config = str(environment.sandbox.config)
    settings = {"TIERGATE_SERVER_PUBLIC_URL": environment.sandbox.url("system")}

    for domain, instance, what in (
        ("crm", "salesforce", ["there    23 custom fields"]),
        ("billing", "stripe", ["there    webhook endpoint"]),
        ("erp", "tryton", ["there    user 'tiergate'", "there    payment method 'Billing'"]),
    ):
        done = run("setup", domain, instance, "--yes", "--config", config, **settings)
        lines = done.stdout.splitlines()
        assert (done.returncode, len(lines)) == (0, len(what)), done
        assert all(line.startswith(each) for line, each in zip(lines, what, strict=True)), done


def test_setup_says_whose_credentials_a_platform_refuses(environment: Environment) -> None:
    crm = ("setup", "crm", "salesforce", "--remove", "--config", str(environment.sandbox.config))

    ours = run(*crm)
    administrators = run(*crm, TIERGATE_SETUP_ADMINISTRATOR="wrong")

    assert (ours.returncode, administrators.returncode) == (3, 3)
    assert ours.stderr.endswith("or put an administrator's credentials in TIERGATE_SETUP_ADMINISTRATOR\n")
    assert administrators.stderr.endswith("access token (TIERGATE_SETUP_ADMINISTRATOR has the ones that were used)\n")


def test_setup_takes_no_address_that_is_no_url(environment: Environment) -> None:
    billing = ("setup", "billing", "stripe", "--url", "ftp://x", "--config", str(environment.sandbox.config))

    refused = run(*billing)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--url: it is to begin with http:// or https://" in refused.stderr
