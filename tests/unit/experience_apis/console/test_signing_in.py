"""Signing in and out of the console: who gets a session, how long it lasts, and what another site cannot do with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.ids import Clock, utc_now
from experience_apis.console.guard import Console, PeopleIssuer, own_path
from experience_apis.console.sessions import IDLE, LINK, LONGEST, NOTED, Grant, Sessions
from policies.catalogue.live import LiveCatalogue
from policies.identity.jwks import SigningKeys
from policies.identity.openid import OpenIdIssuer, SignInRefused
from policies.store.secret import NO_SECRET
from policies.store.shared_store import SharedFileStore
from tiergate import composition
from tiergate.settings import load
from tiergate.shared import SharedState

T = TypeVar("T")
ANNA = Grant("anna@example.com", ("finance", "sales"), "Anna Berg")
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Layer:
    """An experience layer in this process, whose process layer is away; its time stands still until it is moved."""

    def __init__(self, folder: Path, url: str = "") -> None:
        config = folder / "tiergate.toml"
        config.write_text(f'folder = "{folder}"\n[server]\nprocess_port = 9\nconsole_url = "{url}"\n')
        self.settings = load(config, {})
        shared = SharedState(self.settings)
        revocations = shared.revocations()
        self.now = utc_now()  # after them: what began before is refused until they were read
        store = SharedFileStore(folder / "sessions.sqlite", lambda: self.now)
        self.sessions = Sessions(store, revocations, lambda: self.now)
        parts = composition.experience_parts(self.settings)
        console = Console(self.sessions, self.settings.server.url_of_console())
        self.app = composition.experience_app(
            self.settings, composition.ExperienceParts(parts.gate, parts.process, parts.tokens, console)
        )
        self.catalogue: LiveCatalogue = parts.gate.live_catalogue

    def run(self, act: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
        """Let a browser do something, which follows no redirect by itself."""

        async def acted() -> T:
            transport = httpx.ASGITransport(self.app)  # pyright: ignore[reportArgumentType]
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8103") as client:
                return await act(client)

        return asyncio.run(acted())

    async def sign_in(self, client: httpx.AsyncClient, grant: Grant = ANNA) -> httpx.Response:
        """Sign in with a new link."""
        code = await self.sessions.offer(grant)
        return await client.post("/console/sign-in", data={"code": code})


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return Layer(tmp_path)


async def form_token(client: httpx.AsyncClient) -> str:
    found = TOKEN.search((await client.get("/console")).text)
    assert found
    return found[1]


def test_a_code_is_good_once(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        code = await layer.sessions.offer(ANNA)
        return [(await client.post("/console/sign-in", data={"code": code})).status_code for _ in range(2)]

    assert layer.run(act) == [303, 403]


def test_of_two_who_use_a_code_at_once_one_is_let_in(layer: Layer) -> None:
    async def both() -> list[Grant | None]:
        code = await layer.sessions.offer(ANNA)
        return list(await asyncio.gather(*(layer.sessions.redeem(code) for _ in range(8))))

    assert [each for each in asyncio.run(both()) if each] == [ANNA]


def test_a_code_that_is_too_old_or_was_never_given_lets_nobody_in(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        code = await layer.sessions.offer(ANNA)
        layer.now += LINK
        asked = (code, "", "x" * 201, "never-given")
        return [(await client.post("/console/sign-in", data={"code": each})).status_code for each in asked]

    assert layer.run(act) == [403] * 4


def test_guesses_are_limited_by_the_address_that_they_come_from(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        return [(await client.post("/console/sign-in", data={"code": "x"})).status_code for _ in range(602)]

    assert 429 in layer.run(act)


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(layer: Layer) -> None:
    set_cookie = layer.run(layer.sign_in).headers["set-cookie"]

    assert "HttpOnly" in set_cookie
    assert "SameSite=lax" in set_cookie
    assert "Path=/" in set_cookie


def test_with_tls_no_other_host_can_set_the_cookie(tmp_path: Path) -> None:
    set_cookie = Layer(tmp_path, "https://tiergate.example").run(lambda client: _anna(tmp_path, client)).headers

    assert set_cookie["set-cookie"].startswith("__Host-tiergate=")
    assert "Secure" in set_cookie["set-cookie"]


async def _anna(folder: Path, client: httpx.AsyncClient) -> httpx.Response:
    return await Layer(folder, "https://tiergate.example").sign_in(client)


def test_a_session_that_an_attacker_has_begun_is_not_the_one_that_somebody_signs_in_to(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> tuple[str, str, int]:
        client.cookies.set("tiergate", "chosen-by-somebody-else")
        await layer.sign_in(client)
        mine = client.cookies.get("tiergate", domain="127.0.0.1") or ""
        client.cookies.clear()
        client.cookies.set("tiergate", "chosen-by-somebody-else")
        return "chosen-by-somebody-else", mine, (await client.get("/console")).status_code

    chosen, mine, status = layer.run(act)

    assert mine not in {"", chosen}
    assert status == 303


@pytest.mark.parametrize("away", [IDLE, LONGEST])
def test_a_session_ends_by_itself(layer: Layer, away: timedelta) -> None:
    async def act(client: httpx.AsyncClient) -> tuple[int, int]:
        await layer.sign_in(client)
        before = (await client.get("/console")).status_code
        layer.now += away + timedelta(seconds=1)
        return before, (await client.get("/console")).status_code

    assert layer.run(act)[1] == 303


def test_work_keeps_a_session_going_for_a_day_of_work_and_no_longer(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[bool]:
        await layer.sign_in(client)
        token = client.cookies.get("tiergate") or ""
        found: list[bool] = []
        for _ in range(26):
            layer.now += timedelta(minutes=30)
            found.append(await layer.sessions.find(token, layer.catalogue.current) is not None)
        return found

    assert layer.run(act) == [True] * 23 + [False] * 3


def test_signing_out_everywhere_ends_the_sessions_of_the_person_and_no_others(layer: Layer) -> None:
    async def act(_: httpx.AsyncClient) -> list[bool]:
        mine = [await layer.sessions.begin(ANNA, "finance") for _ in range(3)]
        other = await layer.sessions.begin(Grant("kim@example.com", ("sales",)), "sales")
        await layer.sessions.end_all(ANNA.person)
        layer.now += timedelta(seconds=1)
        later = await layer.sessions.begin(ANNA, "finance")
        asked = (*mine, other, later)
        return [await layer.sessions.find(each, layer.catalogue.current) is not None for each in asked]

    assert layer.run(act) == [False, False, False, True, True]


class OvertakenStore(SharedFileStore):
    """A store in which others do something between a read and what follows from it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def read(self, name: str) -> bytes | None:
        found = await super().read(name)
        if self.meanwhile:
            await self.meanwhile.pop()()
        return found


