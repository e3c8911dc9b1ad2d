"""Two sales of the demo that are less usual, and what the systems make of them.

One has parts of a unit, a price of 99.50, a discount and two tax rates; the other is to a buyer outside the Union, and
begins on the first day of the next month.
"""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
from rich.table import Table

from canonical.deals import plain
from canonical.money import Money
from canonical.orders import Order
from sandbox.salesperson import Sale, SaleLine
from system_apis.billing.stripe.client import at
from system_apis.erp.tryton.mapping import from_decimal
from tiergate.dev.platform_views import billing_of, erp_of, plan_of, systems_table
from tiergate.dev.sandbox import Sandbox

TWO_RATES = Sale(
    buyer="Wortreich Verlag KG",
    tax_number="DE811569869",
    lines=(
        SaleLine("CONSULTING", 2.5, 99.5),
        SaleLine("SEAT", 3, discount=15),
        SaleLine("HANDBOOK", 40),
    ),
)


def next_month(today: date) -> date:
    """Return the first day of the next month."""
    return (today.replace(day=1) + timedelta(days=31)).replace(day=1)


def swiss(today: date) -> Sale:
    """Return a sale to a Swiss buyer from the next month on."""
    return Sale(
        buyer="Alpenblick AG",
        country="CH",
        tax_number="CHE-116.281.710 MWST",
        lines=(SaleLine("PLATFORM", 1), SaleLine("SEAT", 5)),
        starts_on=next_month(today),
    )


class Booked(msgspec.Struct, frozen=True):
    """An invoice as one system holds it: the net amounts by SKU, the taxes by their rate in per cent, the total."""

    nets: dict[str, Money]
    taxes: dict[str, Money]
    total: Money


def by_line(sandbox: Sandbox, order: Order) -> Table:
    """Return what was agreed, billed and booked for each line and each tax rate of an order."""
    contract = plan_of(order).contract
    billed, booked = asyncio.run(_both(sandbox, contract.references["invoice"]))
    table = Table(title="\nParts of a unit, a discount, two tax rates", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("agreed (CRM)")
    for name in ("Billing (Stripe)", "ERP (Tryton)"):
        table.add_column(name, justify="right")
    for line in contract.lines:
        agreed = line.terms.in_words(contract.currency)
        table.add_row(line.name, agreed, f"{billed.nets[line.sku]}", f"{booked.nets[line.sku]}")
    for percent in sorted(billed.taxes.keys() | booked.taxes.keys(), key=Decimal, reverse=True):
        row = (f"{each.taxes[percent]}" if percent in each.taxes else "–" for each in (billed, booked))
        table.add_row(f"tax at {percent} %", "", *row)
    table.add_row("total", "", f"{billed.total}", f"{booked.total}")
    return table


async def _both(sandbox: Sandbox, invoice: str) -> tuple[Booked, Booked]:
    return await asyncio.gather(_billed(sandbox, invoice), _booked(sandbox, invoice))


async def _billed(sandbox: Sandbox, invoice_id: str) -> Booked:
    async with billing_of(sandbox) as client:
        invoice = await client.get(at("invoices", invoice_id))
        lines = await client.listed(at("invoices", invoice_id, "lines"))
        currency = invoice["currency"].upper()
        rates = {each["tax_rate_details"]["tax_rate"]: each["amount"] for each in invoice["total_taxes"]}
        taxes = {
            plain(Decimal(str((await client.get(at("tax_rates", rate)))["percentage"]))): Money(amount, currency)
            for rate, amount in rates.items()
        }
    nets = {each["pricing"]["price_details"]["product"]: Money(each["amount"], currency) for each in lines}
    return Booked(nets, taxes, Money(invoice["total"], currency))


async def _booked(sandbox: Sandbox, invoice_id: str) -> Booked:
    fields = ["total_amount", "currency.code"]
    async with erp_of(sandbox) as (client, company):
        key = company["id"]
        (row,) = await client.rows("account.invoice", [["reference", "=", invoice_id]], fields, key)
        of_it = [["invoice", "=", row["id"]]]
        lines = await client.rows("account.invoice.line", of_it, ["product.code", "amount"], key)
        taxes = await client.rows("account.invoice.tax", of_it, ["tax.rate", "amount"], key)
    code = row["currency."]["code"]
    return Booked(
        {each["product."]["code"]: Money.of(from_decimal(each["amount"]), code) for each in lines},
        {
            plain(from_decimal(each["tax."]["rate"]) * 100): Money.of(from_decimal(each["amount"]), code)
            for each in taxes
        },
        Money.of(from_decimal(row["total_amount"]), code),
    )


def before_its_start(sandbox: Sandbox, order: Order) -> Table:
    """Return what each system holds of an order that was delivered and whose contract has not started."""
    plan = plan_of(order)
    crm = sandbox.crm()
    account = crm.read(f"sobjects/Account/{plan.account_id}")
    (contract,) = crm.query(
        f"SELECT ContractNumber, StartDate, Status FROM Contract WHERE Opportunity__c = '{order.deal_id}'"
    )
    crm.close()
    in_billing = asyncio.run(_scheduled(sandbox, plan.contract.references["schedule"]))
    party, number, invoices = asyncio.run(_party(sandbox, order.customer_id))
    table = systems_table("A Swiss buyer, from next month on")
    table.add_row("customer", order.name.partition(" – ")[0], in_billing.customer, party)
    table.add_row("tax number", account["VatNumber__c"], in_billing.tax_number, number)
    table.add_row("tax", "–", in_billing.tax, "–")
    table.add_row("contract", f"{contract['ContractNumber']}, {contract['Status'].lower()}", in_billing.status, "–")
    table.add_row("starts on", contract["StartDate"], f"{in_billing.starts_on}", "–")
    table.add_row("invoices", "–", f"{in_billing.invoices}", f"{invoices}")
    return table


class _Scheduled(msgspec.Struct, frozen=True):
    """What billing holds of a contract before its first day."""

    customer: str
    tax_number: str
    tax: str
    status: str
    starts_on: date
    invoices: int


async def _scheduled(sandbox: Sandbox, schedule_id: str) -> _Scheduled:
    async with billing_of(sandbox) as client:
        schedule = await client.get(at("subscription_schedules", schedule_id))
        customer = schedule["customer"]
        (tax_number,) = await client.listed(at("customers", customer, "tax_ids"))
        phase = schedule["phases"][0]
        rate = await client.get(at("tax_rates", phase["default_tax_rates"][0]["id"]))
        invoices = await client.listed(at("invoices"), customer=customer)
    return _Scheduled(
        customer,
        tax_number["value"],
        f"{rate['percentage']:g} %",
        schedule["status"].replace("_", " "),
        datetime.fromtimestamp(phase["start_date"], ZoneInfo("Europe/Berlin")).date(),
        len(invoices),
    )


async def _party(sandbox: Sandbox, customer_id: str) -> tuple[str, str, int]:
    """Return the ERP's id of a customer, its tax number there, and how many invoices it has."""
    async with erp_of(sandbox) as (client, company):
        key = company["id"]
        (party,) = await client.rows("party.party", [["code", "=", customer_id]], ["id"], key)
        (number,) = await client.rows("party.identifier", [["party", "=", party["id"]]], ["code"], key)
        invoices = await client.rows("account.invoice", [["party", "=", party["id"]]], ["id"], key)
    return str(party["id"]), number["code"], len(invoices)
