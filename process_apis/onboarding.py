"""Onboarding: a customer that exists once, everywhere, however many deals it closes at once.

A platform that was there before Tiergate has customers of its own. One of them that has the customer's tax number is
taken over; where its name or e-mail alone says so, or several are in question, a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from canonical.cases import Finding
from canonical.deals import Deal
from canonical.faults import NotFound, Rejected
from canonical.orders import Plan
from canonical.parties import Account, Customer, CustomerMatch, References, folded
from policies.catalogue.model import Domain
from policies.context import correlation
from process_apis import account_merges, validation
from process_apis.records import cross_references, customers, matches
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.holds import Held

DOMAINS: tuple[Domain, Domain] = ("billing", "erp")
FIELD_LENGTH = 120
"""Characters that a case keeps of its field."""
Find = Callable[[Customer], Sequence[CustomerMatch]]


def identify(context: WorkflowContext, crm: str, deal: Deal) -> tuple[str, str | None]:
    """Return our ids for the deal's account and its parent, if it has one."""
    return account_merges.customer_of(context, crm, deal.account), _parent(context, crm, deal.account)


def _parent(context: WorkflowContext, crm: str, account: Account) -> str | None:
    """Return our id for an account's parent. One that never bought may have taken over a customer that was merged into
    it."""
    for parent in account.ancestors[:1]:
        known = cross_references.canonical_id(context.database, "cus", crm, parent)
        if customers.last_seen(context.database, known) is not None:
            return known
        try:
            return account_merges.customer_of(context, crm, context.platforms.account(crm, parent), parent)
        except (NotFound, Rejected):  # nothing is sold to the parent here, and so it stops nothing
            return known
    return None


def duplicates(context: WorkflowContext, crm: str, deal: Deal) -> list[str]:
    """Customers of ours that are other accounts with the same tax number."""
    known = cross_references.known(context.database, "cus", crm, deal.account.potential_duplicates)
    return [each for each in known.values() if customers.last_seen(context.database, each) is not None]


def account_of(context: WorkflowContext, customer: Customer) -> Account:
    """Return the account of a customer as the CRM has it now: another one, where it was merged into that."""
    return context.platforms.account(customer.crm, customer.references[customer.crm])


def refreshed(context: WorkflowContext, customer: Customer, account: Account) -> Customer:
    """Return a customer with name, address, contact, parent and partner of its account. Its tax stays as it was
    decided: a change of what it depends on becomes a case for finance."""
    number = validation.compact(account.tax_number, account.address.country)
    for field, was, now in (
        ("customer.tax_number", customer.tax_number, number),
        ("customer.address.country", customer.address.country, account.address.country),
    ):
        if was != now:
            reason = f"it was {was or 'empty'} and is {now or 'empty'}: does the tax of running contracts change?"
            context.cases.open(
                "customer_tax_changed",
                customer.id,
                Finding(field, reason),
                ("skip",),
                correlation_id=correlation.current(),
                legal_entity=customer.legal_entity,
                customer_id=customer.id,
                given={"account": account.id},
            )
    return msgspec.structs.replace(
        customer,
        name=account.name,
        address=account.address,
        contact=account.contact,
        partner=account.partner,
        parent_id=_parent(context, customer.crm, account),
        revision=account.revision,
        references=customer.references | {customer.crm: account.id},
    )


def refreshed_plan(context: WorkflowContext, plan: Plan) -> Plan:
    """Return a plan with the customer as it is now: an order that waited for people was checked some time ago. One that
    was no customer yet is the one whose account its own was merged into meanwhile."""
    customer, account = plan.customer, account_of(context, plan.customer)
    if customers.last_seen(context.database, customer.id) is None:
        own = account_merges.customer_of(context, customer.crm, account, customer.references[customer.crm])
        customer = msgspec.structs.replace(customer, id=own)
    contract = msgspec.structs.replace(plan.contract, customer_id=customer.id)
    return msgspec.structs.replace(plan, customer=refreshed(context, customer, account), contract=contract)


def record_in_erp(context: WorkflowContext, customer: Customer, seller: str) -> str:
    """Return the ERP's id of the record that is a customer, or is to become it; empty for one that is new there.

    Raises `Held` when a person has to say which record it is.
    """
    erp = context.live_catalogue.current.instance_for("erp", seller)
    found = _matched(context, _as_known(context, customer), erp, context.platforms.match_erp_customer)
    return found.references.get(erp or "", "")


