"""What the Stripe connector makes of money that goes back, and comes in again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from canonical.credits import PaymentReversal
from canonical.events import (
    CREDIT_NOTE_ISSUED,
    CREDIT_NOTE_VOIDED,
    DISPUTE_CLOSED,
    DISPUTE_OPENED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
)
from canonical.faults import Conflict, Rejected
from canonical.money import Money
from sandbox.stripe.periods import DAY
from system_apis.billing.port import Billing
from tests.integration.connectors.test_stripe_invoices import started
from tests.support.connector_kit.subject import Bench, KitIntake, run_over
from tests.support.stripe_account import StripeAccount

Read = Callable[[str], Awaitable[PaymentReversal]]


def reader(made: Bench[Billing]) -> Read:
    async def read(key: str) -> PaymentReversal:
        return await made.call(lambda: made.connector.reversal(key))

    return read


async def reported(made: Bench[Billing], *types: str) -> list[tuple[str, str]]:
    """Return the events of some types that the account's list has, and what each is about."""
    intake = KitIntake()
    await made.connector.begin()
    await made.connector.look(intake)
    return [(each.type, each.subject) for each in intake.events if each.type in types]


def test_a_disputed_charge_goes_back_when_its_amount_is_withdrawn_and_comes_in_when_it_is_won(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_createDispute")
        account.wait(1)
        (dispute,) = account.api.v1.disputes.list().data
        read = reader(made)

        withdrawn = await read(dispute.id)
        assert (withdrawn.kind, withdrawn.amount, withdrawn.credited) == ("dispute", Money(11900, "EUR"), ())
        assert withdrawn.invoice_id == contract.references["invoice"]
        with pytest.raises(Conflict):
            await read(f"{dispute.id}:reinstated")

        account.stand_in.disputes.decide(account.account.get("dispute", dispute.id), "won")
        won = await read(f"{dispute.id}:reinstated")
        assert (won.id, won.kind, won.amount) == (f"{dispute.id}:reinstated", "reinstatement", withdrawn.amount)
        assert await reported(made, PAYMENT_REVERSED, PAYMENT_REINSTATED, DISPUTE_OPENED, DISPUTE_CLOSED) == [
            (DISPUTE_OPENED, dispute.id),
            (PAYMENT_REVERSED, dispute.id),
            (PAYMENT_REINSTATED, f"{dispute.id}:reinstated"),
            (DISPUTE_CLOSED, dispute.id),
        ]

    run_over(account, tmp_path, act)


def test_what_a_bank_takes_once_more_of_a_dispute_that_was_won_is_another_reversal_of_what_came_in_again(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_createDispute")
        account.wait(1)
        (dispute,) = account.api.v1.disputes.list().data
        first = (await reader(made)(dispute.id)).reversed_on
        for outcome in ("won", "lost"):
            account.wait(DAY)
            account.stand_in.disputes.decide(account.account.get("dispute", dispute.id), outcome)

        read, again = reader(made), f"{dispute.id}:2"
        taken, former = await read(again), await read(dispute.id)
        assert (taken.id, taken.kind, taken.amount) == (again, "dispute", Money(11900, "EUR"))
        assert taken.payment_id == f"{dispute.id}:reinstated"
        assert former.reversed_on == first < taken.reversed_on
        with pytest.raises(Conflict):
            await read(f"{again}:reinstated")
        assert await reported(made, PAYMENT_REVERSED, PAYMENT_REINSTATED, DISPUTE_CLOSED) == [
            (PAYMENT_REVERSED, dispute.id),
            (PAYMENT_REINSTATED, f"{dispute.id}:reinstated"),
            (DISPUTE_CLOSED, dispute.id),
            (PAYMENT_REVERSED, again),
            (DISPUTE_CLOSED, dispute.id),
        ]

    run_over(account, tmp_path, act)


def test_an_inquiry_moves_no_money(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        await started(made, method="pm_card_createDisputeInquiry")
        account.wait(1)
        (inquiry,) = account.api.v1.disputes.list().data
        with pytest.raises(Conflict):
            await reader(made)(inquiry.id)
        assert await reported(made, PAYMENT_REVERSED) == []

    run_over(account, tmp_path, act)


def test_a_direct_debit_that_is_returned_is_read_as_a_return(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_success_de")
        account.wait(6 * DAY)
        invoice = account.api.v1.invoices.retrieve(contract.references["invoice"])
        assert invoice.status == "paid"
        (charge,) = account.account.all("charge")
        account.stand_in.disputes.returned(charge, "insufficient_funds")
        (dispute,) = account.api.v1.disputes.list().data

        returned = await reader(made)(dispute.id)
        assert (returned.kind, returned.amount, returned.invoice_id) == ("return", Money(11900, "EUR"), invoice.id)

    run_over(account, tmp_path, act)


def test_a_refund_is_reported_once_it_has_succeeded_and_again_when_it_fails(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_refundFail")
        refund = await account.refund(contract.references["invoice"], Money(1000, "EUR"))
        read = reader(made)
        assert (await read(refund)).kind == "refund"

        account.wait(600)
        assert account.api.v1.refunds.retrieve(refund).status == "failed"
        failed = await read(f"{refund}:reinstated")
        assert (failed.kind, failed.amount) == ("reinstatement", Money(1000, "EUR"))
        assert (PAYMENT_REINSTATED, f"{refund}:reinstated") in await reported(made, PAYMENT_REINSTATED)

    run_over(account, tmp_path, act)


def test_a_refund_that_is_pending_is_reported_when_the_customer_has_the_money(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_pendingRefund")
        refund = await account.refund(contract.references["invoice"], Money(1000, "EUR"))
        with pytest.raises(Conflict):
            await reader(made)(refund)
        assert await reported(made, PAYMENT_REVERSED) == []

        account.wait(600)
        assert (await reader(made)(refund)).kind == "refund"
        assert set(await reported(made, PAYMENT_REVERSED)) == {(PAYMENT_REVERSED, refund)}

    run_over(account, tmp_path, act)


def test_what_is_refunded_of_no_invoice_and_credited_of_none_of_ours_is_none_of_our_business(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        api: Any = account.api.v1
        buyer = api.customers.create({"name": "Else"}).id
        card = api.payment_methods.attach("pm_card_visa", {"customer": buyer}).id
        paid = api.payment_intents.create(
            {"amount": 5000, "currency": "eur", "customer": buyer, "payment_method": card, "confirm": True}
        )
        assert paid.status == "succeeded"
        api.invoice_items.create({"customer": buyer, "amount": 5000, "currency": "eur"})
        invoice = api.invoices.create(
            {
                "customer": buyer,
                "collection_method": "send_invoice",
                "days_until_due": 7,
                "pending_invoice_items_behavior": "include",
            }
        ).id
        api.invoices.finalize_invoice(invoice)
        note = api.credit_notes.create({"invoice": invoice, "amount": 5000}).id

        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.credit_note(note))
        assert await reported(made, CREDIT_NOTE_ISSUED, CREDIT_NOTE_VOIDED, PAYMENT_REVERSED) == []

    run_over(account, tmp_path, act)
