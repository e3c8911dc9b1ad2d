"""Everything on loopback, as `tiergate sandbox` and `tiergate up` start it: stand-ins, a real Tryton, three layers."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from canonical.cases import Case
from canonical.ids import utc_now
from canonical.orders import Order, OrderSummary, Page
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Layer
from sandbox.salesforce.dialect import DEMO, Dialect
from sandbox.salesperson import Sale
from sandbox.site import Site
from tests.support.platforms import PlatformSet, wait_until
from tests.support.recorded_states import restore
from tiergate.composition import readiness_token
from tiergate.dev.channels import Channels
from tiergate.dev.layers import LAYERS, START_SECONDS
from tiergate.dev.ports import choose_ports
from tiergate.dev.processes import Child, layer_process, stop_all, wait_for
from tiergate.dev.sandbox import Sandbox
from tiergate.settings import load

T = TypeVar("T")
POLL = 0.5
"""Seconds between two looks at the CRM's changes: more of them cost more than they gain."""
BOTH_POSTED = {"invoice": "posted", "payment": "posted"}
METRICS_TOKEN = "a-token-that-shows-metrics"
VARIABLES = {
    "TIERGATE_SERVER_METRICS_TOKEN": METRICS_TOKEN,
    "TIERGATE_PROCESS_DEAD_AFTER": "1.5",
    "TIERGATE_PROCESS_PAUSE": "0.2",
    "TIERGATE_PROCESS_LONGEST_PAUSE": "3",
}


