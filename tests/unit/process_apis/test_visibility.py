"""What a partner sees of a record is the same by whatever channel it asks: nothing of how we work inside."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from canonical.money import Money
from canonical.orders import CustomerOverview, Order, Plan, PostingStatus
from canonical.parties import Address, Contact, Customer
from process_apis.records.visibility import customer_for, order_for, overview_for, posting_for
from tests.support.process_context import LINES, SOMEBODY, contract_of

PARTNER = msgspec.structs.replace(SOMEBODY, partner="reseller-nord")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRETS = (
    "pm_card",
    "kim@example.com",
    "stripe-eu",
    "cus_stripe",
    "salesperson",
    "001DEAL",
    "001ACCOUNT",
    "rev-1",
    "crm-eu",
)
CUSTOMER = Customer(
    "cus_1",
    "Buyer",
    Address(country="DE"),
    contact=Contact("Kim", "kim@example.com"),
    parent_id="cus_2",
    payment_method="pm_card",
    revision="rev-1",
    references={"stripe-eu": "cus_stripe"},
    crm="crm-eu",
)
CONTRACT = contract_of("con_1", "ord_1", "cus_1", LINES)
ORDER = Order(
    id="ord_1",
    deal_id="001DEAL",
    revision=1,
    name="Deal",
    state="active",
    blocked_reason="",
    correlation_id="cor_1",
    received_at=NOW,
    updated_at=NOW,
    customer_id="cus_1",
    plan=Plan(CUSTOMER, CONTRACT, "001ACCOUNT"),
    placed_by="salesperson",
    crm="crm-eu",
)
POSTING = PostingStatus(
    kind="invoice",
    id="pos_1",
    invoice_id="in_1",
    customer_id="cus_1",
    contract_id="con_1",
    legal_entity="DE01",
    state="waiting",
    blocked_reason="stripe-eu says",
    attempts=3,
    updated_at=NOW,
    amount=Money(100, "EUR"),
    billing="stripe-eu",
)
OVERVIEW = CustomerOverview(CUSTOMER, (), (POSTING,), 2)


def test_a_partner_sees_nothing_of_how_we_work_inside() -> None:
    shown = msgspec.json.encode(
        [
            customer_for(PARTNER, CUSTOMER),
            order_for(PARTNER, ORDER),
            posting_for(PARTNER, POSTING),
            overview_for(PARTNER, OVERVIEW),
        ]
    ).decode()

    assert [each for each in SECRETS if each in shown] == []
    assert '"name":"Buyer"' in shown


def test_others_see_all_of_it() -> None:
    assert customer_for(SOMEBODY, CUSTOMER) == CUSTOMER
    assert order_for(SOMEBODY, ORDER) == ORDER
    assert posting_for(SOMEBODY, POSTING) == POSTING
    assert overview_for(SOMEBODY, OVERVIEW) == OVERVIEW
