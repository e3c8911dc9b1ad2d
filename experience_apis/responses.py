"""What a route answers, for its contract, where the handler itself passes bytes on or shapes them."""

from __future__ import annotations

from typing import Any

from litestar.openapi.datastructures import ResponseSpec


def answers(kind: Any, status: int = 200) -> dict[int, ResponseSpec]:
    """The `responses` of a route that answers `kind`. Examples are those of the contracts, not made-up ones."""
    return {status: ResponseSpec(kind, generate_examples=False)}
