"""What an administrator changes of the stand-in's org: its custom fields, and who may see and edit them.

Custom fields are made by the Tooling API (Tooling API: CustomField), whose metadata is that of the Metadata API
(Metadata API Developer Guide: CustomField). A field that is made so is seen by nobody, administrators included, until
a permission set that is assigned to them grants it (Object Reference: FieldPermissions, PermissionSetAssignment).
"""

from __future__ import annotations

import re
from typing import Any

from sandbox.salesforce.org import Access, Org, Record, SalesforceError
from sandbox.salesforce.schema import CUSTOM_FIELD, PERMISSIONS, Field, FieldType
from sandbox.store import SandboxClock, Store

ADMINISTRATOR = "administrator@example.com"
SETUP = frozenset({"PermissionSet", "FieldPermissions", "PermissionSetAssignment"})
"""Objects for users with the permission View Setup and Configuration (Object Reference: FieldPermissions, Special
Access Rules)."""
NAME = re.compile(r"([A-Za-z]\w*)\.([A-Za-z](?:_?[A-Za-z0-9])*)__c")
"""Object and developer name, without two underscores in a row (Metadata API Developer Guide: fullName)."""
COMMON = {"label", "type", "description", "inlineHelpText", "required"}
KEYED = {"externalId", "unique", "caseSensitive"}
LONGEST_TEXT, SHORTEST_AREA, LONGEST_AREA, MOST_DIGITS = 255, 256, 131_072, 18
METADATA: dict[str, tuple[FieldType, set[str], set[str]]] = {
    "Text": ("string", {"length"}, {"defaultValue"} | KEYED),
    "LongTextArea": ("textarea", {"length", "visibleLines"}, set()),
    "Number": ("double", {"precision", "scale"}, {"defaultValue", "externalId", "unique"}),
    "Checkbox": ("boolean", {"defaultValue"}, set()),
    "Date": ("date", set(), {"defaultValue"}),
    "Lookup": ("reference", {"referenceTo", "relationshipName"}, {"relationshipLabel", "deleteConstraint"}),
    "Picklist": ("picklist", {"valueSet"}, set()),
}
"""For each type of field what it is in a description, what has to be said of it, and what may be (Metadata API
Developer Guide: CustomField, Fields)."""


