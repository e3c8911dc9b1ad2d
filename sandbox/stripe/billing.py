"""The invoices of a subscription: what it is billed for a period, and what follows (Billing: Subscription invoices)."""

from __future__ import annotations

from decimal import Decimal

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.forms import Params
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.invoicing import Invoicing
from sandbox.stripe.objects import Object
from sandbox.stripe.payments import Payments
from sandbox.stripe.periods import DAY, HOUR, times
from sandbox.stripe.subscription_items import SubscriptionItems, metered
from sandbox.stripe.usage import Usage

LATE = ("past_due", "unpaid")
SHOWN = ("custom_fields", "description", "footer")
"""What is said of the invoices of a subscription, and shown on each (API reference: Create a schedule,
`phases.invoice_settings`)."""


class Billing:
    """Bill subscriptions, and let their status follow from their invoices."""

    def __init__(
        self,
        account: Account,
        invoicing: Invoicing,
        pending: InvoiceItems,
        payments: Payments,
        items: SubscriptionItems,
        coupons: Coupons,
        usage: Usage,
    ) -> None:
        self.account = account
        self.invoicing = invoicing
        self.pending = pending
        self.payments = payments
        self.items = items
        self.coupons = coupons
        self.usage = usage

    def bill(
        self,
        subscription: Object,
        extra: list[Params],
        reason: str,
        *,
        periods: bool = True,
        free: bool = False,
        since: int | None = None,
        used: tuple[int, int] | None = None,
    ) -> Object:
        """Create a draft with the pending items, one-off prices and, with `periods`, the present period.

        A first period that is no whole one costs a part, or nothing where it is `free`. So does the time from `since`
        to the present period (Backdate subscriptions). What is metered is billed for the time `used`, which is over.
        """
        account, key = self.account, subscription["id"]
        rates = subscription["default_tax_rates"]
        items = subscription["items"]["data"]
        period = (items[0]["current_period_start"], items[0]["current_period_end"])
        lines: list[Object] = []
        if since is not None and not free:
            lines += [line for each in items for line in self._lines(subscription, each, (since, period[0]))]
        if periods:
            lines += [line for each in items for line in self._lines(subscription, each, period, free=free, used=used)]
        elif used:
            lines += [line for each in items if metered(each["price"]) for line in self._used(subscription, each, used)]
        lines += [self._extra(subscription, each, period[0]) for each in extra]
        days, now = subscription["days_until_due"], account.clock.seconds()
        invoice = self.invoicing.draft(
            account.get("customer", subscription["customer"]),
            subscription["currency"],
            lines,
            subscription=key,
            billing_reason=reason,
            collection_method=subscription["collection_method"],
            automatically_finalizes_at=now + HOUR,
            period_start=period[0],
            period_end=period[1],
            due_date=None if days is None else now + days * DAY,
            **{name: subscription["invoice_settings"][name] for name in SHOWN},
            default_tax_rates=rates,
            discounts=list(subscription["discounts"]),
            automatic_tax=subscription["automatic_tax"] | {"status": None, "provider": None},
            parent={
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {"subscription": key, "metadata": dict(subscription["metadata"])},
            },
        )
        self.pending.take_pending(invoice)
        subscription["latest_invoice"] = invoice["id"]
        if periods:
            subscription["discounts"] = self.coupons.used(subscription["discounts"])
            for each in items:
                each["discounts"] = self.coupons.used(each["discounts"])
        account.save(subscription)
        return invoice

    def _lines(
        self,
        subscription: Object,
        item: Object,
        period: tuple[int, int],
        *,
        free: bool = False,
        used: tuple[int, int] | None = None,
    ) -> list[Object]:
        """Return the lines of an item for a period: of usage those of the time `used`. Before there is any, classic
        billing mode shows it as zero, and flexible has no line (Compare classic and flexible billing mode).

        The metadata of a recurring line is its subscription's, not its item's (Invoice Line Item, `metadata`).
        """
        if metered(item["price"]):
            if used:
                return self._used(subscription, item, used)
            is_shown = subscription["billing_mode"]["type"] == "classic"
            return self.usage.lines(subscription, item, period, Decimal(0)) if is_shown else []
        price, key = item["price"], subscription["id"]
        number = times(subscription["billing_cycle_anchor"], *period, price["recurring"])
        is_part = number != 1
        if is_part and free:
            return []
        details: Object = {
            "proration": is_part,
            "proration_details": {"credited_items": None} if is_part else None,
            "subscription": key,
            "invoice_item": None,
            "subscription_item": item["id"],
        }
        made = self.invoicing.line(
            price,
            item["quantity"],
            item["tax_rates"] or subscription["default_tax_rates"],
            period,
            subscription=key,
            metadata=dict(subscription["metadata"]),
            discounts=list(item["discounts"]),
            parent={
                "type": "subscription_item_details",
                "invoice_item_details": None,
                "subscription_item_details": details,
            },
        )
        if is_part:
            cost = Decimal(price["unit_amount_decimal"]) * made["quantity"] * number
            made["amount"] = made["subtotal"] = currencies.rounded(cost, price["currency"])
        return [made]

    def _used(self, subscription: Object, item: Object, period: tuple[int, int]) -> list[Object]:
        return self.usage.lines(subscription, item, period, self.usage.of(subscription, item, period))

    def _extra(self, subscription: Object, row: Params, at: int) -> Object:
        price = self.account.get("price", row.get("price", ""), "add_invoice_items[0][price]")
        details: Object = {
            "proration": False,
            "proration_details": None,
            "subscription": subscription["id"],
            "invoice_item": f"ii_{row['price']}",
        }
        return self.invoicing.line(
            price,
            forms.whole(row, "quantity", "add_invoice_items[0]"),
            self.items.rates(row.get("tax_rates")) or subscription["default_tax_rates"],
            (at, at),
            subscription=subscription["id"],
            metadata=row.get("metadata", {}),
            parent={
                "type": "invoice_item_details",
                "subscription_item_details": None,
                "invoice_item_details": details,
            },
        )

    # ---- what follows

    def first(
        self,
        subscription: Object,
        extra: list[Params],
        *,
        free: bool = False,
        since: int | None = None,
    ) -> Object | None:
        """Create the first draft of a subscription. None would be on it that has nothing but usage, of which flexible
        billing mode makes no invoice (Compare classic and flexible billing mode: Suppress zero-amount line items)."""
        is_flexible = subscription["billing_mode"]["type"] == "flexible"
        by_use = all(metered(each["price"]) for each in subscription["items"]["data"])
        if is_flexible and by_use and not extra:
            return None
        return self.bill(subscription, extra, "subscription_create", free=free, since=since)

    def issue(self, subscription: Object, invoice: Object) -> None:
        """Finalize an invoice and charge it where that is the collection method, and update the subscription."""
        if self.held(subscription, invoice):
            return
        invoice = self.invoicing.finalize(invoice)
        if invoice["collection_method"] == "charge_automatically" and invoice["status"] == "open":
            self.payments.collect(invoice)
        self.follow(subscription["id"])

    def held(self, subscription: Object, invoice: Object) -> bool:
        """Do what a paused collection does with an invoice, and return whether it is paused (Pause payment collection).

        It stays a draft, is finalized and marked as uncollectible, or is void at once, whatever it comes to. One of a
        subscription that is unpaid stays a draft as well (How subscriptions work: Unpaid subscriptions).
        """
        if subscription["status"] == "unpaid":
            return self._kept(invoice)
        paused: Object | None = subscription["pause_collection"]
        if paused is None:
            return False
        if paused["behavior"] == "keep_as_draft":
            return self._kept(invoice)
        if paused["behavior"] == "void":
            self.invoicing.void_at_once(invoice)
            return True
        final = self.invoicing.finalize(invoice)
        if final["status"] == "open":
            self.invoicing.write_off(final)
        return True

    def _kept(self, draft: Object) -> bool:
        kept: Object = {"auto_advance": False, "automatically_finalizes_at": None}
        self.account.save(draft | kept, "invoice.updated")
        return True

    def follow(self, key: str) -> None:
        """Set the status of a subscription to what follows from its latest invoice."""
        subscription = self.account.get("subscription", key)
        if subscription["status"] == "canceled":
            return
        status = self._status(subscription, self.account.find("invoice", subscription["latest_invoice"] or ""))
        if status != subscription["status"]:
            self.account.save(
                subscription | {"status": status}, "customer.subscription.updated", {"status": subscription["status"]}
            )

    def _status(self, subscription: Object, invoice: Object | None) -> str:
        """Return the status that follows from the latest invoice. One that is late stays so until that is paid (How
        subscriptions work: Payment status). One that is sent is late with its due date (The Subscription object,
        `status`)."""
        present: str = subscription["status"]
        if invoice is None or subscription["pause_collection"]:
            return "active"
        if invoice["status"] == "paid":
            return "active"
        if invoice["collection_method"] == "send_invoice":
            is_late = invoice["status"] == "open" and invoice["due_date"] <= self.account.clock.seconds()
            return (present if present in LATE else "past_due") if is_late else "active"
        if not invoice["attempted"] or self._on_its_way(invoice):
            return present if present in LATE else "active"
        return {"active": "past_due"}.get(present, present)

    def _on_its_way(self, invoice: Object) -> bool:
        """Return whether a direct debit is processing (Billing: Subscriptions with delayed notification payments)."""
        return invoice["status"] == "open" and self.invoicing.intent(invoice)["status"] == "processing"
