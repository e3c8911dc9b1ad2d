"""Invoicing: every invoice that billing issues is posted in the ERP exactly once, together with others that wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import ClosedPeriod, Invoice, InvoiceToPost, Posting, PostingResult
from canonical.faults import TRANSIENT, Conflict, Misconfigured, NotFound, PlatformFault, Rejected, Unavailable
from policies.context.correlation import correlated
from process_apis.batch_sizes import BatchSizes
from process_apis.payments import Payments
from process_apis.posting import CANCELLED, NOT_POSTED, done, fail_posting, goes_on, open_window, to_do
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, passes_by_itself, with_retries

LARGEST = 192 * 1024
"""Bytes of the invoices that are sent together: a layer takes a body of 256 KiB."""


class Ready(msgspec.Struct, frozen=True):
    """An invoice that can be posted: its posting, the invoice as billing shows it, and what its period allows."""

    row: sa.Row[Any]
    invoice: Invoice
    closed: ClosedPeriod


@DBOS.dbos_class("Invoicing")
class Invoicing(DBOSConfiguredInstance):
    """Posts a batch of invoices of one legal entity, and books what was paid for them meanwhile."""

    def __init__(self, context: WorkflowContext, payments: Payments, sizes: BatchSizes) -> None:
        super().__init__("invoicing")
        self._context = context
        self._payments = payments
        self._sizes = sizes

    @DBOS.workflow(name="Invoicing.run")
    def run(self, *invoice_ids: str) -> Outcome:
        read: dict[str, Invoice] = {}
        if self.post_invoices(invoice_ids, read) == "stopped":
            return "stopped"
        outcomes: list[Outcome] = []
        for each in invoice_ids:
            payment = self._context.postings.find("payment", each)
            if payment is not None:  # what is paid later is booked by a run of its own
                paid = read.get(each)
                outcomes.append(self._payments.post_payments(each, paid if paid and paid.state == "paid" else None))
        return "stopped" if "stopped" in outcomes else "done"

    @DBOS.step(name="Invoicing.post_invoice")
    @resumable
    def post_invoices(self, invoice_ids: Sequence[str], read: dict[str, Invoice]) -> Outcome:
        """Post what waits of a batch, and return whether any of it is posted.

        Add each invoice as it was posted to `read`; a run that is taken over finds nothing there.
        """
        rows = [row for each in invoice_ids if (row := to_do(self._context, "invoice", each)) is not None]
        ready = [one for row in rows if (one := self._read(row)) is not None]
        results = self._put([one for one in ready if one.invoice.state != "void"])
        ended = [one for one in ready if self._end(one, results.get(one.row.id))]
        read |= {one.row.id: one.invoice for one in ended}
        return "done" if ended else "stopped"

    def _read(self, row: sa.Row[Any]) -> Ready | None:
        context = self._context
        read: list[Ready] = []

        def act() -> None:
            invoice = context.platforms.invoice(row.billing, row.id)
            context.postings.worth(row, invoice.total)
            if row.cancelled and invoice.state == "open":  # nothing that is cancelled is opened again: it shows soon
                shown = f"it reported the invoice as {row.cancelled}, and shows it as open"
                raise Unavailable("billing", shown, field="state")
            read.append(Ready(row, invoice, open_window(context, invoice.legal_entity)))

        goes_on(context, row, lambda: with_retries(context.retry_policy, act))
        return read[-1] if read else None

    def _put(self, ready: Sequence[Ready]) -> dict[str, Posting | PlatformFault]:
        """Post invoices, and return what became of each. What passes by itself is tried once more after a moment.

        A batch that is refused as a whole is sent in halves, until what is refused is alone.
        """
        results: dict[str, Posting | PlatformFault] = {}
        parts = list(_parts(ready))
        while parts:
            part = parts.pop(0)
            try:
                with_retries(self._context.retry_policy, lambda part=part: self._put_part(part, results))
            except TRANSIENT:
                continue  # each has its own fault
            except (Rejected, NotFound) as refused:
                if len(part) > 1 and not isinstance(refused, Misconfigured):
                    for one in part:
                        del results[one.row.id]
                    middle = (len(part) + 1) // 2
                    parts = [part[:middle], part[middle:], *parts]
        return results

    def _put_part(self, ready: Sequence[Ready], results: dict[str, Posting | PlatformFault]) -> None:
        """Post invoices that are sent together, but those that are posted or refused already. Raises the fault of all,
        or of one that may pass by itself."""
        left = [one for one in ready if not isinstance(results.get(one.row.id), Posting | Rejected)]
        legal_entity, closed = left[0].invoice.legal_entity, left[0].closed
        batch = tuple(InvoiceToPost(one.invoice, one.row.correlation_id) for one in left)
        try:
            with correlated(left[0].row.correlation_id, "posting: invoices"):
                found = self._context.platforms.put_erp_invoices(batch, legal_entity, closed)
        except (*TRANSIENT, Rejected, NotFound) as fault:
            results |= {one.row.id: fault for one in left}
            self._sizes.went(legal_entity, through=not isinstance(fault, TRANSIENT))
            raise
        results |= {each.id: _result(each) for each in found}
        ended = [results[each.id] for each in found]
        faults = [each for each in ended if isinstance(each, PlatformFault) and passes_by_itself(each)]
        self._sizes.went(legal_entity, through=len(faults) < len(found))
        if faults:
            raise faults[0]

    def _end(self, one: Ready, result: Posting | PlatformFault | None) -> bool:
        """Note what became of an invoice, and return whether it is posted, or taken back."""
        context, row, invoice = self._context, one.row, one.invoice

        def act() -> None:
            if isinstance(result, PlatformFault):
                raise result
            if result and invoice.state != "uncollectible":
                context.postings.posted(row, result, invoice.total, invoice.state)
                return
            posting = result
            with_retries(context.retry_policy, lambda: self._take_back(one, posting))

        went = goes_on(context, row, act)
        if went:
            done(context, row)
        return went

    def _take_back(self, one: Ready, posting: Posting | None) -> None:
        """Credit or write off what is posted for an invoice that billing has cancelled. Where people have to decide, it
        is a case."""
        context, row, invoice = self._context, one.row, one.invoice
        try:
            taken_back = context.platforms.cancel_erp_invoice(invoice, one.closed)
        except NotFound:
            self._resolve(row.id, "it was never posted")
            context.postings.drop(row, "billing voided it before it was posted", invoice.state)
        except Rejected as refused:
            booked = (posting, invoice.total) if posting else None
            fail_posting(context, row, refused, CANCELLED, invoice.state, booked)
        else:
            self._resolve(row.id, "it was taken back in the ERP")
            context.postings.posted(row, taken_back, invoice.total, invoice.state)

    def _resolve(self, invoice_id: str, resolution: str) -> None:
        for kind in (CANCELLED, NOT_POSTED["invoice"]):
            self._context.cases.resolve(f"invoice:{invoice_id}", resolution, kind)


def _parts(ready: Sequence[Ready]) -> Iterator[list[Ready]]:
    """Yield invoices that are sent together: of one legal entity, and no more than a body holds."""
    part: list[Ready] = []
    size = 0
    for one in ready:
        more = len(msgspec.json.encode(one.invoice))
        if part and (size + more > LARGEST or one.invoice.legal_entity != part[0].invoice.legal_entity):
            yield part
            part, size = [], 0
        part.append(one)
        size += more
    if part:
        yield part


def _result(result: PostingResult) -> Posting | PlatformFault:
    """Return what is booked for an invoice, or its fault."""
    if result.posting is not None:
        return result.posting
    about = result.finding
    reason, field, platform = (about.reason, about.field, about.platform) if about else ("not posted", "", "erp")
    if result.outcome == "waiting":
        return Conflict(platform, reason, field=field, retry_after=result.retry_after)
    return Rejected(platform, reason, field=field)
