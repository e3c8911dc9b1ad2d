"""Lists in pages with their filters, and search (API reference: Pagination, Search)."""

from __future__ import annotations

import re

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, listing

SEARCH = re.compile(r"metadata\['([^']+)'\]:\s*'([^']*)'")
FILTERS = "customer status active product subscription invoice type lookup_keys price schedule"
PAGING = {"limit", "starting_after", "ending_before", "expand", "created", "query", "page"}


class Lists:
    """Answer lists and searches over the objects of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def page(self, kind: str, url: str, params: Params) -> Object:
        """Return a page of objects, newest first as Stripe lists them (API reference: Pagination)."""
        for key in params:
            if key not in PAGING and key not in FILTERS.split():
                raise invalid(f"Received unknown parameter: {key}", key, "parameter_unknown")
        found = [each for each in self.account.all(kind) if _matches(each, params)]
        found.reverse()
        keys = [each["id"] for each in found]
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise invalid("Limit must be between 1 and 100.", "limit", "parameter_invalid_integer")
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
        """Return what a clause on metadata finds (API reference: Search)."""
        clause = SEARCH.fullmatch(params.get("query", "").strip())
        if clause is None:
            raise invalid("We were unable to parse your search query.", "query", "parameter_invalid_string")
        found = [each for each in self.account.all(kind) if each["metadata"].get(clause[1]) == clause[2]]
        return {
            "object": "search_result",
            "data": found,
            "has_more": False,
            "next_page": None,
            "url": f"/v1/{kind}s/search",
        }


def _matches(thing: Object, params: Params) -> bool:
    for key in FILTERS.split():
        if key not in params:
            continue
        wanted = params[key]
        if key == "lookup_keys":
            if thing["lookup_key"] not in wanted:
                return False
        elif key == "active":
            if thing["active"] != forms.flag(wanted):
                return False
        elif key == "status" and wanted == "all":
            continue
        elif thing.get(key) != wanted:
            return False
    return not (thing["object"] == "subscription" and "status" not in params and thing["status"] == "canceled")
