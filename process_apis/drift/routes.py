"""The routes by which drift is read, looked for, repaired and accepted."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.drift import Drift, DriftAcceptance
from canonical.orders import Page
from canonical.states import DriftState
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Instance, Limit, OfCustomer
from policies.identity.authentication import Principal
from policies.problems import DRIFT_STAYS, NOT_ALLOWED_NOW, OWNER_CHANGED
from process_apis.drift.records import Drifts
from process_apis.drift.repair import Repairs


def routes(records: Drifts, repairs: Repairs) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_drifts",
        "GET",
        "/drifts",
        summary="List where a system holds another value than the owner of the field, newest first",
        links={"get_drift": ("drift_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_drifts(
        principal: NamedDependency[Principal],
        drift_state: Annotated[DriftState | None, QueryParameter(name="state")] = None,
        system: Instance = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[Drift]:
        """Return the differences in the records that the caller may see, those that are settled included."""
        wanted = {"state": drift_state, "system": system, "customer_id": customer_id}
        return records.page(principal, wanted, cursor, limit)

    @operation("get_drift", "GET", "/drifts/{drift_id:str}", summary="Read a drift", sync_to_thread=True)
    def get_drift(principal: NamedDependency[Principal], drift_id: CanonicalId) -> Drift:
        """Return what the owner says and what the other system says, as they were seen last."""
        return repairs.find(drift_id, principal)

    @operation(
        "repair_drift",
        "POST",
        "/drifts/{drift_id:str}/repair",
        summary="Write the owner's value to the system that holds another",
        status=200,
        problems=(NOT_ALLOWED_NOW, OWNER_CHANGED, DRIFT_STAYS),
        asks_platforms=True,
        sync_to_thread=True,
    )
    def repair_drift(principal: NamedDependency[Principal], drift_id: CanonicalId) -> Drift:
        """Look first, write the one field, and look again. What is repaired or gone already is left as it is."""
        return repairs.repair(drift_id, principal)

    @operation(
        "accept_drift",
        "POST",
        "/drifts/{drift_id:str}/acceptance",
        summary="Let a system keep a value of its own",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def accept_drift(
        principal: NamedDependency[Principal], drift_id: CanonicalId, data: JSONBody[DriftAcceptance]
    ) -> Drift:
        """Keep why. It is open again when either value changes."""
        return repairs.accept(drift_id, data.reason, principal)

    @operation(
        "look_for_drift",
        "POST",
        "/drift-looks/{record:str}",
        summary="Compare a customer or a contract in every system now",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        asks_platforms=True,
        sync_to_thread=True,
    )
    def look_for_drift(principal: NamedDependency[Principal], record: CanonicalId) -> Page[Drift]:
        """Return the differences that are there now, accepted ones included. Nothing is written to any system."""
        return Page(tuple(repairs.look(record, principal)))

    return list_drifts, get_drift, repair_drift, accept_drift, look_for_drift
