"""Records say which instance of a platform they came from: until now each domain had one, whose name the catalogue
has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import context, op

from process_apis.records.revisions import RevisionError

revision = "0003"
down_revision = "0002"
INSTANCE = sa.String(40)
DEALS = ("deal_id", "revision")
UNIQUE = {"uq": "uq_%(table_name)s_%(column_0_name)s"}
"""What SQLite's constraints, which have no name, are called while a table is made again."""


def upgrade() -> None:
    names: Mapping[str, str] = context.config.attributes.get("instances", {})
    with op.batch_alter_table("references_") as batch:
        batch.alter_column("platform", type_=INSTANCE, existing_type=sa.String(20), existing_nullable=False)
    op.add_column("orders", sa.Column("crm", INSTANCE, nullable=False, server_default=""))
    op.add_column("postings", sa.Column("billing", INSTANCE, nullable=False, server_default=""))
    if _has_rows():
        _name(names)
    unnamed = "uq_orders_deal_id" if op.get_bind().dialect.name == "sqlite" else "orders_deal_id_revision_key"
    with op.batch_alter_table("orders", naming_convention=UNIQUE) as batch:
        batch.drop_constraint(unnamed, type_="unique")
        batch.create_unique_constraint("orders_crm_deal_id_revision_key", ["crm", *DEALS])


def _has_rows() -> bool:
    tables = [sa.table(name) for name in ("orders", "postings", "references_", "customers")]
    return any(op.get_bind().scalar(sa.select(sa.exists().select_from(each))) for each in tables)


def _name(names: Mapping[str, str]) -> None:
    """Give all that is there to the only instance of its domain."""
    if missing := sorted({"crm", "billing", "erp"} - names.keys()):
        raise RevisionError(
            "the records are from the time when each domain had one platform, and the catalogue has "
            "none or several for"
            f" {', '.join(missing)}: upgrade with a catalogue that has the one they came from, and "
            "add the others afterwards"
        )
    connection = op.get_bind()
    connection.execute(
        sa.text("UPDATE references_ SET platform = :name WHERE platform = 'crm'"), {"name": names["crm"]}
    )
    connection.execute(sa.text("UPDATE orders SET crm = :name"), {"name": names["crm"]})
    connection.execute(sa.text("UPDATE postings SET billing = :name"), {"name": names["billing"]})
    customers = sa.table("customers", sa.column("seq"), sa.column("document"))
    orders = sa.table("orders", sa.column("seq"), sa.column("plan"))
    for row in connection.execute(sa.select(customers)).all():
        document = _customer(msgspec.json.decode(row.document), names)
        changed = customers.update().where(customers.c.seq == row.seq).values(document=msgspec.json.encode(document))
        connection.execute(changed)
    for row in connection.execute(sa.select(orders).where(orders.c.plan.is_not(None))).all():
        plan = msgspec.json.decode(row.plan)
        plan["customer"] = _customer(plan["customer"], names)
        connection.execute(orders.update().where(orders.c.seq == row.seq).values(plan=msgspec.json.encode(plan)))


def _customer(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    known = {names.get(domain, domain): given for domain, given in document.get("references", {}).items()}
    return document | {"references": known, "crm": names["crm"]}
