"""The routes by which usage is sent and read."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from canonical.usage import ContractUsage, UsageReceipt, UsageRecord
from policies.business.usage import MOST_LINES
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Moment, moment
from policies.identity.authentication import Principal
from process_apis.usage.intake import Intake
from process_apis.usage.reading import MeterReader

FirstLine = Annotated[
    int, QueryParameter(ge=1, le=MOST_LINES, description="The number of the first line, where these are a part of more")
]


def routes(intake: Intake, reading: MeterReader) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "record_usage",
        "POST",
        "/usage",
        summary="Take records of usage, a few thousand at a time",
        status=200,
        lines=UsageRecord,
    )
    async def record_usage(
        request: Request[Any, Any, Any], principal: NamedDependency[Principal], first_line: FirstLine = 1
    ) -> UsageReceipt:
        """Keep each record once, by its key. A line that cannot be taken is named, and stops no other."""
        return await asyncio.to_thread(intake.take, await request.body(), first_line, principal)

    @operation(
        "get_usage",
        "GET",
        "/contracts/{contract_id:str}/usage",
        summary="Read what was used under a contract in its present periods",
        sync_to_thread=True,
    )
    def get_usage(
        principal: NamedDependency[Principal], contract_id: CanonicalId, as_of: Moment = None
    ) -> ContractUsage:
        """Return what the meters of the contract say, in the periods that `as_of` is in, up to then."""
        return reading.of(contract_id, principal, moment("as_of", as_of))

    return record_usage, get_usage
