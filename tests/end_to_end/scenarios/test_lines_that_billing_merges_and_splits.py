"""Lines that one subscription cannot hold: billed together or apart, each delivered and shown for itself."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def test_two_lines_at_one_price_are_billed_as_one_item_and_delivered_as_two(environment: Environment) -> None:
    lines = (SaleLine("SEAT", 2), SaleLine("SEAT", 3), SaleLine("SEAT", 4, 200.0))

    order = environment.paid_order(environment.sale("Merged", lines=lines))

    assert order.plan
    references = order.plan.contract.references
    subscription = environment.stripe.v1.subscriptions.retrieve(references["subscription"])
    billed = sorted((each.price.unit_amount or 0, each.quantity) for each in subscription["items"].data)
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", references["invoice"]))
    assert billed == [(20_000, 4), (24_000, 5)]
    assert (posted.untaxed_amount, posted.amount_to_pay) == (Decimal("2000.00"), 0)
    assert [(each.line.quantity, each.state) for each in order.lines] == [
        (2, "provisioned"),
        (3, "provisioned"),
        (4, "provisioned"),
    ]
    assert len(environment.jobs(order.id)) == 3


def test_more_prices_than_a_subscription_takes_become_two_whose_invoices_are_all_posted(
    environment: Environment,
) -> None:
    lines = tuple(SaleLine("SEAT", 1, 100.0 + place) for place in range(21))

    order = environment.paid_order(environment.sale("Split", lines=lines))

    assert order.plan
    contract = order.plan.contract.id

    def all_posted() -> bool:
        states = [each.state for each in environment.channels.postings(contract)]
        return states == ["posted"] * 4

    wait_until(all_posted, 30, "two invoices and two payments")
    references = order.plan.contract.references
    invoices = [references["invoice"], references["invoice.2"]]
    posted = [environment.in_erp("account.invoice", ("reference", "=", each))[0] for each in invoices]
    assert sum(each.untaxed_amount for each in posted) == Decimal("2310.00")
    assert [each.amount_to_pay for each in posted] == [0, 0]
    assert {each.state for each in order.lines} == {"provisioned"}


def test_parts_of_a_unit_and_discounts_are_the_same_to_the_cent_on_all_platforms(environment: Environment) -> None:
    lines = (SaleLine("SEAT", 3, 240.0, discount=15.5), SaleLine("CONSULTING", 2.5, 33.33))

    order = environment.paid_order(environment.sale("Parts", lines=lines))

    assert order.plan
    reference = order.plan.contract.references["invoice"]
    invoice = environment.stripe.v1.invoices.retrieve(reference)
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", reference))
    booked = [(each.quantity, each.unit_price, each.amount) for each in posted.lines]
    assert [each.amount for each in invoice.lines.data] == [608_40, 83_33]
    assert booked == [(3, Decimal("202.80"), Decimal("608.40")), (2.5, Decimal("33.332"), Decimal("83.33"))]
    assert "3 × 240.00 EUR less 15.5 %" in posted.lines[0].description
    assert "Consulting: 2.5 × 33.33 EUR" in (invoice.description or "")
    assert (posted.total_amount, posted.amount_to_pay) == (Decimal(invoice.total) / 100, 0)
    assert sorted(Decimal(each["quantity"]) for each in environment.jobs(order.id)) == [Decimal("2.5"), 3]


def test_a_contract_without_end_that_is_billed_each_quarter_is_the_same_on_all_platforms(
    environment: Environment,
) -> None:
    (support,) = environment.crm.query("SELECT Id FROM Product2 WHERE ProductCode = 'SUPPORT'")
    environment.crm.update("Product2", support["Id"], BillingInterval__c="quarter")
    try:
        sale = environment.sale("Evergreen", lines=(SaleLine("SUPPORT", 2, 300.0),))
        terms = {"evergreen": True, "purchase_order": "4500012345", "bill_to": "Rechnungswesen"}
        order = environment.paid_order(msgspec.structs.replace(sale, **terms))
    finally:
        environment.crm.update("Product2", support["Id"], BillingInterval__c="year")

    assert order.plan
    references = order.plan.contract.references
    subscription = environment.stripe.v1.subscriptions.retrieve(references["subscription"])
    (item,) = subscription["items"].data
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", references["invoice"]))
    (shown,) = environment.crm.query(
        f"SELECT Status, ContractTerm FROM Contract WHERE Opportunity__c = '{order.deal_id}'"
    )
    recurring = item.price.recurring
    assert recurring
    assert (item.price.unit_amount, item.quantity) == (300_00, 2)
    assert (recurring.interval, recurring.interval_count) == ("month", 3)
    assert (posted.untaxed_amount, posted.amount_to_pay) == (Decimal("600.00"), 0)
    assert (shown["Status"], shown["ContractTerm"]) == ("Activated", None)
    assert posted.description.startswith("PO 4500012345 ")
    assert (posted.invoice_address.party_name, posted.invoice_address.country.code) == ("Rechnungswesen", "AT")
    (line,) = order.lines
    assert (line.line.interval, line.line.unit_price.amount, line.line.billing_months) == ("year", 1200_00, 3)
