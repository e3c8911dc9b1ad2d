"""The CRM port on Salesforce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from canonical.deals import ContractCopy, Deal, DealReference, DealStatus, PlacedDeal, RenewalDeal
from canonical.faults import Conflict, NotFound, Rejected, Unavailable
from canonical.parties import Account, AccountSync
from canonical.products import OwnedProducts
from system_apis.connector import ConnectorContext, Misfit, Translation
from system_apis.crm.salesforce import fit, mapping
from system_apis.crm.salesforce.catalogue import SalesforceProducts
from system_apis.crm.salesforce.changes import Changes
from system_apis.crm.salesforce.client import SalesforceClient, Settings
from system_apis.crm.salesforce.columns import Row, Unreadable
from system_apis.crm.salesforce.merges import merged_into
from system_apis.crm.salesforce.org import quoted
from system_apis.crm.salesforce.renewals import SalesforceRenewals
from system_apis.crm.salesforce.sweep import Sweep
from system_apis.feed import Look
from system_apis.intake import Intake

MAX_DEPTH = 50
OfAccount = TypeVar("OfAccount", DealStatus, PlacedDeal)


class Salesforce:
    """Implement `system_apis.crm.port.Crm`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._client = SalesforceClient(settings, context.client, context.clock)
        self._changes = Changes(self._client, context, settings.cut_over)
        self._sweep = Sweep(self._client, self._changes, context.clock, settings.sweep_seconds)
        self._org = self._client.org
        self._catalogue = SalesforceProducts(self._client, self._org)
        self._renewals = SalesforceRenewals(self._client, self._org)
        self._instance = context.instance
        self._clock = context.clock
        self._record_types: dict[str, str] = {}
        self._detail_length = mapping.DETAIL_LENGTH
        self._poll_seconds = settings.poll_seconds

    async def deal(self, deal_id: str) -> Deal:
        row = await self._deal(deal_id)
        ancestors = await self._ancestors(row)
        account: Row = row["Account"] or {}
        account_id = quoted(account.get("Id", ""))
        products = sorted({each["Product2Id"] for each in mapping.lines_of(row) if each["Product2Id"]})
        wanted = ", ".join(map(quoted, products)) or "''"
        currency = self._org.deal["currency"].first(row) or ""
        queries = {
            "contacts": mapping.contact_query(account.get("Id", "")),
            "listed": (
                f"SELECT Product2Id FROM PricebookEntry WHERE Product2Id IN ({wanted}) AND IsActive = true"
                f"{self._org.in_currency(currency)}"
                + (f" AND Pricebook2Id = {quoted(row['Pricebook2Id'])}" if row["Pricebook2Id"] else "")
            ),
        }
        number = self._org.account["tax_number"]
        if same := number.first(account):
            queries["potential_duplicates"] = (
                f"SELECT Id, ParentId FROM Account WHERE {number.column.field} = {quoted(str(same))}"
                f" AND Id != {account_id}"
            )
        if account_id != "''":
            queries["merged"] = mapping.merged_query(f"MasterRecordId = {account_id}")
        rows = await self._client.queries(queries, with_deleted={"merged"})
        listed = {each["Product2Id"] for each in rows["listed"]}
        family = {account.get("Id"), *ancestors}  # a group's branches have its number, and are no duplicates
        same_number = rows.get("potential_duplicates", [])
        merged = await self._merged(account["Id"]) if rows.get("merged") else ()
        duplicates = [each for each in same_number if each["Id"] not in family and each["ParentId"] not in family]
        try:
            return mapping.to_deal(row, ancestors, rows["contacts"], duplicates, listed, self._org, merged)
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error

    async def _deal(self, deal_id: str) -> Row:
        """Return an opportunity with its lines and its account, as the org has it."""
        found = await self._client.query(mapping.deal_query(deal_id, self._org))
        if not found:
            raise NotFound("crm", f"there is no opportunity {deal_id}")
        row = found[0]
        mapping.check_whole(row, mapping.parts_of_deal(self._org))
        for each in mapping.lines_of(row):
            mapping.check_whole(each, mapping.parts_of_line(self._org))
        return row

    async def _ancestors(self, row: Row) -> tuple[str, ...]:
        """Return the ids of the parents, nearest first. A circle ends with the id that closes it."""
        found, more = mapping.visible_ancestors(row)
        account: Row = row["Account"] or {}
        start = account.get("Id", "")
        while more and start not in found and len(set(found)) == len(found) and len(found) < MAX_DEPTH:
            above = await self._client.query(f"SELECT ParentId FROM Account WHERE Id = {quoted(found[-1])}")
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
        row, merged = await self._present(account_id)
        parents = (row["ParentId"],) if row["ParentId"] else ()
        try:
            return mapping.to_account(row, mapping.contacts_of(row), self._org, parents, merged=merged)
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error

    async def _present(self, account_id: str) -> tuple[Row, tuple[str, ...]]:
        """Return an account, or the one that it was merged into, and the ids of those that were merged into that.
        Raises `NotFound`."""
        at, was = account_id, f"the account {account_id} was"
        for _ in range(MAX_DEPTH):
            wanted = {
                "account": mapping.accounts_query(f"Id = {quoted(at)}", self._org),
                "gone": mapping.merged_query(f"(Id = {quoted(at)} OR MasterRecordId = {quoted(at)})"),
            }
            found = await self._client.queries(wanted, with_deleted={"gone"})
            if found["account"]:
                return found["account"][0], await self._merged(at) if found["gone"] else ()
            own = next((each for each in found["gone"] if each["Id"] == at), None)
            if own is None:
                raise NotFound("crm", f"there is no account {at}")
            if not own["MasterRecordId"]:
                raise NotFound("crm", f"{was} deleted")
            at = own["MasterRecordId"]
            was = f"the account {account_id} was merged into {at}, which was"
        raise NotFound("crm", f"{was} merged into others without end")

    async def _merged(self, account_id: str) -> tuple[str, ...]:
        return tuple((await merged_into(self._client, [account_id])).get(account_id, ()))

    async def contract_copy(self, contract_id: str) -> ContractCopy:
        found = await self._client.query(mapping.contract_query(contract_id, self._org))
        if not found:
            raise NotFound("crm", f"there is no contract {contract_id}")
        return mapping.contract_copy(found[0])

    async def put_followed(self, account_id: str, followed: AccountSync) -> None:
        await self._client.composite([mapping.followed_request(account_id, followed, self._org)])

    async def put_deal(self, deal: PlacedDeal) -> DealReference:
        known = await self._placed(deal.key)
        if known and known["IsWon"]:
            return DealReference(known["Id"])
        org = self._org
        rows = await self._client.query(mapping.prices_query(deal, org)) if org.sells_in(deal.currency) else []
        entries = mapping.prices_by_sku(rows, org)
        await self._check_placed(deal, entries)
        price_list: str = rows[0]["Pricebook2Id"]
        record_type = await self._record_type(mapping.record_type_query(deal, org))
        today = self._clock().date()
        try:
            await self._client.composite([mapping.placing_request(deal, price_list, record_type, today, org)])
        except NotFound as fault:
            deal = await self._moved(deal, fault)
            await self._client.composite([mapping.placing_request(deal, price_list, record_type, today, org)])
        placed = await self._placed(deal.key)
        if placed is None:
            raise Unavailable("crm", "the opportunity is not visible yet")
        try:
            await self._client.composite(mapping.line_requests(deal, placed["Id"], entries, org))
        except (Conflict, Rejected):
            now = await self._placed(deal.key)
            if not (now and now["IsWon"]):
                raise
        return DealReference(placed["Id"])  # closed by us, or in this moment by another with the same key

    async def put_renewal(self, deal: RenewalDeal) -> DealReference:
        return await self._renewals.put(deal)

    async def _check_placed(self, deal: PlacedDeal, entries: Mapping[str, Row]) -> None:
        """Raise `NotFound` or `Rejected`, with the field of the deal, for one that could never be fulfilled."""
        org = self._org
        unlisted = [index for index, line in enumerate(deal.lines) if line.sku not in entries]
        if unlisted and not entries:
            sells = org.sells_in(deal.currency) and await self._client.query(mapping.any_price_query(deal, org))
            if not sells:
                raise NotFound("crm", f"the price list has no prices in {deal.currency}", field="currency")
        if unlisted:
            skus = ", ".join(dict.fromkeys(deal.lines[index].sku for index in unlisted))
            reason = f"the price list has no price for {skus} in {deal.currency}"
            raise NotFound("crm", reason, field=f"lines[{unlisted[0]}].sku")
        try:
            recurs = mapping.recurs(entries.values(), org)
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error
        if not recurs:
            raise Rejected("crm", "a contract needs at least one recurring line", field="lines")

    async def _placed(self, key: str) -> Row | None:
        query = f"SELECT Id, IsWon FROM Opportunity WHERE {self._org.written.deal.key} = {quoted(key)}"
        found = await self._client.query(query)
        return found[0] if found else None

    async def _record_type(self, query: str) -> str:
        """Return the id of a record type, which is read once; empty where any will do. Raises `Rejected`."""
        if query and query not in self._record_types:
            found = await self._client.query(query)
            if not found:
                reason = "the org has no record type of deals that the mapping names"
                raise Rejected("crm", reason, field="record_types")
            self._record_types[query] = found[0]["Id"]
        return self._record_types[query] if query else ""

    async def put_status(self, deal_id: str, status: DealStatus, correlation_id: str) -> None:
        try:
            await self._show(deal_id, status, correlation_id)
        except NotFound as fault:
            await self._show(deal_id, await self._moved(status, fault), correlation_id)

    async def _moved(self, about: OfAccount, fault: NotFound) -> OfAccount:
        """Return what is about an account that was merged into another, with that one. Raises the fault for an account
        that is still there, `NotFound` for one that is not."""
        present = (await self._present(about.account_id))[0]["Id"] if about.account_id else ""
        if present == about.account_id:
            raise fault
        return msgspec.structs.replace(about, account_id=present)

    async def _show(self, deal_id: str, status: DealStatus, correlation_id: str) -> None:
        former = await self._former(status)

        def requests() -> list[Row]:
            shown = mapping.status_requests(deal_id, status, correlation_id, self._detail_length, self._org)
            return [*former, *shown]

        detail = self._org.written.deal.detail
        try:
            await self._client.composite(requests())
        except Rejected as refusal:
            if refusal.field != detail:
                raise
            self._detail_length = await self._client.length("Opportunity", detail)
            await self._client.composite(requests())

    async def _former(self, status: DealStatus) -> list[Row]:
        """Return the request that leaves the record of a transferred contract to the account that it is of, if it is
        that account's still: another account gets a record of its own."""
        if status.transferred_on is None:
            return []
        found = await self._client.query(mapping.contract_query(status.contract_id, self._org))
        return [
            mapping.former_request(each, status, self._org) for each in found if each["AccountId"] != status.account_id
        ]

    async def products(self, after: str, limit: int) -> OwnedProducts:
        return await self._catalogue.page(after, limit)

    async def begin(self) -> None:
        await self._changes.begin()

    async def look(self, intake: Intake) -> Look:
        await self._changes.look(intake)
        await self._sweep.go_on(intake)
        quota = self._client.quota
        return Look(quota.pause(self._poll_seconds), quota.in_words(self._poll_seconds))

    async def check(self) -> None:
        await self._client.check()

    async def misfits(self) -> list[Misfit]:
        """Return what the mapping names and the org lacks, or has otherwise, what our user may do too much, and when
        the requests of the day run out."""
        found = [*await fit.misfits(self._client, self._org, self._instance), *await fit.too_many_rights(self._client)]
        if scarce := self._client.quota.in_words(self._poll_seconds):
            found.append(Misfit(scarce, "raise poll_seconds, or buy more requests for the org", blocks=False))
        return found

    async def example(self, record_id: str) -> tuple[str, list[Translation]]:
        """Return a deal with its account and its lines: the newest one that was won, if none is named."""
        if not record_id:
            found = await self._client.query(fit.newest_won_query(self._org))
            if not found:
                raise NotFound("crm", "there is no won deal to show yet")
            record_id = found[0]["Id"]
        return record_id, fit.translations(await self._deal(record_id), self._org)


def connect(settings: Settings, context: ConnectorContext) -> Salesforce:
    """Return the connector of one org."""
    return Salesforce(settings, context)
