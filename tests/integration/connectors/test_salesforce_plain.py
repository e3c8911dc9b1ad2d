"""Orgs that are set up otherwise than the demo's. In one where nothing has the same name the connector passes the kit,
with the example of a mapping; one in which nobody has switched anything on needs two settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.faults import NotFound, Rejected
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.salesforce.dialect import GROUP, Dialect
from system_apis.crm import salesforce
from tests.integration.connectors.test_salesforce import CUT_OVER, PERSON, SECRET, Org
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON, CrmKit
from tests.support.connector_kit.kit import behaviours, run
from tests.support.connector_kit.subject import bench

ABSENT = ("Evergreen__c", "PurchaseOrder__c", "PaymentDays__c", "BillToContact__c")
MANY_CURRENCIES = "prices_are_the_same_in_currencies_with_none_two_and_three_digits"


class GroupOrg(Org):
    """An org of other names, stages and values, without multiple currencies and picklists of countries."""

    dialect = GROUP

    def settings(self, url: str) -> PlatformServer:
        return salesforce.Settings(
            url=url,
            client_id="app",
            cut_over=CUT_OVER,
            client_secret=Secret(SECRET),
            poll_seconds=0.02,
            mapping="deploy/mappings/salesforce.toml",
        )

    async def deal_of(self, account: str, **fields: Any) -> str:
        deal = await self.close_deal(account)
        self._org.update("Opportunity", deal, self.dialect.fields(fields), PERSON)
        return deal


class PlainOrg(Org):
    """An org as it is when nobody has switched anything on."""

    dialect = Dialect(
        names={"BillingCountryCode": "BillingCountry", "BillingStateCode": "BillingState"},
        values={"BillingCountryCode": {"DE": "Germany"}},
        multi_currency=False,
        country_picklists=False,
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for each in ABSENT:
            self._org.objects["Opportunity"].fields.pop(each)

    def change_country(self, account: str, country: str | None) -> None:
        self._org.update("Account", account, {"BillingCountry": country}, PERSON)

    def settings(self, url: str) -> PlatformServer:
        return salesforce.Settings(
            url=url,
            client_id="app",
            cut_over=CUT_OVER,
            client_secret=Secret(SECRET),
            poll_seconds=0.02,
            currency="EUR",
            country_codes=False,
        )


class Misread(PlainOrg):
    """The same org, with settings that take it for another."""

    def settings(self, url: str) -> PlatformServer:
        return salesforce.Settings(url=url, client_id="app", cut_over=CUT_OVER, client_secret=Secret(SECRET))


@pytest.mark.parametrize("behaviour", [each for each in behaviours(CrmKit) if each != MANY_CURRENCIES])
def test_the_connector(behaviour: str, tmp_path: Path) -> None:
    run(CrmKit, GroupOrg(tmp_path), behaviour, tmp_path)


@pytest.mark.parametrize(
    ("written", "country"),
    [("Germany", "DE"), ("germany ", "DE"), ("DE", "DE"), ("DEU", "DE"), ("Deutschlnd", "DEUTSCHLND"), (None, "")],
)
def test_a_country_is_read_by_its_name_and_the_currency_is_that_of_the_org(
    tmp_path: Path, written: str | None, country: str
) -> None:
    async def case() -> None:
        org = PlainOrg(tmp_path)
        async with bench(org, tmp_path) as made:
            account = await org.account("Plain")
            org.change_country(account, written)
            deal_id = await org.close_deal(account)
            deal = await made.call(lambda: made.connector.deal(deal_id))
            again = await made.call(lambda: made.connector.account(account))

        assert (deal.currency, deal.account.address.country, again.address.country) == ("EUR", country, country)
        assert [line.listed for line in deal.lines] == [True]

    asyncio.run(case())


def test_an_order_in_another_currency_has_no_price(tmp_path: Path) -> None:
    async def case() -> None:
        org = PlainOrg(tmp_path)
        async with bench(org, tmp_path) as made:
            placed = samples.placed_deal("usd", await org.account("Plain"), org.sku, STARTS_ON)
            in_dollars = msgspec.structs.replace(placed, currency="USD")
            fault = await made.fault(lambda: made.connector.put_deal(in_dollars))

        assert isinstance(fault, NotFound)
        assert fault.field == "currency"

    asyncio.run(case())


def test_a_field_that_the_org_lacks_is_a_refusal_that_names_it(tmp_path: Path) -> None:
    async def case() -> None:
        org = Misread(tmp_path)
        async with bench(org, tmp_path) as made:
            deal = await org.close_deal(await org.account("Plain"))
            fault = await made.fault(lambda: made.connector.deal(deal))

        assert isinstance(fault, Rejected)
        assert "No such column 'CurrencyIsoCode'" in fault.reason

    asyncio.run(case())
