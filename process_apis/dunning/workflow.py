"""A dunning on its way: what is owed is read from billing, and shown, suspended, ended or taken up as that says.

Each look decides by what is there now, so that it may be done again whenever a process ends, and what billing has
reported late or twice changes nothing. It is done in the partition of the contract. What the service is to be is noted
before the target hears of it, so that the end of a pause does not let it go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
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
from canonical.states import OWING, DunningState, IllegalTransition
from policies.business.dunning import DUNNING
from policies.context.correlation import correlated
from process_apis.amendments.contract import RunningContract, of_former, running
from process_apis.amendments.own import NotAllowed, ask
from process_apis.amendments.withdrawal import give_up
from process_apis.dunning.plan import Standing, Verdict, verdict
from process_apis.records.amendments import ENDED, OURS, Amendments, amendment_id
from process_apis.records.dunnings import NOT_ASKED_FOR, Dunnings, OneDunning, Owing, invoices_of, is_suspended
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


class Overtaken(Exception):
    """Somebody has decided about a dunning since it was read: what was found of it decides nothing any more."""


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
                    self._report(row, Finding.of(fault))
                self._wait(row, again.at, f"{fault.platform}: {fault.reason}", row.attempts + 1)
            except (Rejected, NotFound) as fault:
                self._stop(row, Finding.of(fault))
            except IllegalTransition as error:
                self._stop(row, Finding("state", str(error)))
            except Overtaken:
                with self._records.at(row.id) as one:
                    one.note(next_attempt_at=self._context.clock().isoformat())
                return "done"
            else:
                return "done"
        return "stopped"

    def _look(self, row: sa.Row[Any]) -> None:
        order = self._context.orders.get(row.order_id)
        if order.plan is None or order.state not in (*IN_FORCE, "on_hold"):
            self._without_order(row, f"its order is {order.state}")
            return
        row = self._asks_again(row)
        found = running(self._context, self._amendments, order)
        now = self._standing(row, found, order)
        said = verdict(now)
        refused = None
        if said.step == "write_off":
            refused = self._write_off(row, [each.id for each in now.owed if not each.returned])
            now = self._standing(row, found, order)
            said = verdict(now)
        known = dict[str, str]()
        if said.step != "cancel" and (now.owed or now.amendment_id):
            known["amendment_id"] = self._take_back(now, said)
        if not now.owed and row.state in ("noticed", said.state) and _is_as_said(row, said):
            self._rest(row)
            return
        if said.step == "cancel":
            try:
                asked = self._ask(row, found)
            except NotAllowed as error:
                refused = error.finding
            else:
                known["amendment_id"] = asked
                said = msgspec.structs.replace(said, next=f"{asked}, which is to end the contract")
        self._tell_target(row, found, said)
        self._keep(row, now, said, known, refused)
        if refused:
            self._report(row, refused)
        if "amendment_id" in known:
            self._amendments.wake_checked(row.contract_id)  # it waits for looks that are due

    # ---- how things stand

    @contextmanager
    def _undecided(self, row: sa.Row[Any]) -> Generator[OneDunning]:
        """Return a dunning to change. Raises `Overtaken` where somebody has decided about it since it was read."""
        with self._records.at(row.id) as one:
            if one.decision() != row.decision:
                raise Overtaken(row.id)
            yield one

    def _write_off(self, row: sa.Row[Any], invoice_ids: list[str]) -> Finding | None:
        """Let billing give invoices up, but for those that were paid or voided in this moment. Return why it has first
        refused one: the others are given up all the same."""
        billing, first = self._billing(row), None
        for each in invoice_ids:
            with self._undecided(row):
                pass
            try:
                self._context.platforms.write_off_invoice(billing, InvoiceEnd(each, row.legal_entity, row.id, row.run))
            except (Rejected, NotFound) as fault:
                if self._context.platforms.invoice(billing, each).state == "open":
                    first = first or Finding.of(fault)
        return first

    def _ask(self, row: sa.Row[Any], found: RunningContract) -> str:
        """Ask for the end of a contract, and return the id of that amendment. Raises `NotAllowed`."""
        with self._undecided(row):
            pass
        wanted = NewAmendment(
            (Cancel("us"),), settlement="none", reason="what is owed for it was not paid", key=_key(row)
        )
        asked = ask(self._context, self._amendments, found, wanted)
        with self._undecided(row) as one:
            one.note(amendment_id=asked)
        return asked

    def _take_back(self, now: Standing, said: Verdict) -> str:
        """Give up the end that was asked for, which nothing asks for now. Return the id of the amendment that is over,
        empty where there is none: one that is carried out refuses that then."""
        if not now.amendment_id or self._amendments.row(now.amendment_id).state in ENDED:
            return now.amendment_id
        why = f"{NOT_ASKED_FOR}: {said.next or 'nothing is owed any more'}"
        is_given_up = give_up(self._context, self._amendments, now.amendment_id, why)
        return now.amendment_id if now.is_ended_in_billing and not is_given_up else ""  # billing has it already

    def _asks_again(self, row: sa.Row[Any]) -> sa.Row[Any]:
        """Return a dunning that may ask for the end of its contract, where what it has asked for was given up because
        nothing asked for it, and not by people."""
        asked = amendment_id(row.contract_id, _key(row))
        former = self._amendments.row(asked) if self._amendments.is_known(asked) else None
        if former is None or former.state != "given_up":
            return row
        if not former.blocked_reason.removeprefix("compensate: ").startswith(NOT_ASKED_FOR):
            return row
        with self._records.at(row.id) as one:
            one.note(times=one.row.times + 1)
        return self._records.row(row.id)

    def _standing(self, row: sa.Row[Any], found: RunningContract, order: Order) -> Standing:
        context = self._context
        is_holder = row.customer_id == found.contract.customer_id
        billed = self._context.platforms.open_invoices(self._of_customer(row, order))
        invoices = [*billed.items, *self._returned(row, found.zone)]
        known = {each.id for each in invoices_of(row)} if row.owed or row.state in CLOSED else set[str]()
        owed = [each for each in invoices if each.is_overdue or (row.owed and each.id in known)]
        gone = known - {each.id for each in invoices}
        given_up = [each for each in invoices_of(row) if each.id in gone and self._is_given_up(row, each.id)]
        if owed and row.state in CLOSED and not row.suspended:
            given_up = []  # the service went on after that: what is owed now is another debt
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
            given_up=tuple(msgspec.structs.replace(each, due=Money(0, row.currency)) for each in given_up),
            is_left=self._records.is_left(row.id),
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
        nobodys = msgspec.structs.replace(contract, customer_id=row.customer_id, references={})
        return of_former(self._context, contract, row.customer_id) or nobodys

    def _returned(self, row: sa.Row[Any], zone: ZoneInfo) -> list[OpenInvoice]:
        """Return what is due again for direct debits that came back: what the ERP has open of their invoices, once they
        are booked, by us or by hand, and all that came back before."""
        due, booked, since = dict[str, Money](), dict[tuple[str, str], Money](), dict[str, date]()
        for each in self._records.reversals(row.contract_id, row.customer_id):
            if each.id.endswith(":reinstated"):
                continue
            try:
                went = self._context.platforms.reversal(each.billing, each.id)
            except NotFound:
                continue  # no money went back
            if went.kind != "return":
                continue
            key, more, none = each.invoice_id, went.unexplained, Money(0, went.amount.currency)
            since[key] = min(since.get(key, went.reversed_on), went.reversed_on)
            if each.state == "posted" or each.skipped:
                booked[key, each.legal_entity] = booked.get((key, each.legal_entity), none) + more
            else:
                due[key] = due.get(key, none) + more
        for (key, seller), came_back in booked.items():
            left = min(came_back, self._left_in_the_books(key, seller, came_back), key=lambda money: money.amount)
            due[key] = due.get(key, Money(0, left.currency)) + left
        return [_came_back(key, each, since[key], zone) for key, each in due.items() if each.amount > 0]

    def _left_in_the_books(self, invoice_id: str, legal_entity: str, came_back: Money) -> Money:
        """Return what the ERP has open of an invoice: nothing of one that people have kept out of it."""
        try:
            return self._context.platforms.erp_posting(invoice_id, legal_entity).balance
        except NotFound:
            return Money(0, came_back.currency)

    def _is_given_up(self, row: sa.Row[Any], invoice_id: str) -> bool:
        return self._context.platforms.invoice(self._billing(row), invoice_id).state == "uncollectible"

    def _billing(self, row: sa.Row[Any]) -> str:
        return self._context.live_catalogue.current.instance_for("billing", row.legal_entity) or ""

    # ---- what follows

    def _tell_target(self, row: sa.Row[Any], found: RunningContract, said: Verdict) -> None:
        """Let the service be suspended, or go on, as is said. One that rests stays suspended, and of one that is over
        the target takes back everything by itself."""
        with self._undecided(row) as one:
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

    def _keep(
        self, row: sa.Row[Any], now: Standing, said: Verdict, known: dict[str, Any], refused: Finding | None
    ) -> None:
        """Keep where a dunning stands, and show it to who has to know. Another look follows where that is cut short."""
        context = self._context
        changes: dict[str, Any] = known | {"owed": now.sum.amount, "since": now.since and now.since.isoformat()}
        if now.owed:
            changes["invoices"] = msgspec.json.encode((*now.owed, *now.given_up))
        if now.owed and row.state not in OWED_IN:
            changes |= {"times": _times(row), "postponed_until": None}
        waits_for = f"{refused.field}: {refused.reason}" if refused else said.next
        with self._undecided(row) as one:
            woken = one.row.next_attempt_at != row.next_attempt_at
            stalled = context.stalled_at()
            one.enter(said.state, next_attempt_at=stalled, blocked_reason=waits_for, **changes)
            kept = one.row
        self._show(kept, now, said, refused)
        with self._records.at(row.id) as one:
            if one.row.next_attempt_at != stalled.isoformat():
                return  # it was woken meanwhile
            again = context.clock() if woken else self._next(now, said)
            one.note(next_attempt_at=again and again.isoformat())
        if row.state != said.state:
            log.info("dunning", dunning=row.id, contract=row.contract_id, state=said.state)

    def _show(self, row: sa.Row[Any], now: Standing, said: Verdict, refused: Finding | None) -> None:
        """Let finance and support have their cases, and the CRM show the debt, as long as there is one."""
        cases = self._context.cases
        if now.owed:
            self._report(row, Finding(OWED, _in_words(now, said), "billing"))
            for each in cases.open_of(row.customer_id, OVERDUE):
                if each.subject == row.id and each.field not in (OWED, refused and refused.field):
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
        self._context.cases.resolve(row.id, "it went on by itself", OVERDUE)  # of a look that has failed

    # ---- what cannot be done

    def _without_order(self, row: sa.Row[Any], reason: str) -> None:
        """End the dunning of an order that is given up: what was invoiced for it is left to finance."""
        asked = amendment_id(row.contract_id, _key(row))
        if self._amendments.is_known(asked) and self._amendments.row(asked).requested_by == OURS:
            give_up(self._context, self._amendments, asked, f"{NOT_ASKED_FOR}: {reason}")
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
        self._wait(row, self._context.clock() + LOOK_AGAIN, f"{finding.field}: {finding.reason}", max(row.attempts, 1))

    def _wait(self, row: sa.Row[Any], until: datetime, reason: str, attempts: int) -> None:
        with self._records.at(row.id) as one:
            is_mine = one.row.next_attempt_at == row.next_attempt_at or one.row.state != row.state
            if is_mine and one.decision() == row.decision:
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


def _came_back(invoice_id: str, due: Money, on: date, zone: ZoneInfo) -> OpenInvoice:
    """Return what is due of an invoice again from a day of the books on."""
    since = datetime.combine(on, datetime.min.time(), zone)
    return OpenInvoice(invoice_id, "", due, since, True, reason="the direct debit came back", returned=True)


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
