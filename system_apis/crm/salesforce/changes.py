"""The change feed: polled, since an org without Change Data Capture has no webhook for it. A poll is one request.

Two changes are reported: a deal that was closed as won, and a customer's account that changed. Our own writing
changes the same records, and causes no event: a deal is known by its revision, and an account carries the revision
that was synced, so that only a change of a field that the CRM owns is reported.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

import structlog

from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, Event
from canonical.faults import PlatformFault
from system_apis.connector import ConnectorContext
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.client import Row, SalesforceClient
from system_apis.intake import Intake

OVERLAP = timedelta(seconds=10)
"""How far each poll looks back: a commit can become visible after a later one."""
REMEMBERED = 5000
log = structlog.get_logger("tiergate.crm")


class Changes:
    """Find what changed since the position, and offer it as events."""

    def __init__(self, client: SalesforceClient, context: ConnectorContext) -> None:
        self._client = client
        self._source = f"crm/{context.instance}"
        self._stored = context.position
        self._new_id = context.new_id
        self._position = self._stored.read(_soql_time(context.clock() - OVERLAP))
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def offer_new(self, intake: Intake) -> None:
        """Poll once. When anything fails the position stays, and the next poll begins there again."""
        try:
            await self._poll(intake)
        except PlatformFault as fault:
            log.warning("change feed interrupted", platform=fault.platform, fault=type(fault).__name__)

    async def account(self, account_id: str) -> Row | None:
        """Return an account with the fields that we write to it and its first contact, None if there is none."""
        found = await self._client.query(mapping.accounts_query(f"Id = {mapping.quoted(account_id)}"))
        return found[0] if found else None

    async def _poll(self, intake: Intake) -> None:
        since = _soql_time(datetime.fromisoformat(self._position) - OVERLAP)
        stamp = "SystemModstamp"
        changed = f"{stamp} >= {since} ORDER BY {stamp}, Id"
        ours = "TiergateCustomer__c != null"
        queries = {
            "deals": f"SELECT Id, Revision__c, {stamp} FROM Opportunity WHERE IsWon = true AND {changed}",
            # before the accounts: one that is read with a contact's change has that change
            "contacts": f"SELECT Id, AccountId, {stamp} FROM Contact WHERE Account.{ours} AND {changed}",
            "accounts": mapping.accounts_query(f"{ours} AND {changed}"),
        }
        found = await self._client.queries(queries)
        for row in found["deals"]:
            event_id = f"{row['Id']}:{int(row['Revision__c'] or 1)}"
            if event_id not in self._seen:
                await intake.offer(self._deal_closed(event_id, row), self._new_id("cor"))
                self._remember(event_id)
        accounts = {row["Id"]: row for row in found["accounts"]}
        for row in (*accounts.values(), *found["contacts"]):
            change_id = f"{row['Id']}:{row[stamp]}"
            if change_id not in self._seen:
                account_id = row.get("AccountId") or row["Id"]
                account = accounts.get(account_id) or await self.account(account_id)
                if account is not None:
                    await self._offer_account(account, intake)
                self._remember(change_id)
        self._go_on(found)

    async def _offer_account(self, row: Row, intake: Intake) -> None:
        if row["TiergateRevision__c"] == (revision := mapping.revision(row, mapping.contacts_of(row))):
            return  # our own echo, or a change to a field that concerns the CRM alone
        at = row["SystemModstamp"]
        event = Event(
            id=f"{row['Id']}:{at}:{revision}",  # of what was read, which includes a change that came meanwhile
            source=self._source,
            type=CUSTOMER_CHANGED,
            subject=row["TiergateCustomer__c"],
            time=datetime.fromisoformat(at),
            data={"account": row["Id"]},
        )
        await intake.offer(event, self._new_id("cor"))

    def _deal_closed(self, event_id: str, row: Row) -> Event:
        deal_id, _, revision = event_id.partition(":")
        return Event(
            id=event_id,
            source=self._source,
            type=DEAL_CLOSED,
            subject=deal_id,
            time=datetime.fromisoformat(row["SystemModstamp"]),
            data={"revision": revision},
        )

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _go_on(self, found: dict[str, list[Row]]) -> None:
        """Move the position to the last change, now that everything up to it was taken."""
        ends = [rows[-1]["SystemModstamp"] for rows in found.values() if rows]
        if ends and (reached := _soql_time(datetime.fromisoformat(max(ends)))) > self._position:
            self._position = reached
            self._stored.write(reached)


def _soql_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
