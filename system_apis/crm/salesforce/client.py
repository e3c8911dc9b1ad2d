"""A client of one Salesforce org: login, requests, Salesforce's errors as platform faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from http import HTTPStatus
from math import isinf
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import jwt
import msgspec

from canonical.faults import (
    Conflict,
    Misconfigured,
    NotFound,
    PlatformFault,
    Rejected,
    Throttled,
    Unavailable,
    UnknownOutcome,
)
from canonical.ids import Clock
from policies.http.client import HttpResponse
from policies.outbound.ownership import Carried, Fields
from policies.outbound.paths import PlatformPath, path_of
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import NO_SECRET, Secret
from system_apis.crm.salesforce.columns import Row
from system_apis.crm.salesforce.org import Org, org_of
from system_apis.crm.salesforce.quota import Quota

VERSION = "v66.0"
T = TypeVar("T")
FORM = {"content-type": "application/x-www-form-urlencoded"}
SPENT = "REQUEST_LIMIT_EXCEEDED"
"""The requests of a day are used up (REST API: Status Codes and Error Responses)."""
SPENT_PAUSE = 300.0
"""Seconds until it is worth asking again: they come back over the day."""
SALESFORCE = ".salesforce.com"
QUERY = {False: "query", True: "queryAll"}
DELETED = "ENTITY_IS_DELETED"
"""A record, or one that it refers to, is in the recycle bin (SOAP API Developer Guide: Core Data Types, StatusCode)."""
TAKEN = {"UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE"}


class Settings(PlatformServer, frozen=True, kw_only=True):
    """The credentials of a connected app.

    With `private_key` (PEM) the JWT bearer flow logs in as `username`, else client credentials do. `audience` is
    https://test.salesforce.com for a sandbox of Salesforce. `url` is the org's own address (My Domain).

    `cut_over` is the first day of Tiergate in the org (UTC): what was won before it is left alone, whatever is changed
    of it later.

    `mapping` names the file that says what the org's fields, stages and values are called; empty for the shipped one.

    `currency` is that of an org without multiple currencies. `country_codes` is whether the org has state and country
    picklists; without them countries are read by their names. `deal_terms` is whether opportunities have the fields
    `Evergreen__c`, `PurchaseOrder__c`, `PaymentDays__c` and `BillToContact__c`.

    The change feed is read every `poll_seconds`, with one request: by default 5,760 a day, of which a Developer Edition
    org has 15,000 and an Enterprise Edition org 100,000 (Salesforce Developer Limits: API Request Limits and
    Allocations). Every `sweep_seconds` what it may have missed is looked for, with a request for each 1,000 customers.
    """

    client_id: str
    cut_over: date
    client_secret: Secret = NO_SECRET
    private_key: Secret = NO_SECRET
    username: str = ""
    audience: Literal["https://login.salesforce.com", "https://test.salesforce.com"] = "https://login.salesforce.com"
    mapping: str = ""
    currency: Annotated[str, msgspec.Meta(pattern=r"^([A-Z]{3})?\Z")] = ""
    country_codes: bool = True
    deal_terms: bool = False
    poll_seconds: float = 15.0
    sweep_seconds: float = 600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.client_secret and not self.private_key:
            raise ValueError("the secret is missing: client_secret or private_key")
        self.org()  # a mistake in the mapping is said at start

    def org(self) -> Org:
        """Return the org that the mapping describes. Raises `MappingError`."""
        return org_of(self.mapping, self.currency, country_codes=self.country_codes, deal_terms=self.deal_terms)

    def fields(self, declared: Mapping[str, Fields]) -> Mapping[str, Fields]:
        """Return the fields that may be written, under the names that they have in this org."""
        return {**declared, **self.org().writable()}


class _Complaint(msgspec.Struct, frozen=True):
    """One entry of Salesforce's error list."""

    message: str = ""
    errorCode: str = ""
    fields: list[str] | None = None


class _Page(msgspec.Struct, frozen=True):
    """Rows of a query (REST API: Query), and where the next ones are."""

    records: list[Row]
    done: bool
    nextRecordsUrl: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """The answer to one request of a composite."""

    httpStatusCode: int
    body: Any


class _Composite(msgspec.Struct, frozen=True):
    """The answer to a composite (REST API: Composite Response Body)."""

    compositeResponse: list[_Answer]


