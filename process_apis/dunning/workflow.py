"""A dunning on its way: what is owed is read from billing, and shown, suspended, ended or taken up as that says.

Each look decides by what is there now, so that it may be done again whenever a process ends, and what billing has
reported late or twice changes nothing. It is done in the partition of the contract. What the service is to be is noted
before the target hears of it, so that the end of a pause does not let it go on meanwhile.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import Cancel, NewAmendment
from canonical.billing import Contract
from canonical.cases import CaseKind, Finding
from canonical.corrections import InvoiceEnd
from canonical.deals import Suspension
from canonical.dunning import OpenInvoice
from canonical.faults import TRANSIENT, NotFound, Rejected
from canonical.money import Money
from canonical.orders import Order
from canonical.states import OWING, DunningState
from policies.business.dunning import DUNNING
from policies.context.correlation import correlated
from process_apis.amendments.contract import RunningContract, running
from process_apis.amendments.own import NotAllowed, ask
from process_apis.dunning.plan import Standing, Verdict, verdict
from process_apis.records import customers
from process_apis.records.amendments import OURS, Amendments, amendment_id
from process_apis.records.dunnings import Dunnings, Owing, invoices_of, is_suspended
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE, write_status_to_crm
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome

OVERDUE: CaseKind = "payment_overdue"
SERVICE: CaseKind = "service_suspended"
KINDS: frozenset[CaseKind] = frozenset({OVERDUE, SERVICE})
OWED = "invoices"
"""The field of the case that says what is owed; those with another one say why something could not be done."""
LOOK_AGAIN = timedelta(hours=6)
"""From one look to the next, while nothing is known to happen."""
AFTER_AN_ATTEMPT = timedelta(minutes=10)
"""How long after an attempt of billing somebody looks what has become of it, where no event has said so."""
OWED_IN: tuple[DunningState, ...] = (*OWING, "ended")
CLOSED: tuple[DunningState, ...] = ("recovered", "written_off")
log = structlog.get_logger("tiergate.dunning")


@DBOS.dbos_class("DunningLooks")
class DunningLooks(DBOSConfiguredInstance):
    """The workflow of a dunning."""

    def __init__(self, context: WorkflowContext, records: Dunnings, amendments: Amendments) -> None:
        super().__init__("dunning_looks")
        self._context = context
        self._records = records
        self._amendments = amendments

    @DBOS.workflow(name="DunningLooks.run")
    def run(self, dunning_id: str) -> Outcome:
        return self.look(dunning_id)

    @DBOS.step(name="DunningLooks.look")
    @resumable
    def look(self, dunning_id: str) -> Outcome:
        """Bring a dunning to where it belongs now, and say when to look again."""
        row = self._records.row(dunning_id)
        if row.next_attempt_at is None:
            return "done"
        with correlated(row.correlation_id):
            try:
                self._look(row)
            except TRANSIENT as fault:
                again = retry(self._context, row.attempts + 1, fault.retry_after)
                if again.needs_case:
                    self._report(row, Finding(fault.field or fault.platform, fault.reason, fault.platform))
                self._wait(row, again.at, f"{fault.platform}: {fault.reason}", row.attempts + 1)
            except (Rejected, NotFound) as fault:
                self._stop(row, Finding(fault.field or fault.platform, fault.reason, fault.platform))
            except NotAllowed as refused:
                self._stop(row, refused.finding)
            else:
                return "done"
        return "stopped"

    def _look(self, row: sa.Row[Any]) -> None:
        order = self._context.orders.get(row.order_id)
        if order.plan is None or order.state not in (*IN_FORCE, "on_hold"):
            self._without_order(row, f"its order is {order.state}")
            return
        found = running(self._context, self._amendments, order)
        now = self._standing(row, found, order)
        said = verdict(now)
        if said.step == "write_off":
            for each in now.owed:
                if not each.returned:
                    self._write_off(row, each.id)
            now = self._standing(row, found, order)
            said = verdict(now)
        if not now.owed and row.state in ("noticed", said.state) and _is_as_said(row, said):
            self._rest(row)
            return
        known = {"amendment_id": now.amendment_id} if now.owed else dict[str, str]()
        if said.step == "cancel":
            wanted = NewAmendment(
                (Cancel("us"),), settlement="none", reason="what is owed for it was not paid", key=_key(row)
            )
            known["amendment_id"] = ask(self._context, self._amendments, found, wanted)
            said = msgspec.structs.replace(said, next=f"{known['amendment_id']}, which is to end the contract")
        self._tell_target(row, found, said)
        self._keep(row, now, said, known)

    # ---- how things stand

    def _write_off(self, row: sa.Row[Any], invoice_id: str) -> None:
        """Let billing give an invoice up, unless it was paid or voided in this moment."""
        billing = self._billing(row)
        try:
            self._context.platforms.write_off_invoice(billing, InvoiceEnd(invoice_id, row.legal_entity))
        except Rejected:
            if self._context.platforms.invoice(billing, invoice_id).state == "open":
                raise

    def _standing(self, row: sa.Row[Any], found: RunningContract, order: Order) -> Standing:
        context = self._context
        is_holder = row.customer_id == found.contract.customer_id
        billed = self._context.platforms.open_invoices(self._of_customer(row, order))
        invoices = [*billed.items, *self._returned(row)]
        known = {each.id for each in invoices_of(row)} if row.owed or row.state in CLOSED else set[str]()
        owed = [each for each in invoices if each.is_overdue or (row.owed and each.id in known)]
        gone = known - {each.id for each in invoices}
        asked = amendment_id(row.contract_id, _key(row))
        is_ours = self._amendments.is_known(asked) and self._amendments.row(asked).requested_by == OURS
        return Standing(
            read_at=found.read_at,
            today=found.today,
            state=row.state,
            is_suspended=row.suspended,
            currency=row.currency,
            owed=tuple(owed),
            policy=DUNNING.of(context.live_catalogue.current).get(row.legal_entity),
            is_over=found.is_over,
            is_ended_in_billing=billed.is_over,
            is_holder=is_holder,
            is_given_up=not owed and any(self._is_given_up(row, each) for each in gone),
            is_disputed=self._records.is_disputed(row.contract_id),
            postponed_until=date.fromisoformat(row.postponed_until) if row.postponed_until else None,
            amendment_id=asked if is_ours else "",
            is_withdrawn=is_ours and self._amendments.row(asked).state == "given_up",
        )

    def _of_customer(self, row: sa.Row[Any], order: Order) -> Contract:
        """Return the contract as billing knows it of the customer who owes, who may have it no more."""
        if order.plan is None:
            raise LookupError(f"the order {order.id} was not accepted yet")
        contract = order.plan.contract
        if row.customer_id == contract.customer_id:
            return contract
        known = customers.last_seen(self._context.database, row.customer_id)
        reference = known.references.get(self._billing(row)) if known else None
        references = {"customer": reference} if reference else {}
        return msgspec.structs.replace(contract, customer_id=row.customer_id, references=references)

    def _returned(self, row: sa.Row[Any]) -> list[OpenInvoice]:
        """Return what is due again for direct debits that came back: what the ERP has open of their invoices, once that
        is booked, and all of it before."""
        found: list[OpenInvoice] = []
        for each in self._records.reversals(row.contract_id, row.customer_id):
            if each.id.endswith(":reinstated") or each.skipped or any(each.invoice_id == one.id for one in found):
                continue
            try:
                went = self._context.platforms.reversal(each.billing, each.id)
            except NotFound:
                continue  # no money went back
            if went.kind != "return":
                continue
            due = went.unexplained
            if each.state == "posted":
                left = self._context.platforms.erp_posting(each.invoice_id, each.legal_entity).balance
                due = min(due, left, key=lambda money: money.amount)
            if due.amount > 0:
                zone = ZoneInfo("UTC")
                since = datetime.combine(went.reversed_on, datetime.min.time(), zone)
                found.append(
                    OpenInvoice(
                        each.invoice_id, "", due, since, True, reason="the direct debit came back", returned=True
                    )
                )
        return found

    def _is_given_up(self, row: sa.Row[Any], invoice_id: str) -> bool:
        return self._context.platforms.invoice(self._billing(row), invoice_id).state == "uncollectible"

    def _billing(self, row: sa.Row[Any]) -> str:
        return self._context.live_catalogue.current.instance_for("billing", row.legal_entity) or ""

    # ---- what follows

    def _tell_target(self, row: sa.Row[Any], found: RunningContract, said: Verdict) -> None:
        """Let the service be suspended, or go on, as is said. One that rests stays suspended, and of one that is over
        the target takes back everything by itself."""
        with self._records.at(row.id) as one:
            if one.row.turn == row.turn:  # else people have decided meanwhile, and another look follows
                one.turn(suspended=said.suspended)
            turned = one.row
        if turned.reported_turn == turned.turn:
            return
        if not found.is_over:
            suspended = turned.suspended or found.rests_at(found.read_at) or self._is_suspended_for_holder(row, found)
            change_id = f"{row.id}:{turned.turn}"
            self._context.platforms.suspend(Suspension(row.order_id, change_id, suspended, row.legal_entity))
        with self._records.at(row.id) as one:
            if one.row.turn == turned.turn:
                one.note(reported_turn=turned.turn)

    def _is_suspended_for_holder(self, row: sa.Row[Any], found: RunningContract) -> bool:
        """Return whether the customer who has the contract now owes for it, too, where that is another one."""
        holder = found.contract.customer_id
        return row.customer_id != holder and is_suspended(self._context.database, row.contract_id, holder)

    def _keep(self, row: sa.Row[Any], now: Standing, said: Verdict, known: dict[str, Any]) -> None:
        """Keep where a dunning stands, and show it to who has to know. Another look follows where that is cut short."""
        context = self._context
        changes: dict[str, Any] = known | {"owed": now.sum.amount, "since": now.since and now.since.isoformat()}
        if now.owed:
            changes["invoices"] = msgspec.json.encode(now.owed)
        if now.owed and row.state not in OWED_IN:
            changes |= {"times": _times(row), "postponed_until": None}
        with self._records.at(row.id) as one:
            if one.row.turn != row.turn and one.row.suspended != said.suspended:
                one.note(next_attempt_at=context.clock().isoformat())
                return
            woken = one.row.next_attempt_at != row.next_attempt_at
            stalled = context.stalled_at()
            one.enter(said.state, next_attempt_at=stalled, blocked_reason=said.next, **changes)
            kept = one.row
        self._show(kept, now, said)
        with self._records.at(row.id) as one:
            if one.row.next_attempt_at != stalled.isoformat():
                return  # it was woken meanwhile
            again = context.clock() if woken else self._next(now, said)
            one.note(next_attempt_at=again and again.isoformat())
        if row.state != said.state:
            log.info("dunning", dunning=row.id, contract=row.contract_id, state=said.state)

    def _show(self, row: sa.Row[Any], now: Standing, said: Verdict) -> None:
        """Let finance and support have their cases, and the CRM show the debt, as long as there is one."""
        cases = self._context.cases
        if now.owed:
            self._report(row, Finding(OWED, _in_words(now, said), "billing"))
            for each in cases.open_of(row.customer_id, OVERDUE):
                if each.subject == row.id and each.field != OWED:
                    cases.close(each, "it went on by itself")
        else:
            cases.resolve(row.id, f"what was owed is {said.state.replace('_', ' ')}", OVERDUE)
        if row.suspended:
            reason = f"the service is suspended: {_debt(now)}. It goes on by itself once that is paid."
            self._open_case(row, SERVICE, Finding("service", reason, "provisioning"))
        else:
            cases.resolve(row.id, "the service is not suspended any more", SERVICE)
        shown = _shown(row)
        if shown != row.shown and now.is_holder:
            self._context.orders.change(row.order_id, crm_status="")
            write_status_to_crm(self._context, row.order_id)
        if shown != row.shown:
            with self._records.at(row.id) as one:
                one.note(shown=shown)

    def _next(self, now: Standing, said: Verdict) -> datetime | None:
        """Return when to look again; None for what is over."""
        if said.state in CLOSED:
            return None
        tries = [each.next_attempt_at + AFTER_AN_ATTEMPT for each in now.owed if each.next_attempt_at]
        later = (*said.look_at, *tries, now.read_at + LOOK_AGAIN)
        return min(each for each in later if each > now.read_at)

    def _rest(self, row: sa.Row[Any]) -> None:
        """Leave a dunning of which nothing is owed as it is, unless it was woken meanwhile."""
        with self._records.at(row.id) as one:
            if one.row.next_attempt_at == row.next_attempt_at:
                one.note(next_attempt_at=None, attempts=0, blocked_reason="")

    # ---- what cannot be done

    def _without_order(self, row: sa.Row[Any], reason: str) -> None:
        """End the dunning of an order that is given up: what was invoiced for it is left to finance."""
        with self._records.at(row.id) as one:
            if row.state in OWED_IN:
                one.turn(suspended=False)
                one.enter("ended", next_attempt_at=None, blocked_reason=reason)
            else:
                one.note(next_attempt_at=None)
        self._context.cases.end(row.id, reason, KINDS)

    def _stop(self, row: sa.Row[Any], finding: Finding) -> None:
        """Leave to people what a platform or the contract refuses, and try it again later."""
        self._report(row, finding)
        self._wait(row, self._context.clock() + LOOK_AGAIN, f"{finding.field}: {finding.reason}", row.attempts)

    def _wait(self, row: sa.Row[Any], until: datetime, reason: str, attempts: int) -> None:
        with self._records.at(row.id) as one:
            if one.row.next_attempt_at == row.next_attempt_at or one.row.state != row.state:
                one.note(next_attempt_at=until.isoformat(), blocked_reason=reason, attempts=attempts)

    def _report(self, row: sa.Row[Any], finding: Finding) -> None:
        self._open_case(row, OVERDUE, finding)

    def _open_case(self, row: sa.Row[Any], kind: CaseKind, finding: Finding) -> None:
        """Open a case of a dunning, or let the one that is open say what is so now."""
        case = self._context.cases.open(
            kind,
            row.id,
            finding,
            ("retry",),
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            customer_id=row.customer_id,
            given={"contract": row.contract_id, "order": row.order_id},
        )
        if case.reason != finding.reason:
            self._context.cases.restate(case, finding.reason)


def _is_as_said(row: sa.Row[Any], said: Verdict) -> bool:
    """Return whether the service is as is said, and the target has heard of it."""
    return row.suspended == said.suspended and row.reported_turn == row.turn


def _times(row: sa.Row[Any]) -> int:
    """Return how often a contract has owed, with the present time."""
    return row.times if row.state in OWED_IN else row.times + 1


def _key(row: sa.Row[Any]) -> str:
    """Return the key of the amendment that ends a contract for what it owes, each time that it does."""
    return f"dunning:{row.id}:{_times(row)}"


def _shown(row: sa.Row[Any]) -> str:
    """Return what the CRM shows of a dunning; empty for nothing."""
    if cast("DunningState", row.state) not in OWING or row.since is None:
        return ""
    return Owing(Money(row.owed, row.currency), datetime.fromisoformat(row.since), row.suspended).in_words()


def _debt(now: Standing) -> str:
    since = f" since {now.since:%Y-%m-%d}" if now.since else ""
    return f"{now.sum} past due{since}"


def _in_words(now: Standing, said: Verdict) -> str:
    """Return what is owed, since when, of which invoices, and what is next."""
    each = "; ".join(
        f"{one.number or one.id}: {one.due}"
        + (f", {one.attempts} attempt{'s' if one.attempts > 1 else ''}" if one.attempts else "")
        + (f", {one.reason}" if one.reason else "")
        for one in now.owed
    )
    return f"{_debt(now)} ({each}). Next: {said.next}."
