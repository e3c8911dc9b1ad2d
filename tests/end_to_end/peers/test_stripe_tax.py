"""Stripe Tax in the stand-in, as Stripe's own Python client sees it: what it asks for, and what it makes of a sale."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.support.stripe_account import StripeAccount

AUTOMATIC: Any = {"enabled": True}
NEW_YORK: Any = {"country": "US", "postal_code": "10001"}


def activate(api: stripe.StripeClient, office: str = "FR", *registrations: Any) -> None:
    """Switch Stripe Tax on for a head office, with a registration there and others."""
    api.v1.tax.settings.update(
        {"defaults": {"tax_code": "txcd_10103001"}, "head_office": {"address": {"country": office}}}
    )
    for country, options in [(office, {office.lower(): {"type": "standard"}}), *registrations]:
        given: Any = {"active_from": "now", "country": country, "country_options": options}
        api.v1.tax.registrations.create(given)


def price(api: stripe.StripeClient, behavior: str = "exclusive", **product: Any) -> str:
    given: Any = {"name": "Seat", **product}
    params: Any = {"product": api.v1.products.create(given).id, "currency": "eur", "unit_amount": 9_950}
    return api.v1.prices.create(params | {"recurring": {"interval": "month"}, "tax_behavior": behavior}).id


def buyer(api: stripe.StripeClient, country: str = "", number: str = "", **given: Any) -> str:
    params: Any = given | ({"address": {"country": country}} if country else {})
    made = api.v1.customers.create(params).id
    if number:
        api.v1.customers.tax_ids.create(made, {"type": "eu_vat", "value": number})
    return made


def sold(api: stripe.StripeClient, customer: str, *prices: str, **given: Any) -> stripe.Invoice:
    params: Any = {"customer": customer, "items": [{"price": each} for each in prices], "automatic_tax": AUTOMATIC}
    made = api.v1.subscriptions.create(params | {"expand": ["latest_invoice"]} | given)
    assert isinstance(made.latest_invoice, stripe.Invoice)
    return made.latest_invoice


def results(api: stripe.StripeClient, invoice: stripe.Invoice) -> list[tuple[int, str, float | None, str | None]]:
    """Return what each tax of an invoice came to, why, at which rate, and where."""
    found = [(each, each.tax_rate_details) for each in invoice.total_taxes or ()]
    rated = [(each, api.v1.tax_rates.retrieve(about.tax_rate)) for each, about in found if about]
    return [(each.amount, each.taxability_reason, rate.effective_percentage, rate.country) for each, rate in rated]


def test_an_account_is_pending_until_its_head_office_is_known(api: stripe.StripeClient) -> None:
    before = api.v1.tax.settings.retrieve()
    with pytest.raises(stripe.InvalidRequestError, match="has not been activated") as inactive:
        sold(api, buyer(api, "FR"), price(api))

    activate(api)

    assert before.status == "pending"
    assert before.status_details.pending is not None
    assert before.status_details.pending.missing_fields == ["head_office"]
    assert inactive.value.code == "stripe_tax_inactive"
    assert api.v1.tax.settings.retrieve().status == "active"
    assert [(each.country, each.status) for each in api.v1.tax.registrations.list().data] == [("FR", "active")]


@pytest.mark.parametrize(
    ("customer", "product", "expected"),
    [
        (("FR",), {}, [(1_990, "standard_rated", 20, "FR")]),
        (("FR", "FR40303265045"), {}, [(1_990, "standard_rated", 20, "FR")]),
        (("FR",), {"tax_code": "txcd_35010000"}, [(547, "reduced_rated", 5.5, "FR")]),
        (("FR",), {"tax_code": "txcd_00000000"}, [(0, "not_subject_to_tax", 0, "FR")]),
        (("DE", "DE129273398"), {}, [(0, "reverse_charge", 0, "DE")]),
        (("DE",), {}, [(0, "not_collecting", 0, "DE")]),
        (("KZ",), {}, [(0, "not_supported", 0, "KZ")]),
    ],
    ids=["at home", "to a business", "a book", "free of tax", "reverse charge", "not registered", "not known"],
)
def test_a_sale_is_taxed_by_place_number_and_product(
    api: stripe.StripeClient, customer: tuple[str, ...], product: Any, expected: list[Any]
) -> None:
    activate(api)

    invoice = sold(api, buyer(api, *customer), price(api, **product))

    assert results(api, invoice) == expected
    assert invoice.automatic_tax.status == "complete"
    assert invoice.total == 9_950 + sum(each[0] for each in expected)


@pytest.mark.parametrize(("exempt", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge")])
def test_what_is_said_of_the_customer_overrules_the_place(api: stripe.StripeClient, exempt: str, reason: str) -> None:
    activate(api)

    invoice = sold(api, buyer(api, "FR", tax_exempt=exempt), price(api))

    assert results(api, invoice) == [(0, reason, 0, "FR")]


def test_a_place_can_levy_two_taxes_and_a_union_scheme_covers_all_of_it(api: stripe.StripeClient) -> None:
    state: Any = {"us": {"state": "NY", "type": "state_sales_tax"}}
    activate(api, "FR", ("US", state), ("FR", {"fr": {"type": "oss_union"}}))

    american = sold(api, buyer(api, address=NEW_YORK), price(api))
    german = sold(api, buyer(api, "DE"), price(api))

    assert [each[:3] for each in results(api, american)] == [
        (398, "standard_rated", 4),
        (485, "standard_rated", 4.875),
    ]
    assert results(api, german) == [(1_891, "standard_rated", 19, "DE")]


def test_rates_of_ones_own_and_prices_that_do_not_say_whether_tax_is_in_them_are_refused(
    api: stripe.StripeClient,
) -> None:
    activate(api)
    who, seat = buyer(api, "FR"), price(api)
    rate = api.v1.tax_rates.create({"display_name": "TVA", "inclusive": False, "percentage": 20}).id

    with pytest.raises(stripe.InvalidRequestError, match="tax rates"):
        sold(api, who, seat, default_tax_rates=[rate])
    with pytest.raises(stripe.InvalidRequestError, match="tax rates"):
        sold(api, who, seat, items=[{"price": seat, "tax_rates": [rate]}])
    with pytest.raises(stripe.InvalidRequestError, match="no tax_behavior"):
        sold(api, who, price(api, "unspecified"))
    with pytest.raises(stripe.InvalidRequestError, match="connected account"):
        sold(api, who, seat, automatic_tax={"enabled": True, "liability": {"type": "account", "account": "acct_1"}})

    api.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    assert sold(api, who, price(api, "unspecified")).total == 11_940


def test_a_price_says_once_whether_tax_is_in_it(api: stripe.StripeClient) -> None:
    unsaid = price(api, "unspecified")

    assert api.v1.prices.update(unsaid, {"tax_behavior": "exclusive"}).tax_behavior == "exclusive"
    with pytest.raises(stripe.InvalidRequestError, match="cannot change the tax_behavior"):
        api.v1.prices.update(unsaid, {"tax_behavior": "inclusive"})


@pytest.mark.parametrize("address", [{}, {"country": "US", "state": "NY"}, {"country": "CA"}])
def test_a_customer_whose_place_is_not_known_is_not_sold_to(api: stripe.StripeClient, address: Any) -> None:
    activate(api)
    checked: Any = {"address": address, "tax": {"validate_location": "immediately"}}

    with pytest.raises(stripe.InvalidRequestError) as at_once:
        api.v1.customers.create(checked)
    with pytest.raises(stripe.InvalidRequestError) as sale:
        sold(api, buyer(api, address=address), price(api))

    assert (at_once.value.code, sale.value.code) == ("customer_tax_location_invalid",) * 2


def test_a_draft_of_a_customer_that_has_moved_to_nowhere_is_finalized_by_nobody_or_without_tax(
    account: StripeAccount, api: stripe.StripeClient
) -> None:
    activate(api)
    who = buyer(api, "FR")
    phase: Any = {"items": [{"price": price(api)}], "automatic_tax": AUTOMATIC}
    made = api.v1.subscription_schedules.create({"customer": who, "start_date": "now", "phases": [phase]})
    subscription = str(made.subscription)
    draft = str(api.v1.subscriptions.retrieve(subscription).latest_invoice)
    api.v1.customers.update(who, {"address": {"country": ""}})

    with pytest.raises(stripe.InvalidRequestError) as asked:
        api.v1.invoices.finalize_invoice(draft)
    account.wait(3_700)

    invoice = api.v1.invoices.retrieve(draft)
    assert asked.value.code == "customer_tax_location_invalid"
    assert (invoice.status, invoice.total, invoice.automatic_tax.enabled) == ("open", 9_950, False)
    assert invoice.automatic_tax.disabled_reason == "finalization_requires_location_inputs"
    off = api.v1.subscriptions.retrieve(subscription).automatic_tax
    assert (off.enabled, off.disabled_reason) == (False, "requires_location_inputs")


def test_tax_is_that_of_the_moment_of_finalization(api: stripe.StripeClient) -> None:
    activate(api)
    who = buyer(api, "FR")
    phase: Any = {"items": [{"price": price(api)}], "automatic_tax": AUTOMATIC}
    made = api.v1.subscription_schedules.create({"customer": who, "start_date": "now", "phases": [phase]})
    draft = str(api.v1.subscriptions.retrieve(str(made.subscription)).latest_invoice)
    drafted = api.v1.invoices.retrieve(draft).total
    api.v1.customers.update(who, {"tax_exempt": "exempt"})

    assert (drafted, api.v1.invoices.finalize_invoice(draft).total) == (11_940, 9_950)


def test_an_invoice_by_hand_is_taxed_item_by_item(api: stripe.StripeClient) -> None:
    activate(api)
    who = buyer(api, "FR")
    draft = str(api.v1.invoices.create({"customer": who, "automatic_tax": AUTOMATIC}).id)
    item: Any = {"customer": who, "invoice": draft, "amount": 1_000, "currency": "eur"}

    with pytest.raises(stripe.InvalidRequestError, match="no tax_behavior"):
        api.v1.invoice_items.create(item)
    api.v1.invoice_items.create(item | {"tax_behavior": "exclusive"})

    assert api.v1.invoices.finalize_invoice(draft).total == 1_200
