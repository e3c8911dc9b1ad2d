"""A deal with three lines closes in the CRM: one of everything, the same totals, and the CRM shows it."""

from __future__ import annotations

import re
import socket
from decimal import Decimal

import pytest
from prometheus_client.core import Metric

from canonical.orders import Order
from policies.catalogue.model import Layer
from tests.support.environment import Environment
from tests.support.manifests import DEPLOY, ROOT
from tests.support.platforms import EXACTLY_ONE
from tiergate.dev.layers import LAYERS

MEASURE = re.compile(r"\b(?:tiergate|process)_[a-z0-9_]+[a-z0-9]\b(?!/)")
GUIDES = ROOT / "docs" / "guides"


@pytest.fixture(scope="module")
def order(running: Environment) -> Order:
    """Sell the deal, and return its order with its invoice and payment posted."""
    running.calm()
    return running.paid_order(running.sale("One", parent="One Holding SE"))


def test_a_closed_deal_becomes_one_posted_and_paid_invoice_with_equal_totals(
    environment: Environment, order: Order
) -> None:
    assert environment.counted(order) == EXACTLY_ONE
    assert order.plan is not None
    billed = environment.stripe.v1.invoices.retrieve(order.plan.contract.references["invoice"])
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", billed.id))
    assert (billed.total, billed.status, billed.amount_remaining) == (1_606_500, "paid", 0)
    assert (posted.total_amount, posted.tax_amount) == (Decimal("16065.00"), Decimal("2565.00"))
    assert posted.amount_to_pay == 0
    seen = environment.channels.postings(order.plan.contract.id)
    assert {(each.kind, each.number, str(each.balance)) for each in seen} == {
        ("invoice", posted.number, "0.00 EUR"),
        ("payment", posted.number, "0.00 EUR"),
    }


def test_the_crm_shows_the_order_its_contract_and_the_correlation_id(environment: Environment, order: Order) -> None:
    assert order.plan is not None
    shown = environment.shown(order.deal_id, "active")
    account = order.plan.account_id
    (contract,) = environment.crm.query(f"SELECT Status, Opportunity__c FROM Contract WHERE AccountId = '{account}'")
    assert shown["TiergateOrder__c"] == order.id
    assert shown["TiergateCorrelation__c"] == order.correlation_id
    assert shown["Account"]["TiergateCustomer__c"] == order.customer_id
    assert (contract["Status"], contract["Opportunity__c"]) == ("Activated", order.deal_id)


@pytest.mark.usefixtures("order")
def test_every_measure_that_an_alert_or_a_guide_names_is_one_of_some_layer(environment: Environment) -> None:
    there = {name for layer in LAYERS for each in environment.metrics(layer) for name in names_of(each)}
    ours = {each for each in there if each.startswith("tiergate_")}
    alerts, guide, runbook = (
        set(MEASURE.findall(each.read_text()))
        for each in (DEPLOY / "prometheus" / "alerts.yaml", GUIDES / "operating.md", GUIDES / "../runbooks/alerts.md")
    )

    assert alerts | guide | runbook <= there
    assert {each.removesuffix("_total") for each in ours} <= {
        each.removesuffix("_total") + ending for each in guide for ending in ("", "_bucket", "_count", "_sum")
    }


def names_of(family: Metric) -> set[str]:
    """Return the names that the samples of a measure have, whether it has any or not."""
    endings = {"counter": ("", "_total"), "histogram": ("", "_bucket", "_count", "_sum")}
    return {f"{family.name}{ending}" for ending in endings.get(family.type, ("",))}


@pytest.mark.usefixtures("order")
def test_the_metrics_of_the_three_layers_say_what_was_done(environment: Environment) -> None:
    with socket.create_connection(("127.0.0.1", int(environment.sandbox.url("experience").rpartition(":")[2]))) as raw:
        raw.sendall(b"nonsense\r\n\r\n")  # refused before it is a request
        assert b" 400 " in raw.recv(4096)
    found = {layer: environment.metrics(layer) for layer in LAYERS}

    def value(layer: Layer, name: str, **labels: str) -> float:
        """Return the sum of the samples with some labels."""
        wanted = labels.items()
        samples = [each for family in found[layer] for each in family.samples if each.name == f"tiergate_{name}"]
        return sum(each.value for each in samples if wanted <= each.labels.items())

    assert value("process", "database_up") == 1
    assert value("process", "orders", state="active") >= 1
    assert value("process", "postings", kind="invoice", state="posted") >= 1
    assert value("process", "postings", kind="payment", state="posted") >= 1
    assert value("process", "order_close_to_active_seconds_count") >= 1
    assert 0 < value("process", "order_close_to_active_seconds_sum") < 60 * value("process", "orders", state="active")
    assert value("process", "invoice_finalized_to_posted_seconds_count") >= 1
    assert value("experience", "objective_promised_ratio", tier="real_time") == 0.99
    assert value("process", "requests_total", operation="take_event", status="200") >= 1
    assert value("process", "engine_heartbeat_age_seconds") < 10
    assert value("process", "audit_records_total") >= 1
    assert value("system", "requests_total", operation="put_contract", client="process-layer", status="200") >= 1
    assert value("system", "platform_calls_total", platform="stripe", operation="put_contract", result="answered") >= 1
    assert value("system", "platform_call_duration_seconds_count", platform="tryton") >= 1
    assert value("system", "platform_breaker_open", platform="stripe") == 0
    assert 0 < value("system", "platform_quota_left_ratio", platform="salesforce") <= 1
    assert value("system", "feed_age_seconds", platform="salesforce") < 30
    assert value("experience", "requests_total", operation="finance_list_postings", client="finance-app", status="200")
    assert value("experience", "refusals_total", operation="", problem="bad-request") >= 1
    for layer in LAYERS:
        running = [each for family in found[layer] for each in family.samples if each.name == "tiergate_job_running"]
        assert [each.labels["job"] for each in running if not each.value] == []
        names = [(each.name, frozenset(each.labels.items())) for family in found[layer] for each in family.samples]
        assert len(names) == len(set(names))


def test_the_correlation_id_is_on_the_platforms_own_records(environment: Environment, order: Order) -> None:
    assert order.plan is not None
    subscription = environment.stripe.v1.subscriptions.retrieve(order.plan.contract.references["subscription"])
    assert subscription.metadata["tiergate_correlation"] == order.correlation_id
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", order.plan.contract.references["invoice"]))
    assert order.correlation_id in posted.description


def test_the_ledger_is_in_balance_after_invoice_and_payment(environment: Environment, order: Order) -> None:
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    lines = environment.in_erp("account.move.line", ("move.state", "=", "posted"), ("party", "=", party.id))
    moves = {each.move.id for each in lines}
    booked = environment.in_erp("account.move.line", ("move", "in", list(moves)))

    assert sum(each.debit for each in booked) == sum(each.credit for each in booked)
    assert sum(each.debit - each.credit for each in lines) == 0
