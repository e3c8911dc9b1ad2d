"""The feed of closed deals: polled, since an org without Change Data Capture has no webhook for it."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

import structlog

from canonical.events import DEAL_CLOSED, Event
from canonical.faults import PlatformFault
from canonical.ids import Clock, NewId
from system_apis.crm.salesforce.client import Row, SalesforceClient
from system_apis.cursors import Cursor
from system_apis.intake import Intake

OVERLAP = timedelta(seconds=10)
"""How far each poll looks back: a commit can become visible after a later one."""
REMEMBERED = 5000
log = structlog.get_logger("tiergate.crm")


class ClosedDeals:
    """Finds opportunities that were won since the cursor. A deal's revision makes the event's id, so that our own
    write-backs, which change the same record, bring no new event."""

    def __init__(self, client: SalesforceClient, cursor: Cursor, clock: Clock, new_id: NewId) -> None:
        self._client = client
        self._cursor = cursor
        self._new_id = new_id
        self._position = cursor.read(_soql_time(clock() - OVERLAP))
        self._offered: OrderedDict[str, None] = OrderedDict()

    async def offer_new(self, intake: Intake) -> None:
        """One poll. When anything fails the cursor stays, and the next poll begins there again."""
        try:
            await self._poll(intake)
        except PlatformFault as fault:
            log.warning("change feed interrupted", reason=str(fault))

    async def _poll(self, intake: Intake) -> None:
        since = _soql_time(datetime.fromisoformat(self._position) - OVERLAP)
        rows = await self._client.query(
            "SELECT Id, Revision__c, SystemModstamp FROM Opportunity "
            f"WHERE IsWon = true AND SystemModstamp >= {since} ORDER BY SystemModstamp, Id"
        )
        for row in rows:
            event_id = f"{row['Id']}:{int(row['Revision__c'] or 1)}"
            if event_id in self._offered:
                continue
            await intake.offer(_event(event_id, row), self._new_id("cor"))
            self._offered[event_id] = None
            if len(self._offered) > REMEMBERED:
                self._offered.popitem(last=False)
        if rows and (reached := _soql_time(datetime.fromisoformat(rows[-1]["SystemModstamp"]))) > self._position:
            self._position = reached
            self._cursor.write(reached)


def _event(event_id: str, row: Row) -> Event:
    deal_id, _, revision = event_id.partition(":")
    return Event(
        id=event_id,
        source="crm/salesforce",
        type=DEAL_CLOSED,
        subject=deal_id,
        time=datetime.fromisoformat(row["SystemModstamp"]),
        data={"revision": revision},
    )


def _soql_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
