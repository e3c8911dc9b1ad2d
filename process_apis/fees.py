"""Fees: what billing takes for a dispute, and gives back, is booked in the ERP exactly once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.disputes import DisputeFee
from canonical.faults import NotFound
from process_apis.posting import attempt, open_window
from process_apis.records.disputes import Disputes
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome


@DBOS.dbos_class("Fees")
class Fees(DBOSConfiguredInstance):
    """Books one fee."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("fees")
        self._context = context
        self._disputes = Disputes(context.database, context.clock)

    @DBOS.workflow(name="Fees.run")
    def run(self, key: str) -> Outcome:
        return self.post_fee(key)

    @DBOS.step(name="Fees.post_fee")
    @resumable
    def post_fee(self, key: str) -> Outcome:
        """Book a fee as billing shows it."""
        return attempt(self._context, "fee", key, self._post)

    def _post(self, row: sa.Row[Any]) -> None:
        """Book it, and close the row last: what is cut short is done again."""
        context, fee = self._context, self._read(row)
        context.postings.worth(row, -fee.amount)
        closed = open_window(context, fee.legal_entity)
        booked = context.platforms.put_erp_fee(fee, closed)
        context.postings.posted(row, booked, -fee.amount)

    def _read(self, row: sa.Row[Any]) -> DisputeFee:
        """Return a fee as billing shows it with its dispute. Raises `NotFound` for one that it shows no more."""
        of = self._disputes.dispute_of(row.id)
        fees = self._context.platforms.dispute(row.billing, of).fees if of else ()
        for each in fees:
            if each.id == row.id:
                return each
        raise NotFound("billing", f"the dispute {of} has no fee {row.id}", field="fees")
