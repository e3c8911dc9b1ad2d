"""Which record on which platform is which record of ours."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from canonical.ids import NewId, Prefix
from canonical.parties import Customer
from process_apis.records.database import customers, insert_once, references

CANONICAL = sa.select(references.c.canonical_id).where(
    references.c.kind == sa.bindparam("kind"),
    references.c.platform == sa.bindparam("platform"),
    references.c.foreign_id == sa.bindparam("foreign_id"),
)
DOCUMENT = sa.select(customers.c.document).where(customers.c.id == sa.bindparam("of"))
CHANGE = customers.update().where(customers.c.id == sa.bindparam("of"))


def canonical_id(engine: sa.Engine, kind: Prefix, platform: str, foreign_id: str, new_id: NewId) -> str:
    """Our id for a platform's record, given on first sight. Two at once get the same: the database decides."""
    wanted = {"kind": kind, "platform": platform, "foreign_id": foreign_id}
    with engine.connect() as connection:
        known = connection.scalar(CANONICAL, wanted)
    if known:
        return str(known)
    with engine.begin() as connection:
        insert_once(connection, references, wanted | {"canonical_id": new_id(kind)})
        return str(connection.execute(CANONICAL, wanted).scalar_one())


def known(engine: sa.Engine, kind: Prefix, platform: str, foreign_ids: tuple[str, ...]) -> dict[str, str]:
    """Our ids for those of a platform's records that we have seen."""
    if not foreign_ids:
        return {}
    query = sa.select(references.c.foreign_id, references.c.canonical_id).where(
        references.c.kind == kind, references.c.platform == platform, references.c.foreign_id.in_(foreign_ids)
    )
    with engine.connect() as connection:
        return {row.foreign_id: row.canonical_id for row in connection.execute(query)}


def keep_customer(engine: sa.Engine, customer: Customer) -> None:
    """Remember a customer as it was last seen, with its ids on every platform."""
    document = msgspec.json.encode(customer)
    with engine.begin() as connection:
        changed = connection.execute(CHANGE, {"of": customer.id, "document": document})
        if not changed.rowcount:
            connection.execute(customers.insert().values(id=customer.id, document=document))


def customer(engine: sa.Engine, customer_id: str) -> Customer | None:
    """A customer as it was last seen."""
    with engine.connect() as connection:
        document = connection.scalar(DOCUMENT, {"of": customer_id})
    return msgspec.json.decode(document, type=Customer) if document else None
