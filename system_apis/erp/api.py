"""The ERP's governed routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar import Router
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.billing import ClosedPeriod, Invoice, InvoiceBatch, Payment, Posting, PostingResults, result_of
from canonical.credits import CreditNote, PaymentReversal
from canonical.disputes import DisputeFee
from canonical.ids import KEY
from canonical.parties import Credit, Customer, CustomerCopy, CustomerMatches, KnownProducts, LegalEntity, PlatformId
from canonical.products import CatalogueProduct, ProductBatch, ProductMatches
from policies.audit.writes import note_item
from policies.contract.bodies import names_the_same
from policies.contract.operation import operation
from policies.contract.parameters import CurrencyCode, ForeignKey, Instance, LegalEntityCode, OfLegalEntity
from policies.outbound.residency import record_of
from policies.problems import INVALID, WRITES, FieldError, ProblemError
from system_apis.connector import Instances
from system_apis.erp.port import Erp, put_invoice

STATUS = {"posted": HTTPStatus.OK, "waiting": HTTPStatus.CONFLICT, "rejected": HTTPStatus.UNPROCESSABLE_ENTITY}
"""What an invoice of a batch would have been answered alone."""
WhenClosed = Annotated[
    ClosedPeriod, QueryParameter(description="What becomes of it when the period of its day is closed")
]
Skus = Annotated[
    list[str], QueryParameter(min_items=1, max_items=200, description="The SKUs in question, one or more times")
]
Also = Annotated[
    list[Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]] | None,
    QueryParameter(max_items=50, description="ISO 4217 codes of further currencies whose rates are wanted"),
]
RecordId = Annotated[
    str, QueryParameter(pattern=KEY, description="The ERP's id of the record that is to become the customer")
]


@operation("get_legal_entity", "GET", "/legal-entities/{code:str}", summary="Read a selling company and its tax rates")
async def get_legal_entity(erps: NamedDependency[Instances[Erp]], code: ForeignKey) -> LegalEntity:
    """Return the company that sells, with the tax rates that it is registered for."""
    return await erps.serving(code).legal_entity(code)


@operation("list_known_products", "GET", "/products", summary="Say which of the SKUs given can be posted")
async def list_known_products(
    erps: NamedDependency[Instances[Erp]], sku: Skus, legal_entity: OfLegalEntity = ""
) -> KnownProducts:
    """Asked before a deal is accepted, so that no invoice fails on a product that the ERP does not know."""
    return KnownProducts.of(await erps.serving(legal_entity).known_products(sku))


@operation(
    "match_erp_products",
    "POST",
    "/products/matches",
    summary="Say what the ERP has of products, and would not take",
    status=200,
    problems=WRITES,
)
async def match_erp_products(
    erps: NamedDependency[Instances[Erp]], data: JSONBody[ProductBatch], instance: Instance = None
) -> ProductMatches:
    """Look products up before they are written, and write nothing."""
    return ProductMatches(await erps.named(instance).match_products(data.items))


@operation(
    "put_erp_product", "PUT", "/products/{product:str}", summary="Create, rename or retire a product", problems=WRITES
)
async def put_erp_product(
    erps: NamedDependency[Instances[Erp]],
    product: ForeignKey,
    data: JSONBody[CatalogueProduct],
    instance: Instance = None,
) -> CatalogueProduct:
    """Find the product by its SKU before it creates one. One that is sold no more is put out of use, and not
    deleted."""
    names_the_same(product, data.sku, "sku")
    return await erps.named(instance).put_product(data)


@operation("get_credit", "GET", "/customers/{customer_id:str}/credit", summary="Read a customer's credit")
async def get_credit(
    erps: NamedDependency[Instances[Erp]],
    customer_id: ForeignKey,
    legal_entity: LegalEntityCode,
    currency: CurrencyCode,
    also: Also = None,
    record: RecordId = "",
) -> Credit:
    """Return what the customer owes the legal entity, and may owe at the most, in the currency of its books."""
    return await erps.serving(legal_entity).credit(customer_id, legal_entity, [currency, *(also or ())], record)


@operation(
    "put_erp_customer", "PUT", "/customers/{customer_id:str}", summary="Create or update a customer", problems=WRITES
)
async def put_erp_customer(
    erps: NamedDependency[Instances[Erp]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> PlatformId:
    """Find the party by our customer id before it creates one."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return PlatformId(await erps.serving(data.legal_entity).put_customer(data))


