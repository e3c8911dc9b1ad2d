"""The slow sweep: what the polls of the change feed cannot see is found later, some records at a time.

A record may become visible after the moment that its stamp names, and a contact that was moved or deleted for good
leaves no trace at the account that it has left. So the deals of the last hours and those that were won since the
cut-over and have no order are read again, with the customers' accounts that were deleted or merged in these hours, and
each customer's account is held against the revision that was synced.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from canonical.ids import Clock
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.changes import Changes, soql_time
from system_apis.crm.salesforce.client import SalesforceClient
from system_apis.crm.salesforce.columns import Row
from system_apis.crm.salesforce.mapping import STAMP
from system_apis.crm.salesforce.org import quoted
from system_apis.intake import Intake

REACH = timedelta(hours=6)
"""How far back deals are read again."""
DEALS, ACCOUNTS = 200, 1_000
"""Records in one request: an answer has 2,000 rows at most, of which lines and contacts are some (REST API: Query
Options Header)."""


class Sweep:
    """Read everything once more in rounds, with one request at most beside each look at the feed."""

    def __init__(self, client: SalesforceClient, changes: Changes, clock: Clock, seconds: float) -> None:
        """A round begins `seconds` after the last began."""
        self._client = client
        self._changes = changes
        self._clock = clock
        self._every = timedelta(seconds=seconds)
        self._next = clock() + self._every
        self._wanted = ""
        self._deals: str | None = None
        self._accounts: str | None = None

    async def go_on(self, intake: Intake) -> None:
        """Read the next records of the round, when there is one."""
        gone: dict[str, str] = {}
        if self._deals is None and self._accounts is None:
            if self._clock() < self._next:
                return
            self._next = self._clock() + self._every
            since = soql_time(self._clock() - REACH)
            self._wanted = f"({STAMP} >= {since} OR {self._client.org.written.deal.order} = null)"
            self._deals, self._accounts = "Id != null", "Id != null"
            gone = {"gone": mapping.gone_query(f"{STAMP} >= {since}", self._client.org)}
        starts = {"deals": self._deals, "accounts": self._accounts}
        wanted = {name: self._query(name, start) for name, start in starts.items() if start is not None}
        found = await self._client.queries(wanted | gone, with_deleted=gone)
        deals, accounts = found.get("deals", []), found.get("accounts", [])
        await self._changes.offer(intake, deals, accounts, [], found.get("gone", []), late=True)
        self._deals, self._accounts = _after_deals(deals), _after_accounts(accounts)

    def _query(self, name: str, start: str) -> str:
        if name == "deals":
            return self._changes.sales_query(f"{self._wanted} AND {start} ORDER BY {STAMP}, Id LIMIT {DEALS}")
        org = self._client.org
        return mapping.accounts_query(f"{org.ours} AND {start} ORDER BY Id LIMIT {ACCOUNTS}", org)


def _after_deals(rows: list[Row]) -> str | None:
    """Return the condition for the deals after these, None when these are the last."""
    if len(rows) < DEALS:
        return None
    last = rows[-1]
    try:
        stamp = soql_time(datetime.fromisoformat(last[STAMP]))
    except (TypeError, ValueError):
        return None  # the record was refused; the next round may find it better
    return f"({STAMP} > {stamp} OR ({STAMP} = {stamp} AND Id > {quoted(last['Id'])}))"


def _after_accounts(rows: list[Row]) -> str | None:
    return f"Id > {quoted(rows[-1]['Id'])}" if len(rows) == ACCOUNTS else None
