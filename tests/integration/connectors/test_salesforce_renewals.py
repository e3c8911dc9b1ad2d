"""Deals that offer another term, in an org in which people are faster than their lines."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path

from canonical.deals import DealStatus, RenewalDeal, RenewalLine
from tests.integration.connectors.test_salesforce import Org
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON
from tests.support.connector_kit.subject import bench


class Shared(Org):
    """An org in which people work at an offer that has no lines yet."""

    def offered(self, account_id: str, key: str) -> str:
        """Return an open deal with the key of an offer."""
        return self._create(
            "Opportunity",
            Name="Seats",
            AccountId=account_id,
            StageName="Prospecting",
            CloseDate="2027-02-28",
            CurrencyIsoCode="EUR",
            TiergateKey__c=key,
        )

    def write_line(self, deal: str) -> None:
        self._create("OpportunityLineItem", OpportunityId=deal, PricebookEntryId=self._entry, Quantity=7, UnitPrice=2.0)

    def quantities(self, deal: str) -> list[float]:
        return [each["Quantity"] for each in self._live("OpportunityLineItem") if each["OpportunityId"] == deal]


def test_an_offer_to_which_people_have_written_lines_gets_none_of_ours(tmp_path: Path) -> None:
    async def act() -> None:
        org = Shared(tmp_path)
        async with bench(org, tmp_path) as made:
            account = await org.account("Buyer")
            sold = await org.close_deal(account)
            status = DealStatus("ord_1", "active", "", account, "", "con_1", STARTS_ON, 12)
            await made.call(lambda: made.connector.put_status(sold, status, "correlation-1"))
            about = (sold, "con_1", samples.LEGAL_ENTITY, "EUR", date(2027, 2, 28), 12)
            lines = (RenewalLine(org.sku, Decimal(3), Decimal("1.05"), "year"),)
            for key, is_written in (("theirs", True), ("ours", False)):
                deal = org.offered(account, key)
                if is_written:
                    org.write_line(deal)
                offer = RenewalDeal(key, f"rnw_{key}", "Seats", *about, lines)
                for _ in range(2):
                    made_of_it = await made.call(lambda offer=offer: made.connector.put_renewal(offer))
                    assert made_of_it.id == deal
                assert org.quantities(deal) == [7 if is_written else 3]
                assert offer.renewal_id in await org.shown_on(deal)

    asyncio.run(act())
