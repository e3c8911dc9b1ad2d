"""A client of one Salesforce org: login, requests, Salesforce's errors as platform faults."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import msgspec

from canonical.faults import Conflict, NotFound, PlatformFault, Rejected, Throttled, Unavailable, UnknownOutcome
from canonical.ids import Clock
from policies.http.client import HttpResponse
from policies.outbound.ownership import Carried
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import NO_SECRET, Secret

VERSION = "v66.0"
Row = dict[str, Any]
FORM = {"content-type": "application/x-www-form-urlencoded"}
BUSY = {"REQUEST_LIMIT_EXCEEDED"}
TAKEN = {"UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE"}


class Settings(PlatformServer, frozen=True, kw_only=True):
    """The credentials of a connected app.

    With `private_key` (PEM) the JWT bearer flow logs in as `username`, else client credentials do. The change feed is
    read every `poll_seconds`, with one request: by default 5,760 a day, of which a Developer Edition org has 15,000 and
    an Enterprise Edition org 100,000 (Salesforce Developer Limits: API Request Limits and Allocations).
    """

    client_id: str
    client_secret: Secret = NO_SECRET
    private_key: Secret = NO_SECRET
    username: str = ""
    poll_seconds: float = 15.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.client_secret and not self.private_key:
            raise ValueError("credentials are missing: set client_secret or private_key")


class _Complaint(msgspec.Struct, frozen=True):
    """One entry of Salesforce's error list."""

    message: str = ""
    errorCode: str = ""
    fields: list[str] = []


class SalesforceClient:
    """Send requests to one org. Its methods raise leaves of `PlatformFault` only.

    An expired session is renewed once, without the caller noticing.
    """

    def __init__(self, settings: Settings, outbound: PlatformClient, clock: Clock) -> None:
        self._settings = settings
        self._outbound = outbound
        self._clock = clock
        self._session = ""

    async def query(self, soql: str) -> list[Row]:
        """Return all rows, over as many pages as there are (SOQL reference: nextRecordsUrl)."""
        return await self._rows(await self.read(f"query?q={quote(soql)}"))

    async def queries(self, wanted: dict[str, str]) -> dict[str, list[Row]]:
        """Return all rows of several queries by name, in one request if none has more than a page."""
        pages = await self.composite(
            [{"method": "GET", "url": f"query?q={quote(soql)}", "referenceId": name} for name, soql in wanted.items()]
        )
        return {name: await self._rows(page) for name, page in zip(wanted, pages, strict=True)}

    async def _rows(self, page: Row) -> list[Row]:
        rows: list[Row] = page["records"]
        while not page["done"]:
            page = await self._send("GET", page["nextRecordsUrl"], None, [], safe=True)
            rows += page["records"]
        return rows

    async def composite(self, requests: list[Row]) -> list[Any]:
        """Send several requests in one, all or nothing (REST API: Composite). Return the bodies in order."""
        carries = [_written(each["url"].split("/"), each["body"]) for each in requests if "body" in each]
        for each in requests:
            each["url"] = f"/services/data/{VERSION}/{each['url']}"
        safe = all(each["method"] == "GET" for each in requests)
        whole = {"allOrNone": True, "compositeRequest": requests}
        answer: Row = await self._send("POST", f"/services/data/{VERSION}/composite", whole, carries, safe=safe)
        for each in answer["compositeResponse"]:
            if each["httpStatusCode"] >= HTTPStatus.BAD_REQUEST and each["body"][0]["errorCode"] != "PROCESSING_HALTED":
                raise _fault(each["httpStatusCode"], msgspec.json.encode(each["body"]), safe=safe)
        return [each["body"] for each in answer["compositeResponse"]]

    async def read(self, path: str) -> Any:
        return await self._send("GET", f"/services/data/{VERSION}/{path}", None, [], safe=True)

    async def _send(self, method: str, url: str, body: Any, carries: list[Carried], *, safe: bool) -> Any:
        response = await self._exchange(method, url, body, carries, safe=safe)
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._session = ""
            response = await self._exchange(method, url, body, carries, safe=safe)
        if response.is_success:
            return response.json("crm", safe=safe) if response.content else None
        raise _fault(response.status, response.content, safe=safe, retry_after=response.retry_after)

    async def _exchange(self, method: str, url: str, body: Any, carries: list[Carried], *, safe: bool) -> HttpResponse:
        if not self._session:
            self._session = await self._log_in()
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {self._session}", "content-type": "application/json"}
        return await self._outbound.request(method, url, safe=safe, carries=carries, content=content, headers=headers)

    async def _log_in(self) -> str:
        grant = urlencode(self._grant()).encode()
        response = await self._outbound.request(
            "POST", "/services/oauth2/token", safe=True, carries=[], content=grant, headers=FORM
        )
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Throttled("crm", "cannot log in so often", retry_after=response.retry_after or 1.0)
        if response.is_server_error:
            raise Unavailable("crm", f"cannot log in ({response.status})")
        if not response.is_success:
            raise Rejected("crm", "Salesforce refuses the credentials of the connected app")
        return str(response.json("crm", safe=True)["access_token"])

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
            "aud": settings.url,
            "exp": int(self._clock().timestamp()) + 180,
        }
        assertion = jwt.encode(claims, settings.private_key.reveal(), algorithm="RS256")
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _written(path: list[str], body: Row) -> Carried:
    """Return the record that a path writes to, with what is written.

    `sobjects/Contact/Key__c/7` writes the key too (REST API: Insert or Update by External ID).
    """
    key = {path[2]: path[3]} if len(path) > len(("sobjects", "Contract", "id")) else {}
    return path[1], body | key


def _fault(status: int, content: bytes, *, safe: bool, retry_after: float | None = None) -> PlatformFault:
    """Return the fault for Salesforce's error list (REST API: Status Codes and Error Responses)."""
    try:
        complaints = msgspec.json.decode(content, type=list[_Complaint])
    except msgspec.DecodeError:
        complaints = []
    first = complaints[0] if complaints else _Complaint(f"status {status}")
    field = first.fields[0] if first.fields else ""
    if first.errorCode in BUSY or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled("crm", first.message, retry_after=retry_after or 1.0)
    if first.errorCode in TAKEN:
        return Conflict("crm", first.message, field=field)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("crm", first.message)
    if status == HTTPStatus.SERVICE_UNAVAILABLE or (safe and status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        return Unavailable("crm", first.message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnknownOutcome("crm", first.message)
    return Rejected("crm", first.message, field=field)
