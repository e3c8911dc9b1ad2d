"""Corrections of invoices, as finance and support see them: the same routes in both of their channels. Each asks for
them in its own way."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.corrections import (
    Correction,
    CorrectionKind,
    CorrectionPreview,
    CorrectionRequest,
    CorrectionSummary,
)
from canonical.orders import Page
from canonical.states import CorrectionState
from experience_apis.process_client import Process
from policies.business.corrections import INVOICE_RESERVED, PROBLEMS
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, ForeignKey, Limit, OfCustomer, OfInvoice
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


def handlers(channel: str, ask: HTTPRouteHandler) -> list[HTTPRouteHandler]:
    """Return the routes of one channel, with that by which it asks for one."""

    @operation(
        f"{channel}_preview_correction",
        "POST",
        "/invoices/{invoice_id:str}/corrections/preview",
        summary="See what a correction of an invoice would be on every platform",
        answers=CorrectionPreview,
        status=200,
        problems=(*PROBLEMS, INVOICE_RESERVED),
        asks_platforms=True,
    )
    async def preview_correction(
        process: NamedDependency[Process],
        principal: NamedDependency[Principal],
        invoice_id: ForeignKey,
        data: JSONBody[CorrectionRequest],
    ) -> Response[bytes]:
        """Ask billing what it would credit, and the ERP what it would book. Without lines a credit note is of all that
        is left, and shows the lines of the invoice. Nothing is changed."""
        return await process.post(principal, f"invoices/{invoice_id}/corrections/preview", data)

    @operation(
        f"{channel}_list_corrections",
        "GET",
        "/corrections",
        summary="List corrections of invoices, newest first",
        answers=Page[CorrectionSummary],
        passes="corrections",
        links={f"{channel}_get_correction": ("correction_id", "/items/0/id")},
    )
    async def list_corrections(
        process: NamedDependency[Process],
        principal: NamedDependency[Principal],
        correction_state: Annotated[CorrectionState | None, QueryParameter(name="state")] = None,
        kind: Annotated[CorrectionKind | None, QueryParameter(name="kind")] = None,
        invoice_id: OfInvoice = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Response[bytes]:
        """Filter by state, by kind, by invoice or by customer."""
        wanted = {"state": correction_state, "kind": kind, "invoice_id": invoice_id, "customer_id": customer_id}
        return await process.get(principal, "corrections", wanted | {"cursor": cursor, "limit": limit})

    @operation(
        f"{channel}_get_correction",
        "GET",
        "/corrections/{correction_id:str}",
        summary="Read a correction: how far it is, and what every platform said",
        answers=Correction,
        passes="corrections/{correction_id}",
    )
    async def get_correction(
        process: NamedDependency[Process], principal: NamedDependency[Principal], correction_id: CanonicalId
    ) -> Response[bytes]:
        """Return the correction with its preview, and who has decided what of it."""
        return await process.get(principal, f"corrections/{correction_id}", {})

    @operation(
        f"{channel}_withdraw_correction",
        "POST",
        "/corrections/{correction_id:str}/withdrawal",
        summary="Withdraw a correction that is not carried out yet",
        answers=Correction,
        status=200,
        problems=(NOT_ALLOWED_NOW,),
    )
    async def withdraw_correction(
        process: NamedDependency[Process], principal: NamedDependency[Principal], correction_id: CanonicalId
    ) -> Response[bytes]:
        """Give up a correction that waits for an approval or for people: one's own, or any for who decides on them. One
        that billing has is refused."""
        return await process.post(principal, f"corrections/{correction_id}/withdrawal", None)

    return [preview_correction, ask, list_corrections, get_correction, withdraw_correction]
