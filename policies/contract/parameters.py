"""The parameters that many routes have: the place in a list, and ids in paths and filters."""

from __future__ import annotations

from typing import Annotated

from litestar.params import PathParameter, QueryParameter

from canonical.ids import KEY
from policies.catalogue.model import INSTANCE

CANONICAL = r"[a-z]{3}_[0-9a-f]{32}"
Cursor = Annotated[str | None, QueryParameter(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items a page has at the most")]
OfCustomer = Annotated[str | None, QueryParameter(pattern=rf"^{CANONICAL}$", description="Only those of this customer")]
CanonicalId = Annotated[str, PathParameter(pattern=rf"^{CANONICAL}$", description="A canonical id")]
ForeignKey = Annotated[
    str,
    PathParameter(pattern=KEY, description="A platform's own id, or one of ours"),
]
"""Bounded and free of anything that could leave its place in a platform's path or query."""
LegalEntityCode = Annotated[
    str, QueryParameter(pattern=r"^[A-Za-z0-9]{1,20}$", description="The code of a selling company")
]
OfLegalEntity = Annotated[
    str,
    QueryParameter(
        pattern=r"^[A-Za-z0-9]{0,20}$", description="The selling company; needed where several instances serve"
    ),
]
Instance = Annotated[
    str | None,
    QueryParameter(
        pattern=rf"^{INSTANCE}$",
        description="Which of several instances of the platform, by its name in the catalogue",
    ),
]
CurrencyCode = Annotated[str, QueryParameter(pattern=r"^[A-Z]{3}$", description="An ISO 4217 code")]
