"""Merges of customers: a record for each time that an account of a customer was merged, with who leads since.

A merge is known by the account that was merged: however often, from wherever and in whatever order it is seen, it is
one record. An account that came back and is merged again is the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.customer_merges import CustomerMergeStep, CustomerMergeSummary, LeadChoice
from canonical.ids import Clock, derived
from canonical.orders import Page
from canonical.parties import Customer
from canonical.process_events import CUSTOMER_MERGE_EVENTS
from canonical.states import CustomerMergeState, IllegalTransition, check_customer_merge
from policies.context import correlation
from policies.identity.authentication import Principal
from process_apis.records import cross_references, paging, visibility
from process_apis.records import customers as customer_records
from process_apis.records.database import (
    customer_merge_states,
    customer_merges,
    customers,
    insert_once,
    references,
    writing,
)
from process_apis.records.one_row import OneRow
from process_apis.records.published import publish

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(customer_merges).where(customer_merges.c.id == OF)
NEWEST = (
    sa.select(customer_merges)
    .where(customer_merges.c.crm == sa.bindparam("crm"), customer_merges.c.merged_account == sa.bindparam("account"))
    .order_by(customer_merges.c.times.desc())
    .limit(1)
)
ENDED: tuple[CustomerMergeState, ...] = ("stayed", "undone")
CHOSEN: dict[LeadChoice, CustomerMergeState] = {"keep": "kept", "switch": "switched"}
STANDING = (
    sa.select(customer_merges)
    .where(customer_merges.c.customer_id == OF, customer_merges.c.state.not_in(ENDED))
    .order_by(customer_merges.c.seq)
)
HISTORY = (
    sa.select(customer_merge_states).where(customer_merge_states.c.merge_id == OF).order_by(customer_merge_states.c.seq)
)
REACHED = customer_merge_states.insert()
LOOKED_AFTER = timedelta(days=30)
"""For how long after a merge it is checked whether it was undone: longer than a CRM keeps deleted records."""
LOOKS = timedelta(days=1)
"""From one such look to the next, where nobody tells that the account is back."""
AT_ONCE = 10
"""Merges that are checked in one sweep: the CRM is asked about each."""


class OneCustomerMerge(
    OneRow[CustomerMergeState], table=customer_merges, check=check_customer_merge, events=CUSTOMER_MERGE_EVENTS
):
    """A merge in one transaction."""

    def enter(self, state: CustomerMergeState, reason: str = "", *, by: str = "", **changes: Any) -> None:
        """Go to `state`, and note when and why, and `by` whom where people have decided it. Raises
        `IllegalTransition`."""
        look = None if state in ENDED or not self.row.next_attempt_at else self.row.next_attempt_at
        is_new = self.row.state != state
        decided = {"decided_at": self._now, "decided_by": by} if by else {}
        self.advance(state, next_attempt_at=datetime.fromisoformat(look) if look else None, **changes | decided)
        if is_new or by:
            step = {"merge_id": self.row.id, "state": state, "at": self._now, "decided_by": by, "reason": reason}
            self.connection.execute(REACHED, step)


class Departure(msgspec.Struct, frozen=True):
    """Who goes to an account that is alive again, who stays, and what becomes of the accounts."""

    leaving: tuple[str, ...]
    """The customer of the account first, then those whose accounts were merged into it."""
    staying: tuple[str, ...]
    """The customers that stay under the account that is left: the one that leads first."""
    accounts: dict[str, str]
    """The customers of accounts from now on, by the CRM's id of each."""