class Administration:
    """The custom fields and permissions of one org."""

    def __init__(self, store: Store, clock: SandboxClock, org: Org) -> None:
        self._store = store
        self._org = org
        self._tooling = Org(store, clock)
        self._tooling.objects = {CUSTOM_FIELD.name: CUSTOM_FIELD}
        for each in self._made():
            self._add(each)

    def access(self, user: str) -> Access:
        """Return what a user may not see or edit."""
        hidden = frozenset[str]() if self._is_administrator(user) else SETUP
        sets = {each["PermissionSetId"] for each in self._all("PermissionSetAssignment") if each["AssigneeId"] == user}
        permissions = self._permissions(user, sets)
        made = self._made()
        if not made:
            return Access(hidden, permissions=permissions)
        granted = [each for each in self._all("FieldPermissions") if each["ParentId"] in sets]
        read = {each["Field"] for each in granted if each["PermissionsRead"]}
        edit = {each["Field"] for each in granted if each["PermissionsEdit"]}
        names = {_full_name(each) for each in made}
        return Access(hidden, frozenset(names - read), frozenset(names - edit), permissions)

    def _permissions(self, user: str, sets: set[str]) -> frozenset[str]:
        """Return what a user's profile and permission sets grant beside objects and fields."""
        if self._is_administrator(user):
            return frozenset(PERMISSIONS)
        granted = [each for each in self._all("PermissionSet") if each["Id"] in sets]
        return frozenset(name for each in granted for name in PERMISSIONS if each.get(name)) | {"PermissionsApiEnabled"}

    def handle(
        self, method: str, version: str, path: list[str], query: dict[str, str], body: Any, user: str
    ) -> tuple[int, Any]:
        """Return (status, body) of one call of the Tooling API."""
        if not self._is_administrator(user):  # Tooling API: CustomField, Special Access Rules
            raise SalesforceError(403, "INSUFFICIENT_ACCESS", "you need the permission Customize Application")
        match method, path:
            case "GET", ["query"]:
                rows = self._tooling.query(query.get("q", ""), version)
                assert isinstance(rows, list)
                return 200, {"size": len(rows), "totalSize": len(rows), "done": True, "records": rows}
            case "POST", ["sobjects", "CustomField"]:
                return 201, {"id": self._create(body, user), "success": True, "errors": [], "warnings": [], "infos": []}
            case "GET", ["sobjects", "CustomField", key]:
                found = self._tooling.get("CustomField", key)
                return 200, found | {
                    "FullName": _full_name(found),
                    "Metadata": self._store.get("CustomFieldMetadata", found["Id"]),
                }
            case "DELETE", ["sobjects", "CustomField", key]:
                self._delete(self._tooling.get("CustomField", key), user)
                return 204, None
            case _:
                raise SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")

    def check(self, name: str, values: Record) -> None:
        """Refuse a record of permissions that cannot be made."""
        match name:
            case "FieldPermissions":
                sobject, _, field = str(values.get("Field")).partition(".")
                known = self._org.objects.get(sobject)
                if known is None or field not in known.fields or values.get("SobjectType") != sobject:
                    reason = f"Field Name: bad value for restricted picklist field: {values.get('Field')}"
                    raise SalesforceError(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", reason, ("Field",))
                if values.get("PermissionsEdit") and not values.get("PermissionsRead"):
                    reason = "PermissionsEdit requires PermissionsRead"  # Object Reference: FieldPermissions
                    raise SalesforceError(400, "FIELD_INTEGRITY_EXCEPTION", reason, ("PermissionsEdit",))
                self._refuse_second(name, values, "ParentId", "Field")
            case "PermissionSetAssignment":
                self._refuse_second(name, values, "AssigneeId", "PermissionSetId")
            case _:
                self._refuse_second(name, values, "Name")

    def delete_permission_set(self, key: str, user: str) -> None:
        """Delete a set that nobody is assigned to, with what it grants (Salesforce Help: Delete a Permission Set)."""
        if any(each["PermissionSetId"] == key for each in self._all("PermissionSetAssignment")):
            raise SalesforceError(400, "DELETE_FAILED", "The permission set is assigned to users")
        for each in self._all("FieldPermissions"):
            if each["ParentId"] == key:
                self._org.delete("FieldPermissions", each["Id"], user)
        self._org.delete("PermissionSet", key, user)

    def _refuse_second(self, name: str, values: Record, *key: str) -> None:
        if any(all(each[part] == values.get(part) for part in key) for each in self._all(name)):
            code = "DUPLICATE_DEVELOPER_NAME" if name == "PermissionSet" else "DUPLICATE_VALUE"
            raise SalesforceError(400, code, f"duplicate value found: {', '.join(key)}", key)

    def _create(self, body: Any, user: str) -> str:
        named = NAME.fullmatch(str(body.get("FullName")))
        if named is None or body.keys() != {"FullName", "Metadata"}:
            raise SalesforceError(400, "INVALID_FULLNAME", f"{body.get('FullName')} is no name of a custom field")
        sobject = self._org.objects[self._org.sobject(named[1]).name]  # with what is hidden
        name = f"{named[2]}__c"
        if name.lower() in {each.lower() for each in sobject.fields}:
            reason = f"There is already a field named {named[2]} on {sobject.name}."
            raise SalesforceError(400, "DUPLICATE_DEVELOPER_NAME", reason, ("DeveloperName",))
        _field(body["Metadata"])  # refused before anything is stored
        record = self._tooling.create("CustomField", {"DeveloperName": named[2], "TableEnumOrId": sobject.name}, user)
        self._store.put("CustomFieldMetadata", record["Id"], body["Metadata"])
        self._add(record)
        return str(record["Id"])

    def _delete(self, record: Record, user: str) -> None:
        self._tooling.delete("CustomField", record["Id"], user)
        full = _full_name(record)
        sobject = self._org.objects[record["TableEnumOrId"]]
        left = {name: each for name, each in sobject.fields.items() if f"{sobject.name}.{name}" != full}
        self._org.objects[sobject.name] = sobject.having(left)
        for each in self._all("FieldPermissions"):
            if each["Field"] == full:
                self._org.delete("FieldPermissions", each["Id"], user)

    def _add(self, record: Record) -> None:
        sobject = self._org.objects[record["TableEnumOrId"]]
        field = _field(self._store.get("CustomFieldMetadata", record["Id"]) or {}, record["DeveloperName"])
        self._org.objects[sobject.name] = sobject.having(sobject.fields | {f"{record['DeveloperName']}__c": field})

    def _made(self) -> list[Record]:
        return self._tooling.live(CUSTOM_FIELD)

    def _all(self, name: str) -> list[Record]:
        return self._org.live(self._org.objects[name])

    def _is_administrator(self, user: str) -> bool:
        found = self._store.get("User", user)
        return found is not None and found["Username"] == ADMINISTRATOR


def _full_name(record: Record) -> str:
    return f"{record['TableEnumOrId']}.{record['DeveloperName']}__c"


def _field(metadata: Record, name: str = "") -> Field:
    """Return the field that some metadata describes, or refuse it."""
    kind = METADATA.get(str(metadata.get("type")))
    if kind is None:
        raise _invalid(f"type: {metadata.get('type')} is no type of a field")
    described, needed, possible = kind
    for each in sorted({"label"} | needed):
        if metadata.get(each) in (None, ""):
            raise _invalid(f"{each} is required for a field of the type {metadata['type']}")
    if unknown := metadata.keys() - COMMON - needed - possible:
        raise _invalid(f"{', '.join(sorted(unknown))}: not for a field of the type {metadata['type']}")
    _check_numbers(metadata)
    values = metadata.get("valueSet", {}).get("valueSetDefinition", {}).get("value", [])
    whole = values and all({"fullName", "label", "default"} <= set(each) for each in values)
    if metadata["type"] == "Picklist" and not whole:
        raise _invalid("valueSet: each value needs fullName, label and default")
    return Field(
        described,
        to=metadata.get("referenceTo", ""),
        relationship=f"{name}__r" if "referenceTo" in metadata else "",
        external_id=metadata.get("externalId", False),
        values=tuple(each["fullName"] for each in values),
        length=metadata.get("length", LONGEST_TEXT),
        default=False if described == "boolean" else None,
    )


def _check_numbers(metadata: Record) -> None:
    length = metadata.get("length", 1)
    match metadata["type"]:
        case "Text" if not 1 <= length <= LONGEST_TEXT:
            raise _invalid(f"length: a text has 1 to {LONGEST_TEXT} characters")
        case "LongTextArea" if not SHORTEST_AREA <= length <= LONGEST_AREA:
            raise _invalid(f"length: a long text area has {SHORTEST_AREA} to {LONGEST_AREA} characters")
        case "Number" if not 0 <= metadata["scale"] <= metadata["precision"] <= MOST_DIGITS:
            raise _invalid(f"precision: a number has {MOST_DIGITS} digits at most, with those after the point")
        case _:
            pass


def _invalid(reason: str) -> SalesforceError:
    return SalesforceError(400, "FIELD_INTEGRITY_EXCEPTION", reason)
