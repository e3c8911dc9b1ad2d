"""A client of one Stripe account: form-encoded requests, idempotency keys, Stripe's errors as platform faults."""

from __future__ import annotations

import contextlib
import hashlib
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from stripe._encode import _api_encode  # pyright: ignore[reportPrivateUsage] - it has no public name; the version is pinned

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
from policies.http.client import HttpResponse
from policies.outbound.ownership import Carried
from policies.outbound.paths import PlatformPath, path_of
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret

VERSION = "2026-10-28.endive"
PAGE = 100
PAGES = 10
"""How many pages of a search are read: who may be one of a thousand is nobody."""
NOT_ALLOWED = {
    HTTPStatus.UNAUTHORIZED: "Stripe refuses the API key: correct api_key",
    HTTPStatus.FORBIDDEN: "the API key lacks a permission: give the restricted key what is needed",
}
"""What Stripe means by a status; its message names the key (docs.stripe.com/error-low-level)."""
PREVIEW = "/v1/invoices/create_preview"
"""The one POST that writes nothing."""
FORM = "application/x-www-form-urlencoded"
ALREADY_THERE = ("resource_already_exists", "duplicate_meter_event")
"""The codes of errors that say that somebody else was first (Error codes; Record usage with the API)."""
Row = dict[str, Any]
TaxCode = Annotated[str, msgspec.Meta(pattern=r"^txcd_[0-9]{8}\Z")]
"""A product tax code (docs.stripe.com/tax/tax-codes)."""


class Settings(PlatformServer, frozen=True, kw_only=True):
    """A secret or restricted API key, and the signing secret of the webhook endpoint.

    With `automatic_tax` Stripe Tax decides about the tax of each line. `tax_codes` holds the product tax code of each
    tax class of the ERP; the account's own default is that of the class `standard` where none is named.
    """

    api_key: Secret
    webhook_secret: Secret
    automatic_tax: bool = False
    tax_codes: dict[str, TaxCode] = msgspec.field(default_factory=dict[str, TaxCode])


class _Error(msgspec.Struct, frozen=True):
    type: str = ""
    code: str | None = None
    message: str = ""
    param: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _Error


class _Kind(msgspec.Struct, frozen=True):
    """The part of every answer that says what kind of object it is."""

    object: str


class _Page(msgspec.Struct, frozen=True):
    """A part of a list, or of what a search finds, which names the next one (API reference: Pagination, Search)."""

    data: list[Row]
    has_more: bool
    next_page: str | None = None


class _Made(msgspec.Struct, frozen=True):
    """The part of every record that says which it is."""

    id: str


class Declined(Rejected):
    """The card was declined: the money is owed and was not paid."""


class InvalidTaxId(Rejected):
    """The tax number is of another form than its type has (Error codes: tax_id_invalid)."""


class NothingUpcoming(NotFound):
    """There is no invoice to preview (Error codes: invoice_upcoming_none)."""


def at(*segments: str) -> PlatformPath:
    """Return a path below the version of the API. Raises `Rejected` for a segment that is no name."""
    return path_of("billing", *segments)


