"""The routes by which catalogue syncs are previewed, started and followed."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.catalogue_sync import (
    CatalogueAction,
    CatalogueItem,
    CatalogueItemState,
    CatalogueSync,
    NewCatalogueSync,
)
from canonical.orders import Page
from canonical.states import CatalogueSyncState
from policies.business.catalogue_sync import OWNED_ELSEWHERE, PREVIEW_OUTDATED
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.identity.authentication import Principal
from process_apis.catalogue_sync.runs import CatalogueSyncRuns


def routes(runs: CatalogueSyncRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "preview_catalogue_sync",
        "POST",
        "/catalogue-syncs",
        summary="Work out what differs from the CRM's catalogue, once for each key",
        problems=(OWNED_ELSEWHERE,),
        links={"get_catalogue_sync": ("sync_id", "/id")},
        sync_to_thread=True,
    )
    def preview_catalogue_sync(
        principal: NamedDependency[Principal], data: JSONBody[NewCatalogueSync]
    ) -> CatalogueSync:
        """Compare the products and list prices of the CRM with what the ERP and billing have of them. Nothing is
        written to them. Follow it until it is planned, and read its items."""
        return runs.preview(data, principal, correlation.current())

    @operation(
        "start_catalogue_sync",
        "POST",
        "/catalogue-syncs/{sync_id:str}/start",
        summary="Carry out what a preview has shown",
        status=200,
        problems=(PREVIEW_OUTDATED,),
        sync_to_thread=True,
    )
    def start_catalogue_sync(principal: NamedDependency[Principal], sync_id: CanonicalId) -> CatalogueSync:
        """Do the items of a preview, in the order in which they depend on each other. What is refused is a case, and
        stops nothing else."""
        runs.read(sync_id, principal)
        return runs.start(sync_id)

    @operation(
        "list_catalogue_syncs",
        "GET",
        "/catalogue-syncs",
        summary="List catalogue syncs, newest first",
        links={"get_catalogue_sync": ("sync_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_catalogue_syncs(
        principal: NamedDependency[Principal],
        sync_state: Annotated[CatalogueSyncState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[CatalogueSync]:
        """Previews, and those that were carried out."""
        return runs.page(principal, sync_state, cursor, limit)

    @operation(
        "get_catalogue_sync",
        "GET",
        "/catalogue-syncs/{sync_id:str}",
        summary="Read a catalogue sync: how far it is",
        links={"list_catalogue_items": ("sync_id", "/id")},
        sync_to_thread=True,
    )
    def get_catalogue_sync(principal: NamedDependency[Principal], sync_id: CanonicalId) -> CatalogueSync:
        """Return what it waits for, and how many items it has by action and by state."""
        return runs.read(sync_id, principal)

    @operation(
        "list_catalogue_items",
        "GET",
        "/catalogue-syncs/{sync_id:str}/items",
        summary="List what a catalogue sync does, in its order",
        sync_to_thread=True,
    )
    def list_catalogue_items(
        principal: NamedDependency[Principal],
        sync_id: CanonicalId,
        item_state: Annotated[CatalogueItemState | None, QueryParameter(name="state")] = None,
        action: CatalogueAction | None = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[CatalogueItem]:
        """Show each product and each price that is created, changed, replaced, retired or refused on a platform."""
        return runs.items(sync_id, principal, item_state, action, cursor, limit)

    return (
        preview_catalogue_sync,
        start_catalogue_sync,
        list_catalogue_syncs,
        get_catalogue_sync,
        list_catalogue_items,
    )
