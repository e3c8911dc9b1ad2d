"""Billing's governed routes."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router
from litestar.di import NamedDependency
from litestar.params import JSONBody

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import Contract, Invoice
from canonical.corrections import Correctable, CreditOrder, InvoiceEnd, Refund, RefundOrder
from canonical.credits import CreditNote, PaymentReversal
from canonical.disputes import Dispute, Evidence
from canonical.dunning import OpenInvoices
from canonical.events import WebhookReceipt
from canonical.parties import Customer, CustomerCopy, CustomerMatches, PlatformId
from canonical.products import CatalogueProduct, PriceChange, ProductBatch, ProductMatches
from canonical.usage import UsageCharge, UsageOfPeriod, UsageOrder
from policies.context import correlation
from policies.contract.bodies import names_the_same
from policies.contract.operation import operation
from policies.contract.parameters import ForeignKey, Instance, LegalEntityCode
from policies.outbound.residency import record_of
from policies.problems import WRITES
from system_apis.billing.port import Billing
from system_apis.connector import Instances
from system_apis.intake import Intake


@operation(
    "put_billing_customer",
    "PUT",
    "/customers/{customer_id:str}",
    summary="Create or update a customer",
    problems=WRITES,
)
async def put_billing_customer(
    billings: NamedDependency[Instances[Billing]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> PlatformId:
    """Find the customer by our id before it creates one."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return PlatformId(await billings.serving(data.legal_entity).put_customer(data))


