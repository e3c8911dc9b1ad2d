"""The routes by which contracts are read and changed."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.amendments import (
    Amendment,
    AmendmentPreview,
    AmendmentRequest,
    ContractFilter,
    ContractSummary,
    ContractTimeline,
    NewAmendment,
)
from canonical.orders import Page
from canonical.states import AmendmentState, ContractState
from policies.business.amendments import ALREADY_RENEWED, CHANGE_REFUSED, CONTRACT_OVER, KEY_TAKEN
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import (
    CanonicalId,
    Cursor,
    Limit,
    Moment,
    OfCurrency,
    OfCustomer,
    OfProduct,
    OfSeller,
    moment,
)
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, OUTSIDE_REGION, ProblemError
from process_apis.amendments.contract import find, page, seen_by, timeline
from process_apis.amendments.runs import AmendmentRuns
from process_apis.runtime.context import WorkflowContext

OfContract = Annotated[str | None, QueryParameter(name="contract_id", description="Of one contract alone.")]


def routes(context: WorkflowContext, runs: AmendmentRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_contracts",
        "GET",
        "/contracts",
        summary="List contracts as they are now, newest first",
        links={"get_contract": ("contract_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_contracts(
        principal: NamedDependency[Principal],
        customer_id: OfCustomer = None,
        sku: OfProduct = None,
        legal_entity: OfSeller = None,
        contract_state: Annotated[ContractState | None, QueryParameter(name="state")] = None,
        currency: OfCurrency = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[ContractSummary]:
        """Contracts that came into force, those that were ended included. With a filter, a page may have fewer than
        `limit` before the last one: follow `next_cursor`."""
        wanted = ContractFilter(customer_id, sku, legal_entity, contract_state, currency)
        return page(context, runs.records, principal, wanted, cursor, limit)

    @operation(
        "get_contract",
        "GET",
        "/contracts/{contract_id:str}",
        summary="Read a contract: what it was, is and will be",
        links={"get_order": ("order_id", "/order_id")},
        sync_to_thread=True,
    )
    def get_contract(
        principal: NamedDependency[Principal], contract_id: CanonicalId, as_of: Moment = None
    ) -> ContractTimeline:
        """Return every version of the contract, and which of them counts at `as_of`."""
        found = find(context, runs.records, contract_id, principal)
        return seen_by(principal, timeline(runs.records, found, moment("as_of", as_of) or context.clock()))

    @operation(
        "preview_amendment",
        "POST",
        "/contracts/{contract_id:str}/amendments/preview",
        summary="See what a change would be on every platform",
        status=200,
        problems=(CONTRACT_OVER, ALREADY_RENEWED, CHANGE_REFUSED),
        asks_platforms=True,
        sync_to_thread=True,
    )
    def preview_amendment(
        principal: NamedDependency[Principal], contract_id: CanonicalId, data: JSONBody[AmendmentRequest]
    ) -> AmendmentPreview:
        """Ask billing what it would charge and credit, and the ERP what it would book, with an explanation of each
        amount. Nothing is changed."""
        return runs.preview(contract_id, data, principal)

    @operation(
        "request_amendment",
        "POST",
        "/contracts/{contract_id:str}/amendments",
        summary="Change a contract, once for each key",
        problems=(CONTRACT_OVER, ALREADY_RENEWED, CHANGE_REFUSED, KEY_TAKEN, OUTSIDE_REGION),
        links={"get_amendment": ("amendment_id", "/id")},
        sync_to_thread=True,
    )
    def request_amendment(
        principal: NamedDependency[Principal], contract_id: CanonicalId, data: JSONBody[NewAmendment]
    ) -> Amendment:
        """Take a change of a contract. It is previewed on every platform, and carried out when they agree, after those
        that were asked for before. The same key again is the same change."""
        return runs.request(contract_id, data, principal, correlation.current())

    @operation(
        "list_amendments",
        "GET",
        "/amendments",
        summary="List changes of contracts, newest first",
        links={"get_amendment": ("amendment_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_amendments(
        principal: NamedDependency[Principal],
        contract_id: OfContract = None,
        amendment_state: Annotated[AmendmentState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[Amendment]:
        """Changes of the contracts that the caller may see."""
        return runs.records.page(principal, contract_id, amendment_state, cursor, limit)

    @operation(
        "get_amendment",
        "GET",
        "/amendments/{amendment_id:str}",
        summary="Read a change of a contract: how far it is, and what every platform said",
        links={"get_contract": ("contract_id", "/contract_id")},
        sync_to_thread=True,
    )
    def get_amendment(principal: NamedDependency[Principal], amendment_id: CanonicalId) -> Amendment:
        """Return the change with its preview."""
        found = runs.records.visible(amendment_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no amendment {amendment_id}.")
        return found

    @operation(
        "withdraw_amendment",
        "POST",
        "/amendments/{amendment_id:str}/withdrawal",
        summary="Withdraw a change that is not carried out yet",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def withdraw_amendment(principal: NamedDependency[Principal], amendment_id: CanonicalId) -> Amendment:
        """Give up a change that waits: for its day, an approval or a correction. One that is carried out is refused."""
        return runs.withdraw(amendment_id, principal)

    return (
        list_contracts,
        get_contract,
        preview_amendment,
        request_amendment,
        list_amendments,
        get_amendment,
        withdraw_amendment,
    )
