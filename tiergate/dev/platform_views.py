"""Views of what each platform itself holds of an order: read from the platforms, not from our records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from rich.table import Table

from canonical.money import Money
from canonical.orders import Order, Plan
from policies.catalogue.model import Domain
from policies.outbound.platform_client import PlatformClient
from sandbox.seed import Crm
from system_apis.billing.stripe.client import StripeClient, at
from system_apis.crm.salesforce import Settings as SalesforceSettings
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.mapping import Row, from_decimal
from tiergate.composition import contexts, open_catalogue
from tiergate.dev.sandbox import Sandbox
from tiergate.platforms import ConnectedPlatform, load_platforms
from tiergate.settings import load


class InCrm(msgspec.Struct, frozen=True):
    """The CRM's view. `amount` is net, as salespeople see it; `detail` says what a change of the contract was."""

    account_id: str
    contract_number: str
    amount: Money
    status: str
    detail: str


class InBilling(msgspec.Struct, frozen=True):
    customer_id: str
    subscription_id: str
    invoice_number: str
    total: Money
    tax: Money
    balance: Money
    status: str


class InErp(msgspec.Struct, frozen=True):
    party_id: str
    invoice_number: str
    total: Money
    tax: Money
    balance: Money
    status: str


class PlatformViews(msgspec.Struct, frozen=True):
    """The three views, and how many records of each kind each platform has."""

    crm: InCrm
    billing: InBilling
    erp: InErp
    counts: dict[str, dict[str, int]]


def systems_table(title: str = "") -> Table:
    """Return a table with a column for each system."""
    table = Table(title=f"\n{title}" if title else None, title_justify="left", title_style="bold")
    for name in ("", "CRM (Salesforce)", "Billing (Stripe)", "ERP (Tryton)"):
        table.add_column(name, overflow="fold")
    return table


def plan_of(order: Order) -> Plan:
    """Return what was decided when an order was accepted. Raises `LookupError` for one that was not."""
    if order.plan is None:
        raise LookupError(f"the order {order.id} has no plan")
    return order.plan


def platform_views(sandbox: Sandbox, order: Order, invoice_id: str = "") -> PlatformViews:
    """Return what the three platforms hold of an order and its first invoice, or another one. Raises `LookupError` when
    it was never accepted."""
    references = plan_of(order).contract.references
    in_crm, crm_counts = _crm(sandbox, order)
    (in_billing, billing_counts), (in_erp, erp_counts) = asyncio.run(
        _both(sandbox, invoice_id or references["invoice"], order.customer_id)
    )
    return PlatformViews(in_crm, in_billing, in_erp, {"crm": crm_counts, "billing": billing_counts, "erp": erp_counts})


def _crm(sandbox: Sandbox, order: Order) -> tuple[InCrm, dict[str, int]]:
    crm = sandbox.crm()
    (deal,) = crm.query(
        "SELECT AccountId, CurrencyIsoCode, TiergateStatus__c, TiergateDetail__c, "
        "(SELECT TotalPrice FROM OpportunityLineItems) "
        f"FROM Opportunity WHERE Id = '{order.deal_id}'"
    )
    contracts = crm.query(f"SELECT ContractNumber FROM Contract WHERE Opportunity__c = '{order.deal_id}'")
    amount = Money.of(
        str(sum(each["TotalPrice"] for each in deal["OpportunityLineItems"]["records"])), deal["CurrencyIsoCode"]
    )
    kinds = {"accounts": "Account", "contacts": "Contact", "opportunities": "Opportunity", "contracts": "Contract"}
    counts = {name: len(crm.query(f"SELECT Id FROM {sobject}")) for name, sobject in kinds.items()}
    crm.close()
    number = ", ".join(each["ContractNumber"] for each in contracts)
    shown = deal["TiergateStatus__c"] or "", deal["TiergateDetail__c"] or ""
    return InCrm(deal["AccountId"], number, amount, *shown), counts


