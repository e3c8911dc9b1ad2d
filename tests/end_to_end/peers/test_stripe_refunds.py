"""How money goes back in the Stripe stand-in, and what the account has then, as Stripe's own Python client sees it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.stripe.refunds import DEBIT_LIMIT_DAYS
from tests.end_to_end.peers.test_stripe_payments import DAY, buyer, first_invoice
from tests.support.stripe_account import StripeAccount


def paid(api: stripe.StripeClient, amount: int = 10_000, method: str = "pm_card_visa") -> stripe.Charge:
    """Return the charge of an invoice that is paid, or being paid."""
    made = first_invoice(api, buyer(api, method), amount)
    assert made.payments is not None
    intent = made.payments.data[0].payment.payment_intent
    return api.v1.charges.list({"payment_intent": str(intent)}).data[0]


def charged(api: stripe.StripeClient, charge: stripe.Charge) -> tuple[int, bool]:
    now = api.v1.charges.retrieve(charge.id)
    return now.amount_refunded, now.refunded


def booked(api: stripe.StripeClient, source: str) -> list[tuple[str, str, int, int, int]]:
    found = api.v1.balance_transactions.list({"source": source}).data[::-1]
    return [(each.type, each.reporting_category, each.amount, each.fee, each.net) for each in found]


def events(api: stripe.StripeClient, *objects: str) -> list[str]:
    found = api.v1.events.list({"limit": 100}).data[::-1]
    return [each.type for each in found if each.data.object["id"] in objects]


def test_a_charge_is_refunded_in_parts_until_nothing_is_left(api: stripe.StripeClient) -> None:
    charge = paid(api)

    part = api.v1.refunds.create({"charge": charge.id, "amount": 2_500, "reason": "duplicate", "metadata": {"a": "1"}})
    after = charged(api, charge)
    rest = api.v1.refunds.create({"payment_intent": str(charge.payment_intent)})

    assert (part.status, part.amount, part.reason, part.to_dict()["metadata"]) == (
        "succeeded",
        2_500,
        "duplicate",
        {"a": "1"},
    )
    assert (after, rest.amount, charged(api, charge)) == ((2_500, False), 7_500, (10_000, True))
    assert [each.id for each in api.v1.refunds.list({"charge": charge.id}).data] == [rest.id, part.id]
    shown = api.v1.charges.retrieve(charge.id, {"expand": ["refunds"]}).refunds
    assert shown is not None
    assert [each.id for each in shown.data] == [rest.id, part.id]
    assert [each.id for each in shown.auto_paging_iter()] == [rest.id, part.id]
    assert events(api, charge.id) == ["charge.succeeded", "charge.refunded", "charge.refunded"]
    assert events(api, part.id) == ["refund.created"]


def test_a_payment_and_its_refunds_move_the_balance_and_the_fee_stays(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    charge = paid(api)
    refund = api.v1.refunds.create({"charge": charge.id, "amount": 4_000})

    assert booked(api, charge.id) == [("charge", "charge", 10_000, 175, 9_825)]
    assert booked(api, refund.id) == [("refund", "refund", -4_000, 0, -4_000)]
    expand: Any = {"expand": ["balance_transaction"]}
    before = api.v1.charges.retrieve(charge.id, expand).balance_transaction
    account.wait(7 * DAY)
    after = api.v1.charges.retrieve(charge.id, expand).balance_transaction
    assert isinstance(before, stripe.BalanceTransaction)
    assert isinstance(after, stripe.BalanceTransaction)
    assert (before.status, before.available_on - before.created, after.status) == ("pending", 7 * DAY, "available")
    assert [each.type for each in before.fee_details] == ["stripe_fee"]


def test_a_direct_debit_is_refunded_days_later(api: stripe.StripeClient, account: StripeAccount) -> None:
    charge = paid(api, method="pm_success_de")
    with pytest.raises(stripe.InvalidRequestError) as early:
        api.v1.refunds.create({"charge": charge.id})
    account.wait(5 * DAY)

    made = api.v1.refunds.create({"charge": charge.id})
    account.wait(4 * DAY)

    assert (early.value.code, made.status, made.pending_reason) == ("charge_not_refundable", "pending", "processing")
    assert api.v1.refunds.retrieve(made.id).status == "succeeded"
    assert events(api, made.id) == ["refund.created", "refund.updated", "charge.refund.updated"]
    assert booked(api, charge.id) + booked(api, made.id) == [
        ("payment", "charge", 10_000, 35, 9_965),
        ("payment_refund", "refund", -10_000, 0, -10_000),
    ]


def test_a_direct_debit_is_refunded_within_180_days(api: stripe.StripeClient, account: StripeAccount) -> None:
    charge = paid(api, method="pm_success_de")
    account.wait((DEBIT_LIMIT_DAYS + 1) * DAY)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.refunds.create({"charge": charge.id})

    assert refused.value.code == "charge_not_refundable"


def test_a_refund_to_a_card_may_be_pending_first(api: stripe.StripeClient, account: StripeAccount) -> None:
    charge = paid(api, method="pm_card_pendingRefund")

    made = api.v1.refunds.create({"charge": charge.id})
    account.wait(600)

    assert (made.status, api.v1.refunds.retrieve(made.id).status) == ("pending", "succeeded")
    assert charged(api, charge) == (10_000, True)


def test_a_refund_that_fails_later_gives_the_money_back_to_the_account(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    charge = paid(api, method="pm_card_refundFail")

    made = api.v1.refunds.create({"charge": charge.id})
    account.wait(600)

    failed = api.v1.refunds.retrieve(made.id)
    assert (made.status, failed.status, failed.failure_reason) == ("succeeded", "failed", "unknown")
    assert charged(api, charge) == (0, False)
    assert booked(api, made.id)[1:] == [("refund_failure", "refund_failure", 10_000, 0, 10_000)]
    assert events(api, made.id) == ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"]
    assert api.v1.refunds.create({"charge": charge.id}).amount == 10_000


@pytest.mark.parametrize(
    ("before", "asked", "code", "words"),
    [
        (None, 10_001, None, "is greater than charge amount"),
        (4_000, 6_001, None, r"\(60.01 EUR\) is greater than unrefunded amount on charge \(60.00 EUR\)"),
        (10_000, 1, "charge_already_refunded", "has already been refunded"),
        (None, 0, "parameter_invalid_integer", "Invalid positive integer"),
    ],
)
def test_more_than_is_left_is_not_refunded(
    api: stripe.StripeClient, before: int | None, asked: int, code: str | None, words: str
) -> None:
    charge = paid(api)
    if before:
        api.v1.refunds.create({"charge": charge.id, "amount": before})

    with pytest.raises(stripe.InvalidRequestError, match=words) as refused:
        api.v1.refunds.create({"charge": charge.id, "amount": asked})

    assert refused.value.code == code
    assert charged(api, charge)[0] == (before or 0)


def test_a_refund_is_of_one_payment_that_has_succeeded(api: stripe.StripeClient) -> None:
    failed = paid(api, method="pm_card_chargeCustomerFail")
    params: list[Any] = [
        {},
        {"charge": failed.id, "payment_intent": failed.payment_intent},
        {"payment_intent": failed.payment_intent},
        {"charge": failed.id},
    ]
    codes: list[str | None] = []
    for each in params:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.v1.refunds.create(each)
        codes.append(refused.value.code)

    assert codes == ["parameter_missing", None, "payment_intent_unexpected_state", "charge_not_refundable"]


def test_of_a_refund_only_the_metadata_changes_and_none_is_cancelled(api: stripe.StripeClient) -> None:
    made = api.v1.refunds.create({"charge": paid(api).id, "metadata": {"a": "1", "b": "2"}})

    changed = api.v1.refunds.update(made.id, {"metadata": {"a": "", "c": "3"}})
    with pytest.raises(stripe.InvalidRequestError, match="reason"):
        api.v1.refunds.update(made.id, {"reason": "fraudulent"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(stripe.InvalidRequestError, match="cannot cancel a refund with status succeeded"):
        api.v1.refunds.cancel(made.id)

    assert changed.to_dict()["metadata"] == {"b": "2", "c": "3"}


def test_a_payment_apart_from_invoices_is_refunded_too(api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create({"payment_method": "pm_card_visa"})
    card = api.v1.customers.payment_methods.list(customer.id).data[0].id
    intent = api.v1.payment_intents.create(
        {"amount": 700, "currency": "eur", "customer": customer.id, "payment_method": card, "confirm": True}
    )

    made = api.v1.refunds.create({"payment_intent": intent.id})

    assert (made.amount, made.charge, made.customer) == (700, intent.latest_charge, customer.id)
