"""Transfers: a contract goes to another customer with the end of the period that is paid.

It stays one contract, with its id, lines, prices and term. Until that moment it is the former customer's in every
respect; from then on the other one has it, with the taxes of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import msgspec

from canonical.amendments import (
    BEGUN_LATE,
    AmendmentPreview,
    AmendmentRequest,
    Cancel,
    ChangeTerm,
    ContractChange,
    Handover,
    Pause,
    Renew,
    Resume,
    Transfer,
    TransferTerms,
    ends_on,
)
from canonical.billing import Contract
from canonical.cases import Finding
from canonical.deals import Deal, InvoiceTerms, deal_line
from canonical.orders import Order, Plan
from canonical.parties import Customer
from policies.business.amendments import CHANGE_REFUSED
from policies.identity.authentication import Principal
from policies.problems import FieldError, ProblemError
from process_apis import credit_review, onboarding, validation
from process_apis.amendments.contract import NotPossible, RunningContract, known_products
from process_apis.amendments.reversal import is_to_come, reversal_in
from process_apis.records import customers
from process_apis.records.amendments import Applied
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE
from process_apis.runtime.holds import Held

ACTION = "$.actions[0]"
NOT_BY_PARTNERS = "partners do not transfer contracts, and take no transfer back: ask us"


class Successor(msgspec.Struct, frozen=True):
    """The customer that a contract is to go to, as the CRM has it now, with the contract as it would have it."""

    plan: Plan
    transfers_at: datetime
    over_the_limit: str
    """Why its credit has to be approved; empty where its limit allows the next invoice of the contract."""

    @property
    def approvals(self) -> tuple[str, ...]:
        """Return what somebody else has to approve: that the contract goes to another customer, always."""
        who = f"the contract goes to the customer {self.plan.customer.id}"
        return (who, f"its credit: {self.over_the_limit}") if self.over_the_limit else (who,)


def transfer_in(wanted: AmendmentRequest) -> Transfer | None:
    """Return the transfer that a request is, None for any other."""
    first = wanted.actions[0]
    return first if isinstance(first, Transfer) else None


def stays_after_all(found: RunningContract, wanted: AmendmentRequest) -> bool:
    """Return whether a request takes back a transfer that is carried out and does not count yet."""
    action, handover = reversal_in(wanted), found.handover
    return action is not None and handover is not None and handover.id == action.amendment and is_to_come(found, wanted)


def of_transfer(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield what is wrong with a transfer, but for what is wrong with its customer, and for what only billing knows."""
    if transfer_in(wanted) is None:
        return
    contract, zone = found.contract, found.zone
    if len(wanted.actions) > 1:
        yield FieldError("$.actions", "a transfer stands alone")
    if wanted.effective != "period_end":
        reason = (
            "a transfer counts from the end of the period that is paid: say `period_end`, and preview it for the day"
        )
        yield FieldError("$.effective", reason)
    if rest := found.rest:
        until = f" until {rest.until.astimezone(zone):%Y-%m-%d}" if rest.until else ", and goes on when it is resumed"
        yield FieldError(ACTION, f"{rest.paused_by} pauses the contract{until}: transfer it after that")
    if contract.ends_on is not None:
        reason = (
            f"billing ends the contract on {contract.ends_on}: take that end away with `term`, and agree to it again"
        )
        yield FieldError(ACTION, f"{reason} after the transfer")
    for each in found.order.lines:
        if each.state == "failed":
            yield FieldError(ACTION, f"{each.line.name} could not be delivered: let it be tried again, or skip it")
    if first := next((each for each in found.versions if each.is_future), None):
        day = f"{first.since.astimezone(zone):%Y-%m-%d}"
        yield FieldError(ACTION, f"{first.id} waits for {day}: withdraw it, or transfer the contract after that")
    elif found.since > found.read_at:
        day = f"{found.since.astimezone(zone):%Y-%m-%d}"
        yield FieldError(ACTION, f"{found.changed_by or 'the contract'} counts from {day}: transfer it from then on")


def before_it_goes(found: RunningContract, wanted: AmendmentRequest, begins: datetime, lead: datetime) -> Iterator[str]:
    """Yield why a change is not taken while a transfer is agreed, and what to do. `begins` is from when it would count,
    `lead` the last moment until which one that waits for its day may count before the transfer is carried out."""
    if (handover := found.handover) and not stays_after_all(found, wanted):
        day = f"{handover.since.astimezone(found.zone):%Y-%m-%d}"
        still = handover.since > found.read_at
        what = f"ask from then on, or reverse {handover.id}" if still else "ask again in a moment"
        yield f"{handover.id} transfers the contract on {day}: {what}"
    elif (agreed := agreed_transfer(found)) and _is_in_the_way(wanted, begins, lead):
        day = f"{agreed.since.astimezone(found.zone):%Y-%m-%d}"
        yield f"{agreed.id} is to transfer the contract on {day}: ask after that, or withdraw it"


