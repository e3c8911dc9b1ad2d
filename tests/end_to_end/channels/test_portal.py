"""The portal, as the people who build on the APIs meet it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from policies.catalogue.sections import sections
from policies.identity.client_secrets import ClientSecrets
from policies.problems import TYPES, ProblemType
from policies.store.documents import FileDocument
from tests.support.environment import Environment
from tiergate import composition
from tiergate.settings import Settings

LINK = re.compile(r'(?:href|src|data-document)="([^"#]+)')


def problems() -> dict[str, ProblemType]:
    """Return every problem, with those that policies bring."""
    sections()  # it loads all policies
    return TYPES


@pytest.fixture
def url(environment: Environment) -> str:
    return environment.sandbox.url("experience")


def test_every_link_of_the_portal_leads_somewhere_on_this_host(url: str) -> None:
    seen: set[str] = set()
    pending = {"/docs"}
    while pending:
        path = pending.pop()
        seen.add(path)
        answer = httpx.get(f"{url}{path}")
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            found = set(LINK.findall(answer.text))
            assert all(each.startswith("/") for each in found), f"{path} asks another host: {found}"
            pending |= found - seen

    assert {
        "/docs/reference/partners.v1",
        "/docs/contracts/events.v1.json",
        "/docs/partners-v2",
        "/problems/throttled",
    } <= seen
    assert {f"/problems/{name}" for name in problems()} <= seen


def test_every_page_forbids_what_does_not_come_from_here(url: str) -> None:
    for path in ("/docs", "/docs/reference/sales.v1", "/problems/throttled", "/docs/assets/reference.js"):
        headers = httpx.get(f"{url}{path}").headers
        policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
    page = httpx.get(f"{url}/docs/reference/sales.v1").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/nothing",
        "/docs/reference/crm.v1",
        "/docs/contracts/process.v1.json",
        "/docs/assets/api.py",
        "/docs/assets/..%2F..%2Fapp.py",
        "/problems/none",
    ],
)
def test_what_is_not_published_is_not_there(url: str, path: str) -> None:
    answer = httpx.get(f"{url}{path}")

    assert answer.status_code in {404, 422}
    page = answer.status_code == 404 and not path.startswith(("/docs/contracts/", "/docs/assets/"))
    assert answer.headers["content-type"] == ("text/html; charset=utf-8" if page else "application/problem+json")


def test_the_page_of_a_problem_says_what_it_means_and_what_to_do(url: str) -> None:
    for each in problems().values():
        shown = httpx.get(f"{url}/problems/{each.name}").text
        assert each.title.replace("'", "&#39;") in shown
        assert each.meaning, each.name


def test_the_guide_names_every_change(url: str) -> None:
    shown = httpx.get(f"{url}/docs/partners-v2").text

    for words in (
        "minor units",
        "<code>lines</code>",
        "<code>customer_id</code>",
        "<code>placed_at</code>",
        "2027-10-01",
    ):
        assert words in shown


# ---- tokens


def ask(url: str, name: str, secret: str, **form: str) -> httpx.Response:
    return httpx.post(f"{url}/oauth/token", auth=(name, secret), data={"grant_type": "client_credentials"} | form)


def secret_of(settings: Settings, client: str) -> str:
    return ClientSecrets(FileDocument(settings.client_secrets())).make(client)


def test_a_client_gets_a_token_for_its_secret_and_calls_with_it(environment: Environment, url: str) -> None:
    secret = secret_of(environment.settings, "sales-app")

    granted = ask(url, "sales-app", secret)

    assert granted.status_code == 200
    assert granted.headers["cache-control"] == "no-store"
    headers = {"authorization": f"Bearer {granted.json()['access_token']}"}
    assert httpx.get(f"{url}/sales/v1/orders", headers=headers).status_code == 200


def test_the_secret_before_still_counts_and_the_one_before_that_does_not(environment: Environment, url: str) -> None:
    first, second, third = (secret_of(environment.settings, "finance-app") for _ in range(3))

    assert [ask(url, "finance-app", each).status_code for each in (first, second, third)] == [401, 200, 200]


def test_a_token_can_be_asked_for_with_less_and_never_with_more(environment: Environment, url: str) -> None:
    secret = secret_of(environment.settings, "support-desk")

    less = ask(url, "support-desk", secret, scope="cases:read")
    more = ask(url, "support-desk", secret, scope="cases:read governance:read")

    assert less.json()["scope"] == "cases:read"
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")


def test_no_token_for_a_wrong_secret_an_unknown_client_or_a_layer_of_ours(environment: Environment, url: str) -> None:
    layer = secret_of(environment.settings, "process-layer")
    answers = [
        ask(url, "sales-france", "tgs_wrong"),
        ask(url, "nobody", "tgs_wrong"),
        ask(url, "process-layer", layer),
        ask(url, "", ""),
        httpx.post(
            f"{url}/oauth/token", headers={"authorization": "Basic !"}, data={"grant_type": "client_credentials"}
        ),
    ]

    assert {(each.status_code, each.json()["error"]) for each in answers} == {(401, "invalid_client")}
    assert "tgs_" not in environment.settings.client_secrets().read_text()


def test_another_grant_and_a_form_that_is_none_are_refused(url: str) -> None:
    assert httpx.post(f"{url}/oauth/token", data={"grant_type": "password"}).json()["error"] == "unsupported_grant_type"
    many = "&".join(f"a{number}=1" for number in range(50))
    assert httpx.post(f"{url}/oauth/token", content=many).json()["error"] == "invalid_request"


def test_guessing_is_slowed_down_and_audited(environment: Environment, url: str) -> None:
    answers = [ask(url, "reseller-sued", f"tgs_{number}").status_code for number in range(30)]

    assert answers.count(429) >= 10
    log = environment.settings.audit_files("experience").log.read_text()
    assert '"operation":"issue_token"' in log
    assert '"on_behalf_of":"reseller-sued"' in log


def test_the_local_issuer_can_be_switched_off(environment: Environment) -> None:
    closed = msgspec.structs.replace(
        environment.settings, governance=msgspec.structs.replace(environment.settings.governance, local_tokens=False)
    )
    paths = {route.path for route in composition.experience_app(closed).routes}

    assert "/oauth/token" not in paths


def test_of_many_secrets_made_at_once_none_loses_another_clients(tmp_path: Path) -> None:
    path = tmp_path / "client-secrets.json"
    names = [f"client-{number}" for number in range(8)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ClientSecrets(FileDocument(path)).make, names))

    assert set(msgspec.json.decode(path.read_bytes())) == set(names)
    assert path.stat().st_mode & 0o077 == 0
