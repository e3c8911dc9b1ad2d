"""A partner is sent what it reads by its own API, and nothing of how we work inside."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.events import DEAL_CLOSED, Event
from canonical.partner_events import SHOWN, body, can_be_shown, event_type, partner_event, partner_type
from canonical.process_events import CASE_OPENED, ORDER_EVENTS, PROCESS_EVENTS, SOURCE
from experience_apis.partners.contract import (
    PartnerAmendment,
    PartnerContractTimeline,
    PartnerInvoice,
    PartnerOrder,
)
from policies.business.events import EVENTS
from policies.catalogue.live import LiveCatalogue
from process_apis.records.published import NAMED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEWS = {
    "order": PartnerOrder,
    "amendment": PartnerAmendment,
    "renewal": PartnerContractTimeline,
    "invoice": PartnerInvoice,
    "payment": PartnerInvoice,
    "credit_note": PartnerInvoice,
}
"""By record: where a partner reads what it is sent."""
TYPES = sorted(filter(can_be_shown, PROCESS_EVENTS))


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(sorted(NAMED.values())), st.text(min_size=1)))
def test_all_that_is_sent_is_in_what_the_partner_reads(kind: str, data: dict[str, str]) -> None:
    shown = partner_event(Event(id="evt_1", source=SOURCE, type=kind, subject="of_1", time=NOW, data=data))

    assert shown is not None
    record = shown.type.partition(".")[0]
    fields = {each.encode_name for each in msgspec.structs.fields(VIEWS[record])}
    own = {"order_id", "contract_id", "amendment_id", "invoice_id"}
    renamed = {f"{record}_id": "id", "invoice_id": "id"} | ({"contract_id": "id"} if record == "renewal" else {})
    assert {renamed.get(name, name) for name in shown.data} <= fields
    assert shown.data.keys() <= own | {"customer_id", "state"}
    assert set(shown.data.values()) <= {*data.values(), "of_1"}


def test_what_partners_do_not_know_is_never_sent() -> None:
    for kind in (DEAL_CLOSED, CASE_OPENED):
        assert partner_event(Event(id="1", source=SOURCE, type=kind, subject="x", time=NOW)) is None


def test_the_catalogue_sends_what_can_be_shown_and_no_more() -> None:
    sent = {name: each.partners for name, each in EVENTS.of(LiveCatalogue().current).items() if each.partners}

    assert set(sent) <= set(TYPES)
    assert {partner_type(name).partition(".")[0] for name in sent} == set(SHOWN)
    assert set(sent.values()) == {"orders:read", "postings:read"}


@pytest.mark.parametrize("kind", TYPES)
def test_a_partner_calls_a_type_by_a_name_that_leads_back(kind: str) -> None:
    assert event_type(partner_type(kind)) == kind


def test_the_bytes_are_the_same_each_time() -> None:
    data = {"state": "active", "customer": "cus_1", "deal": "006"}
    event = Event(id="evt_1", source=SOURCE, type=ORDER_EVENTS["active"], subject="ord_1", time=NOW, data=data)
    shown = partner_event(event)

    assert shown is not None
    assert body(shown) == (
        b'{"type":"order.activated.v1","timestamp":"2026-03-01T12:00:00Z",'
        b'"data":{"customer_id":"cus_1","order_id":"ord_1","state":"active"}}'
    )
