"""The ERP answers after our time-out although it did post the invoice: the retry finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.catalogue.model import SHIPPED
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE


@pytest.mark.parametrize(
    ("what", "method"),
    [
        ("the draft", "account.invoice.create"),
        ("the posting", "account.invoice.post"),
        ("the payment", "account.invoice.pay.execute"),
        ("the customer", "party.party.create"),
    ],
)
def test_a_lost_answer_leads_to_no_second_record(environment: Environment, what: str, method: str) -> None:
    environment.fault("erp", kind="drop", matching=method)

    _, deal = environment.sell(environment.sale(f"Lost {what}"))
    order = environment.order_in(deal, "active")
    environment.settled(order)

    assert environment.faults_left("erp") == 0, "the fault never struck"
    assert environment.counted(order) == EXACTLY_ONE


def test_an_answer_after_the_time_out_leads_to_no_second_invoice(environment: Environment, tmp_path: Path) -> None:
    """The shipped catalogue waits 25 s for a posting; here it waits 3, and the answer takes 5."""
    hasty = tmp_path / "catalogue.toml"
    hasty.write_text(SHIPPED.read_text().replace("invoice = { timeout = 25.0", "invoice = { timeout = 3.0"))
    environment.children["system"].stop()
    environment.start("system", {"TIERGATE_GOVERNANCE_CATALOGUE": str(hasty)})
    try:
        environment.fault("erp", kind="late", matching="account.invoice.post", milliseconds=5000)

        _, deal = environment.sell(environment.sale("Late Answer"))
        order = environment.order_in(deal, "active")
        environment.settled(order)

        assert environment.faults_left("erp") == 0, "the fault never struck"
        assert environment.counted(order) == EXACTLY_ONE
    finally:
        environment.children["system"].stop()
        environment.start("system")


@pytest.mark.parametrize("path", ["POST /v1/customers", "POST /v1/subscription_schedules", "/finalize", "/pay"])
def test_a_lost_answer_of_billing_leads_to_no_second_record(environment: Environment, path: str) -> None:
    environment.fault("billing", kind="drop", matching=path)

    _, deal = environment.sell(environment.sale(f"Lost {path.replace('/', ' ')}"))
    order = environment.order_in(deal, "active")
    environment.settled(order)

    assert environment.faults_left("billing") == 0, "the fault never struck"
    assert environment.counted(order) == EXACTLY_ONE
