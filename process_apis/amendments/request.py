"""What may be asked of a contract: the actions, and the moment from which they count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from canonical.amendments import (
    BEGUN_LATE,
    Action,
    ActionRefused,
    AddLine,
    AmendmentRequest,
    Cancel,
    ChangeTerm,
    Delta,
    Pause,
    Renew,
    Resume,
    Transfer,
    amended,
    changed_by_use,
    changed_lines,
    deltas,
    ends_on,
    months_after,
    reversal_deltas,
)
from canonical.cases import Finding
from canonical.deals import Deal, PricedLine, deal_line
from canonical.faults import NotFound
from policies.business.amendments import ALREADY_RENEWED, CHANGE_REFUSED, CONTRACT_OVER
from policies.problems import FieldError, ProblemError
from process_apis import onboarding, validation
from process_apis.amendments import transfers
from process_apis.amendments.contract import NotPossible, Rest, RunningContract, known_products
from process_apis.amendments.reversal import after_reversal, is_to_come, reversal_in
from process_apis.amendments.transfers import Successor
from process_apis.records import customers
from process_apis.records.amendments import Applied
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

OF_A_LINE = re.compile(r"deal\.lines\[(\d+)\]\.(\w+)")
BEFORE_A_TERM = timedelta(days=3)
"""How long before its term begins a renewal is carried out: late, since what is asked for after it counts from that
term on; and early enough for a platform that is away, before billing issues the first invoice."""
NOT_IN_FORCE = ("on_hold", "compensating", "cancelled", "failed", "awaiting_approval")


class PlannedChange(msgspec.Struct, frozen=True):
    """What a change makes of a contract: its lines from `effective_at` on, and what each action is worth."""

    effective_at: datetime
    after: tuple[PricedLine, ...]
    deltas: tuple[Delta, ...]
    is_in_time: bool = False
    """Whether it takes back what does not count yet: the target has everything still, so nothing is delivered."""
    successor: Successor | None = None
    """Who has the contract from then on, where it goes to another customer."""


def check(found: RunningContract, wanted: AmendmentRequest) -> None:
    """Raise `ProblemError` for a change that the contract does not allow as it is now: 409 for a contract that does not
    run, 422 for actions or a day that cannot be."""
    if found.is_over and not is_to_come(found, wanted):
        raise ProblemError(CONTRACT_OVER, _over(found, wanted))
    if found.order.state in NOT_IN_FORCE:
        raise ProblemError(CONTRACT_OVER, f"The contract is not in force: its order is {found.order.state}.")
    if renewal_in(wanted) and (first := _not_begun(found)):
        began = f"{first.id} renews the contract until {first.preview.ends_on}, and that term has not begun."
        raise ProblemError(ALREADY_RENEWED, began)
    if found.order.state not in IN_FORCE:
        return  # it waits for the activation, and is checked again then
    of_end = (*_of_term(found, wanted), *_of_renewal(found, wanted))
    of_rest = (*_of_pause(found, wanted), *_of_resumption(found, wanted), *_while_it_rests(found, wanted))
    of_handover = (*transfers.of_transfer(found, wanted), *_before_it_goes(found, wanted))
    of_actions = _of_actions(found, wanted) or [*_by_use(found, wanted)]
    errors = [*_of_moment(found, wanted), *of_actions, *of_end, *of_rest, *of_handover]
    if errors:
        raise ProblemError(CHANGE_REFUSED, "The contract does not allow this change.", tuple(errors))


def _over(found: RunningContract, wanted: AmendmentRequest) -> str:
    """Return how a contract has ended, and what to do."""
    if found.lapses:
        return (
            f"The contract ended on {ends_on(found.contract)}, and nobody had renewed it: sell it again as a new deal."
        )
    if found.ends_at is not None:
        return f"The contract ended on {found.ends_at}."
    why = "" if reversal_in(wanted) is None else " Billing has ended with it, so it cannot be reversed."
    return f"The contract was cancelled with {found.changed_by}.{why}"


def _of_moment(found: RunningContract, wanted: AmendmentRequest) -> list[FieldError]:
    contract, day = found.contract, wanted.effective_on
    if (wanted.effective == "date") != (day is not None):
        return [FieldError("$.effective_on", "it is given for what is effective at a date, and for nothing else")]
    if day is None:
        return []
    until = None if found.is_after_term else ends_on(contract)
    if day < contract.starts_on or (until is not None and day >= until):
        last = f", and ends with the day before {until}" if until else ""
        if until and isinstance(wanted.actions[0], Cancel):
            last += ": for an end with the term use `term`"
        return [FieldError("$.effective_on", f"the contract starts on {contract.starts_on}{last}")]
    since = found.since.astimezone(found.zone)
    if day < since.date():
        changed = f"was changed with {found.changed_by}" if found.changed_by else "began"
        return [FieldError("$.effective_on", f"the contract {changed} on {since:%Y-%m-%d %H:%M}: take no earlier day")]
    return []


def _of_actions(found: RunningContract, wanted: AmendmentRequest) -> list[FieldError]:
    actions = wanted.actions
    if errors := list(_of_order(actions)) or list(_of_new_lines(found, actions)):
        return errors
    try:
        after = _after(found, wanted)
    except ActionRefused as refused:
        return [FieldError(f"$.{refused.field}", refused.reason)]
    keeps_lines = isinstance(actions[0], ChangeTerm | Renew | Pause | Resume | Transfer)
    keeps_lines = keeps_lines or ends_rest(found, wanted) or transfers.stays_after_all(found, wanted)
    if after == found.contract.lines and not keeps_lines:
        return [FieldError("$.actions", "together they change nothing")]
    if not after and not any(isinstance(each, Cancel) for each in actions):
        return [FieldError("$.actions", "nothing would be left of the contract: cancel it")]
    return []


def _by_use(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield why a line that is charged by use does not end, or get another price, as it is asked for: a period is
    billed when it is over, at the price that the line has then."""
    lines = found.contract.lines
    after = _after(found, wanted)
    concerned = changed_by_use(lines, after)
    if not concerned:
        return
    name = concerned[0].name
    if renewal_in(wanted):
        reason = f"{name} is charged by use, and is renewed as it is: end it, or change its price, before or after that"
        yield FieldError("$.actions", reason)
    elif wanted.effective != "period_end":
        reason = f"{name} is charged by use, for a whole period at one price: say `period_end`"
        yield FieldError("$.effective", reason)
    elif len(concerned) < len(list(changed_lines(lines, after))):
        reason = f"{name} is charged by use, and changes when its last period is billed: ask for the others apart"
        yield FieldError("$.actions", reason)


