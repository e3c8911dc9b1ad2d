"""What a case is about in money: the worth of the record that cannot go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from canonical.cases import CaseKind
from canonical.money import Money
from process_apis.records.database import (
    amendments,
    corrections,
    disputes,
    dunnings,
    orders,
    postings,
    renewals,
    usage_corrections,
)

OF: sa.BindParameter[str] = sa.bindparam("of")
SORT: sa.BindParameter[str] = sa.bindparam("sort")


def _worth(currency: sa.Column[Any], amount: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.Select[Any, Any]:
    return sa.select(currency, amount).where(*where, currency.is_not(None), amount.is_not(None))


BY_PREFIX: Mapping[str, sa.Select[Any, Any]] = {
    "ord": _worth(orders.c.currency, orders.c.amount, orders.c.id == OF),
    "amd": _worth(orders.c.currency, orders.c.amount, orders.c.id == amendments.c.order_id, amendments.c.id == OF),
    "rnw": _worth(renewals.c.currency, renewals.c.mrr_before, renewals.c.id == OF),
    "dun": _worth(dunnings.c.currency, dunnings.c.owed, dunnings.c.id == OF),
    "cor": _worth(corrections.c.currency, corrections.c.amount, corrections.c.id == OF),
    "ucr": _worth(usage_corrections.c.currency, usage_corrections.c.amount, usage_corrections.c.id == OF),
}
"""What a record is worth, by how its id begins: of an order and of a change the first invoice, net; of a renewal what
it brings in a month; of a debt what is owed; of a correction its amount. Minor units."""
POSTING = _worth(postings.c.currency, postings.c.amount, postings.c.kind == SORT, postings.c.id == OF)
DISPUTED = _worth(disputes.c.currency, disputes.c.amount, disputes.c.invoice_id == OF).order_by(disputes.c.seq.desc())


def money_at_risk(connection: sa.Connection, kind: CaseKind, subject: str) -> Money | None:
    """Return what the subject of a case is worth, None where it is worth nothing or nobody knows yet."""
    sort, separator, record = subject.rpartition(":")
    query = DISPUTED if kind == "payment_disputed" else POSTING if separator else BY_PREFIX.get(subject[:3])
    if query is None:
        return None
    row = connection.execute(query.limit(1), {"of": record, "sort": sort}).first()
    if row is None:
        return None
    currency, amount = row
    return Money(int(amount), currency) if amount else None
