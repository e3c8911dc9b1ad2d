"""The system APIs as this layer sees them: one method for each route, typed."""

from __future__ import annotations

from collections.abc import Collection
from time import monotonic
from urllib.parse import urlencode

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import (
    ClosedPeriod,
    Contract,
    Invoice,
    InvoiceBatch,
    InvoiceToPost,
    Payment,
    Posting,
    PostingResult,
    PostingResults,
)
from canonical.corrections import Correctable, CreditOrder, InvoiceEnd, Refund, RefundOrder
from canonical.credits import CreditNote, PaymentReversal
from canonical.deals import (
    ContractCopy,
    Deal,
    DealReference,
    DealStatus,
    Holder,
    OrderReference,
    PlacedDeal,
    ProvisioningRequest,
    RenewalDeal,
    Suspension,
)
from canonical.disputes import Dispute, DisputeFee, Evidence
from canonical.dunning import OpenInvoices
from canonical.parties import (
    Account,
    AccountSync,
    Credit,
    Customer,
    CustomerCopy,
    CustomerMatch,
    CustomerMatches,
    KnownProducts,
    LegalEntity,
    PlatformId,
    Product,
)
from canonical.products import CatalogueProduct, OwnedProducts, PriceChange, ProductBatch, ProductMatch, ProductMatches
from canonical.usage import UsageCharge, UsageOfPeriod, UsageOrder
from policies.catalogue.model import Domain
from policies.outbound.layer_client import LayerClient
from policies.outbound.paths import path_of

RECENT = 60.0
"""Seconds for which what the ERP said of its master data holds: a burst of orders does not ask a slow ERP for it each
time."""
UNKNOWN = 0.0, Product()
"""What is kept of a product that was not asked for: it holds no longer."""


