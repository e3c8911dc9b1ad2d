"""People sign in to the console with an OpenID Connect issuer that others wrote: panva's oidc-provider."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.console import layer_in_this_process
from tiergate.dev.ports import free_port

PEERS = Path(__file__).parents[1] / "peers"
NODE = Path(__file__).parents[3] / ".venv" / "bin" / "node"


@pytest.fixture(scope="module")
def console_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Run an experience layer, and the issuer that it lets people sign in with."""
    ours, theirs = free_port(), free_port()
    url = f"http://127.0.0.1:{ours}"
    issuer = subprocess.Popen([NODE, PEERS / "issuer.mjs", str(theirs), url], stdout=subprocess.PIPE, text=True)
    assert issuer.stdout
    assert issuer.stdout.readline() == "ready\n"
    with layer_in_this_process(tmp_path_factory.mktemp("layer"), ours, f"http://127.0.0.1:{theirs}"):
        yield url
    issuer.terminate()
    issuer.wait()


def asked(browser: Browser, url: str, person: str) -> Page:
    """Return a page on which a person has just come back from the issuer."""
    page = browser.new_context().new_page()
    page.goto(f"{url}/console/cases")
    page.get_by_role("link", name="Sign in with your company's account").click()
    page.locator("input[name=login]").fill(person)
    page.locator("input[name=password]").fill("anything")
    page.get_by_role("button").first.click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{url}/**")
    return page


def test_a_member_of_a_group_is_let_in_with_its_role_and_gets_where_he_wanted(
    browser: Browser, console_url: str
) -> None:
    page = asked(browser, console_url, "finance@example.com")

    assert page.url == f"{console_url}/console/cases"
    expect(page.locator(".who")).to_contain_text("Finance")


def test_somebody_without_a_role_is_not_let_in(browser: Browser, console_url: str) -> None:
    page = asked(browser, console_url, "visitor@example.com")

    expect(page.get_by_role("alert")).to_contain_text("You were not signed in.")
    assert page.goto(f"{console_url}/console/cases")
    assert page.url.startswith(f"{console_url}/console/sign-in")


def test_what_one_browser_has_begun_lets_no_other_in(console_url: str) -> None:
    with httpx.Client(base_url=console_url) as mine, httpx.Client(base_url=console_url) as theirs:
        begun = mine.get("/console/sign-in/start")
        theirs.get("/console/sign-in/start")
        (state,) = parse_qs(urlsplit(begun.headers["location"]).query)["state"]

        answers = [each.get("/console/sign-in/finish", params={"code": "x", "state": state}) for each in (theirs, mine)]
        odd = mine.get("/console/sign-in/finish", params={"code": "x", "state": "\u00e9"})
        again = mine.get("/console/sign-in/finish", params={"code": "x", "state": state})

    assert [each.status_code for each in (*answers, odd, again)] == [403] * 4
    assert not any("tiergate=" in each.headers.get("set-cookie", "") for each in (*answers, again))
