"""The versions of Stripe's API, and how an older one shows an invoice (docs.stripe.com/api/versioning, Changelog)."""

from __future__ import annotations

from typing import Any, cast

from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object

CURRENT = "2026-10-28.endive"
NAMED = {
    "acacia": ("2024-09-30", "2024-10-28", "2024-11-20", "2024-12-18", "2025-01-27", "2025-02-24"),
    "basil": ("2025-03-31", "2025-04-30", "2025-05-28", "2025-06-30", "2025-07-30", "2025-08-27"),
    "clover": ("2025-09-30", "2025-10-29", "2025-11-17", "2025-12-15"),
}
UNNAMED = "2020-08-27 2022-08-01 2022-11-15 2023-08-16 2023-10-16 2024-04-10 2024-06-20"
KNOWN = {*UNNAMED.split(), CURRENT} | {f"{day}.{name}" for name, days in NAMED.items() for day in days}
"""The versions that are asked for here: the last unnamed ones, three releases, and the one that is current."""
PARENTS = "2025-03-31"
"""From when on an invoice has a `parent` (Changelog, basil: Adds new parent field to invoicing objects)."""

ANCHORS = "2026-09-30"
"""From when on a change of the billing cycle's anchor is an object (Changelog, endive: Unifies the billing cycle anchor
format across Subscriptions and Invoices)."""


def known(version: str) -> str:
    """Return the version. Raises `StripeError` for one that Stripe does not have."""
    if version not in KNOWN:
        raise invalid(f"Invalid Stripe API version: {version}", code="")
    return version


def asked(params: Params, version: str) -> Params:
    """Return the parameters of a request in this version as the current one has them."""
    anchor = params.get("billing_cycle_anchor")
    if version < ANCHORS and anchor in ("now", "unchanged"):
        return params | {"billing_cycle_anchor": {"type": anchor}}
    return params


def rendered(thing: Any, version: str) -> Any:
    """Return an answer as this version shows it."""
    if version >= PARENTS:
        return thing
    if isinstance(thing, list):
        return [rendered(each, version) for each in cast("list[Any]", thing)]
    if not isinstance(thing, dict):
        return thing
    members = cast("Object", thing)
    shown = {name: rendered(value, version) for name, value in members.items()}
    return _without_parent(shown) if members.get("object") == "invoice" else shown


def _without_parent(invoice: Object) -> Object:
    """Return an invoice as it was before: its subscription is its own member, and so is whether it is paid."""
    parent: Object = invoice.pop("parent") or {}
    details: Object = parent.get("subscription_details") or {}
    metadata = details.get("metadata")
    return invoice | {
        "subscription_details": {"metadata": metadata} if metadata is not None else None,
        "paid": invoice["status"] == "paid",
    }
