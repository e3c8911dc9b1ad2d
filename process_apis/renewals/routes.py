"""The routes by which people read which terms end, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from canonical.orders import Page
from canonical.renewals import Renewal
from canonical.states import RenewalState
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Day, Limit, OfCustomer, OfSeller, day
from policies.identity.authentication import Principal
from process_apis.renewals.runs import RenewalRuns


def routes(runs: RenewalRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_renewals",
        "GET",
        "/renewals",
        summary="List the terms that end, and what becomes of each, newest first",
        links={"get_renewal": ("renewal_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_renewals(
        principal: NamedDependency[Principal],
        renewal_state: Annotated[RenewalState | None, QueryParameter(name="state")] = None,
        legal_entity: OfSeller = None,
        customer_id: OfCustomer = None,
        ends_before: Day = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[Renewal]:
        """Return terms of the contracts that the caller may see, those that are renewed or over included."""
        wanted = {"state": renewal_state, "legal_entity": legal_entity, "customer_id": customer_id}
        return runs.records.page(principal, wanted, day("ends_before", ends_before), cursor, limit)

    @operation(
        "get_renewal",
        "GET",
        "/renewals/{renewal_id:str}",
        summary="Read what becomes of a term that ends",
        links={"get_contract": ("contract_id", "/contract_id")},
        sync_to_thread=True,
    )
    def get_renewal(principal: NamedDependency[Principal], renewal_id: CanonicalId) -> Renewal:
        """Return the end of the term, what the contract is worth now and then, and what it waits for."""
        return runs.find(renewal_id, principal)

    return list_renewals, get_renewal