class _Refusal(msgspec.Struct, frozen=True):
    """Why a record of a collection was refused."""

    statusCode: str
    message: str = ""
    fields: list[str] | None = None


class _Written(msgspec.Struct, frozen=True):
    """What became of a record of a collection (REST API: sObject Collections)."""

    success: bool
    errors: list[_Refusal] = []


class _Limits(msgspec.Struct, frozen=True):
    """The limits of an org (REST API: Limits), of which the API calls of a day are one."""

    DailyApiRequests: Row


class PicklistValue(msgspec.Struct, frozen=True):
    """A value that people may choose."""

    value: str
    active: bool = True


class DescribedField(msgspec.Struct, frozen=True):
    """A field of an object (REST API: sObject Describe), as far as it is used."""

    name: str
    type: str = ""
    length: int = 0
    createable: bool = False
    updateable: bool = False
    externalId: bool = False
    relationshipName: str | None = None
    referenceTo: list[str] = []
    picklistValues: list[PicklistValue] = []


class Described(msgspec.Struct, frozen=True):
    """The part of an object's description that is used."""

    fields: list[DescribedField]

    def field(self, name: str) -> DescribedField | None:
        """Return a field by its name, in any case: Salesforce takes it in any."""
        return next((each for each in self.fields if each.name.lower() == name.lower()), None)


class _Created(msgspec.Struct, frozen=True):
    """The answer to a new record (REST API: sObject Basic Information)."""

    id: str


class _Session(msgspec.Struct, frozen=True):
    """The answer to a log-in (OAuth 2.0)."""

    access_token: str
    instance_url: str = ""
    id: str = ""


