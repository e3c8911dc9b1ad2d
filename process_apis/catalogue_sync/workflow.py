"""A catalogue sync on its way: what differs is worked out page by page, and once somebody has started it, done item by
item.

Every step may be run again. A page is kept once, by the cursor at which the sync stands; an item is done by a put that
finds what an earlier run left behind. What is refused is a case, and stops nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, CaseKind, Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.ids import derived
from canonical.products import CatalogueProduct, OwnedProduct, PriceChange
from canonical.states import CatalogueSyncState
from policies.catalogue.model import Domain
from policies.context.correlation import correlated
from process_apis.catalogue_sync import plan
from process_apis.catalogue_sync.owners import copies, has_prices
from process_apis.records.catalogue_syncs import CatalogueSyncs, PlannedItem, document_of
from process_apis.runtime import outages
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import with_retries

STOPPED: CaseKind = "catalogue_not_synced"
REFUSED: CaseKind = "catalogue_item_refused"
KINDS: frozenset[CaseKind] = frozenset({STOPPED, REFUSED})
PAGE = 25
"""Products that are read and compared together: billing is asked for the prices of each."""
BATCH = 20
"""Items that are done in one step."""
ALIKE = 5
"""Items that a platform may refuse for one reason that nobody foresaw, as a missing right, until the sync stops."""
LONGEST = 120
"""Characters of the subject of a case."""
Progress = Literal["more", "done", "stopped"]
"""`done`: this part of the sync is behind it. `stopped`: it waits, and somebody or something else goes on with it."""


@DBOS.dbos_class("CatalogueSyncing")
class CatalogueSyncing(DBOSConfiguredInstance):
    """The workflow of a catalogue sync and its steps."""

    def __init__(self, context: WorkflowContext, records: CatalogueSyncs) -> None:
        super().__init__("catalogue_syncing")
        self._context = context
        self._records = records

    @DBOS.workflow(name="CatalogueSyncing.run")
    def run(self, sync_id: str) -> None:
        for step in (self.plan, self.apply):
            while (progress := step(sync_id)) == "more":
                pass
            if progress == "stopped":
                return

    # ---- what is to be done

    @DBOS.step(name="CatalogueSyncing.plan")
    @resumable
    def plan(self, sync_id: str) -> Progress:
        """Work out the next page, and write nothing to a platform."""
        row = self._records.row(sync_id)
        if row.state != "planning":
            return "done" if row.state in ("applying", "applied") else "stopped"
        return self._guarded(row, lambda: self._plan_unseen(row) if row.listed else self._plan_page(row))

    def _plan_page(self, row: sa.Row[Any]) -> Progress:
        page = self._context.platforms.products(row.crm, row.cursor, PAGE)
        items = [item for each in page.items for item in plan.unreadable(row.crm, each)]
        readable = [each for each in page.items if each.product is not None]
        planned, seen = self._compared(row.crm, readable)
        known = self._known(row.crm, [each.sku for each in page.items if each.product is None])
        with self._records.at(row.id) as one:
            if one.row.pages == row.pages and one.row.state == "planning":
                one.plan([*items, *planned], [*seen, *known])
                one.advance(
                    "planning",
                    next_attempt_at=self._context.stalled_at(),
                    cursor=page.next_cursor or "",
                    listed=page.next_cursor is None,
                    pages=row.pages + 1,
                    products=row.products + len(page.items),
                )
        return "more"

    def _plan_unseen(self, row: sa.Row[Any]) -> Progress:
        """Plan to retire what the CRM had in its catalogue, and has no more. When nothing is left of it, all is
        planned."""
        unseen = self._records.unseen(row.crm, row.id, PAGE)
        if unseen and not row.products:
            raise Rejected("crm", "it lists no product at all: see what our user may read there", field="products")
        planned: list[PlannedItem] = []
        for domain, platform in self._copies(row.crm):
            gone = [OwnedProduct("", sku, CatalogueProduct(sku, sku, active=False)) for sku in unseen.get(platform, ())]
            if gone:
                planned += self._compared_with(row.crm, domain, platform, gone)[0]
        seen = [(platform, sku) for platform, skus in unseen.items() for sku in skus]
        with self._records.at(row.id) as one:
            if one.row.pages == row.pages and one.row.state == "planning":
                one.plan(planned, seen)
                one.advance(
                    "planning" if unseen else "planned",
                    next_attempt_at=self._context.stalled_at() if unseen else None,
                    pages=row.pages + 1,
                )
        return "more"

    def _compared(self, crm: str, owned: list[OwnedProduct]) -> tuple[list[PlannedItem], list[tuple[str, str]]]:
        """Return what is to be done about products, and which of them each platform has."""
        planned: list[PlannedItem] = []
        seen: list[tuple[str, str]] = []
        for domain, platform in self._copies(crm) if owned else ():
            items, there = self._compared_with(crm, domain, platform, owned)
            planned += items
            seen += there
        return planned, seen

    def _compared_with(
        self, crm: str, domain: Domain, platform: str, owned: list[OwnedProduct]
    ) -> tuple[list[PlannedItem], list[tuple[str, str]]]:
        wanted = [cast("CatalogueProduct", each.product) for each in owned]
        owners = self._records.owners(platform, [each.sku for each in wanted])
        matches = self._context.platforms.match_products(domain, platform, tuple(wanted))
        prices = has_prices(self._context.live_catalogue.current, domain)
        planned: list[PlannedItem] = []
        for each, product, match in zip(owned, wanted, matches, strict=True):
            unread = frozenset(found.field.partition(".")[2] for found in each.findings)
            of = owners.get(product.sku, crm)
            other = "" if of == crm else of
            planned += plan.items(domain, platform, product, match, owner=other, prices=prices, unread=unread)
        return planned, [(platform, each.sku) for each in matches if each.present is not None]

    def _copies(self, crm: str) -> list[tuple[Domain, str]]:
        return copies(self._context.live_catalogue.current, crm)

    def _known(self, crm: str, skus: list[str]) -> list[tuple[str, str]]:
        """Return where products are known to be that cannot be read now: they are not gone."""
        return [
            (platform, sku)
            for _, platform in (self._copies(crm) if skus else ())
            for sku, owner in self._records.owners(platform, skus).items()
            if owner == crm
        ]

    # ---- what is done

    @DBOS.step(name="CatalogueSyncing.apply")
    @resumable
    def apply(self, sync_id: str) -> Progress:
        """Do the next items."""
        row = self._records.row(sync_id)
        if row.state != "applying":
            return "stopped"
        return self._guarded(row, lambda: self._apply(row))

    def _apply(self, row: sa.Row[Any]) -> Progress:
        for _ in range(BATCH):
            item = self._records.next_item(row.id)
            if item is None:
                with self._records.at(row.id) as one:
                    one.advance("applied", next_attempt_at=None)
                return "done"
            self._do(row, item)
        with self._records.at(row.id) as one:
            one.advance("applying", next_attempt_at=self._context.stalled_at())
        return "more"

    def _do(self, row: sa.Row[Any], item: sa.Row[Any]) -> None:
        """Do one item. What is refused is a case; a price of a product that was refused waits for that."""
        if item.currency and item.document is not None and self._records.is_refused(item):
            self._records.settle(item, row.crm, reason="its product is refused", field="product")
            return
        try:
            self._put(row.crm, item)
        except (Rejected, NotFound) as fault:
            field = fault.field or item.field or "product"
            reason = fault.reason
            self._open(row, item, Finding(field, reason, item.domain))
            self._records.settle(item, row.crm, reason=reason, field=field)
            if item.action != "refuse" and self._records.refused_alike(item, reason) >= ALIKE:
                raise
            return
        self._records.settle(item, row.crm)
        self._context.cases.resolve(subject_of(item), "it was brought there", kind=REFUSED)

    def _put(self, crm: str, item: sa.Row[Any]) -> None:
        document, platforms = document_of(item), self._context.platforms
        if item.action == "refuse":
            raise Rejected(item.domain, item.reason, field=item.field)
        owner = self._records.owners(item.platform, (item.sku,)).get(item.sku, crm)
        if owner != crm:
            raise Rejected(item.domain, plan.of_another(owner), field="sku")
        if isinstance(document, PriceChange):
            platforms.put_price(item.platform, document)
        elif document is not None:
            platforms.put_product(item.domain, item.platform, document)

    def _open(self, row: sa.Row[Any], item: sa.Row[Any], finding: Finding) -> None:
        actions: tuple[Action, ...] = ("skip",) if item.document is None else ("retry", "skip")
        self._context.cases.resolve(subject_of(item), f"tried again by {row.id}", kind=REFUSED)
        self._context.cases.open(
            REFUSED,
            subject_of(item),
            finding,
            actions,
            correlation_id=row.correlation_id,
            given={"sync": row.id, "place": str(item.place), "platform": item.platform, "sku": item.sku},
        )

    # ---- what every step has in common

    def _guarded(self, row: sa.Row[Any], act: Callable[[], Progress]) -> Progress:
        """Do the work of a step; what passes by itself is waited out, and a refusal of everything is a case."""
        context = self._context
        with correlated(row.correlation_id):
            try:
                progress = with_retries(context.retry_policy, act)
            except TRANSIENT as fault:
                self._postpone(row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                self._hold(row, fault)
                return "stopped"
        if row.blocked_by:
            outages.is_over(context, row.blocked_by)
        return progress

    def _postpone(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        context, attempts = self._context, row.attempts + 1
        with self._records.at(row.id) as one:
            if one.row.state == row.state:
                one.advance(
                    row.state,
                    next_attempt_at=retry(context, attempts, fault.retry_after).at,
                    blocked_reason=f"{fault.platform}: {fault.reason}",
                    attempts=attempts,
                    **outages.blocked(context, one.row, fault.platform, "", crm=row.crm),
                )

    def _hold(self, row: sa.Row[Any], fault: PlatformFault) -> None:
        state: CatalogueSyncState = row.state
        finding = Finding.of(fault)
        actions: tuple[Action, ...] = ("retry", "skip")
        self._context.cases.open(STOPPED, row.id, finding, actions, correlation_id=row.correlation_id)
        with self._records.at(row.id) as one:
            if one.row.state == state:
                reason = f"{finding.field}: {finding.reason}"
                one.advance("on_hold", next_attempt_at=None, blocked_reason=reason, held_in=state)


def subject_of(item: sa.Row[Any]) -> str:
    """Return what the case of an item is about, the same in every sync: a product, or one of its prices, somewhere."""
    words = "/".join(filter(None, (item.platform, item.sku, item.currency)))
    return words if len(words) <= LONGEST else derived("syn", words)
