"""Billing's governed routes."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, get, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from canonical.billing import Contract, Invoice
from canonical.parties import Customer
from policies import correlation
from policies.bodies import names_the_same
from system_apis.billing.port import Billing
from system_apis.intake import Intake


@put("/customers/{customer_id:str}", operation_id="put_billing_customer", summary="Create or update a customer")
async def put_billing_customer(state: State, customer_id: FromPath[str], data: JSONBody[Customer]) -> dict[str, str]:
    names_the_same(customer_id, data.id)
    billing: Billing = state.billing
    return {"billing": await billing.put_customer(data)}


@put("/contracts/{contract_id:str}", operation_id="put_contract", summary="Create a contract that bills nothing yet")
async def put_contract(state: State, contract_id: FromPath[str], data: JSONBody[Contract]) -> Contract:
    names_the_same(contract_id, data.id)
    billing: Billing = state.billing
    return await billing.put_contract(data, correlation.current())


@post("/contracts/{contract_id:str}/start", operation_id="start_contract", summary="Begin the service and issue the first invoice", status_code=200)  # fmt: skip
async def start_contract(state: State, contract_id: FromPath[str], data: JSONBody[Contract]) -> Contract:
    names_the_same(contract_id, data.id)
    billing: Billing = state.billing
    return await billing.start(data)


@post("/contracts/{contract_id:str}/cancel", operation_id="cancel_contract", summary="Undo a contract", status_code=200)
async def cancel_contract(state: State, contract_id: FromPath[str], data: JSONBody[Contract]) -> Contract:
    names_the_same(contract_id, data.id)
    billing: Billing = state.billing
    await billing.cancel(data)
    return data


@get("/invoices/{invoice_id:str}", operation_id="get_invoice", summary="Read an invoice with its lines and payments")
async def get_invoice(state: State, invoice_id: FromPath[str]) -> Invoice:
    billing: Billing = state.billing
    return await billing.invoice(invoice_id)


@post("/webhooks", operation_id="receive_billing_webhook", summary="Receive the platform's webhook", status_code=200)
async def receive_billing_webhook(state: State, request: Request[Any, Any, Any]) -> dict[str, bool]:
    billing: Billing = state.billing
    reported = billing.reported(request.headers, await request.body())
    if reported is not None:
        intake: Intake = state.intake
        await intake.offer(reported.event, reported.correlation_id)
    return {"taken": reported is not None}


router = Router(
    "/billing/v1",
    route_handlers=[
        put_billing_customer,
        put_contract,
        start_contract,
        cancel_contract,
        get_invoice,
        receive_billing_webhook,
    ],
    tags=["billing"],
)
