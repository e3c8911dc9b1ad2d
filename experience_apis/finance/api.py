"""The finance channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from canonical.orders import Page, PostingState, PostingStatus
from experience_apis.lists import Cursor, Limit
from experience_apis.process import Process
from policies.authentication import Principal


@get("/postings", operation_id="finance_list_postings", summary="List where the posting of each invoice and payment stands", responses={200: ResponseSpec(Page[PostingStatus], generate_examples=False)})  # fmt: skip
async def list_postings(
    state: State, principal: NamedDependency[Principal], posting_state: Annotated[PostingState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None, limit: Limit = 25,
) -> Response[bytes]:  # fmt: skip
    process: Process = state.process
    return await process.get(principal, "postings", {"state": posting_state, "cursor": cursor, "limit": limit})


router = Router("/finance/v1", route_handlers=[list_postings], tags=["finance"])
