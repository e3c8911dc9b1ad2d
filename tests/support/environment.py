"""Everything on loopback, as `tiergate sandbox` and `tiergate up` start it: stand-ins, a real Tryton, three layers."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import stripe
from stdnum.iso7064 import mod_11_10

from canonical.cases import Case
from canonical.ids import utc_now
from canonical.orders import Order, OrderSummary, Page
from policies.catalogue.model import Layer
from sandbox.salesperson import Sale, SaleLine, close_deal, open_deal
from sandbox.seed import EVENTS
from tests.support.recorded_states import restore
from tiergate.dev.demo import Channels
from tiergate.dev.sandbox import DATABASE, LAYERS, START_SECONDS, Sandbox, choose_ports
from tiergate.server.server import Child, layer_process, wait_for
from tiergate.settings import load

T = TypeVar("T")
proteus: Any = import_module("proteus")  # it makes its models at run time: there are no types to check
THREE_LINES = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25), SaleLine("ONBOARDING", 1))
VARIABLES = {
    "TIERGATE_PROCESS_DEAD_AFTER": "1.5",
    "TIERGATE_PROCESS_PAUSE": "0.2",
    "TIERGATE_PROCESS_LONGEST_PAUSE": "3",
}


def wait_until(look: Callable[[], T | None], seconds: float = 30.0, what: str = "") -> T:
    """The first thing that `look` gives. Fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds:.0f} s: {what or look}")


def german_vat(name: str) -> str:
    """A valid German VAT number that belongs to `name` alone."""
    digits = str(10_000_000 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 89_999_999)
    return f"DE{digits}{mod_11_10.calc_check_digit(digits)}"


