"""The console's routes: pages for people, each made from what the channels answer to who is signed in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import structlog
from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter

from experience_apis.console import guard, pages, sign_in
from experience_apis.console.cases import act, act_on_several, case_page, cases_page
from experience_apis.console.now import now_page
from experience_apis.console.records import find_page, record_page
from policies.contract.operation import operation
from policies.problems import MISSING, ProblemError
from policies.store.documents import StoreAway

Name = Annotated[str, PathParameter(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}\Z")]
log = structlog.get_logger("tiergate.console")
Changed = Annotated[str, QueryParameter(name="v", max_length=20, description="Which state of the file is wanted")]


@operation("console_asset", "GET", "/assets/{name:str}", summary="Get a file of the pages", sync_to_thread=False)
def asset(request: Request[Any, Any, Any], name: Name, changed: Changed = "") -> Response[bytes]:
    """Return a file; under an address that says which state of it, it may be kept for ever."""
    found = pages.assets().get(name)
    if found is None:
        raise ProblemError(MISSING, f"There is no file {name}.")
    kept = "max-age=31536000, immutable" if changed == found.digest else "no-cache"
    headers = pages.HEADERS | {"Vary": "Accept-Encoding", "Cache-Control": kept}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, media_type=found.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)


def _foreign_form(request: Request[Any, Any, Any], error: guard.ForeignForm) -> Response[str]:
    """Say that a form was not taken, and how to go on."""
    del error
    return pages.answer(pages.closed(guard.language_for(request), is_away=False), HTTPStatus.FORBIDDEN)


def _sessions_away(request: Request[Any, Any, Any], error: StoreAway) -> Response[str]:
    """Say that nobody can be let in at the moment."""
    log.warning("the sessions cannot be read or written", reason=str(error))
    return pages.answer(pages.closed(guard.language_for(request), is_away=True), HTTPStatus.SERVICE_UNAVAILABLE)


router = Router(
    pages.ROOT,
    route_handlers=[
        asset,
        sign_in.sign_in_page,
        sign_in.sign_in,
        sign_in.start,
        sign_in.finish,
        sign_in.sign_out,
        sign_in.choose,
        now_page,
        find_page,
        record_page,
        cases_page,
        act_on_several,
        case_page,
        act,
    ],
    dependencies={
        "signed_in": Provide(guard.signed_in),
        "view": Provide(guard.view, sync_to_thread=False),
        "form": Provide(guard.form),
    },
    exception_handlers={guard.SignedOut: guard.to_sign_in, guard.ForeignForm: _foreign_form, StoreAway: _sessions_away},
    include_in_schema=False,
)
