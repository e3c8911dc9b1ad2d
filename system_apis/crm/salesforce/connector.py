"""The CRM port on Salesforce."""

from __future__ import annotations

from canonical.deals import Deal, DealReference, DealStatus, PlacedDeal
from canonical.faults import Conflict, NotFound, Rejected, Unavailable
from canonical.parties import Account, AccountSync
from system_apis.connector import ConnectorContext
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.changes import Changes
from system_apis.crm.salesforce.client import SalesforceClient, Settings
from system_apis.crm.salesforce.mapping import Unreadable
from system_apis.crm.salesforce.sweep import Sweep
from system_apis.feed import Look
from system_apis.intake import Intake

MAX_DEPTH = 50


class Salesforce:
    """Implement `system_apis.crm.port.Crm`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._client = SalesforceClient(settings, context.client, context.clock)
        self._changes = Changes(self._client, context, settings.cut_over)
        self._sweep = Sweep(self._client, self._changes, context.clock, settings.sweep_seconds)
        self._clock = context.clock
        self._detail_length = mapping.DETAIL_LENGTH
        self._poll_seconds = settings.poll_seconds

    async def deal(self, deal_id: str) -> Deal:
        org = self._client.org
        found = await self._client.query(mapping.deal_query(deal_id, org))
        if not found:
            raise NotFound("crm", f"there is no opportunity {deal_id}")
        row = org.completed(found[0])
        mapping.check_whole(row, (*mapping.DEAL, "Account", "OpportunityLineItems"))
        if row["Account"]:
            row["Account"] = org.completed(row["Account"])
        for each in mapping.lines_of(row):
            mapping.check_whole(each, mapping.LINE)
        ancestors = await self._ancestors(row)
        account: mapping.Row = row["Account"] or {}
        account_id = mapping.quoted(account.get("Id", ""))
        products = sorted({each["Product2Id"] for each in mapping.lines_of(row) if each["Product2Id"]})
        wanted = ", ".join(map(mapping.quoted, products)) or "''"
        queries = {
            "contacts": mapping.contact_query(account.get("Id", "")),
            "listed": (
                f"SELECT Product2Id FROM PricebookEntry WHERE Product2Id IN ({wanted}) AND IsActive = true"
                f"{org.in_currency(row[mapping.CURRENCY] or '')}"
                + (f" AND Pricebook2Id = {mapping.quoted(row['Pricebook2Id'])}" if row["Pricebook2Id"] else "")
            ),
        }
        if account.get("VatNumber__c"):
            same = mapping.quoted(account["VatNumber__c"])
            queries["potential_duplicates"] = (
                f"SELECT Id, ParentId FROM Account WHERE VatNumber__c = {same} AND Id != {account_id}"
            )
        rows = await self._client.queries(queries)
        listed = {each["Product2Id"] for each in rows["listed"]}
        family = {account.get("Id"), *ancestors}  # a group's branches have its number, and are no duplicates
        same_number = rows.get("potential_duplicates", [])
        duplicates = [each for each in same_number if each["Id"] not in family and each["ParentId"] not in family]
        try:
            return mapping.to_deal(row, ancestors, rows["contacts"], duplicates, listed)
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error

    async def _ancestors(self, row: mapping.Row) -> tuple[str, ...]:
        """Return the ids of the parents, nearest first. A circle ends with the id that closes it."""
        found, more = mapping.visible_ancestors(row)
        account: mapping.Row = row["Account"] or {}
        start = account.get("Id", "")
        while more and start not in found and len(set(found)) == len(found) and len(found) < MAX_DEPTH:
            above = await self._client.query(f"SELECT ParentId FROM Account WHERE Id = {mapping.quoted(found[-1])}")
            parent = above[0]["ParentId"] if above else None
            more = parent is not None
            if parent:
                found.append(parent)
        chain: list[str] = []
        for each in found:
            chain.append(each)
            if each == start or each in chain[:-1]:
                break
        return tuple(chain)

    async def account(self, account_id: str) -> Account:
        found = await self._client.query(mapping.accounts_query(f"Id = {mapping.quoted(account_id)}", self._client.org))
        if not found:
            raise NotFound("crm", await self._why_gone(account_id))
        row = self._client.org.completed(found[0])
        try:
            return mapping.to_account(row, mapping.contacts_of(row), (row["ParentId"],) if row["ParentId"] else ())
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error

    async def _why_gone(self, account_id: str) -> str:
        query = f"SELECT MasterRecordId FROM Account WHERE IsDeleted = true AND Id = {mapping.quoted(account_id)}"
        found = (await self._client.queries({"gone": query}, with_deleted={"gone"}))["gone"]
        if not found:
            return f"there is no account {account_id}"
        master = found[0].get("MasterRecordId")
        return f"the account {account_id} was " + (f"merged into {master}" if master else "deleted")

    async def put_followed(self, account_id: str, followed: AccountSync) -> None:
        await self._client.composite([mapping.followed_request(account_id, followed)])

    async def put_deal(self, deal: PlacedDeal) -> DealReference:
        known = await self._placed(deal.key)
        if known and known["IsWon"]:
            return DealReference(known["Id"])
        org = self._client.org
        rows = await self._client.query(mapping.prices_query(deal, org)) if org.sells_in(deal.currency) else []
        entries = {row["Product2"]["ProductCode"]: row for row in rows}
        for index, line in enumerate(deal.lines):
            if line.sku not in entries:
                reason = f"the price list has no price for {line.sku} in {deal.currency}"
                raise NotFound("crm", reason, field=f"lines[{index}].sku")
        price_list: str = rows[0]["Pricebook2Id"]
        await self._client.composite([mapping.placing_request(deal, price_list, self._clock().date(), org)])
        placed = await self._placed(deal.key)
        if placed is None:
            raise Unavailable("crm", "the opportunity is not visible yet")
        try:
            await self._client.composite(mapping.line_requests(deal, placed["Id"], entries))
        except (Conflict, Rejected):
            now = await self._placed(deal.key)
            if not (now and now["IsWon"]):
                raise
        return DealReference(placed["Id"])  # closed by us, or in this moment by another with the same key

    async def _placed(self, key: str) -> mapping.Row | None:
        query = f"SELECT Id, IsWon FROM Opportunity WHERE TiergateKey__c = {mapping.quoted(key)}"
        found = await self._client.query(query)
        return found[0] if found else None

    async def put_status(self, deal_id: str, status: DealStatus, correlation_id: str) -> None:
        try:
            await self._client.composite(mapping.status_requests(deal_id, status, correlation_id, self._detail_length))
        except Rejected as refusal:
            if refusal.field != mapping.DETAIL:
                raise
            self._detail_length = await self._client.length("Opportunity", mapping.DETAIL)
            await self._client.composite(mapping.status_requests(deal_id, status, correlation_id, self._detail_length))

    async def look(self, intake: Intake) -> Look:
        await self._changes.look(intake)
        await self._sweep.go_on(intake)
        quota = self._client.quota
        return Look(quota.pause(self._poll_seconds), quota.in_words(self._poll_seconds))

    async def check(self) -> None:
        await self._client.check()


def connect(settings: Settings, context: ConnectorContext) -> Salesforce:
    """Return the connector of one org."""
    return Salesforce(settings, context)