class Environment(PlatformSet):
    """Run one sandbox and the three layers over it, with more sites beside it."""

    def __init__(
        self,
        folder: Path,
        templates: Path,
        database_url: str = "",
        erp_database: str = "",
        variables: dict[str, str] | None = None,
        recorded: Path | None = None,
        beside: tuple[Site, ...] = (),
        mappings: Mapping[str, tuple[Dialect, Path]] | None = None,
        *,
        virtual_time: bool = False,
    ) -> None:
        """Start everything, but for the process layer when there is a `recorded` state to begin with.

        `beside` are companies that sell from platforms of their own in the same deployment. `mappings` says, for the
        code of a company, what its CRM calls things, and which file maps it. With `virtual_time` the layers have the
        time of the stand-ins, which `wait` sets forward.
        """
        self._variables = VARIABLES | (variables or {})
        today = utc_now().date()
        others = tuple(self._sandbox(folder, templates, each, (mappings or {}).get(each.code)) for each in beside)
        super().__init__(
            Sandbox(
                folder,
                templates,
                choose_ports(usual=False),
                today,
                database_url,
                POLL,
                erp_database,
                beside=others,
                virtual_time=virtual_time,
            )
        )
        self.twins = tuple(PlatformSet(each) for each in others)
        self.settings = load(self.sandbox.config, variables or {})
        self.folder = folder
        if recorded:
            restore(recorded, folder, utc_now(), self.sandbox.url("system"))
        self.children: dict[str, Child] = {"sandbox": self.sandbox.start()}
        self.children |= {each.site.code: each.start() for each in others}
        with contextlib.ExitStack() as started:
            started.callback(self.stop)
            self.sandbox.ready(self.children["sandbox"])
            for each in others:
                each.ready(self.children[each.site.code], self.sandbox.url("system"))
            for layer in LAYERS:
                if not (recorded and layer == "process"):
                    self.start(layer)
            started.pop_all()
        self.channels = Channels(self.settings)

    @staticmethod
    def _sandbox(folder: Path, templates: Path, site: Site, mapped: tuple[Dialect, Path] | None) -> Sandbox:
        dialect, file = mapped or (DEMO, "")
        return Sandbox(
            folder / site.code,
            templates,
            choose_ports(usual=False),
            utc_now().date(),
            poll_seconds=POLL,
            site=site,
            dialect=dialect,
            crm_mapping=str(file),
        )

    def wait(self, span: timedelta) -> datetime:
        """Set the time of everything forward, of those who have a virtual one, and return the time that it is then."""
        answer = httpx.post(f"{self.sandbox.url('control')}/clock", json={"seconds": span.total_seconds()}, timeout=60)
        return datetime.fromisoformat(answer.raise_for_status().json()["now"])

    # ---- processes

    def start(self, layer: Layer, extra: dict[str, str] | None = None) -> None:
        child = layer_process(layer, self.sandbox.config, self.folder, self._variables | (extra or {}))
        self.children[layer] = child
        wait_for(f"{self.sandbox.url(layer)}/health/live", child, START_SECONDS)

    def kill(self, layer: Layer) -> None:
        self.children[layer].process.send_signal(signal.SIGKILL)
        self.children[layer].process.wait()

    def kill_and_start(self, layer: Layer, extra: dict[str, str] | None = None) -> None:
        """Kill the layer and start it again, with all faults of the platforms switched off."""
        self.kill(layer)
        self.calm()
        self.start(layer, extra)

    def readiness(self, layer: Layer) -> httpx.Response:
        """Return what a layer answers those who may see what it depends on."""
        token = readiness_token(layer, self.settings, load_catalogue(self.settings.governance.path()))
        return httpx.get(f"{self.sandbox.url(layer)}/health/ready", headers={"authorization": f"Bearer {token}"})

    def metrics(self, layer: Layer) -> list[Metric]:
        """Return what a layer measures of itself."""
        answer = httpx.get(f"{self.sandbox.url(layer)}/metrics", headers={"authorization": f"Bearer {METRICS_TOKEN}"})
        answer.raise_for_status()
        return list(text_string_to_metric_families(answer.text))

    def stop(self) -> None:
        stop_all(self.children.values())

    # ---- selling

    def order_of(self, deal: str, seconds: float = 20.0, crm: str = "salesforce") -> Order:
        return wait_until(lambda: self.find_order(deal, crm), seconds, f"an order for the deal {deal} of {crm}")

    def find_order(self, deal: str, crm: str = "salesforce") -> Order | None:
        """Return the order of a deal, if there is one. Two CRMs may have the same id for two deals."""
        order_id = self.record("SELECT id FROM orders WHERE deal_id = ? AND crm = ?", deal, crm)
        return self.channels.order(order_id) if order_id else None

    def order_in(self, deal: str, *states: str, seconds: float = 40.0, crm: str = "salesforce") -> Order:
        """Return the order of a deal once it is in one of `states`. Only then are the layers asked: to ask them all the
        time is work that they have beside what is waited for."""

        def look() -> Order | None:
            if self.record("SELECT state FROM orders WHERE deal_id = ? AND crm = ?", deal, crm) not in states:
                return None
            order = self.find_order(deal, crm)
            return order if order and order.state in states else None

        return wait_until(look, seconds, f"the deal {deal} in {states}")

    def paid_order(self, sale: Sale) -> Order:
        """Close a deal, and return its order once it is active, with its invoice and payment posted."""
        _, deal = self.sell(sale)
        order = self.order_in(deal, "active")
        self.settled(order)
        return order

    def shown(self, deal: str, state: str) -> dict[str, Any]:
        """Return what the CRM shows on the deal once it shows `state`, which follows the order's own state."""
        own = ", ".join(f"Tiergate{name}__c" for name in ("Status", "Detail", "Order", "Correlation"))
        fields = f"{own}, Account.TiergateCustomer__c"

        def look() -> dict[str, Any] | None:
            (row,) = self.crm.query(f"SELECT {fields} FROM Opportunity WHERE Id = '{deal}'")
            return row if row["TiergateStatus__c"] == state else None

        return wait_until(look, 10, f"the deal {deal} shown as {state}")

    def record(self, query: str, *values: str) -> Any:
        """Return one value of the process layer's own records, read from its database."""
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
        """Perform an action on a case, as the support desk does."""
        body = {"action": action, "reason": reason}
        return self.channels.post("support-desk", f"/support/v1/cases/{case_id}/actions", body, Case)

    def decide(self, case_id: str, decision: str, reason: str = "", on_behalf_of: str = "") -> Case:
        """Approve or reject, as somebody in finance."""
        body = {"decision": decision, "reason": reason}
        path = f"/finance/v1/cases/{case_id}/approval"
        return self.channels.post("finance-app", path, body, Case, on_behalf_of=on_behalf_of)

    def settled(self, order: Order, seconds: float = 60.0) -> None:
        """Wait until the order's invoice and payment are posted."""
        contract = order.plan.contract.id if order.plan else ""
        wait_until(lambda: self.posted_kinds(order) == len(BOTH_POSTED), seconds, f"the postings of {order.id}")
        assert {each.kind: each.state for each in self.channels.postings(contract)} == BOTH_POSTED

    def posted_kinds(self, order: Order) -> int:
        """Return how many kinds of postings an order has, as the process layer keeps them; 0 while one still waits."""
        contract = order.plan.contract.id if order.plan else ""
        kinds, waiting = (
            self.record(
                f"SELECT COUNT(DISTINCT kind) FROM postings WHERE contract_id = ? AND state {which} 'posted'", contract
            )
            for which in ("=", "<>")
        )
        return 0 if waiting else kinds
