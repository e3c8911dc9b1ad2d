"""Signing in and out of the console."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import Annotated, Any, Literal

import structlog
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Redirect

from canonical.faults import Unavailable
from experience_apis.console.guard import LANGUAGE, THEME, Console, PeopleIssuer, language_for, open_form, own_path
from experience_apis.console.language import CODES
from experience_apis.console.pages import HEADERS, ROOT, answer, rendered
from experience_apis.console.sessions import LINK, LONGEST, SignedIn
from policies.chain.gate import ACTS_FOR, Gate
from policies.contract.operation import operation
from policies.identity.openid import SignInRefused
from policies.identity.roles import ROLES
from policies.problems import MISSING, ProblemError
from policies.traffic.rate_limit import RateLimitedCall, own_limits

CODE_BYTES = 200
"""Characters of a code at the most."""
YEAR = 365 * 24 * 3600
Note = Literal["", "refused", "away"]
"""Why somebody sees the sign-in page again: nobody was let in, or the issuer does not answer."""
STATUS: dict[Note, HTTPStatus] = {
    "": HTTPStatus.OK,
    "refused": HTTPStatus.FORBIDDEN,
    "away": HTTPStatus.SERVICE_UNAVAILABLE,
}
THEMES = ("system", "light", "dark")
FromIssuer = Annotated[str, QueryParameter(name="code", max_length=2000, description="What the issuer has given")]
State = Annotated[str, QueryParameter(name="state", max_length=CODE_BYTES, description="Which sign-in it is")]
log = structlog.get_logger("tiergate.console")
To = Annotated[str, QueryParameter(name="to", max_length=500, description="Where to go afterwards")]


@operation("console_sign_in_page", "GET", "/sign-in", summary="Show the sign-in page", sync_to_thread=False)
def sign_in_page(
    request: Request[Any, Any, Any], gate: NamedDependency[Gate], console: NamedDependency[Console], to: To = ROOT
) -> Response[str]:
    """Show where a code goes in. That of a link is in the part of the address that no server sees."""
    return _page(request, gate, console, own_path(to))


@operation("console_sign_in", "POST", "/sign-in", summary="Sign in with the code of a link", status=200)
async def sign_in(
    request: Request[Any, Any, Any], console: NamedDependency[Console], gate: NamedDependency[Gate]
) -> Response[Any]:
    """Let somebody in with a code, which is good once. Guesses are counted by the address that they come from."""
    fields = await open_form(request)
    await _limited(request, gate, "console_sign_in")
    to, code = own_path(fields.get("to", ROOT)), fields.get("code", "").strip()
    grant = await console.sessions.redeem(code) if 0 < len(code) <= CODE_BYTES else None
    known = ROLES.of(gate.live_catalogue.current)
    role = next((each for each in grant.roles if each in known), None) if grant else None
    if grant is None or role is None:
        return _page(request, gate, console, to, note="refused")
    request.scope["state"][ACTS_FOR] = grant.person
    token = await console.sessions.begin(grant, role)
    return signed_in_to(console, to, token)


@operation("console_start", "GET", "/sign-in/start", summary="Sign in with the issuer", status=303)
async def start(
    request: Request[Any, Any, Any], console: NamedDependency[Console], gate: NamedDependency[Gate], to: To = ROOT
) -> Response[Any]:
    """Send somebody to the issuer. What the browser is known by when it comes back is in a cookie of its own."""
    issuer = _issuer(console)
    await _limited(request, gate, "console_start")
    begun = await console.sessions.start(own_path(to))
    try:
        address = await issuer.openid.address(begun.proof, _back_to(console))
    except Unavailable as away:
        log.warning("nobody can sign in with the issuer", reason=away.reason)
        return _page(request, gate, console, begun.to, note="away")
    flow = Cookie(
        key=console.flow_cookie,
        value=begun.proof.state,
        path="/",
        max_age=int(LINK.total_seconds()),
        secure=console.is_secure,
        httponly=True,
        samesite="lax",
    )
    return Redirect(address, status_code=303, headers=HEADERS, cookies=[flow])


@operation("console_finish", "GET", "/sign-in/finish", summary="Come back from the issuer", status=303)
async def finish(
    request: Request[Any, Any, Any],
    console: NamedDependency[Console],
    gate: NamedDependency[Gate],
    code: FromIssuer = "",
    known_as: State = "",
) -> Response[Any]:
    """Let somebody in whom the issuer names, in the browser that has begun it, once."""
    issuer = _issuer(console)
    held = request.cookies.get(console.flow_cookie, "")
    begun = (
        await console.sessions.finish(held) if held and hmac.compare_digest(held.encode(), known_as.encode()) else None
    )
    if begun is None or not code:
        return _page(request, gate, console, ROOT, note="refused")
    try:
        claims = await issuer.openid.claims(code, begun.proof, _back_to(console))
        grant = issuer.grant(claims, gate.live_catalogue.current)
    except SignInRefused as refused:
        log.warning("somebody was not signed in", reason=str(refused))
        return _page(request, gate, console, begun.to, note="refused")
    except Unavailable as away:
        log.warning("nobody can sign in with the issuer", reason=away.reason)
        return _page(request, gate, console, begun.to, note="away")
    request.scope["state"][ACTS_FOR] = grant.person
    return signed_in_to(console, begun.to, await console.sessions.begin(grant, grant.roles[0]))


async def _limited(request: Request[Any, Any, Any], gate: Gate, operation_id: str) -> None:
    """Count a try of somebody who is not signed in by the address that it comes from. Raises `ProblemError` (429)."""
    peer = request.client.host if request.client else ""
    counted = hashlib.sha256(f"{operation_id}\0{peer}".encode()).hexdigest()[:32]
    limits = gate.live_catalogue.current.gateway.operations[operation_id]
    await gate.throttle.take(RateLimitedCall(counted, operation_id), own_limits(limits), limits.cost)


def _issuer(console: Console) -> PeopleIssuer:
    if console.issuer is None:
        raise ProblemError(MISSING, "People sign in with links here: no issuer is set.")
    return console.issuer


def _back_to(console: Console) -> str:
    """Return where the issuer sends people back to: it has to know this address."""
    return f"{console.url}{ROOT}/sign-in/finish"


@operation("console_sign_out", "POST", "/sign-out", summary="Sign out, here or everywhere", status=303)
async def sign_out(
    request: Request[Any, Any, Any],
    console: NamedDependency[Console],
    signed_in: NamedDependency[SignedIn],
    form: NamedDependency[dict[str, str]],
) -> Redirect:
    """End the session, and with `everywhere` all of the person's."""
    if form.get("everywhere"):
        await console.sessions.end_all(signed_in.session.grant.person)
    await console.sessions.end(request.cookies.get(console.cookie, ""))
    gone = Cookie(key=console.cookie, value="", path="/", max_age=0, secure=console.is_secure, httponly=True)
    return Redirect(f"{ROOT}/sign-in", status_code=303, headers=HEADERS, cookies=[gone])


