"""The CRM's governed routes."""

from __future__ import annotations

from litestar import Router, get, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from canonical.deals import Deal, DealStatus
from policies import correlation
from system_apis.crm.port import Crm


@get("/deals/{deal_id:str}", operation_id="get_deal", summary="Read a closed deal with all that decides about it")
async def get_deal(state: State, deal_id: FromPath[str]) -> Deal:
    crm: Crm = state.crm
    return await crm.deal(deal_id)


@put("/deals/{deal_id:str}/status", operation_id="put_deal_status", summary="Show an order's state on its deal")
async def put_deal_status(state: State, deal_id: FromPath[str], data: JSONBody[DealStatus]) -> DealStatus:
    crm: Crm = state.crm
    await crm.put_status(deal_id, data, correlation.current())
    return data


router = Router("/crm/v1", route_handlers=[get_deal, put_deal_status], tags=["crm"])
