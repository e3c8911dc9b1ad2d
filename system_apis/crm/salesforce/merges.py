"""Which accounts were merged into others, directly or by way of others, as long as the org still has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.client import SalesforceClient

AT_ONCE = 100
"""Accounts that are asked for by their ids in one query."""


async def merged_into(client: SalesforceClient, accounts: Iterable[str]) -> dict[str, list[str]]:
    """Return for each account those that were merged into it, nearest first; none for one without. Raises leaves of
    `PlatformFault`."""
    found: dict[str, list[str]] = {}
    left = {each: each for each in accounts}
    seen = set(left)
    while left:
        deeper: dict[str, str] = {}
        for ids in lists(list(left)):
            query = mapping.merged_query(f"MasterRecordId IN ({ids})")
            for row in (await client.queries({"merged": query}, with_deleted={"merged"}))["merged"]:
                kept = left.get(row["MasterRecordId"])
                if kept and row["Id"] not in seen:
                    found.setdefault(kept, []).append(row["Id"])
                    deeper[row["Id"]] = kept
        seen |= deeper.keys()
        left = deeper
    return found


def lists(ids: list[str]) -> Iterator[str]:
    """Yield ids as SOQL lists them, as many at a time as one query asks for."""
    for start in range(0, len(ids), AT_ONCE):
        yield ", ".join(map(mapping.quoted, ids[start : start + AT_ONCE]))
