"""A catalogue sync: products and list prices from the CRM to the platforms that have copies, previewed before it is
carried out."""

from __future__ import annotations

from typing import Literal

import msgspec

from canonical.ids import Instant, Key
from canonical.states import CatalogueSyncState

CatalogueAction = Literal["create", "change", "replace", "retire", "refuse"]
"""`change` renames a product or puts it in use again, `replace` puts a new price in the place of one whose amount is
another, `retire` puts something out of use. Nothing is deleted."""
CatalogueItemState = Literal["planned", "done", "refused"]


class NewCatalogueSync(msgspec.Struct, frozen=True):
    """A sync to be previewed. The same `key` again is the same one."""

    key: Key
    crm: str | None = None
    """Which CRM's catalogue, by its name in our catalogue; null for the only one."""


class PreviewWanted(msgspec.Struct, frozen=True):
    """Which catalogue a channel wants to preview."""

    crm: str | None = None
    """Which CRM's, by its name in our catalogue; null for the only one."""


class CatalogueSync(msgspec.Struct, frozen=True):
    """A sync: how far it is, and how many items it has by action and by state."""

    id: str
    crm: str
    state: CatalogueSyncState
    requested_by: str
    requested_at: Instant
    updated_at: Instant
    correlation_id: str
    blocked_reason: str
    """What it waits for, or why it stopped; empty when it goes on."""
    products: int
    """How many products of the CRM were read."""
    actions: dict[str, int]
    """How many items there are for each action."""
    items: dict[str, int]
    """How many items there are in each state."""


class CatalogueItem(msgspec.Struct, frozen=True):
    """One thing that a sync does, or does not do and why."""

    platform: str
    """The platform, by its name in the catalogue; the CRM's for what cannot be read there."""
    sku: str
    currency: str
    """That of a price; empty for the product itself."""
    action: CatalogueAction
    state: CatalogueItemState
    before: str
    """What the platform has, in words; empty for nothing."""
    after: str
    """What it is to have, in words; empty for nothing in use."""
    reason: str
    """Why it is refused; empty when it is not."""
