"""The names of the canonical model's fields (`customer.name`), by which the catalogue says which system owns what."""

from __future__ import annotations

from functools import cache

import msgspec

from canonical.amendments import ContractChange
from canonical.billing import Contract, Invoice, Payment
from canonical.corrections import CreditOrder, RefundOrder
from canonical.credits import CreditNote, PaymentReversal
from canonical.deals import Deal, PricedLine
from canonical.disputes import DisputeFee, Evidence
from canonical.orders import Order
from canonical.parties import Customer
from canonical.products import CatalogueProduct
from canonical.usage import UsageOfPeriod

ENTITIES: dict[str, type[msgspec.Struct]] = {
    "customer": Customer,
    "deal": Deal,
    "order": Order,
    "line": PricedLine,
    "contract": Contract,
    "change": ContractChange,
    "invoice": Invoice,
    "payment": Payment,
    "credit_note": CreditNote,
    "reversal": PaymentReversal,
    "credit_order": CreditOrder,
    "refund_order": RefundOrder,
    "fee": DisputeFee,
    "evidence": Evidence,
    "product": CatalogueProduct,
    "usage": UsageOfPeriod,
}


@cache
def fields_of(entity: str) -> frozenset[str]:
    """Return the names of an entity's fields; an empty set for an unknown entity."""
    kind = ENTITIES.get(entity)
    return frozenset(kind.__struct_fields__) if kind else frozenset()


def is_known(field: str) -> bool:
    """Return whether `field` (such as `customer.name`) is a field of the canonical model."""
    entity, _, name = field.partition(".")
    return name in fields_of(entity)
