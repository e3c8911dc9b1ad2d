"""The console as a person has it: a sign-in link, and a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tiergate import composition, people
from tiergate.settings import load

AXE = Path(__file__).parents[1] / "end_to_end" / "peers" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",  # tests run as root in a machine of their own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=375, height=812)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def sign_in_link(environment: Environment, person: str, *roles: str) -> str:
    """Return a link with which a person signs in, once."""
    with ThreadPoolExecutor(1) as elsewhere:  # a browser has the event loop of this thread
        return elsewhere.submit(people.sign_in_link, environment.settings, person, roles).result()


@contextmanager
def chromium() -> Generator[Browser]:
    """Run a Chromium without a window."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "there is no chromium: `make test` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


def signed_in(
    browser: Browser,
    environment: Environment,
    person: str,
    *roles: str,
    size: ViewportSize = DESKTOP,
    language: str = "en-GB",
    theme: str = "light",
) -> Page:
    """Return a page on which a person has just signed in, in a browser of the person's own."""
    context = browser.new_context(
        viewport=size, locale=language, timezone_id="Europe/Berlin", color_scheme="dark" if theme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(sign_in_link(environment, person, *roles))
    page.wait_for_url("**/console")
    return page


def findings(page: Page) -> list[str]:
    """Return what axe finds on a page, in the state that it is in."""
    page.evaluate(AXE.read_text())  # the pages let no script of elsewhere in
    found: Any = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]


@contextmanager
def layer_in_this_process(folder: Path, port: int, issuer: str) -> Generator[None]:
    """Run an experience layer without one behind it, in which people sign in with an issuer."""
    config = folder / "tiergate.toml"
    config.write_text(
        f'folder = "{folder}"\n[server]\nprocess_port = 9\nexperience_port = {port}\n'
        f'[console]\nissuer = "{issuer}"\nclient_id = "tiergate-console"\n'
    )
    settings = load(config, {"TIERGATE_CONSOLE_CLIENT_SECRET": "a secret with : and % in it"})
    server = uvicorn.Server(uvicorn.Config(composition.experience_app(settings), port=port, log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 20, "the experience layer")
    yield
    server.should_exit = True
    thread.join()
