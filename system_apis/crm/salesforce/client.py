"""Speaks to one Salesforce org: logs in, sends requests, names what went wrong."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import jwt
import msgspec

from canonical.faults import Conflict, NotFound, PlatformFault, Rejected, Throttled, Unavailable, UnknownOutcome
from policies.outbound import Http, fault_of

VERSION = "v66.0"
Row = dict[str, Any]
FORM = {"content-type": "application/x-www-form-urlencoded"}
BUSY = {"REQUEST_LIMIT_EXCEEDED"}
TAKEN = {"UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE"}


class SalesforceSettings(msgspec.Struct, frozen=True):
    """With `private_key` (PEM) the JWT bearer flow logs in as `username`, else client credentials do."""

    url: str
    client_id: str
    client_secret: str = ""
    private_key: str = ""
    username: str = ""
    timeout: float = 10.0

    def __repr__(self) -> str:
        return f"SalesforceSettings(url={self.url!r}, client_id={self.client_id!r})"


class _Complaint(msgspec.Struct, frozen=True):
    """One entry of Salesforce's error list."""

    message: str = ""
    errorCode: str = ""
    fields: list[str] = []


class SalesforceClient:
    """Raises leaves of `PlatformFault` only. An expired session is renewed once, without the caller's knowledge."""

    def __init__(self, settings: SalesforceSettings) -> None:
        self._settings = settings
        self._http = Http(settings.url, settings.timeout)
        self._session = ""

    async def query(self, soql: str) -> list[Row]:
        """All rows, over as many pages as there are (SOQL reference: nextRecordsUrl)."""
        page: Row = await self.request("GET", f"query?q={quote(soql)}")
        rows: list[Row] = page["records"]
        while not page["done"]:
            page = await self._send("GET", page["nextRecordsUrl"], None)
            rows += page["records"]
        return rows

    async def composite(self, requests: list[Row]) -> list[Any]:
        """Several requests in one call, all or nothing (REST API: Composite). Gives the bodies in order."""
        for each in requests:
            each["url"] = f"/services/data/{VERSION}/{each['url']}"
        answer: Row = await self.request("POST", "composite", {"allOrNone": True, "compositeRequest": requests})
        for each in answer["compositeResponse"]:
            if each["httpStatusCode"] >= HTTPStatus.BAD_REQUEST and each["body"][0]["errorCode"] != "PROCESSING_HALTED":
                raise _fault(each["httpStatusCode"], msgspec.json.encode(each["body"]), safe=False)
        return [each["body"] for each in answer["compositeResponse"]]

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        return await self._send(method, f"/services/data/{VERSION}/{path}", body)

    async def close(self) -> None:
        await self._http.close()

    async def _send(self, method: str, url: str, body: Any) -> Any:
        response = await self._exchange(method, url, body)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._session = ""
            response = await self._exchange(method, url, body)
        if response.is_success:
            return msgspec.json.decode(response.content) if response.content else None
        raise _fault(response.status_code, response.content, safe=method == "GET")

    async def _exchange(self, method: str, url: str, body: Any) -> httpx.Response:
        if not self._session:
            self._session = await self._log_in()
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {self._session}", "content-type": "application/json"}
        try:
            return await self._http.request(method, url, content=content, headers=headers)
        except httpx.RequestError as error:
            raise fault_of(error, "crm", safe=method == "GET") from error

    async def _log_in(self) -> str:
        try:
            response = await self._http.request(
                "POST", "/services/oauth2/token", content=urlencode(self._grant()).encode(), headers=FORM
            )
        except httpx.RequestError as error:
            raise Unavailable("crm", f"cannot log in ({type(error).__name__})") from error
        if response.is_server_error:
            raise Unavailable("crm", f"cannot log in ({response.status_code})")
        if not response.is_success:
            raise Rejected("crm", "Salesforce refuses the credentials of the connected app")
        return str(msgspec.json.decode(response.content)["access_token"])

    def _grant(self) -> dict[str, str]:
        settings = self._settings
        if not settings.private_key:
            return {
                "grant_type": "client_credentials",
                "client_id": settings.client_id,
                "client_secret": settings.client_secret,
            }
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": settings.url,
            "exp": int(time.time()) + 180,
        }
        assertion = jwt.encode(claims, settings.private_key, algorithm="RS256")
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _fault(status: int, content: bytes, *, safe: bool) -> PlatformFault:
    """Salesforce's error list as one fault (REST API: Status Codes and Error Responses)."""
    try:
        complaints = msgspec.json.decode(content, type=list[_Complaint])
    except msgspec.DecodeError:
        complaints = []
    first = complaints[0] if complaints else _Complaint(f"status {status}")
    field = first.fields[0] if first.fields else ""
    if first.errorCode in BUSY or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled("crm", first.message, retry_after=1.0)
    if first.errorCode in TAKEN:
        return Conflict("crm", first.message, field=field)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("crm", first.message)
    if status == HTTPStatus.SERVICE_UNAVAILABLE or (safe and status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        return Unavailable("crm", first.message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnknownOutcome("crm", first.message)
    return Rejected("crm", first.message, field=field)
