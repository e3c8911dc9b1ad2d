"""Which record of a platform a new customer is, as it was decided by its tax number or by a person.

A decision is made once, and a record is one customer's: of two that decide at once, the database takes one.
"""

from __future__ import annotations

import sqlalchemy as sa

from process_apis.records.database import insert_once, matches, writing

NEW = ""
"""The decision that a customer is none of the records that are there."""
_OF = sa.and_(matches.c.customer_id == sa.bindparam("of"), matches.c.platform == sa.bindparam("at"))
DECIDED = sa.select(matches.c.record).where(_OF)
FORGET = matches.delete().where(_OF, matches.c.record == sa.bindparam("gone"))


def decide(engine: sa.Engine, customer_id: str, platform: str, record: str) -> None:
    """Keep the decision, unless there is one already or the record is another customer's."""
    with writing(engine) as connection:
        insert_once(connection, matches, {"customer_id": customer_id, "platform": platform, "record": record or None})


def decided(engine: sa.Engine, customer_id: str, platform: str) -> str | None:
    """Return the platform's id of the record that a customer is, `NEW` for a new one, None where nothing is decided."""
    with engine.connect() as connection:
        row = connection.execute(DECIDED, {"of": customer_id, "at": platform}).one_or_none()
    return None if row is None else row.record or NEW


def forget(engine: sa.Engine, customer_id: str, platform: str, record: str) -> None:
    """Drop the decision for a record that cannot be taken over any more."""
    with writing(engine) as connection:
        connection.execute(FORGET, {"of": customer_id, "at": platform, "gone": record})


def of_others(engine: sa.Engine, customer_id: str, platform: str, records: list[str]) -> set[str]:
    """Return those of a platform's records that were decided to be other customers."""
    query = sa.select(matches.c.record).where(
        matches.c.platform == platform, matches.c.record.in_(records), matches.c.customer_id != customer_id
    )
    with engine.connect() as connection:
        return set(connection.scalars(query))