class Environment:
    """One sandbox and the three layers over it."""

    def __init__(
        self,
        folder: Path,
        templates: Path,
        database_url: str = "",
        erp_database: str = "",
        variables: dict[str, str] | None = None,
        recorded: Path | None = None,
    ) -> None:
        """`recorded` is a recorded state to begin with; the process layer is then left for the test to start."""
        self._variables = VARIABLES | (variables or {})
        self.sandbox = Sandbox(
            folder, templates, choose_ports(usual=False), utc_now().date(), database_url, 0.1, erp_database
        )
        self.settings = load(self.sandbox.config, variables or {})
        self.folder = folder
        if recorded:
            restore(recorded, folder, utc_now(), self.sandbox.url("system"))
        self.children: dict[str, Child] = {"sandbox": self.sandbox.start()}
        try:
            self.sandbox.ready(self.children["sandbox"])
            for layer in LAYERS:
                if not (recorded and layer == "process"):
                    self.start(layer)
        except RuntimeError:
            self.stop()
            raise
        self.crm = self.sandbox.crm()
        self.channels = Channels(self.settings)
        self.stripe = stripe.StripeClient(self.sandbox.api_key, base_addresses={"api": self.sandbox.url("billing")})
        self._erp: Any = None
        self._held_back = ""
        self._held_from: list[str] = []

    # ---- processes

    def start(self, layer: Layer, extra: dict[str, str] | None = None) -> None:
        child = layer_process(layer, self.sandbox.config, self.folder, self._variables | (extra or {}))
        self.children[layer] = child
        wait_for(f"{self.sandbox.url(layer)}/health/live", child, START_SECONDS)

    def kill(self, layer: Layer) -> None:
        self.children[layer].process.send_signal(signal.SIGKILL)
        self.children[layer].process.wait()

    def kill_and_start(self, layer: Layer, extra: dict[str, str] | None = None) -> None:
        """The layer dies at once and comes back, to platforms that are well again."""
        self.kill(layer)
        self.calm()
        self.start(layer, extra)

    def stop(self) -> None:
        for child in self.children.values():
            if not child.ended:
                child.process.terminate()
        for child in self.children.values():
            child.stop()

    # ---- selling

    def sale(self, name: str, **changes: Any) -> Sale:
        facts: dict[str, Any] = {"buyer": f"{name} GmbH", "lines": THREE_LINES, "tax_number": german_vat(name)}
        return Sale(**(facts | changes))

    def sell(self, sale: Sale, account: str | None = None) -> tuple[str, str]:
        """Close a deal. Gives the ids of account and deal."""
        account_id, deal = open_deal(self.crm, sale, utc_now().date(), account)
        close_deal(self.crm, deal)
        return account_id, deal

    def order_of(self, deal: str, seconds: float = 20.0) -> Order:
        return wait_until(lambda: self.find_order(deal), seconds, f"an order for the deal {deal}")

    def find_order(self, deal: str) -> Order | None:
        order_id = self.record("SELECT id FROM orders WHERE deal_id = ?", deal)
        return self.channels.order(order_id) if order_id else None

    def order_in(self, deal: str, *states: str, seconds: float = 40.0) -> Order:
        def look() -> Order | None:
            order = self.find_order(deal)
            return order if order and order.state in states else None

        return wait_until(look, seconds, f"the deal {deal} in {states}")

    def shown(self, deal: str, state: str) -> dict[str, Any]:
        """What the CRM shows on the deal, once it shows `state`: it is told after the order has reached it."""
        fields = "TiergateStatus__c, TiergateDetail__c, TiergateOrder__c, TiergateCorrelation__c, Account.TiergateCustomer__c"

        def look() -> dict[str, Any] | None:
            (row,) = self.crm.query(f"SELECT {fields} FROM Opportunity WHERE Id = '{deal}'")
            return row if row["TiergateStatus__c"] == state else None

        return wait_until(look, 10, f"the deal {deal} shown as {state}")

    def record(self, query: str, *values: str) -> Any:
        """One value of the process layer's own records, read beside it."""
        if self.settings.process.database_url:
            with psycopg.connect(self.settings.process.database_url) as connection:
                row = connection.execute(query.replace("?", "%s").encode(), values).fetchone()
        else:
            with closing(sqlite3.connect(f"file:{self.folder / 'process.sqlite'}?mode=ro", uri=True)) as connection:
                row = connection.execute(query, values).fetchone()
        return row[0] if row else None

    def orders(self) -> list[OrderSummary]:
        page: Page[OrderSummary] = self.channels.get("sales-app", "/sales/v1/orders?limit=100", Page[OrderSummary])
        return list(page.items)

    def cases_of(self, subject: str) -> list[Case]:
        page: Page[Case] = self.channels.get("support-desk", "/support/v1/cases?limit=100", Page[Case])
        return [each for each in page.items if each.subject == subject]

    def act(self, case_id: str, action: str, reason: str = "") -> Case:
        """Do something about a case, as the support desk does."""
        body = {"action": action, "reason": reason}
        return self.channels.post("support-desk", f"/support/v1/cases/{case_id}/actions", body, Case)

    def decide(self, case_id: str, decision: str, reason: str = "", on_behalf_of: str = "") -> Case:
        """Approve or reject, as somebody in finance."""
        body = {"decision": decision, "reason": reason}
        path = f"/finance/v1/cases/{case_id}/approval"
        return self.channels.post("finance-app", path, body, Case, on_behalf_of=on_behalf_of)

    def settled(self, order: Order, seconds: float = 60.0) -> None:
        """Until the order's invoice and payment are posted."""
        contract = order.plan.contract.id if order.plan else ""

        def look() -> bool:
            found = {each.kind: each.state for each in self.channels.postings(contract)}
            return found == {"invoice": "posted", "payment": "posted"}

        wait_until(look, seconds, f"the postings of {order.id}: {self.channels.postings(contract)}")

    # ---- trouble

    def fault(self, platform: str, **fault: Any) -> None:
        httpx.post(f"{self.sandbox.url('control')}/faults/{platform}", json=fault).raise_for_status()

    def faults_left(self, platform: str) -> int:
        return len(httpx.get(f"{self.sandbox.url('control')}/faults").raise_for_status().json()[platform])

    def calm(self) -> None:
        httpx.delete(f"{self.sandbox.url('control')}/faults").raise_for_status()
        self.behave(sku="*", outcome="succeed", milliseconds=50)

    def behave(self, **behaviour: Any) -> None:
        httpx.post(f"{self.sandbox.url('control')}/provisioning", json=behaviour).raise_for_status()

    def jobs(self, order_id: str) -> list[dict[str, Any]]:
        """What the provisioning target itself knows of an order."""
        return httpx.get(f"{self.sandbox.url('control')}/provisioning/{order_id}").raise_for_status().json()

    def hold_back(self, event: str) -> None:
        """Billing tells of everything but `event`, until `let_go`."""
        (endpoint,) = self.stripe.v1.webhook_endpoints.list().data
        others = [each for each in EVENTS if each != event]
        self.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": others})  # pyright: ignore[reportArgumentType]
        self._held_back = event
        self._held_from = [each.id for each in self.stripe.v1.events.list({"type": event, "limit": 100}).data]

    def let_go(self) -> None:
        """Billing tells of what it held back."""
        (endpoint,) = self.stripe.v1.webhook_endpoints.list().data
        self.stripe.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": list(EVENTS)})  # pyright: ignore[reportArgumentType]
        for each in self.stripe.v1.events.list({"type": self._held_back, "limit": 100}).data:
            if each.id not in self._held_from:
                httpx.post(f"{self.sandbox.url('control')}/billing/events/{each.id}").raise_for_status()

    # ---- counting on the platforms, with clients that others wrote

    @property
    def erp(self) -> Any:
        """Tryton through its own client."""
        if self._erp is None:
            url = f"http://admin:{self.sandbox.erp_password}@127.0.0.1:{self.sandbox.ports.tryton}/{DATABASE}/rpc/"
            self._erp = proteus.config.set_xmlrpc(url)
        return self._erp

    def in_erp(self, model: str, *domain: Any) -> list[Any]:
        return proteus.Model.get(model, self.erp).find(list(domain))

    def counted(self, order: Order) -> dict[str, int]:
        """How many records each platform itself holds of an order's customer, contract, invoice and payment."""
        account = order.plan.account_id if order.plan else ""
        customers = self.stripe.v1.customers.search({"query": f"metadata['tiergate_id']:'{order.customer_id}'"}).data
        customer = customers[0].id if customers else "none"
        invoices = self.stripe.v1.invoices.list({"customer": customer, "limit": 100}).data
        posted = [
            each
            for invoice in invoices
            for each in self.in_erp(
                "account.invoice", ("reference", "=", invoice.id), ("state", "in", ["posted", "paid"])
            )
        ]
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
            "erp.customers": len(self.in_erp("party.party", ("code", "=", order.customer_id))),
            "erp.posted_invoices": len(posted),
            "erp.payments": sum(len(each.payment_lines) for each in posted),
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