def agreed_transfer(found: RunningContract) -> Applied | None:
    """Return the transfer of a contract that waits for its day, None for none."""
    return next((each for each in found.versions if each.is_future and each.preview.transfer), None)


def _is_in_the_way(wanted: AmendmentRequest, begins: datetime, lead: datetime) -> bool:
    """Return whether a change would not be done when the transfer is carried out, which knows nothing of it then."""
    first = wanted.actions[0]
    if isinstance(first, Transfer):
        return False  # it is refused for the change that waits
    is_of_whole = isinstance(first, Renew | Pause | Resume) or (isinstance(first, ChangeTerm) and bool(first.ends_on))
    with_the_period = wanted.effective == "period_end" and not isinstance(first, Cancel)
    return is_of_whole or with_the_period or begins >= lead


def check_customer(
    context: WorkflowContext, found: RunningContract, wanted: AmendmentRequest, principal: Principal | None = None
) -> None:
    """Raise `ProblemError` (422) for a transfer to a customer that cannot have the contract: one that is not there for
    the caller, the present one, or one of another legal entity or currency; and for a partner that takes one back."""
    action = transfer_in(wanted)
    if action and (wrong := _wrong_with(context, found.contract, action.customer, principal)):
        errors = (FieldError(f"{ACTION}.customer", wrong),)
        raise ProblemError(CHANGE_REFUSED, "The contract cannot go to this customer.", errors)
    if principal and principal.partner and stays_after_all(found, wanted):
        errors = (FieldError(f"{ACTION}.amendment", NOT_BY_PARTNERS),)
        raise ProblemError(CHANGE_REFUSED, "The transfer cannot be taken back.", errors)


def _wrong_with(context: WorkflowContext, contract: Contract, customer_id: str, principal: Principal | None) -> str:
    if principal and principal.partner:
        return NOT_BY_PARTNERS
    if customer_id == contract.customer_id:
        return "it has the contract already"
    database = context.database
    known = customers.last_seen(database, customer_id)
    if known and principal:
        known = customers.visible(database, customer_id, principal)
    if known is None:
        return f"there is no customer {customer_id}"
    seller = contract.legal_entity
    if seller not in (known.legal_entity, *context.orders.sold_by(customer_id)):
        return f"it is no customer of {seller}, which sells the contract"
    others = {each.currency for each in context.orders.contracts_of(customer_id, IN_FORCE)} - {contract.currency}
    if others:
        return f"it is billed in {', '.join(sorted(others))}, and the contract in {contract.currency}"
    return ""


def successor(context: WorkflowContext, found: RunningContract, action: Transfer) -> Successor:
    """Return the customer that a contract is to go to, checked as the buyer of a deal is, with the taxes of its own and
    its credit as it is now. Raises `NotPossible`, and the faults of the platforms."""
    contract, database = found.contract, context.database
    nobody = msgspec.structs.replace(contract, references={})
    asked = ContractChange(
        contract.id, contract, contract.lines, found.read_at, at_period_end=True, handover=Handover(nobody)
    )
    at = context.platforms.preview_change(asked).effective_at
    _check_term(found, at.astimezone(found.zone).date())
    known = customers.last_seen(database, action.customer)
    if known is None:
        raise NotPossible([Finding("actions[0].customer", f"there is no customer {action.customer}")])
    plan = _plan(context, found, known, at.astimezone(found.zone).date())
    try:
        reason = credit_review.over_the_limit(context, found.order.id, plan)
    except Held as held:
        raise NotPossible(held.findings) from held
    return Successor(plan, at, reason)


def _check_term(found: RunningContract, day: date) -> None:
    """Raise `NotPossible` for a transfer that falls on the end of the term: the other customer would be billed for a
    period that nobody has agreed. Billing's last period may end as much later than the term as billing has begun."""
    until = ends_on(found.contract)
    if until is not None and not found.is_after_term and day >= until - BEGUN_LATE:
        reason = f"the term ends on {until}, and the period on {day}"
        reason = f"{reason}: renew it first, and transfer it with the period after that"
        raise NotPossible([Finding(ACTION.removeprefix("$."), reason)])