def onboard(context: WorkflowContext, plan: Plan) -> Plan:
    """Create or find the customer in billing and in the ERP. Returns the plan with its ids there.

    There is nothing to undo: a customer without a contract owes and costs nothing, and the next deal finds it.

    Raises `Held` before anything is made when a person has to say which record it is.
    """
    catalogue, seller = context.live_catalogue.current, plan.contract.legal_entity
    billing_instance, erp_instance = (catalogue.instance_for(domain, seller) for domain in DOMAINS)
    customer = _as_known(context, plan.customer)
    customer = _matched(context, customer, billing_instance, context.platforms.match_billing_customer)
    customer = _matched(context, customer, erp_instance, context.platforms.match_erp_customer)
    billing = context.platforms.put_billing_customer(customer)
    erp = context.platforms.put_erp_customer(customer)
    ids = {name: given for name, given in ((billing_instance, billing), (erp_instance, erp)) if name}
    customer = _with(customer, ids)
    contract = msgspec.structs.replace(plan.contract, references=plan.contract.references | {"customer": billing})
    customers.keep(context.database, customer)
    return msgspec.structs.replace(plan, customer=customer, contract=contract)


def _as_known(context: WorkflowContext, customer: Customer) -> Customer:
    """Return a customer with the ids of the platforms on which we know it."""
    known = customers.last_seen(context.database, customer.id)
    return _with(customer, known.references if known else {})


def _with(customer: Customer, references: References) -> Customer:
    return msgspec.structs.replace(customer, references=customer.references | references)


def _matched(context: WorkflowContext, customer: Customer, platform: str | None, find: Find) -> Customer:
    """Return a customer with the platform's id of the record that is to become it, if there is one.

    A customer that is on the platform already, as we know, is not looked for. Raises `Held`.
    """
    if not platform or platform in customer.references:
        return customer
    decided = matches.decided(context.database, customer.id, platform)
    found = find(_with(customer, {platform: decided}) if decided else customer)
    record = next((each.id for each in found if each.customer_id), "")
    if not record and decided != matches.NEW:
        record = _chosen(context, customer, platform, found, decided)
    return _with(customer, {platform: record}) if record else customer


def _chosen(
    context: WorkflowContext, customer: Customer, platform: str, found: Sequence[CustomerMatch], decided: str | None
) -> str:
    """Return the id of the record that a customer is, empty for none of those `found`. Raises `Held`."""
    database = context.database
    taken = matches.of_others(database, customer.id, platform, [each.id for each in found])
    free = [each for each in found if each.id not in taken]
    if decided:
        if decided in [each.id for each in free if each.active]:
            return decided
        matches.forget(database, customer.id, platform, decided)
    same = [each for each in free if each.same_tax_number]
    if len(same) == 1 and same[0].active and not customer.parent_id:  # a branch has its group's tax number
        matches.decide(database, customer.id, platform, same[0].id)
        if matches.decided(database, customer.id, platform) == same[0].id:
            return same[0].id
        return _chosen(context, customer, platform, found, None)  # another customer took it in this moment
    in_question = [each for each in free if _likeness(each, customer)]
    if in_question:
        raise _question(customer, platform, in_question)
    return ""


def _likeness(match: CustomerMatch, customer: Customer) -> str:
    """Return what a record has in common with a customer, empty for nothing that asks for an answer.

    An e-mail address may be that of many companies: with another tax number it says nothing.
    """
    mail = customer.contact.email if customer.contact else ""
    other_number = bool(match.tax_number and customer.tax_number and not match.same_tax_number)
    same_mail = bool(mail) and folded(match.email) == folded(mail)
    same_name = folded(match.name) == folded(customer.name)
    common = (
        (match.same_tax_number, "tax number"),
        (same_name, "name"),
        (same_mail and (same_name or not other_number), "e-mail"),
    )
    return " and ".join(name for holds, name in common if holds)


def _question(customer: Customer, platform: str, records: Sequence[CustomerMatch]) -> Held:
    """Return the hold until a person says which of a platform's records a customer is, with a case for each."""
    findings: list[Finding] = []
    given: dict[str, dict[str, str]] = {}
    none_of_them = "it is not" if len(records) == 1 else f"none of the {len(records)} in question is"
    for each in records:
        about = ", ".join(filter(None, (each.email, each.city, each.tax_number)))
        inactive = "" if each.active else " It is inactive: activate it there before."
        reason = (
            f"{platform} has {each.name} as {each.id} ({about}), with the same {_likeness(each, customer)}. Is it this"
            f" customer? Retry: it is, and it is taken over.{inactive} Skip: {none_of_them}, and a new one is made."
        )
        field = f"customer.references.{platform}={each.id}"[:FIELD_LENGTH]
        findings.append(Finding(field, reason))
        given[field] = {"platform": platform, "record": each.id, "customer": customer.id}
    return Held("duplicate_customer", findings, ("retry", "skip", "compensate"), given=given)
