"""Merges of customers: a record of each, for those too that were seen before."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from canonical.ids import derived

revision = "0024"
down_revision = "0023"
works_with_former = False
"""It only adds. But code before it makes no record of what it sees and decides."""

BATCH = 500
"""Records that are read or written at a time."""
LOOKS = timedelta(days=1)
"""Over how long the first looks at what was merged before are spread: the CRM is asked about each."""
NOTE = "seen before there were records of merges"


def upgrade() -> None:
    merges = op.create_table(
        "customer_merges",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("crm", sa.String(40), nullable=False),
        sa.Column("merged_account", sa.String(120), nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("customer_id", sa.String(120), nullable=False),
        sa.Column("other_customer_id", sa.String(120), nullable=False),
        sa.Column("legal_entity", sa.String(20), nullable=False),
        sa.Column("other_legal_entity", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("held_in", sa.String(20), nullable=False),
        sa.Column("account_in_question", sa.String(120), nullable=False),
        sa.Column("answer", sa.String(10), nullable=False),
        sa.Column("decided_at", sa.String(40)),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("correlation_id", sa.String(120), nullable=False),
        sa.Column("next_attempt_at", sa.String(40)),
        sa.Column("seen_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("crm", "merged_account", "times"),
    )
    for column in ("customer_id", "other_customer_id", "next_attempt_at"):
        op.create_index(f"ix_customer_merges_{column}", "customer_merges", [column])
    states = op.create_table(
        "customer_merge_states",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("merge_id", sa.String(120), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("decided_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_customer_merge_states_merge_id", "customer_merge_states", ["merge_id"])
    now = datetime.now(UTC)
    found = list(_merges(op.get_bind(), now.isoformat()))
    for place, merge in enumerate(found, 1):
        merge["next_attempt_at"] = (now + LOOKS * place / len(found)).isoformat()
    for start in range(0, len(found), BATCH):
        some = found[start : start + BATCH]
        reached = [{"merge_id": each["id"], "state": each["state"], "at": each["seen_at"]} for each in some]
        op.bulk_insert(merges, some)
        op.bulk_insert(
            states, [each | {"decided_by": "", "reason": "seen before there were records"} for each in reached]
        )


def _merges(connection: sa.Connection, now: str) -> Iterator[dict[str, Any]]:
    """Yield a record of each merge that the other tables show: a customer that has more than one account has taken
    accounts over, and one that shares its account has been merged into another.

    Which of a customer's accounts was merged last is not known: the last one by its id is taken.
    """
    accounts = _accounts(connection)
    for customer, shares_with, known in _customers(connection):
        crm = known.get("crm") or ""
        account = known.get("references", {}).get(crm, "")
        merged = sorted(accounts.get((crm, customer), set()) - {account})
        if shares_with and not merged:
            continue  # it led once: the record is that of the customer that it shares with
        other, state = shares_with, "taken_over"
        if shares_with:
            state = "asked" if _is_asked(connection, customer) else "kept"
        elif merged:
            other = _switched_from(connection, accounts, crm, customer)
            state = "switched" if other else state
        for place, each in enumerate(reversed(merged)):
            is_of_two = bool(other) and place == 0
            yield {
                "id": derived("mrg", crm, each, "1"),
                "crm": crm,
                "merged_account": each,
                "times": 1,
                "account": account,
                "customer_id": customer,
                "other_customer_id": other if is_of_two else "",
                "legal_entity": known.get("legal_entity") or "",
                "other_legal_entity": _seller_of(connection, other) if is_of_two else "",
                "state": state if is_of_two else "taken_over",
                "held_in": "",
                "account_in_question": "",
                "answer": "",
                "decided_at": None,
                "decided_by": "",
                "correlation_id": derived("cor", "mrg", crm, each),
                "seen_at": now,
                "updated_at": now,
            }


def _accounts(connection: sa.Connection) -> dict[tuple[str, str], set[str]]:
    """Return the accounts of each customer in each CRM."""
    query = sa.text("SELECT platform, canonical_id, foreign_id FROM references_ WHERE kind = 'cus'")
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in connection.execute(query):
        found[row.platform, row.canonical_id].add(row.foreign_id)
    return found


def _customers(connection: sa.Connection) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each customer's id, the one that it shares with, and what was last seen of it."""
    query = sa.text("SELECT seq, id, shares_with, document FROM customers WHERE seq > :after ORDER BY seq LIMIT :most")
    last = 0
    while found := connection.execute(query, {"after": last, "most": BATCH}).all():
        last = found[-1].seq
        yield from ((row.id, row.shares_with, json.loads(row.document)) for row in found)


def _is_asked(connection: sa.Connection, customer: str) -> bool:
    query = sa.text(
        "SELECT 1 FROM cases WHERE subject = :of AND kind = 'duplicate_customer' AND field = 'customer.account'"
        " AND state = 'open'"
    )
    return connection.scalar(query, {"of": customer}) is not None


def _switched_from(
    connection: sa.Connection, accounts: dict[tuple[str, str], set[str]], crm: str, customer: str
) -> str:
    """Return the customer that led before one that was let lead, and has no account of its own any more; empty for
    none."""
    query = sa.text("SELECT id FROM customers WHERE shares_with = :of ORDER BY seq")
    return next((each for each in connection.scalars(query, {"of": customer}) if not accounts.get((crm, each))), "")


def _seller_of(connection: sa.Connection, customer: str) -> str:
    document = connection.scalar(sa.text("SELECT document FROM customers WHERE id = :of"), {"of": customer})
    return str(json.loads(document).get("legal_entity") or "") if document else ""
