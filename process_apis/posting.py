"""What every posting has in common: the identity of its runs, and what happens when it cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
import structlog

from canonical.billing import ClosedPeriod, Posting
from canonical.cases import Case, CaseKind, Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.money import Money
from canonical.orders import PostingEntry
from policies.business.posting_windows import window_of
from policies.context.correlation import correlated
from process_apis.records.database import NOT_BLOCKED, writing
from process_apis.runtime import outages
from process_apis.runtime.agenda import retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.steps import Outcome, passes_by_itself

CANCELLED: CaseKind = "invoice_cancelled"
log = structlog.get_logger("tiergate.postings")
NOT_POSTED: dict[PostingEntry, CaseKind] = {
    "invoice": "invoice_not_posted",
    "payment": "payment_not_posted",
    "credit": "credit_note_not_posted",
    "reversal": "reversal_not_posted",
    "fee": "fee_not_posted",
}


def posting_run(kind: PostingEntry, key: str, run: int) -> str:
    """Return the identity of a posting's workflow. A new `run` is a new try after a pause."""
    return f"{kind}:{key}:{run}"


def subject_of(case: Case) -> tuple[PostingEntry, str]:
    """Return which posting a case is about: its kind and its key."""
    kind, _, key = case.subject.partition(":")
    return cast("PostingEntry", kind), key


class WindowShut(Exception):
    """The books of `legal_entity` take no postings before `opens_at` (UTC)."""

    def __init__(self, legal_entity: str, opens_at: datetime) -> None:
        super().__init__(legal_entity)
        self.legal_entity = legal_entity
        self.opens_at = opens_at


def open_window(context: WorkflowContext, legal_entity: str) -> ClosedPeriod:
    """Return what becomes of a posting of a closed period, in an open window. Raises `WindowShut` when it is not
    open now."""
    window = window_of(context.live_catalogue.current, legal_entity)
    opens_at = window.next_opening(context.clock())
    if opens_at is not None:
        raise WindowShut(legal_entity, opens_at)
    return window.closed_period


def show_balance(context: WorkflowContext, key: str, legal_entity: str, kind: PostingEntry = "invoice") -> None:
    """Show what the ERP says is left of an invoice or a credit note that something else has changed. Do nothing for one
    that is not posted."""
    row = context.postings.find(kind, key)
    if row is None or not row.number:
        return
    left = context.platforms.erp_posting(key, legal_entity).balance.amount
    for each in (kind, "payment") if kind == "invoice" else (kind,):
        context.postings.change(each, key, balance=left)


def attempt(context: WorkflowContext, kind: PostingEntry, key: str, act: Callable[[sa.Row[Any]], None]) -> Outcome:
    """Do the work of a posting that waits, on its row. What cannot be done now waits on, what can never be done becomes
    a case."""
    row = to_do(context, kind, key)
    if row is None or not goes_on(context, row, lambda: act(row)):
        return "stopped"
    done(context, row)
    return "done"


def to_do(context: WorkflowContext, kind: PostingEntry, key: str) -> sa.Row[Any] | None:
    """Return the row of a posting that waits."""
    row = context.postings.find(kind, key)
    if row is None or row.state == "waiting":
        return row
    if row.state == "posted":  # by a run that may have ended before it closed the case
        _close_case(context, row)
    return None


def goes_on(context: WorkflowContext, row: sa.Row[Any], act: Callable[[], None]) -> bool:
    """Do a part of the work of a posting, and return whether the rest can be done. It waits, or is a case, if not."""
    with correlated(row.correlation_id, f"posting: {row.kind}"):
        try:
            act()
        except WindowShut as shut:
            wait_for_window(context, row, shut)
        except TRANSIENT as fault:
            retry_later(context, row, fault)
        except (Rejected, NotFound) as fault:
            fail_posting(context, row, fault)
        else:
            return True
    return False


def done(context: WorkflowContext, row: sa.Row[Any]) -> None:
    """Close the case of a posting that is done, and let go on what waited for the same platform."""
    with correlated(row.correlation_id, f"posting: {row.kind}"):
        _close_case(context, row)
        if row.blocked_by:
            outages.is_over(context, row.blocked_by)


def _close_case(context: WorkflowContext, row: sa.Row[Any]) -> None:
    """Close the case of a posting that is done. Another run may have opened it after this one has read the row."""
    context.cases.resolve(f"{row.kind}:{row.id}", "it went on by itself", NOT_POSTED[row.kind])


def wait_for_window(context: WorkflowContext, row: sa.Row[Any], shut: WindowShut) -> None:
    """Let the posting wait for its window, to be attempted sooner if the window is changed meanwhile. That is no
    failure."""
    blocked_reason = f"the posting window of {shut.legal_entity}, which opens at {shut.opens_at:%Y-%m-%d %H:%M} UTC"
    next_attempt_at = min(shut.opens_at, context.later(context.retry_policy.max_delay))
    context.postings.postpone(row, next_attempt_at, blocked_reason=blocked_reason, **NOT_BLOCKED)


def retry_later(context: WorkflowContext, row: sa.Row[Any], fault: PlatformFault) -> None:
    """Let the posting wait, to be tried again later, ever more seldom.

    A platform that is away is one case for all that waits for it (`process_apis/incidents.py`). A fault with a field is
    about this posting alone: after many failures finance gets a case, which closes itself.
    """
    blocked: outages.Blocked = {**NOT_BLOCKED}
    if not fault.field:
        blocked = outages.blocked(context, row, fault.platform, row.legal_entity, billing=row.billing)
    attempts = row.attempts + 1 if row.blocked_by or fault.field else 1
    again = retry(context, attempts, fault.retry_after)
    waits = context.postings.postpone(
        row,
        again.at,
        attempts=attempts,
        blocked_reason=f"{fault.platform}: {fault.reason}",
        **blocked,
    )
    is_case = bool(fault.field) and passes_by_itself(fault)  # a period that is closed by policy is no failure
    if waits and again.needs_case and is_case:
        _open(context, row, fault, NOT_POSTED[row.kind])


def fail_posting(
    context: WorkflowContext,
    row: sa.Row[Any],
    fault: PlatformFault,
    case: CaseKind | None = None,
    shown: str = "",
    booked: tuple[Posting, Money] | None = None,
) -> None:
    """Mark the posting as failed, together with a case for finance: of the kind `case`, or that it is not posted.

    No case is opened when it waits again, since billing has cancelled the invoice after it was read in the state
    `shown`, or when somebody else has ended it. `booked` is what is booked of it and its amount.
    """
    with writing(context.database) as connection:
        failed = context.postings.fail(connection, row, fault.reason, shown, booked)
        if failed:
            _open(context, row, fault, case or NOT_POSTED[row.kind], connection)
    if failed:
        about = {"kind": row.kind, "posting": row.id, "invoice": row.invoice_id, "platform": fault.platform}
        log.warning("posting failed", **about, correlation_id=row.correlation_id)


def _open(
    context: WorkflowContext,
    row: sa.Row[Any],
    fault: PlatformFault,
    case: CaseKind,
    connection: sa.Connection | None = None,
) -> None:
    context.cases.open(
        case,
        f"{row.kind}:{row.id}",
        Finding.of(fault),
        ("retry", "skip"),
        correlation_id=row.correlation_id,
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        given={"invoice": row.invoice_id},
        connection=connection,
    )
