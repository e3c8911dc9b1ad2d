"""Lists in pages with their filters, and search (API reference: Pagination, Search)."""

from __future__ import annotations

from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any, cast

from sandbox.stripe import forms, search
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, listing

FILTERS = {
    "customer": "email test_clock",
    "test_helpers.test_clock": "",
    "product": "active ids type url",
    "price": "active currency lookup_keys product type",
    "tax_rate": "active inclusive",
    "subscription": "customer price status collection_method test_clock",
    "subscription_schedule": "customer",
    "invoice": "customer status subscription collection_method due_date",
    "invoiceitem": "customer invoice pending",
    "coupon": "",
    "customer_balance_transaction": "customer invoice",
    "invoice_payment": "invoice payment status",
    "payment_intent": "customer",
    "charge": "customer payment_intent",
    "credit_note": "customer invoice",
    "dispute": "charge payment_intent",
    "billing.meter": "status",
    "refund": "charge payment_intent",
    "balance_transaction": "currency payout source type",
    "event": "type types",
    "payment_method": "customer type",
    "webhook_endpoint": "",
    "tax_id": "customer",
    "tax.registration": "status",
}
"""What the list of each kind is filtered by, besides `created` (API reference: the list of each object)."""
NO_CREATED = (
    *(
        "billing.meter",
        "invoice_payment",
        "payment_method",
        "tax_id",
        "tax.registration",
        "test_helpers.test_clock",
        "webhook_endpoint",
    ),
)
APART = ("customer", "subscription")
"""Kinds whose lists leave out what has a test clock, unless that or the customer is asked for (API reference: List
customers, List subscriptions, `test_clock`)."""
MOST_TYPES = 20
"""Types that events may be asked for at once (API reference: List all events, `types`)."""
INSIDE = 10
"""How many items a list has that is inside a record (API reference: Pagination, `limit`)."""
BOUNDS: dict[str, Callable[[int, int], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
SEARCHING = {"query", "limit", "page", "expand"}
PAGING = {"limit", "starting_after", "ending_before", "expand"}


class Lists:
    """Answer lists and searches over the objects of one account."""

    def __init__(self, account: Account, search_lag: int) -> None:
        self.account = account
        self.search_lag = search_lag

    def page(self, kind: str, url: str, params: Params) -> Object:
        """Return a page of objects, newest first as Stripe lists them (API reference: Pagination)."""
        filters = {*FILTERS[kind].split(), *(() if kind in NO_CREATED else ("created",))}
        for key in params:
            if key not in PAGING and key not in filters:
                raise invalid(f"Received unknown parameter: {key}", key, "parameter_unknown")
        if len(params.get("types", ())) > MOST_TYPES:
            raise invalid(f"You may only specify up to {MOST_TYPES} types.", "types")
        found = [each for each in self.account.all(kind) if _matches(each, params)]
        found.reverse()
        return self.cut(kind, url, found, params)

    def cut(self, kind: str, url: str, found: list[Object], params: Params) -> Object:
        """Return the page of a list that is asked for."""
        keys = [each["id"] for each in found]
        limit = _limit(params)
        start, end = 0, len(found)
        if after := params.get("starting_after"):
            if after not in keys:
                raise missing(kind, after, "starting_after")
            start = keys.index(after) + 1
        elif before := params.get("ending_before"):
            if before not in keys:
                raise missing(kind, before, "ending_before")
            end = keys.index(before)
            start = max(0, end - limit)
            return listing(url, found[start:end], more=start > 0)
        return listing(url, found[start : start + limit], more=start + limit < end)

    def search(self, kind: str, params: Params) -> Object:
        """Return a page of what a query finds, once an object has been there for a while, newest first.

        (API reference: Search: do not use it in read-after-write flows.)
        """
        for key in params:
            if key not in SEARCHING:
                raise invalid(f"Received unknown parameter: {key}", key, "parameter_unknown")
        clauses, all_of_them = search.parse(params.get("query", ""))
        hold = all if all_of_them else any
        until = self.account.clock.seconds() - self.search_lag
        found = [
            each
            for each in self.account.all(kind)
            if each["created"] <= until and hold(clause.holds(each) for clause in clauses)
        ]
        found.reverse()
        limit, page = _limit(params), params.get("page", "0")
        if not page.isdecimal():
            raise invalid("Invalid page.", "page", "parameter_invalid_string")
        start = int(page)
        more = start + limit < len(found)
        return {
            "object": "search_result",
            "data": found[start : start + limit],
            "has_more": more,
            "next_page": str(start + limit) if more else None,
            "url": f"/v1/{kind}s/search",
        }


def shortened(value: Any, *, inside: bool = False) -> Any:
    """Return an answer of which each list inside a record has its first items alone."""
    if isinstance(value, list):
        return [shortened(each, inside=True) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("Object", value)
    if inside and members.get("object") == "list" and len(members["data"]) > INSIDE:
        members = members | {"data": members["data"][:INSIDE], "has_more": True}
    return {name: shortened(each, inside=True) for name, each in members.items()}


def _limit(params: Params) -> int:
    limit = int(params.get("limit", 10))
    if not 1 <= limit <= 100:
        raise invalid("Limit must be between 1 and 100.", "limit", "parameter_invalid_integer")
    return limit


def _matches(thing: Object, params: Params) -> bool:
    if thing["object"] == "subscription" and "status" not in params and thing["status"] == "canceled":
        return False
    if thing["object"] in APART and not {"test_clock", "customer"} & params.keys() and thing["test_clock"]:
        return False
    return all(_fits(thing, name, wanted) for name, wanted in params.items() if name not in PAGING)


def _fits(thing: Object, name: str, wanted: Any) -> bool:
    match name, wanted:
        case (("created" | "due_date"), dict()):
            bounds = cast("dict[str, str]", wanted)
            if not bounds.keys() <= BOUNDS.keys():
                raise invalid(f"Received unknown parameter: {name}[{next(iter(bounds))}]", name, "parameter_unknown")
            return all(BOUNDS[bound](int(thing[name] or 0), int(value)) for bound, value in bounds.items())
        case (("created" | "due_date"), _):
            return thing[name] == int(wanted)
        case "lookup_keys", _:
            return thing["lookup_key"] in wanted
        case "types", _:
            return thing["type"] in wanted
        case "ids", _:
            return thing["id"] in wanted
        case (("active" | "inclusive"), _):
            return thing[name] == forms.flag(wanted)
        case "price", _:
            return wanted in [each["price"]["id"] for each in thing["items"]["data"]]
        case "pending", _:
            return (thing["invoice"] is None) == forms.flag(wanted)
        case "payment", dict():
            asked = cast("dict[str, str]", wanted)
            return all(thing["payment"].get(key) == value for key, value in asked.items())
        case "status", "all":
            return True
        case _:
            return thing.get(name) == wanted
