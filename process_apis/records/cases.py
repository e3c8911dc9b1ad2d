"""Cases: what cannot go on by itself, for the team that owns it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from canonical.cases import Action, Case, CaseKind, CaseNote, CaseOrder, CaseState, Finding, Team
from canonical.ids import Clock, NewId
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import CASE_OPENED, CASE_RESOLVED
from policies.business.case_routing import CASE_ROUTING
from policies.catalogue.live import LiveCatalogue
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility, waiting
from process_apis.records.database import case_notes, cases, insert_once, writing
from process_apis.records.money_at_risk import money_at_risk
from process_apis.records.published import publish

log = structlog.get_logger("tiergate.cases")
OUTAGE: CaseKind = "waiting_for_platform"
"""The kind of an outage's case: its subject is the platform."""
SINCE = "since"
"""What the input of an outage's case calls when it began (UTC)."""
OF_EVENT = "event:"
"""What stands before an event's number in the subject of its case."""

OPEN_OF = sa.select(cases.c.document).where(cases.c.subject == sa.bindparam("of"), cases.c.state == "open")
OPEN_OF_KIND = OPEN_OF.where(cases.c.kind == sa.bindparam("kind"))
OPEN_OF_CUSTOMER = sa.select(cases.c.document).where(
    cases.c.customer_id == sa.bindparam("of"), cases.c.kind == sa.bindparam("kind"), cases.c.state == "open"
)
EVERY_OPEN_OF = sa.select(cases.c.document).where(
    cases.c.state == sa.literal_column("'open'"),  # in the words of its index
    cases.c.kind == sa.bindparam("kind"),
)
CLOSE = (
    cases.update()
    .where(cases.c.id == sa.bindparam("case"), cases.c.state == "open")
    .values(state="resolved", resolved_at=sa.bindparam("at"))
    .returning(cases)
)
HOLDING: frozenset[CaseKind] = frozenset(
    {"deal_invalid", "duplicate_customer", "outside_region", "platform_rejected", "provisioning_failed"}
)
"""What an order is on hold for."""
ORDERS: dict[CaseOrder, tuple[paging.Key, ...]] = {
    "newest": (paging.Key(cases.c.seq, descending=True),),
    "due": (paging.Key(cases.c.due_at), paging.Key(cases.c.seq)),
    "amount": (
        paging.Key(cases.c.currency, descending=True),
        paging.Key(cases.c.amount, descending=True),
        paging.Key(cases.c.seq, descending=True),
    ),
}
MOST_NOTES = 200
"""Notes of a case that are shown: the newest."""
ATTEMPTS = 5
"""How often a case is opened that meets one which is closed in the same moment."""


class Wanted(msgspec.Struct, frozen=True):
    """Which cases are listed: those of which all holds that is said, in which order."""

    state: CaseState | None = None
    team: Team | None = None
    kind: CaseKind | None = None
    customer_id: str | None = None
    assigned_to: str | None = None
    """By whom they were taken; empty for those that nobody has."""
    order: CaseOrder = "newest"


class CaseNotOpened(RuntimeError):
    """A case could neither be opened nor found: its id is taken, or others open and close the same one."""


