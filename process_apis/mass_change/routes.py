"""The routes by which the contracts of many customers are changed."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.mass_changes import (
    MassChange,
    MassChangeAction,
    MassChangeItem,
    MassChangeSummary,
    MassItemState,
    NewMassChange,
)
from canonical.orders import Page
from canonical.states import MassChangeState
from policies.business.amendments import CHANGE_REFUSED, KEY_TAKEN
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW, OUTSIDE_REGION
from process_apis.mass_change.runs import MassChangeRuns


def routes(runs: MassChangeRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "plan_mass_change",
        "POST",
        "/mass-changes",
        summary="Select the contracts of a new price, and show what it is worth",
        problems=(CHANGE_REFUSED, KEY_TAKEN, OUTSIDE_REGION),
        links={"get_mass_change": ("mass_change_id", "/id")},
        sync_to_thread=True,
    )
    def plan_mass_change(principal: NamedDependency[Principal], data: JSONBody[NewMassChange]) -> MassChange:
        """Select the contracts as they are now. Nothing is changed before it is submitted and approved. The same key
        again is the same mass change."""
        return runs.plan(data, principal, correlation.current())

    @operation(
        "list_mass_changes",
        "GET",
        "/mass-changes",
        summary="List changes of many contracts, newest first",
        links={"get_mass_change": ("mass_change_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_mass_changes(
        principal: NamedDependency[Principal],
        mass_change_state: Annotated[MassChangeState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[MassChangeSummary]:
        """Mass changes of the selling companies that the caller may see."""
        return runs.records.page(principal, mass_change_state, cursor, limit)

    @operation(
        "get_mass_change",
        "GET",
        "/mass-changes/{mass_change_id:str}",
        summary="Read a mass change: what it is worth, and how many contracts are in which state",
        links={"list_mass_change_items": ("mass_change_id", "/id")},
        sync_to_thread=True,
    )
    def get_mass_change(principal: NamedDependency[Principal], mass_change_id: CanonicalId) -> MassChange:
        """Return the mass change as it is now."""
        return runs.find(mass_change_id, principal)

    @operation(
        "list_mass_change_items",
        "GET",
        "/mass-changes/{mass_change_id:str}/items",
        summary="List the contracts of a mass change, and what became of each",
        links={"get_contract": ("contract_id", "/items/0/contract_id")},
        sync_to_thread=True,
    )
    def list_mass_change_items(
        principal: NamedDependency[Principal],
        mass_change_id: CanonicalId,
        item_state: Annotated[MassItemState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[MassChangeItem]:
        """Return every contract that was selected, with those that are left out and why."""
        runs.find(mass_change_id, principal)
        return runs.records.page_of_items(mass_change_id, item_state, cursor, limit)

    @operation(
        "act_on_mass_change",
        "POST",
        "/mass-changes/{mass_change_id:str}/actions",
        summary="Submit, pause, resume, cancel, retry or undo a mass change",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def act_on_mass_change(
        principal: NamedDependency[Principal], mass_change_id: CanonicalId, data: JSONBody[MassChangeAction]
    ) -> MassChange:
        """Do the next step. What is on its way to a platform is carried out; everything else stops or goes on between
        two contracts."""
        return runs.do(mass_change_id, data.action, principal)

    return (plan_mass_change, list_mass_changes, get_mass_change, list_mass_change_items, act_on_mass_change)
