"""The routes by which usage corrections are read and decided."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.orders import Page
from canonical.states import UsageCorrectionState
from canonical.usage_corrections import UsageCorrection, UsageDecision
from policies.business.usage import USAGE_CORRECTION_CHANGED
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfContract, OfCustomer
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW
from process_apis.records.usage_corrections import UsageCorrections
from process_apis.usage_corrections.decisions import UsageCorrectionDecisions


def routes(records: UsageCorrections, decisions: UsageCorrectionDecisions) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_usage_corrections",
        "GET",
        "/usage-corrections",
        summary="List what records change of periods that are charged, newest first",
        links={"get_usage_correction": ("usage_correction_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_usage_corrections(
        principal: NamedDependency[Principal],
        correction_state: Annotated[UsageCorrectionState | None, QueryParameter(name="state")] = None,
        contract_id: OfContract = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[UsageCorrection]:
        """Return usage corrections of the selling companies that the caller may see."""
        return records.page(principal, correction_state, contract_id, customer_id, cursor, limit)

    @operation(
        "get_usage_correction",
        "GET",
        "/usage-corrections/{usage_correction_id:str}",
        summary="Read a usage correction: the quantities, what it is worth, and how far it is",
        sync_to_thread=True,
    )
    def get_usage_correction(
        principal: NamedDependency[Principal], usage_correction_id: CanonicalId
    ) -> UsageCorrection:
        """Return it with the `revision` that a decision names."""
        return decisions.read(usage_correction_id, principal)

    @operation(
        "decide_usage_correction",
        "POST",
        "/usage-corrections/{usage_correction_id:str}/decision",
        summary="Approve or reject a usage correction as it was read",
        status=200,
        problems=(NOT_ALLOWED_NOW, USAGE_CORRECTION_CHANGED),
        sync_to_thread=True,
    )
    def decide_usage_correction(
        principal: NamedDependency[Principal], usage_correction_id: CanonicalId, data: JSONBody[UsageDecision]
    ) -> UsageCorrection:
        """Let billing credit or charge the difference, or leave it as it is. Who has sent the records cannot approve
        it; what has changed since it was read is refused."""
        return decisions.decide(usage_correction_id, data, principal)

    return list_usage_corrections, get_usage_correction, decide_usage_correction
