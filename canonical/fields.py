"""The fields of the canonical model by name, as those speak of them who decide who owns what: `customer.name`."""

from __future__ import annotations

from functools import cache

import msgspec

from canonical.billing import Contract, Invoice, Payment
from canonical.deals import Deal, PricedLine
from canonical.orders import Order
from canonical.parties import Customer

ENTITIES: dict[str, type[msgspec.Struct]] = {
    "customer": Customer,
    "deal": Deal,
    "order": Order,
    "line": PricedLine,
    "contract": Contract,
    "invoice": Invoice,
    "payment": Payment,
}


@cache
def fields_of(entity: str) -> frozenset[str]:
    """The names of an entity's fields; none for what is no entity."""
    kind = ENTITIES.get(entity)
    return frozenset(kind.__struct_fields__) if kind else frozenset()


def is_known(field: str) -> bool:
    """Whether there is a field of this name, as in `customer.name`."""
    entity, _, name = field.partition(".")
    return name in fields_of(entity)
