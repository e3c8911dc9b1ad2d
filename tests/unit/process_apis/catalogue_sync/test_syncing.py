"""A sync over a system layer that answers for all platforms: pages, items, cases, and what is left when it is killed at
any call."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.cases import Case
from canonical.catalogue_sync import CatalogueSync, NewCatalogueSync
from canonical.products import (
    CatalogueProduct,
    ListPrice,
    OwnedProduct,
    OwnedProducts,
    PriceChange,
    ProductBatch,
    ProductMatch,
    ProductMatches,
)
from canonical.states import IllegalTransition
from policies.outbound.layer_client import LayerClient
from policies.problems import ProblemError
from process_apis.catalogue_sync import workflow
from process_apis.catalogue_sync.runs import CatalogueSyncRuns
from process_apis.records.cases import Wanted
from process_apis.records.catalogue_syncs import keep
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over

NO = (422, b'{"type": "/problems/platform-rejected", "title": "No", "status": 422, "detail": "no"}')
AWAY = (
    503,
    b'{"type": "/problems/platform-unavailable", "title": "Away", "status": 503, "detail": "away", "platform": "erp"}',
)


class Killed(BaseException):
    """The process ends here."""


class Shop:
    """A system layer with a CRM's catalogue, an ERP and billing, which take what they are sent until a test says
    otherwise."""

    def __init__(self) -> None:
        self.owned: list[OwnedProduct] = []
        self.erp: dict[str, CatalogueProduct] = {}
        self.billing: dict[str, CatalogueProduct] = {}
        self.created: list[str] = []
        """The path of each put that made a record, once for each that is made."""
        self.refuses: set[str] = set()
        """SKUs that the ERP refuses."""
        self.away = ""
        """The domain that is away."""

    def sell(self, *skus: str, price: int = 30, active: bool = True) -> None:
        prices = (ListPrice("EUR", Decimal(price), "month"),) if active else ()
        for sku in skus:
            product = CatalogueProduct(sku, sku.title(), active=active, prices=prices)
            self.owned = [each for each in self.owned if each.sku != sku]
            self.owned.append(OwnedProduct(f"01t{sku}", sku, product))

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        where, _, query = path.partition("?")
        domain, _, *place = where.split("/")[1:]
        if domain == self.away:
            return AWAY
        if domain == "crm":
            return 200, msgspec.json.encode(self._page(query))
        copies = self.erp if domain == "erp" else self.billing
        if method == "POST":
            return 200, msgspec.json.encode(self._matches(copies, msgspec.json.decode(body, type=ProductBatch)))
        if domain == "erp" and place[1] in self.refuses:
            return NO
        if place[-1] == "price":
            return 200, msgspec.json.encode(self._price(msgspec.json.decode(body, type=PriceChange)))
        product = msgspec.json.decode(body, type=CatalogueProduct)
        known = copies.get(product.sku)
        self.created += [] if known else [f"{domain}/{product.sku}"]
        copies[product.sku] = msgspec.structs.replace(product, prices=known.prices if known else ())
        return 200, body

    def _page(self, query: str) -> OwnedProducts:
        asked = dict(each.split("=") for each in query.split("&"))
        start, limit = int(asked.get("cursor", "c0")[1:]), int(asked["limit"])
        more = start + limit < len(self.owned)
        return OwnedProducts(tuple(self.owned[start : start + limit]), f"c{start + limit}" if more else None)

    def _matches(self, copies: dict[str, CatalogueProduct], batch: ProductBatch) -> ProductMatches:
        return ProductMatches(tuple(ProductMatch(each.sku, copies.get(each.sku)) for each in batch.items))

    def _price(self, change: PriceChange) -> PriceChange:
        known = self.billing[change.sku]
        if change.price not in known.prices:
            self.created.append(f"price/{change.sku}")
        self.billing[change.sku] = msgspec.structs.replace(known, prices=(change.price,) if change.price else ())
        return change


class Desk:
    """What people do with syncs."""

    def __init__(self, context: WorkflowContext, clock: TestClock, shop: Shop) -> None:
        self.context = context
        self.clock = clock
        self.shop = shop
        self.runs = CatalogueSyncRuns(context, Engine(EngineSettings("sqlite://", "one"), context.database, clock))
        self.syncing = self.runs.syncing
        self.keys = 0

    def preview(self) -> CatalogueSync:
        self.keys += 1
        row, _ = self.runs.records.receive("salesforce", str(self.keys), "kim@example.com", "cor_1", self.clock())
        return self.go_on(row.id)

    def go_on(self, sync_id: str) -> CatalogueSync:
        """Do what the workflow does, step by step."""
        for step in (self.syncing.plan, self.syncing.apply):
            while (progress := step(sync_id)) == "more":
                pass
            if progress == "stopped":
                break
        return self.runs.read(sync_id, SOMEBODY)

    def start(self, sync_id: str) -> CatalogueSync:
        with self.runs.records.at(sync_id) as one:
            assert not one.is_outdated()
            one.advance("applying", next_attempt_at=self.clock())
        return self.go_on(sync_id)

    def items(self, sync_id: str) -> list[tuple[str, str, str, str, str]]:
        found = self.runs.items(sync_id, SOMEBODY, None, None, None, 100).items
        return [(each.platform, each.sku, each.currency, each.action, each.state) for each in found]

    def cases(self) -> list[Case]:
        return list(self.context.cases.page(SOMEBODY, Wanted("open"), None, 100).items)


@pytest.fixture
def desk(tmp_path: Path, empty_tables: Path) -> Generator[Desk]:
    shop, clock = Shop(), TestClock()
    with no_workflows(), answering(shop.answer) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, clock, system) as context:
            yield Desk(context, clock, shop)


def test_a_preview_of_many_pages_writes_nothing_and_a_start_brings_each_product_once(desk: Desk) -> None:
    skus = [f"SKU-{place:03}" for place in range(workflow.PAGE * 2 + 1)]
    desk.shop.sell(*skus)

    found = desk.preview()

    assert (found.state, found.products, found.actions) == ("planned", len(skus), {"create": 3 * len(skus)})
    assert desk.shop.created == []

    done = desk.start(found.id)

    assert (done.state, done.items) == ("applied", {"done": 3 * len(skus)})
    assert sorted(desk.shop.created) == sorted(f"{each}/{sku}" for each in ("billing", "erp", "price") for sku in skus)
    assert desk.preview().actions == {}


@pytest.mark.parametrize("killed_at", range(1, 10))
def test_killed_before_or_after_any_call_it_goes_on_and_leaves_one_of_everything(
    desk: Desk, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.shop.sell("ONE", "TWO")
    calls = 0
    real: Callable[..., Any] = LayerClient.call

    def call(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        answer = real(*args)
        if calls == killed_at:
            raise Killed  # after the platform has done it, before we have written that down
        return answer

    monkeypatch.setattr(LayerClient, "call", call)

    def carried_out() -> CatalogueSync:
        found = desk.preview() if not desk.keys else desk.go_on(desk.runs.page(SOMEBODY, None, None, 1).items[0].id)
        return desk.start(found.id) if found.state == "planned" else found

    try:
        done = carried_out()
    except Killed:
        done = carried_out()

    assert done.state == "applied"
    assert desk.items(done.id) == [
        ("tryton", "ONE", "", "create", "done"),
        ("tryton", "TWO", "", "create", "done"),
        ("stripe", "ONE", "", "create", "done"),
        ("stripe", "TWO", "", "create", "done"),
        ("stripe", "ONE", "EUR", "create", "done"),
        ("stripe", "TWO", "EUR", "create", "done"),
    ]
    assert sorted(desk.shop.created) == sorted(f"{a}/{b}" for a in ("billing", "erp", "price") for b in ("ONE", "TWO"))


def test_a_refused_product_is_a_case_and_holds_up_no_other(desk: Desk) -> None:
    desk.shop.sell("BAD", "GOOD")
    desk.shop.refuses = {"BAD"}

    done = desk.start(desk.preview().id)

    assert (done.state, done.items) == ("applied", {"done": 5, "refused": 1})
    (case,) = desk.cases()
    assert (case.kind, case.subject, case.team) == ("catalogue_item_refused", "tryton/BAD", "finance")

    desk.shop.refuses = set()
    desk.runs.act(case, "retry")
    assert desk.go_on(done.id).items == {"done": 6}
    assert desk.cases() == []


def test_a_price_waits_for_its_product_and_is_brought_with_it(desk: Desk) -> None:
    desk.shop.sell("BAD")
    real = desk.shop.answer
    desk.shop.answer = lambda method, path, body: (
        NO if path.startswith("/billing") and method == "PUT" and "/price" not in path else real(method, path, body)
    )
    found = desk.preview()
    with (
        no_workflows(),
        answering(desk.shop.answer) as system,
        context_over(str(desk.context.database.url), desk.clock, system) as context,
    ):
        other = Desk(context, desk.clock, desk.shop)
        done = other.start(found.id)
        assert other.items(done.id) == [
            ("tryton", "BAD", "", "create", "done"),
            ("stripe", "BAD", "", "create", "refused"),
            ("stripe", "BAD", "EUR", "create", "refused"),
        ]
        assert [each.subject for each in other.cases()] == ["stripe/BAD"]

    (case,) = desk.cases()
    desk.runs.act(case, "retry")
    assert desk.go_on(done.id).items == {"done": 3}


def test_a_right_that_is_missing_stops_the_sync_after_a_few_refusals(desk: Desk) -> None:
    skus = [f"SKU-{place:03}" for place in range(workflow.ALIKE * 3)]
    desk.shop.sell(*skus)
    desk.shop.refuses = set(skus)

    held = desk.start(desk.preview().id)

    assert (held.state, held.items["refused"]) == ("on_hold", workflow.ALIKE)
    kinds = sorted(each.kind for each in desk.cases())
    assert kinds == ["catalogue_item_refused"] * workflow.ALIKE + ["catalogue_not_synced"]

    desk.shop.refuses = set()
    (stopped,) = [each for each in desk.cases() if each.kind == "catalogue_not_synced"]
    desk.runs.act(stopped, "retry")
    assert desk.go_on(held.id).state == "applied"


def test_a_platform_that_is_away_is_waited_for_and_named(desk: Desk) -> None:
    desk.shop.sell("ONE")
    desk.shop.away = "erp"

    waiting = desk.preview()

    row = desk.runs.records.row(waiting.id)
    assert (waiting.state, waiting.blocked_reason, row.blocked_by) == ("planning", "erp: away", "tryton")
    assert row.next_attempt_at > desk.clock().isoformat()
    desk.shop.away = ""
    assert desk.go_on(waiting.id).state == "planned"
    assert desk.runs.records.row(waiting.id).blocked_by is None


def test_what_the_crm_lists_no_more_is_retired_but_not_when_it_lists_nothing(desk: Desk) -> None:
    desk.shop.sell("ONE", "TWO")
    desk.start(desk.preview().id)
    all_of_it, desk.shop.owned = desk.shop.owned, []

    held = desk.preview()

    assert held.state == "on_hold"
    assert "lists no product at all" in held.blocked_reason
    (case,) = desk.cases()
    desk.runs.act(case, "skip")
    assert desk.runs.read(held.id, SOMEBODY).state == "given_up"

    desk.shop.owned = all_of_it[:1]
    done = desk.start(desk.preview().id)
    assert desk.items(done.id) == [
        ("stripe", "TWO", "EUR", "retire", "done"),
        ("tryton", "TWO", "", "retire", "done"),
        ("stripe", "TWO", "", "retire", "done"),
    ]
    assert not desk.shop.erp["TWO"].active


def test_what_a_later_preview_has_seen_is_not_retired_by_one_that_was_held_up(desk: Desk) -> None:
    desk.shop.sell(*(f"P{each}" for each in range(workflow.PAGE + 2)))
    desk.start(desk.preview().id)
    older, _ = desk.runs.records.receive("salesforce", "older", "kim@example.com", "cor_1", desk.clock())
    assert desk.syncing.plan(older.id) == "more"

    later = desk.preview()
    done = desk.go_on(older.id)

    assert (done.state, later.state, desk.items(done.id), desk.items(later.id)) == ("planned", "planned", [], [])


def test_a_product_of_another_crm_s_catalogue_is_not_written_whoever_tries_again(desk: Desk) -> None:
    desk.shop.sell("ONE")
    found = desk.preview()
    with desk.context.database.begin() as connection:
        keep(connection, "tryton", "ONE", "another", "syn_of_another")

    done = desk.start(found.id)

    refused = [each for each in desk.items(done.id) if each[4] == "refused"]
    assert refused == [("tryton", "ONE", "", "create", "refused")]
    assert "ONE" not in desk.shop.erp
    (case,) = desk.cases()
    assert case.reason == "it is of the catalogue of another: give one of the two another SKU"
    desk.runs.act(case, "retry")
    desk.go_on(done.id)
    assert "ONE" not in desk.shop.erp


def test_an_item_that_a_later_sync_is_refused_can_be_tried_again_there(desk: Desk) -> None:
    desk.shop.sell("BAD")
    desk.shop.refuses = {"BAD"}
    desk.start(desk.preview().id)
    done = desk.start(desk.preview().id)

    (case,) = desk.cases()
    assert (case.input["sync"], desk.runs.allowed(case)) == (done.id, ("retry", "skip"))


def test_a_product_that_can_be_read_no_more_stays_as_it_is(desk: Desk) -> None:
    desk.shop.sell("ONE", "TWO")
    desk.start(desk.preview().id)
    broken = OwnedProduct("01tTWO", "TWO", None, ())
    desk.shop.owned = [desk.shop.owned[0], broken]

    assert desk.items(desk.preview().id) == []


def test_an_item_of_an_older_sync_is_not_tried_again_after_a_later_one(desk: Desk) -> None:
    desk.shop.sell("BAD")
    desk.shop.refuses = {"BAD"}
    older, later = desk.preview(), desk.preview()
    desk.start(older.id)
    (case,) = desk.cases()
    assert desk.runs.allowed(case) == ("retry", "skip")

    desk.start(later.id)

    assert desk.runs.allowed(case) == ("skip",)
    with pytest.raises(IllegalTransition):
        desk.runs.act(case, "retry")


def test_a_preview_that_is_not_whole_or_is_older_is_not_started(desk: Desk) -> None:
    desk.shop.sell("ONE")
    older, later = desk.preview(), desk.preview()
    desk.start(later.id)
    desk.shop.away = "crm"
    unread = desk.preview()

    for sync_id in (older.id, unread.id):
        with pytest.raises(ProblemError) as refused:
            desk.runs.start(sync_id)
        assert refused.value.problem.name == "preview-outdated"


def test_a_catalogue_that_there_is_not_is_named(desk: Desk) -> None:
    with pytest.raises(ProblemError) as refused:
        desk.runs.preview(NewCatalogueSync("key", "nowhere"), SOMEBODY, "cor_1")

    assert refused.value.errors[0].reason == "use one of salesforce"
