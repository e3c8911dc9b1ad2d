"""Lineage: all that happened to an order, a contract, a customer, an invoice, a payment or a case, in every system, in
order of time.

It joins what the tables have: nothing of it is kept a second time, so who was erased there is in no lineage, and a
caller sees of it what it may read as records. What is said is in the words of the business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from litestar.di import NamedDependency

from canonical import events as types
from canonical.cases import Case
from canonical.events import Event
from canonical.ids import is_identifier
from canonical.lineage import Lineage, LineageEntry, LineageRecord
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Customer
from canonical.process_events import SOURCE
from canonical.renewals import RenewalMode
from canonical.states import MEANING, OrderState
from policies.business.events import EVENTS
from policies.catalogue.model import Catalogue
from policies.contract.operation import operation
from policies.contract.parameters import ForeignKey, Moment, moment
from policies.identity.authentication import Principal
from policies.problems import MISSING, ProblemError
from process_apis.records import cross_references, visibility
from process_apis.records.cases import OF_EVENT
from process_apis.records.database import (
    amendments,
    cases,
    correction_states,
    corrections,
    customers,
    dunning_states,
    dunnings,
    events,
    matches,
    order_lines,
    order_states,
    orders,
    postings,
    references,
    renewals,
)
from process_apis.records.postings import CANCELLED
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

MOST = 1000
"""Entries that are shown."""
MOST_ROWS = 200
"""Rows of a table that a lineage is made of."""
OWN = "tiergate"
AT_THE_END: dict[RenewalMode, str] = {
    "quoted": "it is offered again",
    "automatic": "it is renewed by itself",
    "lapse": "it ends unless somebody renews it",
}
_PLAN = msgspec.json.Decoder(Plan)
_CUSTOMER = msgspec.json.Decoder(Customer)
_CASE = msgspec.json.Decoder(Case)
_EVENT = msgspec.json.Decoder(Event)


CORRECTIONS = "corrections:read"
"""The scope of those who see corrections."""


class _Rows:
    """The rows that a lineage is made of, each once: what was asked for, and what belongs to it."""

    def __init__(self) -> None:
        self.orders: dict[str, sa.Row[Any]] = {}
        self.postings: dict[int, sa.Row[Any]] = {}
        self.customers: dict[str, sa.Row[Any]] = {}
        self.amendments: dict[str, sa.Row[Any]] = {}
        self.renewals: dict[str, sa.Row[Any]] = {}
        self.corrections: dict[str, sa.Row[Any]] = {}
        self.dunnings: dict[str, sa.Row[Any]] = {}
        self.cases: dict[str, sa.Row[Any]] = {}
        self.of_customers: set[str] = set()
        """Customers of whom everything was asked for."""

    def __bool__(self) -> bool:
        return bool(self.orders or self.postings or self.customers or self.cases)


class LineageReader:
    """Reads lineages, each for one caller."""

    def __init__(self, connection: sa.Connection, catalogue: Catalogue, principal: Principal) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._principal = principal
        self._is_partner = bool(principal.partner)

    def read(self, record: str, as_of: datetime | None = None) -> Lineage | None:
        """Return the lineage of a record, by an id of ours or a platform's, up to a moment; None when there is no such
        record for this caller."""
        rows = _Rows()
        self._find(rows, record)
        if not rows:
            return None
        self._add_what_belongs(rows)
        happened = chain(
            self._of_events(rows),
            self._of_orders(rows),
            self._of_amendments(rows),
            self._of_renewals(rows),
            self._of_corrections(rows),
            self._of_dunnings(rows),
            self._of_cases(rows),
            self._of_postings(rows),
        )
        entries = [each for each in happened if as_of is None or each.at <= as_of]
        entries.sort(key=lambda each: each.at)  # what has one moment stays in the order of the business
        left_out = max(0, len(entries) - MOST)
        return Lineage(record, tuple(self._records(rows)), tuple(entries[:MOST]), as_of, left_out)

    # ---- finding

    def _find(self, rows: _Rows, record: str) -> None:
        """Add what an id is of: a record of ours, or one that a platform has under it."""
        self._add_orders(rows, sa.or_(orders.c.id == record, self._unless_partner(orders.c.deal_id == record)))
        of_contract = cross_references.foreign_ids("con", "order", (record,))
        self._add_orders(rows, orders.c.id.in_(of_contract))
        of_posting = sa.or_(
            sa.and_(postings.c.kind.in_(("invoice", "payment")), postings.c.id == record),
            postings.c.invoice_id == record,
        )
        self._add_postings(rows, of_posting)
        of_amendment = sa.select(amendments.c.order_id).where(amendments.c.id == record, self._visible(amendments))
        self._add_orders(rows, orders.c.id.in_(of_amendment))
        of_renewal = sa.select(renewals.c.order_id).where(
            self._unless_partner(sa.or_(renewals.c.id == record, renewals.c.deal_id == record))
        )
        self._add_orders(rows, orders.c.id.in_(of_renewal))
        if self._may(CORRECTIONS):
            of_correction = sa.select(corrections.c.invoice_id).where(
                sa.or_(corrections.c.id == record, corrections.c.reference == record), self._visible(corrections)
            )
            self._add_postings(rows, postings.c.invoice_id.in_(of_correction))
        of_dunning = sa.select(dunnings.c.order_id).where(self._unless_partner(dunnings.c.id == record))
        self._add_orders(rows, orders.c.id.in_(of_dunning))
        if self._may("cases:read"):
            one = sa.select(cases).where(cases.c.id == record, self._visible(cases))
            for row in self._connection.execute(one):
                rows.cases[row.id] = row
                self._find_subject(rows, row.subject)
        of_account = sa.select(references.c.canonical_id).where(
            references.c.kind == "cus", references.c.foreign_id == record
        )
        of_match = sa.select(matches.c.customer_id).where(matches.c.record == record)
        found = sa.or_(customers.c.id.in_(of_account), customers.c.id.in_(of_match))
        self._add_customers(rows, sa.or_(customers.c.id == record, self._unless_partner(found)))
        if not rows and not self._is_partner and not is_ours(record):
            self._find_by_reference(rows, record)

    def _find_subject(self, rows: _Rows, subject: str) -> None:
        """Add what a case is about."""
        kind, _, key = subject.partition(":")
        if subject.startswith(OF_EVENT) and key.isdecimal():
            about = self._connection.scalar(sa.select(events.c.subject).where(events.c.seq == int(key)))
            subject = about or subject
        elif kind in {"invoice", "payment"}:
            self._add_postings(rows, sa.and_(postings.c.kind == kind, postings.c.id == key))
            return
        of_amendment = sa.select(amendments.c.order_id).where(amendments.c.id == subject)
        of_renewal = sa.select(renewals.c.order_id).where(renewals.c.id == subject)
        of_dunning = sa.select(dunnings.c.order_id).where(dunnings.c.id == subject)
        self._add_orders(
            rows,
            sa.or_(
                orders.c.id == subject,
                orders.c.deal_id == subject,
                orders.c.id.in_(of_amendment),
                orders.c.id.in_(of_renewal),
                orders.c.id.in_(of_dunning),
            ),
        )
        of_correction = sa.select(corrections.c.invoice_id).where(corrections.c.id == subject)
        about = sa.or_(postings.c.invoice_id == subject, postings.c.invoice_id.in_(of_correction))
        self._add_postings(rows, about)
        self._add_customers(rows, customers.c.id == subject)

    def _find_by_reference(self, rows: _Rows, record: str) -> None:
        """Add what has an id only among its ids on the platforms, or as its number in the books. Reads whole tables:
        there is no index of these."""
        self._add_postings(rows, postings.c.number == record)
        wanted = f'"{record}"'.encode()
        for row in self._connection.execute(
            sa.select(customers).where(_contains(self._connection, customers.c.document, wanted), self._of_own())
        ):
            if record in _CUSTOMER.decode(row.document).references.values():
                self._add_customers(rows, customers.c.id == row.id)
        for row in self._connection.execute(
            sa.select(orders).where(_contains(self._connection, orders.c.plan, wanted), self._visible(orders))
        ):
            if record in _PLAN.decode(row.plan).contract.references.values():
                self._add_orders(rows, orders.c.id == row.id)

    def _add_orders(self, rows: _Rows, which: sa.ColumnElement[bool]) -> None:
        if self._may("orders:read"):
            query = sa.select(orders).where(which, self._visible(orders)).order_by(orders.c.seq).limit(MOST_ROWS)
            rows.orders |= {row.id: row for row in self._connection.execute(query)}

    def _add_postings(self, rows: _Rows, which: sa.ColumnElement[bool]) -> None:
        if self._may("postings:read"):
            query = sa.select(postings).where(which, self._visible(postings)).order_by(postings.c.seq).limit(MOST_ROWS)
            rows.postings |= {row.seq: row for row in self._connection.execute(query)}

    def _add_customers(self, rows: _Rows, which: sa.ColumnElement[bool]) -> None:
        """Add customers of whom the caller may see an order, with all that is theirs."""
        if not self._may("orders:read"):
            return
        for row in self._connection.execute(sa.select(customers).where(which, self._of_own()).limit(MOST_ROWS)):
            rows.customers[row.id] = row
            rows.of_customers.add(row.id)

    def _add_what_belongs(self, rows: _Rows) -> None:
        """Add the orders behind invoices, the invoices of orders, and their cases."""
        asked_orders = set(rows.orders)
        if rows.of_customers:
            self._add_orders(rows, orders.c.customer_id.in_(rows.of_customers))
            self._add_postings(rows, postings.c.customer_id.in_(rows.of_customers))
        if contracts := {row.contract_id for row in rows.postings.values() if row.contract_id}:
            self._add_orders(rows, orders.c.id.in_(cross_references.foreign_ids("con", "order", contracts)))
        if own := {_PLAN.decode(rows.orders[each].plan).contract.id for each in asked_orders if rows.orders[each].plan}:
            self._add_postings(rows, postings.c.contract_id.in_(own))
        if invoices := {row.invoice_id for row in rows.postings.values()}:
            self._add_postings(rows, postings.c.invoice_id.in_(invoices))
        wanted = {row.customer_id for row in (*rows.orders.values(), *rows.postings.values()) if row.customer_id}
        for row in self._connection.execute(sa.select(customers).where(customers.c.id.in_(wanted), self._of_own())):
            rows.customers[row.id] = row
        changes = sa.select(amendments).where(amendments.c.order_id.in_(set(rows.orders)), self._visible(amendments))
        found = self._connection.execute(changes.order_by(amendments.c.seq).limit(MOST_ROWS))
        rows.amendments |= {row.id: row for row in found}
        if not self._is_partner:
            terms = sa.select(renewals).where(renewals.c.order_id.in_(set(rows.orders)), self._visible(renewals))
            found = self._connection.execute(terms.order_by(renewals.c.seq).limit(MOST_ROWS))
            rows.renewals |= {row.id: row for row in found}
        if self._may(CORRECTIONS) and not self._is_partner:
            asked = sa.select(corrections).where(
                corrections.c.invoice_id.in_({row.invoice_id for row in rows.postings.values()}),
                self._visible(corrections),
            )
            found = self._connection.execute(asked.order_by(corrections.c.seq).limit(MOST_ROWS))
            rows.corrections |= {row.id: row for row in found}
        if not self._is_partner:
            debts = sa.select(dunnings).where(dunnings.c.order_id.in_(set(rows.orders)), self._visible(dunnings))
            found = self._connection.execute(
                debts.where(dunnings.c.times > 0).order_by(dunnings.c.seq).limit(MOST_ROWS)
            )
            rows.dunnings |= {row.id: row for row in found}
        if self._may("cases:read") and not self._is_partner:
            subjects = {
                *rows.orders,
                *rows.amendments,
                *rows.renewals,
                *rows.corrections,
                *rows.dunnings,
                *rows.of_customers,
                *(row.deal_id for row in rows.orders.values()),
                *(f"{row.kind}:{row.id}" for row in rows.postings.values()),
            }
            query = sa.select(cases).where(cases.c.subject.in_(subjects), self._visible(cases)).order_by(cases.c.seq)
            rows.cases |= {row.id: row for row in self._connection.execute(query.limit(MOST_ROWS))}

    # ---- what happened

    def _of_orders(self, rows: _Rows) -> Iterator[LineageEntry]:
        for row in rows.orders.values():
            states = sa.select(order_states).where(order_states.c.order_id == row.id).order_by(order_states.c.seq)
            before = ""
            for each in self._connection.execute(states):
                at = datetime.fromisoformat(each.at)
                for system, words, ids in self._made(row, before) if not self._is_partner else ():
                    yield LineageEntry(at, system, words, ids, row.correlation_id)
                state = cast("OrderState", each.state)
                words = f"the order is {state.replace('_', ' ')}: {MEANING[state]}"
                if state == "received" and not self._is_partner:
                    words = f"the order is received for revision {row.revision} of the deal {row.deal_id}"
                yield LineageEntry(at, OWN, words, (row.id,), row.correlation_id)
                before = each.state

    def _made(self, row: sa.Row[Any], left: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield what was there when an order left a state: where, in words, and the ids."""
        plan = _PLAN.decode(row.plan) if row.plan else None
        if plan is None:
            return
        customer, contract = plan.customer, plan.contract
        if left == "validating":
            money = f", {contract.net} net" if contract.lines else ""
            yield OWN, f"the deal was accepted for {contract.legal_entity}{money}", (row.id, contract.id)
        if left == "onboarding":
            for platform, its_id in sorted(customer.references.items()):
                if platform != customer.crm:
                    words = f"the customer {customer.name} is there as {its_id}"
                    yield platform, words, (customer.id, its_id)
        if left == "subscribing" and contract.references:
            shown = ", ".join(f"{name} {its_id}" for name, its_id in sorted(contract.references.items()))
            billing = self._platform("billing", contract.legal_entity)
            yield billing, f"the contract is there, and was prepared: {shown}", (contract.id,)

    def _of_amendments(self, rows: _Rows) -> Iterator[LineageEntry]:
        """Yield what was asked for of a contract that runs, and how far it is: of a change only the last state has a
        moment."""
        for row in rows.amendments.values():
            ids, asked = (row.id, row.contract_id), datetime.fromisoformat(row.requested_at)
            by = "" if self._is_partner else f" by {row.requested_by}"
            yield LineageEntry(asked, OWN, f"a change of the contract was asked for{by}", ids, row.correlation_id)
            why = f": {row.blocked_reason}" if row.blocked_reason and not self._is_partner else ""
            of_version = f" as version {row.version}" if row.version is not None else ""
            words = f"the change of the contract is {row.state.replace('_', ' ')}{of_version}{why}"
            yield LineageEntry(datetime.fromisoformat(row.updated_at), OWN, words, ids, row.correlation_id)

    def _of_renewals(self, rows: _Rows) -> Iterator[LineageEntry]:
        """Yield that a term ends, and what has become of that: of its states the last one has a moment."""
        for row in rows.renewals.values():
            ids = (row.id, row.contract_id, row.amendment_id)[: 3 if row.amendment_id else 2]
            found = f"the term of the contract ends on {row.ends_on}: {AT_THE_END[row.mode]}"
            yield LineageEntry(datetime.fromisoformat(row.found_at), OWN, found, ids, row.correlation_id)
            offer = f" with the deal {row.deal_id}" if row.deal_id else ""
            why = f": {row.blocked_reason}" if row.blocked_reason else ""
            words = f"the renewal is {row.state.replace('_', ' ')}{offer}{why}"
            yield LineageEntry(datetime.fromisoformat(row.updated_at), OWN, words, ids, row.correlation_id)

    def _of_corrections(self, rows: _Rows) -> Iterator[LineageEntry]:
        """Yield what was asked to be taken off an invoice, paid back or given up, and who has decided what of it."""
        for row in rows.corrections.values():
            what = f"the {row.kind.replace('_', '-')} of {Money(row.amount, row.currency)}"
            ids = tuple(dict.fromkeys(each for each in (row.id, row.invoice_id, row.reference) if each))
            of_it = correction_states.c.correction_id == row.id
            for each in self._connection.execute(
                sa.select(correction_states).where(of_it).order_by(correction_states.c.seq)
            ):
                by = f" by {each.decided_by}" if each.decided_by else ""
                why = f": {each.reason}" if each.reason else ""
                words = f"{what} is {each.state.replace('_', ' ')}{by}{why}"
                yield LineageEntry(datetime.fromisoformat(each.at), OWN, words, ids, row.correlation_id)

    def _of_dunnings(self, rows: _Rows) -> Iterator[LineageEntry]:
        """Yield each state that what a contract owes has come to, and who has decided it."""
        states = sa.select(dunning_states).where(dunning_states.c.dunning_id.in_(set(rows.dunnings)))
        for each in self._connection.execute(states.order_by(dunning_states.c.seq).limit(MOST_ROWS)):
            row = rows.dunnings[each.dunning_id]
            owed = f", {Money(each.owed, row.currency)} owed" if each.owed else ""
            by = f", by {each.decided_by}: {each.reason}" if each.decided_by else ""
            words = f"what the contract owes is {each.state.replace('_', ' ')}{owed}{by}"
            ids = (row.id, row.contract_id)
            yield LineageEntry(datetime.fromisoformat(each.at), OWN, words, ids, row.correlation_id)

    def _of_postings(self, rows: _Rows) -> Iterator[LineageEntry]:
        for row in sorted(rows.postings.values(), key=lambda each: (each.kind, each.seq)):
            books = OWN if self._is_partner else self._platform("erp", row.legal_entity)
            at = datetime.fromisoformat(row.updated_at)
            ids = tuple(dict.fromkeys((row.id, row.invoice_id)))
            yield LineageEntry(at, books, self._posting_words(row), ids, row.correlation_id)

    def _posting_words(self, row: sa.Row[Any]) -> str:
        what = f"the invoice {row.id}" if row.kind == "invoice" else f"the payment of the invoice {row.invoice_id}"
        why = f": {row.blocked_reason}" if row.blocked_reason and not self._is_partner else ""
        if row.state == "posted":
            amounts = [f"{_money(row, row.amount)}", f"of it tax {_money(row, row.tax)}" if row.tax else ""]
            left = f"{_money(row, row.balance)} is left" if row.balance is not None else ""
            shown = ", ".join(each for each in (*amounts, left) if each)
            back = f", and taken back since it is {row.cancelled}" if row.cancelled in CANCELLED else ""
            return f"{what} is booked as number {row.number}: {shown}{back}"
        if row.skipped:
            return f"{what} is left to people{why}"
        return f"{what} is {'not booked' if row.state == 'failed' else 'to be booked'}{why}"

    def _of_cases(self, rows: _Rows) -> Iterator[LineageEntry]:
        for row in rows.cases.values() if not self._is_partner else ():
            case = _CASE.decode(row.document)
            ids = (case.id, case.subject)
            words = f"a case for {case.team}, {case.kind.replace('_', ' ')}: {case.field}: {case.reason}"
            yield LineageEntry(case.opened_at, OWN, words, ids, case.correlation_id)
            if case.resolved_at is not None:
                words = f"the case {case.kind.replace('_', ' ')} is resolved: {case.resolution}"
                yield LineageEntry(case.resolved_at, OWN, words, ids, case.correlation_id)

    def _of_events(self, rows: _Rows) -> Iterator[LineageEntry]:
        if self._is_partner or not self._may("events:read"):
            return
        subjects = {
            *rows.orders,
            *rows.amendments,
            *rows.of_customers,
            *(row.deal_id for row in rows.orders.values()),
            *(row.deal_id for row in rows.renewals.values() if row.deal_id),
            *(row.invoice_id for row in rows.postings.values()),
        }
        names = self._lines_of(rows)
        of_platforms = events.c.source != SOURCE  # what our own tell of is in the records
        of_them = sa.and_(events.c.subject.in_(subjects), of_platforms)
        query = sa.select(events).where(of_them, visibility.visible_events(self._principal))
        for row in self._connection.execute(query.order_by(events.c.seq).limit(MOST)):
            event = _EVENT.decode(row.document)
            words = WORDS[event.type](event, names) if event.type in WORDS else self._summary(event)
            yield LineageEntry(event.time, event.instance or event.source, words, (event.subject,), row.correlation_id)

    def _lines_of(self, rows: _Rows) -> dict[str, str]:
        """Return the names of the lines of orders, by the order and the line."""
        query = sa.select(order_lines.c.order_id, order_lines.c.line_id, order_lines.c.line)
        found = self._connection.execute(query.where(order_lines.c.order_id.in_(set(rows.orders))))
        return {f"{row.order_id}:{row.line_id}": msgspec.json.decode(row.line)["name"] for row in found}

    def _summary(self, event: Event) -> str:
        known = EVENTS.of(self._catalogue).get(event.type)
        return (known.summary if known else event.type).lower()

    # ---- what the records are now

    def _records(self, rows: _Rows) -> Iterator[LineageRecord]:
        for row in rows.orders.values():
            deal = {} if self._is_partner else {row.crm: row.deal_id}
            yield LineageRecord("order", row.id, row.state, deal)
            if row.plan:
                contract = _PLAN.decode(row.plan).contract
                yield LineageRecord("contract", contract.id, contract.state, self._shown(contract.references))
        for row in rows.customers.values():
            yield LineageRecord("customer", row.id, "", self._shown(_CUSTOMER.decode(row.document).references))
        for row in rows.postings.values():
            yield LineageRecord(row.kind, row.id, row.state, {"number": row.number} if row.number else {})
        for row in rows.amendments.values():
            yield LineageRecord("amendment", row.id, row.state)
        for row in rows.renewals.values():
            yield LineageRecord("renewal", row.id, row.state, {row.crm: row.deal_id} if row.deal_id else {})
        for row in rows.corrections.values():
            yield LineageRecord("correction", row.id, row.state, {row.billing: row.reference} if row.reference else {})
        for row in rows.dunnings.values():
            yield LineageRecord("dunning", row.id, row.state)
        for row in rows.cases.values():
            yield LineageRecord("case", row.id, row.state)

    # ---- what the caller may see

    def _may(self, scope: str) -> bool:
        return scope in self._principal.scopes

    def _visible(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return visibility.visible(table, self._principal)

    def _of_own(self) -> sa.ColumnElement[bool]:
        """Return the condition of customers: of whom the caller may see an order."""
        return customers.c.id.in_(sa.select(orders.c.customer_id).where(self._visible(orders)))

    def _unless_partner(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """Return a condition that a partner does not learn from: what something is called on a platform of ours."""
        return sa.false() if self._is_partner else condition

    def _shown(self, ids: Mapping[str, str]) -> dict[str, str]:
        return {} if self._is_partner else dict(ids)

    def _platform(self, domain: Any, legal_entity: str) -> str:
        return self._catalogue.instance_for(domain, legal_entity) or str(domain)


def is_ours(record: str) -> bool:
    """Return whether an id is one of ours, which no platform has as its own."""
    return any(is_identifier(record, each) for each in ("ord", "con", "cus", "cas", "amd", "rnw", "dun"))


def _money(row: sa.Row[Any], amount: int | None) -> str:
    return "" if amount is None or row.currency is None else str(Money(amount, row.currency))


def _contains(connection: sa.Connection, column: sa.Column[Any], wanted: bytes) -> sa.ColumnElement[bool]:
    """Return the condition that a document has some bytes."""
    if connection.dialect.name == "postgresql":
        return sa.func.pg_catalog.position(column, sa.literal(wanted, sa.LargeBinary)) > 0
    return sa.func.instr(column, sa.literal(wanted, sa.LargeBinary)) > 0


# ---- events in words


def _deal_closed(event: Event, _: Mapping[str, str]) -> str:
    return f"the deal {event.subject} was closed as won, as revision {event.data.get('revision', '1')}"


def _deal_lost(event: Event, _: Mapping[str, str]) -> str:
    return f"the deal {event.subject} is won no longer"


def _line_reported(event: Event, names: Mapping[str, str]) -> str:
    line = event.data.get("line", "")
    name = names.get(f"{event.subject}:{line}", line)
    if event.data.get("succeeded") == "true":
        return f"{name} was delivered"
    return f"{name} was not delivered: {event.data.get('reason') or 'no reason was given'}"


def _issued(event: Event, _: Mapping[str, str]) -> str:
    return f"the invoice {event.subject} was issued"


def _paid(event: Event, _: Mapping[str, str]) -> str:
    return f"the invoice {event.subject} was paid in full"


def _paid_in_part(event: Event, _: Mapping[str, str]) -> str:
    return f"a part of the invoice {event.subject} was paid: {event.data.get('payment', '')}"


def _cancelled(event: Event, _: Mapping[str, str]) -> str:
    return f"the invoice {event.subject} is {event.data.get('state') or 'cancelled'}"


def _ended(event: Event, _: Mapping[str, str]) -> str:
    return f"{event.instance} bills the contract {event.subject} no more, or a part of it"


def _changed(event: Event, _: Mapping[str, str]) -> str:
    return f"the account {event.data.get('account', '')} of the customer was changed"


def _changed_in_billing(event: Event, _: Mapping[str, str]) -> str:
    return f"somebody changed the customer in {event.instance}"


def _refused(event: Event, _: Mapping[str, str]) -> str:
    return f"{event.subject} could not be read: {event.data.get('field', '')}: {event.data.get('reason', '')}"


WORDS: Mapping[str, Callable[[Event, Mapping[str, str]], str]] = {
    types.DEAL_CLOSED: _deal_closed,
    types.DEAL_LOST: _deal_lost,
    types.LINE_PROVISIONED: _line_reported,
    types.INVOICE_FINALIZED: _issued,
    types.INVOICE_PAID: _paid,
    types.PAYMENT_RECEIVED: _paid_in_part,
    types.INVOICE_CANCELLED: _cancelled,
    types.CONTRACT_ENDED: _ended,
    types.CUSTOMER_CHANGED: _changed,
    types.BILLED_CUSTOMER_CHANGED: _changed_in_billing,
    types.RECORD_REFUSED: _refused,
}
"""What an event says, by its type; the summary of the catalogue for any other."""


# ---- the capability


def lineage(
    database: sa.Engine, catalogue: Catalogue, principal: Principal, record: str, as_of: datetime | None = None
) -> Lineage | None:
    """Return the lineage of a record, as `LineageReader.read` does."""
    with database.connect() as connection:
        return LineageReader(connection, catalogue, principal).read(record, as_of)


@operation(
    "get_lineage",
    "GET",
    "/lineage/{record:str}",
    summary="Read all that happened to a record",
    sync_to_thread=True,
)
def get_lineage(
    context: NamedDependency[WorkflowContext],
    principal: NamedDependency[Principal],
    record: ForeignKey,
    as_of: Moment = None,
) -> Lineage:
    """Return what happened in every system, in order of time, to an order, contract, customer, invoice, payment or
    case, by our id or a platform's. It shows what the caller's scopes allow to read as records."""
    catalogue = context.live_catalogue.current
    found = lineage(context.database, catalogue, principal, record, moment("as_of", as_of))
    if found is None:
        raise ProblemError(MISSING, f"There is nothing with the id {record}.")
    return found


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what the lineage brings: its route."""
    del context, engine  # the route is given the former, and starts nothing
    return Capability("lineage", routes=[get_lineage])
