"""A renewal on its way: checked when its time has come or something happened to its contract, until it is renewed or
the contract has ended.

Each look decides by what is there now, so that it may be done again whenever a process ends: a deal is asked of the CRM
by a key of its own, and so is an amendment of the contract. It is done in the partition of the contract.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, cast

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import Renew, amended, ends_on
from canonical.cases import CaseKind, Finding
from canonical.faults import TRANSIENT, NotFound, Rejected
from canonical.states import AmendmentState, OrderState, RenewalState
from policies.business.renewals import RENEWALS, RenewalPolicy
from policies.context.correlation import correlated
from process_apis.amendments.contract import RunningContract, running
from process_apis.amendments.own import NotAllowed, ask
from process_apis.amendments.preview import billing_change
from process_apis.amendments.request import moment_of, renewal_in
from process_apis.records.amending_deals import AmendingDeals
from process_apis.records.amendments import OURS, Amendments, amendment_id, request_of
from process_apis.records.database import orders
from process_apis.records.renewals import Renewals, lapse_key, renewal_key
from process_apis.renewals.plan import (
    HEARD_OF,
    Standing,
    Verdict,
    lapsing,
    next_term,
    offered,
    renewing,
    together,
    verdict,
    worth,
)
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome

KIND: CaseKind = "renewal_blocked"
LOOK_AGAIN = timedelta(hours=6)
"""From one look to the next, while nothing is known to happen."""
MOST_OTHERS = 50
"""Contracts of a customer among which one is looked for that another is to end with."""
OTHERS = (
    sa.select(orders.c.id)
    .where(
        orders.c.customer_id == sa.bindparam("customer"),
        orders.c.legal_entity == sa.bindparam("legal_entity"),
        orders.c.id != sa.bindparam("own"),
        orders.c.state.in_(IN_FORCE),
    )
    .order_by(orders.c.seq.desc())
    .limit(MOST_OTHERS)
)
UNDER_WAY: tuple[AmendmentState, ...] = ("requested", "checking", "provisioning", "applying")
"""Where an amendment is that goes on by itself."""
OVER: tuple[RenewalState, ...] = ("renewed", "expired", "dropped", "by_hand")
log = structlog.get_logger("tiergate.renewals")


@DBOS.dbos_class("Renewing")
class Renewing(DBOSConfiguredInstance):
    """The workflow of a renewal."""

    def __init__(self, context: WorkflowContext, records: Renewals, amendments: Amendments) -> None:
        super().__init__("renewing")
        self._context = context
        self._records = records
        self._amendments = amendments
        self._deals = AmendingDeals(context.database)

    @DBOS.workflow(name="Renewing.run")
    def run(self, renewal_id: str) -> Outcome:
        return self.look(renewal_id)

    @DBOS.step(name="Renewing.look")
    @resumable
    def look(self, renewal_id: str) -> Outcome:
        """Bring a renewal to where it belongs now, and say when to look again."""
        row = self._records.row(renewal_id)
        if row.next_attempt_at is None:
            return "done"
        with correlated(row.correlation_id):
            try:
                self._look(row)
            except TRANSIENT as fault:
                again = retry(self._context, row.attempts + 1, fault.retry_after)
                reason = f"{fault.platform}: {fault.reason}"
                if again.needs_case and row.state not in ("lapsing", "grace"):
                    self._block(row, Finding.of(fault))
                else:
                    self._enter(row, row.state, again.at, blocked_reason=reason, attempts=row.attempts + 1)
            except (Rejected, NotFound) as fault:
                self._block(row, Finding.of(fault))
            except NotAllowed as refused:
                self._block(row, refused.finding)
            else:
                return "done"
        return "stopped"

    def _look(self, row: sa.Row[Any]) -> None:
        order = self._context.orders.get(row.order_id)
        if order.state not in IN_FORCE:
            self._without_order(row, order.state)
            return
        found = running(self._context, self._amendments, order)
        now = self._standing(row, found)
        said, note, key = verdict(now), row.note, renewal_key(row)
        if said.needs in ("quote", "renew"):
            now, note = self._with_next_end(now, key)
        known: dict[str, Any] = _amounts(now, said) | {"amendment_id": said.amendment_id, "note": note}
        match said.needs:
            case "quote":
                made = self._context.platforms.put_renewal_deal(order.crm, offered(found, _term(now), key, row.id))
                known |= {"crm": order.crm, "deal_id": made.id}
            case "renew":
                known["amendment_id"] = ask(self._context, self._amendments, found, renewing(_term(now), key))
            case "lapse":
                grace = now.policy.grace_days if now.policy else 0
                wanted = lapsing(now.term_ends_on, grace, lapse_key(row))
                known["amendment_id"] = ask(self._context, self._amendments, found, wanted)
            case "nothing":
                pass
        if said.needs_case:
            self._open_case(row, Finding("renewal", said.reason))
        state, again = self._next(now, said)
        self._enter(row, state, again, blocked_reason=said.reason, **known)

    def _without_order(self, row: sa.Row[Any], state: OrderState) -> None:
        """Drop the renewal of an order that is given up. One that is held in force, as for a charge by hand, comes
        back: what was agreed stays, and anything else is blocked."""
        is_held = state == "on_hold" and self._context.orders.row(row.order_id).held_in in IN_FORCE
        reason, again = f"its order is {state}", self._context.clock() + LOOK_AGAIN
        if not is_held:
            self._enter(row, "dropped", None, blocked_reason=reason)
        elif row.state in ("lapsing", "grace"):
            self._enter(row, row.state, again, blocked_reason=reason)
        else:
            self._block(row, Finding("order", reason))

    def _standing(self, row: sa.Row[Any], found: RunningContract) -> Standing:
        """Return all that decides about a renewal."""
        context, contract = self._context, row.contract_id
        deal = self._deals.of(row.crm, row.deal_id) if row.deal_id else None
        own, lapse = (self._asked_for(contract, key) for key in (renewal_key(row), lapse_key(row)))
        renewal = deal.amendment_id if deal and deal.amendment_id else own
        policy = RENEWALS.of(context.live_catalogue.current).get(row.legal_entity)
        asked = filter(None, (renewal, lapse))
        return Standing(
            found,
            term_ends_on=date.fromisoformat(row.ends_on),
            mode=row.mode,
            policy=policy,
            found_at=datetime.fromisoformat(row.found_at),
            first=self._amendments.before(contract),
            renewal=renewal,
            lapse=lapse,
            withdrawn=frozenset(each for each in asked if self._amendments.row(each).state == "given_up"),
            is_under_way=bool(renewal) and self._amendments.row(renewal).state in UNDER_WAY,
            open_deal=self._records.open_deal(contract),
            open_case=self._records.open_case(row),
            open_dispute=self._records.open_dispute(contract),
            deal_id=row.deal_id,
            deal_lost=row.deal_lost,
            next_ends_on=self._next_end(row, found, policy, renewal),
            asked_again=row.asked_again,
        )

    def _asked_for(self, contract_id: str, key: str) -> str:
        """Return the id of the amendment that we have asked for with a key, empty before that."""
        made = amendment_id(contract_id, key)
        is_ours = self._amendments.is_known(made) and self._amendments.row(made).requested_by == OURS
        return made if is_ours else ""

    # ---- the next term

    def _next_end(
        self, row: sa.Row[Any], found: RunningContract, policy: RenewalPolicy | None, renewal: str
    ) -> date | None:
        """Return the first day after the next term: as it was asked for or offered, else by the months of the
        policy."""
        action = renewal_in(request_of(self._amendments.row(renewal))) if renewal else None
        if action is not None:
            return action.ends_on
        if row.deal_id and row.renews_until:
            return date.fromisoformat(row.renews_until)
        is_open = policy is not None and not found.is_over and ends_on(found.contract) is not None
        return next_term(found, policy).ends_on if is_open and policy else None

    def _with_next_end(self, now: Standing, key: str) -> tuple[Standing, str]:
        """Return how things stand when the next term ends with another contract of the customer, where the policy wants
        that and billing allows it; else why not. Raises the faults of billing, but for a refusal."""
        found, policy = now.found, _policy(now)
        wanted = together(found, policy, self._other_ends(found), now.mode) if policy.co_term else None
        if wanted is None:
            return now, ""
        renewal = renewing(Renew(wanted, policy.uplift), key)
        lines = amended(found.contract.lines, renewal.actions, found.contract.currency)
        begins = moment_of(found, renewal, found.read_at)
        change = billing_change(amendment_id(found.contract.id, key), found, renewal, lines, begins)
        try:
            self._context.platforms.preview_change(change)
        except Rejected as refused:
            return now, f"it does not end on {wanted}, with another contract: {refused.platform}: {refused.reason}"
        return msgspec.structs.replace(now, next_ends_on=wanted), ""

    def _other_ends(self, found: RunningContract) -> list[date]:
        """Return when other contracts of the customer with the same seller end, of those that run."""
        context, contract = self._context, found.contract
        of = {"customer": contract.customer_id, "legal_entity": contract.legal_entity, "own": contract.order_id}
        with context.database.connect() as connection:
            others = connection.scalars(OTHERS, of).all()
        every = [running(context, self._amendments, context.orders.get(each)) for each in others]
        return [day for each in every if not each.is_over and (day := ends_on(each.contract)) is not None]

    def _next(self, now: Standing, said: Verdict) -> tuple[RenewalState, datetime | None]:
        """Return the state that a renewal comes to, and when to look again."""
        at = now.found.read_at
        if said.state == "grace":
            takes_back = self._amendments.row(said.amendment_id).next_attempt_at
            if takes_back is None:
                return "expired", None
            return "grace", max(datetime.fromisoformat(takes_back) + timedelta(minutes=1), self._context.later(60))
        if said.state in OVER:
            return said.state, None
        known = (now.last_call - HEARD_OF, now.last_call, now.ends_at, now.found.ends_at)
        return said.state, min(each for each in (at + LOOK_AGAIN, *known) if each is not None and each > at)

    # ---- where it stands

    def _enter(self, row: sa.Row[Any], state: RenewalState, next_attempt_at: datetime | None, **known: Any) -> None:
        """Bring a renewal into a state, unless people have done so meanwhile. One that was woken since the look began
        is checked again."""
        with self._records.at(row.id) as one:
            if one.row.next_attempt_at is None:
                return
            if next_attempt_at is not None and one.row.next_attempt_at != row.next_attempt_at:
                next_attempt_at = datetime.fromisoformat(one.row.next_attempt_at)
            former = cast("RenewalState", one.row.state)
            if state in ("grace", "expired") and former not in ("lapsing", "grace"):
                one.advance("lapsing", next_attempt_at=next_attempt_at)
            one.advance(state, next_attempt_at=next_attempt_at, **known)
        if state != "blocked":
            self._context.cases.end(row.id, f"it is {state}", {KIND})
        if state != former:
            log.info("renewal", renewal=row.id, contract=row.contract_id, state=state)

    def _block(self, row: sa.Row[Any], finding: Finding) -> None:
        """Leave to sales what a platform or the contract refuses."""
        self._open_case(row, finding)
        reason = f"{finding.field}: {finding.reason}"
        self._enter(row, "blocked", self._context.clock() + LOOK_AGAIN, blocked_reason=reason)

    def _open_case(self, row: sa.Row[Any], finding: Finding) -> None:
        self._context.cases.open(
            KIND,
            row.id,
            finding,
            ("retry", "skip"),
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            customer_id=row.customer_id,
            given={"contract": row.contract_id, "ends_on": row.ends_on},
        )


def _amounts(now: Standing, said: Verdict) -> dict[str, Any]:
    """Return what a renewal keeps of what its contract is worth."""
    found = worth(now, said)
    if found is None:
        return {}
    before, after, until = found
    return {
        "mrr_before": before.amount,
        "mrr_after": after.amount,
        "renews_until": until.isoformat() if until else None,
    }


def _term(now: Standing) -> Renew:
    """Return the next term, and by how much its prices rise."""
    if now.next_ends_on is None:
        raise LookupError(f"{now.found.contract.id} has no next term")
    return Renew(now.next_ends_on, _policy(now).uplift)


def _policy(now: Standing) -> RenewalPolicy:
    if now.policy is None:
        raise LookupError(f"the catalogue has no renewals of {now.found.contract.legal_entity}")
    return now.policy
