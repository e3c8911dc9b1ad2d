"""The routes by which merges of customers are read and decided about."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.customer_merges import CustomerMerge, CustomerMergeAction, CustomerMergeSummary
from canonical.orders import Page
from canonical.states import CustomerMergeState
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfCustomer
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW
from process_apis.customer_merge.decisions import MergeDecisions
from process_apis.customer_merge.overview import MergeOverview
from process_apis.records.customer_merges import CustomerMerges


def routes(records: CustomerMerges, overview: MergeOverview, decisions: MergeDecisions) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes."""

    @operation(
        "list_customer_merges",
        "GET",
        "/customer-merges",
        summary="List the accounts that were merged, and what became of their customers, newest first",
        links={"get_customer_merge": ("merge_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_customer_merges(
        principal: NamedDependency[Principal],
        merge_state: Annotated[CustomerMergeState | None, QueryParameter(name="state")] = None,
        customer_id: OfCustomer = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[CustomerMergeSummary]:
        """Return merges of customers of the selling companies that the caller may see, those that are undone
        included."""
        return records.page(principal, merge_state, customer_id, cursor, limit)

    @operation(
        "get_customer_merge",
        "GET",
        "/customer-merges/{merge_id:str}",
        summary="Read a merge with what each of its customers has",
        asks_platforms=True,
        sync_to_thread=True,
    )
    def get_customer_merge(principal: NamedDependency[Principal], merge_id: CanonicalId) -> CustomerMerge:
        """Return the merge with its history, and of each customer the contracts in force, open orders, open cases, and
        what it owes by the ERP."""
        return overview.read(merge_id, principal)

    @operation(
        "act_on_customer_merge",
        "POST",
        "/customer-merges/{merge_id:str}/actions",
        summary="Choose which of two customers under one account leads",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def act_on_customer_merge(
        principal: NamedDependency[Principal], merge_id: CanonicalId, data: JSONBody[CustomerMergeAction]
    ) -> CustomerMergeSummary:
        """Let the customer of the account that was left lead (`keep`), or that of the merged account (`switch`). New
        deals are those of the customer that leads. The case that asks for it is closed."""
        return records.summary(decisions.choose(merge_id, data, principal))

    return list_customer_merges, get_customer_merge, act_on_customer_merge
