"""Deals that offer another term of a contract: found by their key, or made with their lines. From there on they are
people's."""

from __future__ import annotations

from decimal import Decimal

from canonical.deals import DealReference, RenewalDeal, is_whole
from canonical.faults import Conflict, NotFound, Rejected, Unavailable
from policies.outbound.paths import path_of
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.client import SalesforceClient
from system_apis.crm.salesforce.columns import Row, Unreadable
from system_apis.crm.salesforce.org import Org, quoted

LONGEST_NAME = 120
"""Characters that the name of a deal has (Object Reference: Opportunity, Name)."""


class SalesforceRenewals:
    """Offers contracts again in one org."""

    def __init__(self, client: SalesforceClient, org: Org) -> None:
        self._client = client
        self._org = org

    async def put(self, deal: RenewalDeal) -> DealReference:
        """Make sure of the deal with a key, and that it has its lines. Raises leaves of `PlatformFault`."""
        known = await self._offered(deal.key)
        if known and self._is_whole(known):
            return DealReference(known["Id"])
        if known and (known["IsClosed"] or await self._has_others_lines(deal, known["Id"])):  # people were faster
            await self._client.composite([_mark(deal, known["Id"], self._org)])
            return DealReference(known["Id"])
        contract, sold_with = await self._sold(deal)
        entries = await self._entries(deal, sold_with)
        if known is None:
            await self._client.composite([_request(deal, contract, sold_with, entries[deal.lines[0].sku], self._org)])
            known = await self._offered(deal.key)
        if known is None:
            raise Unavailable("crm", "the opportunity is not visible yet")
        try:
            await self._client.composite(_line_requests(deal, known["Id"], entries, self._org))
        except (Conflict, Rejected):
            now = await self._offered(deal.key)
            if not (now and self._is_whole(now)):
                raise
        return DealReference(known["Id"])  # made by us, or in this moment by another with the same key

    async def _offered(self, key: str) -> Row | None:
        found = await self._client.query(_offered_query(key, self._org))
        return found[0] if found else None

    async def _has_others_lines(self, deal: RenewalDeal, deal_id: str) -> bool:
        """Return whether people have written lines to a deal: with ours beside them all would be sold twice."""
        key = self._org.written.line.key
        of = f"OpportunityId = {quoted(deal_id)}"
        lines = await self._client.query(f"SELECT {key} FROM OpportunityLineItem WHERE {of}")
        return any(not (each[key] or "").startswith(f"{deal.key}.") for each in lines)

    def _is_whole(self, row: Row) -> bool:
        """Return whether a deal has our mark, which comes with its lines."""
        return bool(row[self._org.written.deal.order])

    async def _sold(self, deal: RenewalDeal) -> tuple[Row, Row]:
        """Return the contract, and the deal that it came of, empty where that is gone."""
        org = self._org
        if not org.offers:
            reason = "the mapping names no field of a deal in which a renewal and its contract can be written"
            raise Rejected("crm", reason, field="deal.change")
        queries = {"contract": mapping.contract_query(deal.contract_id, org), "sold": _sold_with_query(deal, org)}
        rows = await self._client.queries(queries)
        if not rows["contract"]:
            raise NotFound("crm", f"there is no contract {deal.contract_id}", field="deal.contract_id")
        return rows["contract"][0], rows["sold"][0] if rows["sold"] else {}

    async def _entries(self, deal: RenewalDeal, sold_with: Row) -> dict[str, Row]:
        """Return the entries of the price book for what is offered, by the codes of their products."""
        prices = await self._client.query(_prices_query(deal, sold_with.get("Pricebook2Id"), self._org))
        entries = mapping.prices_by_sku(prices, self._org)
        try:
            wrong = _unsold(deal, entries, self._org)
        except Unreadable as error:
            raise Rejected("crm", error.reason, field=error.field) from error
        if wrong:
            raise Rejected("crm", wrong[1], field=wrong[0])
        return entries


def _offered_query(key: str, org: Org) -> str:
    """Return the query for the deal that offers another term of a contract, by its key."""
    written = org.written.deal
    return f"SELECT Id, IsClosed, {written.order} FROM Opportunity WHERE {written.key} = {quoted(key)}"


def _sold_with_query(deal: RenewalDeal, org: Org) -> str:
    """Return the query for what the deal of a contract leaves to the one that renews it."""
    kind = "RecordTypeId, " if org.record_type or org.names.record_types else ""
    fields = f"{kind}OwnerId, Owner.IsActive, Pricebook2Id"
    return f"SELECT {fields} FROM Opportunity WHERE Id = {quoted(deal.sold_with)}"


