"""What the Stripe stand-in does about payments that fail, as Stripe's own Python client sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from litestar import Litestar
from litestar.testing import TestClient

from sandbox.stripe import control
from tests.end_to_end.peers.test_stripe_disputes import asked
from tests.end_to_end.peers.test_stripe_payments import DAY
from tests.support.stripe_account import StripeAccount
from tests.support.stripe_shop import AUGUST, SEPTEMBER, Shop

RENEWED = SEPTEMBER + timedelta(hours=2)
"""When the second invoice has been finalized and tried for the first time."""


class Debtor:
    """A subscriber whose card is refused from the second invoice on."""

    def __init__(self, account: StripeAccount, code: str = "insufficient_funds") -> None:
        self.account = account
        self.shop = Shop(account.api)
        self.api = account.api.v1
        self.subscription = self.shop.subscribe(self.shop.price(10_000)).id
        self.card = self.api.customers.payment_methods.list(self.shop.customer).data[0].id
        self.bank_says(code)
        self.shop.until(RENEWED)
        self.invoice = str(self.shop.invoices()[1].id)

    def bank_says(self, code: str | None) -> None:
        body: Any = {"code": code}
        assert asked(self.account, f"/billing/payment_methods/{self.card}", **body).status_code == 201

    def days_later(self, days: int) -> None:
        self.shop.until(RENEWED + timedelta(days=days))

    def read(self) -> stripe.Invoice:
        return self.api.invoices.retrieve(self.invoice)

    def status(self) -> tuple[str, str | None]:
        return self.api.subscriptions.retrieve(self.subscription).status, self.read().status

    def attempts(self) -> int:
        """Return how many charges of the invoice were declined."""
        charges = self.api.charges.list({"customer": self.shop.customer, "limit": 100}).data
        return sum(each.status == "failed" for each in charges)

    def events(self, kind: str) -> list[Any]:
        return [each["object"] for each in self.shop.events(kind)]


def configured(account: StripeAccount, *days: int, **after: str) -> None:
    body: Any = {"days": list(days)} | after
    assert asked(account, "/billing/retries", **body).status_code == 201


def test_a_payment_that_fails_is_tried_again_on_the_days_that_are_set(account: StripeAccount) -> None:
    configured(account, 3, 5)
    debtor = Debtor(account)
    first = debtor.read()
    debtor.days_later(3)
    second = debtor.read()
    debtor.days_later(9)
    third = debtor.read()

    days = [(each.attempt_count, each.next_payment_attempt is not None) for each in (first, second, third)]
    assert days == [(1, True), (2, True), (3, False)]
    assert round(((first.next_payment_attempt or 0) - RENEWED.timestamp()) / DAY) == 3
    assert round(((second.next_payment_attempt or 0) - (first.next_payment_attempt or 0)) / DAY) == 5
    assert debtor.attempts() == 3
    failed = debtor.events("invoice.payment_failed")
    assert [(each["attempt_count"], each["next_payment_attempt"] is None) for each in failed] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    assert debtor.status() == ("past_due", "open")


def test_an_account_that_has_set_nothing_retries_four_times_and_leaves_all_as_it_is(account: StripeAccount) -> None:
    debtor = Debtor(account)
    debtor.days_later(25)

    assert (debtor.attempts(), debtor.status()) == (5, ("past_due", "open"))


@pytest.mark.parametrize(
    ("subscription", "invoice", "event"),
    [
        ("canceled", "open", "customer.subscription.deleted"),
        ("canceled", "uncollectible", "invoice.marked_uncollectible"),
        ("unpaid", "open", "customer.subscription.updated"),
        ("unpaid", "uncollectible", "customer.subscription.updated"),
        ("past_due", "uncollectible", "invoice.marked_uncollectible"),
    ],
)
def test_what_follows_after_the_last_retry_is_what_is_set(
    account: StripeAccount, subscription: str, invoice: str, event: str
) -> None:
    configured(account, 1, subscription=subscription, invoice=invoice)
    debtor = Debtor(account)
    before = debtor.status()

    debtor.days_later(2)

    assert (before, debtor.status()) == (("past_due", "open"), (subscription, invoice))
    assert debtor.events(event)[-1]["status"] in (subscription, invoice)
    details = debtor.api.subscriptions.retrieve(debtor.subscription).cancellation_details
    assert details is not None
    assert details.reason == ("payment_failed" if subscription == "canceled" else None)


def test_a_retry_that_succeeds_makes_the_subscription_active_again(account: StripeAccount) -> None:
    configured(account, 3, 5, subscription="canceled")
    debtor = Debtor(account)

    debtor.bank_says(None)
    debtor.days_later(4)

    assert (debtor.status(), debtor.attempts(), debtor.read().attempt_count) == (("active", "paid"), 1, 2)


def test_a_new_card_and_a_payment_by_hand_recover_a_subscription(account: StripeAccount) -> None:
    configured(account, 3, 5, subscription="canceled")
    debtor = Debtor(account)

    with pytest.raises(stripe.CardError) as refused:
        debtor.api.invoices.pay(debtor.invoice)
    by_hand = debtor.read()
    card = debtor.api.payment_methods.attach("pm_card_mastercard", {"customer": debtor.shop.customer}).id
    debtor.api.invoices.pay(debtor.invoice, {"payment_method": card})

    assert '"decline_code":"insufficient_funds"' in str(refused.value.http_body)
    assert by_hand.attempt_count == 1
    assert round(((by_hand.next_payment_attempt or 0) - RENEWED.timestamp()) / DAY) == 3
    assert debtor.status() == ("active", "paid")
    assert debtor.read().next_payment_attempt is None


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "revocation_of_authorization"])
def test_a_card_that_was_declined_for_good_is_not_charged_again(account: StripeAccount, code: str) -> None:
    configured(account, 3, 5, subscription="unpaid")
    debtor = Debtor(account, code)
    debtor.days_later(4)
    between = debtor.read()
    debtor.days_later(9)

    assert (debtor.attempts(), between.attempt_count, debtor.read().attempt_count) == (1, 2, 3)
    assert between.next_payment_attempt
    assert debtor.status() == ("unpaid", "open")
    (charge,) = (each for each in debtor.api.charges.list({"customer": debtor.shop.customer}) if not each.paid)
    assert charge.outcome is not None
    assert charge.outcome.reason == code


def test_another_card_is_charged_by_the_next_retry(account: StripeAccount) -> None:
    configured(account, 3, 5, subscription="canceled")
    debtor = Debtor(account, "stolen_card")
    card = debtor.api.payment_methods.attach("pm_card_mastercard", {"customer": debtor.shop.customer}).id

    debtor.api.subscriptions.update(debtor.subscription, {"default_payment_method": card})
    debtor.days_later(4)

    assert debtor.status() == ("active", "paid")


def test_a_subscription_that_is_unpaid_goes_on_with_drafts_until_the_newest_is_paid(account: StripeAccount) -> None:
    configured(account, 1, subscription="unpaid")
    debtor = Debtor(account)
    debtor.days_later(2)
    debtor.shop.until(datetime(2021, 10, 28, tzinfo=UTC))
    newest = debtor.shop.invoices()[-1]

    debtor.bank_says(None)
    debtor.api.invoices.pay(debtor.invoice)
    still = debtor.status()
    debtor.api.invoices.pay(str(newest.id))

    assert (newest.status, newest.auto_advance, newest.billing_reason) == ("draft", False, "subscription_cycle")
    assert (still, debtor.status()) == (("unpaid", "paid"), ("active", "paid"))


def test_a_subscription_that_is_late_stays_so_while_its_next_invoice_is_a_draft(account: StripeAccount) -> None:
    debtor = Debtor(account)

    debtor.shop.until(datetime(2021, 10, 25, 0, 30, tzinfo=UTC))
    draft = debtor.shop.invoices()[-1].status

    assert (draft, debtor.status()) == ("draft", ("past_due", "open"))


def test_the_control_port_shows_and_checks_the_settings(account: StripeAccount) -> None:
    wrong: list[Any] = [{"days": []}, {"days": [0]}, {"days": [1] * 9}, {"days": [1], "subscription": "paused"}]

    configured(account, 2, 4, subscription="canceled")
    assert [asked(account, "/billing/retries", **each).status_code for each in wrong] == [400] * 4
    with TestClient(Litestar(control.routes(account.stand_in), openapi_config=None)) as http:
        shown = http.get("/billing/retries").json()
    assert shown == {"days": [2, 4], "subscription": "canceled", "invoice": "open"}
    assert asked(account, "/billing/payment_methods/pm_1", code="lost_card").status_code == 404


def test_an_invoice_that_is_sent_makes_its_subscription_past_due_with_its_day_until_it_is_paid(
    account: StripeAccount,
) -> None:
    shop = Shop(account.api)
    subscription = shop.subscribe(shop.price(10_000), collection_method="send_invoice", days_until_due=10)
    (invoice,) = shop.invoices()

    def status() -> str:
        return account.api.v1.subscriptions.retrieve(subscription.id).status

    shop.until(AUGUST + timedelta(days=9))
    before = status()
    shop.until(AUGUST + timedelta(days=11))
    late, (changed, *_) = status(), shop.events("customer.subscription.updated")[::-1]
    account.api.v1.invoices.pay(str(invoice.id), {"paid_out_of_band": True})

    assert (before, late, status()) == ("active", "past_due", "active")
    assert (changed["object"]["status"], changed["previous_attributes"]) == ("past_due", {"status": "active"})


def test_a_list_of_events_takes_no_more_than_twenty_types(account: StripeAccount) -> None:
    types = [f"invoice.kind_{each}" for each in range(21)]
    assert account.api.v1.events.list({"types": types[:20]}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="up to 20 types"):
        account.api.v1.events.list({"types": types})
