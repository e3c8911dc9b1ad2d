"""A partner's day at work, with clients that were generated from the committed contracts of v1 and v2."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from canonical.ids import utc_now
from policies.contract.operation import LINES
from tests.support.environment import Environment
from tests.support.fuzzing import documents
from tests.support.partners import NORD, customer_of
from tests.support.platforms import wait_until

THROTTLED = 429


def generated(document: Path, into: Path) -> None:
    """Generate a client of a document. Fails when the generator warns of anything that it cannot express. What the body
    of a call is that is lines of JSON, it has to be given."""
    given = ConfigFile(post_hooks=[], content_type_overrides={LINES: "application/octet-stream"})
    wanted = Config.from_sources(given, MetaType.NONE, document, "utf-8", False, into)
    assert generate(config=wanted) == []


class Generated:
    """The client of one version: generated, imported, logged in."""

    def __init__(self, environment: Environment, folder: Path, version: str) -> None:
        package = f"partner_client_{version}"
        generated(Path(f"openapi/partners.{version}.json"), folder / package)
        self._package = package
        sys.path.insert(0, str(folder))
        try:
            token = environment.channels.headers(NORD)["authorization"].removeprefix("Bearer ")
            url = environment.sandbox.url("experience")
            self.client = self._module("client").AuthenticatedClient(
                base_url=url, token=token, raise_on_unexpected_status=True, timeout=30
            )
            self.models: Any = self._module("models")
        finally:
            sys.path.remove(str(folder))
        self._folder = folder

    def _module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self._package}.{name}")

    def call(self, operation: str, *arguments: Any, **options: Any) -> Any:
        sys.path.insert(0, str(self._folder))
        try:
            module = self._module(f"api.partners.{operation}")
        finally:
            sys.path.remove(str(self._folder))
        answer = module.sync(*arguments, client=self.client, **options)
        while getattr(answer, "status", 0) == THROTTLED:
            time.sleep(1)
            answer = module.sync(*arguments, client=self.client, **options)
        assert type(answer).__name__ != "Problem", answer
        return answer


@pytest.fixture(scope="module")
def known(running: Environment) -> str:
    """Return the id of a customer of the partner's."""
    running.calm()
    return customer_of(running, NORD, "Days").customer_id


def test_a_day_in_v2(environment: Environment, known: str, tmp_path: Path) -> None:
    partner = Generated(environment, tmp_path, "v2")
    models = partner.models

    customers = partner.call("partners_list_customers", limit=100).items
    mine = next(each for each in customers if each.id == known)
    body = models.PartnerOrderRequest(
        customer_id=mine.id,
        name="Ten more seats",
        legal_entity="DE01",
        currency=models.PartnerOrderRequestCurrency.EUR,
        starts_on=utc_now().date(),
        lines=[models.PlacedLine(sku="SEAT", quantity=10), models.PlacedLine(sku="SUPPORT", quantity=1)],
    )
    placed = partner.call("partners_place_order", body=body, idempotency_key="day-in-v2")
    again = partner.call("partners_place_order", body=body, idempotency_key="day-in-v2")
    assert again.id == placed.id

    order = wait_until(lambda: active(partner, placed.id), 30, "the order active")
    seats, support = order.contract.lines
    assert (seats.quantity, seats.unit_price.amount, support.sku) == (10, 24000, "SUPPORT")
    assert order.contract.net.amount == 10 * 24000 + 120000
    listed = partner.call("partners_list_orders", customer_id=mine.id).items
    assert {each.id for each in listed} >= {order.id}

    def invoiced() -> Any:
        found = partner.call("partners_list_invoices", customer_id=mine.id).items
        return next((each for each in found if each.contract_id == order.contract.id), None)

    invoice = wait_until(invoiced, 30, "the invoice posted")
    assert invoice.total.amount == round(order.contract.net.amount * 1.19)


def test_a_day_in_v1(environment: Environment, known: str, tmp_path: Path) -> None:
    partner = Generated(environment, tmp_path, "v1")
    models = partner.models

    mine = next(each for each in partner.call("partners_list_customers", limit=100).items if each.id == known)
    body = models.PartnerOrderRequest(
        customer=mine.id,
        name="Ten more seats",
        legal_entity="DE01",
        currency=models.PartnerOrderRequestCurrency.EUR,
        starts_on=utc_now().date(),
        items=[models.PlacedLine(sku="SEAT", quantity=10)],
    )
    placed = partner.call("partners_place_order", body=body, idempotency_key="day-in-v1")

    order = wait_until(lambda: active(partner, placed.id), 30, "the order active")
    assert [each.unit_price for each in order.contract.items] == ["240.00 EUR"]
    assert (order.contract.net, order.customer) == ("2400.00 EUR", mine.id)

    def invoiced() -> Any:
        found = partner.call("partners_list_invoices", customer_id=mine.id).items
        return next((each for each in found if each.contract_id == order.contract.id), None)

    assert wait_until(invoiced, 30, "the invoice posted").total == "2856.00 EUR"


def active(partner: Generated, order_id: str) -> Any:
    order = partner.call("partners_get_order", order_id)
    return order if order.state == "active" else None


DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_a_client_can_be_generated_from_every_document_without_a_warning(path: Path, tmp_path: Path) -> None:
    generated(path, tmp_path / "client")

    assert (tmp_path / "client" / "client.py").exists()