def _plan(context: WorkflowContext, found: RunningContract, known: Customer, day: date) -> Plan:
    """Return what a deal with the lines of a contract would be for a customer. Raises `NotPossible`."""
    contract, account = found.contract, onboarding.account_of(context, known)
    deal = Deal(
        id=contract.id,
        name=found.order.name,
        revision=found.order.revision,
        account=account,
        currency=contract.currency,
        legal_entity=contract.legal_entity,
        starts_on=day,
        term_months=0,
        lines=tuple(map(deal_line, contract.lines)),
        won=True,
        evergreen=True,  # its term goes on as it is
        custom=contract.custom,
        invoicing=_invoicing(contract),
    )
    seller = context.platforms.legal_entity(contract.legal_entity)
    products = known_products(context, contract, contract.lines)
    by_use = {each.sku: each.meter for each in contract.lines if each.meter}
    if findings := validation.findings(deal, seller, products, (), (day, day), by_use):
        raise NotPossible([_at_the_customer(each) for each in findings])
    ids = found.order.id, known.id, contract.id, known.parent_id
    made = validation.plan(deal, known.crm, seller, products, *ids, by_use)
    customer = msgspec.structs.replace(made.customer, references=known.references | made.customer.references)
    return msgspec.structs.replace(
        made, customer=customer, contract=_held_by(contract, made.contract, customer, context)
    )


def _at_the_customer(finding: Finding) -> Finding:
    """Return a finding about the buyer, or about what it would get, at the only place that the caller knows."""
    return msgspec.structs.replace(
        finding, field="actions[0].customer", reason=f"{finding.field.removeprefix('deal.')}: {finding.reason}"
    )


def _invoicing(contract: Contract) -> InvoiceTerms:
    """Return what of the terms of invoices goes with a contract: the days until they are due. The number of an order
    and the recipient are the former customer's."""
    return InvoiceTerms(days_until_due=contract.invoicing.days_until_due)


def _held_by(contract: Contract, taxed: Contract, customer: Customer, context: WorkflowContext) -> Contract:
    """Return a contract as another customer has it, with the lines and taxes of `taxed`, and with billing's id of the
    customer where billing and the ERP know it."""
    catalogue = context.live_catalogue.current
    at = [
        customer.references.get(catalogue.instance_for(each, contract.legal_entity) or "")
        for each in onboarding.DOMAINS
    ]
    billing = at[0] if all(at) else None
    return msgspec.structs.replace(
        contract,
        customer_id=customer.id,
        lines=taxed.lines,
        tax=taxed.tax,
        tax_percent=taxed.tax_percent,
        taxed_by_billing=taxed.taxed_by_billing,
        invoicing=_invoicing(contract),
        references={"customer": billing} if billing else {},
    )


def terms(found: RunningContract, of: Successor) -> TransferTerms:
    """Return what a transfer agrees."""
    taxed = of.plan.contract
    day = of.transfers_at.astimezone(found.zone).date()
    former = found.contract.customer_id
    return TransferTerms(taxed.customer_id, former, day, taxed.tax, taxed.tax_percent, taxed.taxed_by_billing)


def agreed_plan(
    context: WorkflowContext, found: RunningContract, said: AmendmentPreview, agreed: TransferTerms
) -> Plan:
    """Return the plan of an order for the customer that its contract goes to, as that was last seen, with the lines and
    the tax that were agreed."""
    customer = customers.last_seen(context.database, agreed.customer_id)
    if customer is None:
        raise LookupError(f"{agreed.customer_id} was a customer when the transfer was checked")
    customer = msgspec.structs.replace(customer, tax_treatment=agreed.tax)
    taxed = msgspec.structs.replace(
        found.contract,
        lines=said.after,
        tax=agreed.tax,
        tax_percent=agreed.tax_percent,
        taxed_by_billing=agreed.taxed_by_billing,
    )
    return Plan(customer, _held_by(found.contract, taxed, customer, context), customer.references[customer.crm])


def sold_term_of(order: Order, plan: Plan) -> Plan:
    """Return a plan with the term that an order was sold with: what renewals and ends have made of it, their own
    versions say."""
    if order.plan is None:
        raise LookupError(f"the order {order.id} was not accepted yet")
    sold = order.plan.contract
    contract = msgspec.structs.replace(
        plan.contract, term_months=sold.term_months, ends_on=sold.ends_on, renewed_until=sold.renewed_until
    )
    return msgspec.structs.replace(plan, contract=contract)


def onboarded(context: WorkflowContext, plan: Plan) -> Plan:
    """Return a plan with its customer as the CRM has it now, on both platforms. Raises `NotPossible` where a person has
    to say which record it is, and the faults of the platforms."""
    account = onboarding.account_of(context, plan.customer)
    customer = onboarding.refreshed(context, plan.customer, account)
    try:
        return onboarding.onboard(context, msgspec.structs.replace(plan, customer=customer, account_id=account.id))
    except Held as held:
        raise NotPossible(held.findings) from held


def taken_back(context: WorkflowContext, found: RunningContract, wanted: AmendmentRequest) -> Handover | None:
    """Return the transfer that a request takes back before it counts, as billing has it; None for any other request.
    Whether it is still in time, billing says when it is carried out."""
    action, handover = reversal_in(wanted), found.handover
    if action is None or handover is None or handover.id != action.amendment or handover.preview.transfer is None:
        return None
    plan = agreed_plan(context, found, handover.preview, handover.preview.transfer)
    return Handover(plan.contract, handover.id)
