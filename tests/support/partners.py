"""A partner with a customer, for tests of the partner API."""

from __future__ import annotations

import itertools
import time
from http import HTTPStatus
from typing import Any

import httpx

from canonical.ids import utc_now
from canonical.orders import Order
from tests.support.environment import Environment

NORD, SUED = "reseller-nord", "reseller-sued"
_numbers = itertools.count(1)


def patiently(method: str, url: str, **options: Any) -> httpx.Response:
    """Return the answer; after a 429, wait for `Retry-After` seconds and send the request again."""
    while True:
        answer = httpx.request(method, url, timeout=30, **options)
        if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return answer
        time.sleep(float(answer.headers["retry-after"]))


class Partner:
    """Call the partner API as one client of the catalogue."""

    def __init__(self, environment: Environment, name: str = NORD, url: str = "") -> None:
        self._environment = environment
        self.name = name
        self.url = url or environment.sandbox.url("experience")

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self._environment.channels.headers(self.name) | options.pop("headers", {})
        return patiently(method, f"{self.url}{path}", headers=headers, **options)

    def wanted(self, customer_id: str, **changes: Any) -> dict[str, Any]:
        """Return the body of an order, in v2."""
        lines = [{"sku": "PLATFORM", "quantity": 1}, {"sku": "SEAT", "quantity": 5}]
        body = {
            "customer_id": customer_id,
            "name": "Five seats",
            "legal_entity": "DE01",
            "currency": "EUR",
            "starts_on": utc_now().date().isoformat(),
            "lines": lines,
        }
        return body | changes

    def place(self, customer_id: str, key: str, /, **changes: Any) -> httpx.Response:
        headers = {"idempotency-key": key}
        return self.call("POST", "/partners/v2/orders", json=self.wanted(customer_id, **changes), headers=headers)


def customer_of(environment: Environment, partner: str, name: str, **sold: Any) -> Order:
    """Create a customer of a partner, with its first order, closed by a salesperson. Return that order."""
    return environment.paid_order(environment.sale(f"{name} {next(_numbers)}", partner=partner, **sold))