def _of_order(actions: tuple[Action, ...]) -> Iterator[FieldError]:
    if len(actions) > 1 and any(isinstance(each, Cancel | ChangeTerm) for each in actions):
        yield FieldError("$.actions", "the end of a contract stands alone")
    if len(actions) > 1 and any(isinstance(each, Pause | Resume) for each in actions):
        yield FieldError("$.actions", "a pause stands alone, and so does its end")
    if any(isinstance(each, Renew) for each in actions[1:]):
        yield FieldError("$.actions", "a renewal comes first, and once")


def _after(found: RunningContract, wanted: AmendmentRequest) -> tuple[PricedLine, ...]:
    """Return the lines of a contract after a change. Raises `ActionRefused`."""
    if action := reversal_in(wanted):
        return after_reversal(found, action)
    return amended(found.contract.lines, wanted.actions, found.contract.currency, found.meters)


def _of_term(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield what is wrong with another end of a contract, but for what only billing knows: the periods that it ends
    with."""
    action = wanted.actions[0]
    if not isinstance(action, ChangeTerm):
        return
    if wanted.effective != "now":
        yield FieldError("$.effective", "another end is agreed now, whatever its day: leave this out")
    day, present = action.ends_on, ends_on(found.contract)
    if day is None and action.grace_days:
        yield FieldError("$.actions[0].grace_days", "a contract without end has no days after it: leave this out")
    if day == present and day == found.contract.ends_on:
        that = "has no end" if day is None else f"ends on {day}"
        yield FieldError("$.actions[0].ends_on", f"the contract {that} already")
    elif day is not None:
        after = max(found.today, found.contract.starts_on)
        until = months_after(max(after, present or after), validation.LONGEST_TERM)
        if not after < day <= until:
            yield FieldError("$.actions[0].ends_on", f"take a day after {after}, and until {until}")


def renewal_in(wanted: AmendmentRequest) -> Renew | None:
    """Return the renewal that a request is, None for any other."""
    first = wanted.actions[0]
    return first if isinstance(first, Renew) else None


def _not_begun(found: RunningContract) -> Applied | None:
    """Return the renewal of a contract that is agreed, and of which the term has not begun."""
    return next((each for each in found.versions if each.preview.is_renewal and each.since > found.read_at), None)


def _of_renewal(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield what is wrong with another term, but for what only billing knows: the periods that the present one ends
    with."""
    action, until = renewal_in(wanted), ends_on(found.contract)
    if action is None:
        return
    if wanted.effective != "now":
        yield FieldError("$.effective", "a renewal counts from the end of the term: leave this out")
    if until is None:
        yield FieldError("$.actions[0]", "the contract has no end: there is nothing to renew")
    elif until + BEGUN_LATE <= found.today:
        reason = f"the term was over on {until}: give the contract an end to come first, with `term`"
        yield FieldError("$.actions[0]", reason)
    elif not until < action.ends_on <= months_after(until, validation.LONGEST_TERM):
        last = months_after(until, validation.LONGEST_TERM)
        yield FieldError("$.actions[0].ends_on", f"take a day after {until}, the end of the term, and until {last}")


def rest_in(wanted: AmendmentRequest) -> Pause | Resume | None:
    """Return the pause that a request is, or the end of one; None for any other."""
    first = wanted.actions[0]
    return first if isinstance(first, Pause | Resume) else None


def ends_rest(found: RunningContract, wanted: AmendmentRequest) -> bool:
    """Return whether a request takes back a pause that has not begun."""
    action, rest = reversal_in(wanted), found.rest
    return action is not None and rest is not None and rest.paused_by == action.amendment and rest.since > found.read_at


def _of_pause(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield what is wrong with a pause, but for what only billing knows: when its periods begin and end."""
    action, rest = rest_in(wanted), found.rest
    if not isinstance(action, Pause):
        return
    if wanted.effective != "period_end":
        yield FieldError("$.effective", "a pause counts from the end of the period that is paid: say `period_end`")
    if rest is not None and not rest.resumed_by:
        yield FieldError("$.actions[0]", f"{rest.paused_by} pauses the contract {_in_words(found, rest)} already")
    for each in found.order.lines:
        if each.state == "failed":  # what is delivered late is billed at once
            reason = f"{each.line.name} could not be delivered: let it be tried again, or skip it"
            yield FieldError("$.actions[0]", reason)
    over = None if found.is_after_term else ends_on(found.contract)
    latest = months_after(found.today, validation.LONGEST_TERM)
    if action.until is not None and not found.today < action.until < (over or date.max):
        before = f", and before {over}, the end of the term" if over else ""
        yield FieldError("$.actions[0].until", f"take a day after {found.today}{before}")
    elif action.until is not None and action.until > latest:
        yield FieldError("$.actions[0].until", f"take a day until {latest}")
    elif first := next(_in_the_way(found, action.until), None):
        reason = (
            f"{first.id} counts from {first.since.astimezone(found.zone):%Y-%m-%d}: withdraw it, or pause until then"
        )
        yield FieldError("$.actions[0].until", reason)


def _in_the_way(found: RunningContract, until: date | None) -> Iterator[Applied]:
    """Yield what waits for a day before that on which a pause is over, and could not be carried out then."""
    goes_on = until and datetime.combine(until + timedelta(days=1), time(), found.zone)  # some time on that day
    for each in found.versions:
        begins = each.since - BEFORE_A_TERM if each.preview.is_renewal else each.since
        ends_it = not each.preview.after
        if each.is_future and not ends_it and (goes_on is None or begins < goes_on):
            yield each


def _of_resumption(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    rest = found.rest
    if not isinstance(rest_in(wanted), Resume):
        return
    if wanted.effective != "period_end":
        yield FieldError("$.effective", "a contract goes on with its next period: say `period_end`")
    if rest is None:
        yield FieldError("$.actions[0]", "the contract is not paused")
    elif rest.resumed_by:
        yield FieldError("$.actions[0]", f"{rest.resumed_by} takes the contract up again already")
    elif rest.since > found.read_at:
        yield FieldError("$.actions[0]", f"the pause has not begun: reverse {rest.paused_by}")


def _while_it_rests(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield why what changes lines, or renews, is not done in a pause: what is charged or credited then is void."""
    rest, first = found.rest, wanted.actions[0]
    if rest is None or isinstance(first, Cancel | ChangeTerm | Pause | Resume) or _goes_on_as_it_was(found, wanted):
        return
    begins = moment_of(found, wanted, found.read_at)
    if isinstance(first, Renew):  # a period that ends within days of the term ends with it
        begins += BEFORE_A_TERM
    if wanted.effective != "period_end" and rest.until is not None and begins >= rest.until:
        return
    later = "resume it first" if rest.until is None else f"it is changed from {_first_day(found, rest.until)} on"
    yield FieldError("$.actions", f"the contract is paused {_in_words(found, rest)}: {later}")


def _before_it_goes(found: RunningContract, wanted: AmendmentRequest) -> Iterator[FieldError]:
    """Yield why a change is not taken while the contract is on its way to another customer."""
    agreed = transfers.agreed_transfer(found)
    lead = agreed.since - BEFORE_A_TERM if agreed else found.read_at
    begins = moment_of(found, wanted, found.read_at)
    yield from (FieldError("$.actions", why) for why in transfers.before_it_goes(found, wanted, begins, lead))


def _goes_on_as_it_was(found: RunningContract, wanted: AmendmentRequest) -> bool:
    """Return whether a request takes back the pause itself, or the end of the whole contract, before it counts. Of a
    part that was to end, what is paid in the pause could be no more than the others are."""
    action = reversal_in(wanted)
    undone = [each for each in found.versions if action is not None and each.id == action.amendment]
    is_whole = bool(undone) and not undone[0].preview.after
    return ends_rest(found, wanted) or (is_whole and is_to_come(found, wanted))


def _in_words(found: RunningContract, rest: Rest) -> str:
    until = f" until {rest.until.astimezone(found.zone):%Y-%m-%d}" if rest.until else ""
    return f"from {rest.since.astimezone(found.zone):%Y-%m-%d}{until}"


def _first_day(found: RunningContract, moment: datetime) -> date:
    """Return the first day that begins at a moment or after it, in the zone of the books."""
    local = moment.astimezone(found.zone)
    return local.date() + timedelta(days=local.time() > time())


def _of_new_lines(found: RunningContract, actions: tuple[Action, ...]) -> Iterator[FieldError]:
    """Yield what is wrong with the ids of new lines: what was billed and delivered is known by them ever after."""
    taken = set(found.line_ids)
    for place, action in enumerate(actions):
        if isinstance(action, AddLine):
            if action.line in taken:
                reason = f"the contract has or had a line {action.line}: take another id"
                yield FieldError(f"$.actions[{place}].line", reason)
            taken.add(action.line)


def moment_of(found: RunningContract, wanted: AmendmentRequest, asked_at: datetime) -> datetime:
    """Return the moment from which a change counts that was asked for at `asked_at`, in whole seconds: that of a
    renewal from the end of the term. One of the day on which the contract became what it is counts from that moment."""
    day = ends_on(found.contract) if renewal_in(wanted) else wanted.effective_on
    moment = asked_at if day is None else datetime.combine(day, time(), found.zone)
    return max(moment, found.since).astimezone(UTC).replace(microsecond=0)


def planned(
    context: WorkflowContext, found: RunningContract, wanted: AmendmentRequest, asked_at: datetime
) -> PlannedChange:
    """Return what a change makes of a contract, with the products, amounts and taxes as the ERP and the CRM have them
    now. Raises `NotPossible`, and the faults of the platforms."""
    contract = found.contract
    if action := transfers.transfer_in(wanted):
        to = transfers.successor(context, found, action)
        day = to.transfers_at.astimezone(found.zone).date()
        return PlannedChange(
            to.transfers_at, to.plan.contract.lines, deltas(contract, wanted.actions, day), successor=to
        )
    try:
        after = _after(found, wanted)
        at = moment_of(found, wanted, asked_at)
        day = at.astimezone(found.zone).date()
        action = reversal_in(wanted)
        if action:
            worth = reversal_deltas(contract, action, after, day)
        else:
            worth = deltas(contract, wanted.actions, day, found.meters)
    except ActionRefused as refused:
        raise NotPossible([Finding(refused.field, refused.reason)]) from refused
    if changed_by_use(contract.lines, after):
        at += timedelta(seconds=1)  # a period that begins in this very second is not over
    if is_to_come(found, wanted):
        return PlannedChange(asked_at, after, worth, is_in_time=True)
    return PlannedChange(at, _taxed(context, found, wanted.actions, after, at), worth)


def _taxed(
    context: WorkflowContext,
    found: RunningContract,
    actions: tuple[Action, ...],
    after: tuple[PricedLine, ...],
    at: datetime,
) -> tuple[PricedLine, ...]:
    """Return the lines, of which those of a new product have the tax that is decided for it now."""
    contract = found.contract
    before = {each.id: each for each in contract.lines}
    changed = [each for each in after if before.get(each.id) != each]
    if not changed:
        return after
    customer = customers.last_seen(context.database, contract.customer_id)
    if customer is None:
        raise NotFound("crm", f"the customer {contract.customer_id} is not known any more")
    deal = Deal(
        id=contract.id,
        name=found.order.name,
        revision=found.order.revision,
        account=onboarding.account_of(context, customer),
        currency=contract.currency,
        legal_entity=contract.legal_entity,
        starts_on=at.astimezone(found.zone).date(),
        term_months=contract.term_months,
        lines=tuple(map(deal_line, changed)),
        won=True,
    )
    seller = context.platforms.legal_entity(contract.legal_entity)
    products = known_products(context, contract, changed)
    by_use = {each.sku: each.meter for each in changed if each.meter}
    if findings := validation.findings_of_lines(deal, seller, products, by_use):
        raise NotPossible([_at_its_action(each, changed, actions) for each in findings])
    decided = {each.id: each for each in validation.priced(deal, seller, products, by_use)}
    return tuple(decided[each.id] if _is_new(before.get(each.id), each) else each for each in after)


def _at_its_action(finding: Finding, lines: list[PricedLine], actions: tuple[Action, ...]) -> Finding:
    """Return a finding about one of some lines at the last action on it: the caller knows no other place."""
    if not (place := OF_A_LINE.fullmatch(finding.field)):
        return msgspec.structs.replace(finding, field=finding.field.removeprefix("deal."))
    line = lines[int(place[1])].id
    last = max((each for each, action in enumerate(actions) if getattr(action, "line", "") == line), default=0)
    field = f"actions[{last}].{place[2]}" if hasattr(actions[last], place[2]) else f"actions[{last}]"
    return msgspec.structs.replace(finding, field=field)


def _is_new(before: PricedLine | None, line: PricedLine) -> bool:
    return before is None or before.sku != line.sku
