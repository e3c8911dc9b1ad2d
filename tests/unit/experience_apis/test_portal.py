"""The portal's pages, and the links that lead to them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Generator
from datetime import date
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from canonical.process_events import SOURCE
from experience_apis.portal import pages
from policies.catalogue.check import load
from policies.catalogue.model import Version
from tiergate import composition
from tiergate.settings import Server, Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(folder=str(tmp_path_factory.mktemp("state")), server=Server(process_url="http://127.0.0.1:9"))


@pytest.fixture(scope="module")
def client(settings: Settings) -> Generator[TestClient[Any]]:
    with TestClient(composition.experience_app(settings)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/docs", "text/html; charset=utf-8"),
        ("/problems/forbidden", "text/html; charset=utf-8"),
        ("/docs/assets/portal.css", "text/css; charset=utf-8"),
        ("/docs/assets/reference.js", "text/javascript; charset=utf-8"),
    ],
)
def test_a_page_names_its_character_set_once(client: TestClient[Any], path: str, kind: str) -> None:
    assert client.get(path).headers["content-type"] == kind


def test_the_address_alone_leads_to_the_portal(client: TestClient[Any]) -> None:
    answer = client.get("/", follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")


@pytest.mark.parametrize("path", ["/docs/nosuch", "/docs/reference/crm.v1", "/problems/nosuch"])
def test_a_link_that_leads_nowhere_is_a_page(client: TestClient[Any], path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert 'href="/docs"' in answer.text


def test_every_page_has_an_icon(client: TestClient[Any]) -> None:
    for path in ("/docs", "/docs/tokens", "/docs/reference/sales.v1"):
        icon = re.search(r'<link rel="icon" href="([^"]+)"', client.get(path).text)
        assert icon, path
        assert client.get(icon[1]).headers["content-type"] == "image/svg+xml"


def test_the_successor_of_a_deprecated_version_is_a_page(client: TestClient[Any], settings: Settings) -> None:
    partner = load().clients["reseller-nord"]
    token = composition.issuer(settings).token("reseller-nord", partner)

    answer = client.get("/partners/v1/orders", headers={"authorization": f"Bearer {token}"})

    successor = re.search(r'<([^>]+)>; rel="successor-version"', answer.headers["link"])
    assert successor
    assert client.get(successor[1]).status_code == 200


def test_the_portal_says_that_an_api_is_retired_and_where_to_read_about_it() -> None:
    catalogue = load()
    life = Version("deprecated", date(2026, 1, 1), date(2027, 1, 1), guide="https://example.com/after")
    support = msgspec.structs.replace(catalogue.apis["support"], versions={"v1": life})

    shown = pages.home(msgspec.structs.replace(catalogue, apis={"support": support}))

    assert "since 2026-01-01, ends 2027-01-01" in shown
    assert 'the API is retired, <a href="https://example.com/after">what to do</a>' in shown
    assert "None" not in shown


def test_the_guide_to_a_version_leads_to_both_references(client: TestClient[Any]) -> None:
    references = re.findall(r'href="(/docs/reference/[^"]+)"', client.get("/docs/partners-v2").text)

    assert references == ["/docs/reference/partners.v1", "/docs/reference/partners.v2"]
    assert [client.get(each).status_code for each in references] == [200, 200]


def test_the_page_about_tokens_says_how_long_one_is_valid(client: TestClient[Any]) -> None:
    assert "<code>expires_in</code> seconds. Use it for all your calls" in client.get("/docs/tokens").text


def test_the_page_about_events_says_who_gets_them_and_each_comes_from_an_instance(client: TestClient[Any]) -> None:
    page = client.get("/docs/events").text
    events = [json.loads(html.unescape(each)) for each in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]

    assert "the process layer receives them" in page
    assert events
    instances = {f"{platform.domain}/{name}" for name, platform in load().platforms.items()}
    assert {each["source"] for each in events} <= {*instances, SOURCE}
