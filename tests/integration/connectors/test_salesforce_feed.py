"""Salesforce's change feed: nothing that is in the org, and nothing that the org answers, keeps it from going on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canonical.deals import Deal, DealStatus
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, DEAL_LOST, RECORD_REFUSED, Event
from canonical.faults import NotFound, Rejected, Throttled, Unavailable
from canonical.parties import Account, AccountSync
from canonical.states import OrderState
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.salesforce.app import Salesforce
from sandbox.salesforce.org import SalesforceError
from system_apis.crm import salesforce
from system_apis.crm.port import Crm
from tests.integration.connectors.test_salesforce import CUT_OVER, PERSON, SECRET, Org
from tests.support.connector_kit import samples
from tests.support.connector_kit.crm import STARTS_ON
from tests.support.connector_kit.subject import Bench, bench

SWEEP = 600.0
CUSTOMER = "cus_feed"


class Quiet(Org):
    """An org that is polled when a test says so."""

    page = 2000

    def settings(self, url: str) -> PlatformServer:
        return salesforce.Settings(
            url=url, client_id="app", cut_over=CUT_OVER, client_secret=Secret(SECRET), sweep_seconds=SWEEP
        )

    @property
    def stand_in(self) -> Salesforce:
        return self._platform

    def change(self, sobject: str, record_id: str, **fields: object) -> None:
        self._org.update(sobject, record_id, fields, PERSON)

    def bend(self, sobject: str, record_id: str, **fields: object) -> None:
        """Store what Salesforce itself would not take, as an older record or a trigger may have it."""
        self._store.put(sobject, record_id, self._org.get(sobject, record_id) | fields)

    def store_as_it_is(self, sobject: str, record: dict[str, Any]) -> None:
        self._store.put(sobject, str(record["Id"]), record)

    def contact_of(self, account_id: str) -> str:
        return next(str(each["Id"]) for each in self._live("Contact") if each["AccountId"] == account_id)

    def contacts_of(self, account_id: str) -> list[dict[str, Any]]:
        return [each for each in self._live("Contact") if each["AccountId"] == account_id]

    def merge(self, loser: str, into: str) -> None:
        self._org.merge("Account", into, loser, {}, PERSON)

    def restore(self, account: str) -> None:
        self._org.undelete("Account", account, PERSON)

    def remove(self, sobject: str, record_id: str) -> None:
        self._org.delete(sobject, record_id, PERSON)


class Taken:
    """Takes events, each once, but for those that it is to refuse."""

    def __init__(self) -> None:
        self.offered: list[Event] = []
        self.faults: dict[str, Exception] = {}

    async def offer(self, event: Event, correlation_id: str) -> None:
        assert correlation_id
        if (fault := self.faults.get(event.subject)) and event.type != RECORD_REFUSED:
            raise fault
        self.offered.append(event)

    def of(self, kind: str) -> list[str]:
        return [each.subject for each in self.offered if each.type == kind]


Case = Callable[["Watching"], Awaitable[None]]


class Watching:
    """A connector whose feed is polled by hand, with the clock moved by hand."""

    def __init__(self, made: Bench[Crm], org: Quiet) -> None:
        self.bench, self.org, self.taken = made, org, Taken()

    async def look(self) -> float:
        return (await self.bench.connector.look(self.taken)).pause

    async def deal(self, **fields: object) -> str:
        made = await self.org.close_deal(await self.org.account("Buyer"))
        if fields:
            self.org.bend("Opportunity", made, **fields)
        return made

    async def customer(self, name: str = "Buyer", customer_id: str = CUSTOMER) -> str:
        """Return an account that is followed at its present revision."""
        account = await self.org.account(name)
        found = await self.bench.call(lambda: self.bench.connector.account(account))
        followed = AccountSync(customer_id, found.revision)
        await self.bench.call(lambda: self.bench.connector.put_followed(account, followed))
        return account

    async def read(self, deal_id: str) -> Deal:
        return await self.bench.call(lambda: self.bench.connector.deal(deal_id))

    async def account(self, account_id: str) -> Account:
        return await self.bench.call(lambda: self.bench.connector.account(account_id))

    def pass_time(self, **by: float) -> None:
        self.bench.offset += timedelta(**by)


def watch(folder: Path, case: Case) -> None:
    async def run() -> None:
        org = Quiet(folder)
        async with bench(org, folder) as made:
            await case(Watching(made, org))

    asyncio.run(run())


# ---- records that cannot be read


@pytest.mark.parametrize("revision", [1e19, 1.5, 0, -1, "one", True, [1]])
def test_a_deal_whose_revision_is_none_is_refused_once_and_the_others_come_in(tmp_path: Path, revision: object) -> None:
    async def case(watching: Watching) -> None:
        bad = await watching.deal(Revision__c=revision)
        good = await watching.deal()

        await watching.look()
        await watching.look()

        (refused,) = [each for each in watching.taken.offered if each.type == RECORD_REFUSED]
        assert watching.taken.of(DEAL_CLOSED) == [good]
        assert (refused.subject, refused.data["record"], refused.data["field"]) == (bad, "deal", "deal.revision")
        assert refused.data["reason"].startswith(f"Opportunity.Revision__c: {revision!r}")

    watch(tmp_path, case)


def test_a_deal_is_offered_when_it_is_fixed_whether_or_not_it_was_before_it_broke(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        fixed, restored = await watching.deal(Revision__c=1.5), await watching.deal()
        await watching.look()
        watching.org.change("Opportunity", restored, Revision__c=1.5)
        await watching.look()
        watching.org.change("Opportunity", restored, Revision__c=1)
        watching.org.change("Opportunity", fixed, Revision__c=2)

        await watching.look()
        await watching.look()

        assert watching.taken.of(RECORD_REFUSED) == [fixed, restored]
        assert watching.taken.of(DEAL_CLOSED) == [restored, fixed, restored]  # its case is closed by the last

    watch(tmp_path, case)


def test_a_held_deal_is_offered_again_when_its_account_alone_changes_and_only_then(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        def corrections() -> list[tuple[str, bool]]:
            return [(each.subject, "account_changed" in each.data) for each in watching.taken.offered]

        async def show(state: OrderState) -> None:
            status = DealStatus("ord_1", state)
            await watching.bench.call(lambda: watching.bench.connector.put_status(held, status, "cor_1"))

        account = await watching.org.account("Buyer")
        held, other = await watching.org.close_deal(account), await watching.deal()
        await watching.look()
        await show("on_hold")
        watching.pass_time(seconds=30)
        await watching.look()
        watching.taken.offered.clear()

        for number in ("DE811569869", "DE129273398"):
            watching.org.change("Account", account, VatNumber__c=number)
            watching.pass_time(seconds=30)
            await watching.look()
            await watching.look()
            watching.org.change("Opportunity", held, Name="Renamed")  # its stamp is after the account's again
            await watching.look()
        assert corrections() == [(held, True)] * 2

        await show("active")
        watching.org.change("Account", account, VatNumber__c=None)
        watching.pass_time(seconds=30)
        await watching.look()
        assert corrections() == [(held, True)] * 2
        assert other not in watching.taken.of(DEAL_CLOSED)

    watch(tmp_path, case)


async def held_deal(watching: Watching) -> tuple[str, str]:
    """Return an account, and its deal whose order is on hold."""
    account = await watching.org.account("Buyer")
    deal = await watching.org.close_deal(account)
    await watching.look()
    status = DealStatus("ord_1", "on_hold")
    await watching.bench.call(lambda: watching.bench.connector.put_status(deal, status, "cor_1"))
    return account, deal


def test_an_account_that_is_corrected_as_once_before_is_another_event(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account, _ = await held_deal(watching)
        watching.taken.offered.clear()

        for second, number in enumerate(("DE811569869", None, "DE811569869")):
            at = f"2027-01-01T00:00:0{second}.000+0000"
            watching.org.bend("Account", account, VatNumber__c=number, SystemModstamp=at)
            await watching.look()

        assert len({each.id for each in watching.taken.offered if "account_changed" in each.data}) == 3

    watch(tmp_path, case)


def test_a_held_deal_that_cannot_be_read_is_refused_once_when_its_account_changes(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account, held = await held_deal(watching)
        watching.org.bend("Opportunity", held, Revision__c="x")
        watching.pass_time(seconds=30)
        watching.org.change("Account", account, VatNumber__c="DE811569869")
        for _ in range(3):
            await watching.look()

        assert watching.taken.of(RECORD_REFUSED) == [held]

    watch(tmp_path, case)


@pytest.mark.parametrize("name", ["half \ud83d", "no\x00thing"])
def test_an_account_with_a_name_that_cannot_be_stored_is_refused_and_the_others_come_in(
    tmp_path: Path, name: str
) -> None:
    async def case(watching: Watching) -> None:
        bad, other = await watching.customer("Bad", "cus_bad"), await watching.customer("Good", "cus_good")
        for account in (bad, other):
            watching.org.change("Account", account, Name="Sentinel" if account == bad else "Better")
        escaped = name.encode("unicode_escape").replace(b"\\x00", b"\\u0000")
        watching.bench.loopback.rewritten = lambda body: body.replace(b"Sentinel", escaped)

        await watching.look()

        (refused,) = [each for each in watching.taken.offered if each.type == RECORD_REFUSED]
        assert (refused.subject, refused.data["field"]) == (bad, "deal.account.name")
        assert watching.taken.of(CUSTOMER_CHANGED) == ["cus_good"]

        watching.bench.loopback.calm()
        watching.org.change("Account", bad, Name="Bad")  # as it was followed: an echo, but its case is to be closed
        watching.taken.offered.clear()
        await watching.look()
        assert watching.taken.of(CUSTOMER_CHANGED) == ["cus_bad"]

    watch(tmp_path, case)


def test_a_key_of_ours_that_somebody_has_edited_is_refused(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer()
        watching.org.change("Account", account, TiergateCustomer__c="no id\n", Name="Renamed")

        await watching.look()

        (refused,) = [each for each in watching.taken.offered if each.type == RECORD_REFUSED]
        assert (refused.subject, refused.data["field"]) == (account, "customer.id")

    watch(tmp_path, case)


@pytest.mark.parametrize("stamp", [None, "soon", 7, "2026-03-01T12:00:00"])
def test_a_record_with_no_stamp_is_refused_and_the_position_stays_readable(tmp_path: Path, stamp: object) -> None:
    async def case(watching: Watching) -> None:
        deal, other = await watching.deal(Name="Sentinel"), await watching.deal()
        sent = b"null" if stamp is None else f'"{stamp}"'.encode() if isinstance(stamp, str) else str(stamp).encode()
        now = str(watching.org.stand_in.org.get("Opportunity", deal)["SystemModstamp"]).encode()
        first = iter([True])

        def without_first_stamp(body: bytes) -> bytes:
            return body.replace(b'"%s"' % now, sent, 1) if b"Revision__c" in body and next(first, False) else body

        watching.bench.loopback.rewritten = without_first_stamp
        await watching.look()
        watching.bench.loopback.calm()
        await watching.look()

        assert watching.taken.of(RECORD_REFUSED) == [deal]
        assert other in watching.taken.of(DEAL_CLOSED)

    watch(tmp_path, case)


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("Opportunity", {"Revision__c": 1e19}, "deal.revision"),
        ("Opportunity", {"Name": "no\x00thing"}, "deal.name"),
        ("Opportunity", {"StartDate__c": "soon"}, "deal.starts_on"),
        ("Opportunity", {"CloseDate": None, "StartDate__c": None}, "deal.starts_on"),
        ("OpportunityLineItem", {"Quantity": None}, "deal.lines[0].quantity"),
        ("OpportunityLineItem", {"Quantity": "many"}, "deal.lines[0].quantity"),
        ("OpportunityLineItem", {"UnitPrice": "much"}, "deal.lines[0].unit_price"),
        ("Account", {"Name": 7}, "deal.account.name"),
        ("Account", {"BillingCity": "no\x00where"}, "deal.account.address.city"),
        ("Contact", {"Email": "no\x00body@example.com"}, "deal.account.contact.email"),
    ],
)
def test_a_deal_that_cannot_be_read_is_rejected_with_its_field(
    tmp_path: Path, kind: str, fields: dict[str, object], field: str
) -> None:
    async def case(watching: Watching) -> None:
        deal = await watching.deal()
        for each in list(watching.org.stand_in.org.live(watching.org.stand_in.org.sobject(kind))):
            watching.org.bend(kind, each["Id"], **fields)

        with pytest.raises(Rejected) as rejected:
            await watching.read(deal)

        assert rejected.value.field == field

    watch(tmp_path, case)


# ---- a process layer that does not take an event


def test_an_event_that_is_refused_is_a_refused_record_and_holds_up_no_other(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        bad, good = await watching.deal(), await watching.deal()
        watching.taken.faults[bad] = Rejected("process", "the event may not enter the log", field="type")

        await watching.look()

        assert watching.taken.of(RECORD_REFUSED) == [bad]
        assert watching.taken.of(DEAL_CLOSED) == [good]

    watch(tmp_path, case)


def test_an_event_that_is_not_taken_is_offered_again_and_holds_up_no_other(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        bad, good = await watching.deal(), await watching.deal()
        watching.taken.faults[bad] = Unavailable("process", "it broke")

        with pytest.raises(Unavailable):
            await watching.look()
        watching.taken.faults.clear()
        await watching.look()

        assert watching.taken.of(DEAL_CLOSED) == [good, bad]

    watch(tmp_path, case)


def test_a_process_layer_that_is_away_is_not_asked_for_each_event(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        deals = [await watching.deal() for _ in range(9)]
        asked: list[str] = []

        class Away(Taken):
            async def offer(self, event: Event, correlation_id: str) -> None:
                assert correlation_id
                asked.append(event.subject)
                raise Unavailable("process", "no answer")

        with pytest.raises(Unavailable):
            await watching.bench.connector.look(Away())
        assert asked == deals[:3]

        await watching.look()
        assert watching.taken.of(DEAL_CLOSED) == deals

    watch(tmp_path, case)


# ---- time


def test_two_changes_in_one_second_are_both_seen(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer()
        contact = watching.org.contact_of(account)
        second = str(watching.org.stand_in.org.get("Account", account)["SystemModstamp"])

        for kind, record, field in (("Account", account, "Name"), ("Contact", contact, "LastName")):
            for name in ("First", "Second"):
                watching.org.change(kind, record, **{field: name})
                watching.org.bend(kind, record, SystemModstamp=second)
                await watching.look()

        assert watching.taken.of(CUSTOMER_CHANGED) == [CUSTOMER] * 4
        assert len({each.id for each in watching.taken.offered}) == 4

    watch(tmp_path, case)


def test_a_name_that_is_changed_and_changed_back_in_one_second_is_another_event_each_time(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer("Here")
        second = str(watching.org.stand_in.org.get("Account", account)["SystemModstamp"])
        for name in ("There", "Here", "Elsewhere", "Here"):
            watching.org.change("Account", account, Name=name)
            watching.org.bend("Account", account, SystemModstamp=second)
            await watching.look()
            revision = (await watching.account(account)).revision
            watching.org.bend("Account", account, TiergateRevision__c=revision)
            await watching.look()

        assert len({each.id for each in watching.taken.offered}) == 4

    watch(tmp_path, case)


def test_a_record_that_becomes_visible_two_minutes_late_is_found_by_the_sweep(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        org = watching.org.stand_in.org
        late = await watching.deal()
        org.commit_late(late, watching.bench.clock() + timedelta(days=1))
        fence = await watching.deal()
        after = str((watching.bench.clock() + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%S.000+0000"))
        watching.org.bend("Opportunity", fence, SystemModstamp=after)
        await watching.look()
        org.commit_late(late, watching.bench.clock() - timedelta(seconds=1))

        await watching.look()
        assert watching.taken.of(DEAL_CLOSED) == [fence]
        watching.pass_time(seconds=SWEEP)
        await watching.look()

        assert watching.taken.of(DEAL_CLOSED) == [fence, late]

    watch(tmp_path, case)


@pytest.mark.parametrize("merged", [False, True])
def test_an_account_whose_end_becomes_visible_late_is_found_by_the_sweep(tmp_path: Path, *, merged: bool) -> None:
    async def case(watching: Watching) -> None:
        org = watching.org.stand_in.org
        account, left = await watching.customer(), await watching.org.account("Left")
        await watching.look()
        if merged:
            watching.org.merge(account, left)
        else:
            watching.org.remove("Account", account)
        org.commit_late(account, watching.bench.clock() + timedelta(days=1))
        after = str((watching.bench.clock() + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%S.000+0000"))
        watching.org.bend("Opportunity", await watching.deal(), SystemModstamp=after)
        await watching.look()
        org.commit_late(account, watching.bench.clock() - timedelta(seconds=1))

        await watching.look()
        assert watching.taken.of(CUSTOMER_CHANGED) == []
        watching.pass_time(seconds=SWEEP)
        await watching.look()

        assert watching.taken.of(CUSTOMER_CHANGED) == [CUSTOMER]

    watch(tmp_path, case)


def test_the_sweep_goes_on_in_pages_with_one_request_beside_each_look_and_then_rests(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.org.account("Many")
        deals = [await watching.org.close_deal(account) for _ in range(450)]
        await watching.look()
        watching.pass_time(seconds=SWEEP)
        requests: list[int] = []
        for _ in range(5):
            before = len(watching.bench.loopback.seen)
            await watching.look()
            requests.append(len(watching.bench.loopback.seen) - before)

        assert requests == [2, 2, 2, 1, 1]
        assert sorted(watching.taken.of(DEAL_CLOSED)) == sorted(deals)  # each once

    watch(tmp_path, case)


def test_the_sweep_reads_a_thousand_customers_in_one_request(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer()
        row = watching.org.stand_in.org.get("Account", account)
        old = "2026-01-01T00:00:00.000+0000"
        for place in range(1_500):
            key = f"001gK{place:010d}AAA"
            changed = {"Id": key, "TiergateCustomer__c": f"cus_{place}", "SystemModstamp": old, "Name": "Changed"}
            watching.org.store_as_it_is("Account", row | changed)
        await watching.look()
        watching.pass_time(seconds=SWEEP)
        before = len(watching.bench.loopback.seen)
        requests: list[int] = []
        for _ in range(3):
            before = len(watching.bench.loopback.seen)
            await watching.look()
            requests.append(len(watching.bench.loopback.seen) - before)

        assert requests == [2, 2, 1]
        assert len(watching.taken.of(CUSTOMER_CHANGED)) == 1_500

    watch(tmp_path, case)


def test_what_was_won_before_the_cut_over_is_left_alone_whatever_is_changed_of_it(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        before, ours = await watching.deal(), await watching.deal()
        for old, order in ((before, None), (ours, "ord_1")):
            watching.org.bend(
                "Opportunity", old, LastStageChangeDate="2025-12-31T23:59:59.000+0000", TiergateOrder__c=order
            )
            watching.org.change("Opportunity", old, Name="renamed", Amount=7)
        watching.org.change("Opportunity", ours, StageName="Closed Lost")

        await watching.look()
        watching.pass_time(seconds=SWEEP)
        await watching.look()

        assert [each.subject for each in watching.taken.offered] == [ours]
        assert watching.taken.offered[0].type == DEAL_LOST

    watch(tmp_path, case)


def test_a_deal_that_was_won_since_and_has_no_order_is_found_by_the_sweep(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        missed, sold = await watching.deal(), await watching.deal()
        for old, order in ((missed, None), (sold, "ord_1")):
            watching.org.bend("Opportunity", old, SystemModstamp="2026-01-02T00:00:00.000+0000", TiergateOrder__c=order)

        await watching.look()
        watching.pass_time(seconds=SWEEP)
        await watching.look()

        assert watching.taken.of(DEAL_CLOSED) == [missed]

    watch(tmp_path, case)


# ---- contacts that go


def test_a_contact_that_is_cleared_or_deleted_is_a_change_of_its_account(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer()
        contact = watching.org.contact_of(account)

        watching.org.change("Contact", contact, Email=None)
        await watching.look()
        cleared = await watching.account(account)
        watching.org.remove("Contact", contact)
        await watching.look()
        await watching.look()
        gone = await watching.account(account)

        assert watching.taken.of(CUSTOMER_CHANGED) == [CUSTOMER, CUSTOMER]
        assert cleared.contact is not None
        assert (cleared.contact.email, gone.contact) == ("", None)

    watch(tmp_path, case)


def test_a_contact_that_is_moved_is_a_change_of_both_accounts(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        left, joined = await watching.customer("Left", "cus_left"), await watching.customer("Joined", "cus_joined")
        watching.org.remove("Contact", watching.org.contact_of(joined))
        watching.org.bend("Account", left, SystemModstamp="2026-01-01T00:00:00.000+0000")
        await watching.look()
        watching.taken.offered.clear()
        contact = watching.org.contact_of(left)
        watching.org.change("Contact", contact, AccountId=joined, LastName="Moved")
        await watching.look()
        at_once = watching.taken.of(CUSTOMER_CHANGED)
        watching.pass_time(seconds=SWEEP)
        await watching.look()

        assert at_once == ["cus_joined"]
        assert watching.taken.of(CUSTOMER_CHANGED) == ["cus_joined", "cus_left"]

    watch(tmp_path, case)


def test_an_account_that_is_deleted_is_a_change_that_says_so(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.customer()
        await watching.look()
        watching.org.remove("Account", account)

        await watching.look()
        await watching.look()
        fault = await watching.bench.fault(lambda: watching.bench.connector.account(account))

        assert watching.taken.of(CUSTOMER_CHANGED) == [CUSTOMER]
        assert isinstance(fault, NotFound)
        assert fault.reason == f"the account {account} was deleted"

    watch(tmp_path, case)


def test_an_account_that_is_merged_is_a_change_and_is_read_as_the_one_that_is_left(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        crm = watching.bench.connector
        account, middle, left = (
            await watching.customer(),
            await watching.org.account("A"),
            await watching.org.account("B"),
        )
        await watching.look()
        watching.org.merge(account, middle)

        await watching.look()
        await watching.look()
        watching.org.merge(middle, left)
        found = await watching.bench.call(lambda: crm.account(account))
        own = await watching.bench.call(lambda: crm.account(left))
        watching.org.remove("Account", left)
        fault = await watching.bench.fault(lambda: crm.account(account))

        assert watching.taken.of(CUSTOMER_CHANGED) == [CUSTOMER]
        assert (found.id, found.name, found.merged) == (left, "B", (middle, account))
        assert own == found
        assert isinstance(fault, NotFound)
        assert fault.reason == f"the account {account} was merged into {left}, which was deleted"

    watch(tmp_path, case)


def test_a_merged_account_that_is_restored_as_it_was_is_a_change_and_itself_again(
    tmp_path: Path,
) -> None:
    async def case(watching: Watching) -> None:
        account, left = await watching.customer(), await watching.org.account("A")
        contact = watching.org.contact_of(account)
        watching.org.remove("Contact", contact)
        found = await watching.account(account)
        followed = AccountSync(CUSTOMER, found.revision)
        await watching.bench.call(lambda: watching.bench.connector.put_followed(account, followed))
        watching.org.merge(account, left)
        await watching.look()
        seen = len(watching.taken.of(CUSTOMER_CHANGED))
        watching.pass_time(minutes=1)
        watching.org.restore(account)

        await watching.look()
        await watching.look()

        assert watching.taken.of(CUSTOMER_CHANGED)[seen:] == [CUSTOMER]
        assert [each.data for each in watching.taken.offered[-1:]] == [{"account": account}]
        assert ((await watching.account(account)).id, (await watching.account(left)).merged) == (account, ())
        with pytest.raises(SalesforceError, match="not in the recycle bin"):
            watching.org.restore(account)

    watch(tmp_path, case)


def test_what_a_merge_has_moved_stays_with_the_account_that_was_left(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account, left = await watching.customer(), await watching.org.account("A")
        contact = watching.org.contact_of(account)
        watching.org.merge(account, left)
        watching.org.restore(account)

        assert contact in [each["Id"] for each in watching.org.contacts_of(left)]
        assert watching.org.contacts_of(account) == []

    watch(tmp_path, case)


def test_a_deal_that_was_offered_says_what_it_was_before_its_account_was_merged(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account, middle, left = [await watching.org.account(each) for each in ("Buyer", "Middle", "Left")]
        deals = [await watching.org.close_deal(account) for _ in range(2)]
        await watching.look()
        requests = len(watching.bench.loopback.seen)
        watching.org.merge(account, middle)
        watching.org.merge(middle, left)

        await watching.look()

        before, after = watching.taken.offered[:2], watching.taken.offered[2:]
        assert [each.subject for each in (*before, *after)] == deals * 2
        was = [each.data["digest_before"].split() for each in after]
        assert [digests[-1] for digests in was] == [each.data["digest"] for each in before]
        assert {each.data["digest"] for each in after}.isdisjoint({each.data["digest"] for each in before})
        assert len(watching.bench.loopback.seen) - requests == 4  # the last of them finds no more

    watch(tmp_path, case)


def test_what_is_about_a_merged_account_is_written_to_the_one_that_is_left(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        crm = watching.bench.connector
        account, left = await watching.customer(), await watching.org.account("Left")
        deal = await watching.org.close_deal(account)
        watching.org.merge(account, left)

        sold = await watching.bench.call(lambda: crm.deal(deal))
        status = DealStatus(
            "ord_1", "active", account_id=account, customer_id=CUSTOMER, contract_id="con_1", starts_on=STARTS_ON
        )
        await watching.bench.call(lambda: crm.put_status(deal, status, "cor_1"))
        placed = samples.placed_deal("key-1", account, watching.org.sku, STARTS_ON)
        made = await watching.bench.call(lambda: crm.put_deal(placed))
        marked = watching.org.stand_in.org.get("Account", left)["TiergateCustomer__c"]
        watching.org.remove("Account", left)
        gone = await watching.bench.fault(lambda: crm.put_status(made.id, status, "cor_1"))

        assert (sold.account.id, sold.account.merged) == (left, (account,))
        assert marked == CUSTOMER
        assert await watching.org.contracts("con_1") == 1
        assert watching.org.stand_in.org.get("Opportunity", made.id)["AccountId"] == left
        assert isinstance(gone, NotFound)

    watch(tmp_path, case)


def test_a_deal_that_names_a_contract_says_so_and_the_deal_that_it_has_come_of_does_not(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        account = await watching.org.account("Buyer")
        sold, more = [await watching.org.close_deal(account) for _ in range(2)]
        await watching.look()
        status = DealStatus("ord_1", "active", "", account, "", "con_1", STARTS_ON, 12, "DE01")
        await watching.bench.call(lambda: watching.bench.connector.put_status(sold, status, "cor_1"))
        (contract,) = watching.org.stand_in.org.live(watching.org.stand_in.org.sobject("Contract"))
        watching.taken.offered.clear()

        watching.org.change("Opportunity", sold, ContractId=contract["Id"])
        watching.org.change("Opportunity", more, ContractId=contract["Id"])
        await watching.look()

        assert [(each.subject, each.data["contract"]) for each in watching.taken.offered] == [(more, "con_1")]
        assert [(await watching.read(each)).contract_id for each in (sold, more)] == ["", "con_1"]

    watch(tmp_path, case)


def test_thousands_of_contacts_that_are_touched_at_once_take_few_requests(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        for place in range(250):
            made = await watching.org.account(f"Buyer {place}")
            watching.org.change("Account", made, TiergateCustomer__c=f"cus_{place}")
            watching.org.bend("Account", made, SystemModstamp="2026-01-01T00:00:00.000+0000")
        before = len(watching.bench.loopback.seen)

        await watching.look()

        assert len(watching.taken.of(CUSTOMER_CHANGED)) == 250
        assert len(watching.bench.loopback.seen) - before == 3  # one of them logs in

    watch(tmp_path, case)


# ---- the requests of a day


def test_the_feed_slows_down_as_the_requests_of_the_day_run_out_and_says_so(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        watching.org.stand_in.daily_limit = 1000
        found: list[tuple[float, str]] = []
        for used in (100, 799, 899, 949, 955):
            watching.org.stand_in.calls = used
            done = await watching.bench.connector.look(watching.taken)
            found.append((round(done.pause, 2), done.note))

        assert [pause for pause, _ in found] == [15.0, 15.0, 30.0, 60.0, 900.0]
        assert found[1][1] == ""
        assert found[2][1] == "100 of 1000 API requests of the day are left, so the next look is after 30 s"

    watch(tmp_path, case)


def test_a_day_whose_requests_are_used_up_is_waited_out(tmp_path: Path) -> None:
    async def case(watching: Watching) -> None:
        await watching.look()
        watching.org.stand_in.daily_limit = 1

        with pytest.raises(Throttled, match="Limit exceeded") as throttled:
            await watching.look()

        assert throttled.value.retry_after == 300.0

    watch(tmp_path, case)


# ---- answers that nobody asked for


@pytest.mark.parametrize(
    ("asked_for", "sent"),
    [
        (b'"Revision__c"', b'"Revision"'),
        (b'"Revision__c"', b'"Rev\xff"'),
        (b'"Quantity"', b'"Count"'),
        (b'"Id"', b'"Key"'),
        (b'"records"', b'"rows"'),
        (b'"done"', b'"ready"'),
        (b'"compositeResponse"', b'"responses"'),
        (b'"httpStatusCode":200', b'"httpStatusCode":"fine"'),
    ],
)
def test_an_answer_that_lacks_what_was_asked_for_is_unavailable(tmp_path: Path, asked_for: bytes, sent: bytes) -> None:
    async def case(watching: Watching) -> None:
        deal = await watching.deal()
        await watching.look()
        watching.bench.loopback.rewritten = lambda body: body.replace(asked_for, sent)

        with pytest.raises(Unavailable):
            await watching.read(deal)

    watch(tmp_path, case)
