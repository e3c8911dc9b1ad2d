"""Provisioning's governed routes."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, delete, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from canonical.deals import ProvisioningRequest
from policies import correlation
from policies.bodies import names_the_same
from system_apis.intake import Intake
from system_apis.provisioning.port import Provisioning


@put("/orders/{order_id:str}", operation_id="put_provisioning", summary="Ask for the delivery of an order's lines")
async def put_provisioning(
    state: State, order_id: FromPath[str], data: JSONBody[ProvisioningRequest]
) -> ProvisioningRequest:
    names_the_same(order_id, data.order_id)
    provisioning: Provisioning = state.provisioning
    await provisioning.put(data, correlation.current())
    return data


@delete(
    "/orders/{order_id:str}",
    operation_id="delete_provisioning",
    summary="Take back what was delivered",
    status_code=200,
)
async def delete_provisioning(state: State, order_id: FromPath[str]) -> dict[str, bool]:
    provisioning: Provisioning = state.provisioning
    await provisioning.remove(order_id)
    return {"removed": True}


@post(
    "/webhooks", operation_id="receive_provisioning_webhook", summary="Receive the target's call-back", status_code=200
)
async def receive_provisioning_webhook(state: State, request: Request[Any, Any, Any]) -> dict[str, bool]:
    provisioning: Provisioning = state.provisioning
    event = provisioning.reported(request.headers, await request.body())
    intake: Intake = state.intake
    await intake.offer(event, "")
    return {"taken": True}


router = Router(
    "/provisioning/v1",
    route_handlers=[put_provisioning, delete_provisioning, receive_provisioning_webhook],
    tags=["provisioning"],
)