class StripeClient:
    """Send requests to one Stripe account. Its methods raise leaves of `PlatformFault` only."""

    def __init__(self, settings: Settings, outbound: PlatformClient) -> None:
        self._outbound = outbound
        self._key = settings.api_key

    @property
    def is_unrestricted(self) -> bool:
        """Return whether the key may do everything (docs.stripe.com/keys: Restricted API keys)."""
        return self._key.reveal().startswith("sk_")

    async def get(self, path: PlatformPath, **params: Any) -> Row:
        query = encoded(params)
        response = await self._send("GET", f"/v1/{path}?{query}" if query else f"/v1/{path}", "", {}, [])
        return _object(response, safe=True)

    async def listed(self, path: PlatformPath, **params: Any) -> list[Row]:
        """Return all items of a list, over as many pages as there are (API reference: Pagination)."""
        page = await self._page(path, params)
        rows = page.data
        while page.has_more and page.data:
            page = await self._page(path, {**params, "starting_after": rows[-1]["id"]})
            rows += page.data
        return rows

    async def searched(self, path: PlatformPath, query: str, **params: Any) -> tuple[list[Row], bool]:
        """Return what a search finds, over at most `PAGES` pages, and whether that is all (API reference: Search)."""
        page = await self._page(path, {**params, "query": query})
        rows = page.data
        for _ in range(1, PAGES):
            if page.next_page is None:
                break
            page = await self._page(path, {**params, "query": query, "page": page.next_page})
            rows += page.data
        return rows, page.next_page is None

    async def whole(self, embedded: Row, path: PlatformPath, **params: Any) -> list[Row]:
        """Return all items of a list inside a record, which has the first ten (API reference: Pagination)."""
        return await self.listed(path, **params) if embedded["has_more"] else embedded["data"]

    async def _page(self, path: PlatformPath, params: Row) -> _Page:
        found = await self.get(path, limit=PAGE, **params)
        try:
            return msgspec.convert(found, _Page)
        except msgspec.ValidationError as error:
            raise Unavailable("billing", f"it answered with something else than a list ({error})") from error

    async def post(self, path: PlatformPath, key: str, **params: Any) -> Row:
        """Send a write and return the object that Stripe answers with.

        `key` makes the request idempotent for a day (API reference: Idempotent requests). It is sent as its SHA-256
        digest: it may hold a customer's name, and a header holds neither umlauts nor more than 255 characters.
        """
        response = await self._post(path, key, params)
        return _object(response, safe=False)

    async def create(self, path: PlatformPath, key: str, **params: Any) -> Row:
        """Return a new record of the collection `path`, or the one that `key` created before.

        The key repeats that answer for a day, also when the record was deleted since: then it is created again.
        """
        while True:
            response = await self._post(path, key, params)
            row = _object(response, safe=False)
            made = response.json("billing", safe=False, shape=_Made).id
            if response.headers.get(b"idempotent-replayed") != b"true" or await self._exists(path, made):
                return row
            key = f"{key}:after:{made}"

    async def previewed(self, **params: Any) -> Row | None:
        """Return the invoice that would be issued, of which nothing is stored; None where none would be (API reference:
        Create a preview invoice)."""
        headers = {"content-type": FORM}
        try:
            response = await self._send("POST", PREVIEW, encoded(params), headers, [])
        except NothingUpcoming:
            return None
        return _object(response, safe=True)

    async def delete(self, path: PlatformPath, **params: Any) -> None:
        """Delete a record. One that is not there is deleted already."""
        query = encoded(params)
        with contextlib.suppress(NotFound):
            await self._send("DELETE", f"/v1/{path}?{query}" if query else f"/v1/{path}", "", {}, [])

    async def _exists(self, collection: PlatformPath, key: str) -> bool:
        try:
            return not (await self.get(PlatformPath(f"{collection}/{at(key)}"))).get("deleted")
        except NotFound:
            return False

    async def _post(self, path: PlatformPath, key: str, params: Row) -> HttpResponse:
        digest = hashlib.sha256(key.encode()).hexdigest()
        headers = {"content-type": FORM, "idempotency-key": digest}
        record = "/".join(path.split("/")[::2])  # without the ids
        return await self._send("POST", f"/v1/{path}", encoded(params), headers, [(record, params)])

    async def _send(
        self, method: str, url: str, body: str, headers: dict[str, str], carries: list[Carried]
    ) -> HttpResponse:
        """Send a request. Every write has an idempotency key: sent twice, it is done once."""
        own = {"authorization": f"Bearer {self._key.reveal()}", "stripe-version": VERSION}
        response = await self._outbound.request(
            method, url, safe=True, carries=carries, content=body.encode(), headers=own | headers
        )
        if response.is_success:
            return response
        raise _fault(response, safe=method == "GET" or url == PREVIEW)


def _object(response: HttpResponse, *, safe: bool) -> Row:
    """Return one of Stripe's objects, which all say of what kind they are. JSON that does not is not Stripe's."""
    response.json("billing", safe=safe, shape=_Kind)
    return response.json("billing", safe=safe, shape=Row)


def encoded(params: Row) -> str:
    """Return nested values as Stripe reads them: `items[0][price]=…`. None is left out."""
    return urlencode(list(_api_encode(params)))


def _fault(response: HttpResponse, *, safe: bool) -> PlatformFault:
    """Return the fault for Stripe's error object (API reference: Errors)."""
    try:
        error = msgspec.json.decode(response.content, type=_ErrorBody).error
    except msgspec.DecodeError:
        error = _Error(message=f"status {response.status}")
    field = error.param or ""
    match response.status:
        case HTTPStatus.PAYMENT_REQUIRED:
            return Declined("billing", error.message, field="payment_method")
        case HTTPStatus.NOT_FOUND if error.code == "invoice_upcoming_none":
            return NothingUpcoming("billing", error.message, field=field)
        case HTTPStatus.NOT_FOUND:
            return NotFound("billing", error.message, field=field)
        case HTTPStatus.CONFLICT:
            return Conflict("billing", error.message)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled("billing", error.message, retry_after=response.retry_after or 1.0)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return Unavailable("billing", error.message)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unavailable("billing", error.message) if safe else UnknownOutcome("billing", error.message)
        case status if status in NOT_ALLOWED:
            return Misconfigured("billing", NOT_ALLOWED[HTTPStatus(status)], field="api_key")
        case _:
            return _refusal(error)


def _refusal(error: _Error) -> PlatformFault:
    """Return the fault for a request that Stripe understood."""
    field = error.param or ""
    # The same key with other parameters: another order creates the same record in this moment. Look again.
    if error.code in ALREADY_THERE or error.type == "idempotency_error":
        return Conflict("billing", error.message, field=field)
    if error.code == "tax_id_invalid":
        return InvalidTaxId("billing", error.message, field="customer.tax_number")
    if error.code == "customer_tax_location_invalid":
        return Rejected("billing", error.message, field="customer.address")
    return Rejected("billing", error.message, field=field)
