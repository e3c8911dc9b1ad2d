"""Who a person is: an e-mail address, and the names that records have beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from canonical.parties import folded
from process_apis.erasure.tables import TABLES, batches, personal_columns, rows_of
from process_apis.records import erased
from process_apis.records.database import customer_merges, customers, disputes, orders, postings

PEOPLE: Mapping[str, tuple[str, ...]] = {
    "orders.plan": ("customer.contact", "contract.invoicing.bill_to"),
    "customers.document": ("contact",),
}
"""Where a document has somebody with a name and an e-mail address."""
ADDRESSES = re.compile(r"[^\s@<>()\[\]\",;:'=]+@[\w.-]*\w")
"""What looks like an e-mail address in a text."""


class Person(msgspec.Struct, frozen=True):
    """Somebody whom records name: by an e-mail `address`, as `erased.identity` returns it, or, where there is none, by
    name as the contact of the customer `at`.

    `names` stand beside the address. `ids` are of what belongs to the person's customers, `companies` the names of
    those. `similar` are addresses that may be the same person's: who asks for the erasure has to say so.
    """

    address: str
    at: str = ""
    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()
    similar: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        """Return what the digest of the person is made of."""
        return self.address or "\n".join((self.at, *sorted(map(folded, self.names))))


def person_at(database: sa.Engine, mail: str) -> Person:
    """Return the person with an e-mail address, with the names that records have for it."""
    return _person(database, Person(erased.identity(mail)))


def people_of(database: sa.Engine, customer_id: str) -> list[Person]:
    """Return the contact of a customer and who gets its invoices, now and in all its orders, but who was erased."""
    mails: dict[str, None] = {}
    nameless: dict[str, str] = {}
    with database.connect() as connection:
        for source, column, owner in (
            (orders, orders.c.plan, orders.c.customer_id),
            (customers, customers.c.document, customers.c.id),
        ):
            for raw in connection.scalars(sa.select(column).where(owner == customer_id, column.is_not(None))):
                for each in people_in(f"{source.name}.{column.name}", msgspec.json.decode(raw)):
                    if each.get("email") and not erased.is_placeholder(each["email"]):
                        mails[erased.identity(each["email"])] = None
                    elif not each.get("email") and each.get("name") and not erased.is_placeholder(each["name"]):
                        nameless.setdefault(folded(each["name"]), each["name"])
    found = [person_at(database, each) for each in mails]
    known = {folded(name) for each in found for name in each.names}
    others = [Person("", customer_id, frozenset({name})) for key, name in nameless.items() if key not in known]
    return found + [_person(database, each) for each in others]


def everyone(database: sa.Engine) -> Iterator[Person]:
    """Yield all whom records name: each address that is in them, and each contact without one. Several times, where
    several records do."""
    with database.connect() as connection:
        for table in TABLES:
            for row in rows_of(connection, table):
                for column, kind in personal_columns(table):
                    value = getattr(row, column)
                    text = value.decode() if isinstance(value, bytes) else value or ""
                    if kind == "document" and value:
                        content = msgspec.json.decode(value)
                        text = "\n".join(_texts(content))
                        at = row.id if table is customers else getattr(row, "customer_id", "")
                        for each in people_in(f"{table.name}.{column}", content):
                            if each.get("email"):
                                yield Person(erased.identity(each["email"]))
                            elif each.get("name"):
                                yield Person("", at, frozenset({each["name"]}))
                    for found in ADDRESSES.findall(text):
                        yield Person(erased.identity(found))


def _person(database: sa.Engine, wanted: Person) -> Person:
    """Return a person with names, ids and companies, as all customers and orders have them."""
    names, ids, companies, similar = set(wanted.names), set[str](), set[str](), set[str]()
    own = {wanted.at} - {""}
    with database.connect() as connection:
        for row in rows_of(connection, customers):
            content = msgspec.json.decode(row.document)
            if _collect(wanted, row.id, people_in("customers.document", content), names, similar):
                own.add(row.id)
        for row in rows_of(connection, orders):
            if row.plan is None:
                continue
            plan = msgspec.json.decode(row.plan)
            if _collect(wanted, row.customer_id, people_in("orders.plan", plan), names, similar):
                own.add(row.customer_id)
                ids |= {row.id, row.deal_id, plan["account_id"], plan["contract"]["id"]}
                companies.add(plan["customer"]["name"])
        for batch in batches(sorted(own)):
            for row in connection.execute(sa.select(customers).where(customers.c.id.in_(batch))):
                content = msgspec.json.decode(row.document)
                companies.add(content["name"])
                ids |= {content.get("references", {}).get(content.get("crm", ""), "")}
            for order in connection.execute(
                sa.select(orders.c.id, orders.c.deal_id).where(orders.c.customer_id.in_(batch))
            ):
                ids |= set(order)
            ids |= set(connection.scalars(sa.select(postings.c.id).where(postings.c.customer_id.in_(batch))))
            ids |= set(connection.scalars(sa.select(disputes.c.id).where(disputes.c.customer_id.in_(batch))))
            either = (customer_merges.c.customer_id, customer_merges.c.other_customer_id)
            for side in either:
                ids |= set(connection.scalars(sa.select(customer_merges.c.id).where(side.in_(batch))))
    return msgspec.structs.replace(
        wanted,
        names=frozenset(each for each in names if not erased.is_placeholder(each)),
        ids=frozenset((ids | own) - {""}),
        companies=frozenset(companies),
        similar=tuple(sorted(similar)),
    )


def _collect(
    wanted: Person, customer_id: str, people: Iterable[Mapping[str, Any]], names: set[str], similar: set[str]
) -> bool:
    """Note down the names that people have who are the person, and addresses like its own. Return whether one is."""
    is_one = False
    for each in people:
        mail, name = each.get("email", ""), each.get("name", "")
        if mail and wanted.address:
            if erased.identity(mail) == wanted.address:
                is_one = True
                names.add(name)
            elif _loosely(mail) == _loosely(wanted.address):
                similar.add(mail)
        elif not mail and customer_id == wanted.at and folded(name) in map(folded, wanted.names):
            is_one = True
    return is_one


def _loosely(mail: str) -> str:
    """Return an address without what hosts mostly take for the same mailbox: case, and what follows a plus."""
    local, _, host = erased.identity(mail).casefold().rpartition("@")
    return f"{local.partition('+')[0]}@{host}"


def people_in(column: str, content: Any) -> Iterator[dict[str, Any]]:
    """Yield whom a document names."""
    for path in PEOPLE.get(column, ()):
        found: dict[str, Any] | None = content
        for name in path.split("."):
            found = (found or {}).get(name)
        if found:
            yield found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in cast("dict[str, Any]", value).values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
