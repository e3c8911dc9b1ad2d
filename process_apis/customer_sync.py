"""Customer changes: what the CRM changes of a customer, billing and the ERP follow. Nobody rekeys it, nothing goes
round.

The CRM owns name, address, contacts, parent and partner; the others hold copies. A change of country or tax number may
change the tax of contracts that run: that is for finance to decide, and is not followed by itself.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.events import CUSTOMER_CHANGED, Event
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.parties import AccountSync, Customer
from canonical.tax import TaxTreatment
from policies.catalogue.model import Domain
from policies.context import correlation
from policies.context.correlation import correlated
from process_apis import account_merges, onboarding
from process_apis.records import customers
from process_apis.records.database import customers as customers_table
from process_apis.runtime import outages
from process_apis.runtime.agenda import Agenda, Due, retry
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, with_retries

KINDS: frozenset[CaseKind] = frozenset({"customer_not_followed", "customer_tax_changed"})


@DBOS.dbos_class("CustomerChanges")
class CustomerSync(DBOSConfiguredInstance):
    """Follows one customer's account."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("customer_changes")
        self._context = context

    @DBOS.workflow(name="CustomerChanges.run")
    def run(self, customer_id: str) -> Outcome:
        return self.follow(customer_id)

    @DBOS.step(name="CustomerChanges.follow")
    @resumable
    def follow(self, customer_id: str) -> Outcome:
        return follow(self._context, customer_id)


def follow(context: WorkflowContext, customer_id: str) -> Outcome:
    """Let billing and the ERP follow a customer that has to be, or plan when to try again."""
    expected = customers.expected_change(context.database, customer_id)
    if expected is None:
        return "done"  # another run has seen to it
    attempts = expected.attempts + 1
    with correlated(expected.correlation_id):
        try:
            with_retries(context.retry_policy, lambda: _follow(context, customer_id))
        except TRANSIENT as fault:
            at = retry(context, attempts, fault.retry_after).at
            customers.settle_change(context.database, expected, at, attempts, _blocked(context, expected, fault))
            return "stopped"
        except (Rejected, NotFound) as fault:
            _tell(context, customer_id, fault)
            customers.settle_change(context.database, expected, None, attempts)
            return "stopped"
        context.cases.resolve(customer_id, "it was followed", kind="customer_not_followed")
    customers.settle_change(context.database, expected, None, 0)
    if expected.blocked_by:
        outages.is_over(context, expected.blocked_by)
    return "done"


def _blocked(context: WorkflowContext, expected: sa.Row[Any], fault: PlatformFault) -> outages.Blocked:
    """Return which platform a customer waits for, whose outage is one case for all that does, and since when."""
    known = customers.last_seen(context.database, expected.id)
    seller, crm = (known.legal_entity, known.crm) if known else ("", "")
    return outages.blocked(context, expected, fault.platform, seller, crm=crm)


def _follow(context: WorkflowContext, customer_id: str) -> None:
    seen = customers.last_seen(context.database, customer_id)
    if seen is None:
        return
    account_merges.look_for_restored(context, seen)
    known = customers.last_seen(context.database, customer_id) or seen
    account = onboarding.account_of(context, known)
    wanted = onboarding.refreshed(context, known, account)
    sold = context.orders.sold_by(customer_id)
    for copy in copies(context, "billing", wanted, sold):
        context.platforms.put_billing_customer(copy)
    for copy in copies(context, "erp", wanted, sold):
        context.platforms.put_erp_customer(copy)
    customers.keep(context.database, wanted)
    context.orders.hand_over(customer_id, wanted.partner)
    if account_merges.settle(context, wanted, account, known.references[known.crm]):
        followed = AccountSync(customer_id, wanted.revision, known.legal_entity)
        context.platforms.put_account_sync(known.crm, account.id, followed)


def copies(context: WorkflowContext, domain: Domain, wanted: Customer, sold: dict[str, TaxTreatment]) -> list[Customer]:
    """Return a customer for each platform of a domain that has it, with the tax that the legal entity which sold last
    through that platform has decided. `sold` is as `Orders.sold_by` returns it."""
    platforms = context.live_catalogue.current
    found: dict[str | None, Customer] = {}
    others = [(seller, tax) for seller, tax in sold.items() if seller != wanted.legal_entity]
    for seller, tax in (*others, (wanted.legal_entity, wanted.tax_treatment)):
        instance = platforms.instance_for(domain, seller)
        if instance in wanted.references or seller == wanted.legal_entity:
            found[instance] = msgspec.structs.replace(wanted, legal_entity=seller, tax_treatment=tax)
    return list(found.values())


def _tell(context: WorkflowContext, customer_id: str, fault: PlatformFault) -> None:
    known = customers.last_seen(context.database, customer_id)
    if known is not None:
        finding = Finding.of(fault)
        context.cases.open(
            "customer_not_followed",
            known.id,
            finding,
            ("retry", "skip"),
            correlation_id=correlation.current(),
            legal_entity=known.legal_entity,
            customer_id=known.id,
            given={"account": known.references[known.crm]},
        )


class CustomerChanges:
    """Starts the runs that follow customers."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self._sync = CustomerSync(context)

    def customer_changed(self, event: Event, correlation_id: str) -> None:
        """Let the other platforms follow a customer, as the CRM has it when the run looks, and those that share its
        account."""
        for each in customers.with_its_account(self._context.database, event.subject):
            self._start(each, self._expect(each, correlation_id))

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(sync_run(row.id, run), self._sync.run, (row.id,), partition=row.id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a customer that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(sync_run(row.id, row.run)) else None

    def act(self, case: Case, action: Action) -> Next:
        """Follow the customer again, or leave it to people."""
        if action != "retry":
            return nothing
        return partial(self._start, case.subject, self._expect(case.subject, case.correlation_id))

    def _expect(self, customer_id: str, correlation_id: str) -> int | None:
        return customers.expect_change(self._context.database, customer_id, correlation_id, self._context.stalled_at())

    def _start(self, customer_id: str, run: int | None) -> None:
        if run is not None:
            self._engine.start(Work(sync_run(customer_id, run), self._sync.run, (customer_id,), partition=customer_id))


def sync_run(customer_id: str, run: int) -> str:
    """Return the identity of a run that follows a customer."""
    return f"customer:{customer_id}:{run}"


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what following customers brings."""
    changes = CustomerChanges(context, engine)
    return Capability(
        "customer_sync",
        reactions={CUSTOMER_CHANGED: changes.customer_changed},
        due=[Due(Agenda(context, customers_table), changes.begin, changes.in_hand)],
        cases=CaseOwner(KINDS, changes.act),
    )
