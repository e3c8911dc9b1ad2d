"""The demo: starts everything, closes a deal in the CRM, and follows it to cash."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from rich.console import Console

from canonical.ids import utc_now
from canonical.money import Money
from canonical.orders import Order
from canonical.states import OrderState
from sandbox.salesperson import Sale, SaleLine, close_deal, open_deal
from sandbox.site import SITES
from tiergate.dev import unusual_sales
from tiergate.dev.channels import Channels, DemoFailed
from tiergate.dev.contract_life import ContractLife
from tiergate.dev.layers import start_layers, wait_for_the_end
from tiergate.dev.platform_views import PlatformViews, platform_views, systems_table
from tiergate.dev.ports import choose_ports, displaced
from tiergate.dev.processes import Child, stopped_at_the_end
from tiergate.dev.sandbox import Sandbox, lock_folder, prepare_sandbox, templates_of
from tiergate.people import sign_in_link
from tiergate.settings import Settings, load
from tiergate.sqlite_version import check_sqlite

ORDER_SECONDS = 60.0
POSTING_SECONDS = 60.0
GERMAN_SALE = Sale(
    buyer="Nordwind Logistik GmbH",
    parent="Nordwind Holding SE",
    tax_number="DE129273398",
    lines=(SaleLine("PLATFORM", 1), SaleLine("SEAT", 25), SaleLine("ONBOARDING", 1)),
)
FRENCH_SALE = Sale(
    buyer="Papeterie du Midi SARL",
    country="FR",
    tax_number="FR61954506077",
    legal_entity="FR01",
    lines=(SaleLine("PLATFORM", 1), SaleLine("SEAT", 12)),
)
SALES = (GERMAN_SALE, FRENCH_SALE)
"""What is sold at each site."""
MEANING: dict[OrderState, str] = {
    "received": "the closed deal was seen in the CRM",
    "validating": "parents, entity, tax, products and prices are checked",
    "credit_review": "the ERP is asked for the customer's credit",
    "onboarding": "billing and the ERP get the customer",
    "subscribing": "billing gets the contract, and bills nothing yet",
    "provisioning": "the lines are delivered, one by one",
    "active": "delivered, billed, and shown in the CRM",
}


def run(folder: Path, *, once: bool, report: Path | None, instances: int = 1) -> None:
    """Start everything and follow a deal of each of `instances` sites to cash.

    Raises `NotReady` when another demo has the folder or a server does not start, `DemoFailed` when an order does not
    become active or its postings do not come.
    """
    with lock_folder(folder, "demo"):
        try:
            _run(folder, once=once, report=report, instances=instances)
        except httpx.HTTPError as error:
            raise DemoFailed(f"{error.request.method} {error.request.url}: {error}") from error


def _run(folder: Path, *, once: bool, report: Path | None, instances: int) -> None:
    console = Console(highlight=False)
    began = time.monotonic()
    sites = SITES[:instances]
    check_sqlite(Settings())
    prepare_sandbox(folder, sites)
    own = folder / "demo"
    if own.exists():  # each demo begins with an empty company
        shutil.rmtree(own)
    today, templates = utc_now().date(), templates_of(folder)
    others = tuple(
        Sandbox(own / each.code, templates, choose_ports(usual=False), today, site=each) for each in sites[1:]
    )
    sandbox = Sandbox(own, templates, choose_ports(), today, beside=others, virtual_time=not others)
    settings = load(sandbox.config, {})
    with stopped_at_the_end() as children:
        started = [(each, each.start()) for each in (sandbox, *others)]
        children += [child for _, child in started]
        for each, child in started:
            each.ready(child, sandbox.url("system"))
        start_layers(settings, sandbox.config, children)
        console.print(f"[bold]Everything is up[/] after {time.monotonic() - began:.1f} s:")
        many = f", {len(sites)} of each, each for a company of its own" if others else ""
        console.print(f"stand-ins for Salesforce and Stripe, a real Tryton, three layers{many}.")
        for each in displaced(sandbox.ports):
            console.print(f"[yellow]{each}[/]", soft_wrap=True)
        console.print()
        channels = Channels(settings)
        order, seconds = sell(console, sandbox, channels, SALES[0])
        found = platform_views(sandbox, order)
        show(console, found)
        if not others:
            ContractLife(console, sandbox, channels, order).go_on()
            sandbox.write_here(channels.clock().date())
        sell_unusual(console, sandbox, channels)
        for each, sale in zip(others, SALES[1:], strict=False):
            console.print()
            other, _ = sell(console, each, channels, sale)
            show(console, platform_views(each, other))
        total = time.monotonic() - began
        console.print(
            f"\n[bold green]From the closed deal to active service in {seconds:.1f} s[/], and nobody rekeyed anything."
        )
        console.print(f"[dim]{total:.1f} s in all, with starting everything.[/]\n")
        if report:
            report.write_bytes(
                msgspec.json.format(msgspec.json.encode(as_report(order, seconds, found)), indent=2) + b"\n"
            )
        if not once:
            go_on(console, settings, channels, sandbox, order)
            kill_it(console, sandbox.config, children)
            console.print("Ctrl-C stops everything.")
            wait_for_the_end(
                children,
                lambda child: console.print(f"[yellow]{child.name} ended; the others go on.[/] See {child.log}"),
            )
    console.print(f"Stopped. All state is in [bold]{own}[/]; the next demo begins again from nothing.")


def sell(console: Console, sandbox: Sandbox, channels: Channels, sale: Sale) -> tuple[Order, float]:
    """Close the deal as a salesperson would, and follow it. Return the order and the seconds from close to active."""
    crm = sandbox.crm()
    _, deal = open_deal(crm, sale, channels.clock().date())
    introduce(console, sandbox, sale)
    console.print()
    closed = channels.clock()
    close_deal(crm, deal)
    crm.close()
    console.print("  0.00 s  [bold]closed won[/]       in the CRM")
    order = follow(console, channels, (sandbox.platform("crm"), deal), closed)
    settle(console, channels, order, closed)
    return channels.order(order.id), seconds_to_active(order, closed)


def seconds_to_active(order: Order, closed: datetime) -> float:
    """Return the seconds from the close of the deal until its order was active, as the order's history says."""
    active = next(each.at for each in order.history if each.state == "active")
    return (active - closed).total_seconds()