def test_a_session_ends_also_when_another_request_notes_at_that_moment_that_it_came(
    layer: Layer, tmp_path: Path
) -> None:
    async def act(_: httpx.AsyncClient) -> bool:
        store = OvertakenStore(tmp_path / "overtaken.sqlite", lambda: layer.now)
        sessions = Sessions(store, layer.sessions.revocations, lambda: layer.now)
        token = await sessions.begin(ANNA, "finance")
        layer.now += NOTED + timedelta(seconds=1)
        store.meanwhile.append(lambda: sessions.find(token, layer.catalogue.current))
        await sessions.end(token)
        return await sessions.find(token, layer.catalogue.current) is None

    assert layer.run(act)


def test_a_page_that_shows_itself_again_keeps_nobody_signed_in(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[bool]:
        await layer.sign_in(client)
        there: list[bool] = []
        for _ in range(3):
            layer.now += IDLE / 2
            shown = await client.get("/console", headers={"hx-request": "true"})
            there.append("hx-redirect" not in shown.headers)
        return there

    assert layer.run(act) == [True, False, False]


def test_another_role_is_another_session_with_other_rights(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> tuple[str, str, int]:
        await layer.sign_in(client)
        before = client.cookies.get("tiergate") or ""
        token = await form_token(client)
        chosen = await client.post("/console/choice", data={"form_token": token, "role": "sales"})
        old = await layer.sessions.find(before, layer.catalogue.current)
        new = await layer.sessions.find(client.cookies.get("tiergate") or "", layer.catalogue.current)
        assert old is None and new is not None  # noqa: PT018
        return before, new.principal.client, chosen.status_code

    _, client, status = layer.run(act)

    assert (client, status) == ("console-sales", 303)


def test_nobody_takes_a_role_that_was_not_given(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> str:
        await layer.sign_in(client)
        await client.post("/console/choice", data={"form_token": await form_token(client), "role": "platform"})
        found = await layer.sessions.find(client.cookies.get("tiergate") or "", layer.catalogue.current)
        return found.session.role if found else ""

    assert layer.run(act) == "finance"


@pytest.mark.parametrize("path", ["/console/sign-out", "/console/choice", "/console/cases/cas_" + "0" * 32])
def test_a_form_that_another_site_sends_is_not_taken(layer: Layer, path: str) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        await layer.sign_in(client)
        token = await form_token(client)
        nothing: dict[str, str] = {}
        tries = (
            (nothing, nothing),
            ({"form_token": "guessed"}, nothing),
            ({"form_token": token}, {"Origin": "https://elsewhere.example"}),
            ({"form_token": token}, {"Origin": "null"}),
            ({"form_token": token}, {"Origin": "http://["}),
            ({"form_token": token}, {"Sec-Fetch-Site": "cross-site"}),
            ({"form_token": token}, {"Sec-Fetch-Site": "same-site"}),
        )
        return [(await client.post(path, data=form, headers=headers)).status_code for form, headers in tries]

    assert layer.run(act) == [403] * 7


@given(
    st.one_of(
        st.text(max_size=40),
        st.builds("/console{}".format, st.text(max_size=20)),
        st.sampled_from(
            [
                "//evil.example",
                "/\\evil.example",
                "https://evil.example/console",
                "/console/../x",
                "javascript:alert(1)",
                "//[",
                " /console",
            ]
        ),
    )
)
def test_after_signing_in_nobody_is_sent_to_another_site(path: str) -> None:
    found = own_path(path)

    assert found.startswith("/console")
    assert not found.startswith(("//", "/\\"))
    assert found.partition("?")[0].partition("#")[0] == "/console" or found[8] in "/?#"


def test_who_is_not_signed_in_comes_back_to_what_was_asked_for(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> tuple[str, str]:
        asked = await client.get("/console/cases")
        code = await layer.sessions.offer(ANNA)
        done = await client.post("/console/sign-in", data={"code": code, "to": "/console/cases"})
        return asked.headers["location"], done.headers["location"]

    assert layer.run(act) == ("/console/sign-in?to=/console/cases", "/console/cases")


def test_pages_let_nothing_of_elsewhere_in_and_are_shown_in_no_frame(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> httpx.Response:
        await layer.sign_in(client)
        return await client.get("/console")

    headers = layer.run(act).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


def test_without_the_process_layer_every_page_opens_and_says_what_is_missing(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        await layer.sign_in(client)
        paths = ("", "/cases", "/find?q=Nordwind", "/records/ord_" + "0" * 32, "/records/of:erp")
        return [await client.get(f"/console{path}") for path in paths]

    for page in layer.run(act):
        assert 'role="alert"' in page.text
        assert "cannot be reached" in page.text


def take_away(folder: Path) -> None:
    """Let the store of the sessions be none."""
    for file in folder.glob("sessions.sqlite*"):
        file.unlink()
    (folder / "sessions.sqlite").mkdir()


def test_while_the_sessions_cannot_be_read_a_page_says_so(layer: Layer, tmp_path: Path) -> None:
    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        await layer.sign_in(client)
        take_away(tmp_path)
        return [await client.get("/console"), await client.post("/console/sign-in", data={"code": "x"})]

    for answer in layer.run(act):
        assert answer.status_code == 503
        assert "cannot be read" in answer.text


def test_a_part_of_a_page_that_cannot_be_shown_is_a_part_too(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> str:
        await layer.sign_in(client)
        return (await client.get("/console", headers={"HX-Request": "true"})).text

    part = layer.run(act)

    assert 'role="alert"' in part
    assert "<html" not in part


def test_without_an_issuer_people_sign_in_with_links_alone(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> list[int]:
        finish = {"code": "x", "state": "\u00e9"}
        answers = [
            await client.get("/console/sign-in/start"),
            await client.get("/console/sign-in/finish", params=finish),
        ]
        return [each.status_code for each in answers]

    assert layer.run(act) == [404, 404]


def test_revoking_the_client_of_a_role_ends_its_sessions(layer: Layer) -> None:
    async def act(client: httpx.AsyncClient) -> bool:
        await layer.sign_in(client)
        token = client.cookies.get("tiergate") or ""
        layer.now += timedelta(seconds=1)
        await layer.sessions.revocations.revoke(client="console-finance")
        return await layer.sessions.find(token, layer.catalogue.current) is None

    assert layer.run(act)


@pytest.mark.parametrize("verified", [False, "true", None])
def test_an_address_that_the_issuer_has_not_verified_names_nobody(layer: Layer, verified: object) -> None:
    async def no_keys() -> list[dict[str, object]]:
        return []

    keys = SigningKeys(no_keys, utc_now)
    openid = OpenIdIssuer("https://login.example", "tiergate-console", NO_SECRET, "openid", keys, utc_now)
    issuer = PeopleIssuer(openid, "email", "name", "groups")
    claims = {"email": "anna@example.com", "groups": ["tiergate-finance"]}

    assert issuer.grant(claims | {"email_verified": True}, layer.catalogue.current).roles == ("finance",)
    assert issuer.grant(claims, layer.catalogue.current).roles == ("finance",)
    with pytest.raises(SignInRefused, match="email_verified"):
        issuer.grant(claims | {"email_verified": verified}, layer.catalogue.current)


def test_with_tls_no_other_host_can_set_the_cookie_of_a_sign_in_with_the_issuer(layer: Layer) -> None:
    behind_tls = Console(layer.sessions, "https://tiergate.example")

    assert behind_tls.flow_cookie.startswith("__Host-")
