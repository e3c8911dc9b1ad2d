"""The doctor: what it says of platforms, and beside servers that are not Tiergate's."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from canonical.ids import utc_now
from policies.store.secret import Secret
from sandbox.stripe.versions import CURRENT
from system_apis.billing.stripe.setup import EVENTS
from tests.integration.connectors.test_salesforce import Org
from tests.integration.tiergate.test_database_command import EXAMPLE, SECRETS
from tests.support.connector_kit.subject import INSTANCE, WEBHOOKS, Subject, bench
from tests.support.stripe_account import StripeAccount
from tiergate.cli.main import cli
from tiergate.dev.ports import free_port
from tiergate.doctor import Check, examine_platform
from tiergate.platforms import ConnectedPlatform
from tiergate.settings import HERE


class Stranger(BaseHTTPRequestHandler):
    said = b"hello"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.said)


class Layer(Stranger):
    said = (
        b'{"salesforce": "ok", "salesforce changes": "ok, last read 7 s ago", '
        b'"crm-fr changes": "last read 640 s ago; the last look failed: crm: it refuses what is asked"}'
    )


@contextmanager
def serving(handler: type[Stranger]) -> Generator[int]:
    """Yield the port of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def port() -> Generator[int]:
    """Return the port of a server that is no layer."""
    with serving(Stranger) as taken:
        yield taken


def test_the_doctor_says_that_something_else_answers_at_the_port_of_a_layer(port: int, tmp_path: Path) -> None:
    ports = {f"TIERGATE_SERVER_{layer}_PORT": str(port) for layer in ("SYSTEM", "PROCESS", "EXPERIENCE")}
    urls = {
        f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{port}"
        for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
    }
    environment = SECRETS | ports | urls | {"TIERGATE_FOLDER": str(tmp_path), "COLUMNS": "300"}

    done = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)

    assert done.exit_code == 3
    for layer in ("system", "process", "experience"):
        assert f"{layer} layer at http://127.0.0.1:{port}: something else answers there" in done.stdout
        assert f"give it another server.{layer}_port" in done.stdout


def test_the_doctor_says_how_old_the_last_good_look_at_each_change_feed_is(tmp_path: Path) -> None:
    with serving(Layer) as port:
        environment = SECRETS | {
            "TIERGATE_SERVER_SYSTEM_PORT": str(port),
            "TIERGATE_FOLDER": str(tmp_path),
            "COLUMNS": "300",
        }
        environment |= {
            f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{port}"
            for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
        }
        done = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)

    assert "ok      system layer: salesforce changes: last read 7 s ago" in done.stdout
    assert f"missing system layer at http://127.0.0.1:{port}: crm-fr changes: last read 640 s ago" in done.stdout


@pytest.mark.parametrize("what", ["demo", "sandbox"])
def test_the_doctor_says_once_that_a_sandbox_is_stopped_and_how_to_start_it(tmp_path: Path, what: str) -> None:
    state = tmp_path / "demo" if what == "demo" else tmp_path
    state.mkdir(exist_ok=True)
    (state / HERE).touch()
    (tmp_path / f"{what}.lock").touch()
    environment = SECRETS | {"TIERGATE_FOLDER": str(state), "COLUMNS": "300"}
    environment |= {
        f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{free_port()}"
        for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
    }
    environment |= {f"TIERGATE_SERVER_{each}_PORT": str(free_port()) for each in ("SYSTEM", "PROCESS", "EXPERIENCE")}

    done = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)
    with serving(Layer) as port:
        environment["TIERGATE_SERVER_SYSTEM_PORT"] = str(port)
        runs = CliRunner(env=environment).invoke(cli, ["doctor", "--config", str(EXAMPLE)], catch_exceptions=False)

    (missing,) = [each for each in done.stdout.splitlines() if each.startswith("missing")]
    up = "" if what == "demo" else ", then `tiergate up`"
    start = f"`tiergate {what} --folder {tmp_path}`{up}"
    assert missing == f"missing the {what} in {tmp_path} is stopped – start it with {start}"
    assert "is stopped" not in runs.stdout
    assert "start it" in runs.stdout


class Skewed(StripeAccount):
    """An account whose answers say when they are sent, as those of Stripe do."""

    ahead = timedelta()

    def platform(self) -> httpx.AsyncClient:
        client = super().platform()

        async def stamp(response: httpx.Response) -> None:
            response.headers["date"] = format_datetime(utc_now() + self.ahead, usegmt=True)

        client.event_hooks["response"].append(stamp)
        return client