class SalesforceClient:
    """Send requests to one org. Its methods raise leaves of `PlatformFault` only.

    An expired session is renewed once, without the caller noticing.
    """

    def __init__(
        self, settings: Settings, outbound: PlatformClient, clock: Clock, administrator: Secret = NO_SECRET
    ) -> None:
        """Requests are those of our own user, or of an `administrator` whose access token is given."""
        self._settings = settings
        self._outbound = outbound
        self._clock = clock
        self._administrator = administrator
        self._session = administrator.reveal()
        self._user = ""
        self.quota = Quota()
        self.org = settings.org()

    async def query(self, soql: str, *, tooling: bool = False) -> list[Row]:
        """Return all rows, over as many pages as there are (SOQL reference: nextRecordsUrl). `tooling` asks the Tooling
        API, which knows what the org is made of."""
        path = "tooling/query" if tooling else "query"
        return await self._rows(await self._read(f"{path}?q={quote(soql)}", _Page))

    async def queries(self, wanted: dict[str, str], with_deleted: Collection[str] = ()) -> dict[str, list[Row]]:
        """Return all rows of several queries by name, in one request if none has more than a page.

        Those that `with_deleted` names find deleted records too (REST API: QueryAll).
        """
        pages = await self.composite(
            [
                {"method": "GET", "url": f"{QUERY[name in with_deleted]}?q={quote(soql)}", "referenceId": name}
                for name, soql in wanted.items()
            ]
        )
        return {name: await self._rows(_page(page)) for name, page in zip(wanted, pages, strict=True)}

    async def _rows(self, page: _Page) -> list[Row]:
        rows = page.records
        while not page.done:
            page = await self._send("GET", page.nextRecordsUrl, None, [], _Page, safe=True)
            rows += page.records
        for row in rows:
            for name, value in row.items():
                if isinstance(value, dict) and cast("Row", value).get("done") is False:
                    row[name] = {"records": await self._rows(_page(value))}  # child records have pages of their own
        return rows

    async def composite(self, requests: list[Row]) -> list[Any]:
        """Send several requests in one, all or nothing (REST API: Composite). Return the bodies in order."""
        carries = [
            written for each in requests if "body" in each for written in _written(each["url"].split("/"), each["body"])
        ]
        for each in requests:
            each["url"] = f"/services/data/{VERSION}/{each['url']}"
        safe = all(each["method"] == "GET" for each in requests)
        whole = {"allOrNone": True, "compositeRequest": requests}
        url = f"/services/data/{VERSION}/composite"
        answers = (await self._send("POST", url, whole, carries, _Composite, safe=safe)).compositeResponse
        halted = False
        for each in answers:
            if each.httpStatusCode >= HTTPStatus.BAD_REQUEST:
                complaints = _complaints(msgspec.json.encode(each.body))
                if complaints and complaints[0].errorCode == "PROCESSING_HALTED":
                    halted = True  # another one says why
                    continue
                raise _fault(each.httpStatusCode, complaints, safe=safe)
            _check_collection(each.body, safe=safe)
        if halted:
            raise _not_asked_for("a composite that was halted, and not why", safe=safe)
        if len(answers) != len(requests):
            raise _not_asked_for(f"{len(answers)} answers to {len(requests)} requests", safe=safe)
        return [each.body for each in answers]

    async def length(self, sobject: str, field: str) -> int:
        """Return how many characters a field holds (REST API: sObject Describe), 0 for one that is not there."""
        found = (await self.describe(sobject)).field(field)
        return found.length if found else 0

    async def describe(self, sobject: str) -> Described:
        """Return the description of an object, with the fields that the integration user may see."""
        return await self._read(path_of("crm", "sobjects", sobject, "describe"), Described)

    # ---- for an administrator

    async def user_id(self) -> str:
        """Return the id of the user that we are logged in as (Salesforce Help: Identity URLs)."""
        if not self._user:
            self._session = await self._log_in()
        return self._user

    async def custom_field(self, field_id: str) -> Row:
        """Return what a custom field is, with its metadata (Tooling API: CustomField)."""
        return await self._read(path_of("crm", "tooling", "sobjects", "CustomField", field_id), Row)

    async def create(self, kind: str, content: Row) -> str:
        """Create a record, or by the Tooling API a custom field. Return its id."""
        path = f"{'tooling/' if kind == 'CustomField' else ''}sobjects/{kind}"
        url = f"/services/data/{VERSION}/{path}"
        return (await self._send("POST", url, content, [(kind, content)], _Created, safe=False)).id

    async def update(self, kind: str, record_id: str, content: Row) -> None:
        """Change a record."""
        url = f"/services/data/{VERSION}/{path_of('crm', 'sobjects', kind, record_id)}"
        await self._answer("PATCH", url, content, [(kind, content)], safe=True)

    async def delete(self, path: PlatformPath) -> None:
        """Delete what is at a path below the version."""
        await self._answer("DELETE", f"/services/data/{VERSION}/{path}", None, [], safe=True)

    # ---- requests

    async def check(self) -> None:
        """Return when the org answers how many of a day's requests are left."""
        await self._read("limits", _Limits)

    async def _read(self, path: str, shape: type[T]) -> T:
        return await self._send("GET", f"/services/data/{VERSION}/{path}", None, [], shape, safe=True)

    async def _send(self, method: str, url: str, body: Any, carries: list[Carried], shape: type[T], *, safe: bool) -> T:
        response = await self._answer(method, url, body, carries, safe=safe)
        return response.json("crm", safe=safe, shape=shape)

    async def _answer(self, method: str, url: str, body: Any, carries: list[Carried], *, safe: bool) -> HttpResponse:
        response = await self._exchange(method, url, body, carries, safe=safe)
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._session = ""
            response = await self._exchange(method, url, body, carries, safe=safe)
        if response.is_success:
            return response
        raise _fault(response.status, _complaints(response.content), safe=safe, retry_after=response.retry_after)

    async def _exchange(self, method: str, url: str, body: Any, carries: list[Carried], *, safe: bool) -> HttpResponse:
        if not self._session:
            self._session = await self._log_in()
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {self._session}", "content-type": "application/json"}
        response = await self._outbound.request(
            method, url, safe=safe, carries=carries, content=content, headers=headers
        )
        self.quota.note(response.headers.get(b"sforce-limit-info", b""))
        self._outbound.state.quota_left = None if isinf(self.quota.left) else self.quota.left
        return response

    async def _log_in(self) -> str:
        if self._administrator:
            raise Misconfigured("crm", "Salesforce refuses the administrator's access token", field="administrator")
        grant = urlencode(self._grant()).encode()
        response = await self._outbound.request(
            "POST", "/services/oauth2/token", safe=True, carries=[], content=grant, headers=FORM
        )
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Throttled("crm", "cannot log in so often", retry_after=response.retry_after or 1.0)
        if response.is_server_error:
            raise Unavailable("crm", f"cannot log in ({response.status})")
        if not response.is_success:
            raise Misconfigured("crm", "Salesforce refuses the log-in: correct client_id and its secret or key")
        session = response.json("crm", safe=True, shape=_Session)
        if elsewhere := is_elsewhere(self._settings.url, session.instance_url):
            reason = f"the org of these credentials is at {elsewhere}: make that the url in the settings"
            raise Rejected("crm", reason, field="url")
        self._user = session.id.rpartition("/")[2]
        return session.access_token

    def _grant(self) -> dict[str, str]:
        settings = self._settings
        if not settings.private_key:
            return {
                "grant_type": "client_credentials",
                "client_id": settings.client_id,
                "client_secret": settings.client_secret.reveal(),
            }
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": settings.audience,
            "exp": int(self._clock().timestamp()) + 180,
        }
        try:
            assertion = jwt.encode(claims, settings.private_key.reveal(), algorithm="RS256")
        except (jwt.InvalidKeyError, ValueError) as error:
            raise Misconfigured("crm", "private_key is no RSA key in PEM", field="private_key") from error
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def is_elsewhere(url: str, instance_url: str) -> str:
    """Return the address of the org when it is another one than that of the settings, else an empty text.

    All requests go where the settings say: an answer cannot lead them elsewhere. Only Salesforce's own addresses are
    compared, so that the org may be reached through a gateway.
    """
    given, found = urlsplit(url).hostname or "", urlsplit(instance_url).hostname or ""
    is_other = given.endswith(SALESFORCE) and found.endswith(SALESFORCE) and given != found
    return f"https://{found}" if is_other else ""


