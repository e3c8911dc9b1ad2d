"""Change feeds: what they cannot read, and that one stands still, is a case for the platform team.

A record that cannot be read is read again when somebody asks for it, or by the feed when it is changed; then it goes
the way of every other record.
"""

from __future__ import annotations

from functools import partial

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.events import CUSTOMER_CHANGED, DEAL_CLOSED, FEED_RESUMED, FEED_STOPPED, RECORD_REFUSED, Event
from canonical.faults import PlatformFault
from process_apis.deal_changes import NOT_SOLD, report_change
from process_apis.records import cross_references, customers
from process_apis.records.amending_deals import AmendingDeals
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

KINDS: frozenset[CaseKind] = frozenset({"record_not_read", "feed_stopped"})


class ChangeFeeds:
    """Opens and closes the cases of change feeds."""

    def __init__(self, context: WorkflowContext) -> None:
        self._context = context

    # ---- events

    def record_refused(self, event: Event, correlation_id: str) -> None:
        domain = event.source.partition("/")[0]
        reason = event.data.get("reason", "it cannot be read")
        given = {domain: event.instance, "record": event.data.get("record", "")}
        if domain != "crm":
            reason = f"the event {event.subject} ({given['record']}) was not taken: {reason}"
        self._open(event.subject, Finding(event.data.get("field", "record"), reason, domain), given, correlation_id)

    def deal_read(self, event: Event, _: str) -> None:
        self._resolve(event.subject, "a later state of it was read")

    def account_read(self, event: Event, _: str) -> None:
        self._resolve(event.data.get("account", ""), "a later state of it was read")

    def feed_stopped(self, event: Event, correlation_id: str) -> None:
        said = f"no change was read since {event.data.get('since', 'the start')}: {event.data.get('reason', '')}"
        self._context.cases.open(
            "feed_stopped",
            event.source,
            Finding("feed", said, event.source.partition("/")[0]),
            ("skip",),
            correlation_id=correlation_id,
            given={"crm": event.instance},
        )

    def feed_resumed(self, event: Event, _: str) -> None:
        self._context.cases.resolve(event.source, "it is read again", kind="feed_stopped")

    # ---- what people do

    def act(self, case: Case, action: Action) -> Next:
        """Read the record again, or leave it to people."""
        return partial(self._read_again, case) if action == "retry" else nothing

    def _read_again(self, case: Case) -> None:
        try:
            (self._read_deal if case.input["record"] == "deal" else self._read_account)(case)
        except PlatformFault as fault:
            finding = Finding.of(fault)
            self._open(case.subject, finding, case.input, case.correlation_id)

    def _read_deal(self, case: Case) -> None:
        """Read a deal: one that can be read has an order from then on, and the poll begins it. One that was sold before
        is not sold again."""
        context, crm = self._context, case.input["crm"]
        deal = context.platforms.deal(crm, case.subject)
        sold = context.orders.newest_of(crm, deal.id)
        if not deal.won:
            return
        if deal.contract_id:
            AmendingDeals(context.database).receive(
                crm,
                deal.id,
                deal_state="",
                deal_revision=deal.revision,
                contract_id=deal.contract_id,
                key_revision=deal.revision,
                correlation_id=case.correlation_id,
                next_attempt_at=context.clock().isoformat(),
            )
        elif sold is None or sold.state in NOT_SOLD:
            context.orders.receive(crm, deal.id, deal.revision, case.correlation_id, context.clock())
        elif deal.revision != (sold.deal_revision or sold.revision):
            report_change(context, sold, f"the deal is revision {deal.revision} now", case.correlation_id)

    def _read_account(self, case: Case) -> None:
        """Read an account: the poll lets the other platforms follow its customer."""
        context, crm = self._context, case.input["crm"]
        account = context.platforms.account(crm, case.subject)
        known = cross_references.known(context.database, "cus", crm, (case.subject, account.id))
        for customer_id in set(known.values()):
            customers.expect_change(context.database, customer_id, case.correlation_id, context.clock())

    def _open(self, record: str, finding: Finding, given: dict[str, str], correlation_id: str) -> None:
        """Open a case of a record. An event of billing cannot be read again: people look at what it is about."""
        actions: tuple[Action, ...] = ("retry", "skip") if "crm" in given else ("skip",)
        self._context.cases.open(
            "record_not_read", record, finding, actions, correlation_id=correlation_id, given=given
        )

    def _resolve(self, record: str, how: str) -> None:
        self._context.cases.resolve(record, how, kind="record_not_read")


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what watching the change feeds brings."""
    del engine  # what is read again is begun by the poll
    feeds = ChangeFeeds(context)
    return Capability(
        "change_feeds",
        reactions={
            RECORD_REFUSED: feeds.record_refused,
            DEAL_CLOSED: feeds.deal_read,
            CUSTOMER_CHANGED: feeds.account_read,
            FEED_STOPPED: feeds.feed_stopped,
            FEED_RESUMED: feeds.feed_resumed,
        },
        cases=CaseOwner(KINDS, feeds.act),
    )
