"""A mass change on its way: its contracts are selected, and then changed, so many at a time as the catalogue lets.

Each run does a part and says when the next one is due. What it does may be done again: an item is noted before its
amendment is asked for, under a key of its own, so that nothing happens twice whenever a process ends.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import ContractFilter, NewAmendment, Reverse
from canonical.cases import CaseKind, Finding
from canonical.mass_changes import MassChangeRequest, MassItemState
from canonical.orders import Order
from policies.business.mass_changes import MASS_CHANGE_PACE, MassChangePace
from policies.context.correlation import correlated
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.amendments.contract import running
from process_apis.amendments.request import check
from process_apis.amendments.withdrawal import give_up
from process_apis.mass_change.plan import is_selected, plan
from process_apis.records.amendments import Amendments, amendment_id
from process_apis.records.database import amendments as amendments_table
from process_apis.records.mass_changes import MassChanges, request_of
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE
from process_apis.runtime.engine import Engine
from process_apis.runtime.interruptions import resumable

KINDS: frozenset[CaseKind] = frozenset({"mass_change_approval", "mass_change_incomplete"})
PAGE = 100
"""Contracts that are read at a time."""
BEAT = 1.0
"""Seconds from one look at what is on its way to the next; what is begun meanwhile is begun evenly: what customers ask
for comes in between."""
LONGEST = 20.0
"""Seconds that a run rests in all. After that it ends, and another goes on."""
MINUTE = 60.0
ON_THE_WAY: tuple[MassItemState, ...] = ("on_its_way", "undo_on_its_way")
LEFT: tuple[MassItemState, ...] = ("to_do", "to_undo", *ON_THE_WAY)
"""Where contracts are for which a mass change goes on."""
log = structlog.get_logger("tiergate.mass_changes")


@DBOS.dbos_class("MassChanging")
class MassChanging(DBOSConfiguredInstance):
    """The workflow of a mass change."""

    def __init__(self, context: WorkflowContext, records: MassChanges, amendments: Amendments, engine: Engine) -> None:
        super().__init__("mass_changing")
        self._context = context
        self._engine = engine
        self._records = records
        self._amendments = amendments

    @DBOS.workflow(name="MassChanging.run")
    def run(self, mass_change_id: str) -> None:
        self.go_on(mass_change_id)

    @DBOS.step(name="MassChanging.go_on")
    @resumable
    def go_on(self, mass_change_id: str) -> None:
        row = self._records.row(mass_change_id)
        with correlated(row.correlation_id):
            if row.state == "selecting":
                self._select(row)
            elif row.state == "running":
                self._change(row)
            else:
                self._rest(row)

    # ---- which contracts

    def _select(self, row: sa.Row[Any]) -> None:
        """Keep what becomes of each contract, a page at a time. What is sold from now on is not among them."""
        wanted = request_of(row)
        having = ContractFilter(sku=row.sku, legal_entity=row.legal_entity, currency=wanted.currency)
        orders, reader, cursor = self._context.orders, _reader_of(row.legal_entity), row.cursor
        while True:
            found = orders.page_with_lines(reader, IN_FORCE, having, cursor, PAGE)
            selected = [each for order in found.items if (each := self._selected(wanted, order))]
            cursor = found.next_cursor
            with self._records.at(row.id) as one:
                if one.row.state != "selecting":
                    return
                one.add(selected)
                if cursor is None:
                    one.advance("previewed", next_attempt_at=None)
                    return
                one.advance("selecting", next_attempt_at=self._context.stalled_at(), cursor=cursor)

    def _selected(self, wanted: MassChangeRequest, order: Order) -> dict[str, Any] | None:
        """Return the item of a contract, None for one that is not asked for."""
        found = running(self._context, self._amendments, order)
        if not is_selected(found, wanted):
            return None
        made = plan(self._amendments, found, wanted)
        return {
            "contract_id": found.contract.id,
            "order_id": order.id,
            "customer_id": found.contract.customer_id,
            "currency": found.contract.currency,
            "mrr_before": made.before.amount,
            "mrr_after": made.after.amount,
            "state": "left_out" if made.reason else "selected",
            "reason": made.reason or "",
            "detail": made.detail,
        }

    # ---- contract by contract

    def _rest(self, row: sa.Row[Any]) -> None:
        """Ask for what was noted already, and then for nothing more."""
        self._send_noted(row)
        with self._records.at(row.id) as one:
            if one.row.state == row.state:
                one.advance(one.row.state, next_attempt_at=None)

    def _send_noted(self, row: sa.Row[Any]) -> None:
        for item in self._records.unsent(row.id):
            self._send(row, item)

    def _change(self, row: sa.Row[Any]) -> None:
        """Begin one contract after the other, as evenly as the catalogue's pace lets, until a run has rested long
        enough, or this process ends."""
        self._send_noted(row)
        former = "to_reverse" if row.undoing else "selected"
        rested = 0.0
        while rested < LONGEST:
            counts = self._records.counts(row.id)
            if not any(counts.get(each) for each in LEFT):
                break
            pace = MASS_CHANGE_PACE.of(self._context.live_catalogue.current)
            gap = MINUTE / pace.per_minute
            begun = self._records.next_items(row.id, former, min(self._room(row, counts, pace), ceil(BEAT / gap)))
            for item in begun:
                if not self._begin(row, item):
                    return  # it was paused or cancelled meanwhile
                self._engine.look_at(amendments_table.name)
                self._engine.rest(gap)
            rested += gap * len(begun) or BEAT
            if self._records.row(row.id).state != "running" or not self._engine.rest(0 if begun else BEAT):
                break
        self._go_on_or_end(row)

    def _room(self, row: sa.Row[Any], counts: dict[MassItemState, int], pace: MassChangePace) -> int:
        """Return how many more contracts may be begun now."""
        on_the_way = sum(counts.get(each, 0) for each in ON_THE_WAY)
        return max(0, min(pace.at_once - on_the_way, pace.per_minute - self._records.begun(row.id, MINUTE)))

    def _begin(self, row: sa.Row[Any], item: sa.Row[Any]) -> bool:
        """Note what is asked for, and ask for it. Return whether the mass change goes on."""
        context, undoing = self._context, row.undoing
        former = item.reversal_id if undoing else item.amendment_id
        state, column = ("reversing", "reversal_id") if undoing else ("asked", "amendment_id")
        if former and not give_up(context, self._amendments, former, f"asked for again by {row.id}"):
            return self._records.ask(item, item.state, state=state)
        undone = undoing and self._amendments.row(item.amendment_id).state != "applied"
        if undone and not give_up(context, self._amendments, item.amendment_id, f"undone by {row.id}"):
            reason = f"{item.amendment_id} is on its way to billing"
            return self._records.ask(item, item.state, state="not_reversed", detail=reason)
        asked = "" if undone else amendment_id(item.contract_id, _key(row, item))
        is_begun = self._records.ask(item, item.state, state=state, reason="", detail="", **{column: asked})
        if is_begun and asked:
            self._send(row, item)
        return is_begun

    def _send(self, row: sa.Row[Any], item: sa.Row[Any]) -> None:
        """Ask for the amendment of an item, unless it is there. What the contract does not allow any more is noted."""
        context, key = self._context, _key(row, item)
        wanted_id = amendment_id(item.contract_id, key)
        if self._amendments.is_known(wanted_id):
            return
        found = running(context, self._amendments, context.orders.get(item.order_id))
        if row.undoing:
            reason = f"it takes back a change of many: {row.id}"
            settlement = request_of(row).settlement
            wanted = NewAmendment((Reverse(item.amendment_id),), settlement=settlement, reason=reason, key=key)
            try:
                check(found, wanted)
            except ProblemError as refused:
                if not self._amendments.is_known(wanted_id):
                    said = "; ".join(each.reason for each in refused.errors) or refused.detail
                    self._records.settle(item.seq, "reversing", "not_reversed", reversal_id="", detail=said)
                return
        else:
            made = plan(self._amendments, found, request_of(row))
            if made.reason:
                if not self._amendments.is_known(wanted_id):  # another process asks at the same time: it is that one
                    self._records.settle(
                        item.seq, "asked", "failed", amendment_id="", reason=made.reason, detail=made.detail
                    )
                return
            wanted = made.request(request_of(row), key)
        self._amendments.receive(found.contract, wanted, row.requested_by, row.correlation_id, context.clock())

    def _go_on_or_end(self, row: sa.Row[Any]) -> None:
        counts = self._records.counts(row.id)
        is_over = not any(counts.get(each) for each in LEFT)
        left = sum(counts.get(each, 0) for each in ("failed", "not_undone"))
        with self._records.at(row.id) as one:
            if one.row.state != "running":
                return  # it was paused or cancelled meanwhile
            if is_over and left:
                self._open_incomplete(one.connection, row, left)
            if is_over:
                one.advance("done", next_attempt_at=None)
            else:
                one.advance("running", next_attempt_at=self._context.clock())
        if is_over:
            log.info("mass change done", mass_change=row.id, **counts)

    def _open_incomplete(self, connection: sa.Connection, row: sa.Row[Any], left: int) -> None:
        what = "were not changed back" if row.undoing else "were not changed"
        self._context.cases.open(
            "mass_change_incomplete",
            row.id,
            Finding("contracts", f"{left} contracts {what}: its items say why"),
            ("retry", "skip"),
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            connection=connection,
        )


def _key(row: sa.Row[Any], item: sa.Row[Any]) -> str:
    """Return the key of an item's amendment, which is the same whenever it is asked for in the same attempt."""
    return f"mass:{row.id}:{'undo:' if row.undoing else ''}{item.attempt}"


def _reader_of(legal_entity: str) -> Principal:
    """Return who sees the contracts of one selling company."""
    return Principal("tiergate", "process-layer", frozenset(), frozenset({legal_entity}), "", 0.0, 0.0)
