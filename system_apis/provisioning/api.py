"""Provisioning's governed routes."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router
from litestar.di import NamedDependency
from litestar.params import JSONBody

from canonical.deals import Holder, OrderReference, ProvisioningRequest, Suspension
from canonical.events import WebhookReceipt
from policies.context import correlation
from policies.contract.bodies import names_the_same
from policies.contract.operation import operation
from policies.contract.parameters import ForeignKey, Instance, OfLegalEntity
from policies.outbound.residency import record_of
from policies.problems import WRITES
from system_apis.connector import Instances
from system_apis.intake import Intake
from system_apis.provisioning.port import Provisioning


@operation(
    "put_provisioning",
    "PUT",
    "/orders/{order_id:str}",
    summary="Ask for the delivery of an order's lines",
    problems=WRITES,
)
async def put_provisioning(
    targets: NamedDependency[Instances[Provisioning]], order_id: ForeignKey, data: JSONBody[ProvisioningRequest]
) -> ProvisioningRequest:
    """Orders the lines at the target. The same attempt again changes nothing; a higher attempt is a new try."""
    names_the_same(order_id, data.order_id)
    with record_of(data.legal_entity):
        await targets.serving(data.legal_entity).put(data, correlation.current())
    return data


@operation("delete_provisioning", "DELETE", "/orders/{order_id:str}", summary="Take back what was delivered")
async def delete_provisioning(
    targets: NamedDependency[Instances[Provisioning]], order_id: ForeignKey, legal_entity: OfLegalEntity = ""
) -> OrderReference:
    """Take back all that was delivered for an order. What is not there any more is no error."""
    await targets.serving(legal_entity).remove(order_id)
    return OrderReference(order_id)


@operation(
    "put_suspension",
    "PUT",
    "/orders/{order_id:str}/suspension",
    summary="Suspend the service of an order, or take it up again",
    problems=WRITES,
)
async def put_suspension(
    targets: NamedDependency[Instances[Provisioning]], order_id: ForeignKey, data: JSONBody[Suspension]
) -> Suspension:
    """Say whether the service of an order is suspended. What was delivered stays. The same again changes nothing."""
    names_the_same(order_id, data.order_id)
    with record_of(data.legal_entity):
        await targets.serving(data.legal_entity).suspend(data, correlation.current())
    return data


@operation(
    "put_holder",
    "PUT",
    "/orders/{order_id:str}/holder",
    summary="Say who has what was delivered for an order",
    problems=WRITES,
)
async def put_holder(
    targets: NamedDependency[Instances[Provisioning]], order_id: ForeignKey, data: JSONBody[Holder]
) -> Holder:
    """Say which customer has what was delivered, since its contract went to another. Nothing is delivered for that, and
    nothing is taken back. The same again changes nothing."""
    names_the_same(order_id, data.order_id)
    with record_of(data.legal_entity):
        await targets.serving(data.legal_entity).hand_over(data, correlation.current())
    return data


@operation("receive_provisioning_webhook", "POST", "/webhooks", summary="Receive the target's call-back", status=200)
async def receive_provisioning_webhook(
    targets: NamedDependency[Instances[Provisioning]],
    intake: NamedDependency[Intake],
    request: Request[Any, Any, Any],
    instance: Instance = None,
) -> WebhookReceipt:
    """Take the target's signed report on one line."""
    event = targets.named(instance).reported(request.headers, await request.body())
    await intake.offer(event, "")
    return WebhookReceipt(taken=True)


router = Router(
    "/provisioning/v1",
    route_handlers=[put_provisioning, delete_provisioning, put_suspension, put_holder, receive_provisioning_webhook],
    tags=["provisioning"],
)
