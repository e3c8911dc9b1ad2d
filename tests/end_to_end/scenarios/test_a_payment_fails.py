"""A payment fails, and billing tries again: the contract is past due until it is paid, its service is suspended and
goes on as the catalogue says, and what nobody pays comes to its last step. In virtual time, on a real Tryton."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.environment import Environment
from tests.support.owing import POLICY, Debtor, govern, governed
from tests.support.platforms import wait_until

OWED = Decimal(1190)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = governed(tmp_path_factory.mktemp("virtual"), templates, POLICY.format("cancel"))
    yield environment
    environment.stop()


def test_a_payment_fails_is_tried_again_and_recovers(later: Environment) -> None:
    debtor = Debtor(later, "Fails And Recovers")

    found = debtor.dunning("past_due")
    assert (str(found.owed), found.suspended, [each.id for each in found.invoices]) == (
        "1,190.00 EUR",
        False,
        [debtor.invoice],
    )
    assert (found.invoices[0].attempts, found.invoices[0].reason) == (1, "insufficient funds")
    assert found.next_attempt_at
    case = debtor.until_cases(found, "payment_overdue")["payment_overdue"]
    assert case.team == "finance"
    for words in ("1,190.00 EUR past due since", "1 attempt, insufficient funds", "billing tries again on"):
        assert words in case.reason
    assert "1,190.00 EUR past due since" in debtor.crm_shows("past_due")
    debtor.contract_is("past_due")

    debtor.bank_says(None)
    debtor.days(2)
    over = debtor.dunning("recovered")
    debtor.until_cases(over)
    assert debtor.crm_shows("active") == ""
    debtor.contract_is("active")
    later.settled(debtor.order)
    assert (over.owed.amount, over.invoices) == (0, ())
    assert [each.state for each in over.history] == ["past_due", "recovered"]
    assert not later.is_suspended(debtor.order.id)

    debtor.tell_again("invoice.payment_failed", "customer.subscription.updated", "invoice.paid")
    debtor.days(1)
    assert debtor.dunning("recovered").history == over.history
    debtor.until_cases(over)
    debtor.contract_is("active")


def test_of_two_contracts_of_a_customer_the_one_that_is_paid_goes_on(later: Environment) -> None:
    first = Debtor(later, "Owes For One")
    second = Debtor(later, "Owes For One", account=first.account)
    assert first.order.customer_id == second.order.customer_id
    first.dunning("past_due")
    second.dunning("past_due")
    second.stripe.invoices.pay(second.invoice, {"paid_out_of_band": True})
    second.dunning("recovered")
    first.days(15)

    first.until_suspended(suspended=True)
    assert not later.is_suspended(second.order.id)
    first.contract_is("past_due")
    second.contract_is("active")
    first.stripe.invoices.void_invoice(first.invoice)
    first.until_suspended(suspended=False)
    first.until_cases(first.dunning("recovered"))


def test_the_service_is_suspended_after_its_days_and_goes_on_once_it_is_paid(later: Environment) -> None:
    debtor = Debtor(later, "Is Suspended")
    debtor.dunning("past_due")
    debtor.days(12)
    assert not later.is_suspended(debtor.order.id)

    debtor.days(3)
    debtor.until_suspended(suspended=True)
    found = debtor.dunning("suspended")
    cases = debtor.until_cases(found, "payment_overdue", "service_suspended")
    assert cases["service_suspended"].team == "support"
    assert debtor.crm_shows("past_due").endswith("its service is suspended")

    resumed = debtor.act(found, "resume", later.wait(timedelta()).date() + timedelta(days=9))
    assert resumed.state == "past_due"
    debtor.until_suspended(suspended=False)
    debtor.days(10)
    debtor.until_suspended(suspended=True)

    debtor.new_card()
    debtor.stripe.invoices.pay(debtor.invoice)
    debtor.until_suspended(suspended=False)
    over = debtor.dunning("recovered")
    debtor.until_cases(over)
    later.settled(debtor.order)
    assert [(each.state, each.by) for each in over.history] == [
        ("past_due", ""),
        ("suspended", ""),
        ("past_due", "finance-app"),
        ("suspended", ""),
        ("recovered", ""),
    ]


def test_a_card_that_is_refused_for_good_waits_for_another_one(later: Environment) -> None:
    debtor = Debtor(later, "Card Is Stolen")
    debtor.dunning("past_due")
    debtor.bank_says("stolen_card")
    debtor.days(2)

    found = debtor.dunning("waiting_for_means")
    assert "another means of payment is needed" in found.blocked_reason

    debtor.new_card()
    debtor.dunning("past_due")
    debtor.days(3)
    debtor.dunning("recovered")
    later.settled(debtor.order)


def test_a_debt_that_nobody_pays_ends_the_contract_once_finance_has_approved_that(later: Environment) -> None:
    debtor = Debtor(later, "Is Ended")
    debtor.dunning("past_due")
    debtor.days(31)
    debtor.until_suspended(suspended=True)
    debtor.days(1)
    found = debtor.dunning("suspended", also=lambda each: bool(each.amendment_id))
    (asked,) = wait_until(lambda: later.cases_of(found.amendment_id), 30, "the approval of the end")
    assert "we end the contract" in asked.reason

    later.decide(asked.id, "approve", "nobody pays")
    over = debtor.dunning("ended")
    debtor.contract_is("cancelled")
    debtor.until_cases(over, "payment_overdue")
    assert {row["state"] for row in later.jobs(debtor.order.id)} == {"removed"}
    assert debtor.crm_shows("active")

    debtor.new_card()
    debtor.stripe.invoices.pay(debtor.invoice)
    paid = debtor.dunning("recovered")
    debtor.until_cases(paid)
    debtor.contract_is("cancelled")


def test_a_debt_is_written_off_in_billing_and_in_the_books(later: Environment) -> None:
    debtor = Debtor(later, "Is Written Off")
    debtor.dunning("past_due")
    debtor.days(12)
    govern(later.folder / "catalogue.toml", POLICY.format("write_off"))
    debtor.days(19)
    debtor.until_suspended(suspended=True)
    debtor.days(1)

    over = debtor.dunning("written_off")
    debtor.invoice_is("uncollectible")
    assert (over.suspended, over.owed.amount) == (True, 0)
    debtor.until_cases(over, "service_suspended")
    assert later.is_suspended(debtor.order.id)
    wait_until(lambda: debtor.receivable() == 0, 60, "the receivable is written off")


def test_without_a_policy_a_debt_is_shown_and_nothing_follows(later: Environment) -> None:
    govern(later.folder / "catalogue.toml", "")
    debtor = Debtor(later, "Is Left Alone")
    found = debtor.dunning("past_due")
    debtor.days(40)

    found = debtor.dunning("past_due")
    assert (found.suspended, found.amendment_id, later.is_suspended(debtor.order.id)) == (False, "", False)
    debtor.until_cases(found, "payment_overdue")
    debtor.invoice_is("open")


def test_a_direct_debit_is_booked_when_it_has_settled_and_owed_again_when_it_comes_back(later: Environment) -> None:
    govern(later.folder / "catalogue.toml", POLICY.format("keep"))
    debtor = Debtor(later, "Debit Comes Back", payment_method="pm_success_de")
    debtor.days(3)
    wait_until(lambda: debtor.booked() == ["invoice"], 60, "the invoice is posted, and nothing else")
    assert (debtor.receivable(), debtor.found()) == (OWED, None)
    debtor.contract_is("active")

    debtor.days(3)
    later.settled(debtor.order)
    assert debtor.receivable() == 0

    debtor.days(20)
    (charge,) = debtor.stripe.charges.list({"customer": debtor.customer}).data
    debtor.control(f"charges/{charge.id}/return", reason="insufficient_funds")
    found = debtor.dunning("past_due")
    assert (found.invoices[0].returned, found.invoices[0].id) == (True, debtor.invoice)
    wait_until(lambda: debtor.receivable() == OWED, 60, "it is due again in the books")
    debtor.invoice_is("paid")
    debtor.contract_is("past_due")
    debtor.days(15)
    debtor.until_suspended(suspended=True)

    debtor.pay_in_the_books()
    debtor.days(1)
    debtor.until_cases(debtor.dunning("recovered"))
    debtor.until_suspended(suspended=False)
    assert debtor.receivable() == 0


@pytest.mark.extended
def test_a_kill_while_a_service_is_suspended_and_taken_up_loses_and_doubles_nothing(later: Environment) -> None:
    govern(later.folder / "catalogue.toml", POLICY.format("keep"))
    debtor = Debtor(later, "Killed While It Owes")
    debtor.dunning("past_due")
    for suspended in (True, False):
        later.fault("provisioning", kind="late", matching="suspension", milliseconds=1500)
        if suspended:
            debtor.days(15)
        else:
            debtor.new_card()
            debtor.stripe.invoices.pay(debtor.invoice)
        wait_until(lambda: later.faults_left("provisioning") == 0, 40, "the target has heard of it")
        later.kill("process")
        later.start("process")
        debtor.until_suspended(suspended=suspended)
        found = debtor.dunning("suspended" if suspended else "recovered")
        debtor.until_cases(found, *(("payment_overdue", "service_suspended") if suspended else ()))
        debtor.crm_shows("past_due" if suspended else "active")
    assert [each.state for each in found.history] == ["past_due", "suspended", "recovered"]
    later.settled(debtor.order)
    assert debtor.receivable() == 0


@pytest.mark.extended
def test_a_kill_while_a_debt_is_written_off_gives_it_up_once(later: Environment) -> None:
    govern(later.folder / "catalogue.toml", POLICY.format("keep"))
    debtor = Debtor(later, "Killed While Written Off")
    debtor.dunning("past_due")
    debtor.days(15)
    debtor.until_suspended(suspended=True)
    govern(later.folder / "catalogue.toml", POLICY.format("write_off"))
    later.fault("billing", kind="late", matching="mark_uncollectible", milliseconds=1500)
    debtor.days(16)
    wait_until(lambda: later.faults_left("billing") == 0, 40, "billing has heard of it")
    later.kill("process")
    later.start("process")

    debtor.dunning("written_off")
    debtor.invoice_is("uncollectible")
    given_up = later.stripe.v1.events.list({"type": "invoice.marked_uncollectible", "limit": 100}).data
    assert sum(each.data.object["id"] == debtor.invoice for each in given_up) == 1
    wait_until(lambda: debtor.receivable() == 0, 60, "the receivable is written off")
