"""What an org needs before the first deal: the custom fields that its mapping names, and the right to see them.

Fields are made by the Tooling API (Tooling API: CustomField). Nobody sees a field that is made so until a permission
set grants it (Object Reference: FieldPermissions), so there is one, which our user is assigned to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from canonical.deals import INTERVALS
from policies.outbound.paths import PlatformPath, path_of
from policies.store.secret import NO_SECRET, Secret
from system_apis.connector import ConnectorContext
from system_apis.crm.salesforce.client import SalesforceClient, Settings
from system_apis.crm.salesforce.columns import Reader, Row
from system_apis.crm.salesforce.fit import key_of
from system_apis.crm.salesforce.mapping import DETAIL_LENGTH
from system_apis.crm.salesforce.org import KINDS, Org, quoted
from system_apis.setup import MARK, Act, Made, Step

NAME = "Tiergate"
"""The permission set."""
SOBJECTS = {
    "Opportunity": "Opportunity",
    "OpportunityLineItems": "OpportunityLineItem",
    "Account": "Account",
    "Product2": "Product2",
}
CUSTOM, RELATIONSHIP = "__c", "__r"
RECIPIENT = "invoicing.bill_to."
TEXT: Row = {"type": "Text", "length": 255}
METADATA: dict[str, Row] = {
    "text": TEXT,
    "whole": {"type": "Number", "precision": 18, "scale": 0},
    "number": {"type": "Number", "precision": 18, "scale": 6},
    "day": {"type": "Date"},
    "flag": {"type": "Checkbox", "defaultValue": "false"},
}
"""What a field of each kind is (Metadata API Developer Guide: CustomField)."""


class Needed(msgspec.Struct, frozen=True):
    """A custom field: `name` is with its object (`Account.VatNumber__c`), `metadata` what would be made."""

    name: str
    metadata: Row

    @property
    def sobject(self) -> str:
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        return self.name.partition(".")[2]

    @property
    def in_words(self) -> str:
        key = ", external id" if self.metadata.get("externalId") else ""
        return f"custom field {self.name} ({self.metadata['type']}{key})"


def needed(org: Org) -> dict[str, Needed]:
    """Return the custom fields that the mapping of an org names, by name, those of other objects' records left out."""
    return {each.name: each for each in _needed(org)}


def _needed(org: Org) -> Iterator[Needed]:
    for readers in (org.deal, org.custom, org.line, org.product, org.account, org.invoicing):
        for each in readers.values():
            yield from _read(each)
    deal, contract = org.written.deal, org.written.contract
    texts = {"Opportunity": (deal.state, deal.correlation), "Account": (org.written.account.revision,)}
    keys = {
        "Opportunity": (deal.key,),
        "OpportunityLineItem": (org.written.line.key,),
        "Contract": (contract.contract,),
    }
    identifiers = {"Opportunity": (deal.order,), "Account": (org.written.account.customer,)}
    for names, metadata in (
        (texts, TEXT),
        (identifiers, TEXT | {"externalId": True}),
        (keys, TEXT | {"externalId": True, "unique": True, "caseSensitive": True}),
        ({"Opportunity": (deal.detail,)}, {"type": "LongTextArea", "length": DETAIL_LENGTH, "visibleLines": 3}),
        (
            {"Contract": (contract.deal,)},
            {"type": "Lookup", "referenceTo": "Opportunity", "relationshipName": "Contracts"},
        ),
    ):
        for sobject, fields in names.items():
            yield from (_made(sobject, name, metadata) for name in fields if name.endswith(CUSTOM))