def introduce(console: Console, sandbox: Sandbox, sale: Sale) -> None:
    """Print who sells what to whom."""
    group = f" (of {sale.parent})" if sale.parent else ""
    console.print(f"{sandbox.site.company} sells to [bold]{sale.buyer}[/]{group}:")
    sold = ", ".join(f"{line.quantity:g} × {line.code}" for line in sale.lines)
    console.print(f"{sold}, from {sale.starts_on} on" if sale.starts_on else sold)


def sell_unusual(console: Console, sandbox: Sandbox, channels: Channels) -> None:
    """Close two less usual deals at once, and print what the systems make of them."""
    console.print("\nTwo less usual deals, closed at once:\n")
    today = channels.clock().date()
    sales = (unusual_sales.TWO_RATES, unusual_sales.swiss(today))
    crm = sandbox.crm()
    deals = [open_deal(crm, sale, today)[1] for sale in sales]
    for sale in sales:
        introduce(console, sandbox, sale)
    console.print()
    closed = channels.clock()
    for deal in deals:
        close_deal(crm, deal)
    crm.close()
    quiet = Console(quiet=True)
    orders = [follow(quiet, channels, (sandbox.platform("crm"), deal), closed) for deal in deals]
    for order, sale in zip(orders, sales, strict=True):
        console.print(f"{seconds_to_active(order, closed):6.2f} s  [bold]{'active':16}[/] {sale.buyer}")
    settle(console, channels, orders[0], closed)
    console.print(unusual_sales.by_line(sandbox, orders[0]))
    console.print(unusual_sales.before_its_start(sandbox, orders[1]))


def follow(console: Console, channels: Channels, deal: tuple[str, str], closed: datetime) -> Order:
    """Print each state as it is reached, until the order is active. `deal` is its CRM and its id there."""
    deadline = time.monotonic() + ORDER_SECONDS
    order: Order | None = None
    printed = 0
    while time.monotonic() < deadline:
        order = channels.order(order.id) if order else channels.order_of(*deal)
        if order:
            for change in order.history[printed:]:
                after = (change.at - closed).total_seconds()
                meaning = MEANING.get(change.state, order.blocked_reason)
                console.print(f"{after:6.2f} s  [bold]{change.state:16}[/] {meaning}")
            printed = len(order.history)
            if order.state == "active":
                return order
            if order.state in ("on_hold", "partially_active", "awaiting_approval", "failed", "cancelled"):
                raise DemoFailed(f"the order is {order.state}: {order.blocked_reason}")
        time.sleep(0.1)
    raise DemoFailed(
        f"the order did not become active within {ORDER_SECONDS:.0f} s; it is {order.state if order else 'not there'}"
    )