def _prices_query(deal: RenewalDeal, price_list: str | None, org: Org) -> str:
    """Return the query for the entries of a price book, or of that of what channels place, of what is offered again."""
    skus, code = ", ".join(sorted({quoted(line.sku) for line in deal.lines})), mapping.product_code(org)
    read = ["Id", code, "Pricebook2Id", *(mapping.intervals_of_products(org) or ())]
    book = f"Pricebook2Id = {quoted(price_list)}" if price_list else org.price_book()
    where = f"IsActive = true AND {book}{org.in_currency(deal.currency)} AND {code} IN ({skus})"
    return f"SELECT {', '.join(dict.fromkeys(read))} FROM PricebookEntry WHERE {where}"


def _unsold(deal: RenewalDeal, entries: dict[str, Row], org: Org) -> tuple[str, str] | None:
    """Return the field of what cannot be offered again, and why; None where all can be. Raises `Unreadable`."""
    for place, line in enumerate(deal.lines):
        field = f"deal.lines[{place}]"
        if line.sku not in entries:
            return f"{field}.sku", f"the price list has no price for {line.sku} in {deal.currency}"
        if mapping.intervals_of_products(org) is not None:
            sold_per = org.line["interval"].text(entries[line.sku], field)
            if sold_per != line.interval:
                reason = f"{line.sku} is sold per {sold_per} now, and the contract has it per {line.interval}"
                return f"{field}.interval", reason
    return None


def _request(deal: RenewalDeal, contract: Row, sold_with: Row, entry: Row, org: Org) -> Row:
    """Return the request for the deal that offers another term of a contract. Raises `Rejected` where the org has
    nothing for what is to be said."""
    name = mapping.shortened(f"{deal.name} – renewal from {deal.starts_on}", LONGEST_NAME)
    body: Row = {
        "AccountId": contract["AccountId"],
        "Pricebook2Id": entry["Pricebook2Id"],
        "StageName": org.names.open_stage,
        "CloseDate": deal.starts_on.isoformat(),
    }
    if record_type := sold_with.get("RecordTypeId"):
        body["RecordTypeId"] = record_type
    owner: Row = sold_with.get("Owner") or {}
    if owner.get("IsActive"):  # nobody can be given a record who has left
        body["OwnerId"] = sold_with["OwnerId"]
    if org.names_contract:
        body[org.names_contract] = contract["Id"]
    own = {
        "name": name,
        "currency": deal.currency,
        "legal_entity": deal.legal_entity,
        "starts_on": deal.starts_on.isoformat(),
        "term_months": deal.term_months,
    }
    for field, value in own.items():
        if column := org.deal[field].own_field:
            body[column] = org.deal[field].written(value)
    body[org.deal["change"].own_field] = org.names.renewal
    if (field := org.deal["contract_id"].own_field) and not org.names_contract:
        body[field] = deal.contract_id
    return mapping.patch(path_of("crm", "sobjects", "Opportunity", org.written.deal.key, deal.key), "deal", body)


def _line_requests(deal: RenewalDeal, deal_id: str, entries: dict[str, Row], org: Org) -> list[Row]:
    """Return the requests for the lines, each with a key of its own, and for the mark that they are there. All or
    nothing, so that a deal which is marked has them."""
    key, interval = org.written.line.key, org.line["interval"].own_field
    lines: list[Row] = [
        {
            "attributes": {"type": "OpportunityLineItem"},
            key: f"{deal.key}.{index}",
            "OpportunityId": deal_id,
            "PricebookEntryId": entries[line.sku]["Id"],
            "Quantity": _number(line.quantity),
            "UnitPrice": _number(line.unit_price),
            "SortOrder": index,
        }
        | ({interval: org.line["interval"].written(line.interval)} if interval else {})
        for index, line in enumerate(deal.lines)
    ]
    return [*mapping.in_collections(lines, key), _mark(deal, deal_id, org)]


def _mark(deal: RenewalDeal, deal_id: str, org: Org) -> Row:
    """Return the request that shows which renewal a deal offers. By it the change feed tells that such a deal is
    lost."""
    shown = {org.written.deal.state: "quoted", org.written.deal.order: deal.renewal_id}
    return mapping.patch(path_of("crm", "sobjects", "Opportunity", deal_id), "offered", shown)


def _number(value: Decimal) -> int | float:
    """Return a number as JSON has it, and Salesforce takes it: with some fifteen digits."""
    return int(value) if is_whole(value) else float(value)
