"""A system layer whose platforms answer at once, for the bench: what is left is what the process layer itself costs.

Takes a plan as JSON: port, config (of the process layers), processes (their URLs). Every deal is new and good, and each
line is reported as delivered right after it was asked for. `GET /changes` shows which changes of contracts billing was
asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from litestar.types import Receive, Scope, Send
from stdnum.iso7064 import mod_11_10

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import Contract
from canonical.deals import Deal, DealLine, ProvisioningRequest
from canonical.events import LINE_PROVISIONED, Event
from canonical.ids import utc_now
from canonical.money import Money
from canonical.parties import (
    Account,
    Address,
    Contact,
    Credit,
    CustomerMatches,
    KnownProducts,
    LegalEntity,
    PlatformId,
)
from canonical.tax import Tax, TaxRule, TaxTreatment
from policies.catalogue.check import load as load_catalogue
from policies.contract.bodies import read_body, send_response
from policies.http.client import EXCHANGE
from policies.outbound.layer_client import AsyncLayerClient
from tiergate import composition
from tiergate.settings import load

CALLER = "system-layer"
SECONDS = 10.0
DELIVERY = 0.02
"""Seconds that a target takes for its report."""
PLACE = re.compile(r"/(?P<domain>\w+)/v1/(?P<what>[\w-]+)/(?P<key>[\w-]+)(?:/(?P<then>[\w/]+))?")


def account_of(key: str) -> Account:
    """Return the account of a new customer."""
    digits = key[7:15]
    number = f"DE{digits}{mod_11_10.calc_check_digit(digits)}"
    address, contact = Address("Hauptstraße 1", "10115", "Berlin", "DE"), Contact("Kim Beispiel", "kim@example.com")
    return Account(key, f"Bench {key} GmbH", address, number, contact, "pm_card_visa", revision="1" * 16)


def deal_of(key: str) -> Deal:
    """Return a deal of a new customer with one line."""
    account = account_of(f"001{key[3:]}")
    line = DealLine(f"00k{key[3:]}", "PLATFORM", "Platform fee", Decimal(1), Decimal(6000), "year", listed=True)
    day = utc_now().date()
    return Deal(key, f"Deal {key}", 1, account, "EUR", "DE01", day, 12, (line,), won=True, placed_by="kim@example.com")


RECORDS: dict[str, Callable[[str], object]] = {"deals": deal_of, "accounts": account_of}
"""What the CRM has, by the name of its route."""


class ChangesMade(msgspec.Struct, frozen=True):
    """Which changes billing was asked for, and how often, by contract: the same again is done once."""

    by_contract: dict[str, dict[str, int]]


class InstantSystem:
    """Answer the process layer's calls, and report what was delivered."""

    def __init__(self, plan: dict[str, Any]) -> None:
        settings = load(Path(plan["config"]), {})
        issuer, client = composition.issuer(settings), load_catalogue().clients[CALLER]
        self._token = lambda: issuer.token(CALLER, client)
        processes = [AsyncLayerClient(each, "process", SECONDS) for each in plan["processes"]]
        self._next: Iterator[AsyncLayerClient] = itertools.cycle(processes)
        self._reports: set[asyncio.Task[None]] = set()
        self._changes: dict[str, Counter[str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        answer = msgspec.json.encode(self._answer(scope["method"], scope["path"], body))
        mark = EXCHANGE.lower().encode()
        named = [(mark, value) for name, value in scope["headers"] if name == mark]
        await send_response(send, 200, [(b"content-type", b"application/json"), *named], answer)

    def _answer(self, method: str, path: str, body: bytes) -> object:
        answer: object = msgspec.Raw(body or b'{"status":"ok"}')
        found = PLACE.fullmatch(path)
        place = (found["domain"], found["what"], found["then"], method) if found else ("", path, None, method)
        key = found["key"] if found else ""
        match place:
            case "crm", ("deals" | "accounts") as what, None, "GET":
                answer = RECORDS[what](key)
            case "", "/erp/v1/products", _, _:
                answer = KnownProducts(("PLATFORM",), {"PLATFORM": "standard"})
            case "erp", "legal-entities", None, _:
                taxes, rules = (Tax("standard", "standard", Decimal(19)),), (TaxRule(tax="standard"),)
                rates: dict[TaxTreatment, Decimal] = {"standard": Decimal(19)}
                answer = LegalEntity(key, "Tiergate GmbH", "DE", "EUR", rates, taxes, rules)
            case "erp", "customers", "credit", _:
                answer = Credit(Money(0, "EUR"), Money(10**10, "EUR"))
            case _, "customers", "matches", _:
                answer = CustomerMatches(())
            case domain, "customers", None, _:
                answer = PlatformId(f"{domain}-{key}")
            case _, "/changes", _, _:
                answer = ChangesMade({key: dict(each) for key, each in self._changes.items()})
            case "billing", "contracts", then, _:
                answer = self._contract(body, then)
            case "provisioning", "orders", None, "PUT":
                asked = msgspec.json.decode(body, type=ProvisioningRequest)
                report = asyncio.create_task(self._report(asked))
                self._reports.add(report)
                report.add_done_callback(self._reports.discard)
            case _:
                pass  # what was put is what is there
        return answer

    def _contract(self, body: bytes, then: str | None) -> Contract | BillingPreview:
        """Return what billing has once it has done something with a contract, or what a change of it would be."""
        match then:
            case "change/preview":
                return _preview()
            case "change":
                change = msgspec.json.decode(body, type=ContractChange)
                self._changes.setdefault(change.contract.id, Counter())[change.id] += 1
                return msgspec.structs.replace(change.contract, lines=change.lines)
            case _:
                contract = msgspec.json.decode(body, type=Contract)
        references = contract.references | {"customer": f"billing-{contract.customer_id}", "schedule": contract.id}
        state = "active" if then == "start" else contract.state
        return msgspec.structs.replace(contract, references=references, state=state)

    async def _report(self, asked: ProvisioningRequest) -> None:
        await asyncio.sleep(DELIVERY)
        for line in asked.lines:
            event = Event(
                id=f"{asked.order_id}:{line.id}:{asked.attempt}",
                source="provisioning/provisioner",
                type=LINE_PROVISIONED,
                subject=asked.order_id,
                time=utc_now(),
                data={"line": line.id, "succeeded": "true", "reason": ""},
            )
            await next(self._next).call("POST", "/process/v1/events", self._token(), dict[str, bool], event)


def _preview() -> BillingPreview:
    """Return what billing says of a change that counts from the end of the month: nothing is charged for it now."""
    month = utc_now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following: datetime = (month + timedelta(days=31)).replace(day=1)
    return BillingPreview(following, ())


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    uvicorn.run(InstantSystem(plan), host="127.0.0.1", port=plan["port"], log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
