"""What was used in a period, as one event of a meter of Stripe (Billing: Record usage for billing with the API).

The meter and its price came with the line, or were set up by a person. The event lies in a minute of the period that
is this handover's alone, so that what Stripe has of that minute says whether it came: an identifier says so for a day
only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from canonical.deals import plain
from canonical.faults import Conflict, Rejected
from canonical.usage import UsageOfPeriod
from system_apis.billing.stripe.change_plan import OVER
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.contracts import is_of, reference, subscriptions_of, with_all_items
from system_apis.billing.stripe.mapping import is_metered
from system_apis.billing.stripe.previews import details_of, is_proration

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
        moment = moment_of(usage)
        found = await subscriptions_of(self._client, reference(usage.contract, "customer"))
        owned = await with_all_items(self._client, found)
        subscription, item = charging(usage, owned, moment)
        meter = await self._client.get(at("billing", "meters", item["price"]["recurring"]["meter"]))
        present = await self._present(meter, subscription["customer"], moment)
        if present == float(usage.quantity):
            return usage
        if present:
            raise Rejected("billing", f"{present} is there for the period, and not {usage.quantity}", field="quantity")
        if usage.quantity:
            check_collected(subscription)
        _check(usage, meter, _sharing(owned, subscription, meter, moment))
        if not await self._is_invoiced_later(subscription, item, moment):
            what = f"{plain(usage.quantity)} of {usage.sku} until {usage.ends_at.isoformat()}"
            reason = f"the invoice of the period is issued already: charge {what} by hand"
            raise Rejected("billing", reason, field="period")
        await self._send(usage, subscription["customer"], meter, moment)
        return usage

    async def _present(self, meter: Row, customer: str, moment: int) -> float:
        """Return what Stripe has of the minute of the event."""
        rows = await self._client.listed(
            at("billing", "meters", meter["id"], "event_summaries"),
            customer=customer,
            start_time=moment,
            end_time=moment + MINUTE,
        )
        return sum(float(each["aggregated_value"]) for each in rows)

    async def _is_invoiced_later(self, subscription: Row, item: Row, moment: int) -> bool:
        """Return whether an item is still to be charged for the period that a moment is in: it is the present one, or
        its invoice is a draft, on which usage is counted until it is finalized (Configure grace period)."""
        if subscription["status"] not in OVER and item["current_period_start"] <= moment:
            return True
        drafts = await self._client.listed(at("invoices"), subscription=subscription["id"], status="draft")
        for each in drafts:
            lines = await self._client.whole(each["lines"], at("invoices", each["id"], "lines"))
            if any(is_for(line, item, moment) for line in lines):
                return True
        return False

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


def moment_of(usage: UsageOfPeriod) -> int:
    """Return the minute of a period in which its event is (seconds since 1970, UTC)."""
    return int((usage.ends_at - BEFORE_THE_END).timestamp()) // MINUTE * MINUTE


def check_collected(subscription: Row) -> None:
    """Raise `Rejected` while the invoices of a subscription are not collected: Stripe keeps or voids them as it makes
    them, with what was used on them (Billing: Pause payment collection)."""
    if subscription["pause_collection"]:
        behavior = subscription["pause_collection"]["behavior"]
        reason = (
            f"the collection of {subscription['id']} is paused ({behavior}), so that what was used would not be paid: "
            "resume it in billing, or charge it by hand"
        )
        raise Rejected("billing", reason, field="pause_collection")


def charging(usage: UsageOfPeriod, owned: Iterable[Row], moment: int) -> tuple[Row, Row]:
    """Return the subscription of the contract that charges a product by use at a moment, and the item that does. Raises
    `Rejected` where none does."""
    for each in owned:
        is_then = each["start_date"] <= moment and (each["ended_at"] is None or moment < each["ended_at"])
        if is_then and is_of(each, usage.contract):
            for item in each["items"]["data"]:
                if is_metered(item) and item["price"]["product"] == usage.sku and item["created"] <= moment:
                    return each, item
    until = usage.ends_at.isoformat()
    reason = f"no subscription of {usage.contract.id} has a metered price of {usage.sku} for the period until {until}"
    raise Rejected("billing", f"{reason}: add one, or charge it by hand", field="lines")


def _sharing(owned: Iterable[Row], subscription: Row, meter: Row, moment: int) -> list[str]:
    """Return the ids of subscriptions that charge for what a meter counts at a moment, once for each item."""
    return [
        each["id"]
        for each in owned
        if each["id"] == subscription["id"] or (each["status"] not in OVER and each["start_date"] <= moment)
        for item in each["items"]["data"]
        if item["price"]["recurring"].get("meter") == meter["id"]
    ]


def _check(usage: UsageOfPeriod, meter: Row, sharing: Sequence[str]) -> None:
    """Raise `Rejected` where an event would not be billed as what it is."""
    formula = meter["default_aggregation"]["formula"]
    if formula != "sum":
        raise Rejected("billing", f"the meter {meter['id']} is to add up, and is of {formula}", field="meter")
    if sum(map(str.isdigit, plain(usage.quantity))) > DIGITS:
        reason = f"{plain(usage.quantity)} has more than the {DIGITS} digits that Stripe takes: charge it by hand"
        raise Rejected("billing", reason, field="quantity")
    if len(sharing) > 1:
        reason = f"{', '.join(sharing)} share the meter {meter['id']}, which bills it on each: give each its own"
        raise Rejected("billing", reason, field="meter")


def is_for(line: Row, item: Row, moment: int) -> bool:
    """Return whether a line of an invoice charges an item for the period that a moment is in."""
    return is_of_period(line, moment) and details_of(line).get("subscription_item") == item["id"]


def is_of_period(line: Row, moment: int) -> bool:
    """Return whether a line of an invoice charges an item of a subscription for the period that a moment is in."""
    is_in = line["period"]["start"] <= moment < line["period"]["end"]
    return is_in and not is_proration(line) and bool(details_of(line).get("subscription_item"))
