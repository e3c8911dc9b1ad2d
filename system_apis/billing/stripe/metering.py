"""What was used in a period, as one event of a meter of Stripe (Billing: Record usage for billing with the API).

A person sets the meter and its price up. The event lies in a minute of the period that is this handover's alone, so
that what Stripe has of that minute says whether it came: an identifier says so for a day only.
"""

from __future__ import annotations

from datetime import timedelta

from canonical.deals import plain
from canonical.faults import Conflict, Rejected
from canonical.usage import UsageOfPeriod
from system_apis.billing.stripe.client import Row, StripeClient, at

BEFORE_THE_END = timedelta(hours=1)
"""How long before the end of a period its event is: well within the period, wherever Stripe's own begins to a second,
and late enough to be within the 35 days for which events are taken (Create a meter event, `timestamp`)."""
MINUTE = 60
"""Seconds to which summaries are aligned (List billing meter event summaries)."""
DIGITS = 15
"""Digits that the value of an event has at the most (Record usage with the API: meter_event_value_too_many_digits)."""


class Metering:
    """Hand usage over to one account. Raises leaves of `PlatformFault`."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def put(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        """Let Stripe bill what was used in a period, once."""
        subscription, item = await self._item(usage)
        meter = await self._client.get(at("billing", "meters", item["price"]["recurring"]["meter"]))
        moment = int((usage.ends_at - BEFORE_THE_END).timestamp()) // MINUTE * MINUTE
        present = await self._present(meter, subscription["customer"], moment)
        if present == float(usage.quantity):
            return usage
        if present:
            raise Rejected("billing", f"{present} is there for the period, and not {usage.quantity}", field="quantity")
        await self._check(usage, subscription, item, meter, moment)
        await self._send(usage, subscription["customer"], meter, moment)
        return usage

    async def _item(self, usage: UsageOfPeriod) -> tuple[Row, Row]:
        """Return the subscription of the contract that charges a product by use, and the item that does."""
        for each in usage.contract.named("subscription"):
            subscription = await self._client.get(at("subscriptions", each), expand=["latest_invoice"])
            for item in subscription["items"]["data"]:
                recurring = item["price"]["recurring"]
                if item["price"]["product"] == usage.sku and recurring["usage_type"] == "metered":
                    return subscription, item
        reason = f"no subscription of {usage.contract.id} has a metered price of {usage.sku}: add one"
        raise Rejected("billing", reason, field="lines")

    async def _present(self, meter: Row, customer: str, moment: int) -> float:
        """Return what Stripe has of the minute of the event."""
        rows = await self._client.listed(
            at("billing", "meters", meter["id"], "event_summaries"),
            customer=customer,
            start_time=moment,
            end_time=moment + MINUTE,
        )
        return sum(float(each["aggregated_value"]) for each in rows)

    async def _check(self, usage: UsageOfPeriod, subscription: Row, item: Row, meter: Row, moment: int) -> None:
        """Raise `Rejected` where the event would not be billed, or not as what it is."""
        formula = meter["default_aggregation"]["formula"]
        if formula != "sum":
            raise Rejected("billing", f"the meter {meter['id']} is to add up, and is of {formula}", field="meter")
        if sum(map(str.isdigit, plain(usage.quantity))) > DIGITS:
            reason = f"{plain(usage.quantity)} has more than the {DIGITS} digits that Stripe takes: charge it by hand"
            raise Rejected("billing", reason, field="quantity")
        invoice: Row = subscription["latest_invoice"] or {"status": "draft"}
        is_over = subscription["status"] == "canceled" or item["current_period_start"] > moment
        if is_over and invoice["status"] != "draft":
            what = f"{plain(usage.quantity)} of {usage.sku} until {usage.ends_at.isoformat()}"
            reason = f"the invoice of the period is issued already: charge {what} by hand"
            raise Rejected("billing", reason, field="period")
        others = await self._client.listed(at("subscriptions"), customer=subscription["customer"])
        sharing = [
            each["id"]
            for each in others
            for one in each["items"]["data"]
            if one["price"]["recurring"].get("meter") == meter["id"]
        ]
        if len(sharing) > 1:
            reason = f"{', '.join(sharing)} share the meter {meter['id']}, which bills it on each: give each its own"
            raise Rejected("billing", reason, field="meter")

    async def _send(self, usage: UsageOfPeriod, customer: str, meter: Row, moment: int) -> None:
        if not usage.quantity:
            return
        payload = {
            meter["customer_mapping"]["event_payload_key"]: customer,
            meter["value_settings"]["event_payload_key"]: plain(usage.quantity),
        }
        event = {"event_name": meter["event_name"], "identifier": usage.id, "timestamp": moment, "payload": payload}
        try:
            await self._client.post(at("billing", "meter_events"), f"usage:{usage.id}", **event)
        except Conflict as conflict:  # it came before, and is not summed up yet
            if conflict.field != "identifier":
                raise
