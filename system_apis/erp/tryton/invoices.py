"""Invoices in Tryton: all of a batch are looked for, drafted and posted together, and each has a result of its own.

Tryton does a call for many records whole or not at all. Where it refuses one, it is called for each half, until what it
refuses is alone: one bad record never stops the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from canonical.billing import ClosedPeriod, Invoice, InvoiceToPost, Posting
from canonical.faults import Conflict, Misconfigured, NotFound, PlatformFault, Rejected, UnknownOutcome
from canonical.ids import Clock
from canonical.money import Money, total
from policies.context import correlation
from system_apis.erp.tryton import mapping, matching
from system_apis.erp.tryton.books import Books
from system_apis.erp.tryton.client import FUTURE, TrytonClient
from system_apis.erp.tryton.mapping import POSTED, POSTING, PREVIEWED, Row, TaxSide
from system_apis.erp.tryton.master_data import MasterData

APART = (Rejected, NotFound, Conflict, UnknownOutcome)
"""What one record may be the cause of, for all that are in a call with it."""
LEFT_BEHIND = timedelta(hours=1)
"""After which the draft of a preview is no longer worked with. None takes more than seconds."""
T = TypeVar("T")
log = structlog.get_logger("tiergate.erp")


class Draft(msgspec.Struct, frozen=True):
    """An invoice and its record, as it was read before it is posted."""

    invoice: Invoice
    row: Row

    @property
    def id(self) -> str:
        return self.invoice.id


Faults = dict[str, PlatformFault]
"""Why an invoice is not posted, by its id."""


class Invoices:
    """Post invoices. Its methods raise leaves of `PlatformFault`."""

    def __init__(
        self, client: TrytonClient, master_data: MasterData, books: Books, clock: Clock, today: Callable[[str], date]
    ) -> None:
        """`today` returns the day that has begun in the books of a legal entity."""
        self._clock = clock
        self._today = today
        self._client = client
        self._master_data = master_data
        self._books = books

    async def put(self, batch: Sequence[InvoiceToPost], closed: ClosedPeriod) -> list[Posting | PlatformFault]:
        """Return what is booked for each invoice of a legal entity, or why it is not.

        All are drafted, and then posted. A draft that a broken connection left behind is found and used. One that shows
        up late can never be posted beside the other, since posting names records.
        """
        company = await self._master_data.company(batch[0].invoice.legal_entity)
        await self._clear_previews("", company)
        faults: Faults = {}
        wanted = self._coded(batch, faults)
        drafts: list[Draft] = []
        surplus: list[int] = []
        for key, rows in (await self._drafted(wanted, company, faults)).items():
            chosen = posted_of(rows) or rows[0]
            surplus += [each["id"] for each in rows if each["id"] != chosen["id"] and each["state"] == "draft"]
            if chosen["state"] not in POSTED:
                drafts.append(Draft(wanted[key].invoice, chosen))
        if surplus:
            await self._client.call("model.account.invoice.delete", surplus, context=in_books_of(company))
        taxed = await self._take_taxes(drafts, company, faults)
        await self._post(sorted(taxed, key=lambda each: each.invoice.issued_on), closed, company, faults)
        asked = () if len(faults) == len(batch) else [each.invoice.id for each in batch]
        found = await self._by_reference(asked, company, POSTING)
        return [_result(each.invoice.id, found, faults) for each in batch]

    async def put_one(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        """Post one invoice, a batch of one. Raises leaves of `PlatformFault`."""
        (result,) = await self.put([InvoiceToPost(invoice, correlation.current())], closed)
        if isinstance(result, PlatformFault):
            raise result
        return result

    async def delete_drafts(self, found: Sequence[Row], company: Row) -> None:
        """Delete those of the records of an invoice that are drafts."""
        drafts = [each["id"] for each in found if each["state"] == "draft"]
        if drafts:
            await self._client.call("model.account.invoice.delete", drafts, context=in_books_of(company))

    async def preview(self, one: InvoiceToPost, closed: ClosedPeriod) -> Posting:
        """Return what would be booked for an invoice, by a draft that is deleted again. Raises what posting would, but
        for amounts that are not billing's: they are returned as Tryton works them out."""
        company = await self._master_data.company(one.invoice.legal_entity)
        await self._clear_previews(one.invoice.id, company)
        faults: Faults = {}
        # Without a recipient: an address of its own would be left, and changes no amount.
        named = msgspec.structs.replace(one.invoice, id=f"{one.invoice.id}{PREVIEWED}", bill_to=None)
        wanted = self._coded([msgspec.structs.replace(one, invoice=named)], faults)
        records = await self._records(list(wanted.values()), company, faults)
        for fault in faults.values():
            raise fault
        (invoice,) = (each.invoice for each in wanted.values())
        self._issued(invoice, company)
        books = in_books_of(company)
        made: list[int] = await self._client.call("model.account.invoice.create", list(records.values()), context=books)
        try:
            changes: list[Any] = []
            with contextlib.suppress(Rejected):  # it is no rounding: the difference is shown
                changes = self._tax_changes(Draft(invoice, await self._draft(made, company)), company)
            if changes:
                await self._client.call("model.account.invoice.write", made, {"taxes": changes}, context=books)
            row = await self._draft(made, company)
        finally:
            await self._client.call("model.account.invoice.delete", made, context=books)
        return mapping.previewed(row, one.invoice.id, await self.open_day(invoice.issued_on, closed, company))

    async def _draft(self, ids: list[int], company: Row) -> Row:
        """Return a draft that has just been made. Raises `Conflict` when somebody else has deleted it."""
        rows = await self._client.rows("account.invoice", [["id", "in", ids]], mapping.DRAFTED, company["id"])
        if not rows:
            raise Conflict("erp", "the draft of a preview was deleted by somebody else")
        return rows[0]

    async def _clear_previews(self, invoice_id: str, company: Row) -> None:
        """Delete drafts of previews that a broken connection left behind: those of the same invoice, and old ones."""
        before = mapping.moment(self._clock() - LEFT_BEHIND)
        old = [["reference", "like", f"%{PREVIEWED}"], ["create_date", "<", before]]
        drafts = [["state", "=", "draft"], ["type", "=", "out"], ["company", "=", company["id"]]]
        domain = [*drafts, ["OR", ["reference", "=", f"{invoice_id}{PREVIEWED}"], old]]
        left = [each["id"] for each in await self._client.rows("account.invoice", domain, ["id"], company["id"])]
        if left:
            with contextlib.suppress(Conflict):  # somebody else has done it in this moment
                await self._client.call("model.account.invoice.delete", left, context=in_books_of(company))

    def _coded(self, batch: Sequence[InvoiceToPost], faults: Faults) -> dict[str, InvoiceToPost]:
        """Return the invoices by their ids, with a code for each tax."""
        coded: dict[str, InvoiceToPost] = {}
        for each in batch:
            try:
                invoice = self._master_data.coded(each.invoice)
            except Rejected as refused:
                faults[each.invoice.id] = refused
            else:
                coded[invoice.id] = msgspec.structs.replace(each, invoice=invoice)
        return coded

    # ---- drafts

    async def _drafted(self, wanted: Mapping[str, InvoiceToPost], company: Row, faults: Faults) -> dict[str, list[Row]]:
        """Return every record of each invoice, oldest first, after creating a draft for each that has none."""
        found = await self._by_reference(wanted, company, mapping.DRAFTED)
        missing = [each for key, each in wanted.items() if key not in found]
        records = await self._records(missing, company, faults) if missing else {}

        async def create(part: Sequence[tuple[str, Row]], *, again: bool) -> None:
            there = await self._by_reference([key for key, _ in part], company, ["reference"]) if again else {}
            left = [record for key, record in part if key not in there]
            if left:
                await self._client.call("model.account.invoice.create", left, context=in_books_of(company))

        await _together(list(records.items()), lambda one: one[0], create, faults)
        return found | await self._by_reference(records, company, mapping.DRAFTED)

    async def _records(self, wanted: Sequence[InvoiceToPost], company: Row, faults: Faults) -> dict[str, Row]:
        """Return a record to create for each invoice, but for those that cannot be."""
        data = self._master_data
        parties = await self._parties({each.invoice.customer_id for each in wanted})
        await data.load_products([line.sku for each in wanted for line in each.invoice.lines])
        opened = await data.opened(company)
        records: dict[str, Row] = {}
        for each in wanted:
            invoice = each.invoice
            customer = parties.get(invoice.customer_id)
            if customer is None:
                faults[invoice.id] = NotFound("erp", f"there is no customer {invoice.customer_id}")
                continue
            try:
                records[invoice.id] = await self._record(each, customer, opened, company)
            except (Rejected, NotFound) as refused:
                faults[invoice.id] = refused
        return records

    async def _record(self, one: InvoiceToPost, customer: Row, opened: Row, company: Row) -> Row:
        invoice, data = one.invoice, self._master_data
        books: Row = opened | {"currency": await data.currency(invoice.total.currency)}
        if invoice.due_on and invoice.total.amount > 0:  # a credit note is due no day
            books["payment_term"] = await data.payment_term((invoice.due_on - invoice.issued_on).days)
        lines = [
            mapping.line(
                line,
                data.product(line),
                [data.tax(code, invoice.legal_entity, company) for code in mapping.taxes_of(line, invoice)],
                books["currency"],
                invoice.issued_on,
            )
            for line in invoice.lines
        ]
        address = await self._address(invoice, customer)
        custom = self._books.custom.invoice
        return mapping.invoice(invoice, customer["id"], address, books, lines, one.correlation_id, custom)

    async def _parties(self, customer_ids: Collection[str]) -> dict[str, Row]:
        """Return the parties that are customers of ours, by our ids."""
        fields = ["code", "addresses", "identifiers.code", "identifiers.active"]
        either = ["OR", *(matching.ours(each) for each in sorted(customer_ids))]
        rows = await self._client.rows("party.party", either, fields, 0)
        found: dict[str, Row] = {}
        for row in rows:
            for each in customer_ids:
                if matching.is_linked(row, each):
                    found.setdefault(each, row)
        return found

    async def _address(self, invoice: Invoice, customer: Row) -> int:
        """Return the address of an invoice: that of the customer, or one of its own for who gets its invoices, which is
        found by all that it says."""
        if invoice.bill_to is None:
            return customer["addresses"][0]
        countries = await self._master_data.countries()
        postal = mapping.postal_address(invoice.bill_to.name, invoice.bill_to.address, countries)
        wanted = postal | {"party": customer["id"], "invoice": True}
        same = [[name, "=", value] for name, value in wanted.items()]
        found = await self._client.rows("party.address", same, ["id"], 0, 1)
        if found:
            return found[0]["id"]
        created: list[int] = await self._client.call("model.party.address.create", [wanted])
        return created[0]

    # ---- taxes

    async def _take_taxes(self, drafts: Sequence[Draft], company: Row, faults: Faults) -> list[Draft]:
        """Make billing's taxes those of the drafts, and return the drafts that have them: Tryton rounds halves to even,
        billing up.

        Tryton compares the base of a tax alone with what it works out, so that an amount written to a draft stays
        (`update_taxes` of `account.invoice`, 8.2). A difference that is no rounding is a fault.
        """
        if not drafts:
            return []
        await self._master_data.opened(company)
        changes: list[tuple[Draft, Row]] = []
        for each in drafts:
            try:
                if taxes := self._tax_changes(each, company):
                    changes.append((each, {"taxes": taxes}))
            except Rejected as refused:
                faults[each.id] = refused
        await self._write(changes, company, faults)
        return [each for each in drafts if each.id not in faults]

    def _tax_changes(self, draft: Draft, company: Row) -> list[Any]:
        invoice, drafted = draft.invoice, mapping.posting(draft.row)
        if (drafted.total - drafted.tax) != (invoice.total - invoice.tax):
            reason = f"Tryton works out {drafted.total - drafted.tax} before tax, billing {invoice.total - invoice.tax}"
            raise Rejected("erp", reason, field="total")
        return mapping.tax_changes(draft.row["taxes."], self._issued(invoice, company), len(invoice.lines))

    def _issued(self, invoice: Invoice, company: Row) -> dict[TaxSide, Money]:
        """Return the taxes that billing has charged. Raises `Rejected` when those of the lines are not that."""
        issued = mapping.taxes_by_side(invoice, lambda code: self._master_data.tax(code, invoice.legal_entity, company))
        if total(issued.values(), invoice.tax.currency) != invoice.tax:
            raise Rejected("erp", f"the taxes of the lines are not the {invoice.tax} of the invoice", field="tax")
        return issued

    async def _write(self, changes: Sequence[tuple[Draft, Row]], company: Row, faults: Faults) -> None:
        """Write to drafts, to each its own. The same twice is the same."""

        async def write(part: Sequence[tuple[Draft, Row]], *, again: bool) -> None:  # noqa: ARG001
            pairs = [argument for draft, values in part for argument in ([draft.row["id"]], values)]
            await self._client.call("model.account.invoice.write", *pairs, context=in_books_of(company))

        await _together(changes, lambda one: one[0].id, write, faults)

    # ---- posting

    async def _post(self, drafts: Sequence[Draft], closed: ClosedPeriod, company: Row, faults: Faults) -> None:
        """Post drafts, the earliest first: Tryton numbers them in their order.

        A day begins in the books before it does where the server is: that is no reason to stop.
        Where its period is closed, an invoice is booked in the next one that is open; where a later one has a number
        already, it bears that one's date, and is booked and taxed on its own day all the same.
        """

        async def post(part: Sequence[Draft], *, again: bool) -> None:
            left = await self._unposted(part, company) if again else part
            while left:
                try:
                    ids, books = [each.row["id"] for each in left], in_books_of(company)
                    begun = all(each.invoice.issued_on <= self._today(each.invoice.legal_entity) for each in left)
                    accepts = (FUTURE,) if begun else ()
                    await self._client.call("model.account.invoice.post", ids, context=books, accepts=accepts)
                except Misconfigured:
                    raise
                except Rejected as refused:
                    unposted = await self._unposted(left, company)
                    moved = await self._moved(unposted, closed, company, faults)
                    if unposted and moved == left:
                        raise
                    log.info("posted on another day", reason=refused.reason)
                    left = moved
                else:
                    return

        await _together(drafts, lambda one: one.id, post, faults)

    async def _unposted(self, drafts: Sequence[Draft], company: Row) -> list[Draft]:
        """Return those drafts that are no longer known to be posted: by somebody else, or a call that broke off."""
        own = [["id", "in", [each.row["id"] for each in drafts]], ["state", "in", list(POSTED)]]
        posted = {each["id"] for each in await self._client.rows("account.invoice", own, ["id"], company["id"])}
        return [each for each in drafts if each.row["id"] not in posted]

    async def _moved(self, drafts: Sequence[Draft], closed: ClosedPeriod, company: Row, faults: Faults) -> list[Draft]:
        """Return drafts with the days on which they can be posted, which are written to them. One that has to wait for
        its period is left out."""
        days: dict[date, Row] = {}
        shut: dict[date, Conflict] = {}
        for on in sorted({each.invoice.issued_on for each in drafts}):
            try:
                accounting = await self.open_day(on, closed, company)
            except Conflict as fault:
                shut[on] = fault
            else:
                numbered = await self._number_day(on, company)
                days[on] = {"accounting_date": mapping.day(accounting), "invoice_date": mapping.day(numbered)}
        faults |= {each.id: shut[each.invoice.issued_on] for each in drafts if each.invoice.issued_on in shut}
        moved: list[Draft] = []
        changes: list[tuple[Draft, Row]] = []
        for each in drafts:
            if (wanted := days.get(each.invoice.issued_on)) is None:
                continue
            changed = {name: value for name, value in wanted.items() if each.row[name] != value}
            if changed:
                changes.append((each, changed))
            moved.append(msgspec.structs.replace(each, row=each.row | changed) if changed else each)
        await self._write(changes, company, faults)
        return [each for each in moved if each.id not in faults]

    async def _number_day(self, on: date, company: Row) -> date:
        """Return the day from which an invoice can have the next number: that of the latest one of the fiscal year, if
        it is after `on` (Tryton numbers invoices in the order of their dates)."""
        year = "move.period.fiscalyear"
        later = [
            ["type", "=", "out"],
            ["company", "=", company["id"]],
            ["invoice_date", ">", mapping.day(on)],
            ["number", "!=", None],
            [f"{year}.start_date", "<=", mapping.day(on)],
            [f"{year}.end_date", ">=", mapping.day(on)],
        ]
        latest = ("invoice_date", "DESC")
        found = await self._client.rows("account.invoice", later, ["invoice_date"], company["id"], 1, latest)
        return mapping.from_day(found[0]["invoice_date"]) if found else on

    async def open_day(self, on: date, closed: ClosedPeriod, company: Row) -> date:
        """Return the first day from `on` whose period is open.

        Raises `Conflict` when the posting has to wait: for its own period where that is the policy, of the field
        `period`; else for a period that people have to create or to open, of the field `fiscal_year`. A period that is
        opened again can have journals that are still closed in it (observed on 8.2).
        """
        key, own = company["id"], [["company", "=", company["id"]], ["type", "=", "standard"]]
        shut = [["period.company", "=", key], ["state", "=", "closed"]]
        journals = await self._client.rows("account.journal.period", shut, ["period"], key)
        ahead = [*own, ["end_date", ">=", mapping.day(on)], ["state", "=", "open"]]
        periods = await self._client.rows("account.period", ahead, ["start_date"], key)
        closed_in = {each["period"] for each in journals}
        first_days = sorted(mapping.from_day(each["start_date"]) for each in periods if each["id"] not in closed_in)
        if first_days and first_days[0] <= on:
            return on
        if closed == "next" and first_days:
            return first_days[0]
        of_it = [*own, ["start_date", "<=", mapping.day(on)], ["end_date", ">=", mapping.day(on)]]
        if not await self._client.rows("account.period", of_it, ["start_date"], key, 1):
            raise Conflict("erp", f"no fiscal year has {on}: create it, with its periods", field="fiscal_year")
        if closed == "wait":
            raise Conflict("erp", f"the period of {on} is closed", field="period")
        reason = f"no period after {on} is open: open one, or create the next fiscal year"
        raise Conflict("erp", reason, field="fiscal_year")

    # ---- what is there

    async def of(self, reference: str, company: Row, fields: list[str] = POSTING) -> list[Row]:
        """Return the records of one invoice, oldest first."""
        return (await self._by_reference([reference], company, fields)).get(reference, [])

    async def _by_reference(self, references: Iterable[str], company: Row, fields: list[str]) -> dict[str, list[Row]]:
        """Return the records of each invoice that has any, oldest first."""
        wanted = list(references)
        if not wanted:
            return {}
        domain = [
            ["reference", "in", wanted],
            ["type", "=", "out"],
            ["company", "=", company["id"]],
            ["state", "!=", "cancelled"],
        ]
        found: dict[str, list[Row]] = {}
        for row in await self._client.rows("account.invoice", domain, [*fields, "reference"], company["id"]):
            found.setdefault(row["reference"], []).append(row)
        return found


