"""Draws the tables of states into the documentation, between markers that name them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from canonical.states import (
    AMENDMENT_TRANSITIONS,
    CATALOGUE_SYNC_TRANSITIONS,
    CONTRACT_TRANSITIONS,
    CORRECTION_TRANSITIONS,
    CUSTOMER_MERGE_TRANSITIONS,
    DELIVERY_TRANSITIONS,
    DISPUTE_TRANSITIONS,
    DRIFT_TRANSITIONS,
    DUNNING_TRANSITIONS,
    MASS_CHANGE_TRANSITIONS,
    ORDER_TRANSITIONS,
    RENEWAL_TRANSITIONS,
    USAGE_CORRECTION_TRANSITIONS,
    USAGE_PERIOD_TRANSITIONS,
    WEBHOOK_TRANSITIONS,
    mermaid,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
GUIDES = {DOCUMENT.parent / "guides" / "merged-accounts.md": ("a merge of customers",)}
"""Other documents that have some of the diagrams, and which."""
DIAGRAMS = {
    "an order": mermaid(ORDER_TRANSITIONS),
    "a contract": mermaid(CONTRACT_TRANSITIONS),
    "an amendment": mermaid(AMENDMENT_TRANSITIONS),
    "a renewal": mermaid(RENEWAL_TRANSITIONS),
    "a dunning": mermaid(DUNNING_TRANSITIONS),
    "a mass change": mermaid(MASS_CHANGE_TRANSITIONS),
    "a catalogue sync": mermaid(CATALOGUE_SYNC_TRANSITIONS),
    "a drift": mermaid(DRIFT_TRANSITIONS),
    "a correction": mermaid(CORRECTION_TRANSITIONS),
    "a merge of customers": mermaid(CUSTOMER_MERGE_TRANSITIONS),
    "a webhook": mermaid(WEBHOOK_TRANSITIONS),
    "a delivery to a webhook": mermaid(DELIVERY_TRANSITIONS),
    "a period of usage": mermaid(USAGE_PERIOD_TRANSITIONS),
    "a usage correction": mermaid(USAGE_CORRECTION_TRANSITIONS),
    "a dispute": mermaid(DISPUTE_TRANSITIONS),
}


def drawn(text: str, names: Iterable[str] = tuple(DIAGRAMS)) -> str:
    """Return a document with some diagrams, all if not said, each as its table is now. Raises `ValueError` when one has
    no place in it."""
    for name, diagram in ((each, DIAGRAMS[each]) for each in names):
        begin, end = f"<!-- states of {name}, written by `make openapi` -->", f"<!-- end of the states of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the document has no place for the states of {name}: write {begin} and {end}")
        text = f"{before}{begin}\n```mermaid\n{diagram}\n```\n{end}{after}"
    return text


def draw(path: Path = DOCUMENT) -> Path:
    """Write the diagrams into a document. Return its path. Raises as `drawn` does."""
    path.write_text(drawn(path.read_text(), GUIDES.get(path, DIAGRAMS)))
    return path


def stale(path: Path = DOCUMENT) -> list[str]:
    """Say whether the diagrams of a document are not those of the tables; nothing when they are."""
    text = path.read_text()
    return (
        []
        if drawn(text, GUIDES.get(path, DIAGRAMS)) == text
        else [f"{path.name}: the tables of states say something else; run `make openapi`"]
    )