@operation("console_choose", "POST", "/choice", summary="Choose role, language or colours", status=303)
async def choose(
    request: Request[Any, Any, Any],
    console: NamedDependency[Console],
    signed_in: NamedDependency[SignedIn],
    form: NamedDependency[dict[str, str]],
) -> Redirect:
    """Take what is chosen, and go back to where it was chosen."""
    to = own_path(form.get("to", ROOT))
    cookies = [
        Cookie(key=name, value=form[field], path="/", max_age=YEAR, samesite="lax", secure=console.is_secure)
        for name, field, known in ((LANGUAGE, "language", CODES), (THEME, "theme", THEMES))
        if form.get(field) in known
    ]
    if (role := form.get("role")) in signed_in.session.grant.roles and role:
        token = await console.sessions.change_role(signed_in, request.cookies.get(console.cookie, ""), role)
        cookies.append(_session_cookie(console, token))
        to = ROOT  # what one role sees another may not
    return Redirect(to, status_code=303, headers=HEADERS, cookies=cookies)


def signed_in_to(console: Console, to: str, token: str) -> Redirect:
    """Send somebody who has signed in to a page."""
    return Redirect(to, status_code=303, headers=HEADERS, cookies=[_session_cookie(console, token)])


def _session_cookie(console: Console, token: str) -> Cookie:
    return Cookie(
        key=console.cookie,
        value=token,
        path="/",
        max_age=int(LONGEST.total_seconds()),
        secure=console.is_secure,
        httponly=True,
        samesite="lax",
    )


def _page(request: Request[Any, Any, Any], gate: Gate, console: Console, to: str, *, note: Note = "") -> Response[str]:
    has_issuer = console.issuer is not None
    page = rendered("sign_in", language_for(request), gate.clock(), to=to, note=note, has_issuer=has_issuer)
    return answer(page, STATUS[note])
