"""Versions of Stripe's API and webhook endpoints, as Stripe's own Python client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
import stripe

from tests.support.stripe_account import API_KEY, InProcess, StripeAccount
from tests.support.webhook_receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as made:
        yield made


def invoice(api: stripe.StripeClient) -> str:
    buyer = api.v1.customers.create({"payment_method": "pm_card_visa"}).id
    product = api.v1.products.create({"name": "Seat"}).id
    price = api.v1.prices.create(
        {"product": product, "currency": "eur", "unit_amount": 1_000, "recurring": {"interval": "month"}}
    )
    params: Any = {"customer": buyer, "items": [{"price": price.id}], "metadata": {"key": "value"}}
    return str(api.v1.subscriptions.create(params).latest_invoice)


def older(account: StripeAccount, version: str) -> stripe.StripeClient:
    return stripe.StripeClient(API_KEY, stripe_version=version, http_client=InProcess(account.app))


def test_the_answer_names_the_version_that_was_asked_for(api: stripe.StripeClient, account: StripeAccount) -> None:
    for client, version in ((api, stripe.api_version), (older(account, "2024-06-20"), "2024-06-20")):
        answer = client.v1.customers.list().last_response
        assert answer is not None
        assert answer.headers["stripe-version"] == version


@pytest.mark.parametrize("version", ["2024-06-21", "2026-10-28", "2026-10-28.acacia", "latest"])
def test_a_version_that_does_not_exist_is_refused(account: StripeAccount, version: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=f"Invalid Stripe API version: {version}") as refused:
        older(account, version).v1.customers.list()

    assert refused.value.http_status == 400


def test_an_older_version_shows_an_invoice_without_its_parent(api: stripe.StripeClient, account: StripeAccount) -> None:
    made = invoice(api)

    now = api.v1.invoices.retrieve(made).to_dict()
    before = older(account, "2025-02-24.acacia").v1.invoices.retrieve(made).to_dict()

    assert now["parent"]["subscription_details"]["metadata"] == {"key": "value"}
    assert "parent" not in before
    assert before["subscription_details"]["metadata"] == {"key": "value"}


def test_an_endpoint_is_created_read_changed_listed_and_deleted(api: stripe.StripeClient) -> None:
    made = api.v1.webhook_endpoints.create(
        {"url": "https://example.com/hook", "enabled_events": ["invoice.paid"], "api_version": "2024-06-20"}
    )
    read = api.v1.webhook_endpoints.retrieve(made.id)
    changed = api.v1.webhook_endpoints.update(made.id, {"enabled_events": ["*"], "disabled": True})

    assert made.secret
    assert (read.api_version, read.enabled_events, read.status) == ("2024-06-20", ["invoice.paid"], "enabled")
    assert "secret" not in read.to_dict()
    assert (changed.enabled_events, changed.status) == (["*"], "disabled")
    assert [each.id for each in api.v1.webhook_endpoints.list().data] == [made.id]
    assert api.v1.webhook_endpoints.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such webhookendpoint"):
        api.v1.webhook_endpoints.retrieve(made.id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_version": "2024-06-21"},
        {"url": "example.com"},
        {"enabled_events": ["*", "invoice.paid"]},
        {"url": ""},
    ],
)
def test_an_endpoint_with_a_wrong_version_address_or_list_of_events_is_refused(
    api: stripe.StripeClient, wrong: Any
) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.webhook_endpoints.create({"url": "https://example.com", "enabled_events": ["invoice.paid"]} | wrong)

    assert api.v1.webhook_endpoints.list().data == []


def test_the_version_of_an_endpoint_stays_as_it_was_created(api: stripe.StripeClient) -> None:
    made = api.v1.webhook_endpoints.create({"url": "https://example.com", "enabled_events": ["*"]})

    with pytest.raises(stripe.InvalidRequestError, match="api_version"):
        api.v1.webhook_endpoints.update(made.id, {"api_version": "2024-06-20"})  # pyright: ignore[reportArgumentType] - that is what is tried


@pytest.mark.parametrize(("version", "parent"), [(None, True), ("2025-02-24.acacia", False)])
def test_an_event_comes_in_the_version_of_its_endpoint(
    api: stripe.StripeClient, account: StripeAccount, receiver: Receiver, version: Any, *, parent: bool
) -> None:
    endpoint: Any = {"url": receiver.url, "enabled_events": ["invoice.paid"]}
    secret = str(api.v1.webhook_endpoints.create(endpoint | ({"api_version": version} if version else {})).secret)
    customer = api.v1.customers.create()
    draft = api.v1.invoices.create({"customer": customer.id})
    api.v1.invoices.finalize_invoice(draft.id)

    asyncio.run(account.account.deliver())

    (body, signature) = receiver.got[0]
    event = stripe.Webhook.construct_event(body, signature, secret)
    assert event.api_version == (version or stripe.api_version)
    assert ("parent" in msgspec.json.decode(body)["data"]["object"]) is parent
    assert len(receiver.got) == 1
