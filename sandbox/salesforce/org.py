"""The records of the stand-in's org: identifiers, validation, relationships, queries, change lists."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import msgspec

from sandbox.salesforce import soql
from sandbox.salesforce.dialect import DEMO, Dialect
from sandbox.salesforce.ids import case_safe_id
from sandbox.salesforce.schema import PERMISSIONS, USER_ACCESS, Field, SObject
from sandbox.store import SandboxClock, Store

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
Record = dict[str, Any]


class SalesforceError(Exception):
    """One entry of Salesforce's error list, with the HTTP status it comes with."""

    def __init__(self, status: int, code: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.body: Any = [{"message": message, "errorCode": code, "fields": list(fields)}]


def stamp(at: datetime) -> str:
    """Return a moment as Salesforce writes it: in UTC, with milliseconds that are always 0, since stamps are of whole
    seconds (SOAP API Developer Guide: Primitive Data Types, dateTime)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


class Access(msgspec.Struct, frozen=True):
    """What somebody may not do: objects and fields (`Account.Name`) that are hidden, fields that are not edited.

    `permissions` is what is granted beside objects and fields, such as `PermissionsViewAllData`.
    """

    hidden_objects: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    not_edited: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()

    def of(self, sobject: SObject) -> SObject:
        """Return an object as it is seen and may be written."""
        if not self.not_edited:
            return sobject
        return sobject.having(
            {
                name: msgspec.structs.replace(field, read_only=True) if path in self.not_edited else field
                for name, field in sobject.fields.items()
                if (path := f"{sobject.name}.{name}") not in self.hidden
            }
        )


EVERYTHING = Access()


class Org:
    """Store all records of an org in a `Store`. `user` is the id of the user that writes."""

    def __init__(self, store: Store, clock: SandboxClock, dialect: Dialect = DEMO) -> None:
        self._store = store
        self._clock = clock
        self._uncommitted: dict[str, datetime] = {}
        self._written: list[tuple[str, str, Record | None]] = []
        """What a transaction has written so far, each with the record as it was before."""
        self.locked: set[str] = set()
        """Records that others are writing at the moment: neither they nor their children can be written."""
        self.objects = dialect.objects()
        """The objects of this org, which its administrator may change."""
        self.access = EVERYTHING
        """What the user of the present request may not do."""
        self._stages = {each.name: each for each in dialect.stages()}
        if not store.count("OpportunityStage"):
            for place, stage in enumerate(self._stages.values()):
                own = {"MasterLabel": stage.name, "ApiName": stage.name, "SortOrder": place, "IsActive": True}
                self.create("OpportunityStage", own | {"IsClosed": stage.closed, "IsWon": stage.won}, "")

    def commit_late(self, record_id: str, until: datetime) -> None:
        """Let queries see a record from `until` only: its stamp is of when it was saved, and a long transaction commits
        later."""
        self._uncommitted[record_id] = until

    # ---- reading

    def sobject(self, name: str) -> SObject:
        for known, sobject in self.objects.items():
            if known.lower() == name.lower() and known not in self.access.hidden_objects:
                return self.access.of(sobject)
        raise SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")

    def get(self, name: str, record_id: str) -> Record:
        sobject = self.sobject(name)
        found = self._store.get(sobject.name, case_safe_id(record_id))
        if found is None or found["IsDeleted"]:
            raise SalesforceError(
                404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: Id"
            )
        return found

    def by_external_id(self, name: str, field: str, value: str) -> Record | None:
        sobject = self.sobject(name)
        if field != "Id" and not (field in sobject.fields and sobject.fields[field].external_id):
            raise SalesforceError(
                404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}"
            )
        found = [each for each in self.live(sobject) if str(each.get(field)) == value]
        if len(found) > 1:
            raise SalesforceError(300, "DUPLICATE_EXTERNAL_ID", f"{field}: {len(found)} records match", (field,))
        return found[0] if found else None

    def live(self, sobject: SObject) -> list[Record]:
        return [each for each in self._store.all(sobject.name) if not each["IsDeleted"]]

    # ---- writing

    def create(self, name: str, values: Record, user: str) -> Record:
        sobject = self.sobject(name)
        self._check(sobject, values, is_new=True)
        missing = [each for each, field in sobject.fields.items() if field.required and values.get(each) in (None, "")]
        if missing:
            raise SalesforceError(
                400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", tuple(missing)
            )
        number = self._store.count(sobject.name) + 1
        digits = ""
        while number:
            number, digit = divmod(number, 62)
            digits = DIGITS[digit] + digits
        record_id = case_safe_id(sobject.prefix + "gK" + digits.rjust(10, "0"))
        now = stamp(self._clock.now())
        record = {each: field.default for each, field in sobject.fields.items()} | _with_whole_ids(sobject, values)
        record |= {"Id": record_id, "CreatedDate": now, "CreatedById": user}
        if "OwnerId" in sobject.fields:
            record["OwnerId"] = record["OwnerId"] or user or None
        return self._save(sobject, record, user)

    def update(self, name: str, record_id: str, values: Record, user: str) -> Record:
        sobject = self.sobject(name)
        record = self._to_change(name, record_id)
        self._check(sobject, values, is_new=False)
        self._check_account(sobject, record, values)
        return self._save(sobject, record | _with_whole_ids(sobject, values), user)

    def _check_account(self, sobject: SObject, record: Record, values: Record) -> None:
        """Refuse another account for a contract that is activated (Salesforce Help, 000385190: Cannot Edit a Salesforce
        Contract's Account Name After It Has Been Activated)."""
        wanted = values.get("AccountId", record.get("AccountId"))
        is_moved = sobject.name == "Contract" and case_safe_id(str(wanted)) != record["AccountId"]
        if is_moved and record["Status"] == "Activated":
            raise SalesforceError(400, "ENTITY_IS_LOCKED", "the entity is locked for editing", ("AccountId",))

    def delete(self, name: str, record_id: str, user: str) -> None:
        sobject = self.sobject(name)
        self._save(sobject, self._to_change(name, record_id) | {"IsDeleted": True}, user)

    def _to_change(self, name: str, record_id: str) -> Record:
        """Return a record that is to be written. One in the recycle bin is refused (SOAP API Developer Guide: Core Data
        Types, StatusCode, ENTITY_IS_DELETED)."""
        found = self._store.get(self.sobject(name).name, case_safe_id(record_id))
        if found is not None and found["IsDeleted"]:
            raise SalesforceError(404, "ENTITY_IS_DELETED", "entity is deleted")
        return self.get(name, record_id)

    def merge(self, name: str, master_id: str, loser_id: str, values: Record, user: str) -> None:
        """Merge a record into another, as people do in the user interface (SOAP API Developer Guide: merge).

        The loser is deleted and names its master, to which all records refer from then on that referred to the loser.
        The master keeps its fields but for `values`, which people have chosen from the loser.
        """
        sobject = self.sobject(name)
        if "MasterRecordId" not in sobject.fields:
            raise SalesforceError(400, "INVALID_OPERATION", f"merge is not supported for {sobject.name}")
        master = self.update(name, master_id, values, user)["Id"]
        loser = self._to_change(name, loser_id)
        if loser["Id"] == master:
            raise SalesforceError(400, "INVALID_OPERATION", "a record cannot be merged with itself")
        self._save(sobject, loser | {"IsDeleted": True, "MasterRecordId": master}, user)
        for child in tuple(self.objects.values()):
            references = [key for key, field in child.fields.items() if field.to == sobject.name]
            for each in self.live(child):
                moved = {key: master for key in references if each[key] == loser["Id"]}
                if moved and each["Id"] != master:
                    self._save(child, each | moved, user)

    def undelete(self, name: str, record_id: str, user: str) -> None:
        """Restore a record from the recycle bin, as people do there (SOAP API Developer Guide: undelete).

        One that was merged away comes back with its own fields and without a master (Object Reference: Account,
        MasterRecordId). What referred to it stays with the master: that cannot be undone.
        """
        sobject = self.sobject(name)
        found = self._store.get(sobject.name, case_safe_id(record_id))
        if found is None or not found["IsDeleted"]:  # SOAP API Developer Guide: Core Data Types, StatusCode
            raise SalesforceError(400, "UNDELETE_FAILED", "Entity is not in the recycle bin")
        without_master = {"MasterRecordId": None} if "MasterRecordId" in sobject.fields else {}
        self._save(sobject, found | {"IsDeleted": False} | without_master, user)

    def begin(self) -> None:
        """Begin a transaction: what is written from here on can be rolled back."""
        self._written.clear()

    def mark(self) -> int:
        """Return a point of the transaction to roll back to."""
        return len(self._written)

    def roll_back(self, to: int = 0) -> None:
        """Undo what the transaction has written since a point."""
        while len(self._written) > to:
            kind, key, before = self._written.pop()
            if before is None:
                self._store.delete(kind, key)
            else:
                self._store.put(kind, key, before)

    def _save(self, sobject: SObject, record: Record, user: str) -> Record:
        now = stamp(self._clock.now())
        record |= {"LastModifiedDate": now, "LastModifiedById": user, "SystemModstamp": now}
        match sobject.name:
            case "Opportunity":
                before = self._store.get("Opportunity", record["Id"])
                if before and before["StageName"] != record["StageName"]:
                    record["LastStageChangeDate"] = now  # Object Reference: Opportunity
                stage = self._stages[record["StageName"]]
                record |= {"IsClosed": stage.closed, "IsWon": stage.won}
            case "OpportunityLineItem":
                self._price(record)
            case "PricebookEntry":
                self._check_entry(record)
            case "Contact":  # Object Reference: Contact, Name
                record["Name"] = " ".join(filter(None, (record["FirstName"], record["LastName"])))
            case "Contract":
                record["ContractNumber"] = record["ContractNumber"] or f"{self._store.count('Contract') + 1:08d}"
            case _:
                pass
        held = self.locked.intersection(str(value) for value in record.values()) if self.locked else set[str]()
        if held:  # Apex Developer Guide: Locking Statements; a child's write locks its parents
            reason = f"unable to obtain exclusive access to this record or 1 records: {', '.join(sorted(held))}"
            raise SalesforceError(400, "UNABLE_TO_LOCK_ROW", reason)
        self._written.append((sobject.name, record["Id"], self._store.get(sobject.name, record["Id"])))
        return self._store.put(sobject.name, record["Id"], record)

    def _check_entry(self, entry: Record) -> None:
        """Refuse a second price of a product in a book and a currency, and one in another book before there is a
        standard price (Object Reference: PricebookEntry, Usage)."""
        same = [
            each
            for each in self.live(self.objects["PricebookEntry"])
            if each["Id"] != entry["Id"]
            and each["Product2Id"] == entry["Product2Id"]
            and each.get("CurrencyIsoCode") == entry.get("CurrencyIsoCode")
        ]
        if any(each["Pricebook2Id"] == entry["Pricebook2Id"] for each in same):
            raise SalesforceError(400, "DUPLICATE_VALUE", "This price definition already exists in this price book")
        books = [each["Pricebook2Id"] for each in same] + [entry["Pricebook2Id"]]
        if not any(self.get("Pricebook2", each)["IsStandard"] for each in books):
            reason = "Before creating a custom price, create a standard price."
            raise SalesforceError(400, "STANDARD_PRICE_NOT_DEFINED", reason)

    def _price(self, line: Record) -> None:
        if line["PricebookEntryId"]:
            entry = self.get("PricebookEntry", line["PricebookEntryId"])
            line["Product2Id"] = entry["Product2Id"]
            if line["UnitPrice"] is None:
                line["UnitPrice"] = entry["UnitPrice"]
        if line["Product2Id"]:
            product = self.get("Product2", line["Product2Id"])
            line |= {"ProductCode": product["ProductCode"], "Name": product["Name"]}
        # Object Reference: OpportunityLineItem, Discount and TotalPrice
        net = (line["UnitPrice"] or 0) * (1 - (line["Discount"] or 0) / 100)
        line["TotalPrice"] = round(net * line["Quantity"], 4)

    def _check(self, sobject: SObject, values: Record, *, is_new: bool) -> None:
        for name, value in values.items():
            field = sobject.fields.get(name)
            if field is None:
                raise SalesforceError(
                    400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}", (name,)
                )
            if field.read_only or (field.create_only and not is_new):
                message = f"Unable to create/update fields: {name}. Please check the security settings of this field."
                raise SalesforceError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, (name,))
            if value is not None:
                self._check_value(name, field, value)

    def _check_value(self, name: str, field: Field, value: Any) -> None:
        wrong = False
        match field.type:
            case "boolean":
                wrong = not isinstance(value, bool)
            case "double" | "currency" | "percent":
                wrong = isinstance(value, bool) or not isinstance(value, int | float)
            case "int":
                wrong = isinstance(value, bool) or not isinstance(value, int | float) or value != int(value)
            case "email" if isinstance(value, str) and not EMAIL.fullmatch(value):
                # SOAP API Developer Guide: Core Data Types, StatusCode
                reason = f"{name}: invalid email address: {value}"
                raise SalesforceError(400, "INVALID_EMAIL_ADDRESS", reason, (name,))
            case "date":
                wrong = not _is_date(value)
            case "reference":
                referred = self._store.get(field.to, case_safe_id(str(value)))
                if referred is None:
                    raise SalesforceError(400, "MALFORMED_ID", f"{name}: id value of incorrect type: {value}", (name,))
                if referred.get("IsDeleted"):  # SOAP API Developer Guide: Core Data Types, StatusCode
                    raise SalesforceError(400, "ENTITY_IS_DELETED", "entity is deleted", (name,))
            case "picklist":
                if field.values and value not in field.values:
                    raise SalesforceError(
                        400,
                        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                        f"bad value for restricted picklist field: {value}",
                        (name,),
                    )
            case _:
                wrong = not isinstance(value, str)
                if not wrong and len(value) > field.length:
                    # SOAP API Developer Guide: Core Data Types, StatusCode
                    reason = f"{name}: data value too large: {value} (max length={field.length})"
                    raise SalesforceError(400, "STRING_TOO_LONG", reason, (name,))
        if wrong:
            raise SalesforceError(
                400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.type} from value {value!r}", (name,)
            )

    # ---- querying

    def query(self, text: str, version: str, *, with_deleted: bool = False) -> list[Record] | int:
        """Return the records, shaped as Salesforce answers them; a number for `SELECT COUNT()`.

        Deleted records are there for those who ask for all (REST API: QueryAll).
        """
        try:
            query = soql.parse(text)
            sobject = self._from(query.source)
            self._check_fields(sobject, query)
            rows = self._select(sobject, self._committed(sobject, with_deleted=with_deleted), query)
            return len(rows) if query.counts else [self._shape(sobject, row, query, version) for row in rows]
        except soql.MalformedQuery as error:
            raise SalesforceError(400, "MALFORMED_QUERY", str(error)) from error
        except soql.InvalidField as error:
            raise SalesforceError(400, "INVALID_FIELD", str(error)) from error

    def _committed(self, sobject: SObject, *, with_deleted: bool) -> list[Record]:
        if sobject.name == USER_ACCESS.name:
            granted = {each: each in self.access.permissions for each in PERMISSIONS}
            return [{"Id": case_safe_id(f"{USER_ACCESS.prefix}gK0000000001"), "IsDeleted": False} | granted]
        rows = list(self._store.all(sobject.name)) if with_deleted else self.live(sobject)
        if self._uncommitted:
            now = self._clock.now()
            rows = [each for each in rows if self._uncommitted.get(each["Id"], now) <= now]
        return rows

    def _from(self, name: str) -> SObject:
        try:
            return self.sobject(name)
        except SalesforceError as error:
            raise SalesforceError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.") from error

    def _check_fields(self, sobject: SObject, query: soql.Query) -> None:
        """Refuse a field that is not there, whether or not there is any record to look at."""
        value = partial(self._value, sobject)
        if query.where:
            query.where({}, value)
        for path, _, _ in query.order:
            value({}, path)
        for each in () if query.counts else query.selected:
            if isinstance(each, soql.Query):
                self._check_fields(self._child(sobject, each)[0], each)
            else:
                value({}, each)

    def _select(self, sobject: SObject, rows: list[Record], query: soql.Query) -> list[Record]:
        value = partial(self._value, sobject)
        if query.where:
            rows = [row for row in rows if query.where(row, value)]
        rows = soql.ordered(rows, query, value)[query.offset :]
        return rows if query.limit is None else rows[: query.limit]

    def _value(self, sobject: SObject, row: Record, path: str) -> Any:
        head, _, rest = path.partition(".")
        if not rest:
            return row.get(self._spelled(sobject, head))
        target, found = self._follow(sobject, row, head)
        if found is None:
            self._value(target, {}, rest)  # the path must exist even where the reference is empty
            return None
        return self._value(target, found, rest)

    def _spelled(self, sobject: SObject, name: str) -> str:
        """Return a field's name as the object spells it: a query need not."""
        if name in sobject.fields:
            return name
        for known in sobject.fields:
            if known.lower() == name.lower():
                return known
        raise soql.InvalidField(f"No such column '{name}' on entity '{sobject.name}'.")

    def _follow(self, sobject: SObject, row: Record, relationship: str) -> tuple[SObject, Record | None]:
        for name, field in sobject.fields.items():
            if field.relationship and field.relationship.lower() == relationship.lower():
                target = self.access.of(self.objects[field.to])
                reference = row.get(name)
                return target, self._store.get(target.name, reference) if reference else None
        raise soql.InvalidField(f"Didn't understand relationship '{relationship}' in field path.")

    def _shape(self, sobject: SObject, row: Record, query: soql.Query, version: str) -> Record:
        shaped = attributed(sobject.name, row["Id"], version) if row else {}
        nested: dict[str, list[str]] = {}
        for each in query.selected:
            if isinstance(each, soql.Query):
                shaped[each.source] = self._children(sobject, row, each, version)
            elif "." in each:
                head, _, rest = each.partition(".")
                nested.setdefault(head, []).append(rest)
            else:
                name = self._spelled(sobject, each)
                shaped[name] = row.get(name)
        for head, rests in nested.items():
            target, found = self._follow(sobject, row, head)
            inner = soql.Query(target.name, tuple(rests), None, (), None, 0)
            shaped[head] = self._shape(target, found, inner, version) if found else None
            for rest in rests:
                self._value(sobject, row, f"{head}.{rest}")
        return shaped

    def _child(self, sobject: SObject, query: soql.Query) -> tuple[SObject, str]:
        """Return the object of a child query, and the field that refers to the parent."""
        if query.source not in sobject.children:
            raise soql.InvalidField(f"Didn't understand relationship '{query.source}' in FROM part of query call.")
        child, reference = sobject.children[query.source]
        return self.access.of(self.objects[child]), reference

    def _children(self, sobject: SObject, row: Record, query: soql.Query, version: str) -> Record | None:
        target, reference = self._child(sobject, query)
        rows = self._select(target, [each for each in self.live(target) if each[reference] == row["Id"]], query)
        shaped = [self._shape(target, each, query, version) for each in rows]
        return {"totalSize": len(shaped), "done": True, "records": shaped} if shaped else None

    # ---- change lists

    def changed(self, name: str, start: datetime, end: datetime, *, deleted: bool) -> list[Record]:
        sobject = self.sobject(name)
        return [
            each
            for each in self._store.all(sobject.name)
            if each["IsDeleted"] == deleted and start <= datetime.fromisoformat(each["SystemModstamp"]) <= end
        ]


def _with_whole_ids(sobject: SObject, values: Record) -> Record:
    references = (name for name in values if sobject.fields[name].type == "reference" and values[name])
    return values | {name: case_safe_id(str(values[name])) for name in references}


def attributed(name: str, record_id: str, version: str) -> Record:
    return {"attributes": {"type": name, "url": f"/services/data/{version}/sobjects/{name}/{record_id}"}}


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
