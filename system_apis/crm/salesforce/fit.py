"""Whether a mapping fits its org as it is now, by the org's descriptions of its objects; and a deal as an example."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator

import msgspec

from canonical.deals import INTERVALS
from policies.catalogue.nearest import hint
from system_apis.connector import Misfit, Translation
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.client import Described, DescribedField, SalesforceClient
from system_apis.crm.salesforce.columns import Kind, Reader, Row, Unreadable
from system_apis.crm.salesforce.org import KINDS, PLACED, RECORD_TYPE, Org

OBJECTS = ("Opportunity", "OpportunityLineItem", "Account", "Contract")
TABLES = {"Opportunity": "deal", "Account": "account", "OpportunityLineItems": "line", "Product2": "product"}
"""The table of the mapping file for what the org calls a kind of record."""
TEXTS = {"string", "textarea", "picklist", "combobox", "email", "phone", "url", "id", "reference", "encryptedstring"}
NUMBERS = {"int", "long", "double", "currency", "percent"}
TYPES: dict[Kind, set[str]] = {
    "text": TEXTS,
    "whole": NUMBERS,
    "number": NUMBERS,
    "day": {"date"},
    "flag": {"boolean"},
}
"""The types of fields that each kind can be read from (SOAP API Developer Guide: Data Types)."""
TOO_MUCH = {
    "PermissionsModifyAllData": "Modify All Data",
    "PermissionsViewAllData": "View All Data",
    "PermissionsManageUsers": "Manage Users",
    "PermissionsCustomizeApplication": "Customize Application",
    "PermissionsAuthorApex": "Author Apex",
}
"""Permissions that no integration needs, by their names in the API and in the setup."""


async def misfits(client: SalesforceClient, org: Org, instance: str) -> list[Misfit]:
    """Return all that the mapping names and the org, called `instance` in the catalogue, lacks or has otherwise.

    Raises leaves of `PlatformFault`.
    """
    found = [each async for each in _Fit(client, org, instance).all()]
    return sorted(found, key=lambda each: each.what)


async def too_many_rights(client: SalesforceClient) -> list[Misfit]:
    """Return what the integration user may do beyond what is needed, by its profile or any permission set (Object
    Reference: UserPermissionAccess). Raises leaves of `PlatformFault`."""
    described = await client.describe("UserPermissionAccess")  # an edition has not all of the permissions
    known = [name for name in TOO_MUCH if described.field(name)]
    if not known:
        return []
    (own,) = await client.query(f"SELECT {', '.join(known)} FROM UserPermissionAccess LIMIT 1")
    granted = ", ".join(TOO_MUCH[name] for name in known if own[name])
    if not granted:
        return []
    remedy = (
        "take it out of its profile and permission sets, and grant it the objects that"
        " docs/guides/connecting-your-systems.md lists"
    )
    return [Misfit(f"the integration user may do too much: {granted}", remedy, blocks=False)]


def key_of(reader: Reader) -> str:
    """Return the key of a field in the mapping file."""
    if reader.name.startswith("custom."):
        return f"custom.deal.{reader.name.removeprefix('custom.')}"
    if reader.name.startswith("invoicing."):
        return reader.name
    return f"{TABLES[reader.record]}.{reader.name}"


class _Fit:
    """One look at an org: each of its objects is described once."""

    def __init__(self, client: SalesforceClient, org: Org, instance: str) -> None:
        self._client = client
        self._org = org
        self._create = f"create it with `tiergate setup crm {instance}`"
        self._objects: dict[str, Described] = {}

    async def all(self) -> AsyncIterator[Misfit]:
        for name in OBJECTS:
            await self._described(name)
        org = self._org
        for readers in (org.deal, org.account, org.line, org.product, org.custom, org.invoicing):
            for each in readers.values():
                async for wrong in self._of_reader(each):
                    yield wrong
        for each in (*self._of_written(), *self._of_offers()):
            yield each
        async for each in self._of_values():
            yield each

    async def _described(self, sobject: str) -> Described:
        if sobject not in self._objects:
            self._objects[sobject] = await self._client.describe(sobject)
        return self._objects[sobject]

    # ---- what is read

    async def _of_reader(self, reader: Reader) -> AsyncIterator[Misfit]:
        key = key_of(reader)
        sobject = "OpportunityLineItem" if reader.record == "OpportunityLineItems" else reader.record
        for path in reader.fields:
            field = await self._at(sobject, path)
            if isinstance(field, Misfit):
                yield Misfit(f"{key}: {field.what}", field.remedy)
                continue
            for each in self._of_field(reader, key, path, field):
                yield each

    async def _at(self, sobject: str, path: str) -> DescribedField | Misfit:
        """Return the field at the end of a path; what is wrong where there is none."""
        *relations, name = path.split(".")
        for each in relations:
            described = await self._described(sobject)
            to = next((field for field in described.fields if _same(field.relationshipName, each)), None)
            if to is None:
                known = sorted(field.relationshipName for field in described.fields if field.relationshipName)
                create = f", or {self._create}" if each.endswith("__r") else ""
                remedy = f"use one of {', '.join(known)}{hint(each, known, '__r')}{create}"
                return Misfit(f"{sobject} has no relationship {each!r}", remedy)
            if to.relationshipName != each:
                return _miswritten(sobject, each, to.relationshipName or "")
            sobject = "User" if "User" in to.referenceTo else to.referenceTo[0]
        return self._named(await self._described(sobject), sobject, name)

    def _named(self, described: Described, sobject: str, name: str) -> DescribedField | Misfit:
        """Return the field of a name. It has to be as the org writes it: queries take it in any case, their answers
        have it in one."""
        field = described.field(name)
        if field is None:
            near = hint(name, [each.name for each in described.fields], "__c")
            create = f", or {self._create}" if name.endswith("__c") else ""
            return Misfit(f"{sobject} has no field {name!r}", f"name one that it has{near}{create}")
        return field if field.name == name else _miswritten(sobject, name, field.name)

    def _of_field(self, reader: Reader, key: str, path: str, field: DescribedField) -> Iterator[Misfit]:
        column, kind = reader.column, KINDS.get(key, "text")
        if not column.values and not key.startswith("custom.") and field.type not in TYPES[kind]:
            wanted = " or ".join(sorted(TYPES[kind]))
            yield Misfit(
                f"{key}: {path} is of the type {field.type}", f"name a field of the type {wanted}, or add values"
            )
        known: Collection[str] = column.values or (INTERVALS if key == "line.interval" else ())
        for each in field.picklistValues if known else ():
            if each.active and each.value not in known:
                yield Misfit(
                    f"{key}.values: the picklist {path} has {each.value!r}, too", "say what it is here", blocks=False
                )
        if reader.own_field and reader.record == "Opportunity" and reader.name in PLACED and not field.createable:
            yield Misfit(f"{key}: {path} cannot be written", "let the integration user write it: channels place deals")

    # ---- what is written

    def _of_written(self) -> Iterator[Misfit]:
        written = self._org.written
        for table, sobject, names in (
            ("deal", "Opportunity", written.deal),
            ("line", "OpportunityLineItem", written.line),
            ("account", "Account", written.account),
            ("contract", "Contract", written.contract),
        ):
            for key, name in msgspec.structs.asdict(names).items():
                described = self._objects[sobject]
                field = self._named(described, sobject, name)
                for each in [field] if isinstance(field, Misfit) else _unwritable(sobject, key, field):
                    yield Misfit(f"written.{table}.{key}: {each.what}", each.remedy)

    def _of_offers(self) -> Iterator[Misfit]:
        """Yield what of a deal that offers a contract again cannot be written: nothing else needs it."""
        if not self._org.offers:
            what = "deal.contract_id and deal.change name no field of a deal that can be written"
            yield Misfit(what, "name one of its own each, or no contract is offered again", blocks=False)
        for name in sorted({"OwnerId", *self._org.offers}):
            field = self._named(self._objects["Opportunity"], "Opportunity", name)
            if isinstance(field, Misfit):
                yield Misfit(f"{field.what}, which renewals are written to", field.remedy, blocks=False)
            elif not (field.createable and field.updateable):
                remedy = "let the integration user edit it, or no contract is offered again"
                yield Misfit(f"Opportunity.{name} cannot be written", remedy, blocks=False)

    # ---- stages, statuses, price books, record types

    async def _of_values(self) -> AsyncIterator[Misfit]:
        names = self._org.names
        rows = await self._client.query("SELECT ApiName, IsClosed, IsWon FROM OpportunityStage WHERE IsActive = true")
        stages = {row["ApiName"]: row for row in rows}
        for key, stage in (("open_stage", names.open_stage), ("won_stage", names.won_stage)):
            if stage not in stages:
                yield _unknown(f"org.{key}", "stage", stage, stages)
        if names.won_stage in stages and not stages[names.won_stage]["IsWon"]:
            won = [name for name, row in stages.items() if row["IsWon"]]
            yield Misfit(f"org.won_stage: {names.won_stage!r} is no stage of won deals", f"use one of {', '.join(won)}")
        if names.open_stage in stages and stages[names.open_stage]["IsClosed"]:
            still = [name for name, row in stages.items() if not row["IsClosed"]]
            yield Misfit(f"org.open_stage: deals are closed in {names.open_stage!r}", f"use one of {', '.join(still)}")
        status = self._objects["Contract"].field("Status")
        statuses = [each.value for each in status.picklistValues if each.active] if status else []
        if names.active_contract not in statuses:
            yield _unknown("org.active_contract", "status of contracts", names.active_contract, statuses)
        books = await self._client.query("SELECT Name FROM Pricebook2 WHERE IsActive = true")
        if names.price_book and names.price_book not in (known := [row["Name"] for row in books]):
            yield _unknown("org.price_book", "active price book", names.price_book, known)
        async for each in self._of_record_types():
            yield each

    async def _of_record_types(self) -> AsyncIterator[Misfit]:
        legal_entity = self._org.deal["legal_entity"].column
        wanted = dict.fromkeys(self._org.names.record_types, "org.record_types")
        if legal_entity.field == RECORD_TYPE:
            wanted |= dict.fromkeys(legal_entity.values, "deal.legal_entity.values")
        if not wanted:
            return
        query = "SELECT DeveloperName FROM RecordType WHERE SobjectType = 'Opportunity' AND IsActive = true"
        known = [row["DeveloperName"] for row in await self._client.query(query)]
        for name, key in wanted.items():
            if name not in known:
                yield _unknown(key, "record type of deals", name, known)


def _same(relationship: str | None, name: str) -> bool:
    return (relationship or "").lower() == name.lower()


def _miswritten(sobject: str, name: str, right: str) -> Misfit:
    return Misfit(
        f"{sobject} has {right}, and not {name!r}", f"write {right}: nothing is found in the org's answers else"
    )


def _unwritable(sobject: str, key: str, field: DescribedField) -> Iterator[Misfit]:
    is_key = key in ("key", "contract")
    if not (field.createable and field.updateable):
        yield Misfit(f"{sobject}.{field.name} cannot be written", "let the integration user edit it")
    if is_key and not field.externalId:
        yield Misfit(f"{sobject}.{field.name} is no external id", "tick External ID and Unique on it")
    if key == "deal" and "Opportunity" not in field.referenceTo:
        yield Misfit(f"{sobject}.{field.name} is no reference to deals", "name a lookup to Opportunity")
    elif key != "deal" and field.type not in ("string", "textarea", "picklist"):
        yield Misfit(f"{sobject}.{field.name} is of the type {field.type}", "name a text field")


def _unknown(key: str, what: str, name: str, known: Collection[str]) -> Misfit:
    reason = f"{key}: the org has no {what} {name!r}"
    return Misfit(reason, f"use one of {', '.join(known) or '(none)'}{hint(name, known)}")


# ---- an example


def newest_won_query(org: Org) -> str:
    """Return the query for the deal of ours that was won last."""
    return f"SELECT Id FROM Opportunity WHERE IsWon = true{org.is_ours()} ORDER BY CloseDate DESC, Id DESC LIMIT 1"


def translations(row: Row, org: Org) -> list[Translation]:
    """Return each field of a deal, of its account and its lines: as the org has it, and as it is here."""
    account: Row = row.get("Account") or {}
    found = [_translation(each, row, "deal") for each in (*org.deal.values(), *org.custom.values())]
    found += [_translation(each, account, "deal.account") for each in org.account.values()]
    for place, line in enumerate(mapping.lines_of(row)):
        found += [_translation(each, line, f"deal.lines[{place}]") for each in org.line.values()]
    return found


def _translation(reader: Reader, row: Row, of: str) -> Translation:
    place = of[of.find("[") :] if "[" in of else ""
    try:
        after, readable = _canonical(reader, row, of), True
    except Unreadable as error:
        after, readable = error.reason, False
    raw = reader.raw(row)
    return Translation(f"{of}.{reader.name}", reader.words(place), "" if raw is None else str(raw), after, readable)


def _canonical(reader: Reader, row: Row, of: str) -> str:
    match KINDS.get(key_of(reader), "text"):
        case "day":
            return str(reader.day(row, of))
        case "flag":
            return str(reader.flag(row, of)).lower()
        case _:
            return reader.anything(row, of)
