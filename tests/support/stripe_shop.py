"""A customer of the Stripe stand-in on a test clock, and what is sold to it, by Stripe's own Python client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import stripe

AUGUST, SEPTEMBER = datetime(2021, 8, 25, tzinfo=UTC), datetime(2021, 9, 25, tzinfo=UTC)
CHANGE = datetime(2021, 9, 16, tzinfo=UTC)
"""The dates of the worked example of section 8: a period of 31 days, of which nine are left."""

BACKDATED = (
    (datetime(2021, 2, 15, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC), 5_000),
    (datetime(2021, 1, 15, tzinfo=UTC), datetime(2021, 2, 1, tzinfo=UTC), 5_484),
)
"""Worked examples P02 and P03 (stripe.com/docs/billing/subscriptions/backdating): the start, the anchor on the first of
the next month, and what 100.00 a month cost until then: 14/28 and 17/31."""


class Shop:
    """A customer on a test clock of its own, and what is sold to it."""

    def __init__(self, api: stripe.StripeClient, start: datetime = AUGUST, **customer: Any) -> None:
        self.api = api
        self.clock = api.v1.test_helpers.test_clocks.create({"frozen_time": seconds(start)}).id
        card: Any = {
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
            "test_clock": self.clock,
        }
        self.customer = api.v1.customers.create(card | customer).id

    def price(self, amount: int, name: str = "Seat", **values: Any) -> str:
        product = self.api.v1.products.create({"name": name}).id
        made: Any = {"currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}, "product": product}
        return self.api.v1.prices.create(made | values).id

    def subscribe(self, *items: Any, **params: Any) -> stripe.Subscription:
        made: Any = {"customer": self.customer, "items": [{"price": i} if isinstance(i, str) else i for i in items]}
        return self.api.v1.subscriptions.create(made | params)

    def until(self, moment: datetime) -> None:
        self.api.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": seconds(moment)})
        assert self.api.v1.test_helpers.test_clocks.retrieve(self.clock).status == "ready"

    def change(self, subscription: stripe.Subscription, **params: Any) -> stripe.Subscription:
        return self.api.v1.subscriptions.update(subscription.id, params)  # pyright: ignore[reportArgumentType]

    def pending(self) -> list[stripe.InvoiceItem]:
        """Return the items that no invoice has taken yet, the oldest first."""
        return self.api.v1.invoice_items.list({"customer": self.customer, "pending": True}).data[::-1]

    def invoices(self) -> list[stripe.Invoice]:
        return self.api.v1.invoices.list({"customer": self.customer}).data[::-1]

    def events(self, kind: str) -> list[Any]:
        rows = self.api.v1.events.list({"type": kind, "limit": 100}).data[::-1]
        return [each.to_dict()["data"] for each in rows]


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def first(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    return subscription["items"].data[0]


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(each.description, each.amount) for each in invoice.lines.data]