def _written(path: list[str], body: Row) -> list[Carried]:
    """Return the records that a path writes to, with what is written to each.

    `sobjects/Contact/Key__c/7` writes the key too (REST API: Insert or Update by External ID), and
    `composite/sobjects/Contact/Key__c` writes many (REST API: sObject Collections).
    """
    if path[0] == "composite":
        return [
            (path[2], {name: value for name, value in each.items() if name != "attributes"}) for each in body["records"]
        ]
    key = {path[2]: path[3]} if len(path) > len(("sobjects", "Contract", "id")) else {}
    return [(path[1], body | key)]


def _complaints(content: bytes) -> list[_Complaint]:
    """Return Salesforce's error list (REST API: Status Codes and Error Responses), empty for what is none."""
    try:
        return msgspec.json.decode(content, type=list[_Complaint])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _fault(status: int, complaints: list[_Complaint], *, safe: bool, retry_after: float | None = None) -> PlatformFault:
    """Return the fault for an error list."""
    first = complaints[0] if complaints else _Complaint(f"status {status}")
    field = first.fields[0] if first.fields else ""
    if first.errorCode == SPENT or status == HTTPStatus.TOO_MANY_REQUESTS:
        pause = SPENT_PAUSE if first.errorCode == SPENT else 1.0
        return Throttled("crm", first.message, retry_after=retry_after or pause)
    if first.errorCode in TAKEN:
        return Conflict("crm", first.message, field=field)
    if status == HTTPStatus.NOT_FOUND or first.errorCode == DELETED:
        return NotFound("crm", first.message, field=field)
    if status == HTTPStatus.SERVICE_UNAVAILABLE or (safe and status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        return Unavailable("crm", first.message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnknownOutcome("crm", first.message)
    return Rejected("crm", first.message, field=field)


def _check_collection(body: Any, *, safe: bool) -> None:
    """Raise the fault for the first record of a collection that was refused by itself."""
    if not isinstance(body, list):
        return
    try:
        results = msgspec.convert(body, list[_Written])
    except msgspec.ValidationError as error:
        raise _not_asked_for(str(error), safe=safe) from error
    refused = [wrong for each in results if not each.success for wrong in each.errors]
    own = [wrong for wrong in refused if wrong.statusCode != "ALL_OR_NONE_OPERATION_ROLLED_BACK"]
    for wrong in own or refused:
        complaint = _Complaint(wrong.message, wrong.statusCode, wrong.fields)
        raise _fault(HTTPStatus.BAD_REQUEST, [complaint], safe=safe)


def _page(body: Any) -> _Page:
    try:
        return msgspec.convert(body, _Page)
    except msgspec.ValidationError as error:
        raise _not_asked_for(str(error), safe=True) from error


def _not_asked_for(what: str, *, safe: bool) -> PlatformFault:
    reason = f"it answered with JSON that is not what was asked for ({what})"
    return Unavailable("crm", reason) if safe else UnknownOutcome("crm", reason)
