"""What the fuzzer found in billing's routes, kept as what a person would say of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from policies.catalogue.check import load
from tests.support.environment import Environment
from tiergate import composition

CUSTOMER: dict[str, Any] = {"id": "cus_" + "1" * 32, "name": "Muller GmbH", "address": {"country": "DE"}}
CONTRACT: dict[str, Any] = {
    "id": "con_" + "1" * 32,
    "order_id": "ord_" + "1" * 32,
    "customer_id": CUSTOMER["id"],
    "legal_entity": "DE01",
    "currency": "EUR",
    "starts_on": "2026-01-01",
    "term_months": 12,
    "lines": [],
    "tax": "standard",
    "tax_percent": "19",
}


def call(environment: Environment, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
    token = composition.issuer(environment.settings).token("process-layer", load().clients["process-layer"])
    headers = {"authorization": f"Bearer {token}"}
    return httpx.request(method, f"{environment.sandbox.url('system')}{path}", json=body, headers=headers, timeout=20)


def test_a_customer_can_take_a_name_with_an_umlaut(environment: Environment) -> None:
    path = f"/billing/v1/customers/{CUSTOMER['id']}"
    first = call(environment, "PUT", path, CUSTOMER)
    renamed = call(environment, "PUT", path, CUSTOMER | {"name": "Müller & Söhne GmbH"})

    assert (first.status_code, renamed.status_code) == (200, 200)
    assert first.json() == renamed.json()
    assert environment.stripe.v1.customers.retrieve(first.json()["id"]).name == "Müller & Söhne GmbH"


@pytest.mark.parametrize(("method", "path", "field"), [("PUT", "", "customer"), ("POST", "/start", "schedule")])
def test_a_contract_that_names_no_record_of_billing_is_refused_with_the_field(
    environment: Environment, method: str, path: str, field: str
) -> None:
    refused = call(environment, method, f"/billing/v1/contracts/{CONTRACT['id']}{path}", CONTRACT)

    assert (refused.status_code, refused.json()["field"]) == (422, f"references.{field}")


@pytest.mark.parametrize("path", ["change", "change/preview"])
def test_a_change_of_a_contract_that_names_no_customer_or_is_another_is_refused(
    environment: Environment, path: str
) -> None:
    change: dict[str, Any] = {
        "id": "amd_" + "1" * 32,
        "contract": CONTRACT,
        "lines": [],
        "effective_at": "2026-01-01T00:00:00Z",
    }
    unnamed = call(environment, "POST", f"/billing/v1/contracts/{CONTRACT['id']}/{path}", change)
    other = call(environment, "POST", f"/billing/v1/contracts/con_{'2' * 32}/{path}", change)

    assert (unnamed.status_code, unnamed.json()["field"]) == (422, "references.customer")
    assert other.status_code == 422


@pytest.mark.parametrize("key", ["../customers", "a/b", "ü", "x" * 121, "-x"])
def test_an_id_that_could_leave_its_place_is_refused(environment: Environment, key: str) -> None:
    refused = call(environment, "PUT", f"/billing/v1/customers/{CUSTOMER['id']}", CUSTOMER | {"id": key})

    assert refused.status_code == 422
