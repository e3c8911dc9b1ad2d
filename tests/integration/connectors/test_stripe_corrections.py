"""What the Stripe connector credits, refunds, voids and writes off: each once for its order, and nothing that is
refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.billing import Contract
from canonical.corrections import CreditedLine, CreditOrder, InvoiceEnd, RefundOrder
from canonical.credits import RefundPart
from canonical.faults import Rejected
from canonical.money import Money
from sandbox.stripe.periods import DAY
from system_apis.billing.port import Billing
from tests.integration.connectors.test_stripe_invoices import started
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount, bank_transfer

ZERO = Money(0, "EUR")


def euros(cents: int) -> Money:
    return Money(cents, "EUR")


def order(invoice: str, line: str, order_id: str = "cor_1", **facts: Any) -> CreditOrder:
    """Return an order to credit the one seat of an invoice."""
    wanted = CreditOrder(order_id, invoice, "DE01", (CreditedLine(line, 1),), ZERO, ZERO, ZERO, text="Too much")
    return msgspec.structs.replace(wanted, **facts)


async def line_of(made: Bench[Billing], contract: Contract) -> tuple[str, str]:
    """Return the ids of the invoice of a contract and of its line."""
    invoice = contract.references["invoice"]
    found = await made.call(lambda: made.connector.correctable(invoice))
    return invoice, found.lines[0].line.id


def money(account: StripeAccount) -> tuple[int, int]:
    """Return how many credit notes and refunds there are."""
    return len(list(account.account.all("credit_note"))), len(list(account.account.all("refund")))


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_credit_note_is_issued_as_it_was_previewed_and_once_for_its_id(
    account: StripeAccount, tmp_path: Path, attempt: int
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice, line = await line_of(made, await started(made, method="pm_card_visa"))
        wanted = order(invoice, line, refund=euros(4_000), to_balance=euros(3_000), outside=euros(4_900))
        said = await made.call(lambda: made.connector.preview_credit_note(wanted))
        assert money(account) == (0, 0)
        assert (said.id, said.total, said.tax) == ("cor_1", euros(11_900), euros(1_900))
        assert (said.off_due, said.refunded, said.to_balance) == (ZERO, euros(4_000), euros(3_000))

        first = await made.call(lambda: made.connector.issue_credit_note(wanted))
        wanted = msgspec.structs.replace(wanted, attempt=attempt)  # of a second one the idempotency key is another
        again = await made.call(lambda: made.connector.issue_credit_note(wanted))
        assert again == first
        assert (first.refunded, first.to_balance, first.outside) == (euros(4_000), euros(3_000), euros(4_900))
        assert [each.id for each in first.lines] == [line]
        assert money(account) == (1, 1)
        (note,) = account.account.all("credit_note")
        assert note["metadata"] == {"tiergate_correction": "cor_1", "tiergate_reason": "Too much"}

        left = await made.call(lambda: made.connector.correctable(invoice))
        assert (left.credited, left.lines[0].quantity, left.lines[0].net, left.lines[0].tax) == (
            euros(11_900),
            0,
            ZERO,
            ZERO,
        )
        assert left.payments[0].refundable == euros(7_900)
        assert left.unexplained == ()

    run_over(account, tmp_path, act)


def test_what_is_not_left_of_a_line_and_what_does_not_add_up_is_refused_and_nothing_is_issued(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice, line = await line_of(made, await started(made, method="pm_card_visa"))
        for wrong in (
            order(invoice, line, refund=euros(11_899)),
            order(invoice, line, lines=(CreditedLine(line, 2),), refund=euros(23_800)),
            order(invoice, "il_else", refund=euros(11_900)),
            order(invoice, line, refund=euros(11_900), refunds=(RefundPart("re_else", euros(1)),)),
        ):
            with pytest.raises(Rejected):
                await made.call(lambda wrong=wrong: made.connector.preview_credit_note(wrong))
            with pytest.raises(Rejected):
                await made.call(lambda wrong=wrong: made.connector.issue_credit_note(wrong))
        assert money(account) == (0, 0)

    run_over(account, tmp_path, act)


def test_a_part_of_a_payment_is_refunded_once_and_named_by_a_later_credit_note(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice, line = await line_of(made, await started(made, method="pm_card_visa"))
        found = await made.call(lambda: made.connector.correctable(invoice))
        payment = found.payments[0].payment_id
        wanted = RefundOrder("cor_r", invoice, "DE01", payment, euros(1_190))
        first = await made.call(lambda: made.connector.refund_payment(wanted))
        again = await made.call(lambda: made.connector.refund_payment(msgspec.structs.replace(wanted, attempt=2)))
        assert (first, first.state, money(account)) == (again, "succeeded", (0, 1))

        left = await made.call(lambda: made.connector.correctable(invoice))
        assert left.payments[0].refundable == euros(10_710)
        assert left.unexplained == (RefundPart(first.id, euros(1_190)),)

        explains = order(invoice, line, lines=(CreditedLine(line, amount=euros(1_000)),), refunds=left.unexplained)
        note = await made.call(lambda: made.connector.issue_credit_note(explains))
        assert (note.total, note.refunded, money(account)) == (euros(1_190), euros(1_190), (1, 1))
        left = await made.call(lambda: made.connector.correctable(invoice))
        assert (left.unexplained, left.lines[0].quantity, left.lines[0].net) == ((), None, euros(9_000))

        more = RefundOrder("cor_s", invoice, "DE01", payment, euros(10_711))
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.refund_payment(more))
        assert money(account) == (1, 1)

    run_over(account, tmp_path, act)


def test_a_payment_that_is_disputed_or_was_made_past_billing_cannot_be_refunded(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await started(made, method="pm_card_createDispute")
        account.wait(1)
        invoice = contract.references["invoice"]
        found = await made.call(lambda: made.connector.correctable(invoice))
        assert [(each.disputed, each.refundable) for each in found.payments] == [(True, ZERO)]
        wanted = RefundOrder("cor_1", invoice, "DE01", found.payments[0].payment_id, euros(100))
        with pytest.raises(Rejected, match="charged back"):
            await made.call(lambda: made.connector.refund_payment(wanted))

        (dispute,) = account.api.v1.disputes.list().data
        account.stand_in.disputes.decide(account.account.get("dispute", dispute.id), "won")
        found = await made.call(lambda: made.connector.correctable(invoice))
        assert [(each.disputed, each.refundable) for each in found.payments] == [(False, euros(11_900))]

    run_over(account, tmp_path, act)


def test_what_was_paid_past_billing_goes_back_outside_of_it_alone(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice, line = await line_of(made, await started(made))
        paid = bank_transfer(account.api, invoice, 11_900)
        found = await made.call(lambda: made.connector.correctable(invoice))
        assert [(each.payment_id, each.refundable) for each in found.payments] == [(paid, ZERO)]
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.refund_payment(RefundOrder("c", invoice, "DE01", paid, euros(1))))
        note = await made.call(lambda: made.connector.issue_credit_note(order(invoice, line, outside=euros(11_900))))
        assert (note.outside, note.refunded) == (euros(11_900), ZERO)

    run_over(account, tmp_path, act)


def test_while_a_payment_is_on_its_way_an_invoice_says_so_and_is_not_credited(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice, line = await line_of(made, await started(made, method="pm_success_de"))
        assert (await made.call(lambda: made.connector.correctable(invoice))).processing
        with pytest.raises(Rejected, match="processing"):
            await made.call(lambda: made.connector.preview_credit_note(order(invoice, line)))
        account.wait(6 * DAY)
        found = await made.call(lambda: made.connector.correctable(invoice))
        assert (found.processing, found.invoice.state) == (False, "paid")

    run_over(account, tmp_path, act)


def test_an_open_invoice_is_voided_or_written_off_once_and_a_paid_one_is_not(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        first = (await started(made)).references["invoice"]
        second = (await started(made, id="con_2")).references["invoice"]
        for _ in range(2):
            voided = await made.call(lambda: made.connector.void_invoice(InvoiceEnd(first, "DE01")))
            off = await made.call(lambda: made.connector.write_off_invoice(InvoiceEnd(second, "DE01")))
            assert (voided.state, off.state) == ("void", "uncollectible")
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.write_off_invoice(InvoiceEnd(first, "DE01")))
        after_all = await made.call(lambda: made.connector.void_invoice(InvoiceEnd(second, "DE01")))
        assert after_all.state == "void"

        paid = (await started(made, method="pm_card_visa", id="con_3")).references["invoice"]
        for act_on in (made.connector.void_invoice, made.connector.write_off_invoice):
            with pytest.raises(Rejected):
                await made.call(lambda act_on=act_on: act_on(InvoiceEnd(paid, "DE01")))
        assert account.api.v1.invoices.retrieve(paid).status == "paid"

    run_over(account, tmp_path, act)
