"""What becomes of a contract that owes, as things stand now. No platform is asked, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

from canonical.dunning import OpenInvoice
from canonical.money import Money, total
from canonical.states import DunningState
from policies.business.dunning import DunningPolicy

ONE_BY_ONE = timedelta(minutes=1)
"""How long after its suspension the last step comes at the earliest: of two that are due at once, each is seen."""
Step = Literal["nothing", "cancel", "write_off"]


class Standing(msgspec.Struct, frozen=True):
    """All that decides about a dunning, as it is now."""

    read_at: datetime
    today: date
    """The day in the zone of the books."""
    state: DunningState
    is_suspended: bool
    """Whether the service is to be suspended for it by now."""
    currency: str
    owed: tuple[OpenInvoice, ...]
    policy: DunningPolicy | None
    """None where the catalogue says nothing of the legal entity."""
    is_over: bool = False
    """Whether the contract is."""
    is_ended_in_billing: bool = False
    """Whether billing has ended the contract, whatever it is here: then nothing lets its service go on by itself."""
    is_holder: bool = True
    """Whether the customer that owes has the contract still."""
    given_up: tuple[OpenInvoice, ...] = ()
    """What was owed before, and billing has given up: nothing is due of it any more."""
    is_left: bool = False
    """Whether somebody has said of this debt that nothing is to follow, even if another customer had the contract."""
    is_disputed: bool = False
    postponed_until: date | None = None
    amendment_id: str = ""
    """The amendment that is to end the contract, once that was asked for."""
    is_withdrawn: bool = False
    """Whether that amendment was."""

    @property
    def sum(self) -> Money:
        return total((each.due for each in self.owed), self.currency)

    @property
    def since(self) -> datetime | None:
        """Return since when the oldest of the invoices is to be paid; None where nothing is owed."""
        return min((each.since for each in self.owed), default=None)

    def after(self, days: int | None) -> datetime | None:
        """Return when so many days are over; None for no days, and where nothing is owed."""
        return self.since + timedelta(days=days) if days is not None and self.since else None


class Verdict(msgspec.Struct, frozen=True):
    """What state a dunning comes to, whether the service is suspended then, what is to be done first, and what comes
    next in words. `look_at` are moments at which that changes by itself."""

    state: DunningState
    suspended: bool = False
    step: Step = "nothing"
    next: str = ""
    look_at: tuple[datetime, ...] = ()


def verdict(now: Standing) -> Verdict:
    """Return what becomes of a dunning."""
    if not now.owed:
        stays = bool(now.given_up or now.is_ended_in_billing) and now.is_suspended and _runs(now)
        return Verdict("written_off" if now.given_up else "recovered", suspended=stays)
    if not _runs(now):
        why = "the contract is over" if now.is_over else "another customer has the contract"
        return Verdict("ended", next=f"{why}: what it owes stays to be paid")
    if now.is_ended_in_billing:
        return Verdict("ended", suspended=now.is_suspended, next="billing has ended the contract: end it here, too")
    if now.state == "kept" or now.is_left:
        return _kept(now, suspended=now.is_suspended)
    return _goes_on(now)


def _runs(now: Standing) -> bool:
    return now.is_holder and not now.is_over


def _goes_on(now: Standing) -> Verdict:
    """Return what becomes of a contract that runs and owes."""
    policy = now.policy
    if policy is None or not policy.concerns(now.sum):
        why = "" if policy is None else f"; nothing else follows from less than {_minimum(policy, now.currency)}"
        return Verdict(_owing(now, suspended=False), next=f"{_payment(now)}{why}")
    suspend_at, final_at = now.after(policy.suspend_after_days), now.after(policy.final_after_days)
    held = next(_holds(now), "")
    suspended = now.is_suspended or (suspend_at is not None and suspend_at <= now.read_at and not held)
    later = tuple(each for each in (suspend_at, final_at) if each is not None and each > now.read_at)
    if final_at is not None and final_at <= now.read_at and not held:
        if suspended == now.is_suspended:
            return _last(now, suspended=suspended)
        later = (now.read_at + ONE_BY_ONE,)
    words = [_payment(now), held] if held else [_payment(now), *_announced(now, policy, suspended=suspended)]
    return Verdict(_owing(now, suspended=suspended), suspended=suspended, next="; ".join(words), look_at=later)


def _last(now: Standing, *, suspended: bool) -> Verdict:
    """Return what the last step is, and the state that it leads to."""
    step = now.policy.last_step if now.policy else None
    state = _owing(now, suspended=suspended)
    if step == "cancel" and not now.is_withdrawn:
        return Verdict(
            state, suspended=suspended, step="cancel", next=f"{now.amendment_id or 'an amendment'} to end it"
        )
    if step == "write_off" and any(not each.returned for each in now.owed):
        return Verdict(state, suspended=suspended, step="write_off", next="billing to give it up")
    return _kept(now, suspended=suspended)


def _kept(now: Standing, *, suspended: bool) -> Verdict:
    """Return that a debt is left to people, and why."""
    why = f"; {now.amendment_id} was withdrawn, which was to end the contract" if now.is_withdrawn else ""
    if all(each.returned for each in now.owed):
        why = "; billing shows as paid what came back, and cannot give it up"
    return Verdict("kept", suspended=suspended, next=f"people, or the customer's payment{why}")


def _owing(now: Standing, *, suspended: bool) -> DunningState:
    if suspended:
        return "suspended"
    return "waiting_for_means" if any(each.needs_means for each in now.owed) else "past_due"


def _holds(now: Standing) -> Iterator[str]:
    """Yield why nothing more is done for now."""
    if now.postponed_until and now.today < now.postponed_until:
        yield f"nothing else follows before {now.postponed_until}"
    if any(each.in_collection for each in now.owed):
        yield "nothing else follows while a payment is on its way"
    if now.is_disputed:
        yield "nothing else follows while a payment of the contract is disputed"


def _payment(now: Standing) -> str:
    """Return what is to happen with the payment."""
    tries = [each.next_attempt_at for each in now.owed if each.next_attempt_at and not each.needs_means]
    if any(each.in_collection for each in now.owed):
        return "a payment is on its way"
    if any(each.needs_means for each in now.owed):
        return "another means of payment is needed"
    return f"billing tries again on {min(tries):%Y-%m-%d %H:%M} UTC" if tries else "billing does not try again"


def _announced(now: Standing, policy: DunningPolicy, *, suspended: bool) -> Iterator[str]:
    """Yield what follows unless it is paid, and when."""
    suspend_at, final_at = now.after(policy.suspend_after_days), now.after(policy.final_after_days)
    if suspend_at and not suspended:
        yield f"the service is suspended on {suspend_at:%Y-%m-%d}"
    last = {"cancel": "the contract is ended", "write_off": "it is written off", "keep": "it is left to people"}
    if final_at and policy.last_step:
        yield f"{last[policy.last_step]} on {final_at:%Y-%m-%d}"


def _minimum(policy: DunningPolicy, currency: str) -> Money:
    return Money(policy.minimum.get(currency, 0), currency)
