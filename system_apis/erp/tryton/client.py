"""A JSON-RPC client of one Tryton database: login, calls, Tryton's errors as platform faults."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from http import HTTPStatus
from typing import Any, cast

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
from policies.http.client import HttpResponse
from policies.outbound.ownership import Carried, Fields
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from system_apis.erp.tryton.books import books
from system_apis.erp.tryton.mapping import INVOICE, day

JSON = {"content-type": "application/json"}
READS = ("search_read", "read", "search", "search_count", "get_preferences", "get_types", "fields_get", "get_id")
REFUSED = "Tryton refuses the log-in: correct user and password"
VIES = "account.invoice eu_vat valid"
GONE = "that don't exist"
"""Part of what Tryton says of an id that it no longer has (tried on 8.2); we name no id that we have not just read."""
ACCEPTED = re.compile(rf".*({VIES}|invoice_payment_term|invoice_taxes|delete\.write-off|account\.move,\d+\.cancel)$")
"""Warnings that are no reason to stop.

VIES was not asked (numbers are checked before the order is taken), a payment date lies in the past (expected of late
postings), the taxes of an invoice are others than its products have by default: they are those of the sale, whose
totals billing's invoice has too. What was written off is owed again: the write-off is undone right after. And what was
booked for a difference of rates in a period that is closed since is cancelled in the present one.
"""

FUTURE = "invoice_date_future"
"""The warning that an invoice is of a day that has not begun where the server is, or its company's time zone."""


class Settings(PlatformServer, frozen=True, kw_only=True):
    """The database with the books, and the user that opens them.

    `mapping` names the file that says what the books' taxes are called; empty for the shipped one. With `products` the
    user creates and renames products, for which it needs more rights.
    """

    database: str
    user: str
    password: Secret
    mapping: str = ""
    products: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        books(self.mapping)  # a mistake in it is said at start

    def fields(self, declared: Mapping[str, Fields]) -> Mapping[str, Fields]:
        """Return the fields that may be written: custom fields are where the mapping says."""
        custom = dict.fromkeys(books(self.mapping).custom.invoice.values(), "invoice.custom")
        return {**declared, INVOICE: {**declared[INVOICE], **custom}}


class _Answer(msgspec.Struct, frozen=True):
    """What Tryton answers: a result, which may be null, or an error with its name and its details."""

    result: Any | msgspec.UnsetType = msgspec.UNSET
    error: list[Any] | None = None