def _read(reader: Reader) -> Iterator[Needed]:
    key = key_of(reader)
    values = tuple(reader.column.values) or (INTERVALS if key == "line.interval" else ())
    metadata = _picklist(values) if values else METADATA[KINDS.get(key, "text")]
    for path in reader.fields:
        head, _, name = path.rpartition(".")
        sobject = SOBJECTS[reader.record] if not head else head if head == "Product2" else ""
        if sobject and name.endswith(CUSTOM):
            yield _made(sobject, name, metadata)
        elif key.startswith(RECIPIENT) and head.endswith(RELATIONSHIP):
            own = head.removesuffix(RELATIONSHIP)
            contact = {"type": "Lookup", "referenceTo": "Contact", "relationshipName": own}
            yield _made(SOBJECTS[reader.record], f"{own}{CUSTOM}", contact)


def _made(sobject: str, name: str, metadata: Row) -> Needed:
    label = name.removesuffix(CUSTOM).replace("_", " ")[:40]  # Metadata API Developer Guide: label
    return Needed(f"{sobject}.{name}", {"label": label, "description": MARK, **metadata})


def _picklist(values: tuple[str, ...]) -> Row:
    known = [{"fullName": each, "label": each, "default": False} for each in values]
    return {
        "type": "Picklist",
        "valueSet": {"restricted": True, "valueSetDefinition": {"sorted": False, "value": known}},
    }


