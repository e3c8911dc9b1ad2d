"""One set of platforms, counted and disturbed from outside: with clients of their vendors, and the sandbox's control
port.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import date, datetime
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
import stripe
from stdnum.iso7064 import mod_11_10

from canonical.ids import utc_now
from canonical.orders import Order
from sandbox.salesperson import Sale, SaleLine, close_deal, open_deal
from sandbox.seed import Crm
from system_apis.billing.stripe.setup import EVENTS
from tiergate.dev.sandbox import DATABASE, Sandbox

T = TypeVar("T")
proteus: Any = import_module("proteus")  # it makes its models at run time: there are no types to check
OUR_READING = "query?q=SELECT%20Id%2C%20IsWon%2C%20Pricebook2Id%2C"
"""What tells our own reading of a deal from the salesperson's calls to the same CRM."""
THREE_LINES = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25), SaleLine("ONBOARDING", 1))


def day_of_books(moment: datetime) -> date:
    """Return the day that a moment is in for the company that sells, in Berlin: late in the evening in UTC it is the
    next one."""
    return moment.astimezone(ZoneInfo("Europe/Berlin")).date()


def wait_until(look: Callable[[], T | None], seconds: float = 30.0, what: str = "") -> T:
    """Return the first true value of `look`. Fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what or look}")


def german_vat(name: str) -> str:
    """Return a valid German VAT number that belongs to `name` alone."""
    digits = str(10_000_000 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 89_999_999)
    return f"DE{digits}{mod_11_10.calc_check_digit(digits)}"


class PlatformSet:
    """An org, a Tryton, a Stripe account and a provisioning target."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._held_back = ""
        self._held_from: list[str] = []

    @cached_property
    def crm(self) -> Crm:
        """Return a salesperson's client."""
        return self.sandbox.crm()

    @cached_property
    def stripe(self) -> stripe.StripeClient:
        """Return Stripe's own client."""
        return stripe.StripeClient(self.sandbox.api_key, base_addresses={"api": self.sandbox.url("billing")})

    # ---- selling

    def sale(self, name: str, **changes: Any) -> Sale:
        facts: dict[str, Any] = {"buyer": f"{name} GmbH", "lines": THREE_LINES, "tax_number": german_vat(name)}
        return Sale(**(facts | changes))

    def sell(self, sale: Sale, account: str | None = None) -> tuple[str, str]:
        """Close a deal. Return the ids of account and deal."""
        account_id, deal = open_deal(self.crm, sale, utc_now().date(), account)
        close_deal(self.crm, deal)
        return account_id, deal

    # ---- trouble

    def fault(self, platform: str, **fault: Any) -> None:
        httpx.post(f"{self.sandbox.url('control')}/faults/{platform}", json=fault).raise_for_status()

    def faults_left(self, platform: str) -> int:
        return len(httpx.get(f"{self.sandbox.url('control')}/faults").raise_for_status().json()[platform])

    def calm(self) -> None:
        httpx.delete(f"{self.sandbox.url('control')}/faults").raise_for_status()
        self.behave(sku="*", outcome="succeed", milliseconds=50)

    def merge(self, loser: str, into: str, **values: Any) -> None:
        """Merge an account into another, with some values of the loser's, as people do in the CRM."""
        merged = {"master": into, "loser": loser, "values": values}
        httpx.post(f"{self.sandbox.url('control')}/crm/merges", json=merged).raise_for_status()

    def restore(self, account: str) -> None:
        """Restore an account that was merged away from the recycle bin, as people do in the CRM."""
        restored = {"account": account}
        httpx.post(f"{self.sandbox.url('control')}/crm/restorations", json=restored).raise_for_status()

    def behave(self, **behaviour: Any) -> None:
        httpx.post(f"{self.sandbox.url('control')}/provisioning", json=behaviour).raise_for_status()

    def jobs(self, order_id: str) -> list[dict[str, Any]]:
        """Return what the provisioning target itself has of an order."""
        return httpx.get(f"{self.sandbox.url('control')}/provisioning/{order_id}").raise_for_status().json()

    def is_suspended(self, order_id: str) -> bool:
        """Return whether the target has suspended the service of an order."""
        return bool(self._service(order_id)["suspended"])

    def holder(self, order_id: str) -> str:
        """Return who has the service of an order, by the target; empty for who has ordered it."""
        return str(self._service(order_id)["holder"])

    def _service(self, order_id: str) -> dict[str, Any]:
        return httpx.get(f"{self.sandbox.url('control')}/provisioning/{order_id}/service").raise_for_status().json()

    def hold_back(self, event: str) -> None:
        """Let billing report every event but `event`, until `let_go`."""
        (endpoint,) = self.stripe.v1.webhook_endpoints.list().data
        others = [each for each in EVENTS if each != event]
        self.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": others})  # pyright: ignore[reportArgumentType]
        self._held_back = event
        self._held_from = [each.id for each in self.stripe.v1.events.list({"type": event, "limit": 100}).data]

    def let_go(self) -> None:
        """Let billing report the events that were held back."""
        (endpoint,) = self.stripe.v1.webhook_endpoints.list().data
        self.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": list(EVENTS)})  # pyright: ignore[reportArgumentType]
        for each in self.stripe.v1.events.list({"type": self._held_back, "limit": 100}).data:
            if each.id not in self._held_from:
                httpx.post(f"{self.sandbox.url('control')}/billing/events/{each.id}").raise_for_status()

    # ---- counting on the platforms, with clients that others wrote

    @cached_property
    def erp(self) -> Any:
        """Return Tryton's own client, in a session: a password takes Tryton a tenth of a second of each call."""
        url = f"http://127.0.0.1:{self.sandbox.ports.tryton}/{DATABASE}/rpc/"
        return proteus.config.set_xmlrpc_session(url, "admin", self.sandbox.erp_password).__enter__()

    def in_erp(self, model: str, *domain: Any) -> list[Any]:
        return proteus.Model.get(model, self.erp).find(list(domain))

    def rows_in_erp(self, model: str, fields: list[str], *domain: Any) -> list[dict[str, Any]]:
        """Return some fields of records: a record of the client has all of them, which takes Tryton half a second."""
        proxy = self.erp.get_proxy(model)
        return proxy.search_read(list(domain), 0, None, None, fields, self.erp.context)

    def counted(self, order: Order) -> dict[str, int]:
        """Return how many records each platform has of an order's customer, contract, invoice and payment."""
        account = order.plan.account_id if order.plan else ""
        customers = self.stripe.v1.customers.search({"query": f"metadata['tiergate_id']:'{order.customer_id}'"}).data
        customer = customers[0].id if customers else "none"
        invoices = self.stripe.v1.invoices.list({"customer": customer, "limit": 100}).data
        of_them = [("reference", "in", [each.id for each in invoices]), ("state", "in", ["posted", "paid"])]
        posted = self.rows_in_erp("account.invoice", ["payment_lines"], *of_them)
        return {
            "crm.contracts": len(self.crm.query(f"SELECT Id FROM Contract WHERE AccountId = '{account}'")),
            "billing.customers": len(customers),
            "billing.schedules": len(
                self.stripe.v1.subscription_schedules.list({"customer": customer, "limit": 100}).data
            ),
            "billing.subscriptions": len(
                self.stripe.v1.subscriptions.list({"customer": customer, "status": "all", "limit": 100}).data
            ),
            "billing.invoices": len(invoices),
            "billing.charges": len(self.stripe.v1.charges.list({"customer": customer, "limit": 100}).data),
            "erp.customers": len(self.rows_in_erp("party.party", ["id"], ("code", "=", order.customer_id))),
            "erp.posted_invoices": len(posted),
            "erp.payments": sum(len(each["payment_lines"]) for each in posted),
        }


EXACTLY_ONE = {
    "crm.contracts": 1,
    "billing.customers": 1,
    "billing.schedules": 1,
    "billing.subscriptions": 1,
    "billing.invoices": 1,
    "billing.charges": 1,
    "erp.customers": 1,
    "erp.posted_invoices": 1,
    "erp.payments": 1,
}