class CustomerMerges:
    """The table of merges."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- what is seen

    @contextmanager
    def at(self, merge_id: str) -> Generator[OneCustomerMerge]:
        """Return one merge to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneCustomerMerge(connection, merge_id, self._clock().isoformat())

    @contextmanager
    def _with_its_group(self, row: sa.Row[Any]) -> Generator[tuple[OneCustomerMerge, list[str]]]:
        """Return one merge to change, with the customers under the account of its customer, the one that leads first.
        Those are locked before any merge, so that no two wait for each other."""
        with writing(self._engine) as connection:
            group = _group(connection, row.customer_id, locked=True)
            yield OneCustomerMerge(connection, row.id, self._clock().isoformat()), group

    def take_over(self, crm: str, account: str, before: str | None, merged_account: str, customer_id: str) -> None:
        """Let an account take over the customer of one that was merged into it, unless another one is there meanwhile.
        `before` is our id of the account until now, of which nobody has bought anything."""
        with writing(self._engine) as connection:
            if cross_references.move_in(connection, "cus", crm, account, before, customer_id):
                self._see(connection, "taken_over", crm, merged_account, account, customer_id, "")

    def see(self, crm: str, merged_account: str, account: str, customer_id: str, other: str) -> str:
        """Keep that two customers have one account. Return the record's id when it is new, else empty."""
        with writing(self._engine) as connection:
            return self._see(connection, "asked", crm, merged_account, account, customer_id, other)

    def _see(
        self,
        connection: sa.Connection,
        state: CustomerMergeState,
        crm: str,
        merged_account: str,
        account: str,
        customer_id: str,
        other: str,
    ) -> str:
        newest = connection.execute(NEWEST, {"crm": crm, "account": merged_account}).one_or_none()
        if newest is not None and newest.state not in ENDED:
            return ""
        now = self._clock()
        times = 1 if newest is None else newest.times + 1
        row: dict[str, Any] = {
            "id": derived("mrg", crm, merged_account, str(times)),
            "crm": crm,
            "merged_account": merged_account,
            "times": times,
            "account": account,
            "customer_id": customer_id,
            "other_customer_id": other,
            "legal_entity": _seller(connection, customer_id),
            "other_legal_entity": _seller(connection, other) if other else "",
            "state": state,
            "correlation_id": correlation.current(),
            "next_attempt_at": (now + LOOKS).isoformat(),
            "seen_at": now.isoformat(),
            "updated_at": now.isoformat(),
        }
        if not insert_once(connection, customer_merges, row):
            return ""  # another process has seen it in this moment
        step = {"merge_id": row["id"], "state": state, "at": row["seen_at"], "decided_by": "", "reason": ""}
        connection.execute(REACHED, step)
        publish(connection, CUSTOMER_MERGE_EVENTS[state], row, row["seen_at"])
        return str(row["id"])

    def due_looks(self) -> Iterator[sa.Row[Any]]:
        """Yield the merges of which it is time to look whether they were undone, each for one process alone; those that
        are not asked for stay due."""
        now = self._clock()
        due = customer_merges.c.next_attempt_at <= now.isoformat()
        query = sa.select(customer_merges).where(due).order_by(customer_merges.c.next_attempt_at).limit(AT_ONCE)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            is_over = now > datetime.fromisoformat(row.seen_at) + LOOKED_AFTER
            if self._look_at(row, None if is_over else now + LOOKS) and not is_over:
                yield row

    def look_sooner(self, row: sa.Row[Any], at: datetime) -> None:
        """Plan the next look at a merge for `at`, as it cannot be seen now whether it was undone."""
        self._look_at(self.row(row.id), at)

    def _look_at(self, row: sa.Row[Any], at: datetime | None) -> bool:
        """Plan the next look at a merge, or none. Return whether it was planned: not if it has changed since it was
        read, and not for one that is over."""
        of = customer_merges.c
        unchanged = sa.and_(of.id == row.id, of.next_attempt_at.is_not(None), of.next_attempt_at == row.next_attempt_at)
        planned = customer_merges.update().where(unchanged).values(next_attempt_at=at.isoformat() if at else None)
        with writing(self._engine) as connection:
            return connection.execute(planned).rowcount == 1

    # ---- who leads

    def choose(self, merge_id: str, choice: LeadChoice, by: str, reason: str, *, where_asked: bool = False) -> None:
        """Let one of two customers under one account lead, and keep who says so, and why. Those that it concerns are
        looked after next. Raises `IllegalTransition` for a merge that leaves nothing to choose, and for one that is not
        asked about any more where it has to be (`where_asked`)."""
        with self._with_its_group(self.row(merge_id)) as (one, group):
            row, wanted = one.row, CHOSEN[choice]
            if row.state == wanted:
                return  # it was chosen before
            present = row.state.replace("_", " ")
            if where_asked and row.state != "asked":
                raise IllegalTransition(f"the merge is {present} already: this case asks nothing any more")
            if choice not in _choices(row, group):
                raise IllegalTransition(f"the merge is {present}, and leaves nothing to choose")
            one.enter(wanted, reason, by=by)
            for each in self._lead(one.connection, row, group, choice):
                self._expect_change(one.connection, each)

    def _expect_change(self, connection: sa.Connection, customer_id: str) -> None:
        """Let a customer be looked after next, whatever becomes of this process."""
        customer_records.expect_change_in(connection, customer_id, correlation.current(), self._clock())

    @staticmethod
    def _lead(connection: sa.Connection, row: sa.Row[Any], group: list[str], choice: LeadChoice) -> list[str]:
        """Let the chosen customer get the deals of the account that both have, and return whom that concerns. Of more
        than two under it, to keep the merge as it is means that the customer of the merged account does not lead."""
        leads = group[0]
        chosen = row.customer_id if choice == "switch" else row.other_customer_id
        if chosen not in group or chosen == leads or (choice == "keep" and leads != row.customer_id):
            return []
        account = _known(connection, chosen).references[row.crm]
        cross_references.move_in(connection, "cus", row.crm, account, leads, chosen)
        _share(connection, group, chosen)
        return group

    # ---- an account that is alive again

    def ask(self, merge_id: str, account: str, open_case: Callable[[sa.Connection], object]) -> None:
        """Keep that people have to say whether the customer goes to an account, unless they are asked already, and open
        the case that asks them in the same transaction."""
        with self.at(merge_id) as one:
            if one.row.state != "in_question":
                one.enter("in_question", held_in=one.row.state, account_in_question=account, answer="")
                open_case(one.connection)

    def ask_again(self, merge_id: str, answer: str, open_case: Callable[[sa.Connection], object]) -> None:
        """Take back an answer that cannot be followed, and open the case that says why in the same transaction."""
        with self.at(merge_id) as one:
            if (one.row.state, one.row.answer) == ("in_question", answer):
                one.enter("in_question", answer="")
                open_case(one.connection)

    def suspect(self, merge_id: str, account: str) -> None:
        """Note that an account which is not known says that it is the customer of a merge."""
        with self.at(merge_id) as one:
            if one.row.state not in (*ENDED, "in_question"):
                one.enter(one.row.state, account_in_question=account, answer="")

    def looked_after(self, row: sa.Row[Any]) -> list[str]:
        """Return the accounts of which it is to be seen whether a merge was undone."""
        suspected = row.account_in_question
        if row.state == "in_question":
            return [suspected]
        own = [row.merged_account] if row.next_attempt_at else []
        with self._engine.connect() as connection:
            is_new = suspected not in ("", row.merged_account) and _customer_of(connection, row.crm, suspected) is None
        return [*own, suspected] if is_new else own

    def answer(self, merge_id: str, answer: str, by: str, reason: str) -> str:
        """Keep what people say about an account that is alive again: `back` or `stay`, with who says it, and why.
        Return the customer that it is about; empty where the question is over."""
        with self.at(merge_id) as one:
            if one.row.state != "in_question":
                return ""
            if one.row.answer != answer:
                one.enter("in_question", reason, by=by, answer=answer)
            return str(one.row.customer_id)

    def withdraw_question(self, merge_id: str) -> bool:
        """Take back the question about an account that is not there any more. Return whether there was one."""
        with self.at(merge_id) as one:
            if one.row.state != "in_question":
                return False
            one.enter(one.row.held_in, "the account is not there any more", account_in_question="", answer="")
            return True

    def stay(self, merge_id: str) -> None:
        """Let the account in question be another customer's than before, which stays where it is. The merge is over
        where it is the merged account itself."""
        with self.at(merge_id) as one:
            row, account = one.row, one.row.account_in_question
            if row.state != "in_question":
                return
            new = _new_id(one.connection, row, account)
            known = _customer_of(one.connection, row.crm, account)
            if known in (None, row.customer_id):
                cross_references.move_in(one.connection, "cus", row.crm, account, known, new)
            one.enter("stayed" if account == row.merged_account else row.held_in)

    def id_without(self, row: sa.Row[Any], account: str) -> str:
        """Return our id for an account without the customer of a merge: that of the customer which it has got
        meanwhile, or is to get."""
        with self._engine.connect() as connection:
            known = _customer_of(connection, row.crm, account)
            return _new_id(connection, row, account) if known in (None, row.customer_id) else known

    def customer_there(self, row: sa.Row[Any], account: str) -> str:
        """Return the customer that has bought by an account, where it is another one than that of a merge, else
        empty."""
        with self._engine.connect() as connection:
            known = _customer_of(connection, row.crm, account)
            return known if known not in (None, row.customer_id) and _is_known(connection, known) else ""

    def departure(self, row: sa.Row[Any], account: str, below: Collection[str]) -> Departure:
        """Return what is to happen when the customer of a merge goes (back) to an account, into which those `below`
        are merged."""
        with self._engine.connect() as connection:
            return _departure(connection, row, account, below)

    def beyond(self, row: sa.Row[Any], account: str, below: Collection[str]) -> set[str]:
        """Return the accounts that the customer of a merge came to by it and after it."""
        with self._engine.connect() as connection:
            return _beyond(connection, row, [row.customer_id], account, below)

    def go_back(self, row: sa.Row[Any], account: str, below: Collection[str]) -> Departure | None:
        """Let the customer of a merge go (back) to an account, with those of the accounts that are merged into that.
        They and those that stay are looked after next. Return what was done; None when the merge is over already."""
        with self._with_its_group(row) as (one, _):
            if one.row.state in ENDED:
                return None
            connection, crm = one.connection, row.crm
            found = _departure(connection, one.row, account, below)
            for each, customer_id in found.accounts.items():
                known = _customer_of(connection, crm, each)
                if known != customer_id:
                    cross_references.move_in(connection, "cus", crm, each, known, customer_id)
            for each in found.leaving:
                customer_records.refer_in(connection, each, crm, account)
            _share(connection, found.leaving, found.leaving[0])
            if found.staying:
                _share(connection, found.staying, found.staying[0])
            why = "" if account == row.merged_account else f"its customer is under the account {account}"
            one.enter("undone", why, answer="")
            self._end_those_that_went_with_it(connection, one.row, found, below)
            for each in (*found.leaving[1:], *found.staying):  # the first one is being looked after
                self._expect_change(connection, each)
            return found

    def _end_those_that_went_with_it(
        self, connection: sa.Connection, row: sa.Row[Any], gone: Departure, below: Collection[str]
    ) -> None:
        """End the merges by which the customers that leave came to later accounts, but for those of accounts that are
        another one's now, and settle what is asked about two that are not under one account any more."""
        standing = sa.select(customer_merges.c.id).where(
            customer_merges.c.state.not_in(ENDED),
            sa.or_(
                customer_merges.c.customer_id.in_(gone.leaving), customer_merges.c.other_customer_id.in_(gone.leaving)
            ),
        )
        for merge_id in connection.scalars(standing.order_by(customer_merges.c.seq)).all():
            each = OneCustomerMerge(connection, merge_id, self._clock().isoformat())
            of = each.row
            leaves = of.customer_id in gone.leaving
            heir = _customer_of(connection, row.crm, of.merged_account)
            is_over = of.merged_account not in below or heir != of.customer_id
            if leaves and of.seq > row.seq and is_over:
                if heir in gone.staying and heir != of.other_customer_id:
                    each.enter(of.state, customer_id=heir, legal_entity=_seller(connection, heir))
                    continue
                each.enter("undone", f"its customer went back with {row.id}", answer="")
            elif of.state == "asked" and leaves != (of.other_customer_id in gone.leaving):
                leads = _group(connection, of.customer_id)[0]
                each.enter("switched" if leads == of.customer_id else "kept", f"one of them went back with {row.id}")

    # ---- reading

    def row(self, merge_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": merge_id}).one()

    def standing(self, customer_id: str) -> list[sa.Row[Any]]:
        """Return the merges of a customer's accounts that are not over, the first one first."""
        with self._engine.connect() as connection:
            return list(connection.execute(STANDING, {"of": customer_id}))

    def accounts_of(self, crm: str, customer_id: str) -> list[str]:
        """Return the accounts of which a customer is ours."""
        with self._engine.connect() as connection:
            return sorted(connection.scalars(cross_references.foreign_ids("cus", crm, (customer_id,))))

    def summary(self, row: sa.Row[Any]) -> CustomerMergeSummary:
        """Return a merge as channels see it."""
        with self._engine.connect() as connection:
            return _summary(connection, row)

    def history(self, merge_id: str) -> tuple[CustomerMergeStep, ...]:
        """Return the states that a merge went through."""
        with self._engine.connect() as connection:
            rows = connection.execute(HISTORY, {"of": merge_id}).all()
        steps = ((row.state, datetime.fromisoformat(row.at), row.decided_by, row.reason) for row in rows)
        return tuple(CustomerMergeStep(*step) for step in steps)

    def visible(self, merge_id: str, principal: Principal) -> sa.Row[Any] | None:
        """Return None when there is no such merge, or none that the caller may see."""
        with self._engine.connect() as connection:
            return connection.execute(ROW.where(_visible(principal)), {"of": merge_id}).one_or_none()

    def page(
        self,
        principal: Principal,
        state: CustomerMergeState | None,
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[CustomerMergeSummary]:
        """Return a page of merges, newest first: those in a state, and those of a customer, on either side."""
        where = [_visible(principal)]
        if state is not None:
            where.append(customer_merges.c.state == state)
        if customer_id is not None:
            sides = (customer_merges.c.customer_id, customer_merges.c.other_customer_id)
            where.append(sa.or_(*(side == customer_id for side in sides)))
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, customer_merges, where, cursor, limit)
            return paging.page([_summary(connection, row) for row in rows], next_cursor)


def _visible(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: of the selling companies that the caller may see, on either side; none for a partner."""
    if principal.partner:
        return sa.false()
    other = visibility.visible(customer_merges, principal)
    if "*" in principal.entities:
        return other
    return sa.or_(other, customer_merges.c.other_legal_entity.in_(sorted(principal.entities)))


def _summary(connection: sa.Connection, row: sa.Row[Any]) -> CustomerMergeSummary:
    group = _group(connection, row.customer_id)
    leads = group[0]
    return CustomerMergeSummary(
        id=row.id,
        state=row.state,
        crm=row.crm,
        merged_account_id=row.merged_account,
        account_id=row.account,
        customer_id=row.customer_id,
        other_customer_id=row.other_customer_id,
        leading_customer_id=leads,
        legal_entity=row.legal_entity,
        seen_at=datetime.fromisoformat(row.seen_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
        actions=_choices(row, group),
        decided_at=datetime.fromisoformat(row.decided_at) if row.decided_at else None,
        decided_by=row.decided_by,
        account_in_question=row.account_in_question,
    )


def _choices(row: sa.Row[Any], group: Collection[str]) -> tuple[LeadChoice, ...]:
    """Return what may be chosen for a merge now. What was decided stays so where the other customer is elsewhere."""
    if row.state == "asked":
        return ("keep", "switch")
    choices: dict[str, tuple[LeadChoice, ...]] = {"kept": ("switch",), "switched": ("keep",)}
    return choices.get(row.state, ()) if row.other_customer_id in group else ()


# ---- customers under one account, in one transaction


def _group(connection: sa.Connection, customer_id: str, *, locked: bool = False) -> list[str]:
    """Return the customers under the account of one of them: the one that leads first, then as they came. Nobody else
    changes those that are `locked`."""
    leads = connection.scalar(customer_records.SHARES, {"of": customer_id}) or customer_id
    seen = None if locked else leads
    while seen != leads:  # somebody else may have let another one lead while this waited for the lock
        seen = leads
        all_of_them = sa.select(customers.c.id).where(sa.or_(customers.c.id == leads, customers.c.shares_with == leads))
        connection.execute(all_of_them.order_by(customers.c.seq).with_for_update()).all()
        leads = connection.scalar(customer_records.SHARES, {"of": customer_id}) or customer_id
    others = sa.select(customers.c.id).where(customers.c.shares_with == leads).order_by(customers.c.seq)
    return [leads, *connection.scalars(others)]


def _share(connection: sa.Connection, group: Iterable[str], leads: str) -> None:
    """Let customers have one account, whose deals are those of one of them."""
    for each in sorted(group):
        shares = {"of": each, "shares_with": "" if each == leads else leads}
        connection.execute(customer_records.CHANGE, shares)


def _known(connection: sa.Connection, customer_id: str) -> Customer:
    document = connection.execute(customer_records.LOCKED, {"of": customer_id}).scalar_one()
    return customer_records.CUSTOMER.decode(document)


def _is_known(connection: sa.Connection, customer_id: str) -> bool:
    return connection.scalar(customer_records.DOCUMENT, {"of": customer_id}) is not None


def _seller(connection: sa.Connection, customer_id: str) -> str:
    return _known(connection, customer_id).legal_entity


def _customer_of(connection: sa.Connection, crm: str, account: str) -> str | None:
    of = {"kind": "cus", "platform": crm, "foreign_id": account}
    return connection.scalar(cross_references.CANONICAL, of)


def _new_id(connection: sa.Connection, row: sa.Row[Any], account: str) -> str:
    """Return our id for an account whose customer is another account's from now on."""
    own = derived("cus", row.crm, account)
    is_taken = own == row.customer_id or _is_known(connection, own)
    return derived("cus", row.crm, account, row.id) if is_taken else own


def _beyond(
    connection: sa.Connection, row: sa.Row[Any], leaving: Collection[str], account: str, below: Collection[str]
) -> set[str]:
    """Return the accounts that customers came to by a merge and after it."""
    of = customer_merges.c
    later = sa.select(of.seq, of.account, of.merged_account).where(
        of.crm == row.crm, of.seq >= row.seq, of.customer_id.in_(leaving)
    )
    found = {_known(connection, row.customer_id).references[row.crm], row.merged_account}
    for each in connection.execute(later):
        found |= {each.account} if each.seq == row.seq else {each.account, each.merged_account}
    return found - {account, *below}


def _departure(connection: sa.Connection, row: sa.Row[Any], account: str, below: Collection[str]) -> Departure:
    of = customer_merges.c
    group = _group(connection, row.customer_id)
    under = {account, *below}
    with_it = sa.select(customer_merges).where(
        of.crm == row.crm,
        of.state.not_in(ENDED),
        sa.or_(of.merged_account.in_(sorted(below)), of.account.in_(sorted(under))),
    )
    going = {row.customer_id}
    for each in connection.execute(with_it):
        going |= {each.customer_id} if each.merged_account in below else set()
        going |= {each.other_customer_id} if each.account in under else set()
    leaving = [row.customer_id, *(each for each in group if each in going and each != row.customer_id)]
    staying = [each for each in group if each not in leaving]
    if row.other_customer_id in staying and staying[0] != group[0]:
        staying = [row.other_customer_id, *(each for each in staying if each != row.other_customer_id)]
    present = _known(connection, row.customer_id).references[row.crm]
    if present == account:  # a deal has come before the merge was seen, and then the account was back
        present = row.account
    theirs = sa.select(references.c.foreign_id).where(
        references.c.kind == "cus", references.c.platform == row.crm, references.c.canonical_id.in_(leaving)
    )
    beyond = _beyond(connection, row, leaving, account, below)
    if row.merged_account == account:  # what was merged into it the other way round was not its customer's before
        beyond |= _beyond(connection, row, [row.customer_id], account, ())
    left = beyond & set(connection.scalars(theirs))
    accounts = {each: _new_id(connection, row, each) for each in sorted(left)}
    if row.other_customer_id in staying and row.account in accounts:
        accounts[row.account] = row.other_customer_id
    if staying:
        accounts[present] = staying[0]
    if row.merged_account not in below:  # else it takes the account over, or shares it, as after any merge
        accounts[account] = row.customer_id
    return Departure(tuple(leaving), tuple(staying), accounts)
