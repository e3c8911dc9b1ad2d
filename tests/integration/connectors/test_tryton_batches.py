"""Whatever a batch holds, and whatever breaks on the way, each good invoice is posted once and each bad one is named.

Tryton is stood in for by its JSON-RPC methods alone, each done whole or not at all as its transactions are (`_dispatch`
of `trytond.protocols.dispatcher`, 8.2). The real one is asked the same by the kit, with fewer mixes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.billing import Invoice, InvoiceToPost, Posting
from canonical.faults import NotFound, PlatformFault, Rejected
from canonical.money import Money
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from system_apis.erp import tryton
from system_apis.erp.port import Erp
from system_apis.erp.tryton.client import READS
from system_apis.erp.tryton.mapping import day, decimal, from_day
from tests.support.connector_kit import samples
from tests.support.connector_kit.loopback import Seen, Trouble
from tests.support.connector_kit.subject import Bench, Subject, bench
from tiergate.platforms import Connector

Kind = Literal["new", "drafted", "drafted twice", "posted", "no customer", "no product", "other total", "refused"]
GOOD: tuple[Kind, ...] = ("new", "drafted", "drafted twice", "posted")
NAMED = {"no customer": NotFound, "no product": Rejected, "other total": Rejected, "refused": Rejected}
TODAY = date(2026, 3, 10)
ATTEMPTS = 12
Row = dict[str, Any]
FIXED: dict[str, list[Row]] = {
    "party.party": [{"id": 7, "code": "buyer", "addresses": [7], "identifiers.": []}],
    "company.company": [
        {
            "id": 1,
            "party": 1,
            "currency.": {"code": "EUR"},
            "party.": {"name": "Seller", "code": "DE01", "tax_identifier.": None},
        }
    ],
    "account.tax": [{"id": 1, "name": "VAT19", "rate": {"decimal": "0.19"}}],
    "account.journal": [{"id": 1}],
    "account.account": [{"id": 1}],
    "account.invoice.payment.method": [{"id": 1}],
    "currency.currency": [{"id": 1, "code": "EUR"}],
    "account.journal.period": [],
    "account.period": [{"id": 1, "start_date": day(date(2026, 1, 1))}],
    "product.product": [
        {
            "id": 1,
            "code": "SEAT",
            "active": True,
            "template.": {"active": True},
            "default_uom": 1,
            "default_uom.": {"digits": 0},
            "account_category.": {"account_revenue": 1, "name": ""},
        }
    ],
}


class Refused(Exception):
    """The call is rolled back, with the error that Tryton answers."""


class Books:
    """Invoices as Tryton keeps them: numbered when they are posted, those of a call in the order of their days."""

    def __init__(self) -> None:
        self.invoices: dict[int, Row] = {}
        self.refused: set[str] = set()
        """The references that cannot be posted."""
        self.posted_again: list[int] = []
        self._number = self._last = 0

    def add(self, reference: str, on: date, state: str = "draft", net: Decimal = Decimal(100)) -> int:
        self._number += state == "posted"
        row = {"reference": reference, "day": on, "state": state, "net": net, "tax": net * Decimal("0.19")}
        self._last += 1
        key = self._last
        self.invoices[key] = row | {"number": str(self._number) if state == "posted" else None}
        return key

    def do(self, method: str, params: list[Any]) -> Any:
        """Return the result of a method. Raises `Refused`, and has done nothing then."""
        model, _, name = method.removeprefix("model.").rpartition(".")
        match model, name:
            case "common.db", "login":
                return [1, "session"]
            case "account.invoice", "search_read":
                return [self._shown(key) for key in self.invoices if self._fits(key, params[0])]
            case "account.invoice", "create":
                return [self._create(each) for each in params[0]]
            case "account.invoice", "post":
                self._post(params[0])
            case "account.invoice", "delete":
                for key in params[0]:
                    del self.invoices[key]
            case _, "search_read":
                return FIXED[model]
            case _:
                raise AssertionError(f"nothing is known of {method}")
        return None

    def _create(self, record: Row) -> int:
        net = sum(
            Decimal(str(line["quantity"])) * Decimal(line["unit_price"]["decimal"]) for line in record["lines"][0][1]
        )
        return self.add(record["reference"], from_day(record["invoice_date"]), net=Decimal(net))

    def _post(self, keys: list[int]) -> None:
        if bad := [key for key in keys if self.invoices[key]["reference"] in self.refused]:
            raise Refused(f"the invoice {self.invoices[bad[0]]['reference']} is refused")
        for key in sorted(keys, key=lambda key: self.invoices[key]["day"]):
            if self.invoices[key]["state"] == "posted":
                self.posted_again.append(key)
            self._number += 1
            self.invoices[key] |= {"state": "posted", "number": str(self._number)}

    def _fits(self, key: int, domain: list[Any]) -> bool:
        row = self.invoices[key] | {"id": key, "type": "out", "company": 1}
        wanted = {name: (operator, value) for name, operator, value in domain if name in row}
        if len(wanted) < len(domain):
            return False  # it asks for what has a later number, and there is none
        return all(_holds(operator, row[name], value) for name, (operator, value) in wanted.items())

    def _shown(self, key: int) -> Row:
        row = self.invoices[key]
        due = row["net"] + row["tax"]
        return {
            "id": key,
            "reference": row["reference"],
            "number": row["number"],
            "state": row["state"],
            "invoice_date": day(row["day"]),
            "accounting_date": day(row["day"]),
            "total_amount": decimal(due),
            "tax_amount": decimal(row["tax"]),
            "amount_to_pay": decimal(due),
            "currency.": {"code": "EUR"},
            "taxes.": [{"id": key, "tax": 1, "base": decimal(row["net"]), "amount": decimal(row["tax"])}],
        }


def _holds(operator: str, present: Any, value: Any) -> bool:
    if operator == "in":
        return present in value
    return (present == value) is (operator == "=")


class Standin(Subject[Erp]):
    domain = "erp"
    connector = cast("Connector", tryton)
    secrets = ("secret",)

    def __init__(self, books: Books) -> None:
        self._books = books

    def settings(self, url: str) -> PlatformServer:
        return tryton.Settings(url=url, database="books", user="tiergate", password=Secret("secret"))

    def platform(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://tryton")

    def is_write(self, request: Seen) -> bool:
        return not json.loads(request.body)["method"].endswith((*READS, "login"))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        try:
            result = self._books.do(asked["method"], asked["params"])
        except Refused as refused:
            return httpx.Response(200, json={"id": 1, "error": ["UserError", [str(refused), "", None]]})
        return httpx.Response(200, json={"id": 1, "result": result})


class Mix(msgspec.Struct, frozen=True):
    """The invoices of a batch, each with its age in days, and what becomes of the writes: `broken` by their place."""

    invoices: list[tuple[Kind, int]]
    broken: dict[int, Literal["lost_answer", "no_answer", "answered"]]


mixes = st.builds(
    Mix,
    st.lists(st.tuples(st.sampled_from((*GOOD, *NAMED)), st.integers(0, 3)), min_size=1, max_size=12),  # pyright: ignore[reportArgumentType]
    st.dictionaries(st.integers(1, 12), st.sampled_from(("lost_answer", "no_answer", "answered")), max_size=5),
)


def of_kind(place: int, kind: Kind, age: int, books: Books) -> Invoice:
    """Return an invoice of a batch, after putting into the books what they have of it."""
    on = TODAY - timedelta(days=age)
    made = samples.invoice(f"in_{place}", "buyer", "SEAT", (Money(100_00, "EUR"),), on)
    match kind:
        case "drafted" | "drafted twice":
            for _ in range(1 + (kind == "drafted twice")):
                books.add(made.id, on)
        case "posted":
            books.add(made.id, on, "posted")
        case "refused":
            books.refused.add(made.id)
        case "no customer":
            return msgspec.structs.replace(made, customer_id="nobody")
        case "no product":
            line = msgspec.structs.replace(made.lines[0], sku="NONE")
            return msgspec.structs.replace(made, lines=(line,))
        case "other total":
            return msgspec.structs.replace(made, total=made.total + Money(1, "EUR"))
        case "new":
            pass
    return made


def break_writes(made: Bench[Erp], mix: Mix) -> None:
    """Let writes end as the mix says, by their place among all writes."""
    written = 0

    async def count(request: Seen) -> None:
        nonlocal written
        written += made.subject.is_write(request)

    def at(place: int) -> Callable[[Seen], bool]:
        return lambda request: made.subject.is_write(request) and written == place

    made.loopback.before = count
    for place, kind in mix.broken.items():
        made.loopback.trouble(Trouble(kind, at(place), 500))


@settings(max_examples=60, deadline=None)
@given(mixes)
def test_each_good_invoice_is_posted_once_and_each_bad_one_is_named(mix: Mix) -> None:
    books = Books()
    batch = [
        InvoiceToPost(of_kind(place, kind, age, books), f"correlation-{place}")
        for place, (kind, age) in enumerate(mix.invoices)
    ]
    kinds: dict[str, Kind] = {each.invoice.id: kind for each, (kind, _) in zip(batch, mix.invoices, strict=True)}
    there = {row["reference"] for row in books.invoices.values() if row["state"] == "posted"}

    async def case() -> dict[str, Posting | PlatformFault]:
        ended: dict[str, Posting | PlatformFault] = {}
        with tempfile.TemporaryDirectory() as folder:
            async with bench(Standin(books), Path(folder)) as made:
                break_writes(made, mix)
                for _ in range(ATTEMPTS):
                    left = [each for each in batch if not isinstance(ended.get(each.invoice.id), Posting)]
                    results = await made.settled(lambda left=left: made.connector.put_invoices(left, "next"))
                    ended |= dict(zip((each.invoice.id for each in left), results, strict=True))
                    if all(isinstance(each, Posting | Rejected | NotFound) for each in ended.values()):
                        return ended
        return ended

    ended = asyncio.run(case())

    assert books.posted_again == []
    posted = [row for row in books.invoices.values() if row["state"] == "posted"]
    assert sorted(row["reference"] for row in posted) == sorted(key for key, kind in kinds.items() if kind in GOOD)
    for key, kind in kinds.items():
        assert isinstance(ended[key], NAMED.get(kind, Posting)), (kind, ended[key])
    if not mix.broken and not books.refused:
        numbered = sorted((row for row in posted if row["reference"] not in there), key=lambda row: int(row["number"]))
        assert [row["day"] for row in numbered] == sorted(row["day"] for row in numbered)