def examined(subject: Subject[Any], folder: Path, **changes: Any) -> list[Check]:
    """Return what the doctor says of a platform."""

    async def run() -> list[Check]:
        async with bench(subject, folder) as made:
            made.settings = msgspec.structs.replace(made.settings, **changes)
            platform = ConnectedPlatform(INSTANCE, subject.domain, subject.connector, made.settings)
            return await examine_platform(platform, made.connect(), made.client)

    return asyncio.run(run())


def endpoint(account: StripeAccount) -> None:
    account.api.v1.webhook_endpoints.create(
        {"url": WEBHOOKS, "enabled_events": cast("Any", EVENTS), "api_version": CURRENT}
    )


@pytest.mark.parametrize(("seconds", "word"), [(600, "behind"), (-600, "ahead of")])
def test_the_doctor_says_that_our_clock_is_not_the_platforms(seconds: int, word: str, tmp_path: Path) -> None:
    account = Skewed(tmp_path)
    account.ahead = timedelta(seconds=seconds)
    endpoint(account)

    well, skew = examined(account, tmp_path)

    assert well.what.endswith("lets us in")
    assert re.fullmatch(rf"under-test: our clock is (599|600|601) s {word} the platform's", skew.what)
    assert (skew.state, skew.runbook) == ("missing", "docs/runbooks/health.md#clock")


def test_the_doctor_finds_nothing_where_everything_fits(tmp_path: Path) -> None:
    account = Skewed(tmp_path)
    endpoint(account)

    (only,) = examined(account, tmp_path)

    assert only.state == "ok"
    assert only.what.endswith("lets us in, and has what is needed")


def test_the_doctor_names_what_a_platform_lacks_and_a_key_that_may_do_too_much(tmp_path: Path) -> None:
    account = StripeAccount(tmp_path)
    account.stand_in.api_key = "sk_test_everything"

    well, lacks, may = examined(account, tmp_path, api_key=Secret("sk_test_everything"))

    assert (well.state, lacks.state, may.state) == ("ok", "missing", "warning")
    assert lacks.what.startswith("under-test: no webhook endpoint reports to")
    assert lacks.remedy == "run `tiergate setup billing under-test`"
    assert lacks.runbook == "docs/runbooks/health.md#misfits"
    assert "sk_test" not in repr((well, lacks, may)).replace("(sk_…)", "")


def test_the_doctor_names_what_the_user_of_the_crm_may_do_too_much(tmp_path: Path) -> None:
    org = Org(tmp_path)
    org.grant("us@example.com", PermissionsModifyAllData=True, PermissionsApiEnabled=True)
    org.grant("us@example.com", PermissionsManageUsers=True)

    well, may = examined(org, tmp_path)

    assert (well.state, may.state) == ("ok", "warning")
    assert may.what == "under-test: the integration user may do too much: Modify All Data, Manage Users"
    assert may.remedy.startswith("take it out of its profile and permission sets")


@pytest.mark.parametrize(
    ("platform", "changes", "reason"),
    [
        (StripeAccount, {"api_key": Secret("wrong one")}, "Stripe refuses the API key: correct api_key"),
        (
            Org,
            {"client_secret": Secret("wrong one")},
            "Salesforce refuses the log-in",
        ),
        (Org, {"private_key": Secret("wrong one")}, "private_key is no RSA key in PEM"),
    ],
)
def test_the_doctor_says_that_credentials_are_refused(
    platform: Callable[[Path], Subject[Any]], changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    (refused,) = examined(platform(tmp_path), tmp_path, **changes)

    assert (refused.state, reason in refused.what) == ("missing", True), refused
    assert refused.remedy == f"see [platforms.{INSTANCE}] in the settings, and its secrets"
    assert refused.runbook == "docs/runbooks/health.md#platform"
    assert "wrong one" not in repr(refused)


def test_the_doctor_can_be_read_by_a_machine(port: int, tmp_path: Path) -> None:
    environment = SECRETS | {"TIERGATE_FOLDER": str(tmp_path), "TIERGATE_SERVER_SYSTEM_PORT": str(port)}
    environment |= {
        f"TIERGATE_PLATFORMS_{name}_URL": f"http://127.0.0.1:{port}"
        for name in ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
    }

    done = CliRunner(env=environment).invoke(cli, ["doctor", "--json", "--config", str(EXAMPLE)])

    said = json.loads(done.stdout)
    assert (done.exit_code, said["ok"]) == (3, False)
    assert {"what": f"state folder {tmp_path}", "state": "ok", "remedy": "", "runbook": ""} in said["checks"]