@operation(
    "match_billing_customer",
    "POST",
    "/customers/{customer_id:str}/matches",
    summary="Find the records that may be a customer",
    status=200,
    problems=WRITES,
)
async def match_billing_customer(
    billings: NamedDependency[Instances[Billing]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> CustomerMatches:
    """Look for a customer before one is made, and write nothing. Its name and address are kept out of the URL."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return CustomerMatches(await billings.serving(data.legal_entity).match_customer(data))


@operation(
    "copy_of_billing_customer",
    "POST",
    "/customers/{customer_id:str}/copy",
    summary="Read what billing holds of a customer",
    status=200,
    problems=WRITES,
)
async def copy_of_billing_customer(
    billings: NamedDependency[Instances[Billing]], customer_id: ForeignKey, data: JSONBody[Customer]
) -> CustomerCopy:
    """Return the fields that are copies there, in the words of the canonical model, and write nothing. Name and address
    are kept out of the URL."""
    names_the_same(customer_id, data.id)
    with record_of(data.legal_entity):
        return await billings.serving(data.legal_entity).customer_copy(data)


@operation(
    "put_contract",
    "PUT",
    "/contracts/{contract_id:str}",
    summary="Create a contract that bills nothing yet",
    problems=WRITES,
)
async def put_contract(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[Contract]
) -> Contract:
    """Prepares the products, prices and tax of a contract. Nothing is billed until it starts."""
    names_the_same(contract_id, data.id)
    with record_of(data.legal_entity):
        return await billings.serving(data.legal_entity).put_contract(data, correlation.current())


@operation(
    "start_contract",
    "POST",
    "/contracts/{contract_id:str}/start",
    summary="Begin the service and issue the first invoice",
    status=200,
    problems=WRITES,
)
async def start_contract(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[Contract]
) -> Contract:
    """Begin the contract's subscription schedule and issues its first invoice. A contract that runs already is left
    alone."""
    names_the_same(contract_id, data.id)
    with record_of(data.legal_entity):
        return await billings.serving(data.legal_entity).start(data)


@operation(
    "cancel_contract",
    "POST",
    "/contracts/{contract_id:str}/cancel",
    summary="Undo a contract",
    status=200,
    problems=WRITES,
)
async def cancel_contract(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[Contract]
) -> Contract:
    """End what was prepared or started. An invoice that was issued stays."""
    names_the_same(contract_id, data.id)
    with record_of(data.legal_entity):
        await billings.serving(data.legal_entity).cancel(data)
    return data


@operation(
    "collect_open_invoices",
    "POST",
    "/contracts/{contract_id:str}/collection",
    summary="Go on to collect what is open of a contract",
    status=200,
    problems=WRITES,
)
async def collect_open_invoices(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[Contract]
) -> Contract:
    """Let billing collect the open invoices of a contract, where the end of one of its customer's has stopped that."""
    names_the_same(contract_id, data.id)
    with record_of(data.legal_entity):
        await billings.serving(data.legal_entity).collect(data)
    return data


@operation(
    "put_billing_usage",
    "PUT",
    "/usage/{key:str}",
    summary="Let a contract be billed for what was used in a period",
    problems=WRITES,
)
async def put_billing_usage(
    billings: NamedDependency[Instances[Billing]], key: ForeignKey, data: JSONBody[UsageOfPeriod]
) -> UsageOfPeriod:
    """Hand over the quantity of a period that is over, before its invoice is issued. The same again adds nothing."""
    names_the_same(key, data.id)
    with record_of(data.contract.legal_entity):
        return await billings.serving(data.contract.legal_entity).put_usage(data)


@operation(
    "price_billing_usage",
    "POST",
    "/usage/{key:str}/price",
    summary="See what more of a period would be charged that is charged already",
    status=200,
    problems=WRITES,
)
async def price_billing_usage(
    billings: NamedDependency[Instances[Billing]], key: ForeignKey, data: JSONBody[UsageOrder]
) -> UsageCharge:
    """Return the invoice and the line on which the period is charged, and what more of it costs. Nothing is written."""
    names_the_same(key, data.id)
    with record_of(data.period.contract.legal_entity):
        return await billings.serving(data.period.contract.legal_entity).price_usage(data)


@operation(
    "charge_billing_usage",
    "PUT",
    "/usage/{key:str}/charge",
    summary="Charge more of a period that is charged already, once for an id",
    problems=WRITES,
)
async def charge_billing_usage(
    billings: NamedDependency[Instances[Billing]], key: ForeignKey, data: JSONBody[UsageOrder]
) -> UsageCharge:
    """Put what is more on the contract's next invoice, at the price of each unit. The same again adds nothing."""
    names_the_same(key, data.id)
    with record_of(data.period.contract.legal_entity):
        return await billings.serving(data.period.contract.legal_entity).charge_usage(data)


@operation(
    "preview_contract_change",
    "POST",
    "/contracts/{contract_id:str}/change/preview",
    summary="Preview what a change of a running contract would bill",
    status=200,
    problems=WRITES,
)
async def preview_contract_change(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[ContractChange]
) -> BillingPreview:
    """Return the invoices that a change would issue, to the minor unit. Nothing of the contract is written."""
    contract = data.contract
    names_the_same(contract_id, contract.id)
    with record_of(contract.legal_entity):
        return await billings.serving(contract.legal_entity).preview_change(data, correlation.current())


@operation(
    "change_contract",
    "POST",
    "/contracts/{contract_id:str}/change",
    summary="Change a running contract",
    status=200,
    problems=WRITES,
)
async def change_contract(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[ContractChange]
) -> Contract:
    """Bill a contract from a moment on as it is said to be then. The same change again changes nothing. The invoices
    that the answer refers to are those of the change."""
    contract = data.contract
    names_the_same(contract_id, contract.id)
    with record_of(contract.legal_entity):
        return await billings.serving(contract.legal_entity).change(data, correlation.current())


@operation(
    "match_billing_products",
    "POST",
    "/products/matches",
    summary="Say what billing has of products, and would not take",
    status=200,
    problems=WRITES,
)
async def match_billing_products(
    billings: NamedDependency[Instances[Billing]], data: JSONBody[ProductBatch], instance: Instance = None
) -> ProductMatches:
    """Look products and their list prices up before they are written, and write nothing."""
    return ProductMatches(await billings.named(instance).match_products(data.items))


@operation(
    "put_billing_product",
    "PUT",
    "/products/{product:str}",
    summary="Create, rename or retire a product",
    problems=WRITES,
)
async def put_billing_product(
    billings: NamedDependency[Instances[Billing]],
    product: ForeignKey,
    data: JSONBody[CatalogueProduct],
    instance: Instance = None,
) -> CatalogueProduct:
    """Find the product by its SKU before it creates one. One that is sold no more is put out of use, and not
    deleted."""
    names_the_same(product, data.sku, "sku")
    return await billings.named(instance).put_product(data)


@operation(
    "put_billing_price",
    "PUT",
    "/products/{product:str}/price",
    summary="Set or retire the list price of a product in a currency",
    problems=WRITES,
)
async def put_billing_price(
    billings: NamedDependency[Instances[Billing]],
    product: ForeignKey,
    data: JSONBody[PriceChange],
    instance: Instance = None,
) -> PriceChange:
    """Create a price where the amount is another one, and put the former one out of use. Contracts keep the prices that
    they have."""
    names_the_same(product, data.sku, "sku")
    if data.price is not None:
        names_the_same(data.currency, data.price.currency, "price.currency")
    return await billings.named(instance).put_price(data)


@operation("get_invoice", "GET", "/invoices/{invoice_id:str}", summary="Read an invoice with its lines and payments")
async def get_invoice(
    billings: NamedDependency[Instances[Billing]], invoice_id: ForeignKey, instance: Instance = None
) -> Invoice:
    """Return the invoice as billing has it at this moment."""
    return await billings.named(instance).invoice(invoice_id)


@operation(
    "list_open_invoices",
    "POST",
    "/contracts/{contract_id:str}/open-invoices",
    summary="Read what is left to be paid of a contract",
    status=200,
    problems=WRITES,
)
async def list_open_invoices(
    billings: NamedDependency[Instances[Billing]], contract_id: ForeignKey, data: JSONBody[Contract]
) -> OpenInvoices:
    """Return the open invoices of the contract's customer, with how billing collects each, and write nothing."""
    names_the_same(contract_id, data.id)
    with record_of(data.legal_entity):
        return await billings.serving(data.legal_entity).open_invoices(data)


@operation(
    "get_credit_note",
    "GET",
    "/credit-notes/{credit_note_id:str}",
    summary="Read a credit note with its lines and where it went",
)
async def get_credit_note(
    billings: NamedDependency[Instances[Billing]], credit_note_id: ForeignKey, instance: Instance = None
) -> CreditNote:
    """Return the credit note as billing has it at this moment."""
    return await billings.named(instance).credit_note(credit_note_id)


@operation("get_reversal", "GET", "/payment-reversals/{reversal_id:str}", summary="Read a payment that went back")
async def get_reversal(
    billings: NamedDependency[Instances[Billing]], reversal_id: ForeignKey, instance: Instance = None
) -> PaymentReversal:
    """Return what went back, of which invoice and payment, and for which credit note."""
    return await billings.named(instance).reversal(reversal_id)


@operation(
    "get_correctable_invoice",
    "GET",
    "/invoices/{invoice_id:str}/correctable",
    summary="Read what of an invoice can still be corrected",
)
async def get_correctable_invoice(
    billings: NamedDependency[Instances[Billing]], invoice_id: ForeignKey, instance: Instance = None
) -> Correctable:
    """Return what is left of its lines and payments, and the refunds that no credit note names."""
    return await billings.named(instance).correctable(invoice_id)


@operation(
    "preview_credit_note",
    "POST",
    "/credit-notes/preview",
    summary="Preview a credit note",
    status=200,
    problems=WRITES,
)
async def preview_credit_note(
    billings: NamedDependency[Instances[Billing]], data: JSONBody[CreditOrder], instance: Instance = None
) -> CreditNote:
    """Return the credit note that would be issued, with its taxes. Nothing is written."""
    with record_of(data.legal_entity):
        return await billings.named(instance).preview_credit_note(data)


@operation(
    "issue_credit_note",
    "POST",
    "/credit-notes",
    summary="Issue a credit note, once for its id",
    status=200,
    problems=WRITES,
)
async def issue_credit_note(
    billings: NamedDependency[Instances[Billing]], data: JSONBody[CreditOrder], instance: Instance = None
) -> CreditNote:
    """Credit lines of an invoice. What of it was paid goes back as the order says. The same id again is the same credit
    note."""
    with record_of(data.legal_entity):
        return await billings.named(instance).issue_credit_note(data)


@operation(
    "refund_payment",
    "POST",
    "/refunds",
    summary="Refund a payment, once for its id",
    status=200,
    problems=WRITES,
)
async def refund_payment(
    billings: NamedDependency[Instances[Billing]], data: JSONBody[RefundOrder], instance: Instance = None
) -> Refund:
    """Pay back all or a part of a payment the way it came. The same id again is the same refund."""
    with record_of(data.legal_entity):
        return await billings.named(instance).refund_payment(data)


@operation(
    "void_invoice",
    "POST",
    "/invoices/{invoice_id:str}/void",
    summary="Void an open invoice",
    status=200,
    problems=WRITES,
)
async def void_invoice(
    billings: NamedDependency[Instances[Billing]],
    invoice_id: ForeignKey,
    data: JSONBody[InvoiceEnd],
    instance: Instance = None,
) -> Invoice:
    """Let nothing be owed of an invoice, as if it had never been issued. One that is void stays so."""
    names_the_same(invoice_id, data.invoice_id, "invoice_id")
    with record_of(data.legal_entity):
        return await billings.named(instance).void_invoice(data)


@operation(
    "write_off_invoice",
    "POST",
    "/invoices/{invoice_id:str}/write-off",
    summary="Write an open invoice off",
    status=200,
    problems=WRITES,
)
async def write_off_invoice(
    billings: NamedDependency[Instances[Billing]],
    invoice_id: ForeignKey,
    data: JSONBody[InvoiceEnd],
    instance: Instance = None,
) -> Invoice:
    """Expect no money for an invoice any more. It may be paid all the same."""
    names_the_same(invoice_id, data.invoice_id, "invoice_id")
    with record_of(data.legal_entity):
        return await billings.named(instance).write_off_invoice(data)


@operation("get_billing_dispute", "GET", "/disputes/{dispute_id:str}", summary="Read a dispute with what it has cost")
async def get_billing_dispute(
    billings: NamedDependency[Instances[Billing]], dispute_id: ForeignKey, instance: Instance = None
) -> Dispute:
    """Return the dispute as billing has it at this moment."""
    return await billings.named(instance).dispute(dispute_id)


@operation(
    "accept_billing_dispute",
    "POST",
    "/disputes/{dispute_id:str}/acceptance",
    summary="Give a disputed payment up",
    status=200,
    problems=WRITES,
)
async def accept_billing_dispute(
    billings: NamedDependency[Instances[Billing]], dispute_id: ForeignKey, instance: Instance = None
) -> Dispute:
    """Let the dispute be lost, which cannot be taken back. One that is lost already stays as it is."""
    return await billings.named(instance).accept_dispute(dispute_id)


@operation(
    "answer_billing_dispute",
    "POST",
    "/disputes/{dispute_id:str}/answer",
    summary="Submit evidence about a disputed payment",
    status=200,
    problems=WRITES,
)
async def answer_billing_dispute(
    billings: NamedDependency[Instances[Billing]],
    dispute_id: ForeignKey,
    data: JSONBody[Evidence],
    legal_entity: LegalEntityCode,
    instance: Instance = None,
) -> Dispute:
    """Send the bank what the evidence says. The same answer again changes nothing."""
    with record_of(legal_entity):
        return await billings.named(instance).answer_dispute(dispute_id, data)


@operation("receive_billing_webhook", "POST", "/webhooks", summary="Receive the platform's webhook", status=200)
async def receive_billing_webhook(
    billings: NamedDependency[Instances[Billing]],
    intake: NamedDependency[Intake],
    request: Request[Any, Any, Any],
    instance: Instance = None,
) -> WebhookReceipt:
    """Take the platform's signed webhook. The signature is verified on the raw body; an event that is none of ours is
    answered and not kept."""
    billing = billings.named(instance)
    reported = await billing.reported(request.headers, await request.body())
    if reported is not None:
        await intake.offer(reported.event, reported.correlation_id)
        billing.taken(reported.event)
    return WebhookReceipt(taken=reported is not None)


router = Router(
    "/billing/v1",
    route_handlers=[
        match_billing_customer,
        put_billing_customer,
        copy_of_billing_customer,
        put_contract,
        start_contract,
        cancel_contract,
        collect_open_invoices,
        put_billing_usage,
        price_billing_usage,
        charge_billing_usage,
        preview_contract_change,
        change_contract,
        match_billing_products,
        put_billing_product,
        put_billing_price,
        get_invoice,
        list_open_invoices,
        write_off_invoice,
        get_credit_note,
        get_reversal,
        get_correctable_invoice,
        preview_credit_note,
        issue_credit_note,
        refund_payment,
        void_invoice,
        write_off_invoice,
        get_billing_dispute,
        accept_billing_dispute,
        answer_billing_dispute,
        receive_billing_webhook,
    ],
    tags=["billing"],
)
