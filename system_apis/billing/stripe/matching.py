"""How customers that are there already are found, and what they say of themselves.

A search knows customers by `name`, `email`, `phone`, `created` and `metadata`, and not by their tax numbers
(docs.stripe.com/search: Query fields for Customers). So one whose name and e-mail are both others is not found.
"""

from __future__ import annotations

from typing import Any

from canonical.parties import Customer, CustomerMatch, compact_number
from system_apis.billing.stripe import mapping

Row = dict[str, Any]
UNOWNED = 'metadata["tiergate_id"]:null'
"""The clause for customers without our id (docs.stripe.com/search: `null` is a field's absence)."""


def queries(customer: Customer) -> list[str]:
    """Return what to search for: two queries, since AND and OR do not go together in one."""
    mail = customer.contact.email if customer.contact else ""
    wanted = (("name", customer.name.strip()), ("email", mail.strip()))
    return [f"{field}:{_quoted(value)} AND {UNOWNED}" for field, value in wanted if value]


def match(row: Row, customer: Customer) -> CustomerMatch:
    """Return what a customer of Stripe says of itself; its tax numbers are those that were asked for with it."""
    numbers: list[str] = [each["value"] for each in row.get("tax_ids", {}).get("data", ())]
    same = compact_number(mapping.tax_number(customer))
    found = next((each for each in numbers if same and compact_number(each) == same), "")
    address: Row = row["address"] or {}
    return CustomerMatch(
        row["id"],
        row["name"] or "",
        email=row["email"] or "",
        city=address.get("city") or "",
        tax_number=found or next(iter(numbers), ""),
        same_tax_number=bool(found),
        customer_id=row["metadata"].get("tiergate_id", ""),
    )


def _quoted(text: str) -> str:
    """Return a value in quotes (docs.stripe.com/search: quotes within it have a backslash before them)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
