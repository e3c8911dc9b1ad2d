"""What the Stripe connector says of invoices that are not paid: how they are collected, and what is reported of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.billing import Contract
from canonical.corrections import InvoiceEnd
from canonical.dunning import OpenInvoice
from canonical.events import (
    COLLECTION_CHANGED,
    INVOICE_CANCELLED,
    INVOICE_PAID,
    MEANS_ATTACHED,
    PAYMENT_FAILED,
)
from canonical.faults import Rejected
from canonical.money import Money
from sandbox.stripe.dunning import Declines
from sandbox.stripe.periods import DAY
from system_apis.billing.port import Billing
from system_apis.billing.stripe import webhooks
from system_apis.billing.stripe.event_feed import MOST_TYPES
from tests.integration.connectors.test_stripe_invoices import started
from tests.integration.connectors.test_stripe_reversals import reported
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount

GROSS = Money(11900, "EUR")


async def left(made: Bench[Billing], contract: Contract) -> tuple[OpenInvoice, ...]:
    return (await made.call(lambda: made.connector.open_invoices(contract))).items


def bank_says(account: StripeAccount, code: str | None) -> None:
    """Let the bank of the one card refuse it from now on for a reason, or no more."""
    (card,) = account.account.all("payment_method")
    account.stand_in.due.dunning.refuse(card["id"], Declines(code))


def test_a_failed_payment_says_how_often_it_was_tried_why_it_failed_and_when_it_is_tried_again(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_visa_chargeDeclinedInsufficientFunds")

        (first,) = await left(made, contract)
        assert (first.id, first.due, first.attempts) == (contract.references["invoice"], GROSS, 1)
        assert (first.reason, first.is_overdue, first.needs_means) == ("insufficient funds", True, False)
        assert first.next_attempt_at

        account.wait(DAY + 60)
        (second,) = await left(made, contract)
        assert second.next_attempt_at
        assert (second.attempts, second.next_attempt_at > first.next_attempt_at) == (2, True)
        events = await reported(made, PAYMENT_FAILED, COLLECTION_CHANGED)
        assert events[:2] == [(PAYMENT_FAILED, first.id), (COLLECTION_CHANGED, contract.id)]

        bank_says(account, None)
        account.wait(4 * DAY)
        assert await left(made, contract) == ()
        assert await reported(made, INVOICE_PAID) == [(INVOICE_PAID, first.id)]

    run_over(account, tmp_path, act)


def test_a_card_that_is_refused_for_good_waits_for_another_one_until_there_is_one(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_chargeCustomerFail")
        bank_says(account, "stolen_card")
        account.wait(DAY + 60)
        (refused,) = await left(made, contract)
        assert (refused.reason, refused.needs_means) == ("stolen card", True)

        api, customer = account.api.v1, contract.references["customer"]
        card = api.payment_methods.attach("pm_card_visa", {"customer": customer})
        api.customers.update(customer, {"invoice_settings": {"default_payment_method": card.id}})
        (waiting,) = await left(made, contract)
        assert (waiting.is_overdue, waiting.needs_means) == (True, False)
        assert await reported(made, MEANS_ATTACHED) == [(MEANS_ATTACHED, "cus_1")]

    run_over(account, tmp_path, act)


def test_a_direct_debit_on_its_way_is_not_overdue_and_is_once_it_has_failed(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_failed_de")
        (waiting,) = await left(made, contract)
        assert (waiting.in_collection, waiting.is_overdue, waiting.attempts) == (True, False, 1)
        assert await reported(made, PAYMENT_FAILED, INVOICE_PAID) == []

        account.wait(6 * DAY)
        (failed,) = await left(made, contract)
        assert (failed.in_collection, failed.is_overdue) == (False, True)

    run_over(account, tmp_path, act)


def test_an_invoice_that_is_sent_is_overdue_with_its_day_and_that_is_reported(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        (waiting,) = await left(made, contract)
        assert (waiting.is_overdue, waiting.attempts, waiting.next_attempt_at) == (False, 0, None)

        account.wait(31 * DAY)
        assert (COLLECTION_CHANGED, contract.id) in await reported(made, COLLECTION_CHANGED)
        made.offset = timedelta(days=31)
        (late, *_) = await left(made, contract)
        assert (late.is_overdue, late.since) == (True, waiting.since)

    run_over(account, tmp_path, act)


def test_an_invoice_that_is_sent_has_a_payment_on_its_way_once_its_customer_pays_by_debit(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made)
        account.wait(31 * DAY)
        made.offset = timedelta(days=31)
        late, *_ = await left(made, contract)
        assert (late.is_overdue, late.in_collection) == (True, False)
        api, customer = account.api.v1, contract.references["customer"]
        debit = api.payment_methods.attach("pm_success_de", {"customer": customer})
        api.invoices.pay(late.id, {"payment_method": debit.id})
        paying, *_ = await left(made, contract)
        assert (paying.id, paying.in_collection, paying.needs_means) == (late.id, True, False)

    run_over(account, tmp_path, act)


def test_a_contract_that_billing_has_ended_by_itself_is_over_and_owes_still(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_chargeCustomerFail")
        found = await made.call(lambda: made.connector.open_invoices(contract))
        assert (found.is_over, len(found.items)) == (False, 1)
        account.api.v1.subscriptions.cancel(contract.references["subscription"])
        found = await made.call(lambda: made.connector.open_invoices(contract))
        assert (found.is_over, len(found.items)) == (True, 1)

    run_over(account, tmp_path, act)


def test_a_contract_that_names_no_subscription_is_over_once_all_that_billed_it_is(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_chargeCustomerFail")
        bare = msgspec.structs.replace(contract, references={"customer": contract.references["customer"]})
        assert not (await made.call(lambda: made.connector.open_invoices(bare))).is_over
        account.api.v1.subscriptions.cancel(contract.references["subscription"])
        assert (await made.call(lambda: made.connector.open_invoices(bare))).is_over
        other = msgspec.structs.replace(bare, id="con_of_another")
        assert not (await made.call(lambda: made.connector.open_invoices(other))).is_over

    run_over(account, tmp_path, act)


def test_what_people_have_taken_out_of_collection_is_left_to_them(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_chargeCustomerFail")
        mark: Any = {"metadata": {"tiergate_collection": "stopped"}}
        account.api.v1.invoices.update(contract.references["invoice"], mark)
        assert await left(made, contract) == ()

    run_over(account, tmp_path, act)


def test_an_invoice_is_written_off_once_and_what_is_paid_stays_so(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_chargeCustomerFail")
        invoice = contract.references["invoice"]
        for _ in range(2):
            await made.call(lambda: made.connector.write_off_invoice(InvoiceEnd(invoice, contract.legal_entity)))
        assert (await made.call(lambda: made.connector.invoice(invoice))).state == "uncollectible"
        assert await left(made, contract) == ()
        assert await reported(made, INVOICE_CANCELLED) == [(INVOICE_CANCELLED, invoice)]

        account.api.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.write_off_invoice(InvoiceEnd(invoice, contract.legal_entity)))
        assert (await made.call(lambda: made.connector.invoice(invoice))).state == "paid"

    run_over(account, tmp_path, act)


def test_more_types_of_events_than_a_list_takes_are_read_in_the_order_in_which_they_came(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        assert len(webhooks.TYPES) > MOST_TYPES
        contract = await started(made, method="pm_card_chargeCustomerFail")
        account.wait(10)
        bank_says(account, None)
        account.api.v1.payment_methods.attach("pm_card_visa", {"customer": contract.references["customer"]})
        account.wait(10)
        account.api.v1.invoices.pay(contract.references["invoice"])

        events = await reported(made, PAYMENT_FAILED, MEANS_ATTACHED, INVOICE_PAID)
        assert [kind for kind, _ in events] == [PAYMENT_FAILED, MEANS_ATTACHED, INVOICE_PAID]

    run_over(account, tmp_path, act)