class Warned(Exception):
    """Tryton asks for a confirmation. `name` is the name under which a yes has to be recorded."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class TrytonClient:
    """Call methods of one database. Its methods raise leaves of `PlatformFault` only.

    An expired session is renewed once.
    """

    def __init__(self, settings: Settings, outbound: PlatformClient) -> None:
        self._settings = settings
        self._outbound = outbound
        self._path = f"/{settings.database}/rpc/"
        self._session = ""

    async def call(
        self, method: str, *params: Any, context: dict[str, Any] | None = None, accepts: tuple[str, ...] = ()
    ) -> Any:
        """Call `method` and return its result; a warning that we accept is confirmed, and the call repeated. `accepts`
        are what names of others end with, which are no reason to stop this time."""
        while True:
            try:
                return await self._call(method, [*params, context or {}])
            except Warned as warning:
                if not ACCEPTED.fullmatch(warning.name) and not warning.name.endswith(accepts):
                    raise Rejected("erp", warning.message) from warning
                await self._confirm([warning.name])

    async def confirm_numbers(self, party: int) -> None:
        """Confirm that VIES was not asked about the tax numbers of a party, before an invoice meets the warning: Tryton
        works a third of a posting out until it warns."""
        identifiers = await self.rows("party.identifier", [["party", "=", party]], ["id"], 0)
        await self._confirm([_warning_name("party.identifier", each["id"], VIES) for each in identifiers])

    async def _confirm(self, names: list[str]) -> None:
        """Record a yes to warnings; it holds for ever where it is about a number, which is on every invoice.

        A user who is no administrator may create no record of it: `skip` is what Tryton's own client calls.
        """
        for each in names:
            await self._call("model.res.user.warning.skip", [each, each.endswith(VIES), {}])

    @asynccontextmanager
    async def wizard(
        self, name: str, model: str, records: list[int], context: dict[str, Any]
    ) -> AsyncGenerator[Callable[[dict[str, Any], str], Awaitable[Any]]]:
        """Open a wizard on records, and yield what sends it a form for one of its states. It is closed at the end, but
        not after a fault."""
        opened = context | {"active_model": model, "active_id": records[0], "active_ids": records}
        session, _, _ = await self.call(f"wizard.{name}.create", context=opened)

        async def go(form: dict[str, Any], state: str) -> Any:
            return await self.call(f"wizard.{name}.execute", session, form, state, context=opened)

        yield go
        await self.call(f"wizard.{name}.delete", session, context=opened)

    async def rows(
        self,
        model: str,
        domain: list[Any],
        fields: list[str],
        company: int,
        limit: int | None = None,
        order: tuple[str, str] = ("id", "ASC"),
        *,
        inactive: bool = False,
        on: date | None = None,
    ) -> list[dict[str, Any]]:
        """Return the rows of `search_read`, oldest first if `order` is not said.

        `company` 0 is none: a context must never name a company that does not exist. `inactive` returns those that are
        out of use too. `on` is the day whose rates currencies are read with, today if none is said (`date` of the
        context in `get_rate` of `currency.currency`, 8.2).
        """
        context: dict[str, Any] = {"company": company} if company else {}
        if on is not None:
            context["date"] = day(on)
        if inactive:
            context["active_test"] = False
        return await self.call(f"model.{model}.search_read", domain, 0, limit, [list(order)], fields, context=context)

    async def _call(self, method: str, params: list[Any]) -> Any:
        if not self._session:
            await self._log_in()
        response = await self._exchange(method, params)
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            await self._log_in()
            response = await self._exchange(method, params)
        return _result(response, safe=method.endswith(READS))

    async def _exchange(self, method: str, params: list[Any]) -> HttpResponse:
        body = msgspec.json.encode({"id": 1, "method": method, "params": params})
        headers = JSON | {"authorization": f"Session {self._session}"}
        safe = method.endswith(READS)
        written: list[Any] = [each for each in params[:-1] if isinstance(each, dict | list)]
        carries: list[Carried] = [] if safe else [(method, written)]
        return await self._outbound.request(
            "POST", self._path, safe=safe, carries=carries, content=body, headers=headers
        )

    async def _log_in(self) -> None:
        settings = self._settings
        body = {
            "id": 1,
            "method": "common.db.login",
            "params": [settings.user, {"password": settings.password.reveal()}, "en"],
        }
        content = msgspec.json.encode(body)
        response = await self._outbound.request(
            "POST", self._path, safe=True, carries=[], content=content, headers=JSON
        )
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise Misconfigured("erp", REFUSED, field="user")
        result = _result(response, safe=True)
        if not result:
            raise Misconfigured("erp", REFUSED, field="user")
        try:
            user_id, key = msgspec.convert(result[:2], tuple[int, str])
        except (msgspec.ValidationError, TypeError) as error:
            raise Unavailable("erp", "Tryton answered the log-in with something else than a session") from error
        proof = f"{settings.user}:{user_id}:{key}"
        self._session = base64.b64encode(proof.encode()).decode()


def _result(response: HttpResponse, *, safe: bool) -> Any:
    """Return the result, or raise the fault that Tryton answers with status 200 (observed on 8.2)."""
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Throttled("erp", "Tryton is too busy", retry_after=response.retry_after or 1.0)
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise Unavailable("erp", "Tryton is not available")
    if response.is_server_error:
        raise _server_error(response.status, safe=safe)
    if not response.is_success:
        raise Rejected("erp", f"Tryton answered {response.status}")
    answer = response.json("erp", safe=safe, shape=_Answer)
    if answer.error:
        raise _refusal(answer.error)
    if isinstance(answer.result, msgspec.UnsetType):
        raise _server_error(response.status, safe=safe)
    return answer.result


def _refusal(error: list[Any]) -> PlatformFault | Warned:
    """Return what an error means: its name comes first, then its details."""
    kind, details = str(error[0]), _listed(*error[1:2])
    message = str(details[0] if details else "") or kind
    match kind:
        case "UserWarning":
            return Warned(message, " ".join(str(each) for each in details[1:] if each) or message)
        case "ConcurrencyException":
            return Conflict("erp", "the record is being changed by somebody else")
        case "UserError" if GONE in message:
            return Conflict("erp", "a record that was there a moment ago was deleted by somebody else")
        case "UserError":
            return Rejected("erp", message)
        case _:
            return NotFound("erp", message) if "does not exist" in message else Rejected("erp", f"{kind}: {message}")


def _warning_name(model: str, record: int, about: str) -> str:
    """Return the name under which Tryton asks about a record (`format` of `res.user.warning`, 8.2).

    Were it another one some day, the warning is answered when it comes.
    """
    return f"{hashlib.md5(f'{model},{record}'.encode(), usedforsecurity=False).hexdigest()}.{about}"


def _listed(details: Any = ()) -> list[Any]:
    """Return an error's details as a list: Tryton's own errors come with a list, those of Python with a text."""
    return list(cast("list[Any]", details)) if isinstance(details, list | tuple) else [details]


def _server_error(status: int, *, safe: bool) -> PlatformFault:
    reason = f"Tryton broke off ({status})"
    return Unavailable("erp", reason) if safe else UnknownOutcome("erp", reason)
