"""A customer as the owners of its fields have it, and as billing and the ERP hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
import sqlalchemy as sa

from canonical.faults import NotFound
from canonical.parties import Account, Contact, Customer, CustomerCopy
from policies.catalogue.model import Domain
from policies.outbound.ownership import OWNERSHIP, Ownership
from process_apis import customer_sync, onboarding, validation
from process_apis.drift.comparison import Compared, NotKnown, OnItsWay, Value, compared
from process_apis.records import customers
from process_apis.records.database import orders
from process_apis.runtime.context import WorkflowContext

HELD: Mapping[str, Callable[[CustomerCopy], Value]] = {
    "name": lambda copy: copy.name,
    "address": lambda copy: copy.address,
    "contact": lambda copy: copy.email,
    "tax_number": lambda copy: copy.tax_number,
}
"""What is compared of a customer: each field, as a platform holds it. Of the contact it is the e-mail address."""
DOMAINS: tuple[Domain, Domain] = ("billing", "erp")
ID = "id"
ONBOARDING = sa.select(orders.c.seq).where(orders.c.customer_id == sa.bindparam("of"), orders.c.state == "onboarding")


class _Copy(msgspec.Struct, frozen=True):
    """What one platform holds: `asked` is the customer as its owners have it, with the legal entity that it is of
    there; `held` is None where it is not there."""

    domain: Domain
    asked: Customer
    held: CustomerCopy | None


class CustomerLook:
    """What the owners say of a customer, and what each platform holds of it now."""

    def __init__(self, context: WorkflowContext, customer_id: str) -> None:
        """Ask the platforms. Raises `OnItsWay`, `NotKnown` for a customer that is not known, and leaves of
        `PlatformFault`."""
        self._context = context
        self._catalogue = context.live_catalogue.current
        self._rules = OWNERSHIP.of(self._catalogue).get("customer", {})
        self._copies: dict[str, _Copy] = {}
        self.customer_id = customer_id
        known = settled(context, customer_id)
        self._account = onboarding.account_of(context, known)
        if known.revision != self._account.revision:
            raise OnItsWay("the account was changed in the CRM, which is followed first")
        self._read(known)
        if settled(context, customer_id) != known:
            raise OnItsWay("the customer was changed in this moment")
        self.compared = tuple(self._compare())

    def write(self, wanted: Compared) -> None:
        """Write what its owner says of one field to the system that says something else. What it holds of the other
        fields stays. Raises leaves of `PlatformFault`."""
        copy, platforms = self._copies[wanted.system], self._context.platforms
        asked = copy.asked if copy.held is None else _with_held(copy.asked, copy.held, wanted.field)
        put = platforms.put_billing_customer if copy.domain == "billing" else platforms.put_erp_customer
        customers.refer(self._context.database, self.customer_id, wanted.system, put(asked))

    def _read(self, known: Customer) -> None:
        """Ask each platform that has the customer, the owner of the tax number first: the others keep it in forms of
        their own, and say by the number whether it is the same."""
        context, account = self._context, self._account
        owned = msgspec.structs.replace(known, name=account.name, address=account.address, contact=account.contact)
        sold = context.orders.sold_by(known.id)
        owner = self._rules["tax_number"].owner if "tax_number" in self._rules else ""
        for domain in sorted(DOMAINS, key=lambda each: each != owner):
            for each in customer_sync.copies(context, domain, owned, sold):
                instance = self._catalogue.instance_for(domain, each.legal_entity)
                if instance is None or instance not in known.references:
                    continue
                number = self._owned(each.legal_entity).get("tax_number", each.tax_number)
                asked = msgspec.structs.replace(each, tax_number=str(number) if number else None)
                self._copies[instance] = _Copy(domain, asked, self._held(domain, asked))

    def _held(self, domain: Domain, asked: Customer) -> CustomerCopy | None:
        platforms = self._context.platforms
        try:
            return platforms.billing_customer(asked) if domain == "billing" else platforms.erp_customer(asked)
        except NotFound:
            return None

    def _owned(self, legal_entity: str) -> dict[str, Value]:
        """Return what the owner of each field says for a legal entity. What its owner cannot say is left out."""
        said: dict[str, Value] = {}
        for field, read in HELD.items():
            rule = self._rules.get(field)
            copy = self._copies.get(self._instance_of(rule, legal_entity)) if rule else None
            if rule and rule.owner == "crm":
                said[field] = _in_crm(self._account)[field]
            elif copy and copy.held:
                said[field] = read(copy.held)
        return said

    def _instance_of(self, rule: Ownership, legal_entity: str) -> str:
        if rule.owner not in ("billing", "erp"):
            return ""
        return self._catalogue.instance_for(rule.owner, legal_entity) or ""

    def _compare(self) -> Iterator[Compared]:
        for instance, copy in self._copies.items():
            legal_entity = copy.asked.legal_entity
            says = {ID: self.customer_id, **self._owned(legal_entity)}
            holds: dict[str, Value] = {ID: self.customer_id if copy.held else ""}
            if copy.held:
                holds |= {field: read(copy.held) for field, read in HELD.items()}
            for field in holds.keys() & says.keys() & self._rules.keys():
                rule = self._rules[field]
                if copy.domain in rule.projections:
                    name = f"customer.{field}"
                    yield compared(name, rule.owner, says[field], instance, holds[field], legal_entity)


def settled(context: WorkflowContext, customer_id: str) -> Customer:
    """Return a customer as it was last seen, of which no change of ours is on its way. Raises `OnItsWay`, and
    `NotKnown` for one that is not known."""
    known = customers.last_seen(context.database, customer_id)
    if known is None:
        raise NotKnown(f"there is no customer {customer_id}")
    if customers.expected_change(context.database, customer_id) is not None:
        raise OnItsWay("a change of the customer is being followed")
    with context.database.connect() as connection:
        if connection.execute(ONBOARDING, {"of": customer_id}).first():
            raise OnItsWay("an order of the customer is being onboarded")
    return known


def _in_crm(account: Account) -> dict[str, Value]:
    """Return what the CRM says of each field."""
    return {
        "name": account.name,
        "address": account.address,
        "contact": account.contact.email if account.contact else "",
        "tax_number": validation.compact(account.tax_number, account.address.country),
    }


def _with_held(asked: Customer, held: CustomerCopy, field: str) -> Customer:
    """Return a customer as a platform holds it, but for one field, which is as its owner has it."""
    name = asked.contact.name if asked.contact else asked.name
    kept = {
        "name": held.name,
        "address": held.address,
        "contact": Contact(name, held.email) if held.email else None,
        "tax_number": held.tax_number or None,
    }
    del kept[field.partition(".")[2]]
    return msgspec.structs.replace(asked, **kept)
