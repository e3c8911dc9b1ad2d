"""The content that a sandbox starts with: a price list in the CRM."""

from __future__ import annotations

from typing import Any

import httpx

from sandbox.salesforce.dialect import DEMO, Dialect

EUR_PRICES = {
    "PLATFORM": 6000.0,
    "SEAT": 240.0,
    "ONBOARDING": 1500.0,
    "SUPPORT": 1200.0,
    "HANDBOOK": 40.0,
    "CONSULTING": 120.0,
}
PRODUCTS = (
    ("PLATFORM", "Platform fee", "year"),
    ("SEAT", "Seat", "year"),
    ("ONBOARDING", "Onboarding", "one_time"),
    ("SUPPORT", "Premium support", "year"),
    ("HANDBOOK", "Printed handbook", "one_time"),
    ("CONSULTING", "Consulting", "one_time"),
)


class Crm:
    """Call the CRM's own REST API, with a token of the connected app."""

    def __init__(self, url: str, client_id: str, client_secret: str, dialect: Dialect = DEMO) -> None:
        """`dialect` is what the org calls the fields that are written here by the demo's names."""
        self._dialect = dialect
        self._http = httpx.Client(base_url=url, timeout=10)
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        token = self._http.post("/services/oauth2/token", data=form).raise_for_status().json()["access_token"]
        self._http.headers["authorization"] = f"Bearer {token}"

    @property
    def multi_currency(self) -> bool:
        """Return whether records of the org name their currency."""
        return self._dialect.multi_currency

    def create(self, sobject: str, **fields: Any) -> str:
        answer = self._http.post(f"/services/data/v66.0/sobjects/{sobject}", json=self._dialect.fields(fields))
        return str(answer.raise_for_status().json()["id"])

    def update(self, sobject: str, record_id: str, **fields: Any) -> None:
        path = f"/services/data/v66.0/sobjects/{sobject}/{record_id}"
        self._http.patch(path, json=self._dialect.fields(fields)).raise_for_status()

    def delete(self, sobject: str, record_id: str) -> None:
        self._http.delete(f"/services/data/v66.0/sobjects/{sobject}/{record_id}").raise_for_status()

    def read(self, path: str) -> dict[str, Any]:
        return self._http.get(f"/services/data/v66.0/{path}").raise_for_status().json()

    def query(self, soql: str) -> list[dict[str, Any]]:
        answer = self._http.get("/services/data/v66.0/query", params={"q": soql})
        return answer.raise_for_status().json()["records"]

    def close(self) -> None:
        self._http.close()


def seed_price_list(crm: Crm) -> str:
    """Create products with prices in EUR, unless there is a price list. Return the price list's id."""
    known = crm.query("SELECT Id FROM Pricebook2 LIMIT 1")
    if known:
        return str(known[0]["Id"])
    price_list = crm.create("Pricebook2", Name="Standard", IsActive=True, IsStandard=True)
    for code, name, interval in PRODUCTS:
        product = crm.create("Product2", Name=name, ProductCode=code, IsActive=True, BillingInterval__c=interval)
        crm.create(
            "PricebookEntry",
            Pricebook2Id=price_list,
            Product2Id=product,
            UnitPrice=EUR_PRICES[code],
            CurrencyIsoCode="EUR",
            IsActive=True,
        )
    return price_list
