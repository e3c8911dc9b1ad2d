"""A customer with a contract that runs, over a system layer that answers for all platforms."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.deals import ContractCopy, DealStatus
from canonical.ids import derived
from canonical.orders import Plan
from canonical.parties import Account, Address, Contact, Customer, CustomerCopy
from process_apis.drift.looks import DriftLooks
from process_apis.drift.records import Drifts
from process_apis.drift.repair import Repairs
from process_apis.records import cross_references, customers
from process_apis.runtime.context import WorkflowContext
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import DELIVERED, LINES, TestClock, context_over, contract_of

CUSTOMER = derived("cus", "salesforce", "001")
ADDRESS = Address("Hauptstraße 1", "10115", "Berlin", "DE")
KIM = Contact("Kim Beispiel", "kim@example.com")
NUMBER = "DE129273398"
MISSING = (404, b'{"type": "/problems/platform-not-found", "title": "No", "status": 404, "detail": "none"}')
AWAY = (503, b'{"type": "/problems/platform-unavailable", "title": "Away", "status": 503, "detail": "away"}')


class Systems:
    """The platforms, as the system layer answers for them: what is put is held, unless a test says otherwise."""

    def __init__(self) -> None:
        self.account = Account("001", "Buyer GmbH", ADDRESS, NUMBER, KIM, revision="r1")
        copy = CustomerCopy("", self.account.name, ADDRESS, KIM.email, NUMBER)
        self.copies: dict[str, CustomerCopy | None] = {
            name: msgspec.structs.replace(copy, id=key) for name, key in (("billing", "cus_b"), ("erp", "7"))
        }
        self.contract: ContractCopy | None = None
        self.puts: list[Customer | DealStatus] = []
        self.away = ""
        self.deaf = False
        """Whether what is put changes nothing."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while a platform is asked for a copy."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        place = path.partition("?")[0].split("/")[1:]
        if place[0] == self.away:
            return AWAY
        found = self._found(method, place, body)
        return MISSING if found is None else (200, msgspec.json.encode(found))

    def _found(self, method: str, place: list[str], body: bytes) -> Any:
        match method, place:
            case "GET", ["crm", "v1", "accounts", _]:
                return self.account if self.account.id else None
            case "GET", ["crm", "v1", "contracts", _]:
                self.meanwhile()
                return self.contract
            case "PUT", ["crm", "v1", "deals", _, "status"]:
                return self._shown(msgspec.json.decode(body, type=DealStatus))
            case "POST", [domain, "v1", "customers", _, "copy"]:
                self.meanwhile()
                return self.copies[domain]
            case "PUT", [domain, "v1", "customers", _]:
                return self._kept(domain, msgspec.json.decode(body, type=Customer))
            case _:
                raise AssertionError(f"{method} {place} is not expected")

    def _kept(self, domain: str, customer: Customer) -> Any:
        self.puts.append(customer)
        held = self.copies[domain]
        key = held.id if held else f"new-{domain}"
        if not self.deaf:
            mail = customer.contact.email if customer.contact else ""
            copy = CustomerCopy(key, customer.name, customer.address, mail, customer.tax_number or "")
            self.copies[domain] = copy
        return {"id": key}

    def _shown(self, status: DealStatus) -> DealStatus:
        self.puts.append(status)
        if not self.deaf:
            self.contract = ContractCopy("800", status.account_id, status.starts_on, status.term_months)
        return status

    def change(self, domain: str, **values: Any) -> None:
        """Let somebody change a customer in billing or in the ERP."""
        held = self.copies[domain]
        assert held
        self.copies[domain] = msgspec.structs.replace(held, **values)


class Bench:
    """The systems, and what looks at them."""

    def __init__(self, context: WorkflowContext, clock: TestClock, systems: Systems) -> None:
        self.context = context
        self.clock = clock
        self.systems = systems
        self.records = Drifts(context.database, context.clock)
        self.repairs = Repairs(context, self.records)
        self.looks = DriftLooks(context, self.records)
        self.order = self._sold()
        self.contract = derived("con", self.order)
        systems.contract = ContractCopy("800", "001", contract_of("", "", "", LINES).starts_on, 12)

    def _sold(self) -> str:
        context = self.context
        references = {"salesforce": "001", "stripe": "cus_b", "tryton": "7"}
        known = Customer(
            CUSTOMER,
            "Buyer GmbH",
            ADDRESS,
            NUMBER,
            KIM,
            legal_entity="DE01",
            revision="r1",
            crm="salesforce",
            references=references,
        )
        order_id, _ = context.orders.receive("salesforce", "006", 1, "cor_1", context.stalled_at())
        contract = contract_of(derived("con", order_id), order_id, known.id, LINES, references={"customer": "cus_b"})
        cross_references.move(context.database, "con", "order", order_id, None, contract.id)
        customers.keep(context.database, known)
        context.orders.accept(order_id, "Deal", "seller", Plan(known, contract, "001"))
        for state in (*DELIVERED, "active"):
            context.orders.advance(order_id, state, next_attempt_at=None)
        context.orders.change(order_id, crm_status="active")
        return order_id


@pytest.fixture
def bench(tmp_path: Path, empty_tables: Path) -> Generator[Bench]:
    systems, clock = Systems(), TestClock()
    with no_workflows(), answering(systems.answer) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, clock, system) as context:
            yield Bench(context, clock, systems)
