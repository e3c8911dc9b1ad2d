"""The REST surface of the stand-in: OAuth, sObjects, query, composite, change lists, limits."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
import msgspec
from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from sandbox.salesforce.administration import ADMINISTRATOR, SETUP, Administration
from sandbox.salesforce.dialect import DEMO, Dialect
from sandbox.salesforce.org import Org, Record, SalesforceError, attributed, stamp
from sandbox.salesforce.schema import Field, SObject
from sandbox.store import SandboxClock, Store

VERSIONS = tuple(f"{number}.0" for number in range(50, 67))
DAILY_LIMIT = 100_000
BATCH = 2000
SALESPERSON = "salesperson@example.com"
AUDIENCES = ["https://login.salesforce.com", "https://test.salesforce.com"]
"""Salesforce Help: OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration."""
HALTED = [
    {
        "errorCode": "PROCESSING_HALTED",
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }
]
CHILDREN = 199
"""Child records that come with their parent, the next have a page of their own (SOQL and SOSL Reference: Relationship
Queries; how many is not said: 199 and 499 have been seen)."""
SUBREQUESTS, QUERIES = 25, 5
"""The most in one composite, and the most of them that are queries or collections (REST API: Composite)."""
COLLECTION = 200
"""Records in one collection (REST API: sObject Collections)."""
SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
}
TEXTS = ("string", "textarea", "email", "phone", "url", "picklist")
PlatformRequest = Request[Any, Any, Any]


class ConnectedApp(msgspec.Struct, frozen=True):
    """A client that may log in.

    `public_key` (PEM) verifies JWT bearer assertions; `username` is the integration user.
    """

    client_id: str
    client_secret: str
    username: str
    public_key: str = ""


class Salesforce:
    """Answer the requests of one org and its connected app."""

    def __init__(
        self,
        store: Store,
        clock: SandboxClock,
        app: ConnectedApp,
        page: int = BATCH,
        daily_limit: int = DAILY_LIMIT,
        dialect: Dialect = DEMO,
    ) -> None:
        """`page` is how many records a query gives at a time, when no other number is asked for; `daily_limit` how many
        requests the org takes in a day."""
        self.org = Org(store, clock, dialect)
        self.administration = Administration(store, clock, self.org)
        self._store = store
        self._clock = clock
        self._app = app
        self._page_size = page
        self.calls = 0
        self.daily_limit = daily_limit
        if not store.count("User"):
            for name in (app.username, SALESPERSON, ADMINISTRATOR):
                self.org.create("User", {"Username": name, "Name": name.split("@")[0], "IsActive": True}, "")

    @property
    def person(self) -> str:
        """Return the id of a user who works in the user interface."""
        return next(str(each["Id"]) for each in self._store.all("User") if each["Username"] == SALESPERSON)

    # ---- OAuth 2.0 (Salesforce Help: JWT bearer flow, client credentials flow)

    def token(self, form: dict[str, str], base_url: str) -> Record:
        username = self._app.username
        match form.get("grant_type"):
            case "client_credentials":
                client = self._client(form)
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                client, username = self._asserted(form.get("assertion", ""))
            case _:
                raise _oauth("unsupported_grant_type", "grant type not supported")
        token, user = self.sign_in(username, client)
        return {
            "access_token": token,
            "instance_url": base_url,
            "id": f"{base_url}/id/00Dxx0000001gPFEAY/{user}",
            "token_type": "Bearer",
            "issued_at": str(self._clock.seconds() * 1000),
            "signature": base64.b64encode(secrets.token_bytes(32)).decode(),
            "scope": "api",
        }

    def sign_in(self, username: str, client: str = "") -> tuple[str, str]:
        """Return a new access token of a user, and the user's id."""
        user = next(each for each in self._store.all("User") if each["Username"] == username)
        token = f"00Dxx0000001gPF!{secrets.token_urlsafe(48)}"
        self._store.put("token", token, {"user": user["Id"], "client": client})
        return token, str(user["Id"])

    def _client(self, form: dict[str, str]) -> str:
        if form.get("client_id") != self._app.client_id:
            raise _oauth("invalid_client_id", "client identifier invalid")
        if not secrets.compare_digest(form.get("client_secret", ""), self._app.client_secret):
            raise _oauth("invalid_client", "invalid client credentials")
        return self._app.client_id

    def _asserted(self, assertion: str) -> tuple[str, str]:
        try:
            claims = jwt.decode(
                assertion,
                self._app.public_key,
                algorithms=["RS256"],
                issuer=self._app.client_id,
                audience=AUDIENCES,
                options={"require": ["iss", "sub", "aud", "exp"]},
            )
        except jwt.InvalidAudienceError as error:
            raise _oauth("invalid_grant", "audience is invalid") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise _oauth("invalid_grant", "invalid assertion") from error
        if not any(each["Username"] == claims["sub"] for each in self._store.all("User")):
            raise _oauth("invalid_grant", "user hasn't approved this consumer")
        return self._app.client_id, str(claims["sub"])

    def user(self, request: PlatformRequest) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self._store.get("token", token)
        if scheme.lower() not in ("bearer", "oauth") or known is None:
            raise SalesforceError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if self.calls >= self.daily_limit:
            # REST API: Status Codes and Error Responses, 403; Developer Limits: API Request Limits and Allocations
            raise SalesforceError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.calls += 1
        return str(known["user"])

    @property
    def usage(self) -> dict[str, str]:
        return {"Sforce-Limit-Info": f"api-usage={self.calls}/{self.daily_limit}"}

    # ---- one request below /services/data/vNN.N

    def handle(
        self, method: str, version: str, path: list[str], query: dict[str, str], body: Any, user: str
    ) -> tuple[int, Any]:
        """Return (status, body) of one REST call, also of one inside a composite."""
        before, self.org.access = self.org.access, self.administration.access(user)
        try:
            return self._handle(method, version, path, query, body, user)
        finally:
            self.org.access = before

    def _handle(
        self, method: str, version: str, path: list[str], query: dict[str, str], body: Any, user: str
    ) -> tuple[int, Any]:
        match method, path:
            case _, ["tooling", *rest]:
                return self.administration.handle(method, version, rest, query, body, user)
            case "GET", []:
                return 200, {
                    each: f"/services/data/{version}/{each}" for each in ("sobjects", "query", "composite", "limits")
                }
            case "GET", ["limits"]:
                return 200, {"DailyApiRequests": {"Max": self.daily_limit, "Remaining": self.daily_limit - self.calls}}
            case "GET", ["query" | "queryAll" as resource]:
                found = self.org.query(query.get("q", ""), version, with_deleted=resource == "queryAll")
                return 200, self._queried(found, version, query.get("batchSize", ""))
            case "GET", ["query", locator]:
                return 200, self._next(locator, version)
            case "POST", ["composite"]:
                return 200, self._composite(body, user)
            case "PATCH", ["composite", "sobjects", name, field]:
                return 200, self._upsert_all(self.org.sobject(name).name, field, body, user)
            case "GET", ["sobjects"]:
                return 200, {
                    "encoding": "UTF-8",
                    "maxBatchSize": 200,
                    "sobjects": [_brief(each) for each in self.org.objects.values()],
                }
            case "GET", ["sobjects", name, "describe"]:
                return 200, _describe(self.org.sobject(name))
            case "GET", ["sobjects", name, "updated"]:
                return 200, self._updated(name, query)
            case "GET", ["sobjects", name, "deleted"]:
                return 200, self._deleted(name, query)
            case _, ["sobjects", name, *rest]:
                return self._record(method, version, self.org.sobject(name).name, rest, query, body, user)
            case _:
                raise SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")

    def _record(
        self, method: str, version: str, name: str, rest: list[str], query: dict[str, str], body: Any, user: str
    ) -> tuple[int, Any]:
        match method, rest:
            case "GET", []:
                return 200, {"objectDescribe": _brief(self.org.sobject(name)), "recentItems": []}
            case "POST", []:
                if name in SETUP:
                    self.administration.check(name, body)
                return 201, {"id": self.org.create(name, body, user)["Id"], "success": True, "errors": []}
            case "GET", [record_id]:
                return 200, self._shown(name, self.org.get(name, record_id), query, version)
            case "PATCH", [record_id]:
                self.org.update(name, record_id, body, user)
                return 204, None
            case "DELETE", [record_id] if name == "PermissionSet":
                self.administration.delete_permission_set(record_id, user)
                return 204, None
            case "DELETE", [record_id]:
                self.org.delete(name, record_id, user)
                return 204, None
            case "GET", [field, value]:
                found = self.org.by_external_id(name, field, value)
                if found is None:
                    raise SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")
                return 200, self._shown(name, found, query, version)
            case "PATCH", [field, value]:
                upserted = self._upsert(name, field, value, body, user)
                return 201 if upserted["created"] else 200, upserted
            case _:
                raise SalesforceError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed.")

    def _upsert(self, name: str, field: str, value: str, body: Record, user: str) -> Record:
        found = self.org.by_external_id(name, field, value)
        record = (
            self.org.update(name, found["Id"], body, user)
            if found
            else self.org.create(name, {**body, field: value}, user)
        )
        return {"id": record["Id"], "success": True, "errors": [], "created": found is None}

    def _upsert_all(self, name: str, field: str, body: Any, user: str) -> list[Record]:
        """Upsert a collection (REST API: Upsert Multiple Records with Fewer Round-Trips), all or nothing if it says
        so."""
        records: list[Record] = body["records"]
        if len(records) > COLLECTION:
            reason = f"record limit reached. cannot submit more than {COLLECTION} records into this call"
            raise SalesforceError(400, "EXCEEDED_ID_LIMIT", reason)
        before = self.org.mark()
        results: list[Record] = []
        for each in records:
            values = {key: value for key, value in each.items() if key not in ("attributes", field)}
            try:
                results.append(self._upsert(name, field, str(each.get(field)), values, user))
            except SalesforceError as error:
                (wrong,) = error.body
                reason = {"statusCode": wrong["errorCode"], "message": wrong["message"], "fields": wrong["fields"]}
                results.append({"success": False, "errors": [reason]})
        if body.get("allOrNone") and not all(each["success"] for each in results):
            self.org.roll_back(before)
            rolled = "Record rolled back because not all records were valid and the request was using AllOrNone header"
            undone: list[Record] = [
                {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": rolled, "fields": []}
            ]
            results = [{"success": False, "errors": undone} if each["success"] else each for each in results]
        return results

    def _shown(self, name: str, record: Record, query: dict[str, str], version: str) -> Record:
        wanted = query["fields"].split(",") if "fields" in query else list(record)
        unknown = [each for each in wanted if each not in record]
        if unknown:
            raise SalesforceError(
                400, "INVALID_FIELD", f"No such column '{unknown[0]}' on entity '{name}'.", tuple(unknown)
            )
        return attributed(name, record["Id"], version) | {each: record[each] for each in wanted}

    def _queried(self, found: list[Record] | int, version: str, asked: str) -> Record:
        if isinstance(found, int):
            return {"totalSize": found, "done": True, "records": []}
        for each in found:
            self._page_children(each, version)
        return self._page(found, 0, max(200, min(int(asked), BATCH)) if asked else self._page_size, version)

    def _page_children(self, row: Record, version: str) -> None:
        most = min(CHILDREN, self._page_size)
        for name, value in row.items():
            inside: list[Record] = cast("Record", value).get("records", []) if isinstance(value, dict) else []
            if len(inside) > most:
                row[name] = self._page(inside, 0, most, version)

    def _page(self, rows: list[Record], start: int, batch: int, version: str, cursor: str = "") -> Record:
        """Return a cursor that goes through the records that there were when the query was made (SOQL reference: query
        cursors)."""
        end = start + 1  # a batch is never empty
        room = batch - sum(map(_size, rows[start:end]))
        while end < len(rows) and (room := room - _size(rows[end])) >= 0:
            end += 1
        page: Record = {"totalSize": len(rows), "done": end >= len(rows), "records": rows[start:end]}
        if not page["done"]:
            if not cursor:
                cursor = secrets.token_hex(8)
                self._store.put("cursor", cursor, {"rows": rows, "batch": batch})
            page["nextRecordsUrl"] = f"/services/data/{version}/query/{cursor}-{end}"
        return page

    def _next(self, locator: str, version: str) -> Record:
        cursor, _, start = locator.rpartition("-")
        stored = self._store.get("cursor", cursor)
        if stored is None or not start.isdigit():
            raise SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(stored["rows"], int(start), stored["batch"], version, cursor)

    def _composite(self, body: Any, user: str) -> Record:
        """Handle subrequests in order; a reference such as `@{account.id}` takes a value of an earlier answer."""
        if refusal := _too_many(body["compositeRequest"]):
            return {"compositeResponse": [refusal]}
        answers: dict[str, Any] = {}
        results: list[Record] = []
        halted = False
        self.org.begin()
        for each in body["compositeRequest"]:
            status, answer = (400, HALTED) if halted else self._subrequest(each, answers, user)
            failed = status >= 400 or _has_failure(answer)
            if failed and body.get("allOrNone") and not halted:
                halted = True
                self.org.roll_back()
                for earlier in results:  # REST API: Composite Subrequest Result, httpStatusCode
                    earlier |= {"body": HALTED, "httpStatusCode": 400}
            results.append(
                {"body": answer, "httpHeaders": {}, "httpStatusCode": status, "referenceId": each["referenceId"]}
            )
        return {"compositeResponse": results}

    def _subrequest(self, asked: Record, answers: dict[str, Any], user: str) -> tuple[int, Any]:
        try:
            filled = msgspec.json.decode(_filled(msgspec.json.encode(asked).decode(), answers))
            parts = urlsplit(str(filled["url"]))
            _, _, _, version, *path = [unquote(part) for part in parts.path.split("/")]
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            status, answer = self.handle(filled["method"], version, path, query, filled.get("body"), user)
        except SalesforceError as error:
            return error.status, error.body
        answers[asked["referenceId"]] = answer
        return status, answer

    def _window(self, query: dict[str, str]) -> tuple[datetime, datetime]:
        try:
            return datetime.fromisoformat(query["start"]), datetime.fromisoformat(query["end"])
        except (KeyError, ValueError) as error:
            raise SalesforceError(400, "INVALID_REPLICATION_DATE", "start and end are ISO 8601 instants") from error

    def _updated(self, name: str, query: dict[str, str]) -> Record:
        changed = self.org.changed(name, *self._window(query), deleted=False)
        return {"ids": [each["Id"] for each in changed], "latestDateCovered": stamp(self._clock.now())}

    def _deleted(self, name: str, query: dict[str, str]) -> Record:
        changed = self.org.changed(name, *self._window(query), deleted=True)
        now = stamp(self._clock.now())
        records = [{"id": each["Id"], "deletedDate": each["SystemModstamp"]} for each in changed]
        return {"deletedRecords": records, "earliestDateAvailable": now, "latestDateCovered": now}


def _size(row: Record) -> int:
    """Return how much of a batch a row takes: its child records count, too (REST API: Query Options Header)."""
    inside = (cast("Record", each).get("records", []) for each in row.values() if isinstance(each, dict))
    return 1 + sum(map(len, inside))


def _too_many(requests: list[Record]) -> Record | None:
    """Return the answer to a composite with more than it may have, in Salesforce's words."""
    heavy = [each for each in requests if re.search(r"/v[\d.]+/(query|queryAll|composite/sobjects)\b", each["url"])]
    if len(requests) <= SUBREQUESTS and len(heavy) <= QUERIES:
        return None
    reason = f"The request can\u2019t contain more than {SUBREQUESTS} operations."
    if len(heavy) > QUERIES:
        reason = f"The request can\u2019t contain more than {QUERIES} query or collection operations."
    refused = [{"errorCode": "LIMIT_EXCEEDED", "message": reason}]
    return {"body": refused, "httpHeaders": {}, "httpStatusCode": 400, "referenceId": None}


def _has_failure(answer: Any) -> bool:
    """Return whether a record of a collection was refused."""
    return isinstance(answer, list) and any(each.get("success") is False for each in cast("list[Record]", answer))


def _filled(text: str, answers: dict[str, Any]) -> str:
    for reference, answer in answers.items():
        if isinstance(answer, dict):
            for key, value in cast("Record", answer).items():
                text = text.replace(f"@{{{reference}.{key}}}", str(value))
    return text


def _oauth(code: str, description: str) -> SalesforceError:
    error = SalesforceError(400, code, description)
    error.body = {"error": code, "error_description": description}
    return error


def _brief(sobject: SObject) -> Record:
    url = f"/services/data/v66.0/sobjects/{sobject.name}"
    return dict.fromkeys(("queryable", "createable", "updateable", "deletable"), True) | {
        "name": sobject.name,
        "label": sobject.name,
        "keyPrefix": sobject.prefix,
        "custom": False,
        "urls": {"sobject": url, "describe": f"{url}/describe"},
    }


def _described_field(name: str, field: Field) -> Record:
    return {
        "name": name,
        "label": name.removesuffix("__c"),
        "type": field.type,
        "soapType": SOAP_TYPES.get(field.type, "xsd:string"),
        "length": field.length if field.type in TEXTS else 0,
        "custom": name.endswith("__c"),
        "nillable": not field.required and field.type != "boolean",
        "defaultedOnCreate": field.default is not None,
        "calculated": False,
        "restrictedPicklist": bool(field.values),
        "createable": not field.read_only,
        "updateable": not field.read_only and not field.create_only,
        "externalId": field.external_id,
        "idLookup": field.external_id or name == "Id",
        "referenceTo": [field.to] if field.to else [],
        "relationshipName": field.relationship or None,
        "picklistValues": [
            {"value": each, "label": each, "active": True, "defaultValue": False} for each in field.values
        ],
    }


def _describe(sobject: SObject) -> Record:
    fields = [_described_field(name, field) for name, field in sobject.fields.items()]
    children = [
        {"relationshipName": name, "childSObject": child, "field": field}
        for name, (child, field) in sobject.children.items()
    ]
    return _brief(sobject) | {"fields": fields, "childRelationships": children}


def salesforce_app(salesforce: Salesforce) -> Litestar:
    """Return the stand-in as an ASGI application."""

    @route("/services/oauth2/token", http_method=["POST"])
    async def token(request: PlatformRequest) -> Response[Any]:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            form["client_id"], _, form["client_secret"] = base64.b64decode(basic[6:]).decode().partition(":")
        return Response(salesforce.token(form, str(request.base_url).rstrip("/")), status_code=200)

    @route(["/services/data", "/services/data/"], http_method=["GET"])
    async def versions() -> list[dict[str, str]]:
        return [{"label": f"v{each}", "url": f"/services/data/v{each}", "version": each} for each in VERSIONS]

    @route("/services/data/{version:str}/{rest:path}", http_method=["GET", "POST", "PATCH", "DELETE"])
    async def data(request: PlatformRequest, version: FromPath[str], rest: FromPath[Path]) -> Response[Any]:
        user = salesforce.user(request)
        if version.removeprefix("v") not in VERSIONS:
            raise SalesforceError(404, "NOT_FOUND", "The requested resource does not exist")
        raw = await request.body()
        try:
            body = msgspec.json.decode(raw) if raw else None
        except msgspec.DecodeError as error:
            raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from error
        path = [unquote(part) for part in str(rest).split("/") if part]
        query = {key: str(value) for key, value in request.query_params.items()}
        if "batchSize=" in (options := request.headers.get("sforce-query-options", "")):
            query["batchSize"] = options.partition("batchSize=")[2].split(",")[0]
        status, answer = salesforce.handle(request.method, version, path, query, body, user)
        return Response(answer if status != 204 else None, status_code=status, headers=salesforce.usage)

    def refused(_: PlatformRequest, error: SalesforceError) -> Response[Any]:
        return Response(error.body, status_code=error.status, headers=salesforce.usage)

    def unknown(_: PlatformRequest, error: HTTPException) -> Response[Any]:
        return Response([{"message": error.detail, "errorCode": "NOT_FOUND"}], status_code=error.status_code)

    return Litestar(
        [token, versions, data],
        exception_handlers={SalesforceError: refused, HTTPException: unknown},
        openapi_config=None,
        logging_config=None,
    )


def error_body(status: int) -> bytes:
    """Return what Salesforce answers when it is too busy or down."""
    code = "REQUEST_LIMIT_EXCEEDED" if status in (403, 429) else "SERVER_UNAVAILABLE"
    return msgspec.json.encode([{"message": "The request could not be served.", "errorCode": code}])
