"""What the Stripe connector makes of disputes, and what it sends about them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from canonical.disputes import Dispute, Evidence
from canonical.faults import Rejected
from canonical.money import Money
from sandbox.stripe.periods import DAY
from system_apis.billing.port import Billing
from tests.integration.connectors.test_stripe_invoices import started
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount


async def disputed(made: Bench[Billing], account: StripeAccount, method: str) -> Dispute:
    """Return the dispute of a contract that was paid with a method."""
    await started(made, method=method)
    account.wait(1)
    (found,) = account.api.v1.disputes.list().data
    return await made.call(lambda: made.connector.dispute(found.id))


def test_an_inquiry_costs_nothing_and_is_closed_without_a_dispute(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        inquiry = await disputed(made, account, "pm_card_createDisputeInquiry")
        assert (inquiry.state, inquiry.fees, inquiry.reason) == ("inquired", (), "fraudulent")
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.accept_dispute(inquiry.id))
        account.wait(120 * DAY)
        assert (await made.call(lambda: made.connector.dispute(inquiry.id))).state == "closed"

    run_over(account, tmp_path, act)


def test_an_inquiry_that_was_answered_becomes_a_dispute_which_takes_the_same_answer(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        inquiry = await disputed(made, account, "pm_card_createDisputeInquiry")
        for state in ("answered", "open"):
            asked = await made.call(lambda: made.connector.answer_dispute(inquiry.id, Evidence("they use it")))
            assert asked.state == "answered"
            if state == "answered":
                account.stand_in.disputes.decide(account.account.get("dispute", inquiry.id), "escalated")
        found = account.api.v1.disputes.retrieve(inquiry.id)
        assert (found.status, found.evidence_details.submission_count) == ("under_review", 2)

    run_over(account, tmp_path, act)


def test_a_fee_is_in_the_currency_of_the_balance_and_comes_back_below_nothing(
    account: StripeAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        opened = await disputed(made, account, "pm_card_createDispute")
        row = account.account.get("dispute", opened.id)
        for each in row["balance_transactions"]:  # as of an account that is paid out in one currency alone
            each |= {"currency": "usd", "fee": 1500}
        account.account.save(row)
        abroad = await made.call(lambda: made.connector.dispute(opened.id))
        assert [each.amount for each in abroad.fees] == [Money(1500, "USD")]
        assert abroad.amount == Money(11900, "EUR")

        account.stand_in.disputes.decide(account.account.get("dispute", opened.id), "won")
        won = await made.call(lambda: made.connector.dispute(opened.id))
        assert [each.amount.amount for each in won.fees] == [1500, -1500]
        assert len({each.id for each in won.fees}) == 2

    run_over(account, tmp_path, act)


def test_an_answer_on_which_the_bank_has_decided_already_was_sent(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        opened = await disputed(made, account, "pm_card_createDispute")
        for state in ("answered", "won"):
            found = await made.call(lambda: made.connector.answer_dispute(opened.id, Evidence("winning_evidence")))
            assert found.state == state
            account.wait(1)
        with pytest.raises(Rejected):
            await made.call(lambda: made.connector.answer_dispute(opened.id, Evidence("another")))
        assert account.api.v1.disputes.retrieve(opened.id).evidence_details.submission_count == 1

    run_over(account, tmp_path, act)


def test_no_answer_is_sent_after_its_time(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        opened = await disputed(made, account, "pm_card_createDispute")
        row = account.account.get("dispute", opened.id)
        details = row["evidence_details"] | {"due_by": 1}
        account.account.save(row | {"evidence_details": details})
        with pytest.raises(Rejected) as late:
            await made.call(lambda: made.connector.answer_dispute(opened.id, Evidence("too late")))
        assert late.value.field == "respond_by"
        assert account.api.v1.disputes.retrieve(opened.id).evidence_details.submission_count == 0

    run_over(account, tmp_path, act)


def test_each_text_of_an_answer_has_its_own_field(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        opened = await disputed(made, account, "pm_card_createDispute")
        names = Evidence.__struct_fields__
        whole = msgspec.convert({name: f"about {name}" for name in names}, Evidence)
        await made.call(lambda: made.connector.answer_dispute(opened.id, whole))
        sent = account.account.get("dispute", opened.id)["evidence"]
        assert sorted(each for each in sent.values() if each) == sorted(f"about {name}" for name in names)

    run_over(account, tmp_path, act)


def test_a_status_that_is_not_known_is_refused(account: StripeAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        opened = await disputed(made, account, "pm_card_createDispute")
        account.account.save(account.account.get("dispute", opened.id) | {"status": "unheard_of"})
        with pytest.raises(Rejected, match="unheard_of"):
            await made.call(lambda: made.connector.dispute(opened.id))

    run_over(account, tmp_path, act)
