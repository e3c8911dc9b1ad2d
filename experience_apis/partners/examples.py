"""One example of everything that partners send and get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canonical.amendments import Amendment, AmendmentPreview, ContractSummary, ContractTimeline, RemoveLine
from canonical.orders import NewOrder, Order, OrderSummary, PostingStatus
from canonical.parties import Customer
from experience_apis.partners import contract
from experience_apis.partners.contract import PartnerAmendmentRequest, PartnerOrderRequest


def examples(sample: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return an instance of each type of this channel's contract. `sample` returns one of a canonical type."""
    new: NewOrder = sample(NewOrder)
    running: ContractTimeline = sample(ContractTimeline)
    return (
        PartnerOrderRequest(new.customer_id, new.name, new.legal_entity, new.currency, new.starts_on, new.lines),
        contract.customer(sample(Customer)),
        contract.order(sample(Order)),
        contract.summary(sample(OrderSummary)),
        contract.invoice(sample(PostingStatus)),
        contract.credit_note(sample(PostingStatus)),
        contract.contract_summary(sample(ContractSummary)),
        contract.timeline(running),
        PartnerAmendmentRequest((RemoveLine(running.versions[0].lines[0].id),), reason="the team is smaller"),
        contract.preview(sample(AmendmentPreview)),
        contract.amendment(sample(Amendment)),
    )
