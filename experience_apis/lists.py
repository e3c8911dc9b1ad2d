"""The query parameters that every list has."""

from __future__ import annotations

from typing import Annotated

from litestar.params import PathParameter, QueryParameter

Cursor = Annotated[str | None, QueryParameter(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items a page has at the most")]
Key = Annotated[str, PathParameter(pattern=r"^[a-z]{3}_[0-9a-f]{32}$", description="A canonical id")]
