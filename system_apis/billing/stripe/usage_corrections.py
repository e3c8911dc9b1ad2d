"""More of a period than its invoice charges: an invoice item at the unit price of the invoice's own line.

Stripe takes no usage for a period whose invoice is issued, and no price by usage for an item (API reference: Create an
invoice item, `pricing.price`, takes prices that are charged once). At so much for each unit, an item of the same unit
price and of what is more is charged just as it would have been. Of tiers and packages that is not so: what is more
costs what its place among the tiers says, which Stripe works out for usage alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from canonical.deals import plain
from canonical.faults import Rejected
from canonical.usage import UsageCharge, UsageOrder
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.change_plan import OVER
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.contracts import is_of, reference, subscriptions_of, with_all_items
from system_apis.billing.stripe.invoices import price_of, product_of, rate_of
from system_apis.billing.stripe.metering import charging, check_collected, is_of_period, moment_of

ORDER = "tiergate_usage_correction"
"""The metadata that holds our id of what asks for an item."""
NOT_EXPECTED = ("void", "uncollectible")
"""The states of an invoice of which nothing is to be paid (API reference: The Invoice object, `status`)."""
BY_HAND = "charge or credit it by hand"


class Charged(NamedTuple):
    """The line by which a period is charged, its invoice, its price, and the subscription that it is of."""

    line: Row
    invoice: Row
    price: Row
    subscription: Row


class MoreUsage:
    """Charge more of a period that was charged before. Raises leaves of `PlatformFault`."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def price(self, order: UsageOrder) -> UsageCharge:
        """Do as `Billing.price_usage` says."""
        found = await self._charged(order)
        if found is None:
            return UsageCharge("")
        where = found.invoice["id"], found.line["id"]
        if order.more <= 0:
            return UsageCharge(*where)
        return UsageCharge(*where, from_stripe(await self._previewed(order, found), _currency(found)))

    async def charge(self, order: UsageOrder) -> UsageCharge:
        """Do as `Billing.charge_usage` says. What has our id was made already, on an invoice or not: that is looked for
        first, so that whatever is refused was not charged."""
        customer = reference(order.period.contract, "customer")
        rows = await self._client.listed(at("invoiceitems"), customer=customer)
        row = next((each for each in rows if each["metadata"].get(ORDER) == order.id), None)
        if row is None:
            found = await self._charged(order)
            if found is None:
                raise Rejected("billing", "the invoice of the period is not issued yet", field="period")
            await self._previewed(order, found)  # there is a next invoice that takes it
            asked = _item(order, found) | {"customer": customer, "subscription": found.subscription["id"]}
            row = await self._client.post(at("invoiceitems"), f"usage_correction:{order.id}:{order.attempt}", **asked)
        return UsageCharge(net=from_stripe(row["amount"], row["currency"].upper()), reference=row["id"])

    async def _previewed(self, order: UsageOrder, found: Charged) -> int:
        """Return what Stripe would charge with the next invoice of the subscription, before tax, in its own minor
        units."""
        check_collected(found.subscription)
        over = f"no further invoice of {found.subscription['id']} comes, which could charge it: {BY_HAND}"
        if found.subscription["status"] in OVER:
            raise Rejected("billing", over, field="contract")
        items = [_item(order, found)]
        preview = await self._client.previewed(subscription=found.subscription["id"], invoice_items=items)
        if preview is None:
            raise Rejected("billing", over, field="contract")
        rows = await self._client.whole(preview["lines"], at("invoices", preview["id"], "lines"))
        own = [each["amount"] for each in rows if each["metadata"].get(ORDER) == order.id]
        if len(own) != 1:
            raise Rejected("billing", over, field="contract")
        return own[0]

    async def _charged(self, order: UsageOrder) -> Charged | None:
        """Return what charges a period; None while its invoice is not issued. Raises `Rejected` where it is not charged
        at so much for each unit."""
        usage, moment = order.period, moment_of(order.period)
        owned = await with_all_items(
            self._client, await subscriptions_of(self._client, reference(usage.contract, "customer"))
        )
        for subscription in (each for each in owned if is_of(each, usage.contract)):
            rows = await self._client.listed(at("invoices"), subscription=subscription["id"], created={"gte": moment})
            for invoice in rows:
                lines = await self._client.whole(invoice["lines"], at("invoices", invoice["id"], "lines"))
                found = [(each, price) for each in lines if (price := await self._price(each, usage.sku, moment))]
                if not found:
                    continue
                if invoice["status"] == "draft":
                    return None
                if invoice["status"] in NOT_EXPECTED:
                    reason = f"the invoice {invoice['number']} of the period is {invoice['status']}: {BY_HAND}"
                    raise Rejected("billing", reason, field="invoice")
                line, price = found[0]
                _check([each for each, _ in found], price)
                return Charged(line, invoice, price, subscription)
        subscription, item = charging(usage, owned, moment)
        if subscription["status"] not in OVER and item["current_period_start"] <= moment:
            return None
        raise Rejected("billing", f"no invoice of {subscription['id']} charges the period: {BY_HAND}", field="period")

    async def _price(self, line: Row, sku: str, moment: int) -> Row | None:
        """Return the price by which a line charges the use of a product in the period that a moment is in, whether the
        subscription has an item of it still or not; None for any other line."""
        if product_of(line) != sku or not is_of_period(line, moment):
            return None
        price = await self._client.get(at("prices", price_of(line) or ""))
        return price if price["recurring"]["usage_type"] == "metered" else None


def _check(lines: list[Row], price: Row) -> None:
    """Raise `Rejected` for a period that is not charged at so much for each unit, and nothing off."""
    if price["billing_scheme"] != "per_unit" or price["transform_quantity"] or len(lines) != 1:
        reason = f"{price['id']} has tiers or packages, and billing works these out for usage alone: {BY_HAND}"
        raise Rejected("billing", reason, field="price")
    if any(each["amount"] for each in lines[0]["discount_amounts"] or ()):
        raise Rejected("billing", f"the line of the period is discounted: {BY_HAND}", field="discounts")


def _currency(found: Charged) -> str:
    return found.price["currency"].upper()


def _item(order: UsageOrder, found: Charged) -> dict[str, Any]:
    """Return an invoice item of what is more, taxed as the line of the period was, whatever invoice takes it (API
    reference: Create an invoice item). Where Stripe Tax decides, there are no rates."""
    by_billing = found.invoice["automatic_tax"]["enabled"]
    rates = [] if by_billing else [rate_of(each) for each in found.line["taxes"] or ()]
    behavior, period = found.price["tax_behavior"], found.line["period"]
    return {
        "price_data": {
            "currency": found.price["currency"],
            "product": found.price["product"],
            "unit_amount_decimal": str(found.price["unit_amount_decimal"]),
            "tax_behavior": None if behavior == "unspecified" else behavior,
        },
        "quantity_decimal": plain(order.more),
        "description": f"{plain(order.more)} more of {order.period.sku}, reported after the invoice",
        "period": {"start": period["start"], "end": period["end"]},
        "tax_rates": rates or None,
        "discountable": False,
        "metadata": {ORDER: order.id},
    }