class SalesforceSetup:
    """Implement `system_apis.setup.Setup`."""

    def __init__(self, settings: Settings, context: ConnectorContext, administrator: Secret) -> None:
        self._own = SalesforceClient(settings, context.client, context.clock)
        self._administrator = (
            SalesforceClient(settings, context.client, context.clock, administrator) if administrator else self._own
        )
        self._needed = needed(self._own.org)

    async def steps(self) -> list[Step]:
        absent = [each for each in self._needed.values() if each.name not in await self._visible()]
        if not absent:
            return [Step(f"{len(self._needed)} custom fields, which our user may see and edit", "there")]
        there = await self._ids()
        steps = [await self._permission_set_step()]
        for each in absent:
            if each.name in there:
                plan = "let our user see and edit it, by the permission set"
                steps.append(Step(each.in_words, "wrong", plan, self._grant(each)))
            else:
                plan = "create it, and let our user see and edit it"
                steps.append(Step(each.in_words, "missing", plan, self._create(each)))
        return steps

    async def removal(self) -> list[Step]:
        ids, used = await self._ids(), await self._used()
        steps = [await self._removed(each, ids[each.name], used) for each in self._needed.values() if each.name in ids]
        if found := await self._permission_set():
            what = f"permission set {NAME}"
            ours = found["Description"] == MARK
            if ours and any(each.state == "kept" and each.plan != NOT_OURS for each in steps):
                steps.append(Step(what, "kept", "fields that it grants are kept"))
            else:
                act = self._delete_permission_set(found["Id"])
                steps.append(Step(what, "ours", "delete it", act) if ours else Step(what, "kept", NOT_OURS))
        return steps

    # ---- what is there

    async def _visible(self) -> set[str]:
        """Return the fields that our user may see and edit."""
        found: set[str] = set()
        for sobject in dict.fromkeys(each.sobject for each in self._needed.values()):
            described = await self._own.describe(sobject)
            found |= {
                name
                for name, each in self._needed.items()
                if each.sobject == sobject and (field := described.field(each.field)) and field.updateable
            }
        return found

    async def _ids(self) -> dict[str, str]:
        """Return the ids of the needed custom fields that there are, seen or not, by name."""
        sobjects = ", ".join(sorted({quoted(each.sobject) for each in self._needed.values()}))
        soql = f"SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE TableEnumOrId IN ({sobjects})"
        rows = await self._administrator.query(soql, tooling=True)
        ids = {f"{each['TableEnumOrId']}.{each['DeveloperName']}{CUSTOM}".lower(): each["Id"] for each in rows}
        return {name: ids[name.lower()] for name in self._needed if name.lower() in ids}

    async def _used(self) -> set[str]:
        """Return the objects of which any record holds something in one of the needed fields that can be asked for."""
        visible = await self._visible()
        found = {each.sobject for each in self._needed.values() if each.name not in visible}
        for each in self._needed.values():
            if each.metadata["type"] not in ("LongTextArea", "Checkbox") and each.sobject not in found:
                soql = f"SELECT Id FROM {each.sobject} WHERE {each.field} != null LIMIT 1"
                if await self._own.query(soql):
                    found.add(each.sobject)
        return found

    async def _permission_set(self) -> Row | None:
        rows = await self._administrator.query(f"SELECT Id, Description FROM PermissionSet WHERE Name = {quoted(NAME)}")
        return rows[0] if rows else None

    async def _assignments(self, condition: str) -> list[Row]:
        return await self._administrator.query(f"SELECT Id FROM PermissionSetAssignment WHERE {condition}")

    async def _is_assigned(self, permission_set: str) -> bool:
        user = await self._own.user_id()
        condition = f"PermissionSetId = {quoted(permission_set)} AND AssigneeId = {quoted(user)}"
        return bool(await self._assignments(condition))

    async def _permission_set_step(self) -> Step:
        what = f"permission set {NAME}, which our user is assigned to"
        found = await self._permission_set()
        if found and await self._is_assigned(found["Id"]):
            return Step(what, "there")
        return Step(
            what, "wrong" if found else "missing", "assign it" if found else "create and assign it", self._assign
        )

    async def _removed(self, field: Needed, field_id: str, used: set[str]) -> Step:
        described = await self._administrator.custom_field(field_id)
        if described["Metadata"].get("description") != MARK:
            return Step(field.in_words, "kept", NOT_OURS)
        if field.sobject in used:
            return Step(field.in_words, "kept", f"records of {field.sobject} may hold values: an administrator decides")
        return Step(
            field.in_words,
            "ours",
            "delete it",
            self._delete(path_of("crm", "tooling", "sobjects", "CustomField", field_id)),
        )

    # ---- what is done

    async def _assign(self) -> Made:
        found = await self._permission_set()
        content = {"Name": NAME, "Label": NAME, "Description": MARK}
        key = found["Id"] if found else await self._administrator.create("PermissionSet", content)
        if not await self._is_assigned(key):
            assignment = {"PermissionSetId": key, "AssigneeId": await self._own.user_id()}
            await self._administrator.create("PermissionSetAssignment", assignment)
        return Made()

    def _create(self, field: Needed) -> Act:
        async def act() -> Made:
            await self._administrator.create("CustomField", {"FullName": field.name, "Metadata": field.metadata})
            return await self._grant(field)()

        return act

    def _grant(self, field: Needed) -> Act:
        async def act() -> Made:
            found = await self._permission_set()
            parent: Any = found["Id"] if found else None
            condition = f"ParentId = {quoted(parent)} AND Field = {quoted(field.name)}"
            rights = {"PermissionsRead": True, "PermissionsEdit": True}
            rows = await self._administrator.query(f"SELECT Id FROM FieldPermissions WHERE {condition}")
            if rows:
                await self._administrator.update("FieldPermissions", rows[0]["Id"], rights)
            else:
                what = {"ParentId": parent, "SobjectType": field.sobject, "Field": field.name}
                await self._administrator.create("FieldPermissions", what | rights)
            return Made()

        return act

    def _delete(self, path: PlatformPath) -> Act:
        async def act() -> Made:
            await self._administrator.delete(path)
            return Made()

        return act

    def _delete_permission_set(self, key: str) -> Act:
        async def act() -> Made:
            for each in await self._assignments(f"PermissionSetId = {quoted(key)}"):
                await self._administrator.delete(path_of("crm", "sobjects", "PermissionSetAssignment", each["Id"]))
            await self._administrator.delete(path_of("crm", "sobjects", "PermissionSet", key))
            return Made()

        return act


NOT_OURS = "setup did not make it"


def prepare(settings: Settings, context: ConnectorContext, administrator: Secret = NO_SECRET) -> SalesforceSetup:
    """Return the setup of one org, done with the access token of an `administrator` if there is one."""
    return SalesforceSetup(settings, context, administrator)
