"""The ERP's governed routes."""

from __future__ import annotations

from litestar import Router, get, put
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from canonical.billing import Invoice, Payment, Posting
from canonical.parties import Credit, Customer, LegalEntity
from policies.bodies import names_the_same
from system_apis.erp.port import Erp


@get("/legal-entities/{code:str}", operation_id="get_legal_entity", summary="Read a selling company and its tax rates")
async def get_legal_entity(state: State, code: FromPath[str]) -> LegalEntity:
    erp: Erp = state.erp
    return await erp.legal_entity(code)


@get("/products", operation_id="list_known_products", summary="Say which of the SKUs given can be posted")
async def list_known_products(state: State, sku: FromQuery[list[str]]) -> list[str]:
    erp: Erp = state.erp
    return await erp.known_products(sku)


@get("/customers/{customer_id:str}/credit", operation_id="get_credit", summary="Read a customer's credit")
async def get_credit(
    state: State, customer_id: FromPath[str], legal_entity: FromQuery[str], currency: FromQuery[str]
) -> Credit:
    erp: Erp = state.erp
    return await erp.credit(customer_id, legal_entity, currency)


@put("/customers/{customer_id:str}", operation_id="put_erp_customer", summary="Create or update a customer")
async def put_erp_customer(state: State, customer_id: FromPath[str], data: JSONBody[Customer]) -> dict[str, str]:
    names_the_same(customer_id, data.id)
    erp: Erp = state.erp
    return {"erp": await erp.put_customer(data)}


@put("/invoices/{invoice_id:str}", operation_id="put_erp_invoice", summary="Post an invoice exactly once")
async def put_erp_invoice(state: State, invoice_id: FromPath[str], data: JSONBody[Invoice]) -> Posting:
    names_the_same(invoice_id, data.id)
    erp: Erp = state.erp
    return await erp.put_invoice(data)


@get("/invoices/{invoice_id:str}", operation_id="get_posting", summary="Read what is booked for an invoice")
async def get_posting(state: State, invoice_id: FromPath[str], legal_entity: FromQuery[str]) -> Posting:
    erp: Erp = state.erp
    return await erp.posting(invoice_id, legal_entity)


@put("/payments/{payment_id:str}", operation_id="put_erp_payment", summary="Book a payment exactly once")
async def put_erp_payment(
    state: State, payment_id: FromPath[str], legal_entity: FromQuery[str], data: JSONBody[Payment]
) -> Posting:
    names_the_same(payment_id, data.id)
    erp: Erp = state.erp
    return await erp.put_payment(data, legal_entity)


router = Router(
    "/erp/v1",
    route_handlers=[
        get_legal_entity,
        list_known_products,
        get_credit,
        put_erp_customer,
        put_erp_invoice,
        get_posting,
        put_erp_payment,
    ],
    tags=["erp"],
)