async def _both(
    sandbox: Sandbox, invoice_id: str, customer_id: str
) -> tuple[tuple[InBilling, dict[str, int]], tuple[InErp, dict[str, int]]]:
    return await asyncio.gather(_billing(sandbox, invoice_id), _erp(sandbox, invoice_id, customer_id))


def crm_of(platforms: Mapping[str, ConnectedPlatform], name: str) -> Crm:
    """Return a salesperson's client of one CRM. Raises `LookupError` for a name that the catalogue does not have."""
    settings: SalesforceSettings = cast("Any", platforms[name].settings)
    return Crm(settings.url, settings.client_id, settings.client_secret.reveal())


@asynccontextmanager
async def _client(sandbox: Sandbox, domain: Domain) -> AsyncGenerator[tuple[Any, PlatformClient]]:
    """Yield the settings of a sandbox's platform, and a client of it whose connections are closed at the end."""
    settings = load(sandbox.config, {})
    platform = load_platforms(settings, open_catalogue(settings).current, {})[sandbox.platform(domain)]
    async with contexts(settings, [platform]) as found:
        yield platform.settings, found[platform.name].client


@asynccontextmanager
async def billing_of(sandbox: Sandbox) -> AsyncGenerator[StripeClient]:
    """Yield a client of a sandbox's billing."""
    async with _client(sandbox, "billing") as (settings, client):
        yield StripeClient(settings, client)


@asynccontextmanager
async def erp_of(sandbox: Sandbox) -> AsyncGenerator[tuple[TrytonClient, Row]]:
    """Yield a client of a sandbox's ERP, and the company whose books it keeps: its `id` and its `party`."""
    async with _client(sandbox, "erp") as (settings, client):
        books = TrytonClient(settings, client)
        (company,) = await books.rows("company.company", [], ["party"], 0)
        yield books, company


async def _billing(sandbox: Sandbox, invoice_id: str) -> tuple[InBilling, dict[str, int]]:
    kinds = ("customers", "subscriptions", "invoices", "payment_intents", "charges")
    async with billing_of(sandbox) as client:
        invoice = await client.get(at("invoices", invoice_id))
        counts = {kind: len(await client.listed(at(kind))) for kind in kinds}
    currency = invoice["currency"].upper()
    subscription = invoice["parent"]["subscription_details"]["subscription"]
    tax = Money(sum(each["amount"] for each in invoice["total_taxes"]), currency)
    in_billing = InBilling(
        customer_id=invoice["customer"],
        subscription_id=subscription,
        invoice_number=invoice["number"],
        total=Money(invoice["total"], currency),
        tax=tax,
        balance=Money(invoice["amount_remaining"], currency),
        status=invoice["status"],
    )
    return in_billing, counts


async def _erp(sandbox: Sandbox, invoice_id: str, customer_id: str) -> tuple[InErp, dict[str, int]]:
    fields = [
        "number",
        "state",
        "total_amount",
        "tax_amount",
        "amount_to_pay",
        "currency.code",
        "party.code",
        "company",
    ]
    async with erp_of(sandbox) as (client, company):
        key = company["id"]
        (row,) = await client.rows("account.invoice", [["reference", "=", invoice_id]], fields, key)
        (party,) = await client.rows("party.party", [["code", "=", customer_id]], ["code"], key)
        counts = {
            "customers": len(await client.rows("party.party", [["id", "!=", company["party"]]], ["id"], key)),
            "invoices": len(await client.rows("account.invoice", [["type", "=", "out"]], ["id"], key)),
            "payments": len(await client.rows("account.move", [["description", "like", "pi_%"]], ["id"], key)),
        }

    def money(name: str) -> Money:
        return Money.of(from_decimal(row[name]), row["currency."]["code"])

    due = money("amount_to_pay")
    status = f"{row['state']}, nothing due" if row["state"] == "posted" and not due.amount else row["state"]
    in_erp = InErp(str(party["id"]), row["number"], money("total_amount"), money("tax_amount"), due, status)
    return in_erp, counts
