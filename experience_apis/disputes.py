"""Disputed payments, as finance and support read them: the same routes in both of their channels."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from canonical.disputes import DisputeRecord, DisputeSummary
from canonical.orders import Page
from canonical.states import DisputeState
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import Cursor, ForeignKey, Limit, Moment, OfContract, OfCustomer
from policies.identity.authentication import Principal


def handlers(channel: str) -> list[HTTPRouteHandler]:
    """Return the routes of one channel."""

    @operation(
        f"{channel}_list_disputes",
        "GET",
        "/disputes",
        summary="List disputed payments, newest first",
        answers=Page[DisputeSummary],
        passes="disputes",
        links={f"{channel}_get_dispute": ("dispute_id", "/items/0/id")},
    )
    async def list_disputes(
        process: NamedDependency[Process],
        principal: NamedDependency[Principal],
        dispute_state: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
        customer_id: OfCustomer = None,
        contract_id: OfContract = None,
        due_before: Moment = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Response[bytes]:
        """Filter by state, customer or contract; `due_before` shows what has to be answered before a moment."""
        wanted = {"state": dispute_state, "customer_id": customer_id, "contract_id": contract_id}
        query = wanted | {"due_before": due_before, "cursor": cursor, "limit": limit}
        return await process.get(principal, "disputes", query)

    @operation(
        f"{channel}_get_dispute",
        "GET",
        "/disputes/{dispute_id:str}",
        summary="Read a dispute with its history and what it has cost",
        answers=DisputeRecord,
        passes="disputes/{dispute_id}",
    )
    async def get_dispute(
        process: NamedDependency[Process], principal: NamedDependency[Principal], dispute_id: ForeignKey
    ) -> Response[bytes]:
        """Show the dispute as it was read in billing last, with who has asked for what, and why."""
        return await process.get(principal, f"disputes/{dispute_id}", {})

    return [list_disputes, get_dispute]
