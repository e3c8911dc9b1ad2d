"""What is asked of a CRM connector."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from canonical.amendments import months_after
from canonical.cases import Finding
from canonical.deals import ContractCopy, DealReference, DealStatus, RenewalDeal, RenewalLine
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, DEAL_LOST, Event
from canonical.faults import NotFound, Rejected
from canonical.ids import identifiers
from canonical.parties import AccountSync
from system_apis.crm.port import Crm
from system_apis.feed import Feed
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import NAME, Act, Kit, Put, behaviour
from tests.support.connector_kit.loopback import ALWAYS, PAGE, Seen, Trouble
from tests.support.connector_kit.subject import Bench, KitIntake, Subject
from tests.support.held_lease import held_lease

CHANGE_FEED_SECONDS = 15.0
"""How long a change may take to be offered."""
STARTS_ON = date(2026, 2, 28)


class CrmSubject(Subject[Crm]):
    """A CRM, as a salesperson sees it. Its price list has `sku`, in EUR."""

    domain = "crm"
    sku: str
    page: int
    """How many records the platform lists at a time: make it small."""

    @abstractmethod
    async def account(self, name: str) -> str:
        """Create an account with a contact and an address. Return its id."""

    @abstractmethod
    async def rename_account(self, account_id: str, name: str) -> None:
        """Change the name of an account."""

    @abstractmethod
    async def close_deal(
        self, account_id: str, currency: str = "EUR", price: Decimal = Decimal(1), lines: int = 1
    ) -> str:
        """Close a deal, with so many lines at `price`. Return its id."""

    @abstractmethod
    async def lose(self, deal_id: str) -> None:
        """Close an open deal as lost."""

    @abstractmethod
    async def touch_deal(self, deal_id: str) -> None:
        """Change something of a closed deal that is of no concern to us."""

    @abstractmethod
    async def deals(self, key: str) -> list[tuple[str, int]]:
        """Return the name, and the number of lines, of each closed deal with this key of ours."""

    @abstractmethod
    async def offers(self, key: str) -> list[int]:
        """Return the number of lines of each open deal with this key of ours."""

    @abstractmethod
    async def contracts(self, contract_id: str) -> int:
        """Return how many contracts there are for one of ours."""

    @abstractmethod
    async def shown_on(self, deal_id: str) -> str:
        """Return all that a deal shows of its order, as one text."""

    @abstractmethod
    async def delete(self, record_id: str) -> None:
        """Delete a deal or an account."""

    @abstractmethod
    async def refused(self, connector: Crm) -> tuple[Act, str]:
        """Return a call that the platform refuses, and the field that it names."""


class CrmKit(Kit[Crm, CrmSubject]):
    """A subject's connector, as `system_apis.crm.port` wants it."""

    LINES = 3

    def __init__(self, made: Bench[Crm]) -> None:
        super().__init__(made)
        self._sold: dict[str, tuple[str, str]] = {}
        """The deal and the account of each contract that was shown: neither becomes another."""

    def puts(self) -> Sequence[Put]:
        return (
            Put("deal", self._placed, self._deals),
            Put("status", self._status, self.subject.contracts),
            Put("renewal", self._renewal, self._offers),
        )

    async def read(self) -> Act:
        account = await self.subject.account("Read")
        return lambda: self.connector.account(account)

    async def missing(self) -> Sequence[Act]:
        account = await self.subject.account("Deleted")
        deal = await self.subject.close_deal(await self.subject.account("Kept"))
        for each in (account, deal):
            await self.subject.delete(each)
        return (
            lambda: self.connector.account(account),
            lambda: self.connector.put_followed(account, AccountSync("cus_1", "r1")),
            lambda: self.connector.deal(deal),
            lambda: self.connector.put_status(deal, DealStatus("ord_1", "received"), "correlation-1"),
            lambda: self.connector.deal("none' OR Name != '"),
            lambda: self.connector.put_deal(samples.placed_deal("unlisted", account, "NONE", STARTS_ON)),
        )

    async def refused(self) -> tuple[Act, str]:
        return await self.subject.refused(self.connector)

    async def named(self, key: str) -> tuple[Act | None, Callable[[], Awaitable[str]]]:
        placed = samples.placed_deal(key, await self.subject.account(NAME), self.subject.sku, STARTS_ON, NAME)

        async def stored() -> str:
            return (await self.subject.deals(key))[0][0]

        return (lambda: self.connector.put_deal(placed)), stored

    @behaviour
    async def what_is_held_of_a_contract_is_read_as_it_was_written(self) -> None:
        await self.bench.settled(await self._status("con_copied"))
        copy = await self.bench.settled(lambda: self.connector.contract_copy("con_copied"))
        account = await self.bench.settled(lambda: self.connector.account(copy.account_id))
        assert copy == ContractCopy(copy.id, account.id, STARTS_ON, 12)
        assert account.name == "Buyer con_copied"
        for key in ("con_missing", "none' OR Name != '"):
            fault = await self.bench.fault(lambda key=key: self.connector.contract_copy(key))
            assert isinstance(fault, NotFound), repr(fault)

    @behaviour
    async def a_contract_that_was_transferred_is_the_other_accounts_from_its_day_on(self) -> None:
        await self.bench.settled(await self._status("con_moves"))
        deal, former = self._sold["con_moves"]
        other = await self.subject.account("Other")
        until = STARTS_ON
        of_one_account = (other, 8)
        for account, months in ((other, 11), (former, 10), (other, 9), of_one_account):
            until = months_after(until, 1)
            status = DealStatus(
                "ord_con_moves", "active", "", account, "", "con_moves", until, months, transferred_on=until
            )
            for _ in range(2):
                await self.bench.settled(lambda status=status: self.connector.put_status(deal, status, "correlation-1"))
            copy = await self.bench.settled(lambda: self.connector.contract_copy("con_moves"))
            assert copy == ContractCopy(copy.id, account, until, months)
            assert await self.subject.contracts("con_moves") == 1

    @behaviour
    async def a_closed_deal_is_one_event_of_its_instance(self) -> None:
        account = await self.subject.account("Events")
        deal = await self.subject.close_deal(account)
        (first,) = await self._offered(DEAL_CLOSED, 1)
        assert (first.subject, first.source) == (deal, self.source)
        assert first.time.tzinfo is not None

    @behaviour
    async def what_is_offered_again_after_a_restart_is_the_same_event(self) -> None:
        deal = await self.subject.close_deal(await self.subject.account("Again"))
        first = await self._offered(DEAL_CLOSED, 1)
        await self.subject.touch_deal(deal)
        self.bench.connector = self.bench.connect()
        fence = await self.subject.close_deal(await self.subject.account("Fence"))
        later = await self._offered_until(lambda events: any(each.subject == fence for each in events))
        again = {each.id for each in later if each.subject == deal}
        assert again <= {each.id for each in first}

    @behaviour
    async def its_own_writes_bring_no_event_and_a_real_change_brings_one(self) -> None:
        deal, account = await self._followed("Echo", "cus_echo")
        found = await self.bench.settled(lambda: self.connector.account(account))
        shown = DealStatus(
            "ord_1", "active", "", account, "cus_echo", "con_echo", STARTS_ON, 12, revision=found.revision
        )
        await self.bench.settled(lambda: self.connector.put_status(deal, shown, "correlation-1"))
        _, other = await self._followed("Fence", "cus_fence")
        await self.subject.rename_account(other, "Fence, renamed")
        offered = await self._offered(CUSTOMER_CHANGED, 1)
        assert [each.subject for each in offered] == ["cus_fence"]
        await self.subject.rename_account(account, "Echo, renamed")
        assert [each.subject for each in await self._offered(CUSTOMER_CHANGED, 1, {"cus_fence"})] == ["cus_echo"]

    @behaviour
    async def a_feed_of_several_pages_is_read_whole_while_it_grows(self) -> None:
        account = await self.subject.account("Paged")
        deals = [await self.subject.close_deal(account) for _ in range(3 * self.subject.page)]
        reads = 0

        async def write(_: Seen) -> None:
            nonlocal reads
            reads += 1
            if reads in (2, 3, 4):  # while it reads
                await self.subject.touch_deal(deals[reads])
                deals.append(await self.subject.close_deal(account))

        self.loopback.before = write
        # Three were added, once the pages have been read.
        offered = await self._offered(DEAL_CLOSED, 3 * self.subject.page + 3)
        assert Counter(each.subject for each in offered) == Counter(deals)

    @behaviour
    async def a_feed_goes_on_after_a_maintenance_page_and_an_outage(self) -> None:
        watching = KitIntake()
        task = asyncio.create_task((await self._feed(watching)).keep_looking())
        try:
            for headers, status in (({"content-type": "text/html"}, 200), ({}, 200), ({}, 503)):
                before = len(self.loopback.seen)
                self.loopback.trouble(Trouble("answered", lambda _: True, status, headers, PAGE, ALWAYS))
                await self._until(lambda before=before: len(self.loopback.seen) > before + 1)
                self.loopback.calm()
                assert not task.done(), "the feed has ended"
            deal = await self.subject.close_deal(await self.subject.account("After"))
            await self._until(lambda: any(each.subject == deal for each in watching.events))
        finally:
            await _ended(task)

    @behaviour
    async def a_placed_deal_is_closed_with_all_its_lines(self) -> None:
        """Whatever was left of it by a call that broke off."""
        placed = samples.placed_deal(
            "whole", await self.subject.account("Whole"), self.subject.sku, STARTS_ON, lines=self.LINES
        )
        self.loopback.trouble(Trouble("no_answer", self.subject.is_write, times=ALWAYS))
        await self.bench.fault(lambda: self.connector.put_deal(placed))
        self.loopback.calm()
        reference = await self.bench.settled(lambda: self.connector.put_deal(placed))
        assert isinstance(reference, DealReference)
        deal = await self.bench.settled(lambda: self.connector.deal(reference.id))
        assert deal.won
        assert [line.quantity for line in deal.lines] == [Decimal(place) for place in range(1, self.LINES + 1)]

    @behaviour
    async def an_offer_of_another_term_is_open_and_names_its_contract(self) -> None:
        _, account, offer = await self._offer("offer")
        reference = await self.bench.settled(lambda: self.connector.put_renewal(offer))
        made = await self.bench.settled(lambda: self.connector.deal(reference.id))
        assert (made.won, made.change, made.contract_id) == (False, "renewal", "con_offer")
        assert (made.account.id, made.term_months, made.starts_on) == (account, 12, offer.starts_on)
        assert [(each.quantity, each.unit_price) for each in made.lines] == [(3, Decimal("1.05"))]
        assert offer.renewal_id in await self.subject.shown_on(reference.id)

    @behaviour
    async def an_offer_that_people_have_closed_as_lost_is_one_event_and_stays_lost(self) -> None:
        _, _, offer = await self._offer("closed")
        reference = await self.bench.settled(lambda: self.connector.put_renewal(offer))
        await self.subject.lose(reference.id)
        assert await self.bench.settled(lambda: self.connector.put_renewal(offer)) == reference
        offered = await self._offered(DEAL_LOST, 1)
        assert [each.subject for each in offered] == [reference.id]
        assert await self.subject.offers(offer.key) == []

    @behaviour
    async def an_offer_of_a_contract_that_is_not_there_or_of_what_is_not_sold_is_refused(self) -> None:
        _, _, offer = await self._offer("refused")
        for wrong in (
            replace(offer, key="no-contract", contract_id="con_missing"),
            replace(offer, key="no-product", lines=(replace(offer.lines[0], sku="NONE"),)),
            replace(offer, key="no-interval", lines=(replace(offer.lines[0], interval="half_year"),)),
        ):
            fault = await self.bench.fault(lambda wrong=wrong: self.connector.put_renewal(wrong))
            assert isinstance(fault, NotFound | Rejected), repr(fault)
            assert fault.field.startswith("deal."), repr(fault)
            assert await self.subject.offers(wrong.key) == []

    @behaviour
    async def prices_are_the_same_in_currencies_with_none_two_and_three_digits(self) -> None:
        account = await self.subject.account("Money")
        for price in samples.PRICES:
            deal = await self.subject.close_deal(account, price.currency, price.decimal)
            found = await self.bench.settled(lambda deal=deal: self.connector.deal(deal))
            assert (found.currency, found.lines[0].unit_price) == (price.currency, price.decimal)

    @behaviour
    async def a_day_stays_that_day_whatever_the_time(self) -> None:
        account = await self.subject.account("Midnight")
        midnight = datetime.combine(self.bench.clock().date(), datetime.min.time(), UTC)
        for place, at in enumerate((midnight - timedelta(seconds=2), midnight)):
            self.bench.offset += at - self.bench.clock()
            placed = samples.placed_deal(f"day-{place}", account, self.subject.sku, STARTS_ON)
            made = await self.bench.settled(lambda placed=placed: self.connector.put_deal(placed))
            found = await self.bench.settled(lambda made=made: self.connector.deal(made.id))
            assert found.starts_on == STARTS_ON

    @behaviour
    async def a_status_shows_its_findings(self) -> None:
        deal = await self.subject.close_deal(await self.subject.account("Findings"))
        finding = Finding("deal.lines[0].quantity", "it is »7½« of 'them'")
        status = DealStatus("ord_findings", "on_hold", findings=(finding,))
        await self.bench.settled(lambda: self.connector.put_status(deal, status, "correlation-1"))
        shown = await self.subject.shown_on(deal)
        assert all(part in shown for part in ("ord_findings", "on_hold", finding.reason))

    @behaviour
    async def a_revision_changes_with_what_the_crm_owns_and_with_nothing_else(self) -> None:
        _, account = await self._followed("Revision", "cus_revision")
        first = await self.bench.settled(lambda: self.connector.account(account))
        await self.bench.settled(lambda: self.connector.put_followed(account, AccountSync("cus_revision", "another")))
        again = await self.bench.settled(lambda: self.connector.account(account))
        await self.subject.rename_account(account, "Revision, renamed")
        renamed = await self.bench.settled(lambda: self.connector.account(account))
        assert first.revision == again.revision != renamed.revision

    # ---- the calls

    async def _deals(self, key: str) -> int:
        found = await self.subject.deals(key)
        assert all(lines == self.LINES for _, lines in found), found
        return len(found)

    async def _placed(self, key: str) -> Act:
        account = await self.subject.account(f"Buyer {key}")
        placed = samples.placed_deal(key, account, self.subject.sku, STARTS_ON, lines=self.LINES)
        return lambda: self.connector.put_deal(placed)

    async def _offers(self, key: str) -> int:
        found = await self.subject.offers(f"renewal:{key}")
        assert all(lines == 1 for lines in found), found
        return len(found)

    async def _renewal(self, key: str) -> Act:
        _, _, offer = await self._offer(key)
        return lambda: self.connector.put_renewal(offer)

    async def _offer(self, key: str) -> tuple[str, str, RenewalDeal]:
        """Return a deal that became a contract, its account, and the offer of another term of that."""
        deal, account = await self._contract(f"con_{key}", f"Buyer {key}")
        status = DealStatus("ord_offered", "active", "", account, "", f"con_{key}", STARTS_ON, 12)
        await self.bench.settled(lambda: self.connector.put_status(deal, status, "correlation-1"))
        sold = (await self.bench.settled(lambda: self.connector.deal(deal))).lines[0]
        lines = (RenewalLine(sold.sku, Decimal(3), Decimal("1.05"), sold.interval),)
        about = (deal, f"con_{key}", samples.LEGAL_ENTITY, "EUR", date(2027, 2, 28), 12)
        return deal, account, RenewalDeal(f"renewal:{key}", f"rnw_{key}", "Seats", *about, lines)

    async def _status(self, key: str) -> Act:
        deal, account = await self._contract(key, f"Buyer {key}")
        status = DealStatus(f"ord_{key}", "active", "", account, f"cus_{key}", key, STARTS_ON, 12, revision="r1")
        return lambda: self.connector.put_status(deal, status, "correlation-1")

    async def _contract(self, key: str, buyer: str) -> tuple[str, str]:
        """Return the deal and the account of a contract: the same ones ever after."""
        if key not in self._sold:
            account = await self.subject.account(buyer)
            self._sold[key] = (await self.subject.close_deal(account), account)
        return self._sold[key]

    async def _followed(self, name: str, customer_id: str) -> tuple[str, str]:
        """Return a deal and its account, followed as a customer at its present revision."""
        account = await self.subject.account(name)
        deal = await self.subject.close_deal(account)
        found = await self.bench.settled(lambda: self.connector.account(account))
        followed = AccountSync(customer_id, found.revision)
        await self.bench.settled(lambda: self.connector.put_followed(account, followed))
        return deal, account

    # ---- the feed

    async def _offered(self, kind: str, count: int, but: set[str] | None = None) -> list[Event]:
        """Return the events of a kind, once there are `count`: more than that is seen too."""

        def wanted(events: list[Event]) -> list[Event]:
            return [each for each in events if each.type == kind and each.subject not in (but or ())]

        return wanted(await self._offered_until(lambda events: len(wanted(events)) >= count))

    async def _feed(self, intake: KitIntake) -> Feed:
        lease, clock = await held_lease(), self.bench.clock
        return Feed(self.source, self.connector, lease, intake, clock, identifiers(), CHANGE_FEED_SECONDS)

    async def _offered_until(self, enough: Callable[[list[Event]], bool]) -> list[Event]:
        """Return what the feed offers until it is enough, and in one more poll of the platform."""
        intake = KitIntake()
        task = asyncio.create_task((await self._feed(intake)).keep_looking())
        try:
            await self._until(lambda: task.done() or enough(intake.events))
            before = len(self.loopback.seen)
            await self._until(lambda: task.done() or len(self.loopback.seen) > before + 1)
        finally:
            await _ended(task)
        return intake.events

    async def _until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(CHANGE_FEED_SECONDS):
            while not what():  # noqa: ASYNC110 - the platform tells nobody
                await asyncio.sleep(0.01)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a feed. Raises what it ended with by itself."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
