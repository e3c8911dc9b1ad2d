"""A bank takes a payment back, or asks about it: support answers or accepts, and the books follow, each thing once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from canonical.disputes import DisputeRecord, DisputeSummary
from canonical.ids import utc_now
from canonical.money import Money
from canonical.orders import Page
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.sold import Sold

WHOLE = 119000
FEE = Money(2000, "EUR")
WINS, LOSES = "winning_evidence", "losing_evidence"
"""What the test mode decides by (Stripe, Testing: Evidence)."""


LOOK, MAKE, POST = '"=","txn_', '"description":"txn_', "account.move.post"
"""What is asked of the ERP to book a fee: whether it is booked, to make its move, and to post that."""


def disputed(sold: Sold) -> str:
    """Return the dispute of the first invoice, once the bank has opened it."""
    disputes: Any = sold.stripe.disputes
    (found,) = wait_until(lambda: disputes.list({"payment_intent": sold.intent()}).data, 20, "a dispute")
    return str(found.id)


def read(
    environment: Environment, dispute: str, client: str = "support-desk", channel: str = "support"
) -> DisputeRecord:
    return environment.channels.get(client, f"/{channel}/v1/disputes/{dispute}", DisputeRecord)


def listed(environment: Environment, sold: Sold, **query: str) -> tuple[DisputeSummary, ...]:
    """Return the disputes of the customer that support sees."""
    asked = urlencode({"customer_id": sold.order.customer_id} | query)
    page: Page[DisputeSummary] = environment.channels.get(
        "support-desk", f"/support/v1/disputes?{asked}", Page[DisputeSummary]
    )
    return page.items


def in_state(environment: Environment, sold: Sold, state: str) -> DisputeRecord:
    """Wait until the dispute of the customer is in a state, and nothing is on its way. Return its record."""

    def look() -> DisputeRecord | None:
        found = [each.id for each in listed(environment, sold) if each.state == state and each.doing is None]
        return read(environment, found[0]) if found else None

    return wait_until(look, 60, f"a dispute to be {state}")


def act(environment: Environment, dispute: str, action: str, **evidence: str) -> httpx.Response:
    body: dict[str, Any] = {"action": action, "reason": "we have asked the customer"}
    if evidence:
        body["evidence"] = evidence
    url = f"{environment.channels.url}/support/v1/disputes/{dispute}/actions"
    return httpx.post(url, headers=environment.channels.headers("support-desk"), json=body)


def moved(environment: Environment, code: str, *keys: str) -> Decimal:
    """Return what the moves of these keys have put on an account of the ERP, debit less credit."""
    of = ("move.description", "in", list(keys)), ("account.code", "=", code), ("move.state", "=", "posted")
    lines = environment.in_erp("account.move.line", *of)
    return sum((each.debit - each.credit for each in lines), Decimal(0))


def agrees_with_the_balance(environment: Environment, sold: Sold, found: DisputeRecord) -> None:
    """Check that the account of what billing owes us moved as the balance in billing did, and the expense as the
    fees."""
    row = sold.stripe.disputes.retrieve(found.id)
    fees = [each.id for each in found.fees]
    net = sum(each.net for each in row.balance_transactions)
    assert moved(environment, "1.1.9", found.id, f"{found.id}:reinstated", *fees) == sold.major(net)
    cost = sum(each.fee for each in row.balance_transactions)
    assert moved(environment, "5.1.3", *fees) == sold.major(cost) == sum(each.amount.decimal for each in found.fees)


def test_a_dispute_is_answered_and_won_and_all_is_as_it_was(environment: Environment) -> None:
    sold = Sold(environment, "Disputed Answered", "pm_card_createDispute", postings=4)
    dispute = disputed(sold)
    opened = in_state(environment, sold, "open")
    sold.agrees(WHOLE, unexplained=WHOLE)
    assert sold.open_cases() == ["payment_disputed"]
    assert (opened.amount, opened.contract_id) == (Money(WHOLE, "EUR"), sold.contract)
    assert (opened.actions, [each.amount for each in opened.fees]) == (("answer", "accept"), [FEE])
    agrees_with_the_balance(environment, sold, opened)

    assert opened.respond_by is not None
    later = (opened.respond_by + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert [each.id for each in listed(environment, sold, due_before=later)] == [dispute]
    assert listed(environment, sold, due_before=utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")) == ()

    environment.fault("billing", kind="drop", matching=f"disputes/{dispute}")  # done, and the answer is lost
    answer = {"explanation": WINS, "product": "Seats"}
    assert act(environment, dispute, "answer", **answer).status_code == 200
    environment.kill_and_start("process")
    won = in_state(environment, sold, "won")
    sold.booked(6)
    sold.agrees(0)
    assert sold.open_cases() == []
    assert [each.amount for each in won.fees] == [FEE, -FEE]
    agrees_with_the_balance(environment, sold, won)
    assert [(each.asked, each.by) for each in won.history if each.asked] == [("answer", "support-desk")]
    assert sold.stripe.disputes.retrieve(dispute).evidence_details.submission_count == 1
    again = act(environment, dispute, "accept")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/dispute-decided")
    seen = read(environment, dispute, "finance-app", "finance")
    assert (seen.state, seen.fees, seen.history) == (won.state, won.fees, won.history)


def test_a_dispute_that_is_accepted_is_lost_and_has_cost_its_fee(environment: Environment) -> None:
    sold = Sold(environment, "Disputed Accepted", "pm_card_createDispute", postings=4)
    dispute = disputed(sold)
    in_state(environment, sold, "open")
    assert act(environment, dispute, "accept").status_code == 200
    assert act(environment, dispute, "accept").status_code == 200
    lost = in_state(environment, sold, "lost")
    sold.booked(4)
    sold.agrees(WHOLE, unexplained=WHOLE)
    assert sold.open_cases() == []
    agrees_with_the_balance(environment, sold, lost)


def test_an_inquiry_becomes_a_dispute_and_is_lost(environment: Environment) -> None:
    sold = Sold(environment, "Inquired", "pm_card_createDisputeInquiry")
    dispute = disputed(sold)
    inquired = in_state(environment, sold, "inquired")
    sold.agrees(0)
    assert (inquired.fees, inquired.actions, sold.open_cases()) == ((), ("answer",), ["payment_disputed"])
    assert act(environment, dispute, "accept").json()["type"] == "/problems/not-allowed-now"

    url = f"{environment.sandbox.url('control')}/billing/disputes/{dispute}"
    httpx.post(url, json={"outcome": "escalated"}).raise_for_status()
    in_state(environment, sold, "open")
    sold.booked(4)
    sold.agrees(WHOLE, unexplained=WHOLE)
    assert act(environment, dispute, "answer", explanation=LOSES).status_code == 200
    lost = in_state(environment, sold, "lost")
    assert [each.state for each in lost.history if not each.asked][:3] == ["reported", "inquired", "open"]
    agrees_with_the_balance(environment, sold, lost)
    assert sold.open_cases() == []


@pytest.mark.extended
def test_a_kill_at_each_step_of_a_fee_books_it_once(environment: Environment) -> None:
    sold = Sold(environment, "Disputed Killed")
    card = sold.stripe.payment_methods.attach("pm_card_createDispute", {"customer": sold.customer}).id
    invoice = sold.invoice_more(10000, pay=False)
    sold.booked(3)

    environment.fault("billing", kind="late", matching="/v1/disputes/", milliseconds=1500)
    slowed(environment, LOOK, MAKE, POST, POST)  # the money that the bank has withdrawn is posted, too
    sold.stripe.invoices.pay(invoice, {"payment_method": card})
    killed_at_each(environment, "billing", 1)
    killed_at_each(environment, "erp", 4)
    opened = in_state(environment, sold, "open")
    sold.booked(6)
    is_booked_once(environment, sold, opened)
    assert sold.open_cases() == ["payment_disputed"]

    slowed(environment, LOOK, MAKE, POST)
    assert act(environment, opened.id, "answer", explanation=WINS).status_code == 200
    killed_at_each(environment, "erp", 3)
    won = in_state(environment, sold, "won")
    sold.booked(8)
    is_booked_once(environment, sold, won)
    assert (sold.open_cases(), [each.amount for each in won.fees]) == ([], [FEE, -FEE])
    sold.agrees(0)


def slowed(environment: Environment, *steps: str) -> None:
    """Let the ERP do each of some steps, and answer late, once."""
    for step in steps:
        environment.fault("erp", kind="late", matching=step, milliseconds=1500)


def killed_at_each(environment: Environment, platform: Any, steps: int) -> None:
    """Kill the process layer, and start it again, while a platform is at each of so many steps."""
    for left in reversed(range(steps)):
        wait_until(lambda left=left: environment.faults_left(platform) <= left, 60, f"all steps but {left}")
        environment.kill("process")
        environment.start("process")


def is_booked_once(environment: Environment, sold: Sold, found: DisputeRecord) -> None:
    agrees_with_the_balance(environment, sold, found)
    for fee in found.fees:
        (move,) = environment.in_erp("account.move", ("description", "=", fee.id))
        assert move.state == "posted"
