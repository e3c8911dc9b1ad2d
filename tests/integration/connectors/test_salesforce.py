"""The Salesforce connector passes the kit."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.salesforce.app import ConnectedApp, Salesforce, salesforce_app
from sandbox.salesforce.dialect import DEMO
from sandbox.store import SandboxClock, Store
from system_apis.crm import salesforce
from system_apis.crm.port import Crm
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON, CrmKit, CrmSubject
from tests.support.connector_kit.kit import Act, behaviours, run
from tests.support.connector_kit.loopback import Seen
from tiergate.platforms import Connector

CUT_OVER = date(2026, 1, 1)
SECRET = "secret-of-the-connected-app"
PERSON = "salesperson"


class Org(CrmSubject):
    connector = cast("Connector", salesforce)
    secrets = (SECRET,)
    sku = "PLATFORM"
    page = 4
    dialect = DEMO

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / "org.sqlite")
        self._platform = Salesforce(
            self._store, SandboxClock(), ConnectedApp("app", SECRET, "us@example.com"), self.page, dialect=self.dialect
        )
        self._org = self._platform.org
        self._price_list = self._create("Pricebook2", Name="Standard", IsActive=True, IsStandard=True)
        product = self._create(
            "Product2", Name="Platform fee", ProductCode=self.sku, IsActive=True, BillingInterval__c="year"
        )
        self._entry = self._create(
            "PricebookEntry",
            Pricebook2Id=self._price_list,
            Product2Id=product,
            UnitPrice=6000.0,
            CurrencyIsoCode="EUR",
            IsActive=True,
        )

    def _create(self, sobject: str, **fields: Any) -> str:
        return str(self._org.create(sobject, self.dialect.fields(fields), PERSON)["Id"])

    def grant(self, username: str, **permissions: bool) -> None:
        """Assign a permission set of its own to a user."""
        name = "_".join(permissions)
        made = self._create("PermissionSet", Name=name, Label=name, **permissions)
        (user,) = (each["Id"] for each in self._live("User") if each["Username"] == username)
        self._create("PermissionSetAssignment", AssigneeId=user, PermissionSetId=made)

    def settings(self, url: str) -> PlatformServer:
        return salesforce.Settings(
            url=url,
            client_id="app",
            cut_over=CUT_OVER,
            client_secret=Secret(SECRET),
            poll_seconds=0.02,
            deal_terms=True,
        )

    def platform(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(cast("Any", salesforce_app(self._platform)))
        return httpx.AsyncClient(transport=transport, base_url="http://org")

    def is_write(self, request: Seen) -> bool:
        if not request.path.endswith("/composite"):
            return False
        return any(each["method"] != "GET" for each in json.loads(request.body)["compositeRequest"])

    async def account(self, name: str) -> str:
        made = self._create("Account", Name=name, BillingStreet="Hauptstraße 1", BillingCountryCode="DE")
        self._create("Contact", FirstName="Kim", LastName="Beispiel", Email="kim@example.com", AccountId=made)
        return made

    async def rename_account(self, account_id: str, name: str) -> None:
        self._org.update("Account", account_id, {"Name": name}, PERSON)

    async def close_deal(
        self, account_id: str, currency: str = "EUR", price: Decimal = Decimal(1), lines: int = 1
    ) -> str:
        deal = self._create(
            "Opportunity",
            Name="Deal",
            AccountId=account_id,
            StageName="Prospecting",
            CloseDate="2026-01-01",
            CurrencyIsoCode=currency,
        )
        for place in range(lines):
            line: dict[str, Any] = {"Quantity": 1, "UnitPrice": float(price), "SortOrder": place}
            self._create("OpportunityLineItem", OpportunityId=deal, PricebookEntryId=self._entry, **line)
        self._org.update("Opportunity", deal, self.dialect.fields({"StageName": "Closed Won"}), PERSON)
        return deal

    async def lose(self, deal_id: str) -> None:
        self._org.update("Opportunity", deal_id, self.dialect.fields({"StageName": "Closed Lost"}), PERSON)

    async def touch_deal(self, deal_id: str) -> None:
        self._org.update("Opportunity", deal_id, {"Name": "Deal, touched"}, PERSON)

    async def deals(self, key: str) -> list[tuple[str, int]]:
        found = [
            each for each in self._live("Opportunity") if each[self._named("TiergateKey__c")] == key and each["IsWon"]
        ]
        lines = [each["OpportunityId"] for each in self._live("OpportunityLineItem")]
        return [(each["Name"], lines.count(each["Id"])) for each in found]

    async def offers(self, key: str) -> list[int]:
        found = [
            each["Id"]
            for each in self._live("Opportunity")
            if each[self._named("TiergateKey__c")] == key and not each["IsClosed"]
        ]
        lines = [each["OpportunityId"] for each in self._live("OpportunityLineItem")]
        return [lines.count(each) for each in found]

    async def contracts(self, contract_id: str) -> int:
        return [each[self._named("TiergateContract__c")] for each in self._live("Contract")].count(contract_id)

    async def shown_on(self, deal_id: str) -> str:
        record = self._org.get("Opportunity", deal_id)
        shown = ("TiergateStatus__c", "TiergateDetail__c", "TiergateOrder__c", "TiergateCorrelation__c")
        return str([record[self._named(each)] for each in shown])

    async def delete(self, record_id: str) -> None:
        self._org.delete("Account" if record_id.startswith("001") else "Opportunity", record_id, PERSON)

    def _named(self, field: str) -> str:
        return self.dialect.names.get(field, field)

    def _live(self, sobject: str) -> list[dict[str, Any]]:
        return self._org.live(self._org.sobject(sobject))

    async def refused(self, connector: Crm) -> tuple[Act, str]:
        placed = samples.placed_deal("refused", "no-account", self.sku, STARTS_ON)
        return (lambda: connector.put_deal(placed)), "AccountId"

    async def close(self) -> None:
        self._store.close()


@pytest.mark.parametrize("behaviour", behaviours(CrmKit))
def test_the_connector(behaviour: str, tmp_path: Path) -> None:
    run(CrmKit, Org(tmp_path), behaviour, tmp_path)
