"""Activation: when every line has a result, the delivered ones are billed from now on and the CRM shows it."""

from __future__ import annotations

import msgspec
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import Contract
from canonical.cases import Finding
from canonical.deals import PricedLine, ProvisioningRequest, nothing_of
from canonical.orders import Order, OrderLine
from canonical.states import check_contract
from policies.context.correlation import correlated
from process_apis.amendments.contract import running
from process_apis.records import amendments
from process_apis.records.amendments import Amendments
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import write_status_to_crm
from process_apis.runtime.holds import Held, line_field
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, run_step


@DBOS.dbos_class("Activation")
class Activation(DBOSConfiguredInstance):
    """Runs once for each round of provisioning."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("activation")
        self._context = context

    @DBOS.workflow(name="Activation.run")
    def run(self, order_id: str) -> Outcome:
        return self.activate(order_id)

    @DBOS.step(name="Activation.activate")
    @resumable
    def activate(self, order_id: str) -> Outcome:
        context = self._context
        order = context.orders.as_it_stands(order_id)
        if order.state not in ("provisioning", "partially_active"):
            return "stopped"
        with correlated(order.correlation_id, "order: activation"):
            return run_step(context, order, self._activate)

    def _activate(self, order: Order) -> Outcome:
        context = self._context
        delivered = tuple(
            each.line for each in context.orders.lines(order.id, unbilled=True) if each.state == "provisioned"
        )
        failed = [each for each in order.lines if each.state == "failed"]
        if order.state == "provisioning" and not any(line.interval != "one_time" for line in delivered):
            raise Held(
                "provisioning_failed",
                [_failure(order, each) for each in failed] or [_nothing()],
                ("retry", "compensate"),
            )
        if delivered:
            self._bill(order, delivered)
        conclude(context, order)
        context.cases.resolve(order.id, "the target reported after all", kind="not_delivered")
        write_status_to_crm(context, order.id)
        return "done"

    def _bill(self, order: Order, lines: tuple[PricedLine, ...]) -> None:
        """Start the prepared contract the first time; lines that come later are billed from their own start."""
        context, plan = self._context, order.plan
        if plan is None:
            raise LookupError(f"the order {order.id} was not accepted yet")
        if order.state == "provisioning":
            check_contract(plan.contract.state, "active")
            started = context.platforms.start_contract(msgspec.structs.replace(plan.contract, lines=lines))
            kept = msgspec.structs.replace(plan.contract, state="active", references=started.references)
            context.orders.keep_plan(order.id, msgspec.structs.replace(plan, contract=kept))
        else:
            self._bill_late(order, plan.contract, lines)
        context.orders.set_billed(order.id, [line.id for line in lines])

    def _bill_late(self, order: Order, contract: Contract, lines: tuple[PricedLine, ...]) -> None:
        """Bill lines that were delivered after the contract had started, each from now on. Of a contract that is over
        by then the target takes back these lines alone: of the others it may have to keep them for days of grace."""
        platforms = self._context.platforms
        found = running(self._context, Amendments(self._context.database, self._context.clock), order)
        if found.over_at is not None and found.over_at <= found.read_at:
            attempt = self._context.orders.next_attempt(order.id)
            nothing = tuple(map(nothing_of, lines))
            platforms.provision(ProvisioningRequest(order.id, nothing, attempt, order.legal_entity))
            return
        for line in lines:
            if line.interval == "one_time":
                raise _by_hand(order, line, f"{line.name} was delivered late: charge {line.net} by hand")
            if found.over_at is not None:  # a subscription of its own could not end with it
                until, since = found.over_at.astimezone(found.zone).date(), found.today
                what = f"{line.in_words()} each {line.interval}"
                reason = f"{line.name} was delivered after its end on {until} was agreed: charge {what} from {since}"
                raise _by_hand(order, line, f"{reason} by hand")
            late = msgspec.structs.replace(contract, group=line.id, lines=(line,))
            platforms.start_contract(platforms.put_contract(late))


def conclude(context: WorkflowContext, order: Order) -> None:
    """Bring the order where its lines are: it is active if nothing is missing. What people have asked for again
    meanwhile is still on its way: the last report on it starts the next activation."""
    for each in context.orders.lines(order.id):
        if each.state == "failed":
            context.cases.open(
                "line_failed",
                order.id,
                _failure(order, each),
                ("retry", "skip", "compensate"),
                correlation_id=order.correlation_id,
                legal_entity=order.legal_entity,
                customer_id=order.customer_id,
                given={"line": each.line.id},
            )
    with context.orders.at(order.id) as one:
        if one.row.state == "compensating":
            return  # that waits for its turn, and undoes what was done here
        states = [each.state for each in one.order().lines]
        failed, on_its_way = states.count("failed"), "waiting" in states or "requested" in states
        one.advance(
            "partially_active" if failed or on_its_way else "active",
            next_attempt_at=one.next_attempt_at() if on_its_way else None,
            blocked_reason=f"{failed} of {len(states)} lines could not be provisioned" if failed else "",
        )
    if order.plan:
        amendments.wake(context.database, order.plan.contract.id, context.clock())


def _by_hand(order: Order, line: PricedLine, reason: str) -> Held:
    return Held("charge_by_hand", [Finding(line_field(order.lines, line.id), reason)], ("skip",), line.id)


def _failure(order: Order, line: OrderLine) -> Finding:
    return Finding(line_field(order.lines, line.line.id), line.reason or "the line could not be provisioned")


def _nothing() -> Finding:
    return Finding("lines", "no recurring line was delivered")
