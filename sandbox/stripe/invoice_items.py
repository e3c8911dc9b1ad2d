"""Invoice items: what is billed beside subscriptions, and by hand (API reference: Invoice Items)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.coupons import Coupons
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.invoicing import Invoicing, check_due, rounded_amount
from sandbox.stripe.objects import Object, listing
from sandbox.stripe.parameters import require, unknown
from sandbox.stripe.prices import Prices

PRICE_DATA = ("currency", "product", "tax_behavior", "unit_amount", "unit_amount_decimal")
"""What describes a price of one item alone (API reference: Create an invoice item, `price_data`)."""
OF_ITS_OWN = {"amount", "currency", "unit_amount_decimal"}
"""What says without a price how much an item is."""


class InvoiceItems:
    """Create and delete invoice items. One without an invoice is pending: the next invoice takes it."""

    def __init__(self, account: Account, invoicing: Invoicing, coupons: Coupons) -> None:
        self.account = account
        self.invoicing = invoicing
        self.coupons = coupons

    def create(self, params: Params) -> Object:
        """Create an item of a price, or of an amount alone. With `invoice`, it is added to that draft at once."""
        require(params, "customer")
        account = self.account
        customer = account.get("customer", params["customer"], "customer")
        draft = account.get("invoice", params["invoice"], "invoice") if params.get("invoice") else None
        if draft and draft["status"] != "draft":
            raise invalid("You can only add items to a draft invoice.", "invoice", "invoice_not_editable")
        price = self._price(params)
        if draft and draft["automatic_tax"]["enabled"]:
            priced = price or {"id": "of the item", "tax_behavior": params.get("tax_behavior", "unspecified")}
            self.invoicing.tax.check(customer, [priced], params.get("tax_rates", []), "tax_rates")
        currency = price["currency"] if price else currencies.known(params["currency"])
        if draft and draft["currency"] != currency:
            raise invalid("The currency of an item must be that of its invoice.", "currency")
        quantity = _quantity(params)
        discounts = self.coupons.wanted(params.get("discounts"), currency, "discounts")
        now = account.clock.seconds()
        period = params.get("period", {"start": now, "end": now})
        made = account.make(
            "invoiceitem",
            amount=self._amount(params, price, quantity),
            currency=currency,
            customer=customer["id"],
            date=now,
            description=params.get("description"),
            invoice=draft["id"] if draft else None,
            metadata=params.get("metadata", {}),
            period={"start": int(period["start"]), "end": int(period["end"])},
            pricing=self.invoicing.pricing(price) if price else None,
            quantity=int(quantity),
            quantity_decimal=f"{quantity:f}",
            tax_rates=[account.get("tax_rate", each, "tax_rates") for each in params.get("tax_rates", [])],
            parent=_of_subscription(params),
        )
        made |= {"net_amount": made["amount"], "discountable": made["amount"] >= 0}
        if "discountable" in params:
            made["discountable"] = forms.flag(params["discountable"])
        made["discounts"] = self.coupons.redeem(discounts, customer["id"], now, invoice_item=made["id"])
        account.save(made, "invoiceitem.created")
        if draft:
            lines = [*draft["lines"]["data"], self._line(made, draft)]
            draft["lines"] = listing(f"/v1/invoices/{draft['id']}/lines", lines)
            account.save(self.invoicing.totalled(draft), "invoice.updated")
        return made

    def delete(self, item: Object) -> Object:
        """Delete an item that is pending, or on a draft (API reference: Delete an invoice item)."""
        draft = self.account.find("invoice", item["invoice"] or "")
        if draft and draft["status"] != "draft":
            raise invalid("You can only delete items of a draft invoice.", "invoice", "invoice_not_editable")
        if draft:
            rows = [each for each in draft["lines"]["data"] if not _is_of(each, item)]
            draft["lines"] = listing(f"/v1/invoices/{draft['id']}/lines", rows)
            self.account.save(self.invoicing.totalled(draft), "invoice.updated")
        return self.account.remove(item, "invoiceitem.deleted")

    def invoice(self, params: Params) -> Object:
        """Create a draft, with the pending items where that is asked for (API reference: Create an invoice)."""
        require(params, "customer")
        check_due(params)
        customer = self.account.get("customer", params["customer"], "customer")
        subscription = params.get("subscription")
        details = None
        if subscription:
            found = self.account.get("subscription", subscription, "subscription")
            details = {"subscription": subscription, "metadata": dict(found["metadata"])}
        days, now = params.get("days_until_due"), self.account.clock.seconds()
        made = self.invoicing.draft(
            customer,
            currencies.known(params.get("currency") or customer["currency"] or "eur"),
            [],
            auto_advance=params.get("auto_advance") == "true",
            collection_method=params.get("collection_method", "charge_automatically"),
            default_payment_method=params.get("default_payment_method"),
            automatic_tax=self._automatic_tax(customer, params),
            description=params.get("description"),
            due_date=now + forms.whole(params, "days_until_due") * 86_400 if days else None,
            metadata=params.get("metadata", {}),
            period_start=now,
            period_end=now,
            subscription=subscription,
            default_tax_rates=[
                self.account.get("tax_rate", each, "default_tax_rates") for each in params.get("default_tax_rates", [])
            ],
            parent={"type": "subscription_details", "quote_details": None, "subscription_details": details}
            if details
            else None,
        )
        if params.get("pending_invoice_items_behavior") == "include":
            self.take_pending(made, alone=True)
        return made

    def _automatic_tax(self, customer: Object, params: Params) -> Object:
        wanted = self.invoicing.tax.wanted(params)
        if wanted["enabled"]:
            self.invoicing.tax.check(customer, (), params.get("default_tax_rates", []), "default_tax_rates")
        return wanted | {"status": None, "provider": None}

    def of(self, subscription: Object) -> list[Object]:
        """Return the pending items of a subscription alone."""
        key = subscription["id"]
        rows = self.account.all("invoiceitem")
        return [each for each in rows if each["invoice"] is None and _subscription_of(each) == key]

    def take_pending(self, draft: Object, *, alone: bool = False) -> None:
        """Put the pending items of a draft's customer on it: those in its currency. An invoice of a subscription takes
        none of another's, and one that is made by hand only the subscription's own (API reference: Create an invoice
        item, Create an invoice, `subscription`)."""
        own = draft["subscription"]
        of = (own,) if alone else (None, own)
        taken = [
            each
            for each in self.account.all("invoiceitem")
            if each["customer"] == draft["customer"]
            and not each["invoice"]
            and each["currency"] == draft["currency"]
            and (own is None or _subscription_of(each) in of)
        ]
        if not taken:
            return
        lines = [*draft["lines"]["data"], *(self._line(each, draft) for each in taken)]
        draft["lines"] = listing(f"/v1/invoices/{draft['id']}/lines", lines)
        draft |= self.invoicing.totalled(draft)
        self.account.save(draft, "invoice.updated")
        for each in taken:
            self.account.save(each | {"invoice": draft["id"]}, "invoiceitem.updated")

    def _price(self, params: Params) -> Object | None:
        key, data = params.get("pricing", {}).get("price"), params.get("price_data")
        if data and (key or params.keys() & OF_ITS_OWN):
            raise invalid("You may only specify one of these parameters: price_data, pricing, amount.", "price_data")
        if data:
            return self._made_for_it(data)
        if key is None:
            require(params, "currency")
            return None
        price = self.account.get("price", key, "pricing[price]")
        if price["recurring"] is not None:
            raise invalid(
                "The price specified is set to `type=recurring` but this field only accepts prices "
                "with `type=one_time`.",
                "pricing[price]",
            )
        return price

    def _made_for_it(self, data: Params) -> Object:
        """Return a price that is for one item alone, and so inactive (API reference: Create an invoice item,
        `price_data`: one_time_price_data)."""
        require(data, "currency", "product")
        for name in data:
            if name not in PRICE_DATA:
                raise unknown(f"price_data[{name}]")
        return self.account.save(Prices(self.account).price(dict(data)) | {"active": False}, "price.updated")

    def _amount(self, params: Params, price: Object | None, quantity: Decimal) -> int:
        if price:
            return rounded_amount(price["unit_amount_decimal"], quantity)
        if "unit_amount_decimal" in params:
            return rounded_amount(params["unit_amount_decimal"], quantity)
        require(params, "amount")
        return int(params["amount"])

    def _line(self, item: Object, draft: Object) -> Object:
        """Return the line of an item. One of an amount alone has no pricing and no quantity (Invoice line item)."""
        subscription = _subscription_of(item) if item["proration"] else None
        proration: Object = item["proration_details"] or {"credited_items": None, "discount_amounts": []}
        details: Object = {
            "invoice_item": item["id"],
            "proration": item["proration"],
            "proration_details": {"credited_items": self._credited(proration)} if item["proration"] else None,
            "subscription": subscription,
        }
        of_item = (
            details | {"subscription_item": item["parent"]["subscription_details"]["subscription_item"]}
            if subscription
            else None
        )
        return self.account.make(
            "line_item",
            amount=item["amount"],
            subtotal=item["amount"],
            currency=item["currency"],
            description=item["description"],
            discountable=item["discountable"],
            discounts=list(item["discounts"]),
            discount_amounts=[dict(each) for each in proration["discount_amounts"]],
            invoice=draft["id"],
            metadata=dict(item["metadata"]),
            period=dict(item["period"]),
            pricing=item["pricing"],
            quantity=item["quantity"] if item["pricing"] else None,
            quantity_decimal=item["quantity_decimal"] if item["pricing"] else None,
            taxes=self.invoicing.taxes(
                item["amount"], item["currency"], item["tax_rates"] or draft["default_tax_rates"]
            ),
            subscription=subscription,
            parent={
                "type": "subscription_item_details" if of_item else "invoice_item_details",
                "invoice_item_details": None if of_item else details,
                "subscription_item_details": of_item,
            },
        )

    def _credited(self, proration: Object) -> Object | None:
        """Return the lines that a credit is of. A debit that was pending has a line once an invoice has taken it."""
        found: Object | None = proration["credited_items"]
        if found is None or found["invoice_line_item_details"]:
            return found and found["invoice_line_item_details"]
        debit = self.account.find("invoiceitem", found["invoice_item"])
        invoice = self.account.find("invoice", debit["invoice"] or "") if debit else None
        if debit is None or invoice is None:
            return None
        lines = [each["id"] for each in invoice["lines"]["data"] if _is_of(each, debit)]
        return {"invoice": invoice["id"], "invoice_line_items": lines}


def _quantity(params: Params) -> Decimal:
    """Return a quantity: whole, or of at most twelve digits after the point (API reference: Create an invoice item)."""
    if "quantity_decimal" not in params:
        return Decimal(forms.whole(params, "quantity"))
    if "quantity" in params:
        raise invalid("You may only specify one of these parameters: quantity, quantity_decimal.", "quantity_decimal")
    value = str(params["quantity_decimal"])
    if not value.replace(".", "", 1).isdecimal() or len(value.partition(".")[2]) > currencies.DECIMALS:
        raise invalid(f"Invalid decimal: {value}", "quantity_decimal", "parameter_invalid_string")
    return Decimal(value)


def _is_of(line: Object, item: Object) -> bool:
    details: Any = line["parent"]["invoice_item_details"] or line["parent"]["subscription_item_details"]
    return details is not None and details["invoice_item"] == item["id"]


def _subscription_of(item: Object) -> str | None:
    return item["parent"]["subscription_details"]["subscription"] if item["parent"] else None


def _of_subscription(params: Params) -> Object | None:
    if "subscription" not in params:
        return None
    details = {"subscription": params["subscription"], "subscription_item": None}
    return {"type": "subscription_details", "subscription_details": details}
