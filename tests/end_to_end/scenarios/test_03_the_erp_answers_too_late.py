"""The ERP answers after our time-out although it did post the invoice: the retry finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.catalogue.model import SHIPPED
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE

LOST = {
    "erp": ("party.party.create", "account.invoice.create", "account.invoice.post", "account.invoice.pay.execute"),
    "billing": ("POST /v1/customers", "POST /v1/subscription_schedules", "/finalize", "/pay"),
}
"""The requests whose answers are lost: those that create the customer, the contract, the invoice and the payment."""


@pytest.mark.parametrize("platform", LOST)
def test_lost_answers_lead_to_no_second_record(environment: Environment, platform: str) -> None:
    for request in LOST[platform]:
        environment.fault(platform, kind="drop", matching=request)

    _, deal = environment.sell(environment.sale(f"Lost by {platform}"))
    order = environment.order_in(deal, "active")
    environment.settled(order)

    assert environment.faults_left(platform) == 0, "a fault never struck"
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
