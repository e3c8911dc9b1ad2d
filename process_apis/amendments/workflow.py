"""An amendment on its way: checked with every platform, delivered where there is more of something, billed, shown.

Changes of one contract are carried out one at a time, in the contract's partition. Every step may be run again: it
finds what an earlier run left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import (
    AmendmentPreview,
    ChangeTerm,
    Handover,
    NewAmendment,
    Pause,
    Resume,
    Transfer,
    TransferTerms,
    changed_by_use,
    changed_lines,
    ends_on,
)
from canonical.cases import Action, CaseKind, Finding
from canonical.deals import Holder, PricedLine, ProvisioningRequest, Suspension, nothing_of
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.orders import Order
from canonical.states import AmendmentState
from policies.context.correlation import correlated
from policies.problems import ProblemError
from process_apis.amendments.contract import NotPossible, RunningContract, lasting, running
from process_apis.amendments.debts import asked_for, ends_for_a_debt
from process_apis.amendments.preview import billing_change, preview
from process_apis.amendments.request import (
    BEFORE_A_TERM,
    PlannedChange,
    check,
    ends_rest,
    planned,
    renewal_in,
    rest_in,
)
from process_apis.amendments.reversal import reversal_in
from process_apis.amendments.transfers import (
    agreed_plan,
    check_customer,
    onboarded,
    sold_term_of,
    taken_back,
    transfer_in,
)
from process_apis.amendments.withdrawal import KINDS, give_up, give_up_what_follows
from process_apis.records.amendments import ENDED, OURS, Amendments, preview_of, request_of, wake
from process_apis.records.dunnings import NOT_ASKED_FOR, is_suspended
from process_apis.records.mass_changes import covers
from process_apis.runtime import outages
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE, write_status_to_crm
from process_apis.runtime.holds import Stopped
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, with_retries

OVER = ("compensating", "cancelled", "failed")
"""The states of an order of which no contract comes any more."""
ON_THE_WAY = ("waiting", "requested")
BILLED = timedelta(hours=2)
"""How long after a period what was used in it is billed: it is handed over and invoiced by then, or is a case."""
PATH: tuple[AmendmentState, ...] = ("requested", "checking", "provisioning", "applying", "applied")
log = structlog.get_logger("tiergate.amendments")


class Waits(Exception):
    """Something else comes first: `reason` says what, and the amendment is taken up again at `until`, or before."""

    def __init__(self, reason: str, until: datetime) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until


@DBOS.dbos_class("Amending")
class Amending(DBOSConfiguredInstance):
    """The workflow of an amendment and its steps."""

    def __init__(self, context: WorkflowContext, amendments: Amendments) -> None:
        super().__init__("amending")
        self._context = context
        self._amendments = amendments

    @DBOS.workflow(name="Amending.run")
    def run(self, amendment_id: str) -> Outcome:
        for step in self.steps:
            if step(amendment_id) == "stopped":
                return "stopped"
        return "done"

    @property
    def steps(self) -> tuple[Callable[[str], Outcome], ...]:
        """Return the steps in their order; one that is stopped at is begun with the next run."""
        return self.check, self.deliver, self.apply, self.end

    # ---- may it be, and do all agree?

    @DBOS.step(name="Amending.check")
    @resumable
    def check(self, amendment_id: str) -> Outcome:
        return self._enter(amendment_id, "checking", self._check)

    def _check(self, row: sa.Row[Any]) -> Outcome:
        context, wanted = self._context, request_of(row)
        order = context.orders.get(row.order_id)
        self._after_what_comes_first(row, order)
        found = running(context, self._amendments, order)
        asked_at = datetime.fromisoformat(row.requested_at)
        if row.requested_by == OURS and (why := self._why_not_any_more(row, found, wanted)):
            give_up(context, self._amendments, row.id, why)
            return "stopped"
        if self._was_to_go(row):
            with self._amendments.at(row.id) as one:
                if one.row.state != "given_up":
                    one.advance("applying", next_attempt_at=context.stalled_at())
            return "done"
        _check_holder(row, found)
        try:
            check(found, wanted)
            check_customer(context, found, wanted)
            made = planned(context, found, wanted, asked_at)
            if row.effective_at and changed_by_use(found.contract.lines, made.after):
                made = msgspec.structs.replace(made, effective_at=_effective(row))  # the period that was agreed
        except ProblemError as refused:
            findings = [Finding(each.path.removeprefix("$."), each.reason) for each in refused.errors]
            raise Stopped(
                "amendment_invalid", findings or [Finding("contract", refused.detail)], ("retry", "compensate")
            ) from refused
        except NotPossible as refused:
            raise Stopped("amendment_invalid", refused.findings, ("retry", "compensate")) from refused
        if isinstance(wanted.actions[0], Pause | Transfer) and row.effective_at and _effective(row) <= context.clock():
            reason = f"the period that it was to begin after ended on {_effective(row):%Y-%m-%d}: ask again"
            raise Stopped("amendment_invalid", [Finding("actions[0]", reason)], ("compensate",))
        said = preview(context, row.id, found, wanted, made)
        kept = {"preview": msgspec.json.encode(said), "effective_at": said.effective_at.isoformat()}
        self._amendments.change(row.id, **kept)
        if said.differences:
            raise Stopped("amendment_not_agreed", list(said.differences), ("retry", "compensate"))
        return self._decided(row, found, said, made)

    def _why_not_any_more(self, row: sa.Row[Any], found: RunningContract, wanted: NewAmendment) -> str:
        """Return why an end that was asked for under our name is not to come, empty where it is."""
        context, first = self._context, wanted.actions[0]
        if isinstance(first, ChangeTerm):
            if renewed := next((each.id for each in found.versions if each.is_future and each.preview.is_renewal), ""):
                raise Waits(f"{renewed}, which is to renew the contract", context.stalled_at())
            return "" if ends_on(found.contract) == first.ends_on else "the contract has another end meanwhile"
        if ends_for_a_debt(row, wanted) and not self._is_asked_for(row, found.order):
            return NOT_ASKED_FOR
        return ""

    def _is_asked_for(self, row: sa.Row[Any], order: Order) -> bool:
        """Return whether the dunning of a contract asks for its end still. Raises `Waits` before a look that has to
        come first."""
        asked = asked_for(self._context, row, order)
        if asked == "unsure":
            raise Waits("a look at what is owed", self._context.pause(1))
        return asked == "yes"

    def _was_to_go(self, row: sa.Row[Any]) -> bool:
        """Return whether the moment of a transfer is over that was approved before it. Billing says whether it has it,
        as after a restore of the tables to before it was carried out: then that is completed; else it is a case."""
        said = preview_of(row)
        is_approved = said is not None and said.transfer is not None and row.approved == digest(said)
        return is_approved and _effective(row) <= self._context.clock()

    def _after_what_comes_first(self, row: sa.Row[Any], order: Order) -> None:
        """Raise `Waits` while the contract is being activated, or an earlier change of it is to be decided."""
        if order.state in OVER:
            raise Stopped(
                "amendment_invalid", [Finding("contract", f"its order is {order.state}")], ("retry", "compensate")
            )
        wait_for_activation(self._context, order)
        if first := self._amendments.before(row.contract_id, row.seq):
            raise Waits(f"{first}, which comes first", self._context.stalled_at())
        self._alone_if_it_transfers(row)

    def _alone_if_it_transfers(self, row: sa.Row[Any]) -> None:
        """Raise `Waits` for a transfer while any other change is carried out, also one that was asked for later: it
        would be done to what bills the former customer, after the end of that was written."""
        first = transfer_in(request_of(row)) and self._amendments.half_done(row.contract_id, row.id)
        if first:
            raise Waits(f"{first}, which is carried out", self._context.stalled_at())

    def _decided(
        self, row: sa.Row[Any], found: RunningContract, said: AmendmentPreview, made: PlannedChange
    ) -> Outcome:
        """Let an amendment that all agree to go on: to who approves it, to its day, or to its delivery."""
        context = self._context
        approvals = "; ".join(said.approvals)
        is_approved = not approvals or row.approved == digest(said) or covers(context.database, row.id, said)
        if not is_approved:
            finding = Finding("approvals", approvals)
            open_case(context, row, "amendment_approval", finding, ("approve", "reject"), order=row.order_id)
        with self._amendments.at(row.id) as one:
            if one.row.state != "given_up":
                if not is_approved:
                    one.advance("awaiting_approval", next_attempt_at=None, blocked_reason=f"approval: {approvals}")
                    return "stopped"
                is_of_billing = said.is_renewal or _is_by_use(said)
                begins = _begins(request_of(row), said.effective_at if is_of_billing else made.effective_at, said)
                if said.is_renewal:
                    begins = max([begins, *_days_before(found, row.id, said.effective_at)])
                if begins <= context.clock():
                    delivers = more(said) and not made.is_in_time
                    one.advance("provisioning" if delivers else "applying", next_attempt_at=context.stalled_at())
                    return "done"
                one.advance("scheduled", next_attempt_at=begins, blocked_reason="its day")
                one.note_products(said.after)
        self._close_cases(row.id)  # it may have been withdrawn meanwhile
        wake(context.database, row.contract_id, context.clock())  # what comes after it need not wait for its day
        return "stopped"

    # ---- what there is more of, before it is billed

    @DBOS.step(name="Amending.deliver")
    @resumable
    def deliver(self, amendment_id: str) -> Outcome:
        return self._enter(amendment_id, "provisioning", self._deliver)

    def _deliver(self, row: sa.Row[Any]) -> Outcome:
        context, said = self._context, _preview(row)
        _check_holder(row, running(context, self._amendments, context.orders.get(row.order_id)))
        lines = more(said)
        attempt, left = row.delivery_attempt, row.undelivered.split()
        if not attempt:
            attempt, left = context.orders.next_attempt(row.order_id), [each.id for each in lines]
            self._amendments.change(row.id, delivery_attempt=attempt, undelivered=" ".join(left))
        if not left:
            with self._amendments.at(row.id) as one:
                one.advance("applying", next_attempt_at=context.stalled_at())
            return "done"
        wanted = tuple(each for each in lines if each.id in left)
        context.platforms.provision(ProvisioningRequest(row.order_id, wanted, attempt, row.legal_entity))
        with self._amendments.at(row.id) as one:
            if one.row.undelivered and one.row.state == "provisioning":
                until = context.later(context.retry_policy.delivery)
                one.advance("provisioning", next_attempt_at=until, blocked_reason="the target's report")
        return "stopped"

    # ---- billing, the CRM, and what there is less of

    @DBOS.step(name="Amending.apply")
    @resumable
    def apply(self, amendment_id: str) -> Outcome:
        return self._enter(amendment_id, "applying", self._apply)

    def _apply(self, row: sa.Row[Any]) -> Outcome:
        try:
            return self._carry_out(row)
        except (Stopped, Rejected, NotFound) as refused:
            agreed = _preview(row).transfer
            if agreed is None:
                raise
            raise self._stays(row, agreed, refused) from refused

    def _stays(self, row: sa.Row[Any], agreed: TransferTerms, refused: Stopped | Rejected | NotFound) -> Exception:
        """Let billing leave a contract to the customer that has it, where its transfer cannot be completed: an earlier
        try may have written the end of what bills that one. Return why it cannot be, with what billing says where it
        does not take it back."""
        context, said = self._context, _preview(row)
        found = running(context, self._amendments, context.orders.get(row.order_id))
        handover = Handover(agreed_plan(context, found, said, agreed).contract, row.id)
        at = said.effective_at.replace(microsecond=0)
        try:
            context.platforms.change_contract(billing_change(row.id, found, request_of(row), said.after, at, handover))
        except (Rejected, NotFound) as fault:
            first = refused if isinstance(refused, Stopped) else _refused(row, Finding.of(refused))
            return Stopped(first.kind, [*first.findings, Finding.of(fault)], first.actions)
        return refused

    def _carry_out(self, row: sa.Row[Any]) -> Outcome:
        context, said = self._context, _preview(row)
        order = context.orders.get(row.order_id)
        found = running(context, self._amendments, order)
        wanted = request_of(row)
        if ends_for_a_debt(row, wanted) and not self._is_asked_for(row, order):
            raise Stopped("amendment_invalid", [Finding("contract", NOT_ASKED_FOR)], ("retry", "compensate"))
        self._alone_if_it_transfers(row)
        _check_holder(row, found)
        is_of_rest = rest_in(wanted) is not None or ends_rest(found, wanted)
        at = said.effective_at  # of a pause, billing is held to it: what is paid until then is known
        if wanted.effective == "period_end" and not (is_of_rest or _is_by_use(said)):
            at = datetime.fromisoformat(row.requested_at)
        known = {each.id for each in (*said.before, *said.after)}
        late = (each for each in found.contract.lines if said.after and each.id not in known)
        handover = self._to_another(found, said) or taken_back(context, found, wanted)
        if handover is None:
            _check_stays(found)
            _check_in_time(row, found, said)
        else:
            at = said.effective_at
        change = billing_change(row.id, found, wanted, (*said.after, *late), at.replace(microsecond=0), handover)
        changed = context.platforms.change_contract(change)
        if order.plan and not handover:
            contract = msgspec.structs.replace(order.plan.contract, references=lasting(changed))
            context.orders.keep_plan(order.id, msgspec.structs.replace(order.plan, contract=contract))
        give_up_what_follows(context, self._amendments, row.id, said)
        with self._amendments.at(row.id) as one:
            version = one.next_version()
            invoices = " ".join(changed.named("invoice"))
            is_less = less(said) or rest_in(wanted) or said.transfer
            until = (said.ends_at and said.ends_at + _grace(wanted)) or (said.effective_at if is_less else None)
            ends_at = said.ends_at and said.ends_at.isoformat()
            one.advance("applied", next_attempt_at=until, version=version, invoices=invoices, ends_at=ends_at)
            if (action := reversal_in(wanted)) and (change.at_period_end or handover):
                one.take_nothing_back(action.amendment)
            if said.sets_end and found.ends_at is not None and found.ended_by != row.id:
                one.take_nothing_back(found.ended_by)  # the end that was agreed before does not come
            one.note_products(said.after)
        wake(context.database, row.contract_id, context.clock())
        context.orders.change(order.id, crm_status="")  # the poll shows it, if this process does not
        write_status_to_crm(context, order.id)
        return "done"

    def _to_another(self, found: RunningContract, said: AmendmentPreview) -> Handover | None:
        """Return a contract as billing is to have it for another customer, which is known on both platforms then; None
        for any other change."""
        if said.transfer is None:
            return None
        try:
            plan = onboarded(self._context, agreed_plan(self._context, found, said, said.transfer))
        except NotPossible as refused:
            raise Stopped("amendment_invalid", refused.findings, ("retry", "compensate")) from refused
        return Handover(plan.contract)

    @DBOS.step(name="Amending.end")
    @resumable
    def end(self, amendment_id: str) -> Outcome:
        """Let the target take back what there is less of, once that counts, and suspend or take up the service; of one
        that was given up, let it take back what it had delivered."""
        row = self._amendments.row(amendment_id)
        if row.next_attempt_at is None or row.state not in ("applied", "given_up"):
            return "done"
        if row.state == "applied" and _taken_back_at(row) > self._context.clock():
            return "stopped"
        return self._guarded(row, self._end)

    def _end(self, row: sa.Row[Any]) -> Outcome:
        again, ends_at = None, row.ends_at
        if row.state == "applied" and rest_in(request_of(row)):
            again = self._rest(row)
            ends_at = again and again.isoformat()
        elif row.state == "applied" and (agreed := _preview(row).transfer):
            self._hand_over(row, agreed)
        elif row.state == "applied" or row.delivery_attempt:
            self._take_back(row)
        with self._amendments.at(row.id) as one:
            one.advance(one.row.state, next_attempt_at=again, ends_at=ends_at)
        wake(self._context.database, row.contract_id, self._context.clock())
        return "done"

    def _take_back(self, row: sa.Row[Any]) -> None:
        context, said = self._context, _preview(row)
        found = running(context, self._amendments, context.orders.get(row.order_id))
        if row.state == "applied" and row.ends_at:
            if self._amendments.being_carried_out(row.contract_id):
                raise Waits("a change of the contract that is being carried out", context.stalled_at())
            if found.ended_by == row.id:  # no later change has taken its place
                context.platforms.deprovision(row.order_id, row.legal_entity)
        elif row.state == "applied" and not said.after:
            context.platforms.deprovision(row.order_id, row.legal_entity)
        elif row.state == "applied" or not found.is_over:
            lines = less(said) if row.state == "applied" else former(said)
            attempt = context.orders.next_attempt(row.order_id)
            self._amendments.change(row.id, delivery_attempt=attempt)
            context.platforms.provision(ProvisioningRequest(row.order_id, lines, attempt, row.legal_entity))

    def _hand_over(self, row: sa.Row[Any], agreed: TransferTerms) -> None:
        """Let the other customer have the contract, and let the target and the CRM know."""
        context, order = self._context, self._context.orders.get(row.order_id)
        found = running(context, self._amendments, order)
        if self._amendments.being_carried_out(row.contract_id):  # it may take this one back
            raise Waits("a change of the contract that is being carried out", context.stalled_at())
        if found.handover and found.handover.id == row.id:
            plan = sold_term_of(order, agreed_plan(context, found, _preview(row), agreed))
            context.orders.hand_to(order.id, agreed.former_id, plan)
        holder = context.orders.row(order.id).customer_id  # by now it may be one after that
        if not found.is_over:
            context.platforms.put_holder(Holder(order.id, row.id, holder, row.legal_entity))
        context.orders.change(order.id, crm_status="")
        write_status_to_crm(context, order.id)

    def _rest(self, row: sa.Row[Any]) -> datetime | None:
        """Let the target have the service suspended, or not, as the contract is now. Return when that is to be done
        again: when a pause is over."""
        context, again = self._context, self._resumes_at(row)
        found = running(context, self._amendments, context.orders.get(row.order_id))
        if not found.is_over:
            holder = found.contract.customer_id
            suspended = found.rests_at(found.read_at) or is_suspended(context.database, row.contract_id, holder)
            context.platforms.suspend(Suspension(row.order_id, row.id, suspended, row.legal_entity))
        return again

    def _resumes_at(self, row: sa.Row[Any]) -> datetime | None:
        """Return when a pause is over by itself, None where that is not to come."""
        said = preview_of(row) if rest_in(request_of(row)) else None
        return said.resumes_at if said and said.resumes_at and said.resumes_at > self._context.clock() else None

    # ---- what every step has in common

    def _enter(self, amendment_id: str, state: AmendmentState, act: Callable[[sa.Row[Any]], Outcome]) -> Outcome:
        """Bring an amendment into `state` and do its work there. What is behind it already is not done again."""
        context = self._context
        with self._amendments.at(amendment_id) as one:
            present: AmendmentState = one.row.state
            is_its_day = present == "scheduled" and _due(one.row) <= context.clock()
            if present == "given_up":
                return "done"
            if present not in PATH and not is_its_day:
                return "stopped"
            if present in PATH and PATH.index(present) > PATH.index(state):
                return "done"
            if present in ("requested", "scheduled"):
                one.advance(state, next_attempt_at=context.stalled_at())
            elif present != state:
                return "stopped"
            row = one.row
        return self._guarded(row, act)

    def _guarded(self, row: sa.Row[Any], act: Callable[[sa.Row[Any]], Outcome]) -> Outcome:
        """Do the work of a state; what cannot proceed waits or becomes a case."""
        context = self._context
        with correlated(row.correlation_id):
            try:
                outcome: Outcome = with_retries(context.retry_policy, lambda: act(self._amendments.row(row.id)))
            except Waits as waits:
                self._wait(row, next_attempt_at=waits.until, blocked_reason=waits.reason)
                return "stopped"
            except TRANSIENT as fault:
                self._postpone(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                self._hold(row, _refused(row, Finding.of(fault)))
                return "stopped"
            except Stopped as stopped:
                self._hold(row, stopped)
                return "stopped"
        if row.blocked_by:
            outages.is_over(context, row.blocked_by)
        return outcome

    def _wait(self, row: sa.Row[Any], **changes: Any) -> None:
        """Let an amendment stay where it is, unless it has left that meanwhile."""
        with self._amendments.at(row.id) as one:
            if one.row.state == row.state:
                one.advance(row.state, **changes)

    def _postpone(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        """Let an amendment stay where it is, and wait for a platform."""
        context, attempts = self._context, row.attempts + 1
        self._wait(
            row,
            next_attempt_at=retry(context, attempts, fault.retry_after).at,
            blocked_reason=f"{fault.platform}: {fault.reason}",
            attempts=attempts,
            **outages.blocked(context, row, fault.platform, row.legal_entity),
        )

    def _hold(self, row: sa.Row[Any], stopped: Stopped) -> None:
        """Stop an amendment, with a case for each finding. One that is applied, or given up, stays that."""
        reasons = "; ".join(f"{each.field}: {each.reason}" for each in stopped.findings)
        for each in stopped.findings:
            open_case(self._context, row, stopped.kind, each, stopped.actions, order=row.order_id)
        with self._amendments.at(row.id) as one:
            is_left = one.row.state != row.state
            if not is_left and row.state in ENDED:
                again = self._resumes_at(row)  # whatever people do about the pause, its end is reported to the target
                ends_at = again.isoformat() if again else one.row.ends_at
                one.advance(row.state, next_attempt_at=again, ends_at=ends_at, blocked_reason=reasons)
            elif not is_left:
                one.advance("on_hold", next_attempt_at=None, blocked_reason=reasons, held_in=row.state)
        if is_left:
            self._close_cases(row.id)
            return
        log.warning("amendment on hold", amendment=row.id, kind=stopped.kind, correlation_id=row.correlation_id)

    def _close_cases(self, amendment_id: str) -> None:
        """Close the cases of an amendment that was withdrawn while it was being checked."""
        row = self._amendments.row(amendment_id)
        if row.state == "given_up":
            self._context.cases.end(row.id, row.blocked_reason, KINDS)


def _check_holder(row: sa.Row[Any], found: RunningContract) -> None:
    """Raise `Stopped` for what was asked for while another customer had the contract: this one has not asked for it."""
    if row.customer_id != found.contract.customer_id:
        reason = f"it was asked for while {row.customer_id} had the contract: give it up, and ask again"
        raise Stopped("amendment_invalid", [Finding("contract", reason)], ("compensate",))


def _check_stays(found: RunningContract) -> None:
    """Raise `Stopped` for a change of a contract that billing has for another customer already, from a moment on."""
    if found.handover:
        reason = f"{found.handover.id} has transferred the contract: reverse it first, or ask again after its day"
        raise Stopped("amendment_invalid", [Finding("contract", reason)], ("retry", "compensate"))


def _check_in_time(row: sa.Row[Any], found: RunningContract, said: AmendmentPreview) -> None:
    """Raise `Stopped` where the day has come of what was to be taken back before it: billing and the target have it
    since, and that was not previewed."""
    asked, is_reversal = datetime.fromisoformat(row.requested_at), reversal_in(request_of(row)) is not None
    untouched = not (row.delivery_attempt or said.invoices or _is_by_use(said))
    if is_reversal and untouched and asked < said.effective_at <= found.read_at:
        reason = "what it takes back counts since the period ended: give it up, and ask again"
        raise Stopped("amendment_invalid", [Finding("actions[0]", reason)], ("compensate",))


def _is_by_use(said: AmendmentPreview) -> bool:
    """Return whether a change ends what is charged by use, or gives it another price."""
    return bool(changed_by_use(said.before, said.after))


def _begins(wanted: NewAmendment, effective_at: datetime, said: AmendmentPreview) -> datetime:
    """Return from when a change is carried out that counts from a moment. An end and a pause are agreed at once; what
    is charged by use is left as it is until it is billed."""
    if isinstance(wanted.actions[0], ChangeTerm | Pause | Resume):
        return datetime.fromtimestamp(0, UTC)
    if _is_by_use(said):
        return effective_at + BILLED
    is_before = renewal_in(wanted) or transfer_in(wanted)
    return effective_at - BEFORE_A_TERM if is_before else effective_at


def _grace(wanted: NewAmendment) -> timedelta:
    """Return for how long after the end of a contract the target keeps what was delivered."""
    first = wanted.actions[0]
    return timedelta(days=first.grace_days if isinstance(first, ChangeTerm) else 0)


def _taken_back_at(row: sa.Row[Any]) -> datetime:
    """Return when the target takes back what there is less of, or all of a contract that has ended: after its grace."""
    return datetime.fromisoformat(row.ends_at or row.effective_at) + _grace(request_of(row))


def _days_before(found: RunningContract, renewal_id: str, until: datetime) -> Iterator[datetime]:
    """Yield when changes are done that count from days of the term which a renewal follows: it comes after them."""
    for each in found.versions:
        if each.is_future and each.id != renewal_id and each.since < until:
            yield each.since + timedelta(minutes=1)


def _effective(row: sa.Row[Any]) -> datetime:
    return datetime.fromisoformat(row.effective_at)


def _due(row: sa.Row[Any]) -> datetime:
    return _begins(request_of(row), _effective(row), _preview(row))


def open_case(
    context: WorkflowContext,
    row: sa.Row[Any],
    kind: CaseKind,
    finding: Finding,
    actions: tuple[Action, ...],
    **given: str,
) -> None:
    """Open a case of an amendment, or find the one that is open. `given` is said in it, with the contract."""
    context.cases.open(
        kind,
        row.id,
        finding,
        actions,
        correlation_id=row.correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        given={"contract": row.contract_id} | given,
    )


def _refused(row: sa.Row[Any], finding: Finding) -> Stopped:
    """Return what becomes of an amendment that a platform refuses. One that has ended cannot be given up."""
    if row.state in ENDED:
        return Stopped("amendment_not_delivered", [finding], ("retry", "skip"))
    return Stopped("amendment_invalid", [finding], ("retry", "compensate"))


def wait_for_activation(context: WorkflowContext, order: Order) -> None:
    """Raise `Waits` while the contract of an order is being activated."""
    unbilled = [each for each in context.orders.lines(order.id, unbilled=True) if each.state == "provisioned"]
    is_on_the_way = any(each.state in ON_THE_WAY for each in order.lines)
    if order.state not in IN_FORCE or is_on_the_way or unbilled:
        raise Waits(f"the contract's activation: its order is {order.state}", context.stalled_at())


def digest(said: AmendmentPreview) -> str:
    """Return what tells apart what is to be approved."""
    return sha256(msgspec.json.encode(said.approvals)).hexdigest()


def more(said: AmendmentPreview) -> tuple[PricedLine, ...]:
    """Return the lines of which there is more than before, or another product: they are delivered before they are
    billed."""
    changed = changed_lines(said.before, said.after)
    return tuple(now for was, now in changed if now is not None and _grows(was, now))


def _grows(before: PricedLine | None, line: PricedLine) -> bool:
    return before is None or before.sku != line.sku or line.terms.quantity > before.terms.quantity


def less(said: AmendmentPreview) -> tuple[PricedLine, ...]:
    """Return the lines of which there is less than before, those that ended in a quantity of 0."""
    gone = [(was, now) for was, now in changed_lines(said.before, said.after) if was is not None]
    ended = (nothing_of(was) for was, now in gone if now is None)
    return (*ended, *(now for was, now in gone if now is not None and was.sku == now.sku and _grows(now, was)))


def former(said: AmendmentPreview) -> tuple[PricedLine, ...]:
    """Return the lines that were to grow, as they were before: those that were not there in a quantity of 0."""
    changed = changed_lines(said.before, said.after)
    return tuple(was or nothing_of(now) for was, now in changed if now is not None and _grows(was, now))


def _preview(row: sa.Row[Any]) -> AmendmentPreview:
    said = preview_of(row)
    if said is None:
        raise LookupError(f"the amendment {row.id} was not checked yet")
    return said
