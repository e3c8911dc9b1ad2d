"""The parameters that many routes have: the place in a list, and ids in paths and filters."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from canonical.cases import CaseOrder, CasesOf
from canonical.events import TYPE
from canonical.ids import KEY
from canonical.webhooks import EVENT_NAME
from policies.catalogue.model import INSTANCE, LEGAL_ENTITY
from policies.problems import INVALID, FieldError, ProblemError

CANONICAL = r"[a-z]{3}_[0-9a-f]{32}"
Cursor = Annotated[
    str | None, QueryParameter(pattern=r"^[0-9]{1,18}\Z", description="`next_cursor` of the page before")
]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items a page has at the most")]
OfCustomer = Annotated[
    str | None, QueryParameter(pattern=rf"^{CANONICAL}\Z", description="Only those of this customer")
]
OfInvoice = Annotated[
    str | None, QueryParameter(name="invoice_id", pattern=KEY, description="Only those of this invoice of billing")
]
OfContract = Annotated[
    str | None,
    QueryParameter(name="contract_id", pattern=rf"^{CANONICAL}\Z", description="Only those of this contract"),
]
OfProduct = Annotated[
    str | None, QueryParameter(name="sku", pattern=KEY, description="Only those that have this product")
]
OfSeller = Annotated[
    str | None,
    QueryParameter(
        name="legal_entity",
        pattern=rf"^{LEGAL_ENTITY}\Z",
        description="Only those of this selling company",
    ),
]
OfCurrency = Annotated[
    str | None,
    QueryParameter(name="currency", pattern=r"^[A-Z]{3}\Z", description="Only those in this currency (ISO 4217)"),
]
SearchedFor = Annotated[
    str,
    QueryParameter(
        name="q",
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*\Z",
        description="A name, a number, or an id of any system",
    ),
]
"""Without control characters: PostgreSQL takes no NUL in a text."""
CanonicalId = Annotated[str, PathParameter(pattern=rf"^{CANONICAL}\Z", description="A canonical id")]
ForeignKey = Annotated[
    str,
    PathParameter(pattern=KEY, description="A platform's own id, or one of ours"),
]
"""Bounded and free of anything that could leave its place in a platform's path or query."""
LegalEntityCode = Annotated[
    str, QueryParameter(pattern=rf"^{LEGAL_ENTITY}\Z", description="The code of a selling company")
]
OfLegalEntity = Annotated[
    str,
    QueryParameter(
        pattern=rf"^({LEGAL_ENTITY})?\Z", description="The selling company; needed where several instances serve"
    ),
]
Instance = Annotated[
    str | None,
    QueryParameter(
        pattern=rf"^{INSTANCE}\Z",
        description="Which of several instances of the platform, by its name in the catalogue",
    ),
]
AssignedTo = Annotated[
    CasesOf | None,
    QueryParameter(name="assigned_to", description="Only those that the caller has taken, or that nobody has"),
]
CasesInOrder = Annotated[
    CaseOrder,
    QueryParameter(
        name="order", description="The newest first, what is due first, or the largest amount of each currency first"
    ),
]
EventNumber = Annotated[str, PathParameter(pattern=r"^[1-9][0-9]{0,17}\Z", description="The number of an event")]
EventType = Annotated[
    str | None, QueryParameter(name="type", pattern=rf"^{TYPE.pattern}\Z", description="Only events of this type")
]
PartnerEventType = Annotated[
    str | None, QueryParameter(name="type", pattern=EVENT_NAME, description="Only events of this type")
]
EventSubject = Annotated[
    str | None, QueryParameter(pattern=KEY, description="Only events about this record, by the id in them")
]
Moment = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z",
        description="A moment in UTC, such as 2026-11-01T12:00:05Z",
    ),
]
Day = Annotated[
    str | None,
    QueryParameter(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", description="A day, such as 2026-11-01"),
]
ChangedFrom = Annotated[
    str | None,
    QueryParameter(
        name="from",
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z",
        description="Only those that were changed last on this day (UTC) or later",
    ),
]
ChangedTo = Annotated[
    str | None,
    QueryParameter(
        name="to",
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z",
        description="Only those that were changed last on this day (UTC) or earlier",
    ),
]
CurrencyCode = Annotated[str, QueryParameter(pattern=r"^[A-Z]{3}\Z", description="An ISO 4217 code")]


def moment(name: str, text: str | None) -> datetime | None:
    """Return the moment in the parameter `name` (UTC), None where it is not there. Raises `ProblemError` (422) for one
    that is in no calendar."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise ProblemError(INVALID, "There is no such moment.", (FieldError(f"$.{name}", str(error)),)) from error


def day(name: str, text: str | None) -> date | None:
    """Return the day in the parameter `name`, None where it is not there. Raises `ProblemError` (422) for one that is
    in no calendar."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ProblemError(INVALID, "There is no such day.", (FieldError(f"$.{name}", str(error)),)) from error


@cache
def sent_names(handler: HTTPRouteHandler) -> dict[str, str]:
    """Return the query parameters of a route: the name under which each is sent, by its name in the code."""
    parameters = handler.parsed_fn_signature.parameters.items()
    return {
        name: each.kwarg_definition.name or name
        for name, each in parameters
        if isinstance(each.kwarg_definition, QueryParameter)
    }


def refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    """Refuse a query with parameters that its contract lacks: 422, with each and those there are. So is one with a
    parameter twice that has one value: of two readers one would take the first, and the other the last."""
    known = sent_names(request.route_handler).values()
    if unknown := sorted(set(request.query_params) - set(known)):
        there_are = f"there are {', '.join(sorted(known))}" if known else "there are none"
        errors = tuple(FieldError(f"$.{each}", f"unknown parameter; {there_are}") for each in unknown)
        raise ProblemError(INVALID, "The query has parameters that the contract does not know.", errors)
    single = set(known) - _lists(request.route_handler)
    if repeated := sorted(each for each in single if len(request.query_params.getall(each, [])) > 1):
        errors = tuple(FieldError(f"$.{each}", "it is there more than once") for each in repeated)
        raise ProblemError(INVALID, "The query has a parameter twice.", errors)


@cache
def _lists(handler: HTTPRouteHandler) -> frozenset[str]:
    """Return the query parameters of a route that may be there more than once, as they are sent."""
    parameters = handler.parsed_fn_signature.parameters
    return frozenset(
        sent
        for name, sent in sent_names(handler).items()
        if any(each.is_non_string_sequence for each in (parameters[name], *parameters[name].inner_types))
    )
