"""What contracts owe, as finance and support see it: the same routes in both of their channels."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.dunning import Dunning, DunningAction
from canonical.orders import Page
from canonical.states import DunningState
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfCustomer, OfSeller
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


def handlers(channel: str) -> list[HTTPRouteHandler]:
    """Return the routes of one channel."""

    @operation(
        f"{channel}_list_dunnings",
        "GET",
        "/dunnings",
        summary="List the contracts that owe or have owed, newest first",
        answers=Page[Dunning],
        passes="dunnings",
        links={f"{channel}_get_dunning": ("dunning_id", "/items/0/id")},
    )
    async def list_dunnings(
        process: NamedDependency[Process],
        principal: NamedDependency[Principal],
        dunning_state: Annotated[DunningState | None, QueryParameter(name="state")] = None,
        legal_entity: OfSeller = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Response[bytes]:
        """Show what each contract owes now, since when, and what comes next. Follow `next_cursor` for the rest."""
        wanted = {"state": dunning_state, "legal_entity": legal_entity, "customer_id": customer_id}
        return await process.get(principal, "dunnings", wanted | {"cursor": cursor, "limit": limit})

    @operation(
        f"{channel}_get_dunning",
        "GET",
        "/dunnings/{dunning_id:str}",
        summary="Read what a contract owes, and what follows",
        answers=Dunning,
        passes="dunnings/{dunning_id}",
    )
    async def get_dunning(
        process: NamedDependency[Process], principal: NamedDependency[Principal], dunning_id: CanonicalId
    ) -> Response[bytes]:
        """Show the invoices that are owed, how billing collects them, and all that has happened, with who decided."""
        return await process.get(principal, f"dunnings/{dunning_id}", {})

    @operation(
        f"{channel}_act_on_dunning",
        "POST",
        "/dunnings/{dunning_id:str}/actions",
        summary="Postpone what follows from a debt, or let the service go on",
        answers=Dunning,
        status=200,
        problems=(NOT_ALLOWED_NOW,),
    )
    async def act_on_dunning(
        process: NamedDependency[Process],
        principal: NamedDependency[Principal],
        dunning_id: CanonicalId,
        data: JSONBody[DunningAction],
    ) -> Response[bytes]:
        """Decide, with a reason that is kept: `postpone` what follows until a day, `resume` the service until then, or
        `end` it, so that nothing follows any more. What is owed stays owed, and billing goes on to collect it."""
        return await process.post(principal, f"dunnings/{dunning_id}/actions", data)

    return [list_dunnings, get_dunning, act_on_dunning]
