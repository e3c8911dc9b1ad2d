"""Customers of the Stripe stand-in with their tax numbers, as Stripe's own Python client sees them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stripe

from tests.support.stripe_account import StripeAccount


@pytest.mark.parametrize(
    ("kind", "value", "country"),
    [
        ("eu_vat", "DE129273398", "DE"),
        ("eu_vat", "EL123456789", "GR"),
        ("eu_vat", "XI123456789", "GB"),
        ("gb_vat", "GB123456789", "GB"),
        ("ch_vat", "CHE-116.281.710 MWST", "CH"),
        ("no_vat", "123456789MVA", "NO"),
        ("us_ein", "12-3456789", "US"),
        ("au_abn", "12345678912", "AU"),
    ],
)
def test_a_tax_number_of_a_known_kind_is_kept_with_its_country(
    api: stripe.StripeClient, kind: str, value: str, country: str
) -> None:
    made = api.v1.customers.create({"tax_id_data": [{"type": kind, "value": value}], "expand": ["tax_ids"]})  # pyright: ignore[reportArgumentType] - one of many literals

    assert made.tax_ids
    (kept,) = made.tax_ids.data
    assert (kept.type, kept.value, kept.country) == (kind, value, country)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("eu_vat", "DE12927339"),
        ("eu_vat", "GR123456789"),
        ("eu_vat", "GB123456789"),
        ("eu_vat", "CHE-116.281.710 MWST"),
        ("ch_vat", "CHE116281710"),
        ("no_vat", "NO123456789MVA"),
        ("us_ein", "123456789"),
        ("gb_vat", "123456789"),
    ],
)
def test_a_tax_number_of_another_form_is_refused_and_no_customer_is_left(
    api: stripe.StripeClient, kind: str, value: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=f"Invalid value for {kind}") as refused:
        api.v1.customers.create({"tax_id_data": [{"type": kind, "value": value}]})  # pyright: ignore[reportArgumentType] - one of many literals

    assert refused.value.code == "tax_id_invalid"
    assert api.v1.customers.list().data == []


def test_an_unknown_kind_of_tax_number_is_refused(api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Invalid type: must be one of"):
        api.v1.customers.create({"tax_id_data": [{"type": "de_vat", "value": "DE129273398"}]})  # pyright: ignore[reportArgumentType] - that is what is tried


def test_tax_numbers_are_added_and_deleted_one_by_one(api: stripe.StripeClient) -> None:
    made, other = api.v1.customers.create().id, api.v1.customers.create().id
    number = api.v1.customers.tax_ids.create(made, {"type": "gb_vat", "value": "GB123456789"})

    assert api.v1.customers.tax_ids.retrieve(made, number.id).value == "GB123456789"
    with pytest.raises(stripe.InvalidRequestError, match="No such taxid"):
        api.v1.customers.tax_ids.retrieve(other, number.id)
    assert api.v1.customers.tax_ids.delete(made, number.id).deleted
    assert api.v1.customers.tax_ids.list(made).data == []


def subscribed(api: stripe.StripeClient) -> tuple[str, str]:
    """Return a customer that is billed every month, and its subscription."""
    buyer = api.v1.customers.create({"payment_method": "pm_card_visa", "metadata": {"key": "gone"}}).id
    product = api.v1.products.create({"name": "Seat"}).id
    price = api.v1.prices.create(
        {"product": product, "currency": "eur", "unit_amount": 100, "recurring": {"interval": "month"}}
    )
    return buyer, api.v1.subscriptions.create({"customer": buyer, "items": [{"price": price.id}]}).id


def test_a_deleted_customer_is_shown_as_deleted_and_as_nothing_else(api: stripe.StripeClient) -> None:
    buyer, subscription = subscribed(api)
    price = str(api.v1.subscriptions.retrieve(subscription)["items"].data[0].price.id)

    api.v1.customers.delete(buyer)

    assert api.v1.customers.retrieve(buyer).to_dict() == {"id": buyer, "object": "customer", "deleted": True}
    assert api.v1.customers.list().data == []
    assert api.v1.customers.search({"query": "metadata['key']:'gone'"}).data == []
    for write in (
        lambda: api.v1.customers.update(buyer, {"name": "Back"}),
        lambda: api.v1.customers.delete(buyer),
        lambda: api.v1.customers.tax_ids.create(buyer, {"type": "gb_vat", "value": "GB123456789"}),
        lambda: api.v1.payment_methods.attach("pm_card_visa", {"customer": buyer}),
        lambda: api.v1.subscriptions.create({"customer": buyer, "items": [{"price": price}]}),
    ):
        with pytest.raises(stripe.InvalidRequestError, match="No such customer") as refused:
            write()
        assert refused.value.code == "resource_missing"


def test_what_bills_a_customer_ends_when_it_is_deleted(api: stripe.StripeClient, account: StripeAccount) -> None:
    buyer, subscription = subscribed(api)

    api.v1.customers.delete(buyer)
    account.wait(40 * 24 * 3600)

    made = api.v1.subscriptions.retrieve(subscription, {"expand": ["customer"]})
    assert made.status == "canceled"
    assert isinstance(made.customer, stripe.Customer)
    assert made.customer.deleted
    assert len(api.v1.invoices.list({"customer": buyer}).data) == 1


def test_customers_are_listed_by_email_and_by_when_they_were_made(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    first = api.v1.customers.create({"email": "first@example.com"})
    account.wait(100)
    second = api.v1.customers.create({"email": "second@example.com"})
    between = first.created + 50

    assert [each.id for each in api.v1.customers.list({"email": "first@example.com"}).data] == [first.id]
    assert [each.id for each in api.v1.customers.list({"created": {"gte": between}}).data] == [second.id]
    assert [each.id for each in api.v1.customers.list({"created": {"gt": second.created}}).data] == []
    assert [each.id for each in api.v1.customers.list({"created": {"lte": first.created}}).data] == [first.id]
    assert [each.id for each in api.v1.customers.list({"created": {"lt": between}}).data] == [first.id]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: status"):
        api.v1.customers.list({"status": "active"})  # pyright: ignore[reportArgumentType] - that is what is tried


def test_a_search_sees_a_new_customer_only_after_a_while(tmp_path: Path) -> None:
    account = StripeAccount(tmp_path, search_lag=60)
    made = account.api.v1.customers.create({"metadata": {"key": "new"}})
    query = "metadata['key']:'new'"

    assert account.api.v1.customers.search({"query": query}).data == []
    account.wait(61)
    assert [each.id for each in account.api.v1.customers.search({"query": query}).data] == [made.id]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"k" * 41: "v"}, f"Invalid key: {'k' * 41} must be a string under 40 characters"),
        ({"k": "v" * 501}, f"Invalid val: {'v' * 501} must be a string under 500 characters"),
        ({f"k{each}": "v" for each in range(51)}, "Metadata can have up to 50 keys, but you've set 51."),
    ],
)
def test_metadata_has_fifty_keys_at_most_none_of_them_long(
    api: stripe.StripeClient, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=re.escape(message)):
        api.v1.customers.create({"metadata": metadata})
