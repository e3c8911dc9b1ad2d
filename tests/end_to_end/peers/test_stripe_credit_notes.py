"""How invoices are corrected by credit notes in the Stripe stand-in, as Stripe's own Python client sees it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.end_to_end.peers.test_stripe_payments import (
    DAY,
    billed,
    booked,
    buyer,
    events,
    first_invoice,
    payments,
    read,
)
from tests.support.stripe_account import StripeAccount, bank_transfer


def noted(api: stripe.StripeClient, invoice: stripe.Invoice, **params: Any) -> stripe.CreditNote:
    asked: Any = {"invoice": invoice.id} | params
    return api.v1.credit_notes.create(asked)


def credited(api: stripe.StripeClient, invoice: stripe.Invoice) -> tuple[Any, ...]:
    """Return state, due, remaining, and what was credited before and after payment."""
    now = read(api, str(invoice.id))
    sums = (now.pre_payment_credit_notes_amount, now.post_payment_credit_notes_amount)
    return (now.status, now.amount_due, now.amount_remaining, *sums)


def refused(api: stripe.StripeClient, invoice: stripe.Invoice, **params: Any) -> str:
    with pytest.raises(stripe.InvalidRequestError) as error:
        noted(api, invoice, **params)
    return str(error.value)


def paid(api: stripe.StripeClient, amount: int = 10_000, **facts: Any) -> stripe.Invoice:
    return first_invoice(api, buyer(api), amount, **facts)


def taxed(api: stripe.StripeClient, percent: float = 19) -> dict[str, Any]:
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": percent})
    return {"default_tax_rates": [rate.id]}


def open_lines(api: stripe.StripeClient, *amounts: int, percent: float = 19) -> stripe.Invoice:
    customer = buyer(api)
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": percent}).id
    draft = api.v1.invoices.create({"customer": customer, "collection_method": "send_invoice", "days_until_due": 30})
    for each in amounts:
        product = api.v1.products.create({"name": "Seat"}).id
        price = api.v1.prices.create({"product": product, "currency": "eur", "unit_amount": each}).id
        item: Any = {"customer": customer, "invoice": draft.id, "pricing": {"price": price}, "quantity": 3}
        api.v1.invoice_items.create(item | {"tax_rates": [rate]})
    return api.v1.invoices.finalize_invoice(str(draft.id))


def line(invoice: stripe.Invoice, place: int = 0, **values: Any) -> dict[str, Any]:
    return {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[place].id} | values


def test_a_credit_note_reduces_what_remains_of_an_open_invoice(api: stripe.StripeClient) -> None:
    invoice = billed(api, buyer(api), 10_000)

    note = noted(
        api, invoice, amount=2_500, reason="order_change", memo="Two were not sent", effective_at=1_700_000_000
    )

    assert (note.type, note.status, note.number) == ("pre_payment", "issued", f"{invoice.number}-CN-01")
    assert (note.amount, note.pre_payment_amount, note.post_payment_amount) == (2_500, 2_500, 0)
    assert (note.reason, note.memo, note.effective_at) == ("order_change", "Two were not sent", 1_700_000_000)
    assert credited(api, invoice) == ("open", 7_500, 7_500, 2_500, 0)
    assert noted(api, invoice, amount=100).number == f"{invoice.number}-CN-02"
    assert events(api, note.id) == ["credit_note.created"]
    api.v1.invoices.pay(str(invoice.id))
    assert payments(read(api, str(invoice.id))) == [("paid", 7_400)]


def test_an_invoice_that_is_credited_whole_is_paid_without_a_payment(api: stripe.StripeClient) -> None:
    invoice = billed(api, buyer(api), 10_000)

    noted(api, invoice, amount=10_000)

    assert credited(api, invoice) == ("paid", 0, 0, 10_000, 0)
    assert payments(read(api, str(invoice.id))) == [("canceled", None)]
    assert events(api, str(invoice.id))[-1] == "invoice.paid"


def test_a_subscription_whose_invoice_is_credited_whole_is_active_again(api: stripe.StripeClient) -> None:
    invoice = first_invoice(api, buyer(api, "pm_card_chargeCustomerFail"), 10_000)
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    key = str(invoice.parent.subscription_details.subscription)

    before = api.v1.subscriptions.retrieve(key).status
    noted(api, invoice, amount=10_000)

    assert (before, api.v1.subscriptions.retrieve(key).status) == ("incomplete", "active")


def test_what_was_paid_goes_back_in_three_ways_that_sum_up(api: stripe.StripeClient) -> None:
    invoice = paid(api)
    customer = str(invoice.customer)

    wrong = refused(api, invoice, amount=6_000, refund_amount=3_000, credit_amount=2_000)
    note = noted(api, invoice, amount=6_000, refund_amount=3_000, credit_amount=2_000, out_of_band_amount=1_000)

    assert "must equal the post-payment amount" in wrong
    assert (note.type, note.post_payment_amount, note.out_of_band_amount) == ("post_payment", 6_000, 1_000)
    assert [each.amount_refunded for each in note.refunds] == [3_000]
    refund = api.v1.refunds.retrieve(str(note.refunds[0].refund))
    assert (refund.amount, refund.status) == (3_000, "succeeded")
    assert credited(api, invoice) == ("paid", 10_000, 0, 0, 6_000)
    assert booked(api, customer) == [("credit_note", -2_000, -2_000)]
    transaction = api.v1.customers.balance_transactions.list(customer).data[0]
    assert (note.customer_balance_transaction, transaction.credit_note) == (transaction.id, note.id)


def test_an_invoice_that_was_paid_in_part_is_credited_first_where_it_is_open(api: stripe.StripeClient) -> None:
    invoice = billed(api, buyer(api), 10_000)
    bank_transfer(api, str(invoice.id), 4_000)

    note = noted(api, invoice, amount=7_000, out_of_band_amount=1_000)

    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == ("mixed", 6_000, 1_000)
    assert credited(api, invoice) == ("paid", 4_000, 0, 6_000, 1_000)


def test_refunds_that_exist_already_are_linked_and_none_twice(api: stripe.StripeClient) -> None:
    invoice, other = paid(api), paid(api)
    charges = {str(each.customer): each.id for each in api.v1.charges.list().data}
    refund = api.v1.refunds.create({"charge": charges[str(invoice.customer)], "amount": 3_000}).id
    foreign = api.v1.refunds.create({"charge": charges[str(other.customer)], "amount": 3_000}).id

    first = noted(api, invoice, amount=2_000, refunds=[{"refund": refund, "amount_refunded": 2_000}])
    second = noted(api, invoice, amount=1_000, refunds=[{"refund": refund}])

    assert [each.amount_refunded for each in (*first.refunds, *second.refunds)] == [2_000, 1_000]
    assert len(api.v1.refunds.list({"charge": charges[str(invoice.customer)]}).data) == 1
    assert "is left" in refused(api, invoice, amount=1_000, refunds=[{"refund": refund, "amount_refunded": 1_000}])
    assert "not of a payment" in refused(api, invoice, amount=1_000, refunds=[{"refund": foreign}])


def test_a_line_is_credited_by_quantity_with_its_tax(api: stripe.StripeClient) -> None:
    invoice = open_lines(api, 3_333, 5_000)

    note = noted(api, invoice, lines=[line(invoice, quantity=1), line(invoice, 1, quantity=2)])

    rows = note.lines.data
    assert [(each.amount, each.quantity, each.unit_amount, each.taxes and each.taxes[0].amount) for each in rows] == [
        (3_333, 1, 3_333, 633),
        (10_000, 2, 5_000, 1_900),
    ]
    assert note.total_taxes is not None
    assert (note.subtotal, note.total_taxes[0].amount, note.total) == (13_333, 2_533, 15_866)
    assert [each.percentage for each in rows[0].tax_rates] == [19]


def test_the_last_credit_of_a_line_takes_all_that_is_left_of_its_tax(api: stripe.StripeClient) -> None:
    invoice = open_lines(api, 3_333)
    whole = invoice.total

    notes = [noted(api, invoice, lines=[line(invoice, amount=each)]) for each in (3_333, 3_333, 3_333)]

    assert (sum(each.total for each in notes), credited(api, invoice)[0]) == (whole, "paid")


def test_a_line_of_its_own_has_tax_rates_of_its_own(api: stripe.StripeClient) -> None:
    invoice = paid(api, **taxed(api))
    own = {"type": "custom_line_item", "description": "Goodwill", "unit_amount_decimal": "99.5", "quantity": 2}

    note = noted(api, invoice, lines=[own | {"tax_rates": taxed(api, 7)["default_tax_rates"]}], credit_amount=213)

    (row,) = note.lines.data
    assert (row.amount, row.unit_amount, str(row.unit_amount_decimal), note.total) == (199, None, "99.5", 213)


def test_a_discount_is_credited_in_proportion(api: stripe.StripeClient) -> None:
    tenth = api.v1.coupons.create({"percent_off": 10, "duration": "once"}).id
    invoice = paid(api, discounts=[{"coupon": tenth}], **taxed(api))

    note = noted(api, invoice, lines=[line(invoice, amount=5_000)], refund_amount=5_355)

    assert (note.subtotal, note.discount_amount, note.total_excluding_tax, note.total) == (5_000, 500, 4_500, 5_355)


def test_no_more_is_credited_than_is_left(api: stripe.StripeClient) -> None:
    invoice = open_lines(api, 3_000, 5_000)
    noted(api, invoice, lines=[line(invoice, quantity=2), line(invoice, 1, amount=1_000)])

    assert "at most 1," in refused(api, invoice, lines=[line(invoice, quantity=2)])
    assert "at most 14000," in refused(api, invoice, lines=[line(invoice, 1, amount=14_001)])
    assert "either by quantity or by amount" in refused(api, invoice, lines=[line(invoice, amount=1)])
    assert "either by quantity or by amount" in refused(api, invoice, lines=[line(invoice, 1, quantity=1)])
    left = invoice.total - credited(api, invoice)[3]
    assert f"at most {left}," in refused(api, invoice, amount=left + 1)
    assert noted(api, invoice, amount=left).amount == left


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "One of `amount`, `lines`"),
        ({"amount": 0}, "One of `amount`, `lines`|above 0"),
        ({"amount": 100, "reason": "mistake"}, "Invalid reason"),
        ({"amount": 100, "refund_amount": 100}, "must equal the post-payment amount"),
        ({"lines": [{"type": "custom_line_item", "description": "A"}]}, "unit_amount"),
        ({"lines": [{"type": "custom_line_item", "unit_amount": 5}]}, "description"),
        ({"lines": [{"type": "invoice_line_item", "invoice_line_item": "il_1", "amount": 5}]}, "No such invoice line"),
        ({"lines": [{"type": "custom_line_item", "description": "A", "unit_amount": 5, "amount": 5}]}, "unknown"),
        ({"amount": 7, "lines": [{"type": "custom_line_item", "description": "A", "unit_amount": 5}]}, "sum up to 5"),
        ({"lines": [{"type": "discount"}]}, "must be one of invoice_line_item, custom_line_item"),
    ],
)
def test_what_says_nothing_or_two_things_is_refused(
    api: stripe.StripeClient, params: dict[str, Any], words: str
) -> None:
    invoice = billed(api, buyer(api), 10_000)

    with pytest.raises(stripe.InvalidRequestError, match=words):
        noted(api, invoice, **params)

    assert credited(api, invoice) == ("open", 10_000, 10_000, 0, 0)


def test_only_an_open_or_a_paid_invoice_is_credited(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    draft = api.v1.invoices.create({"customer": customer})
    void = api.v1.invoices.void_invoice(str(billed(api, customer, 5_000).id))
    debited = first_invoice(api, buyer(api, "pm_success_de"), 5_000)

    assert "it is draft" in refused(api, draft, amount=1)
    assert "it is void" in refused(api, void, amount=1)
    assert "is processing" in refused(api, debited, amount=1)


def test_a_preview_says_the_same_and_stores_nothing(api: stripe.StripeClient) -> None:
    invoice = open_lines(api, *[100 * each for each in range(1, 13)])
    every = api.v1.invoices.line_items.list(str(invoice.id)).auto_paging_iter()
    wanted = [{"type": "invoice_line_item", "invoice_line_item": each.id, "quantity": 2} for each in every]
    asked: Any = {"invoice": invoice.id, "lines": wanted}

    seen = api.v1.credit_notes.preview(asked)
    rows = list(api.v1.credit_notes.preview_lines.list(asked | {"limit": 5}).auto_paging_iter())
    before = api.v1.credit_notes.list({"invoice": str(invoice.id)}).data
    made = noted(api, invoice, lines=asked["lines"])

    assert (before, seen.total, seen.number) == ([], made.total, made.number)
    assert (len(seen.lines.data), seen.lines.has_more, len(rows)) == (10, True, 12)
    assert [each.amount for each in rows] == [each.amount for each in made.lines.auto_paging_iter()]
    assert credited(api, invoice)[3] == made.total


def test_a_void_credit_note_is_owed_again_while_its_invoice_is_open(api: stripe.StripeClient) -> None:
    invoice = open_lines(api, 1_000)
    whole = invoice.total
    note = noted(api, invoice, lines=[line(invoice, quantity=2)])

    voided = api.v1.credit_notes.void_credit_note(note.id)

    assert (voided.status, voided.voided_at is not None) == ("void", True)
    assert credited(api, invoice) == ("open", whole, whole, 0, 0)
    assert events(api, note.id) == ["credit_note.created", "credit_note.voided"]
    assert noted(api, invoice, lines=[line(invoice, quantity=3)]).number == f"{invoice.number}-CN-02"
    with pytest.raises(stripe.InvalidRequestError, match="already void"):
        api.v1.credit_notes.void_credit_note(note.id)


def test_what_was_credited_to_the_balance_is_taken_back_and_what_was_paid_back_stays(api: stripe.StripeClient) -> None:
    invoice = paid(api)
    to_balance = noted(api, invoice, amount=1_000, credit_amount=1_000)
    returned = noted(api, invoice, amount=2_000, refund_amount=2_000)
    whole = billed(api, buyer(api), 5_000)
    settled = noted(api, whole, amount=5_000)

    api.v1.credit_notes.void_credit_note(to_balance.id)

    assert booked(api, str(invoice.customer)) == [("credit_note", -1_000, -1_000), ("credit_note", 1_000, 0)]
    assert credited(api, invoice)[4] == 2_000
    for note, words in ((returned, "was paid back"), (settled, "associated invoice is open")):
        with pytest.raises(stripe.InvalidRequestError, match=words):
            api.v1.credit_notes.void_credit_note(note.id)


def test_of_a_credit_note_only_the_memo_and_the_metadata_change(api: stripe.StripeClient) -> None:
    note = noted(api, billed(api, buyer(api), 5_000), amount=100, metadata={"a": "1"})

    changed = api.v1.credit_notes.update(note.id, {"memo": "Sorry", "metadata": {"b": "2"}})
    with pytest.raises(stripe.InvalidRequestError, match="reason"):
        api.v1.credit_notes.update(note.id, {"reason": "duplicate"})  # pyright: ignore[reportArgumentType]

    assert (changed.memo, changed.to_dict()["metadata"]) == ("Sorry", {"a": "1", "b": "2"})
    assert [each.id for each in api.v1.credit_notes.list({"customer": str(note.customer)}).data] == [note.id]
    assert api.v1.credit_notes.retrieve(note.id).memo == "Sorry"


def test_a_charge_that_does_not_cover_a_refund_leaves_no_credit_note(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    invoice = paid(api)
    charge = api.v1.charges.list({"customer": str(invoice.customer)}).data[0].id
    api.v1.refunds.create({"charge": charge, "amount": 9_500})
    account.wait(DAY)

    assert "greater than unrefunded amount" in refused(api, invoice, amount=600, refund_amount=600)
    assert api.v1.credit_notes.list({"invoice": str(invoice.id)}).data == []
    assert credited(api, invoice)[4] == 0
