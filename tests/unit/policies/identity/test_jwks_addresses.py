"""Keys are read at an https address, or on this machine; what only looks like one is none."""

from __future__ import annotations

import pytest

from policies.identity.jwks import is_address


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/keys",
        "https://www.googleapis.com/oauth2/v3/certs",
        "http://127.0.0.1:8080/keys",
        "http://localhost/k",
    ],
)
def test_keys_are_read_at_an_address(url: str) -> None:
    assert is_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example@evil.example/keys",
        "https://issuer.example:443@evil.example/keys",
        "http://127.0.0.1:80@evil.example/keys",
        "http://localhost:80@evil.example/keys",
        "http://localhost.evil.example/keys",
        "http://issuer.example/keys",
        "https://evil.example\\@issuer.example/keys",
        "https:///keys",
        "https://issuer.example:x/keys",
        "https://[::1/keys",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_leads_elsewhere_is_no_address(url: str) -> None:
    assert not is_address(url)