def settle(console: Console, channels: Channels, order: Order, closed: datetime) -> None:
    """Wait until finance sees the invoice and its payment as posted."""
    contract = order.plan.contract.id if order.plan else ""
    deadline = time.monotonic() + POSTING_SECONDS
    posted: set[str] = set()
    while time.monotonic() < deadline:
        for each in channels.postings(contract):
            if each.state == "posted" and each.kind not in posted:
                posted.add(each.kind)
                after = (each.updated_at - closed).total_seconds()
                booked = f"{each.amount} as {each.number}, {each.balance} due"
                console.print(f"{after:6.2f} s  [bold]{each.kind + ' posted':16}[/] {booked}")
            if each.state == "failed":
                raise DemoFailed(f"the {each.kind} was not posted: {each.blocked_reason}")
        if posted == {"invoice", "payment"}:
            return
        time.sleep(0.1)
    raise DemoFailed(f"not everything was posted within {POSTING_SECONDS:.0f} s: {', '.join(posted) or 'nothing'} was")


def show(console: Console, found: PlatformViews) -> None:
    """Print what each system holds of the same deal, read from the systems themselves."""
    table = systems_table("The same deal, as each system holds it")
    crm, billing, erp = found.crm, found.billing, found.erp
    table.add_row("customer", crm.account_id, billing.customer_id, erp.party_id)
    table.add_row("contract", crm.contract_number, billing.subscription_id, "–")
    table.add_row("invoice", "–", billing.invoice_number, erp.invoice_number)
    table.add_row("total", f"{crm.amount}", f"{billing.total}", f"{erp.total}")
    table.add_row("tax", "–", f"{billing.tax}", f"{erp.tax}")
    table.add_row("balance due", "–", f"{billing.balance}", f"{erp.balance}")
    table.add_row("status", crm.status, billing.status, erp.status)
    console.print(table)
    console.print("[dim]The CRM's total is without tax, the others' with it.[/]")


def as_report(order: Order, seconds: float, found: PlatformViews) -> dict[str, Any]:
    """Return the report, ready for JSON."""
    crm, billing, erp = found.crm, found.billing, found.erp
    return {
        "order": {
            "id": order.id,
            "state": order.state,
            "correlation_id": order.correlation_id,
            "seconds": round(seconds, 3),
        },
        "crm": {"status": crm.status, "account_id": crm.account_id, "contract_number": crm.contract_number},
        "billing": {
            "invoice_total": money(billing.total),
            "invoice_number": billing.invoice_number,
            "tax": money(billing.tax),
        },
        "erp": {
            "invoice_total": money(erp.total),
            "tax": money(erp.tax),
            "balance_due": money(erp.balance),
            "invoice_number": erp.invoice_number,
        },
        "counts": found.counts,
    }


def money(amount: Money) -> dict[str, str]:
    return {"amount": f"{amount.decimal:f}", "currency": amount.currency}


def go_on(console: Console, settings: Settings, channels: Channels, sandbox: Sandbox, order: Order) -> None:
    """Print addresses and ready-made calls to continue with."""
    config = sandbox.config
    console.print("[bold]See it in the console[/] (the link is good once, for ten minutes):")
    console.print(f"  {sign_in_link(settings, 'you@example.com')}", soft_wrap=True, markup=False)
    console.print("[bold]Go on with[/] (tokens are good for an hour):")
    for client, path in (
        ("sales-app", f"/sales/v1/orders/{order.id}"),
        ("finance-app", "/finance/v1/postings"),
        ("support-desk", "/support/v1/cases"),
        ("support-desk", f"/support/v1/customers/{order.customer_id}"),
    ):
        token = f"$(.venv/bin/tiergate token {client} --config {config})"
        line = f'curl -s -H "Authorization: Bearer {token}" {channels.url}{path}'
        console.print(f"  {line}", soft_wrap=True, markup=False)
    addresses = "  ".join(
        f"{name} {sandbox.url(name)}" for name in ("crm", "billing", "erp", "provisioning", "control")
    )
    console.print(f"\nThe sandbox: {addresses}", soft_wrap=True)


def kill_it(console: Console, config: Path, children: Sequence[Child]) -> None:
    """Print how the process layer is killed, and started again."""
    (process,) = (each.process for each in children if each.name == "process")
    again = f".venv/bin/tiergate serve process --config {config}"
    console.print(f"Kill the process layer: kill -9 {process.pid}. Start it again: {again}", soft_wrap=True)
