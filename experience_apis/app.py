"""The experience layer as one deployable: the channels behind their governed routes."""

from __future__ import annotations

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig

from experience_apis.console import api as console_pages
from experience_apis.console.guard import Console
from experience_apis.finance import api as finance
from experience_apis.oauth import Tokens
from experience_apis.oauth import router as oauth
from experience_apis.operations import api as operations
from experience_apis.overview import api as overview
from experience_apis.partners import api as partners
from experience_apis.portal import api as portal
from experience_apis.process_client import Process
from experience_apis.sales import api as sales
from experience_apis.support import api as support
from policies.background import Background
from policies.chain.gate import Gate, governed
from policies.chain.readiness import Checks


def create_app(
    gate: Gate, process: Process, tokens: Tokens | None, console: Console, openapi: OpenAPIConfig | None = None
) -> Litestar:
    """Return the app. It starts without the process layer, and says so in its readiness. Without `tokens` it issues
    none."""
    checks = Checks({"process": process.alive})
    checking = Background(checks.keep_asking)

    return governed(
        gate,
        [
            *sales.routers,
            *finance.routers,
            *support.routers,
            *partners.routers,
            *operations.routers,
            *overview.routers,
            portal.router,
            console_pages.router,
            *([oauth] if tokens else []),
        ],
        readiness=checks.found,
        provided={"process": process, "gate": gate, "tokens": tokens, "console": console},
        background=[checking],
        report=process.report_jobs,
        on_shutdown=[process.close],
        openapi=openapi,
    )
