"""The change feed: polled, since an org without Change Data Capture has no webhook for it. A poll is one request.

Three changes are reported: a deal that was closed as won, one that was won and is lost now, and a customer's account
that changed. Our own writing changes the same records, and causes no event: a deal is known by a digest of what is sold
with it, and an account carries the revision that was synced, so that only a change of a field that the CRM owns is
reported.

A record that cannot be read, or that the process layer does not take, holds up no other.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import structlog

from canonical.events import CONTRACT, CUSTOMER_CHANGED, DEAL_CLOSED, DEAL_LOST, RECORD_REFUSED, Event
from canonical.faults import PlatformFault, Rejected, Unavailable
from canonical.ids import KEY, NewId
from system_apis.connector import ConnectorContext
from system_apis.crm.salesforce import mapping
from system_apis.crm.salesforce.client import SalesforceClient
from system_apis.crm.salesforce.columns import Row, Unreadable
from system_apis.crm.salesforce.mapping import STAMP
from system_apis.crm.salesforce.merges import lists, merged_into
from system_apis.intake import Intake

OVERLAP = timedelta(seconds=10)
"""How far each poll looks back: a commit can become visible after a later one."""
REMEMBERED = 20_000
QUERIES = 5
"""Queries in one request (REST API: Composite)."""
IN_A_ROW = 3
"""Events in a row that the process layer does not take: then it is not the events."""
REFUSED = "refused:"
"""What stands before the state of a deal that could not be read."""
GONE = ":deleted"
"""What stands at the end of the state of an account that was deleted or merged."""
ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
REVISION = re.compile(r"[0-9a-f]{16}")
Record = Literal["deal", "account", "gone"]


log = structlog.get_logger("tiergate.crm")


class Changes:
    """Find what changed since the position, and offer it as events."""

    def __init__(self, client: SalesforceClient, context: ConnectorContext, cut_over: date) -> None:
        """What was won before the day `cut_over` is left alone."""
        self._client = client
        self._org = client.org
        self._cut_over = cut_over
        self._source = f"crm/{context.instance}"
        self._stored = context.position
        self._new_id = context.new_id
        self._clock = context.clock
        self._position = ""
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._merged: dict[str, list[str]] = {}
        """For the account of a deal that is offered, those that were merged into it."""
        self._refused: set[str] = set()
        """Records that could not be read when they were last seen."""

    @property
    def position(self) -> datetime:
        """Return the moment up to which changes were read."""
        return datetime.fromisoformat(self._position)

    def sales_query(self, condition: str) -> str:
        """Return the query for the deals that this feed is about."""
        return mapping.sales_query(condition, self._org, self._cut_over)

    async def begin(self) -> None:
        """Go on from the stored position. What was seen before is not known any more: another process may have read
        the feed meanwhile, and offered later states."""
        self._position = await self._stored.read(soql_time(self._clock() - OVERLAP))
        self._seen.clear()
        self._refused.clear()

    async def look(self, intake: Intake) -> None:
        """Poll once. When anything fails the position stays, and the next poll begins there again."""
        if not self._position:
            await self.begin()
        since = soql_time(self.position - OVERLAP)
        changed = f"{STAMP} >= {since} ORDER BY {STAMP}, Id"
        found = await self._client.queries(
            {
                "deals": self.sales_query(mapping.changed_sales(since, self._org)),
                # before the accounts: one that is read with a contact's change has that change
                "contacts": mapping.changed_contacts_query(changed, self._org),
                "deleted": mapping.changed_contacts_query(f"IsDeleted = true AND {changed}", self._org),
                "gone": mapping.gone_query(changed, self._org),
                "accounts": mapping.accounts_query(f"{self._org.ours} AND {changed}", self._org),
            },
            with_deleted={"deleted", "gone"},
        )
        contacts = [*found["contacts"], *found["deleted"]]
        await self.offer(intake, found["deals"], found["accounts"], contacts, found["gone"])
        await self._go_on(row for rows in found.values() for row in rows)

    async def offer(
        self,
        intake: Intake,
        deals: list[Row],
        accounts: list[Row],
        contacts: list[Row],
        gone: list[Row],
        *,
        late: bool = False,
    ) -> None:
        """Offer what is new among rows. Raises the last fault, after all that could be offered was.

        What comes `late`, found by the sweep, is named in the log.
        """
        offering = _Offering(intake, self._new_id, late=late)
        await self._read_merges(deals)
        for row in deals:
            await self._offer(offering, row, "deal")
        for row in [*accounts, *await self._accounts_of(contacts, accounts)]:
            await self._offer(offering, row, "account")
        for row in gone:
            await self._offer(offering, row, "gone")
        for row in contacts:
            self._remember(*_contact_state(row))
        offering.raise_fault()

    async def _accounts_of(self, contacts: list[Row], known: list[Row]) -> list[Row]:
        """Return the accounts of contacts that changed, but for those that are known."""
        there = {row.get("Id") for row in known}
        wanted: dict[str, None] = {}
        for row in contacts:
            contact, state = _contact_state(row)
            account = row.get("AccountId")
            if isinstance(account, str) and ID.fullmatch(account) and self._seen.get(contact) != state:
                wanted[account] = None
        missing = [each for each in wanted if each not in there]
        found: list[Row] = []
        asked = list(lists(missing))
        for start in range(0, len(asked), QUERIES):
            queries = {
                f"accounts{place}": mapping.accounts_query(f"{self._org.ours} AND Id IN ({ids})", self._org)
                for place, ids in enumerate(asked[start : start + QUERIES])
            }
            found += [row for rows in (await self._client.queries(queries)).values() for row in rows]
        return found

    async def _read_merges(self, deals: list[Row]) -> None:
        """Read which accounts were merged into those of deals that may have an order and look changed: a deal goes to
        the account that is left, and is sold to the same customer as before."""
        changed: dict[str, None] = {}
        for row in deals:
            account = row.get("AccountId")
            if isinstance(account, str) and ID.fullmatch(account) and self._looks_changed(row):
                changed[account] = None
        self._merged = await merged_into(self._client, changed)

    def _looks_changed(self, row: Row) -> bool:
        key, state = self._state(row, "deal")
        known = self._seen.get(key)
        if known is None:  # a new deal, or one from before this process, which shows that it has an order
            return bool(row.get(self._org.written.deal.state))
        return known not in (state, f"{REFUSED}{state}")

    async def _offer(self, offering: _Offering, row: Row, record: Record) -> None:
        record_id = row.get("Id")
        if not isinstance(record_id, str) or not ID.fullmatch(record_id):
            raise Unavailable("crm", "it answered with a record that has no id")
        try:
            event = self._event(row, record)
            if event is None:
                if record == "deal" and _of_account(row) not in self._seen:
                    self._remember(_of_account(row), mapping.buyer_digest(row, self._org))
            elif await offering.offer(event):
                self._refused.discard(record_id)
                self._offered(row, record)
        except (Unreadable, Rejected) as error:
            if await offering.offer(self._record_refused(row, record, error.field, error.reason)):
                self._refused.add(record_id)
                self._offered(row, record, REFUSED if record == "deal" else "")

    def _event(self, row: Row, record: Record) -> Event | None:
        match record:
            case "deal":
                return self._deal_closed(row)
            case "account":
                return self._customer_changed(row)
            case "gone":
                return self._customer_gone(row)

    def _deal_closed(self, row: Row) -> Event | None:
        """Return the sale, or the loss of a deal that was sold."""
        key, state = self._state(row, "deal")
        known, corrected = self._seen.get(key), self._account_changed(row)
        is_same = known == f"{REFUSED}{state}" or (known == state and row["Id"] not in self._refused)
        if is_same and not corrected:
            return None
        revision = mapping.revision_of(row, self._org)
        merged = self._merged.get(row.get("AccountId") or "", ())
        before = " ".join(mapping.sale_digest(row | {"AccountId": each}, self._org) for each in merged)
        contract = mapping.contract_of(row, self._org)
        data = {"account_changed": corrected, "digest_before": before, CONTRACT: contract}
        return Event(
            id=f"{row['Id']}:{revision}:{state}" + (f":{_account_of(row).get(STAMP)}:{corrected}" if corrected else ""),
            source=self._source,
            type=DEAL_CLOSED if row.get("IsWon") else DEAL_LOST,
            subject=row["Id"],
            time=_moment(row),
            data={"revision": str(revision), "digest": state} | {name: each for name, each in data.items() if each},
        )

    def _account_changed(self, row: Row) -> str:
        """Return the digest of the account of a held deal, if it was changed since the deal was offered; else empty.

        Where that was before this process, the deal's own stamp tells: the order's state was written to it.
        """
        if not mapping.is_held(row, self._org):
            return ""
        digest, known = mapping.buyer_digest(row, self._org), self._seen.get(_of_account(row))
        changed = digest != known if known else str(_account_of(row).get(STAMP)) > str(row.get(STAMP))
        return digest if changed else ""

    def _customer_changed(self, row: Row) -> Event | None:
        """Return None for our own echo, and for a change to a field that concerns the CRM alone."""
        key, state = self._state(row, "account")
        if self._seen.get(key) == state:
            return None
        mapping.to_account(row, mapping.contacts_of(row), self._org)
        revision = mapping.revision(row, mapping.contacts_of(row), self._org)
        is_back = (self._seen.get(key) or "").endswith(GONE)  # restored, with the fields that it had
        is_echo = row.get(self._org.written.account.revision) == revision
        if is_echo and not is_back and row["Id"] not in self._refused:
            self._remember(key, state)
            return None
        # Of what was read, with a change that came meanwhile; and since when: what is changed and changed back within a
        # second has one stamp.
        return self._change(row, f"{self._followed(row)}:{revision}")

    def _customer_gone(self, row: Row) -> Event | None:
        """Return the change of a customer whose account was deleted, or merged into another."""
        key, state = self._state(row, "gone")
        return None if self._seen.get(key) == state else self._change(row, "deleted")

    def _change(self, row: Row, revision: str) -> Event:
        customer = self._org.customer.text(row, "customer")
        if not re.fullmatch(KEY, customer):
            raise self._org.customer.unreadable("customer", f"{customer!r} is none of our ids")
        return Event(
            id=f"{row['Id']}:{row.get(STAMP)}:{revision}",
            source=self._source,
            type=CUSTOMER_CHANGED,
            subject=customer,
            time=_moment(row),
            data={"account": row["Id"]},
        )

    def _record_refused(self, row: Row, record: Record, field: str, reason: str) -> Event:
        return Event(
            id=f"refused:{row['Id']}:{soql_time(_moment_or_now(row, self.position))}",
            source=self._source,
            type=RECORD_REFUSED,
            subject=row["Id"],
            time=_moment_or_now(row, self.position),
            data={"record": "deal" if record == "deal" else "account", "field": field, "reason": reason},
        )

    def _followed(self, row: Row) -> str:
        """Return the revision that was synced last, as we write it; empty for anything else."""
        value: Any = row.get(self._org.written.account.revision)
        return value if isinstance(value, str) and REVISION.fullmatch(value) else ""

    # ---- what was offered before

    def _state(self, row: Row, record: Record) -> tuple[str, str]:
        """Return the key under which a row is remembered, and the state that was seen of it. A stamp is of a second, in
        which there may be several."""
        if record == "deal":
            return row["Id"], mapping.sale_digest(row, self._org)
        if record == "gone":
            return row["Id"], f"{row.get(STAMP)}{GONE}"
        return row["Id"], f"{row.get(STAMP)}:{mapping.revision(row, mapping.contacts_of(row), self._org)}"

    def _offered(self, row: Row, record: Record, before: str = "") -> None:
        """Remember a row as it was offered; `before` stands before its state."""
        if record == "deal":
            self._remember(_of_account(row), mapping.buyer_digest(row, self._org))
        key, state = self._state(row, record)
        self._remember(key, f"{before}{state}")

    def _remember(self, key: str, state: str) -> None:
        self._seen[key] = state
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def _go_on(self, found: Iterable[Row]) -> None:
        """Move the position to the last change, now that everything up to it was taken."""
        moments = [_moment_or_now(row, self.position) for row in found]
        if moments and (reached := soql_time(max(moments))) > self._position:
            await self._stored.write(reached)
            self._position = reached


class _Offering:
    """Offer events one after the other. One that is not taken holds up no other; several in a row do."""

    def __init__(self, intake: Intake, new_id: NewId, *, late: bool) -> None:
        self._intake = intake
        self._new_id = new_id
        self._late = late
        self._in_a_row = 0
        self._fault: PlatformFault | None = None

    async def offer(self, event: Event) -> bool:
        """Return whether an event was taken. Raises `Rejected` when it is refused, and any other fault when that is not
        the event's own."""
        try:
            await self._intake.offer(event, self._new_id("cor"))
        except Rejected:
            raise
        except PlatformFault as fault:
            self._fault = fault
            self._in_a_row += 1
            if self._in_a_row == IN_A_ROW:
                raise
            return False
        self._in_a_row = 0
        if self._late:
            log.info("found by the sweep", type=event.type, subject=event.subject)
        return True

    def raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault


def _account_of(row: Row) -> Row:
    return row.get("Account") or {}


def _of_account(row: Row) -> str:
    """Return the key under which the account of a deal is remembered."""
    return f"{row['Id']}:account"


def _contact_state(row: Row) -> tuple[str, str]:
    return str(row.get("Id")), repr([row.get(each) for each in (*mapping.CONTACT, "AccountId", STAMP)])


def _moment(row: Row) -> datetime:
    """Return when a row was changed last. Raises `Unreadable`."""
    value: Any = row.get(STAMP)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Unreadable(STAMP, f"{STAMP}: {value!r} is no moment") from error
    if moment.tzinfo is None:
        raise Unreadable(STAMP, f"{STAMP}: {value!r} has no time zone")
    return moment


def _moment_or_now(row: Row, now: datetime) -> datetime:
    try:
        return _moment(row)
    except Unreadable:
        return now


def soql_time(at: datetime) -> str:
    """Return a moment as SOQL reads it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
