"""The portal's open routes. Every page forbids everything that does not come from this host (CSP level 3)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, Router
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter
from litestar.response import Redirect

from experience_apis.portal import pages
from policies.chain.gate import Gate
from policies.contract.operation import operation
from policies.contract.version_chain import chains
from policies.problems import MISSING, ProblemError

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "max-age=60",
}
Name = Annotated[str, PathParameter(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}\Z")]
Accepts = Annotated[str, HeaderParameter(name="accept-encoding")]


def _page(content: str, status: int = 200) -> Response[str]:
    return Response(content, status_code=status, media_type="text/html", headers=HEADERS)


def _no_page(what: str) -> Response[str]:
    """Return what a person reads who has followed a link that leads nowhere."""
    return _page(pages.page("missing", what=what), MISSING.status)


def _nothing(what: str) -> ProblemError:
    return ProblemError(MISSING, f"There is no {what}.")


@operation("portal_root", "GET", "/", summary="Go to the APIs and their versions", sync_to_thread=False)
def root() -> Redirect:
    return Redirect("/docs")


@operation("portal_home", "GET", "/docs", summary="Show the APIs and their versions", sync_to_thread=False)
def home(gate: NamedDependency[Gate]) -> Response[str]:
    return _page(pages.home(gate.live_catalogue.current))


@operation(
    "portal_page", "GET", "/docs/{name:str}", summary="Show a page, or the guide to a version", sync_to_thread=False
)
def page(gate: NamedDependency[Gate], request: Request[Any, Any, Any], name: Name) -> Response[str]:
    match name:
        case "events":
            return _page(pages.events())
        case "problems":
            return _page(pages.problems())
        case "tokens":
            return _page(pages.page("tokens"))
        case _:
            guide = pages.guide(gate.live_catalogue.current, chains(request.app), name)
            if guide is None:
                return _no_page(f"page {name}")
            return _page(guide)


@operation(
    "portal_reference",
    "GET",
    "/docs/reference/{name:str}",
    summary="Show the reference of an API",
    sync_to_thread=False,
)
def reference(gate: NamedDependency[Gate], name: Name) -> Response[str]:
    if name not in pages.documents(gate.live_catalogue.current) or name == pages.EVENTS:
        return _no_page(f"reference {name}")
    return _page(pages.reference(name))


@operation("portal_document", "GET", "/docs/contracts/{name:str}", summary="Get a contract", sync_to_thread=False)
def document(gate: NamedDependency[Gate], name: Name) -> Response[bytes]:
    wanted = name.removesuffix(".json")
    if wanted not in pages.documents(gate.live_catalogue.current):
        raise _nothing(f"contract {name}")
    return Response((pages.CONTRACTS / f"{wanted}.json").read_bytes(), media_type="application/json", headers=HEADERS)


@operation("portal_asset", "GET", "/docs/assets/{name:str}", summary="Get a file of the pages", sync_to_thread=False)
def asset(name: Name, accepts: Accepts = "") -> Response[bytes]:
    found = pages.asset(name)
    if found is None:
        raise _nothing(f"file {name}")
    content, compressed, kind = found
    headers = HEADERS | {"Vary": "Accept-Encoding", "Cache-Control": "max-age=3600"}
    if "gzip" in accepts:
        return Response(compressed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return Response(content, media_type=kind, headers=headers)


@operation(
    "problem_page",
    "GET",
    "/problems/{name:str}",
    summary="Show what a problem means and what to do",
    sync_to_thread=False,
)
def problem(name: Name) -> Response[str]:
    found = pages.problem(name)
    if found is None:
        return _no_page(f"problem {name}")
    return _page(found)


router = Router("/", route_handlers=[root, home, page, reference, document, asset, problem], include_in_schema=False)