@operation(
    "match_erp_customer",
    "POST",
    "/customers/{customer_id:str}/matches",
    summary="Find the records that may be a customer",
    status=200,
    problems=WRITES,
)
async def match_erp_customer(
    erps: NamedDependency[Instances[Erp]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> CustomerMatches:
    """Look for a customer before one is made, and write nothing. Its name and address are kept out of the URL."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return CustomerMatches(await erps.serving(data.legal_entity).match_customer(data))


@operation(
    "copy_of_erp_customer",
    "POST",
    "/customers/{customer_id:str}/copy",
    summary="Read what the ERP holds of a customer",
    status=200,
    problems=WRITES,
)
async def copy_of_erp_customer(
    erps: NamedDependency[Instances[Erp]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> CustomerCopy:
    """Return the fields that are copies there, in the words of the canonical model, and write nothing. Name and address
    are kept out of the URL."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).customer_copy(data)


@operation(
    "put_erp_invoice", "PUT", "/invoices/{invoice_id:str}", summary="Post an invoice exactly once", problems=WRITES
)
async def put_erp_invoice(
    erps: NamedDependency[Instances[Erp]],
    invoice_id: ForeignKey,
    data: JSONBody[Invoice],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Find the invoice by its number in billing before it drafts one; a draft that is there already is posted."""
    names_the_same(invoice_id, data.id)
    with record_of(data.legal_entity):
        return await put_invoice(erps.serving(data.legal_entity), data, closed_period)


@operation(
    "put_erp_invoices",
    "POST",
    "/invoices/batch",
    summary="Post invoices, each exactly once",
    status=200,
    problems=WRITES,
)
async def put_erp_invoices(
    erps: NamedDependency[Instances[Erp]],
    legal_entity: LegalEntityCode,
    data: JSONBody[InvoiceBatch],
    closed_period: WhenClosed = "wait",
) -> PostingResults:
    """Post a batch, each invoice as it would be alone, and return what became of each: one that cannot be posted does
    not stop the others."""
    for place, each in enumerate(data.items):
        names_the_same(legal_entity, each.invoice.legal_entity, f"items[{place}].invoice.legal_entity")
    ids = [each.invoice.id for each in data.items]
    if len(set(ids)) < len(ids):
        raise ProblemError(
            INVALID, "The batch names an invoice twice.", (FieldError("$.items", "an id is there twice"),)
        )
    with record_of(legal_entity):
        results = await erps.serving(legal_entity).put_invoices(data.items, closed_period)
    found = tuple(result_of(key, each) for key, each in zip(ids, results, strict=True))
    for each, result in zip(data.items, found, strict=True):
        note_item(f"/erp/v1/invoices/{result.id}", STATUS[result.outcome], each.correlation_id)
    return PostingResults(found)


@operation(
    "preview_erp_invoice",
    "POST",
    "/invoices/{invoice_id:str}/preview",
    summary="Say what would be booked for an invoice",
    status=200,
    problems=WRITES,
)
async def preview_erp_invoice(
    erps: NamedDependency[Instances[Erp]],
    invoice_id: ForeignKey,
    data: JSONBody[Invoice],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Let the ERP work out an invoice that does not exist yet. Nothing is left of it, and no number is used up."""
    names_the_same(invoice_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).preview_invoice(data, closed_period)


@operation(
    "cancel_erp_invoice",
    "PUT",
    "/invoices/{invoice_id:str}/cancellation",
    summary="Take back what is posted for an invoice",
    problems=WRITES,
)
async def cancel_erp_invoice(
    erps: NamedDependency[Instances[Erp]],
    invoice_id: ForeignKey,
    data: JSONBody[Invoice],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Post a credit note of an invoice that billing has voided, or write off what is due of one that it has given up,
    once."""
    names_the_same(invoice_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).cancel_invoice(data, closed_period)


@operation("get_posting", "GET", "/invoices/{invoice_id:str}", summary="Read what is booked for an invoice")
async def get_posting(
    erps: NamedDependency[Instances[Erp]], invoice_id: ForeignKey, legal_entity: LegalEntityCode
) -> Posting:
    """Return the ERP's own number, its totals, and what is still due."""
    return await erps.serving(legal_entity).posting(invoice_id, legal_entity)


@operation(
    "put_erp_payment", "PUT", "/payments/{payment_id:str}", summary="Book a payment exactly once", problems=WRITES
)
async def put_erp_payment(
    erps: NamedDependency[Instances[Erp]],
    payment_id: ForeignKey,
    legal_entity: LegalEntityCode,
    data: JSONBody[Payment],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Find the payment by billing's id before it books one. Its invoice has to be posted."""
    names_the_same(payment_id, data.id)
    with record_of(legal_entity):
        return await erps.serving(legal_entity).put_payment(data, legal_entity, closed_period)


@operation(
    "put_erp_credit_note",
    "PUT",
    "/credit-notes/{credit_note_id:str}",
    summary="Post a credit note exactly once",
    problems=WRITES,
)
async def put_erp_credit_note(
    erps: NamedDependency[Instances[Erp]],
    credit_note_id: ForeignKey,
    data: JSONBody[CreditNote],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Find the credit note by billing's id before it posts one; one that is void is taken back. Its invoice has to be
    posted."""
    names_the_same(credit_note_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).put_credit_note(data, closed_period)


@operation(
    "put_erp_reversal",
    "PUT",
    "/payment-reversals/{reversal_id:str}",
    summary="Book money that went back exactly once",
    problems=WRITES,
)
async def put_erp_reversal(
    erps: NamedDependency[Instances[Erp]],
    reversal_id: ForeignKey,
    data: JSONBody[PaymentReversal],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Find it by billing's id before it books it: for a credit note, or else so that so much of the invoice is due
    again."""
    names_the_same(reversal_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).put_reversal(data, closed_period)


@operation(
    "put_erp_fee",
    "PUT",
    "/dispute-fees/{fee_id:str}",
    summary="Book what a dispute has cost exactly once",
    problems=WRITES,
)
async def put_erp_fee(
    erps: NamedDependency[Instances[Erp]],
    fee_id: ForeignKey,
    data: JSONBody[DisputeFee],
    closed_period: WhenClosed = "wait",
) -> Posting:
    """Find it by billing's id before it books it: as an expense, or as one that was given back."""
    names_the_same(fee_id, data.id)
    with record_of(data.legal_entity):
        return await erps.serving(data.legal_entity).put_fee(data, closed_period)


router = Router(
    "/erp/v1",
    route_handlers=[
        get_legal_entity,
        list_known_products,
        match_erp_products,
        put_erp_product,
        get_credit,
        match_erp_customer,
        put_erp_customer,
        copy_of_erp_customer,
        put_erp_invoice,
        put_erp_invoices,
        preview_erp_invoice,
        cancel_erp_invoice,
        get_posting,
        put_erp_payment,
        put_erp_credit_note,
        put_erp_reversal,
        put_erp_fee,
    ],
    tags=["erp"],
)
