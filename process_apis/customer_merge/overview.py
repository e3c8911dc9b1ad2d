"""A merge as people read it before they decide: with what each of its customers has, by our records and by the ERP."""

from __future__ import annotations

import sqlalchemy as sa

from canonical.amendments import ContractFilter
from canonical.customer_merges import CustomerMerge, MergedCustomer, Receivable
from canonical.orders import OrderSummary
from canonical.parties import Customer
from canonical.states import ORDER_STATES, OrderState
from policies.identity.authentication import Principal
from policies.problems import MISSING, ProblemError
from process_apis.amendments.contract import page
from process_apis.records import customers
from process_apis.records.amendments import Amendments
from process_apis.records.customer_merges import CustomerMerges
from process_apis.records.orders import ENDED
from process_apis.runtime.context import WorkflowContext

MOST = 25
"""Contracts, orders or cases of a customer that are shown."""
OPEN_ORDERS: tuple[OrderState, ...] = tuple(state for state in ORDER_STATES if state not in ENDED)
OVER = ("cancelled", "expired")


class MergeOverview:
    """Puts together what the customers of a merge have."""

    def __init__(self, context: WorkflowContext, records: CustomerMerges, amendments: Amendments) -> None:
        self._context = context
        self._records = records
        self._amendments = amendments

    def read(self, merge_id: str, principal: Principal) -> CustomerMerge:
        """Return a merge with all that the caller may see of it. Raises `ProblemError` (404) for one that is not there
        for this caller, and leaves of `PlatformFault` where the ERP does not say what is owed."""
        row = self._records.visible(merge_id, principal)
        if row is None:
            raise ProblemError(MISSING, f"There is no merge {merge_id}.")
        return self.of(row, principal)

    def of(self, row: sa.Row[object], principal: Principal) -> CustomerMerge:
        """Return a merge that the caller may see, as `read` does."""
        summary = self._records.summary(row)
        both = (each for each in (summary.customer_id, summary.other_customer_id) if each)
        return CustomerMerge(
            **{name: getattr(summary, name) for name in summary.__struct_fields__},
            history=self._records.history(summary.id),
            customers=tuple(self._customer(each, summary.leading_customer_id, principal) for each in both),
        )

    def _customer(self, customer_id: str, leading: str, principal: Principal) -> MergedCustomer:
        context, wanted = self._context, ContractFilter(customer_id=customer_id)
        contracts = page(context, self._amendments, principal, wanted, None, MOST).items
        known = customers.last_seen(context.database, customer_id)
        return MergedCustomer(
            customer_id,
            known.name if known else "",
            customer_id == leading,
            tuple(each for each in contracts if each.state not in OVER),
            self._open_orders(customer_id, principal),
            self._receivables(known, principal) if known else (),
            context.cases.open_about(customer_id, principal, MOST),
        )

    def _open_orders(self, customer_id: str, principal: Principal) -> tuple[OrderSummary, ...]:
        return self._context.orders.page(principal, OPEN_ORDERS, customer_id, None, MOST).items

    def _receivables(self, known: Customer, principal: Principal) -> tuple[Receivable, ...]:
        """Return what a customer owes each selling company that the caller may see, by the ERP of that."""
        found: list[Receivable] = []
        catalogue = self._context.live_catalogue.current
        for seller in self._context.orders.sold_by(known.id):
            record = known.references.get(catalogue.instance_for("erp", seller) or "", "")
            if record and ("*" in principal.entities or seller in principal.entities):
                books = self._context.platforms.legal_entity(seller).currency
                credit = self._context.platforms.credit(known.id, seller, {books}, record)
                found.append(Receivable(seller, credit.used, credit.limit))
        return tuple(found)
