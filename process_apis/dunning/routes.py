"""The routes by which people read what contracts owe, and decide what follows."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.dunning import Dunning, DunningAction
from canonical.orders import Page
from canonical.states import DunningState
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfCustomer, OfSeller
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW
from process_apis.dunning.runs import DunningRuns


def routes(runs: DunningRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_dunnings",
        "GET",
        "/dunnings",
        summary="List the contracts that owe or have owed, newest first",
        links={"get_dunning": ("dunning_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_dunnings(
        principal: NamedDependency[Principal],
        dunning_state: Annotated[DunningState | None, QueryParameter(name="state")] = None,
        legal_entity: OfSeller = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[Dunning]:
        """Return what each contract owes now, and what comes next. The history of each is in its own record."""
        wanted = {"state": dunning_state, "legal_entity": legal_entity, "customer_id": customer_id}
        return runs.records.page(principal, wanted, cursor, limit)

    @operation(
        "get_dunning",
        "GET",
        "/dunnings/{dunning_id:str}",
        summary="Read what a contract owes, and what follows",
        links={"get_contract": ("contract_id", "/contract_id")},
        sync_to_thread=True,
    )
    def get_dunning(principal: NamedDependency[Principal], dunning_id: CanonicalId) -> Dunning:
        """Return the invoices that are owed with billing's attempts, and every state that it came to."""
        return runs.find(dunning_id, principal)

    @operation(
        "act_on_dunning",
        "POST",
        "/dunnings/{dunning_id:str}/actions",
        summary="Postpone what follows from a debt, or let the service go on",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def act_on_dunning(
        principal: NamedDependency[Principal], dunning_id: CanonicalId, data: JSONBody[DunningAction]
    ) -> Dunning:
        """Take a decision, which is kept with its reason. Billing goes on to collect what is owed."""
        return runs.decide(dunning_id, data, principal)

    return list_dunnings, get_dunning, act_on_dunning
