"""The page Find, and the pages of customers, contracts, orders and invoices: where each stands and what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Annotated

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from canonical.amendments import ContractTimeline
from canonical.cases import Case
from canonical.ids import KEY
from canonical.lineage import Lineage, LineageEntry, LineageRecord
from canonical.orders import CustomerOverview, Order, PostingStatus
from canonical.overview import Found
from experience_apis.console.channel import Trouble, path_to
from experience_apis.console.pages import View
from experience_apis.console.standing import StateSteps, standing
from policies.contract.operation import operation

Query = Annotated[str, QueryParameter(name="q", max_length=100, description="A name, a number or an id")]
Record = Annotated[str, PathParameter(pattern=KEY, description="An id of ours, or of a platform")]
NOTABLE = timedelta(minutes=1)
"""How long between two entries of a timeline is said."""
CASES = 12
"""Cases of a record that are read."""


class Happening(msgspec.Struct, frozen=True):
    """An entry of the timeline, and how long it came after the one before it; None where that is under a minute."""

    entry: LineageEntry
    after: timedelta | None


@operation("console_find", "GET", "/find", summary="Find a record")
async def find_page(view: NamedDependency[View], wanted: Query = "") -> Response[str]:
    """Show what has a name, a number or an id, in whatever system."""
    words = wanted.strip()
    found = await view.channel.get("/overview/v1/search", Found, q=words) if words else None
    trouble = found if isinstance(found, Trouble) else None
    hits = found.hits if isinstance(found, Found) else ()
    more = isinstance(found, Found) and found.more
    return view.page("find", query=words, hits=hits, more=more, trouble=trouble)


@operation("console_record", "GET", "/records/{record:str}", summary="Show a record and all that happened to it")
async def record_page(view: NamedDependency[View], record: Record) -> Response[str]:
    """Show a customer, contract, order, invoice or payment, by an id of ours or of a platform."""
    lineage = await view.channel.get(path_to("overview", "v1", "lineage", record), Lineage)
    if isinstance(lineage, Trouble):
        return view.page("trouble", status=lineage.status, trouble=lineage)
    subject = _subject(record, lineage.records)
    order_ids = [each.id for each in lineage.records if each.kind == "order"]
    contract_ids = [each.id for each in lineage.records if each.kind == "contract"]
    customer_ids = [each.id for each in lineage.records if each.kind == "customer"]
    order, contract, customer, cases = await asyncio.gather(
        _order(view, order_ids[:1]),
        _contract(view, contract_ids[:1]),
        _customer(view, customer_ids[:1]),
        _cases(view, [each.id for each in lineage.records if each.kind == "case" and each.state == "open"]),
    )
    return view.page(
        "record",
        subject=subject,
        lineage=lineage,
        order=order,
        standing=_standing(subject, order, contract),
        posting=_posting(subject, customer),
        happenings=happenings(lineage.entries),
        contract=contract,
        customer=customer,
        cases=cases,
        is_trouble=is_trouble,
    )


def is_trouble(answer: object) -> bool:
    """Return whether an answer is missing."""
    return isinstance(answer, Trouble)


def _subject(record: str, records: Sequence[LineageRecord]) -> LineageRecord:
    """Return the record that was asked for, by its own id or by one that a platform has for it."""
    named = [each for each in records if each.id == record]
    called = [each for each in records if record in each.references.values()]
    return (named or called or list(records))[0]


async def _order(view: View, ids: Sequence[str]) -> Order | Trouble | None:
    return await view.channel.get(path_to("sales", "v1", "orders", ids[0]), Order) if ids else None


async def _contract(view: View, ids: Sequence[str]) -> ContractTimeline | Trouble | None:
    return await view.channel.get(path_to("sales", "v1", "contracts", ids[0]), ContractTimeline) if ids else None


async def _customer(view: View, ids: Sequence[str]) -> CustomerOverview | Trouble | None:
    if not ids or not view.may("support_get_customer"):
        return None
    return await view.channel.get(path_to("support", "v1", "customers", ids[0]), CustomerOverview)


async def _cases(view: View, ids: Sequence[str]) -> list[Case]:
    asked = (view.channel.get(path_to("support", "v1", "cases", each), Case) for each in ids[:CASES])
    return [each for each in await asyncio.gather(*asked) if isinstance(each, Case)]


def _standing(subject: LineageRecord, order: object, contract: object) -> StateSteps | None:
    """Return where a record stands, by what its own channel says of it where that has answered."""
    if subject.kind == "order" and isinstance(order, Order):
        return standing("order", order.state, [each.state for each in order.history])
    if subject.kind == "contract" and isinstance(contract, ContractTimeline) and contract.present:
        return standing("contract", contract.present.state)
    return standing(subject.kind, subject.state)


def _posting(subject: LineageRecord, customer: object) -> PostingStatus | None:
    """Return the posting that a page is about, among the newest of its customer."""
    postings = customer.postings if isinstance(customer, CustomerOverview) else ()
    return next((each for each in postings if (each.entry, each.id) == (subject.kind, subject.id)), None)


def happenings(entries: Sequence[LineageEntry]) -> list[Happening]:
    """Return the timeline, the newest first."""
    spans = [later.at - earlier.at for earlier, later in pairwise(entries)]
    after = [None, *(each if each >= NOTABLE else None for each in spans)]
    return [Happening(entry, span) for entry, span in zip(entries, after, strict=False)][::-1]
