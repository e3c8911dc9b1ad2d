"""Deals that change contracts: each becomes one amendment, which its deal shows. None is ever sold as a new order.

The deal is read in the partition of its contract, so that of two deals the second counts from what the first has made
of it. What cannot be is a case of sales, on the deal's own record here, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import Amendment, ends_on
from canonical.cases import Action, Case, CaseKind, Finding
from canonical.deals import Deal, DealStatus
from canonical.events import CONTRACT, Event
from canonical.faults import TRANSIENT, NotFound, Rejected
from canonical.states import BEFORE_CREATION, IllegalTransition
from policies.context.correlation import correlated
from process_apis.amendments.contract import NotPossible, RunningContract, order_of, running
from process_apis.amendments.sold import wanted
from process_apis.amendments.withdrawal import give_up
from process_apis.amendments.workflow import OVER, Waits, wait_for_activation
from process_apis.deal_changes import NOT_SOLD, revision_of, state_of
from process_apis.records import customers
from process_apis.records.amending_deals import AmendingDeals
from process_apis.records.amendments import Amendments, amendment, amendment_id
from process_apis.records.database import amending_deals
from process_apis.runtime.agenda import Agenda, retry
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Work
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, with_retries

KIND: CaseKind = "amendment_invalid"
log = structlog.get_logger("tiergate.amendments")


@DBOS.dbos_class("AmendingDeals")
class DealReading(DBOSConfiguredInstance):
    """Reads one deal, and asks for what it makes of its contract."""

    def __init__(self, context: WorkflowContext, amendments: Amendments) -> None:
        super().__init__("amending_deals")
        self._context = context
        self._amendments = amendments
        self._deals = AmendingDeals(context.database)

    @DBOS.workflow(name="AmendingDeals.run")
    def run(self, row_id: str) -> Outcome:
        return self.read(row_id)

    @DBOS.step(name="AmendingDeals.read")
    @resumable
    def read(self, row_id: str) -> Outcome:
        """Let a deal become an amendment, or a case. What another run has seen to is not done again."""
        context, row = self._context, self._deals.row(row_id)
        if row is None or row.next_attempt_at is None:
            return "done"
        with correlated(row.correlation_id):
            try:
                made = with_retries(context.retry_policy, lambda: self._read(row))
                self._deals.change(row.id, amendment_id=made, attempts=0, next_attempt_at=None)
                context.cases.end(row.id, f"it became {made}" if made else "it changes no contract", {KIND})
            except Waits as waits:
                self._wait(row, waits)
            except TRANSIENT as fault:
                again = retry(context, row.attempts + 1, fault.retry_after).at
                self._deals.change(row.id, attempts=row.attempts + 1, next_attempt_at=again.isoformat())
            except (Rejected, NotFound) as fault:
                self._hold(row, [Finding.of(fault)])
            except NotPossible as refused:
                self._hold(row, refused.findings)
            else:
                return "done"
        return "stopped"

    def _read(self, row: sa.Row[Any]) -> str:
        """Return the id of the amendment that a deal is, empty for one that changes no contract any more. It is begun
        by the poll. Raises `NotPossible`, `Waits` and the faults of the CRM."""
        context = self._context
        deal = context.platforms.deal(row.crm, row.deal_id)
        if not deal.won:
            return ""  # what says that it was lost follows
        sold = context.orders.newest_of(row.crm, row.deal_id)
        if sold is not None and sold.state not in NOT_SOLD:
            if (sold.held_in or sold.state) in ("received", *BEFORE_CREATION):
                raise Waits(f"the end of {sold.id}, which the deal was before", context.stalled_at())
            return ""  # it was sold as an order, and its change is a case of that
        if not deal.contract_id:
            raise NotPossible([Finding("deal.contract_id", "the deal names no contract any more")])
        if deal.contract_id != row.contract_id:
            self._deals.change(row.id, contract_id=deal.contract_id)
            raise Waits("the others of its contract", context.clock())
        found = self._contract(row.crm, deal)
        contract, key = found.contract, f"deal:{deal.id}:{row.key_revision}"
        made = amendment_id(contract.id, key)
        if not self._amendments.is_known(made):
            if first := self._amendments.before(contract.id):
                raise Waits(f"{first}, which was asked for before", context.stalled_at())
            to_come = [each for each in found.versions if each.is_future]
            now = context.clock()
            asked = wanted(deal, found, to_come, key, now)
            self._amendments.receive(contract, asked, deal.placed_by, row.correlation_id, now)
        return made

    def _contract(self, crm: str, deal: Deal) -> RunningContract:
        """Return the contract that a deal changes, which is its own customer's. Raises `NotPossible`, and `Waits` until
        it is activated."""
        context = self._context
        order_id = order_of(context, deal.contract_id)
        order = context.orders.get(order_id) if order_id else None
        if order is None or order.plan is None:
            raise NotPossible([Finding("deal.contract_id", f"there is no contract {deal.contract_id}")])
        contract = order.plan.contract
        customer = customers.last_seen(context.database, contract.customer_id)
        buyer = customer.references.get(crm, "") if customer else ""
        wrong: list[Finding] = []
        if buyer not in (deal.account.id, *deal.account.merged):
            wrong.append(Finding("deal.account", f"the contract {contract.id} is another account's"))
        if deal.currency != contract.currency:
            wrong.append(Finding("deal.currency", f"the contract {contract.id} is in {contract.currency}"))
        if order.state in OVER:
            wrong.append(Finding("deal.contract_id", f"the contract is not in force: its order is {order.state}"))
        if wrong:
            raise NotPossible(wrong)
        wait_for_activation(context, order)
        found = running(context, self._amendments, order)
        if found.is_over:
            how = f"was cancelled with {found.changed_by}"
            if found.lapses:
                day = ends_on(found.contract)
                how = f"ended on {day}, and nobody had renewed it: sell it again as a deal that names none"
            raise NotPossible([Finding("deal.contract_id", f"the contract {how}")])
        return found

    def _wait(self, row: sa.Row[Any], waits: Waits) -> None:
        """Read a deal again later, and let it show once what comes first."""
        context, note = self._context, sha256(waits.reason.encode()).hexdigest()[:16]
        self._deals.change(row.id, attempts=0, next_attempt_at=waits.until.isoformat())
        sold = context.orders.newest_of(row.crm, row.deal_id)  # while it is one, the deal shows that
        if waits.until > context.clock() and row.shown != note and (sold is None or sold.state in NOT_SOLD):
            order = context.orders.row(order_of(context, row.contract_id))
            status = DealStatus(row.id, "requested", f"waits for {waits.reason}", legal_entity=order.legal_entity)
            if show(context, row, status):
                self._deals.change(row.id, shown=note)

    def _hold(self, row: sa.Row[Any], findings: list[Finding]) -> None:
        """Leave a deal to sales, with a case for each finding that the deal shows, too."""
        context = self._context
        order = order_of(context, row.contract_id)
        sold = context.orders.row(order) if order else None
        about = {"legal_entity": sold.legal_entity, "customer_id": sold.customer_id} if sold else {}
        given = {"deal": row.deal_id, "crm": row.crm, "contract": row.contract_id}
        for each in findings:
            context.cases.open(
                "amendment_invalid",
                row.id,
                each,
                ("retry", "skip"),
                correlation_id=row.correlation_id,
                given=given,
                **about,
            )
        status = DealStatus(row.id, "on_hold", legal_entity=sold.legal_entity if sold else "", findings=tuple(findings))
        if show(context, row, status):
            self._deals.change(row.id, attempts=0, next_attempt_at=None)
        else:
            self._deals.change(row.id, next_attempt_at=context.stalled_at().isoformat())
        log.warning("deal not taken", deal=row.deal_id, contract=row.contract_id, correlation_id=row.correlation_id)


def show(context: WorkflowContext, row: sa.Row[Any], status: DealStatus) -> bool:
    """Show a status on a deal. Return whether nothing more is to be done: False while the CRM is away."""
    with correlated(row.correlation_id):
        try:
            context.platforms.put_deal_status(row.crm, row.deal_id, status)
        except TRANSIENT:
            return False
        except (Rejected, NotFound) as fault:
            reason = f"{fault.field}: {fault.reason}"
            log.warning("the deal does not show its state", deal=row.deal_id, reason=reason)
    return True


class DealAmendments:
    """Starts the reading of deals that change contracts, and shows on each what has become of it."""

    def __init__(
        self,
        context: WorkflowContext,
        amendments: Amendments,
        start: Callable[[Work], object],
        is_running: Callable[[str], bool],
    ) -> None:
        """`start` and `is_running` are the engine's."""
        self._context = context
        self._amendments = amendments
        self._start = start
        self._is_running = is_running
        self._reading = DealReading(context, amendments)
        self.records = AmendingDeals(context.database)
        self.agenda = Agenda(context, amending_deals)

    # ---- events

    def deal_closed(self, event: Event, correlation_id: str) -> None:
        """Take a deal that was closed as won and names a contract, or did before. The same again changes nothing."""
        contract, row = event.data.get(CONTRACT, ""), self.records.of(event.instance, event.subject)
        if row is None:
            if contract:
                self.restart(self._received(event, contract, correlation_id).id)
            return
        was_moved = row.deal_state in event.data.get("digest_before", "").split()
        if was_moved or state_of(event) == row.deal_state or revision_of(event) < row.deal_revision:
            if was_moved:
                self.records.change(row.id, deal_state=state_of(event))
            if not row.amendment_id and (was_moved or "account_changed" in event.data):
                self._read_again(row.id)
            return
        if not row.amendment_id and not contract:
            self._forget(row, event, "it names no contract any more")
        elif self._is_open(row, event, "the deal was changed", correlation_id):
            number = max(revision_of(event), row.key_revision + 1) if row.amendment_id else row.key_revision
            at = {"contract_id": contract or row.contract_id, "key_revision": number}
            self.records.change(row.id, amendment_id="", shown="", **at)
            self._read_again(row.id)

    def deal_lost(self, event: Event, correlation_id: str) -> None:
        """Give up what is not carried out of a deal that is no longer won."""
        row = self.records.of(event.instance, event.subject)
        if row is None or row.deal_state == state_of(event):
            return
        if row.amendment_id:
            self._is_open(row, event, "the deal was lost", correlation_id)
        else:
            self._forget(row, event, "the deal was lost")

    def is_made(self, event: Event) -> bool:
        """Return whether a closed deal that names a contract is known here."""
        return CONTRACT not in event.data or self.records.of(event.instance, event.subject) is not None

    def _received(self, event: Event, contract: str, correlation_id: str) -> sa.Row[Any]:
        return self.records.receive(
            event.instance,
            event.subject,
            deal_state=state_of(event),
            deal_revision=revision_of(event),
            contract_id=contract,
            key_revision=revision_of(event),
            correlation_id=correlation_id,
            next_attempt_at=self._context.stalled_at().isoformat(),
        )

    def _is_open(self, row: sa.Row[Any], event: Event, what: str, correlation_id: str) -> bool:
        """Return whether nothing was carried out of a deal that is another now; else that is a case of sales."""
        self.records.change(row.id, deal_state=state_of(event), deal_revision=revision_of(event))
        if not row.amendment_id or give_up(self._context, self._amendments, row.amendment_id, what):
            return True
        made = self._amendments.row(row.amendment_id)
        self._context.cases.open(
            "deal_changed",
            made.order_id,
            Finding(f"deal.{row.deal_id}", f"{what} after it became {made.id}, which stays as it is"),
            ("skip",),
            correlation_id=correlation_id,
            legal_entity=made.legal_entity,
            customer_id=made.customer_id,
            given={"deal": row.deal_id, "amendment": made.id},
        )
        return False

    def _forget(self, row: sa.Row[Any], event: Event, why: str) -> None:
        self.records.change(row.id, deal_state=state_of(event), next_attempt_at=None)
        self._context.cases.end(row.id, why, {KIND})

    # ---- those whose time has come

    def _read_again(self, row_id: str) -> None:
        self._context.cases.end(row_id, "the deal is read again", {KIND})
        self.records.change(row_id, next_attempt_at=self._context.stalled_at().isoformat())
        self.restart(row_id)

    def restart(self, row_id: str) -> None:
        """Begin to read a deal."""
        row = self.records.row(row_id)
        if row is not None and (run := self.agenda.claim(row)) is not None:
            self._start(self.begin(row, run))

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(reading_run(row.id, run), self._reading.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a deal that a run is at."""
        return self._context.stalled_at() if self._is_running(reading_run(row.id, row.run)) else None

    # ---- what the CRM shows

    def show(self) -> None:
        """Show on each deal how far its amendment is."""
        for row in self.records.not_shown():
            made = amendment(self._amendments.row(row.amendment_id))
            if not show(self._context, row, self._status(made)):
                return
            self.records.change(row.id, shown=made.updated_at.isoformat())

    def _status(self, made: Amendment) -> DealStatus:
        done = made.preview.in_words() if made.preview and made.state in ("applied", "scheduled") else ""
        findings = self._context.cases.findings_of(made.id) if made.state == "on_hold" else ()
        return DealStatus(
            made.id, made.state, done or made.blocked_reason, legal_entity=made.legal_entity, findings=findings
        )

    # ---- cases

    def act(self, case: Case, action: Action) -> Next:
        """Read the deal again, or leave it to people."""
        row = self.records.row(case.subject)
        if row is None or action != "retry":
            return nothing
        if row.amendment_id:
            raise IllegalTransition(f"the deal is {row.amendment_id} already")
        return partial(self._read_again, row.id)


def reading_run(row_id: str, run: int) -> str:
    """Return the identity of a run that reads a deal."""
    return f"{row_id}:{run}"
