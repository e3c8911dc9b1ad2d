"""Erasing a person from the process layer's tables, with its list, its audit record, and where the person is besides.

The person goes onto the list before anything is erased, so that an erasure that was cut short is known; and a restore,
which puts the tables back, leaves the list as it is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Literal, cast

import msgspec
import sqlalchemy as sa

from canonical.ids import Clock
from policies.catalogue.model import Catalogue, Domain
from policies.outbound.ownership import OWNERSHIP
from policies.store.documents import FileDocument
from process_apis.erasure.erase import Holding, Record, erase, look
from process_apis.erasure.people import Person, everyone, people_of, person_at
from process_apis.erasure.replacement import Replacement
from process_apis.records.erased import ErasedPeople
from tiergate.composition import open_catalogue, process_tables
from tiergate.recorded import record
from tiergate.settings import Settings
from tiergate.shared import SharedState

OPERATION = "erase_person"
"""What the audit log calls it."""
ATTEMPTS = 3
"""How often what came while a person was erased is erased, too."""
FIELDS = {
    "orders.placed_by": ("deal.placed_by",),
    "orders.name": ("deal.name",),
    "orders.customer.contact": ("customer.contact",),
    "orders.customer.address.street": ("customer.address",),
    "orders.contract.invoicing.bill_to": ("contract.invoicing", "invoice.bill_to"),
    "orders.contract.invoicing.purchase_order": ("contract.invoicing", "invoice.purchase_order"),
    "orders.contract.custom": ("contract.custom", "invoice.custom"),
    "orders.contract.lines.name": ("line.name",),
    "customers.contact": ("customer.contact",),
    "customers.address.street": ("customer.address",),
}
"""The canonical fields, whose owners the catalogue names, of what our tables have."""


Has = Literal["owner", "source", "copy"]


class Place(msgspec.Struct, frozen=True, order=True):
    """A record of a platform that has the person in a field: as its owner, as what the owner has it from, or as a
    copy."""

    platform: str
    domain: str
    seen_to_by: str
    has: Has
    field: str
    record: str


class Erased(msgspec.Struct, frozen=True):
    """What was erased of a person, by table, and what is still there."""

    changed: dict[str, int]
    left: Holding


class People:
    """The people in the process layer's tables."""

    def __init__(
        self, settings: Settings, database: sa.Engine, catalogue: Catalogue, listed: ErasedPeople, clock: Clock
    ) -> None:
        self._settings = settings
        self._database = database
        self._catalogue = catalogue
        self._listed = listed
        self._clock = clock

    def wanted(self, mail: str | None, customer_id: str | None) -> list[Person]:
        """Return the person with an address, or those whom the records of a customer name."""
        if customer_id is not None:
            return people_of(self._database, customer_id)
        return [person_at(self._database, mail)] if mail else []

    def look(self, person: Person) -> Holding:
        """Return all that is stored of a person."""
        return look(self._database, person)

    def places(self, holding: Holding) -> list[Place]:
        """Return where a person is to be erased first: the owners of the fields and, after them, those with copies."""
        return sorted(set(_places(self._catalogue, holding)), key=lambda each: (each.has == "copy", each))

    def erase(self, holding: Holding, reason: str) -> Erased:
        """Erase a person who is found, and what came meanwhile. Raises as `erase` does."""
        person, changed = holding.person, dict[str, int]()
        self._listed.prepare()
        placeholder = self._listed.placeholder(person.who)
        why = Replacement(person, placeholder).text(reason)
        self._listed.ask(person.who, why, self._clock())
        for _ in range(ATTEMPTS):
            for name, count in erase(self._database, person, placeholder).items():
                changed[name] = changed.get(name, 0) + count
            holding = look(self._database, person)
            if not holding:
                self._complete(person.who, why)
                break
        return Erased(changed, holding)

    def is_incomplete(self, person: Person) -> bool:
        """Return whether an erasure was begun and not ended."""
        known = self._listed.of(person.who)
        return known is not None and known.completed_at is None

    def end(self, person: Person) -> None:
        """End an erasure that was cut short when all was erased already."""
        known = self._listed.of(person.who)
        self._complete(person.who, known.reason if known else "")

    def listed(self) -> Iterator[tuple[Person, str]]:
        """Yield whom records name though they were erased, as after a restore, each with the reason it was for."""
        self._listed.prepare()
        reasons = {each.digest: each.reason for each in self._listed.all()}
        seen: set[str] = set()
        for each in everyone(self._database) if reasons else ():
            if each.who in seen:
                continue
            seen.add(each.who)
            if (reason := reasons.get(self._listed.digest(each.who))) is not None:
                known = person_at(self._database, each.address) if each.address else None
                at_customer = [one for one in people_of(self._database, each.at) if one.who == each.who]
                for person in [known] if known else at_customer:
                    yield person, reason

    def _complete(self, who: str, reason: str) -> None:
        now = self._clock()
        record(self._settings, "process", OPERATION, f"person {self._listed.digest(who)}: {reason}", now)
        self._listed.complete(who, now)


@contextmanager
def people(settings: Settings) -> Generator[People]:
    """Yield the people in the process layer's tables. Raises as `process_tables` does."""
    with process_tables(settings) as database:
        shared = SharedState(settings)
        try:
            copy = FileDocument(settings.erased_people()) if settings.governance.database_url else None
            listed = ErasedPeople(shared.erased_people(), copy)
            yield People(settings, database, open_catalogue(settings).current, listed, shared.clock)
        finally:
            shared.close()


def _places(catalogue: Catalogue, holding: Holding) -> Iterator[Place]:
    for each in holding.records:
        for field in (name for path in each.fields for name in _canonical(f"{each.table}.{path}")):
            entity, _, name = field.partition(".")
            rule = OWNERSHIP.of(catalogue).get(entity, {}).get(name)
            has: dict[str, Has] = {"crm": "source"}  # what was sold comes from the deal
            if rule:
                has.update(dict.fromkeys(rule.projections, "copy"))
                has[rule.owner] = "owner"
            for domain, how in has.items():
                for platform, shown in _records_on(catalogue, domain, entity, each):
                    yield Place(platform, domain, catalogue.platforms[platform].owner, how, field, shown)


def _canonical(path: str) -> tuple[str, ...]:
    return FIELDS.get(path) or FIELDS.get(path.rpartition(".")[0], ())


def _records_on(catalogue: Catalogue, domain: str, entity: str, record: Record) -> Iterator[tuple[str, str]]:
    """Yield the platforms of a domain that are in the catalogue and have a record of ours, and what it is there."""
    plan = record.holds.get("plan", {})
    if entity == "customer":
        customer = record.holds.get("document") or plan.get("customer", {})
        for platform, given in customer.get("references", {}).items():
            if (known := catalogue.platforms.get(platform)) and known.domain == domain:
                yield platform, f"{'account' if domain == 'crm' else 'customer'} {given}"
    elif domain == "crm" and record.key.get("crm") in catalogue.platforms:
        yield record.key["crm"], f"deal {record.key['deal_id']}"
    elif domain in ("billing", "erp") and plan:
        contract = plan["contract"]
        platform = catalogue.instance_for(cast("Domain", domain), contract["legal_entity"])
        own = [given for name, given in contract.get("references", {}).items() if name != "customer"]
        if platform:
            yield platform, f"contract {' '.join([contract['id'], *own])}"