class Cases:
    """The table of cases. There is one open case for a subject, kind and field: the same trouble is not reported
    twice, and of two who tell it at once the database takes one."""

    def __init__(self, engine: sa.Engine, live_catalogue: LiveCatalogue, clock: Clock, new_id: NewId) -> None:
        """The catalogue says whose each case is, as it is when the case is opened."""
        self._engine = engine
        self._live_catalogue = live_catalogue
        self._clock = clock
        self._new_id = new_id

    def open(
        self,
        kind: CaseKind,
        subject: str,
        finding: Finding,
        actions: tuple[Action, ...],
        *,
        correlation_id: str,
        legal_entity: str = "",
        customer_id: str = "",
        given: dict[str, str] | None = None,
        by: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> Case:
        """Open a case, or return the one that is open, in a transaction of its own or the caller's. It is due as the
        catalogue says, and at the latest when it is too late, `by`. Raises `CaseNotOpened`."""
        route = CASE_ROUTING.of(self._live_catalogue.current)[kind]
        team = route.to(finding.field, finding.platform)
        case = Case(
            id=self._new_id("cas"),
            kind=kind,
            team=team,
            subject=subject,
            field=finding.field,
            reason=finding.reason,
            actions=actions,
            state="open",
            opened_at=self._clock(),
            correlation_id=correlation_id,
            input=given or {},
        )
        row = {
            "id": case.id,
            "subject": subject,
            "kind": kind,
            "field": finding.field,
            "team": case.team,
            "state": "open",
            "legal_entity": legal_entity,
            "customer_id": customer_id,
            "document": msgspec.json.encode(case),
            "due_at": _due(case.opened_at, timedelta(hours=route.within_hours), by).isoformat(),
        }
        same = sa.select(cases.c.document).where(
            cases.c.subject == subject, cases.c.kind == kind, cases.c.field == finding.field, cases.c.state == "open"
        )
        for _ in range(ATTEMPTS):
            with nullcontext(connection) if connection is not None else writing(self._engine) as used:
                worth = money_at_risk(used, kind, subject)
                row |= {"currency": worth.currency, "amount": worth.amount} if worth else {}
                if insert_once(used, cases, row):
                    publish(used, CASE_OPENED, row, case.opened_at.isoformat(), correlation_id)
                    about = {"kind": kind, "team": case.team, "subject": subject}
                    log.info("case opened", case=case.id, **about, correlation_id=correlation_id)
                    return case
                document = used.scalar(same)
            if document:  # else it was closed in this moment
                return _decoded(document)
        raise CaseNotOpened(
            f"no {kind} case of {subject} could be opened: the id {case.id} is taken, or another such "
            "case was opened and"
            f" closed {ATTEMPTS} times meanwhile"
        )

    def restate(self, case: Case, reason: str, given: dict[str, str] | None = None) -> None:
        """Let an open case have another reason, and another input where one is given: what it is about has changed, and
        it is the same trouble."""
        changed = msgspec.structs.replace(case, reason=reason, input=case.input if given is None else given)
        said = msgspec.json.encode(changed)
        with writing(self._engine) as connection:
            same = sa.and_(cases.c.id == case.id, cases.c.state == "open")
            connection.execute(cases.update().where(same).values(document=said))

    def resolve(self, subject: str, resolution: str, kind: CaseKind) -> int:
        """Close the open cases of one kind of a subject. Return how many there were."""
        return self._close(OPEN_OF_KIND, {"of": subject, "kind": kind}, resolution)

    def close(self, case: Case, resolution: str, also: Collection[CaseKind] = ()) -> int:
        """Close a case, and the open cases of its subject that are of the kinds `also`. Return how many were open."""
        which = OPEN_OF.where(sa.or_(cases.c.id == case.id, cases.c.kind.in_(also)))
        return self._close(which, {"of": case.subject}, resolution)

    def end(self, subject: str, resolution: str, kinds: Collection[CaseKind]) -> int:
        """Close the open cases of some kinds of a subject that has ended. Return how many there were."""
        return self._close(OPEN_OF.where(cases.c.kind.in_(kinds)), {"of": subject}, resolution)

    def _close(self, which: sa.Select[tuple[Any]], of: dict[str, str], resolution: str) -> int:
        """Close cases, and return how many: of two who close one at once, the first does."""
        with self._engine.connect() as connection:
            found = [_decoded(each) for each in connection.scalars(which, of)]
        if not found:
            return 0
        closed = 0
        with writing(self._engine) as connection:
            for case in found:
                now = self._clock()
                resolved = msgspec.structs.replace(case, state="resolved", resolved_at=now, resolution=resolution)
                values = {"case": case.id, "document": msgspec.json.encode(resolved), "at": now.isoformat()}
                row = connection.execute(CLOSE, values).one_or_none()
                if row is not None:
                    closed += 1
                    publish(connection, CASE_RESOLVED, row, now.isoformat(), case.correlation_id)
        return closed

    def last_of(self, subject: str, kind: CaseKind, field: str) -> Case | None:
        """Return the newest case of one kind and field of a subject, open or not."""
        same = (cases.c.subject == subject, cases.c.kind == kind, cases.c.field == field)
        with self._engine.connect() as connection:
            found = connection.scalar(sa.select(cases.c.document).where(*same).order_by(cases.c.seq.desc()).limit(1))
        return _decoded(found) if found else None

    def open_of(self, customer_id: str, kind: CaseKind) -> list[Case]:
        """Return the open cases of one kind of all orders of a customer."""
        with self._engine.connect() as connection:
            return [_decoded(each) for each in connection.scalars(OPEN_OF_CUSTOMER, {"of": customer_id, "kind": kind})]

    def open_about(self, customer_id: str, principal: Principal, most: int) -> tuple[str, ...]:
        """Return the ids of the newest open cases about a customer that the caller may see, `most` at the most."""
        about = (cases.c.customer_id == customer_id, cases.c.state == "open", visibility.visible(cases, principal))
        with self._engine.connect() as connection:
            return tuple(
                connection.scalars(sa.select(cases.c.id).where(*about).order_by(cases.c.seq.desc()).limit(most))
            )

    def open_of_kind(self, kind: CaseKind) -> list[Case]:
        """Return the open cases of one kind of all subjects."""
        with self._engine.connect() as connection:
            return [_decoded(each) for each in connection.scalars(EVERY_OPEN_OF, {"kind": kind})]

    def get(self, case_id: str, principal: Principal) -> Case | None:
        """Return None when there is no such case, or none that the caller may see."""
        query = sa.select(cases).where(cases.c.id == case_id, visibility.visible(cases, principal))
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            newest = sa.select(case_notes).where(case_notes.c.case_id == case_id).order_by(case_notes.c.seq.desc())
            notes = tuple(map(_note, connection.execute(newest.limit(MOST_NOTES))))
            return msgspec.structs.replace(_shown(connection, row), notes=notes[::-1])

    def page(self, principal: Principal, wanted: Wanted, cursor: str | None, limit: int) -> Page[Case]:
        """Return a page of the cases that are wanted and that the caller may see. Raises `ProblemError` (422) for a
        cursor that is none of ours, and for a page that is too large."""
        where = [visibility.visible(cases, principal)]
        for column, value in (
            (cases.c.state, wanted.state),
            (cases.c.team, wanted.team),
            (cases.c.kind, wanted.kind),
            (cases.c.customer_id, wanted.customer_id),
            (cases.c.assigned_to, wanted.assigned_to),
        ):
            if value is not None:
                where.append(column == value)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_in_order(connection, cases, where, ORDERS[wanted.order], cursor, limit)
            found = [_shown(connection, row) for row in rows]
        return paging.page(found, next_cursor)

    def assign(self, case_id: str, to: str) -> bool:
        """Give an open case to somebody, to nobody if `to` is empty. Return whether it is open."""
        same = (cases.c.id == case_id, cases.c.state == "open")
        with writing(self._engine) as connection:
            return connection.execute(cases.update().where(*same).values(assigned_to=to)).rowcount == 1

    def note(self, case: Case, text: str, by: str) -> None:
        """Write a note of a case. What somebody writes a second time at once is there once."""
        of_case = sa.select(case_notes).where(case_notes.c.case_id == case.id).order_by(case_notes.c.seq.desc())
        with writing(self._engine) as connection:
            locked = connection.execute(
                sa.select(cases.c.customer_id).where(cases.c.id == case.id).with_for_update()
            ).one_or_none()
            last = connection.execute(of_case.limit(1)).one_or_none()
            if locked is None or (last is not None and (last.text, last.written_by) == (text, by)):
                return
            values = {"case_id": case.id, "at": self._clock().isoformat(), "written_by": by, "text": text}
            connection.execute(case_notes.insert().values(**values, customer_id=locked.customer_id))

    def findings_of(self, subject: str) -> tuple[Finding, ...]:
        """Return what is wrong with a subject now: the finding of each open case, the oldest first."""
        query = (
            sa.select(cases.c.document).where(cases.c.subject == subject, cases.c.state == "open").order_by(cases.c.seq)
        )
        with self._engine.connect() as connection:
            found = [_decoded(each) for each in connection.scalars(query)]
        return tuple(Finding(each.field, each.reason) for each in found)

    def count_open(self, customer_id: str) -> int:
        query = sa.select(sa.func.count()).where(cases.c.customer_id == customer_id, cases.c.state == "open")
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)


def _due(opened_at: datetime, within: timedelta, by: datetime | None) -> datetime:
    """Return until when a case is to be settled."""
    return min(opened_at + within, by) if by is not None else opened_at + within


def _note(row: sa.Row[Any]) -> CaseNote:
    return CaseNote(datetime.fromisoformat(row.at), row.written_by, row.text)


def _shown(connection: sa.Connection, row: sa.Row[Any]) -> Case:
    """Return a case as people see it: with what it is worth, until when it is due and who has it, and of an outage that
    lasts with what waits for it now."""
    case = msgspec.structs.replace(
        _decoded(row.document),
        customer_id=row.customer_id,
        amount=Money(row.amount, row.currency) if row.currency else None,
        due_at=datetime.fromisoformat(row.due_at) if row.due_at else None,
        assigned_to=row.assigned_to,
    )
    if case.kind != OUTAGE or case.state != "open" or SINCE not in case.input:
        return case
    since = datetime.fromisoformat(case.input[SINCE])
    return msgspec.structs.replace(case, incident=waiting.incident(connection, case.subject, since))


def _decoded(document: Any) -> Case:
    return msgspec.json.decode(document, type=Case)
