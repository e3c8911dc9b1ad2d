"""Credit notes of the Stripe stand-in take off an invoice what it says, to the minor unit, however they are cut."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stripe_account import StripeAccount


def issued(account: StripeAccount, unit: int, quantity: int, percents: list[int], off: int) -> dict[str, Any]:
    """Return an open invoice of one line with taxes and a discount."""
    api: Any = account.api.v1
    customer = api.customers.create({}).id
    draft = api.invoices.create({"customer": customer, "collection_method": "send_invoice", "days_until_due": 30}).id
    product = api.products.create({"name": "Seat"}).id
    price = api.prices.create({"product": product, "currency": "eur", "unit_amount": unit}).id
    rates = [
        api.tax_rates.create({"display_name": "T", "inclusive": False, "percentage": each}).id for each in percents
    ]
    item = {"customer": customer, "invoice": draft, "pricing": {"price": price}, "quantity": quantity}
    if off:
        item["discounts"] = [{"coupon": api.coupons.create({"percent_off": off, "duration": "once"}).id}]
    api.invoice_items.create(item | {"tax_rates": rates})
    return api.invoices.finalize_invoice(draft).to_dict()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(min_value=100, max_value=9_999),
    st.lists(st.integers(min_value=1, max_value=5), min_size=1, max_size=4),
    st.lists(st.sampled_from([7, 19, 33]), max_size=2),
    st.sampled_from([0, 10, 33]),
    st.sampled_from(["quantity", "amount"]),
)
def test_parts_of_a_line_sum_up_to_the_line(
    unit: int, parts: list[int], percents: list[int], off: int, by: str
) -> None:
    with TemporaryDirectory() as folder:
        account = StripeAccount(Path(folder))
        invoice = issued(account, unit, sum(parts), percents, off)
        (line,) = invoice["lines"]["data"]
        cut = [{by: each if by == "quantity" else each * unit} for each in parts]

        api: Any = account.api.v1
        row = {"type": "invoice_line_item", "invoice_line_item": line["id"]}
        notes = [api.credit_notes.create({"invoice": invoice["id"], "lines": [row | each]}).to_dict() for each in cut]

        assert sum(each["total"] for each in notes) == invoice["total"]
        assert sum(each["discount_amount"] for each in notes) == sum(
            each["amount"] for each in line["discount_amounts"]
        )
        taxes = [tax for note in notes for tax in note["total_taxes"]]
        assert sum(each["amount"] for each in taxes) == sum(each["amount"] for each in line["taxes"])
        ended = api.invoices.retrieve(invoice["id"])
        assert (ended.status, ended.amount_due) == ("paid", 0)
        asyncio.run(account.close())
