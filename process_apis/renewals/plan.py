"""What becomes of a contract whose term ends, as it stands now. No platform is asked, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from math import ceil
from typing import Literal

import msgspec

from canonical.amendments import ChangeTerm, NewAmendment, Renew, amended, end_after, ends_on, months_between, mrr
from canonical.deals import RenewalDeal, RenewalLine, deal_line
from canonical.money import Money
from canonical.renewals import RenewalMode
from canonical.states import RenewalState
from policies.business.renewals import RenewalPolicy
from process_apis.amendments.contract import RunningContract
from process_apis.amendments.workflow import BEFORE_A_TERM
from process_apis.records.amendments import Applied

LAST_CALL = BEFORE_A_TERM + timedelta(days=1)
"""How long before the end of its term a contract gets that end which nobody has renewed: the last period of billing may
be over three days before the term, and a day is for a platform that is away."""
HEARD_OF = timedelta(days=7)
"""How long before that people hear of a renewal that is blocked."""
LEAST_WARNING = timedelta(days=1)
"""How long before its last call a renewal is found at the latest of which the policy takes its course without people:
of one that is found later nobody could know."""
Need = Literal["nothing", "quote", "renew", "lapse"]


class Standing(msgspec.Struct, frozen=True):
    """All that decides about a renewal, as it is now."""

    found: RunningContract
    term_ends_on: date
    mode: RenewalMode
    policy: RenewalPolicy | None
    """None where the catalogue says nothing of the legal entity any more."""
    found_at: datetime
    first: str = ""
    """The id of an amendment of the contract that is undecided."""
    renewal: str = ""
    """The id of the amendment that renews the contract, by this renewal or by its deal; empty before there is one."""
    lapse: str = ""
    """The id of the amendment that ends the contract, once that was asked for."""
    withdrawn: frozenset[str] = frozenset()
    """Which of the two were withdrawn."""
    is_under_way: bool = False
    """Whether the renewal is being carried out, or is about to be."""
    open_deal: str = ""
    """A won deal that is to change the contract, and has not become an amendment."""
    open_case: str = ""
    open_dispute: str = ""
    """A dispute of one of its payments about which the bank has not decided."""
    deal_id: str = ""
    """Its opportunity in the CRM."""
    deal_lost: bool = False
    next_ends_on: date | None = None
    """The first day after the next term; None without a policy."""
    asked_again: bool = False
    """Whether people want what was found too late to go on."""

    @property
    def ends_at(self) -> datetime:
        """Return the moment at which the term is over, in UTC."""
        return datetime.combine(self.term_ends_on, time(), self.found.zone).astimezone(UTC)

    @property
    def last_call(self) -> datetime:
        """Return from when on the contract ends with its term, unless it is renewed (UTC)."""
        return self.ends_at - LAST_CALL

    @property
    def is_last_call(self) -> bool:
        return self.found.read_at >= self.last_call


class Verdict(msgspec.Struct, frozen=True):
    """What state a renewal comes to, what it waits for, and what is to be done first.

    `amendment_id` is the one that renews or ends the contract, if there is one. With `needs_case` people hear of it.
    """

    state: RenewalState
    reason: str = ""
    needs: Need = "nothing"
    amendment_id: str = ""
    needs_case: bool = False


def verdict(now: Standing) -> Verdict:
    """Return what becomes of a renewal."""
    return _over(now) or _agreed(now) or _held(now) or _goes_on(now)


def _over(now: Standing) -> Verdict | None:
    """Return what has become of a contract that has ended, or has another end than that of the term."""
    found = now.found
    if found.is_over:
        if found.lapses:
            return Verdict("grace", amendment_id=found.ended_by)
        return Verdict("dropped", f"the contract was ended with {found.ended_by or found.changed_by}")
    day = ends_on(found.contract)
    if day == now.term_ends_on:
        return None
    ends = [each for each in found.versions if each.preview.sets_end and not each.is_future]
    if ends and ends[-1].preview.is_renewal:
        return Verdict("renewed", amendment_id=ends[-1].id)
    return Verdict("dropped", f"the contract ends on {day}" if day else "the contract has no end any more")


def _agreed(now: Standing) -> Verdict | None:
    """Return what becomes of a contract of which a renewal or an end is agreed, or asked for by us."""
    found = now.found
    to_come = next((each for each in found.versions if each.is_future and each.preview.is_renewal), None)
    ending = next(_ending(found), None)
    if to_come and not (ending and ending.since < to_come.since):
        return Verdict("scheduled", "its day", amendment_id=to_come.id)
    if found.contract.ends_on is not None:
        if found.lapses:
            return Verdict("lapsing", "the end of the term", amendment_id=found.ended_by)
        return Verdict("dropped", f"its end was agreed with {found.ended_by}")
    if now.lapse:
        is_withdrawn = now.lapse in now.withdrawn
        return Verdict("by_hand", f"{now.lapse} was withdrawn") if is_withdrawn else _asked("lapsing", now.lapse)
    return None


def _asked(state: RenewalState, amendment_id: str) -> Verdict:
    return Verdict(state, amendment_id, amendment_id=amendment_id)


def _held(now: Standing) -> Verdict | None:
    """Return what a renewal waits for of which nothing is agreed yet; None where nothing stands against going on."""
    at, is_last_call = now.found.read_at, now.is_last_call
    if now.policy is None:
        return Verdict("dropped", f"the catalogue has no renewals of {now.found.contract.legal_entity}")
    if now.first and now.first == now.renewal and (now.is_under_way or not is_last_call):
        return _asked("scheduled", now.first)
    if now.open_deal and now.open_deal == now.deal_id and not (now.first or is_last_call):
        return Verdict("quoted", f"the deal {now.open_deal}, which is won, to be read")
    if reason := _blocks(now):
        return Verdict("blocked", reason, needs_case=at >= now.last_call - HEARD_OF)
    if is_last_call and now.found_at > now.last_call - LEAST_WARNING and not now.asked_again:
        reason = f"it was found too late: its last call was at {now.last_call:%Y-%m-%d %H:%M} UTC"
        return Verdict("blocked", reason, needs_case=True)
    return None


def _goes_on(now: Standing) -> Verdict:
    """Return what becomes of a renewal that nothing stands against."""
    is_withdrawn = now.renewal in now.withdrawn
    if now.mode == "automatic" and not is_withdrawn:
        return Verdict("scheduled", "its day", needs="renew")
    if now.is_last_call or now.deal_lost:
        return Verdict("lapsing", "the end of the term", needs="lapse")
    before = now.last_call.astimezone(now.found.zone).date()
    if now.mode == "quoted":
        return Verdict("quoted", f"the deal to be won before {before}", needs="nothing" if now.deal_id else "quote")
    withdrawn = f"{now.renewal} was withdrawn; " if is_withdrawn else ""
    return Verdict("found", f"{withdrawn}somebody to renew it before {before}")


def _blocks(now: Standing) -> str:
    """Return why nothing becomes of a renewal yet; empty where nothing stands against it. What is about to change the
    contract decides about it, whatever the day. A case holds a renewal up until its last call: else a period would be
    charged because nobody has seen to it."""
    if now.first:
        return f"{now.first}, an amendment that is to be decided first"
    if agreed := next(_ending(now.found), None):
        return f"{agreed.id}, which is to end the contract on {agreed.since:%Y-%m-%d}"
    if now.open_deal:
        return f"the deal {now.open_deal}, which is won and changes the contract"
    if now.is_last_call:
        return ""
    if now.open_case:
        return f"the case {now.open_case}"
    return f"the dispute {now.open_dispute}" if now.open_dispute else ""


def _ending(found: RunningContract) -> Iterator[Applied]:
    """Yield the changes to come that end a contract."""
    return (each for each in found.versions if each.is_future and not each.preview.after)


def months_of_next_term(found: RunningContract, policy: RenewalPolicy) -> int:
    """Return how many months the next term of a contract has: those of the policy, or of the present term, a part of
    one as a whole. Raises `ValueError` for a contract without end."""
    until = ends_on(found.contract)
    if until is None:
        raise ValueError(f"{found.contract.id} has no end")
    return policy.term_months or max(1, ceil(months_between(_began_on(found), until)))


def _began_on(found: RunningContract) -> date:
    """Return the first day of the present term: that of the contract, or the day on which the term before it ended."""
    began = found.contract.starts_on
    until = ends_on(found.order.plan.contract) if found.order.plan else None
    for each in found.versions:
        if each.preview.sets_end and not each.is_future:
            began = until if each.preview.is_renewal and until else began
            until = each.preview.ends_on
    return began


def next_term(found: RunningContract, policy: RenewalPolicy) -> Renew:
    """Return the next term of a contract, and by how much its prices rise. Raises `ValueError` for one without end."""
    return Renew(end_after(found.contract, months_of_next_term(found, policy)), policy.uplift)


def together(found: RunningContract, policy: RenewalPolicy, ends: Iterable[date], mode: RenewalMode) -> date | None:
    """Return the latest of the ends of other contracts that the next term can end with, earlier than by its months;
    None where there is none. A deal says its term in whole months."""
    first, last = ends_on(found.contract), months_of_next_term(found, policy)
    whole = [end_after(found.contract, months) for months in range(1, last + 1)]
    possible = [each for each in ends if first is not None and first < each < whole[-1]]
    if mode == "quoted":
        possible = [each for each in possible if each in whole]
    return max(possible, default=None)


def renewing(term: Renew, key: str) -> NewAmendment:
    """Return the renewal of a contract, as it is asked for without a deal."""
    return NewAmendment((term,), reason="renewed by itself at the end of its term", key=key)


def lapsing(term_ends_on: date, grace_days: int, key: str) -> NewAmendment:
    """Return the end of a contract that nobody has renewed."""
    return NewAmendment((ChangeTerm(term_ends_on, grace_days),), reason="nobody has renewed it", key=key)


def offered(found: RunningContract, term: Renew, key: str, renewal_id: str) -> RenewalDeal:
    """Return the opportunity that offers another term of a contract, which has whole months. Raises `ValueError` for a
    contract without end."""
    order, contract, until = found.order, found.contract, ends_on(found.contract)
    if until is None:
        raise ValueError(f"{contract.id} has no end")
    lines = amended(contract.lines, (term,), contract.currency)
    return RenewalDeal(
        key=key,
        renewal_id=renewal_id,
        name=order.name,
        sold_with=order.deal_id,
        contract_id=contract.id,
        legal_entity=contract.legal_entity,
        currency=contract.currency,
        starts_on=until,
        term_months=next(months for months in count(1) if end_after(contract, months) >= term.ends_on),
        lines=tuple(
            RenewalLine(each.sku, each.quantity, each.unit_price, each.interval) for each in map(deal_line, lines)
        ),
    )


def worth(now: Standing, said: Verdict) -> tuple[Money, Money, date | None] | None:
    """Return what a contract is worth each month, now and in the next term, and when that is over: nothing, and None,
    where the contract ends. None for a renewal that is over, of which what was known stays."""
    found, policy, contract = now.found, now.policy, now.found.contract
    to_come = next((each for each in found.versions if each.id == said.amendment_id and each.is_future), None)
    if said.state not in ("found", "quoted", "scheduled", "blocked", "lapsing"):
        return None
    if said.state == "lapsing" or (now.mode == "lapse" and to_come is None):
        lines, until = (), None
    elif to_come is not None:
        lines, until = to_come.preview.after, to_come.preview.ends_on
    elif policy is not None and now.next_ends_on is not None:
        until = now.next_ends_on
        lines = amended(contract.lines, (Renew(until, policy.uplift),), contract.currency)
    else:
        return None
    return mrr(contract.lines, contract.currency), mrr(lines, contract.currency), until
