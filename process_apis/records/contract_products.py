"""Which products a contract has or had: how contracts are found by one, without reading all of them.

It is an index and no record. It says too much where a line ended or became another product, and never too little: what
a contract has now is read from what was sold and from its amendments.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from canonical.deals import PricedLine
from process_apis.records.database import contract_products, insert_once, orders

SEQ = sa.select(orders.c.seq).where(orders.c.id == sa.bindparam("of"))


def note(connection: sa.Connection, order_id: str, lines: Iterable[PricedLine]) -> None:
    """Note the products of lines that the contract of an order gets, in the transaction in which it gets them."""
    seq = connection.scalar(SEQ, {"of": order_id})
    for sku in sorted({each.sku for each in lines}):
        insert_once(connection, contract_products, {"sku": sku, "order_seq": seq})
