"""How charges are disputed and direct debits returned in the Stripe stand-in, as Stripe's own client sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe
from litestar import Litestar
from litestar.testing import TestClient

from sandbox.stripe import control
from tests.end_to_end.peers.test_stripe_payments import DAY, read
from tests.end_to_end.peers.test_stripe_refunds import booked, events, paid
from tests.support.environment import Environment
from tests.support.stripe_account import StripeAccount


def disputed(account: StripeAccount, method: str = "pm_card_createDispute", **asked: int) -> stripe.Dispute:
    charge = paid(account.api, method=method, **asked)
    account.wait(1)
    (made,) = account.api.v1.disputes.list({"charge": charge.id}).data
    return made


def now(account: StripeAccount, dispute: stripe.Dispute) -> stripe.Dispute:
    return account.api.v1.disputes.retrieve(dispute.id)


def answered(account: StripeAccount, dispute: stripe.Dispute, words: str, **more: Any) -> stripe.Dispute:
    params: Any = {"evidence": {"uncategorized_text": words}} | more
    return account.api.v1.disputes.update(dispute.id, params)


def asked(account: StripeAccount, path: str, **body: str) -> httpx.Response:
    """Ask the control port for something."""
    with TestClient(Litestar(control.routes(account.stand_in), openapi_config=None)) as http:
        return http.post(path, json=body)


def test_a_disputed_charge_is_withdrawn_with_a_fee(api: stripe.StripeClient, account: StripeAccount) -> None:
    made = disputed(account)

    assert (made.status, made.reason, made.amount, made.is_charge_refundable) == (
        "needs_response",
        "fraudulent",
        10_000,
        False,
    )
    due = datetime.fromtimestamp(made.evidence_details.due_by or 0, UTC)
    assert ((due.hour, due.minute, due.second), (due.timestamp() - made.created) // DAY) == ((23, 59, 59), 20)
    assert [each.description for each in made.balance_transactions] == [f"Chargeback withdrawal for {made.charge}"]
    assert booked(api, made.id) == [("adjustment", "dispute", -10_000, 2_000, -12_000)]
    assert made.balance_transactions[0].fee_details[0].description == "Dispute fee"
    assert api.v1.charges.retrieve(str(made.charge)).disputed
    assert events(api, made.id) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]


def test_a_disputed_charge_is_not_refunded(api: stripe.StripeClient, account: StripeAccount) -> None:
    made = disputed(account)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.refunds.create({"charge": str(made.charge)})

    assert refused.value.code == "charge_disputed"


def test_a_dispute_that_is_won_gives_the_amount_and_the_fee_back(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    made = disputed(account)

    seen = answered(account, made, "winning_evidence")
    account.wait(1)

    ended = now(account, made)
    assert (seen.status, seen.evidence_details.submission_count) == ("under_review", 1)
    assert (ended.status, len(ended.balance_transactions)) == ("won", 2)
    assert booked(api, made.id)[1:] == [("adjustment", "dispute_reversal", 10_000, -2_000, 12_000)]
    assert events(api, made.id)[2:] == [
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    assert api.v1.refunds.create({"charge": str(made.charge)}).amount == 10_000


def test_a_dispute_that_is_lost_gives_nothing_back_and_its_invoice_stays_paid(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    made = disputed(account, "pm_card_createDisputeProductNotReceived")

    answered(account, made, "losing_evidence")
    account.wait(1)

    assert (now(account, made).status, made.reason) == ("lost", "product_not_received")
    assert [each[2] for each in booked(api, made.id)] == [-10_000]
    assert read(api, str(api.v1.invoices.list().data[0].id)).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="takes no evidence"):
        answered(account, made, "winning_evidence")


def test_evidence_is_staged_until_it_is_submitted(account: StripeAccount) -> None:
    made = disputed(account)

    staged = answered(account, made, "winning_evidence", submit=False)
    account.wait(DAY)
    waiting = now(account, made)
    account.api.v1.disputes.update(made.id, {"submit": True})
    account.wait(1)

    assert (staged.status, staged.evidence_details.has_evidence, waiting.status) == (
        "needs_response",
        True,
        "needs_response",
    )
    assert now(account, made).status == "won"


def test_who_does_not_answer_in_time_has_lost(account: StripeAccount) -> None:
    made = disputed(account)

    account.wait(20 * DAY)
    before = now(account, made).status
    account.wait(DAY)

    ended = now(account, made)
    assert (before, ended.status, ended.evidence_details.past_due) == ("needs_response", "lost", True)


def test_a_dispute_is_accepted_by_closing_it(api: stripe.StripeClient, account: StripeAccount) -> None:
    made = disputed(account)

    assert api.v1.disputes.close(made.id).status == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="cannot close a dispute with status lost"):
        api.v1.disputes.close(made.id)
    assert events(api, made.id)[-1] == "charge.dispute.closed"


def test_an_inquiry_takes_no_funds_and_is_closed_after_120_days(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    made = disputed(account, "pm_card_createDisputeInquiry")

    assert (made.status, made.balance_transactions, made.is_charge_refundable) == ("warning_needs_response", [], True)
    assert api.v1.refunds.create({"charge": str(made.charge), "amount": 1}).status == "succeeded"
    account.wait(120 * DAY)
    assert (now(account, made).status, booked(api, made.id)) == ("warning_closed", [])
    assert events(api, made.id) == ["charge.dispute.created", "charge.dispute.closed"]


def test_an_inquiry_may_become_a_dispute(api: stripe.StripeClient, account: StripeAccount) -> None:
    made = disputed(account, "pm_card_createDisputeInquiry")

    seen = answered(account, made, "escalate_inquiry_evidence")
    account.wait(1)

    escalated = now(account, made)
    assert (seen.status, escalated.status, escalated.is_charge_refundable) == (
        "warning_under_review",
        "needs_response",
        False,
    )
    assert [each[2] for each in booked(api, made.id)] == [-10_000]


def test_a_dispute_takes_no_evidence_that_is_unknown_or_too_long(account: StripeAccount) -> None:
    made = disputed(account)
    change: Any = account.api.v1.disputes.update

    with pytest.raises(stripe.InvalidRequestError) as refused:
        change(made.id, {"evidence": {"excuse": "none"}})
    with pytest.raises(stripe.InvalidRequestError, match="150000 characters"):
        answered(account, made, "x" * 150_001)

    assert refused.value.code == "parameter_unknown"
    assert now(account, made).status == "needs_response"
    assert change(made.id, {"metadata": {"team": "finance"}}).to_dict()["metadata"] == {"team": "finance"}


def test_what_was_refunded_is_not_disputed(api: stripe.StripeClient, account: StripeAccount) -> None:
    whole, part = (paid(api, method="pm_card_createDispute") for _ in range(2))
    api.v1.refunds.create({"charge": whole.id})
    api.v1.refunds.create({"charge": part.id, "amount": 4_000})
    account.wait(1)

    assert [(each.charge, each.amount) for each in api.v1.disputes.list().data] == [(part.id, 6_000)]


def test_a_direct_debit_is_disputed_at_once_and_lost(api: stripe.StripeClient, account: StripeAccount) -> None:
    charge = paid(api, method="pm_disputed_de")
    account.wait(5 * DAY)

    (made,) = api.v1.disputes.list({"charge": charge.id}).data
    assert (made.status, made.reason, made.evidence_details.due_by) == ("lost", "debit_not_authorized", None)
    assert booked(api, made.id) == [("adjustment", "dispute", -10_000, 750, -10_750)]
    assert events(api, made.id) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]


def test_a_direct_debit_is_returned_weeks_later_by_the_control_port(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    charge = paid(api, method="pm_success_de")
    path = f"/billing/charges/{charge.id}/return"
    early = asked(account, path).status_code
    account.wait(40 * DAY)

    done = asked(account, path, reason="insufficient_funds")

    assert (early, done.status_code, asked(account, path).status_code) == (400, 201, 400)
    (made,) = api.v1.disputes.list({"payment_intent": str(charge.payment_intent)}).data
    assert (made.id, made.status, made.reason) == (done.json()["id"], "lost", "insufficient_funds")
    assert read(api, str(api.v1.invoices.list().data[-1].id)).status == "paid"
    assert asked(account, path, reason="no idea").json()["error"]["param"] == "reason"


def test_the_control_port_decides_on_disputes(account: StripeAccount) -> None:
    card = paid(account.api, method="pm_card_visa")
    made, inquiry = disputed(account), disputed(account, "pm_card_createDisputeInquiry")

    assert asked(account, f"/billing/disputes/{made.id}", outcome="won").json()["status"] == "won"
    assert asked(account, f"/billing/disputes/{made.id}", outcome="won").status_code == 400
    assert asked(account, f"/billing/disputes/{made.id}", outcome="lost").json()["status"] == "lost"
    assert asked(account, f"/billing/disputes/{made.id}", outcome="lost").status_code == 400
    assert asked(account, f"/billing/disputes/{inquiry.id}", outcome="escalated").json()["status"] == "needs_response"
    assert asked(account, f"/billing/disputes/{inquiry.id}", outcome="escalated").status_code == 400
    assert asked(account, f"/billing/charges/{card.id}/return").status_code == 400
    assert asked(account, "/billing/disputes/du_1", outcome="won").status_code == 404


def test_the_control_port_of_a_sandbox_has_what_banks_do(environment: Environment) -> None:
    control_port = environment.sandbox.url("control")

    settings = httpx.get(f"{control_port}/billing/retries").raise_for_status().json()
    unknown = httpx.post(f"{control_port}/billing/charges/ch_none/return", json={})

    assert settings == {"days": [1, 3, 5, 7], "subscription": "past_due", "invoice": "open"}
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "resource_missing")