async def _together(
    parts: Sequence[T], key: Callable[[T], str], act: Callable[..., Awaitable[None]], faults: Faults
) -> None:
    """Do `act` with all `parts` in one call; where that is refused, with each half of them, until what is refused is
    alone: its fault is noted under its `key`. `act` knows by `again` that a call before may have done a part of it."""
    halves: list[tuple[Sequence[T], bool]] = [(parts, False)] if parts else []
    while halves:
        part, again = halves.pop()
        try:
            await act(part, again=again)
        except Misconfigured:
            raise
        except APART as fault:
            if len(part) == 1:
                faults[key(part[0])] = fault
                continue
            middle = (len(part) + 1) // 2
            halves += [(part[middle:], True), (part[:middle], True)]  # the first half is next


def _result(key: str, found: Mapping[str, list[Row]], faults: Faults) -> Posting | PlatformFault:
    row = posted_of(found.get(key, ()))
    if row is not None:
        return mapping.posting(row)
    return faults.get(key) or Conflict("erp", f"the invoice {key} is being changed by somebody else", field="id")


def posted_of(found: Iterable[Row]) -> Row | None:
    """Return the one of these records of an invoice that is posted."""
    return next((each for each in found if each["state"] in POSTED), None)


def in_books_of(company: Row) -> dict[str, Any]:
    """Return the context in which Tryton works in the books of a company."""
    return {"company": company["id"]}
