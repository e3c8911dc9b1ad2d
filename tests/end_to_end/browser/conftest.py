"""A Chromium for the tests of a module: while it runs, the event loop of the thread is its own."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser

from tests.support.console import chromium


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as found:
        yield found
