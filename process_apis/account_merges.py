"""Merged accounts: two accounts of the CRM become one, and the customers that they were go on.

The account that is left takes over the customer of one that was merged into it. Where it is a customer itself, there
are two in billing and in the ERP, and neither can join them: both go on under the one account, whose name and address
they have, and a person may say which of them leads. An account that is alive again gets its customer back.

Here is decided whose customer an account is. What people see and do about it is in `customer_merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case, CaseKind, Finding
from canonical.customer_merges import LeadChoice
from canonical.faults import NotFound
from canonical.parties import Account, AccountSync, Customer
from canonical.states import IllegalTransition
from policies.context import correlation
from process_apis.records import cross_references, customers
from process_apis.records.customer_merges import CHOSEN, ENDED, CustomerMerges
from process_apis.runtime.context import WorkflowContext

FIELD = "customer.account"
SHARED = "shares_with"
"""What a case is given that is about two customers with one account: the other one."""
MERGE = "merge"
"""What a case is given that is about a merge: its id."""
BACK, STAY = "back", "stay"
"""What people may say of the customer of an account that is alive again."""


def records(context: WorkflowContext) -> CustomerMerges:
    """Return the table of merges."""
    return CustomerMerges(context.database, context.clock)


def customer_of(context: WorkflowContext, crm: str, account: Account, before: str = "") -> str:
    """Return our id for an account: that of a customer which was merged into it, if it is none itself.

    `before` is the account that was asked for, if that is another. The database gives each account one id.
    """
    database = context.database
    merged = [each for each in (before, *account.merged) if each and each != account.id]
    if merged:
        known = cross_references.known(database, "cus", crm, (account.id, *merged))
        own, there = known.get(account.id), {account.id, *merged}
        if own is None or customers.last_seen(database, own) is None:
            others = [(each, known[each]) for each in merged if each in known]
            for merged_account, customer_id in others:
                if _is_under(context, customer_id, crm, there):
                    records(context).take_over(crm, account.id, own, merged_account, customer_id)
                    break
            else:
                _be_known(context, crm, account.id, own, [each for _, each in others])
    return cross_references.canonical_id(database, "cus", crm, account.id)


def _be_known(context: WorkflowContext, crm: str, account: str, own: str | None, others: Iterable[str]) -> None:
    """Let an account that is not known, and has no customer to take over, have the id of one that was merged into it
    and has never bought anything."""
    for each in others:
        if own is None and customers.last_seen(context.database, each) is None:
            cross_references.move(context.database, "cus", crm, account, None, each)
            return


def _is_under(context: WorkflowContext, customer_id: str, crm: str, accounts: set[str]) -> bool:
    """Return whether somebody has bought as a customer, which is under one of some accounts now: one that went to an
    account of its own is not taken over."""
    known = customers.last_seen(context.database, customer_id)
    return known is not None and known.references.get(crm) in accounts


def settle(context: WorkflowContext, customer: Customer, account: Account, before: str) -> bool:
    """Return whether the account is this customer's alone, or first of all; let its orders be shown there.

    `before` is the account that it had. Where another customer has the account, too, that is a case for sales, and the
    other one is looked after next.
    """
    owner = customer_of(context, customer.crm, account, before)
    if before != account.id:
        for case in context.cases.open_of(customer.id, "status_not_shown"):
            context.orders.change(case.subject, crm_status="")  # the poll shows it, and closes the case
    if owner == customer.id:
        customers.share(context.database, customer.id, "")
        return True
    _see(context, customer, owner, account, before)
    if customers.shares_with(context.database, customer.id) != owner:
        customers.share(context.database, customer.id, owner)
        customers.expect_change(context.database, owner, correlation.current(), context.clock())
    return False


def _see(context: WorkflowContext, customer: Customer, owner: str, account: Account, before: str) -> None:
    """Keep the merge after which a customer has the account of another one, and ask who leads; once, whichever of the
    customers of the merged account is looked after first."""
    crm, known = customer.crm, records(context)
    if before != account.id:
        merged = before
    else:  # what was begun after the merge was cut short
        own = known.accounts_of(crm, customer.id)
        merged = next((each for each in (*account.merged, *own) if each in own), "")
    whose = cross_references.known(context.database, "cus", crm, (merged,)).get(merged, "") if merged else ""
    if whose in ("", owner) or customers.last_seen(context.database, whose) is None:
        return  # it came with others, to whom that happened
    if merge := known.see(crm, merged, account.id, whose, owner):
        _ask(context, merge, whose, owner, account.id)
    elif whose == customer.id:
        _ask_again(context, merged, customer, account.id)


def _ask_again(context: WorkflowContext, merged: str, customer: Customer, account: str) -> None:
    """Open the case of a merge that was noted by a run which ended before it could."""
    for row in records(context).standing(customer.id):
        if row.merged_account == merged and row.state == "asked":
            _ask(context, row.id, row.customer_id, row.other_customer_id, account)


def _ask(context: WorkflowContext, merge: str, customer_id: str, owner: str, account: str) -> None:
    reason = (
        f"its account was merged into {account}, which is the customer {owner}: there are two of it in billing and in"
        " the ERP. Both have the name and the address of the account from now on. What was sold to each goes on in its"
        f" own records; new deals are those of {owner}. Skip: it stays so. Retry: new deals are those of {customer_id}."
    )
    given = {"account": account, SHARED: owner, MERGE: merge}
    _open(context, "duplicate_customer", customer_id, Finding(FIELD, reason, "crm"), ("retry", "skip"), given)


def _open(
    context: WorkflowContext,
    kind: CaseKind,
    customer_id: str,
    finding: Finding,
    actions: tuple[Action, ...],
    given: dict[str, str],
    connection: sa.Connection | None = None,
) -> None:
    known = customers.last_seen(context.database, customer_id)
    context.cases.open(
        kind,
        customer_id,
        finding,
        actions,
        correlation_id=correlation.current(),
        legal_entity=known.legal_entity if known else "",
        customer_id=customer_id,
        given=given,
        connection=connection,
    )


# ---- who leads


def decide(context: WorkflowContext, case: Case, choice: LeadChoice, by: str, reason: str) -> None:
    """Do what was decided with a case: for each merge of its customer about which nobody has said yet who leads.

    Raises `IllegalTransition` while it is asked whether the merge was undone, and where nothing is asked any more and
    the merge is not as wanted: somebody else has decided otherwise, or it is over. The case is closed then.
    """
    standing = records(context).standing(case.subject)
    if any(row.state == "in_question" for row in standing):
        raise IllegalTransition("the account is alive again: the case merge_undone comes first")
    asked = [row.id for row in standing if row.state == "asked"]
    for merge in asked:
        records(context).choose(merge, choice, by, reason, where_asked=True)
    if asked:
        return
    about = [row.state for row in standing if case.input.get(MERGE, row.id) == row.id]
    if CHOSEN[choice] not in about:
        close_what_is_settled(context, case.subject, "it is not asked any more")
        present = " and ".join(about) or "over"
        raise IllegalTransition(f"the merge is {present.replace('_', ' ')} already: this case asks nothing any more")


# ---- accounts that are alive again


def look_for_restored(context: WorkflowContext, customer: Customer) -> None:
    """Let a customer go back to its own account where that is alive again, or to one in between; or ask, where it is
    not clear.

    Raises leaves of `PlatformFault`.
    """
    known = records(context)
    standing = known.standing(customer.id)
    own = {row.merged_account for row in standing}
    for seen in standing:
        row = known.row(seen.id)  # one that went back before may have taken others with it
        if row.state in ENDED:
            continue
        if account := _restored(context, row, own):
            _is_back(context, row, account)
        elif known.withdraw_question(row.id):
            close_what_is_settled(context, row.customer_id, "the account is not there any more")
    close_what_is_settled(context, customer.id, "it is not asked any more")  # by a run that was cut short


def has_news(context: WorkflowContext, row: sa.Row[Any]) -> bool:
    """Return whether the accounts of a merge are not as they were seen, so that its customer has to be looked after.

    Raises leaves of `PlatformFault`.
    """
    account = _restored(context, row, {each.merged_account for each in records(context).standing(row.customer_id)})
    if row.state == "in_question":
        return account is None or bool(row.answer)
    return account is not None and (row.account_in_question, row.answer) != (account.id, STAY)


def _restored(context: WorkflowContext, row: sa.Row[Any], own: set[str]) -> Account | None:
    """Return the first account that is not as the merge left it; None where all are. `own` is as `_elsewhere` takes
    it."""
    looked_after = records(context).looked_after(row)
    return next((found for each in looked_after if (found := _elsewhere(context, row, each, own))), None)


def _read(context: WorkflowContext, crm: str, account_id: str) -> Account | None:
    """Return an account, or the one that it was merged into; None for one that was deleted."""
    try:
        return context.platforms.account(crm, account_id)
    except NotFound:
        return None


def _elsewhere(context: WorkflowContext, row: sa.Row[Any], account_id: str, own: set[str]) -> Account | None:
    """Return an account that is alive itself; or, for the merged one, the account under which it is now, where that is
    another one than its customer's. None where all is as it was seen. Those that are the customer's `own` have merges
    of their own, by which it goes back to them."""
    found = _read(context, row.crm, account_id)
    if found is None or found.id == account_id:
        return found
    present = _present(context, row)
    if account_id != row.merged_account or found.id in (present, *own):
        return None
    left = _read(context, row.crm, present)  # which may have been merged into that one
    return found if left is None or left.id != found.id else None


def _is_back(context: WorkflowContext, row: sa.Row[Any], account: Account) -> None:
    """Do what is to be done about an account that is alive again: what people have said, what is clear, or ask."""
    known = records(context)
    if row.state == "in_question":
        there = known.customer_there(row, account.id)
        if row.answer == BACK and there and row.merged_account not in account.merged:  # else both have it then
            _refuse(context, row, account.id, there)
        elif row.answer == BACK:
            _go_back(context, row, account)
        elif row.answer == STAY:
            seen = customers.last_seen(context.database, there) if there else None
            seller = seen.legal_entity if seen else row.legal_entity
            own = AccountSync(known.id_without(row, account.id), account.revision, seller)
            context.platforms.put_account_sync(row.crm, account.id, own)
            known.stay(row.id)
        return
    if (row.account_in_question, row.answer) == (account.id, STAY):
        return  # people have said that the customer stays where it is
    sold = context.orders.accounts_of(row.customer_id) & known.beyond(row, account.id, account.merged)
    is_own = row.merged_account in (account.id, *account.merged)
    if not sold and is_own:
        _go_back(context, row, account)
        return
    why = f"and has sold by {', '.join(sorted(sold))} since" if sold else "and never was its account"
    reason = (
        f"the account {account.id} is there, and says that it is the customer {row.customer_id}; that is under"
        f" {_present(context, row)}, {why}. Retry: the customer goes to {account.id}, with all of its contracts. Skip:"
        " it stays where it is, and new deals of that account are those of a new customer."
    )
    given, finding = {"account": account.id, MERGE: row.id}, Finding(f"{FIELD}={account.id}", reason, "crm")
    case = partial(_open, context, "merge_undone", row.customer_id, finding, ("retry", "skip"), given)
    known.ask(row.id, account.id, case)


def _refuse(context: WorkflowContext, row: sa.Row[Any], account: str, there: str) -> None:
    """Ask again, where the customer cannot go to an account because that has got a customer of its own meanwhile."""
    reason = (
        f"{row.customer_id} was to go to the account {account}, which has sold to a customer of its own by now,"
        f" {there}: nothing was changed. Skip: it stays under {_present(context, row)}. Where both are one company,"
        " merge the accounts in the CRM, or transfer the contracts."
    )
    given, finding = {"account": account, MERGE: row.id}, Finding(f"customer.id={there}", reason, "crm")
    case = partial(_open, context, "merge_undone", row.customer_id, finding, ("skip",), given)
    records(context).ask_again(row.id, BACK, case)


def _present(context: WorkflowContext, row: sa.Row[Any]) -> str:
    known = customers.last_seen(context.database, row.customer_id)
    return known.references[row.crm] if known else row.account


def _go_back(context: WorkflowContext, row: sa.Row[Any], account: Account) -> None:
    """Let the customer of a merge go (back) to an account. Those that stay where it was, or go with it, are looked
    after next."""
    known, present = records(context), _present(context, row)
    plan = known.departure(row, account.id, account.merged)
    if not plan.staying and present in plan.accounts and present != account.id:
        # Before anything is kept: what is cut short here is begun again.
        left = _read(context, row.crm, present)
        if left is not None and left.id == present:
            sync = AccountSync(plan.accounts[present], left.revision, row.legal_entity)
            context.platforms.put_account_sync(row.crm, present, sync)
    done = known.go_back(row, account.id, account.merged)
    if done is None:
        return
    for each in (*done.leaving, *done.staying):
        close_what_is_settled(context, each, f"{row.customer_id} is under the account {account.id}")


def close_what_is_settled(context: WorkflowContext, customer_id: str, why: str) -> None:
    """Close the cases of a customer that ask about merges of which nothing is asked any more."""
    known = records(context)
    for case in context.cases.open_of(customer_id, "merge_undone"):
        if known.row(case.input[MERGE]).state != "in_question":
            context.cases.close(case, why)
    if not any("asked" in (row.state, row.held_in) for row in known.standing(customer_id)):
        context.cases.resolve(customer_id, why, kind="duplicate_customer")


def suspect(context: WorkflowContext, customer_id: str, account: str) -> None:
    """Note that an account which is not known says that it is a customer whose account was merged: people may have
    split it off. The next look asks."""
    known = records(context)
    seen = customers.last_seen(context.database, customer_id)
    if seen is not None and account not in seen.references.values():
        for row in known.standing(customer_id)[-1:]:
            if not cross_references.known(context.database, "cus", row.crm, (account,)):
                known.suspect(row.id, account)


def answer(context: WorkflowContext, case: Case, said: str, by: str, reason: str) -> None:
    """Keep what people say about the account of a case, with who says it, and why. The customer is looked after
    next."""
    if customer_id := records(context).answer(case.input[MERGE], said, by, reason):
        customers.expect_change(context.database, customer_id, case.correlation_id, context.clock())
