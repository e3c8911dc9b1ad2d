"""Quote to cash: a closed deal is checked, its customer onboarded, its contract prepared and its lines ordered.

What follows is driven by events: `activation` when the lines are delivered, `invoicing` and `collections` when the
money moves. Every step may be run again: it finds what an earlier run left behind.
"""

from __future__ import annotations

import contextlib
from decimal import InvalidOperation
from typing import Any

import msgspec
import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.amendments import Meters
from canonical.cases import Finding
from canonical.deals import Deal, ProvisioningRequest
from canonical.faults import NotFound
from canonical.money import UnknownCurrency, total
from canonical.orders import Order, Plan
from policies.business.start_window import allowed_starts
from policies.business.usage import meters_by_product
from policies.context.correlation import correlated
from process_apis import credit_review, onboarding, validation
from process_apis.records import cross_references
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import write_status_to_crm
from process_apis.runtime.holds import Held
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, enter_state, run_step

LARGEST = 2**63
"""What a column holds of minor units is less."""


@DBOS.dbos_class("QuoteToCash")
class QuoteToCash(DBOSConfiguredInstance):
    """The workflow and its steps; what undoes a step stands below it."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("quote_to_cash")
        self._context = context

    @DBOS.workflow(name="QuoteToCash.run")
    def run(self, order_id: str) -> Outcome:
        for step in (self.validate, self.review_credit, self.onboard, self.subscribe, self.provision):
            if step(order_id) == "stopped":
                return "stopped"
        return "done"

    # ---- is it a deal that can be fulfilled?

    @DBOS.step(name="QuoteToCash.validate")
    @resumable
    def validate(self, order_id: str) -> Outcome:
        return enter_state(self._context, order_id, "validating", self._validate)

    def _validate(self, order: Order) -> Outcome:
        """Check the deal as it is now: again, if the CRM reports a change of it meanwhile."""
        context = self._context
        while True:
            row = context.orders.row(order.id)
            try:
                outcome = self._check(order, row)
            except Held:
                if context.orders.row(order.id).deal_state == row.deal_state:
                    raise
            else:
                if context.orders.row(order.id).deal_state == row.deal_state:
                    return outcome

    def _check(self, order: Order, row: sa.Row[Any]) -> Outcome:
        context = self._context
        deal = context.platforms.deal(order.crm, order.deal_id)
        meters = meters_by_product(context.live_catalogue.current)
        self._check_region(order, deal)
        if row.attempts:  # it waits: whose it is, and what it is worth, is asked for until it is accepted
            context.orders.change(order.id, legal_entity=deal.legal_entity or "", **_worth(deal, meters))
        seller = None
        if deal.legal_entity:
            with contextlib.suppress(NotFound):  # then it is one of the findings
                seller = context.platforms.legal_entity(deal.legal_entity)
        skus = sorted({line.sku for line in deal.lines if line.sku})
        products = context.platforms.known_products(skus, deal.legal_entity or "") if skus else {}
        same = [] if row.accepts_duplicate else onboarding.duplicates(context, order.crm, deal)
        starts = allowed_starts(context.live_catalogue.current, order.received_at.date())
        found = validation.findings(deal, seller, products, same, starts, meters)
        found += self._who_sells(order.crm, deal)
        if deal.contract_id:
            reason = f"the deal is a change of the contract {deal.contract_id}, and no sale: give the order up"
            found.append(Finding("deal.contract_id", reason))
        if found or seller is None:
            only_duplicate = len(found) == 1 and bool(same)
            context.orders.change(order.id, name=deal.name, placed_by=deal.placed_by, partner=deal.account.partner)
            if only_duplicate:
                raise Held("duplicate_customer", found, ("retry", "skip", "compensate"))
            raise Held("deal_invalid", found, ("retry", "compensate"))
        customer_id, parent_id = onboarding.identify(context, order.crm, deal)
        contract_id = cross_references.canonical_id(context.database, "con", "order", order.id)
        ids = order.id, customer_id, contract_id, parent_id
        plan = validation.plan(deal, order.crm, seller, products, *ids, meters)
        context.orders.accept(order.id, deal.name, deal.placed_by, plan)
        return "done"

    def _check_region(self, order: Order, deal: Deal) -> None:
        """Refuse a deal of another region before anything of it is stored."""
        context = self._context
        if not context.residency.keeps(deal.legal_entity):
            context.orders.change(order.id, legal_entity=deal.legal_entity)
            reason = f"records of {deal.legal_entity} are not kept in {context.residency.region}, where this runs"
            finding = Finding("deal.legal_entity", reason)
            raise Held("outside_region", [finding], ("retry", "compensate"))

    def _who_sells(self, crm: str, deal: Deal) -> list[Finding]:
        """Return a finding for a legal entity that the catalogue does not name for the CRM: it does not sell for
        that one."""
        known = self._context.live_catalogue.current.platforms.get(crm)
        if not deal.legal_entity or (known and known.serves(deal.legal_entity)):
            return []
        return [Finding("deal.legal_entity", f"{crm} does not sell for {deal.legal_entity}")]

    # ---- may the customer owe us as much?

    @DBOS.step(name="QuoteToCash.review_credit")
    @resumable
    def review_credit(self, order_id: str) -> Outcome:
        return enter_state(self._context, order_id, "credit_review", self._review_credit)

    def _review_credit(self, order: Order) -> Outcome:
        context = self._context
        reason = credit_review.over_the_limit(context, order.id, self._as_it_is_now(order))
        if not reason:
            context.cases.resolve(order.id, "the limit allows it", kind="credit_limit")
            return "done"
        finding = Finding("credit_limit", reason)
        context.cases.open(
            "credit_limit",
            order.id,
            finding,
            ("approve", "reject"),
            correlation_id=order.correlation_id,
            legal_entity=order.legal_entity,
            customer_id=order.customer_id,
        )
        context.orders.advance(
            order.id, "awaiting_approval", next_attempt_at=None, blocked_reason=f"approval: {reason}"
        )
        write_status_to_crm(context, order.id)
        return "stopped"

    # ---- the customer, everywhere

    @DBOS.step(name="QuoteToCash.onboard")
    @resumable
    def onboard(self, order_id: str) -> Outcome:
        return enter_state(self._context, order_id, "onboarding", self._onboard)

    def _onboard(self, order: Order) -> Outcome:
        context = self._context
        context.orders.keep_plan(order.id, onboarding.onboard(context, self._as_it_is_now(order)))
        return "done"

    def _as_it_is_now(self, order: Order) -> Plan:
        """Return the plan of an order with the customer as it is now: one that waited was checked some time ago."""
        context, plan = self._context, _plan(order)
        if context.orders.row(order.id).run > 1:
            plan = onboarding.refreshed_plan(context, plan)
            context.orders.change(order.id, customer_id=plan.customer.id)
            context.orders.hand_over(plan.customer.id, plan.customer.partner)
        return plan

    # ---- the contract, which bills nothing yet

    @DBOS.step(name="QuoteToCash.subscribe")
    @resumable
    def subscribe(self, order_id: str) -> Outcome:
        return enter_state(self._context, order_id, "subscribing", self._subscribe)

    def _subscribe(self, order: Order) -> Outcome:
        plan = _plan(order)
        contract = self._context.platforms.put_contract(plan.contract)
        self._context.orders.keep_plan(order.id, msgspec.structs.replace(plan, contract=contract))
        return "done"

    @DBOS.step(name="QuoteToCash.unsubscribe")
    @resumable
    def unsubscribe(self, order_id: str) -> Outcome:
        return run_step(self._context, self._context.orders.get(order_id), self._unsubscribe)

    def _unsubscribe(self, order: Order) -> Outcome:
        if order.plan is None or "customer" not in order.plan.contract.references:
            return "done"
        contract = order.plan.contract
        self._context.platforms.cancel_contract(contract)
        if invoices := contract.named("invoice"):
            finding = Finding("invoice", f"issued, and to be credited: {', '.join(invoices)}")
            self._context.cases.open(
                "cannot_undo",
                order.id,
                finding,
                ("skip",),
                correlation_id=order.correlation_id,
                legal_entity=order.legal_entity,
                customer_id=order.customer_id,
            )
        return "done"

    # ---- the lines, one by one

    @DBOS.step(name="QuoteToCash.provision")
    @resumable
    def provision(self, order_id: str) -> Outcome:
        return enter_state(self._context, order_id, "provisioning", self._provision, also_in="partially_active")

    def _provision(self, order: Order) -> Outcome:
        """Lines that wait are requested, those that are on their way are asked for again under their own attempt, all
        others are left alone."""
        context = self._context
        for attempt, lines in context.orders.request_lines(order.id).items():
            context.platforms.provision(ProvisioningRequest(order.id, lines, attempt, order.legal_entity))
        # From here on the target's reports drive it; if they do not come, somebody looks.
        context.orders.expect_reports(order.id, context.later(context.retry_policy.delivery))
        return "done"

    @DBOS.step(name="QuoteToCash.deprovision")
    @resumable
    def deprovision(self, order_id: str) -> Outcome:
        return run_step(self._context, self._context.orders.get(order_id), self._deprovision)

    def _deprovision(self, order: Order) -> Outcome:
        if any(each.state != "waiting" for each in order.lines):
            self._context.platforms.deprovision(order.id, order.legal_entity)
        return "done"

    # ---- all of it undone, last step first

    @DBOS.workflow(name="QuoteToCash.compensate")
    def compensate(self, order_id: str) -> Outcome:
        for undo in (self.deprovision, self.unsubscribe, self.finish_compensation):
            if undo(order_id) == "stopped":
                return "stopped"
        return "done"

    @DBOS.step(name="QuoteToCash.finish_compensation")
    @resumable
    def finish_compensation(self, order_id: str) -> Outcome:
        context = self._context
        with correlated(context.orders.get(order_id).correlation_id, "order: compensation"):
            reason = context.orders.row(order_id).blocked_reason  # why it was given up
            context.orders.advance(order_id, "cancelled", next_attempt_at=None, blocked_reason=reason)
            write_status_to_crm(context, order_id)
        return "done"


def _worth(deal: Deal, meters: Meters) -> dict[str, str | int]:
    """Return the net amount of a deal's first invoice, nothing for a deal with findings about that. What is charged by
    use is on later ones."""
    once = (line.terms for line in deal.lines if line.sku not in meters)
    try:
        worth = total((each.net(deal.currency) for each in once), deal.currency)
    except (UnknownCurrency, InvalidOperation):  # the second: more digits than a number of ours has
        return {}
    return {"currency": worth.currency, "amount": worth.amount} if abs(worth.amount) < LARGEST else {}


def _plan(order: Order) -> Plan:
    if order.plan is None:
        raise LookupError(f"the order {order.id} was not accepted yet")
    return order.plan
