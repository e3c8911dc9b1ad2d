"""The routes by which disputes are read, answered and accepted."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.disputes import DisputeAction, DisputeRecord, DisputeSummary
from canonical.orders import Page
from canonical.states import DisputeState
from policies.business.disputes import ANSWER_TOO_LATE, DISPUTE_DECIDED, EVIDENCE_TOO_LARGE
from policies.contract.operation import operation
from policies.contract.parameters import Cursor, ForeignKey, Limit, Moment, OfContract, OfCustomer, moment
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW
from process_apis.disputes.decisions import DisputeDecisions
from process_apis.records.disputes import Disputes


def routes(records: Disputes, decisions: DisputeDecisions) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_disputes",
        "GET",
        "/disputes",
        summary="List disputed payments, newest first",
        links={"get_dispute": ("dispute_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_disputes(
        principal: NamedDependency[Principal],
        dispute_state: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
        customer_id: OfCustomer = None,
        contract_id: OfContract = None,
        due_before: Moment = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[DisputeSummary]:
        """Return disputes of the selling companies that the caller may see; with `due_before`, those that wait for an
        answer which has to be there before that moment."""
        due = moment("due_before", due_before)
        return records.page(principal, dispute_state, customer_id, contract_id, due, cursor, limit)

    @operation(
        "get_dispute",
        "GET",
        "/disputes/{dispute_id:str}",
        summary="Read a dispute with its history and what it has cost",
        sync_to_thread=True,
    )
    def get_dispute(principal: NamedDependency[Principal], dispute_id: ForeignKey) -> DisputeRecord:
        """Return the dispute as it was read in billing last, with who has asked for what, and why."""
        return decisions.read(dispute_id, principal)

    @operation(
        "act_on_dispute",
        "POST",
        "/disputes/{dispute_id:str}/actions",
        summary="Answer a dispute with evidence, or accept it",
        status=200,
        problems=(NOT_ALLOWED_NOW, DISPUTE_DECIDED, ANSWER_TOO_LATE, EVIDENCE_TOO_LARGE),
        sync_to_thread=True,
    )
    def act_on_dispute(
        principal: NamedDependency[Principal], dispute_id: ForeignKey, data: JSONBody[DisputeAction]
    ) -> DisputeRecord:
        """Keep who asks for it, and why, and let billing do it at once: `doing` says what is on its way. To accept
        gives the money up, and cannot be taken back."""
        return decisions.act(dispute_id, data, principal)

    return list_disputes, get_dispute, act_on_dispute
