"""The routes by which invoices are corrected."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.corrections import (
    Correction,
    CorrectionKind,
    CorrectionPreview,
    CorrectionRequest,
    CorrectionSummary,
    NewCorrection,
)
from canonical.orders import Page
from canonical.states import CorrectionState
from policies.business.amendments import KEY_TAKEN
from policies.business.corrections import INVOICE_RESERVED, PROBLEMS
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, ForeignKey, Limit, OfCustomer, OfInvoice
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW, OUTSIDE_REGION
from process_apis.corrections.runs import CorrectionRuns


def routes(runs: CorrectionRuns) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "preview_correction",
        "POST",
        "/invoices/{invoice_id:str}/corrections/preview",
        summary="See what a correction of an invoice would be on every platform",
        status=200,
        problems=(*PROBLEMS, INVOICE_RESERVED),
        asks_platforms=True,
        sync_to_thread=True,
    )
    def preview_correction(
        principal: NamedDependency[Principal], invoice_id: ForeignKey, data: JSONBody[CorrectionRequest]
    ) -> CorrectionPreview:
        """Ask billing what it would credit, and the ERP what it would book, with an explanation of each amount. Nothing
        is changed."""
        return runs.preview(invoice_id, data, principal)

    @operation(
        "request_correction",
        "POST",
        "/invoices/{invoice_id:str}/corrections",
        summary="Correct an invoice, once for each key",
        problems=(*PROBLEMS, INVOICE_RESERVED, KEY_TAKEN, OUTSIDE_REGION),
        asks_platforms=True,
        links={"get_correction": ("correction_id", "/id")},
        sync_to_thread=True,
    )
    def request_correction(
        principal: NamedDependency[Principal], invoice_id: ForeignKey, data: JSONBody[NewCorrection]
    ) -> Correction:
        """Take a correction. It is previewed, approved by somebody else above the limits of the catalogue, and carried
        out in billing. The same key again is the same correction."""
        return runs.request(invoice_id, data, principal, correlation.current(), proposed=False)

    @operation(
        "propose_correction",
        "POST",
        "/invoices/{invoice_id:str}/correction-proposals",
        summary="Ask finance for a correction of an invoice, once for each key",
        problems=(*PROBLEMS, INVOICE_RESERVED, KEY_TAKEN, OUTSIDE_REGION),
        asks_platforms=True,
        links={"get_correction": ("correction_id", "/id")},
        sync_to_thread=True,
    )
    def propose_correction(
        principal: NamedDependency[Principal], invoice_id: ForeignKey, data: JSONBody[NewCorrection]
    ) -> Correction:
        """Take a correction on which finance decides, whatever its amount is. The same key again is the same
        correction."""
        return runs.request(invoice_id, data, principal, correlation.current(), proposed=True)

    @operation(
        "list_corrections",
        "GET",
        "/corrections",
        summary="List corrections of invoices, newest first",
        links={"get_correction": ("correction_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_corrections(
        principal: NamedDependency[Principal],
        correction_state: Annotated[CorrectionState | None, QueryParameter(name="state")] = None,
        kind: Annotated[CorrectionKind | None, QueryParameter(name="kind")] = None,
        invoice_id: OfInvoice = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[CorrectionSummary]:
        """Corrections of the invoices that the caller may see."""
        return runs.records.page(principal, correction_state, kind, invoice_id, customer_id, cursor, limit)

    @operation(
        "get_correction",
        "GET",
        "/corrections/{correction_id:str}",
        summary="Read a correction: how far it is, and what every platform said",
        sync_to_thread=True,
    )
    def get_correction(principal: NamedDependency[Principal], correction_id: CanonicalId) -> Correction:
        """Return the correction with its preview, and who has decided what of it."""
        return runs.find(correction_id, principal)

    @operation(
        "withdraw_correction",
        "POST",
        "/corrections/{correction_id:str}/withdrawal",
        summary="Withdraw a correction that is not carried out yet",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def withdraw_correction(principal: NamedDependency[Principal], correction_id: CanonicalId) -> Correction:
        """Give up a correction that waits for an approval or for people: one's own, or any for who decides on them. One
        that billing has is refused."""
        return runs.withdraw(correction_id, principal)

    return (
        preview_correction,
        request_correction,
        propose_correction,
        list_corrections,
        get_correction,
        withdraw_correction,
    )