class Platforms:
    """Every method raises leaves of `PlatformFault`."""

    def __init__(self, client: LayerClient) -> None:
        self._client = client
        self._legal_entities: dict[str, tuple[float, LegalEntity]] = {}
        self._products: dict[tuple[str, str], tuple[float, Product]] = {}

    def alive(self) -> None:
        self._client.call("GET", "/health/live", dict[str, str])

    # ---- CRM

    def deal(self, crm: str, deal_id: str) -> Deal:
        return self._client.call("GET", f"/crm/v1/deals/{_key(deal_id)}?{_at(crm)}", Deal)

    def account(self, crm: str, account_id: str) -> Account:
        return self._client.call("GET", f"/crm/v1/accounts/{_key(account_id)}?{_at(crm)}", Account)

    def crm_contract(self, crm: str, contract_id: str) -> ContractCopy:
        return self._client.call("GET", f"/crm/v1/contracts/{_key(contract_id)}?{_at(crm)}", ContractCopy)

    def put_account_sync(self, crm: str, account_id: str, sync: AccountSync) -> None:
        self._client.call("PUT", f"/crm/v1/accounts/{_key(account_id)}/followed?{_at(crm)}", AccountSync, sync)

    def put_deal(self, crm: str, deal: PlacedDeal) -> DealReference:
        return self._client.call("PUT", f"/crm/v1/placed-deals/{_key(deal.key)}?{_at(crm)}", DealReference, deal)

    def put_renewal_deal(self, crm: str, deal: RenewalDeal) -> DealReference:
        return self._client.call("PUT", f"/crm/v1/renewal-deals/{_key(deal.key)}?{_at(crm)}", DealReference, deal)

    def put_deal_status(self, crm: str, deal_id: str, status: DealStatus) -> None:
        self._client.call("PUT", f"/crm/v1/deals/{_key(deal_id)}/status?{_at(crm)}", DealStatus, status)

    # ---- what is sold

    def products(self, crm: str, cursor: str, limit: int) -> OwnedProducts:
        query = urlencode({"instance": crm, "limit": limit} | ({"cursor": cursor} if cursor else {}))
        return self._client.call("GET", f"/crm/v1/products?{query}", OwnedProducts)

    def match_products(
        self, domain: Domain, instance: str, products: tuple[CatalogueProduct, ...]
    ) -> tuple[ProductMatch, ...]:
        path = f"/{domain}/v1/products/matches?{_at(instance)}"
        return self._client.call("POST", path, ProductMatches, ProductBatch(products)).items

    def put_product(self, domain: Domain, instance: str, product: CatalogueProduct) -> None:
        path = f"/{domain}/v1/products/{_key(product.sku)}?{_at(instance)}"
        self._client.call("PUT", path, CatalogueProduct, product)

    def put_price(self, instance: str, change: PriceChange) -> None:
        path = f"/billing/v1/products/{_key(change.sku)}/price?{_at(instance)}"
        self._client.call("PUT", path, PriceChange, change)

    # ---- ERP

    def legal_entity(self, code: str) -> LegalEntity:
        """Return a legal entity as it was within the last minute."""
        until, known = self._legal_entities.get(code, (0.0, None))
        if known is None or until < monotonic():
            known = self._client.call("GET", f"/erp/v1/legal-entities/{_key(code)}", LegalEntity)
            self._legal_entities[code] = monotonic() + RECENT, known
        return known

    def known_products(self, skus: list[str], legal_entity: str) -> dict[str, Product]:
        """Return those of the SKUs that the legal entity's ERP knew within the last minute, or knows now."""
        now = monotonic()
        asked = [sku for sku in skus if self._products.get((legal_entity, sku), UNKNOWN)[0] < now]
        if asked:
            query = urlencode([("legal_entity", legal_entity), *(("sku", sku) for sku in asked)])
            found = self._client.call("GET", f"/erp/v1/products?{query}", KnownProducts)
            self._products |= {(legal_entity, sku): (now + RECENT, each) for sku, each in found.by_sku.items()}
        known = {sku: self._products.get((legal_entity, sku), UNKNOWN) for sku in skus}
        return {sku: product for sku, (until, product) in known.items() if until >= now}

    def credit(self, customer_id: str, legal_entity: str, currencies: Collection[str], record: str) -> Credit:
        one, *others = sorted(currencies)
        asked = {"legal_entity": legal_entity, "currency": one, "also": others, "record": record}
        query = urlencode({name: value for name, value in asked.items() if value}, doseq=True)
        return self._client.call("GET", f"/erp/v1/customers/{_key(customer_id)}/credit?{query}", Credit)

    def match_erp_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        path = f"/erp/v1/customers/{_key(customer.id)}/matches"
        return self._client.call("POST", path, CustomerMatches, customer).items

    def erp_customer(self, customer: Customer) -> CustomerCopy:
        path = f"/erp/v1/customers/{_key(customer.id)}/copy"
        return self._client.call("POST", path, CustomerCopy, customer)

    def put_erp_customer(self, customer: Customer) -> str:
        return self._client.call("PUT", f"/erp/v1/customers/{_key(customer.id)}", PlatformId, customer).id

    def put_erp_invoices(
        self, batch: tuple[InvoiceToPost, ...], legal_entity: str, closed: ClosedPeriod
    ) -> tuple[PostingResult, ...]:
        query = urlencode({"legal_entity": legal_entity, "closed_period": closed})
        return self._client.call("POST", f"/erp/v1/invoices/batch?{query}", PostingResults, InvoiceBatch(batch)).items

    def preview_erp_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        """Return what the ERP would book for an invoice that does not exist yet."""
        query = urlencode({"closed_period": closed})
        return self._client.call("POST", f"/erp/v1/invoices/{_key(invoice.id)}/preview?{query}", Posting, invoice)

    def cancel_erp_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        query = urlencode({"closed_period": closed})
        path = f"/erp/v1/invoices/{_key(invoice.id)}/cancellation?{query}"
        return self._client.call("PUT", path, Posting, invoice)

    def put_erp_payment(self, payment: Payment, legal_entity: str, closed: ClosedPeriod) -> Posting:
        query = urlencode({"legal_entity": legal_entity, "closed_period": closed})
        return self._client.call("PUT", f"/erp/v1/payments/{_key(payment.id)}?{query}", Posting, payment)

    def put_erp_credit_note(self, note: CreditNote, closed: ClosedPeriod) -> Posting:
        query = urlencode({"closed_period": closed})
        return self._client.call("PUT", f"/erp/v1/credit-notes/{_key(note.id)}?{query}", Posting, note)

    def put_erp_reversal(self, reversal: PaymentReversal, closed: ClosedPeriod) -> Posting:
        query = urlencode({"closed_period": closed})
        return self._client.call("PUT", f"/erp/v1/payment-reversals/{_key(reversal.id)}?{query}", Posting, reversal)

    def put_erp_fee(self, fee: DisputeFee, closed: ClosedPeriod) -> Posting:
        query = urlencode({"closed_period": closed})
        return self._client.call("PUT", f"/erp/v1/dispute-fees/{_key(fee.id)}?{query}", Posting, fee)

    def erp_posting(self, invoice_id: str, legal_entity: str) -> Posting:
        query = urlencode({"legal_entity": legal_entity})
        return self._client.call("GET", f"/erp/v1/invoices/{_key(invoice_id)}?{query}", Posting)

    # ---- billing

    def match_billing_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        path = f"/billing/v1/customers/{_key(customer.id)}/matches"
        return self._client.call("POST", path, CustomerMatches, customer).items

    def billing_customer(self, customer: Customer) -> CustomerCopy:
        path = f"/billing/v1/customers/{_key(customer.id)}/copy"
        return self._client.call("POST", path, CustomerCopy, customer)

    def put_billing_customer(self, customer: Customer) -> str:
        return self._client.call("PUT", f"/billing/v1/customers/{_key(customer.id)}", PlatformId, customer).id

    def put_contract(self, contract: Contract) -> Contract:
        return self._client.call("PUT", f"/billing/v1/contracts/{_key(contract.id)}", Contract, contract)

    def start_contract(self, contract: Contract) -> Contract:
        return self._client.call("POST", f"/billing/v1/contracts/{_key(contract.id)}/start", Contract, contract)

    def cancel_contract(self, contract: Contract) -> None:
        self._client.call("POST", f"/billing/v1/contracts/{_key(contract.id)}/cancel", Contract, contract)

    def collect_open_invoices(self, contract: Contract) -> None:
        self._client.call("POST", f"/billing/v1/contracts/{_key(contract.id)}/collection", Contract, contract)

    def put_usage(self, usage: UsageOfPeriod) -> None:
        self._client.call("PUT", f"/billing/v1/usage/{_key(usage.id)}", UsageOfPeriod, usage)

    def price_usage(self, order: UsageOrder) -> UsageCharge:
        return self._client.call("POST", f"/billing/v1/usage/{_key(order.id)}/price", UsageCharge, order)

    def charge_usage(self, order: UsageOrder) -> UsageCharge:
        return self._client.call("PUT", f"/billing/v1/usage/{_key(order.id)}/charge", UsageCharge, order)

    def preview_change(self, change: ContractChange) -> BillingPreview:
        path = f"/billing/v1/contracts/{_key(change.contract.id)}/change/preview"
        return self._client.call("POST", path, BillingPreview, change)

    def change_contract(self, change: ContractChange) -> Contract:
        return self._client.call("POST", f"/billing/v1/contracts/{_key(change.contract.id)}/change", Contract, change)

    def invoice(self, billing: str, invoice_id: str) -> Invoice:
        return self._client.call("GET", f"/billing/v1/invoices/{_key(invoice_id)}?{_at(billing)}", Invoice)

    def open_invoices(self, contract: Contract) -> OpenInvoices:
        path = f"/billing/v1/contracts/{_key(contract.id)}/open-invoices"
        return self._client.call("POST", path, OpenInvoices, contract)

    def credit_note(self, billing: str, credit_note_id: str) -> CreditNote:
        path = f"/billing/v1/credit-notes/{_key(credit_note_id)}?{_at(billing)}"
        return self._client.call("GET", path, CreditNote)

    def reversal(self, billing: str, reversal_id: str) -> PaymentReversal:
        path = f"/billing/v1/payment-reversals/{_key(reversal_id)}?{_at(billing)}"
        return self._client.call("GET", path, PaymentReversal)

    def correctable(self, billing: str, invoice_id: str) -> Correctable:
        return self._client.call(
            "GET", f"/billing/v1/invoices/{_key(invoice_id)}/correctable?{_at(billing)}", Correctable
        )

    def preview_credit_note(self, billing: str, order: CreditOrder) -> CreditNote:
        return self._client.call("POST", f"/billing/v1/credit-notes/preview?{_at(billing)}", CreditNote, order)

    def issue_credit_note(self, billing: str, order: CreditOrder) -> CreditNote:
        return self._client.call("POST", f"/billing/v1/credit-notes?{_at(billing)}", CreditNote, order)

    def refund_payment(self, billing: str, order: RefundOrder) -> Refund:
        return self._client.call("POST", f"/billing/v1/refunds?{_at(billing)}", Refund, order)

    def void_invoice(self, billing: str, end: InvoiceEnd) -> Invoice:
        return self._client.call(
            "POST", f"/billing/v1/invoices/{_key(end.invoice_id)}/void?{_at(billing)}", Invoice, end
        )

    def write_off_invoice(self, billing: str, end: InvoiceEnd) -> Invoice:
        path = f"/billing/v1/invoices/{_key(end.invoice_id)}/write-off?{_at(billing)}"
        return self._client.call("POST", path, Invoice, end)

    def dispute(self, billing: str, dispute_id: str) -> Dispute:
        return self._client.call("GET", f"/billing/v1/disputes/{_key(dispute_id)}?{_at(billing)}", Dispute)

    def accept_dispute(self, billing: str, dispute_id: str) -> Dispute:
        path = f"/billing/v1/disputes/{_key(dispute_id)}/acceptance?{_at(billing)}"
        return self._client.call("POST", path, Dispute)

    def answer_dispute(self, billing: str, dispute_id: str, evidence: Evidence, legal_entity: str) -> Dispute:
        query = urlencode({"legal_entity": legal_entity, "instance": billing})
        return self._client.call("POST", f"/billing/v1/disputes/{_key(dispute_id)}/answer?{query}", Dispute, evidence)

    # ---- provisioning

    def provision(self, request: ProvisioningRequest) -> None:
        self._client.call("PUT", f"/provisioning/v1/orders/{_key(request.order_id)}", ProvisioningRequest, request)

    def suspend(self, wanted: Suspension) -> None:
        path = f"/provisioning/v1/orders/{_key(wanted.order_id)}/suspension"
        self._client.call("PUT", path, Suspension, wanted)

    def put_holder(self, wanted: Holder) -> None:
        self._client.call("PUT", f"/provisioning/v1/orders/{_key(wanted.order_id)}/holder", Holder, wanted)

    def deprovision(self, order_id: str, legal_entity: str) -> None:
        query = urlencode({"legal_entity": legal_entity})
        self._client.call("DELETE", f"/provisioning/v1/orders/{_key(order_id)}?{query}", OrderReference)


def _key(key: str) -> str:
    """Return a key in its place in a path, whatever is in it. Raises `Rejected` for one that is no name."""
    return path_of("system", key)


def _at(instance: str) -> str:
    """Return the query that names an instance of a platform."""
    return urlencode({"instance": instance})
