"""The overview's governed routes: what every team asks first, each caller sees what it may."""

from __future__ import annotations

from litestar import Response
from litestar.di import NamedDependency

from canonical.lineage import Lineage
from canonical.overview import Flow, Found
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import ForeignKey, Moment, SearchedFor
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal


@operation(
    "overview_get_flow",
    "GET",
    "/flow",
    summary="Read how far everything has come",
    answers=Flow,
    passes="flow",
)
async def get_flow(process: NamedDependency[Process], principal: NamedDependency[Principal]) -> Response[bytes]:
    """Return how many orders, changes, postings, debts and disputes are in each state, the oldest of each and what they
    are worth, the open cases of each team, and the platforms that something waits for."""
    return await process.get(principal, "flow", {})


@operation(
    "overview_search",
    "GET",
    "/search",
    summary="Find a record",
    answers=Found,
    passes="search",
)
async def search(
    process: NamedDependency[Process], principal: NamedDependency[Principal], wanted: SearchedFor
) -> Response[bytes]:
    """Return customers and orders by their names, and any record by its number or its id, ours or a platform's."""
    return await process.get(principal, "search", {"q": wanted})


@operation(
    "overview_get_lineage",
    "GET",
    "/lineage/{record:str}",
    summary="Read all that happened to a record",
    answers=Lineage,
    passes="lineage/{record}",
)
async def get_lineage(
    process: NamedDependency[Process], principal: NamedDependency[Principal], record: ForeignKey, as_of: Moment = None
) -> Response[bytes]:
    """Return what happened in every system, in order of time, to an order, contract, customer, invoice, payment or
    case, by our id or a platform's. It shows what the caller's scopes allow to read as records."""
    return await process.get(principal, f"lineage/{record}", {"as_of": as_of})


routers = versioned("overview", __name__, [get_flow, search, get_lineage])
