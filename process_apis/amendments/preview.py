"""What every platform would make of a change: it is carried out only when they agree.

Billing says what it will charge and credit, the ERP what it would book for that. Each amount is held against the rule
by which the platform prorates: it says why the amount is what it is, and never what is charged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from canonical.amendments import (
    AmendmentPreview,
    AmendmentRequest,
    BillingPreview,
    Cancel,
    ChangeTerm,
    ChargedPart,
    ContractChange,
    Delta,
    Explanation,
    Handover,
    InvoicePreview,
    Pause,
    Resume,
    Reverse,
    changed_by_use,
    ends_on,
    rest_delta,
)
from canonical.billing import ClosedPeriod, InvoiceLine, Posting
from canonical.cases import Finding
from canonical.deals import MONTHS, PricedLine
from canonical.faults import Conflict, Rejected
from canonical.money import Money, smallest_charge, total
from canonical.proration import Period, ProrationRule, share
from canonical.usage import period_at
from policies.business.amendments import approvals_for
from policies.business.posting_windows import window_of
from process_apis.amendments.contract import RunningContract, began
from process_apis.amendments.request import PlannedChange, ends_rest, renewal_in, rest_in
from process_apis.amendments.reversal import is_to_come, reversal_in
from process_apis.amendments.transfers import taken_back, terms
from process_apis.runtime.context import WorkflowContext

WHOLE = "the whole period"
APART = timedelta(hours=1)
"""By how much a period of billing may begin at another moment than ours."""


def billing_change(
    amendment_id: str,
    found: RunningContract,
    wanted: AmendmentRequest,
    after: tuple[PricedLine, ...],
    effective_at: datetime,
    handover: Handover | None = None,
) -> ContractChange:
    """Return what billing is to make of a contract, which has the lines `after` from `effective_at` on. With a
    `handover` another customer has it from then on, or is not to have it after all."""
    first, renewal, pause = wanted.actions[0], renewal_in(wanted), rest_in(wanted)
    return ContractChange(
        amendment_id,
        found.contract,
        after,
        effective_at,
        at_period_end=wanted.effective == "period_end" or is_to_come(found, wanted) or renewal is not None,
        settlement=wanted.settlement,
        term=first if isinstance(first, ChangeTerm) else None,
        renewal=renewal,
        pause=Resume() if ends_rest(found, wanted) else pause,
        paused=found.rests_at(effective_at),
        handover=handover,
    )


def preview(
    context: WorkflowContext,
    amendment_id: str,
    found: RunningContract,
    wanted: AmendmentRequest,
    change: PlannedChange,
) -> AmendmentPreview:
    """Return what every platform would make of a change. Raises the faults of the platforms.

    A change of which the day is too far away for billing has no invoices yet: they are asked for on the day.
    """
    to = change.successor
    handover = Handover(to.plan.contract) if to else taken_back(context, found, wanted)
    asked = billing_change(amendment_id, found, wanted, change.after, change.effective_at, handover)
    try:
        said = context.platforms.preview_change(asked)
    except Rejected as refused:
        is_early = refused.field == "effective_at" and change.effective_at > context.clock()
        if not is_early or asked.renewal is not None:
            raise
        said = BillingPreview(change.effective_at, ())
    if isinstance(asked.pause, Pause):
        _check_end(found, said.effective_at)
    _check_periods(found, change.after, said.effective_at)
    contract, catalogue = found.contract, context.live_catalogue.current
    closed = window_of(catalogue, contract.legal_entity).closed_period
    postings = _postings(context, said, closed)
    billing = catalogue.instance_for("billing", contract.legal_entity)
    rule = catalogue.platforms[billing].proration if billing else "seconds"
    explanations = tuple(_explained(each, billing or "billing", rule, found.zone) for each in said.invoices)
    every = tuple(each for some in explanations for each in some)
    rest = _rest(found, wanted, said) if asked.pause is not None else None
    worth, value = ((rest.delta,), rest.value) if rest else (change.deltas, _value(change.deltas))
    charged = total((each.invoice.total - each.invoice.tax for each in said.invoices), contract.currency)
    first = wanted.actions[0]
    ended_by = first.by if isinstance(first, Cancel) else None
    return AmendmentPreview(
        contract.id,
        said.effective_at,
        contract.lines,
        change.after,
        worth,
        tuple(each.invoice for each in said.invoices),
        tuple(each for each in postings if each),
        every,
        (*_differences(said, postings), *map(_unexplained, (each for each in every if not each.explained))),
        (
            *approvals_for(
                catalogue,
                found.began_at,
                contract.lines,
                change.after,
                charged,
                value,
                ended_by_us=ended_by == "us",
            ),
            *(to.approvals if to else ()),
        ),
        end.ends_on if (end := asked.term or asked.renewal) else None,
        said.ends_at,
        ended_by=ended_by,
        pauses_on=rest.pauses_on if rest else None,
        resumes_on=rest.resumes_on if rest else None,
        resumes_at=said.resumes_at,
        transfer=terms(found, to) if to else None,
    )


class _Rest(NamedTuple):
    """What a pause, or the end of one, is in days of the books, and what it is worth."""

    delta: Delta
    value: Money | None
    """What the rest of the term is worth more than before, where a pause without end lasts as long as that."""
    pauses_on: date | None = None
    resumes_on: date | None = None


def _rest(found: RunningContract, wanted: AmendmentRequest, said: BillingPreview) -> _Rest:
    """Return what billing's moments make of a pause, of its end, or of one that is taken back before it has begun."""
    contract, action = found.contract, rest_in(wanted) or reversal_in(wanted)
    since = said.effective_at.astimezone(found.zone).date()
    resumes_at = said.resumes_at if isinstance(action, Pause) else found.rest and found.rest.until
    until = resumes_at and resumes_at.astimezone(found.zone).date()
    match action:
        case Pause():
            at_most = rest_delta(contract, action, since, until or ends_on(contract))
            return _Rest(rest_delta(contract, action, since, until), at_most.contract_value, since, until)
        case Resume():
            delta = rest_delta(contract, action, since, until)
            return _Rest(delta, delta.contract_value, resumes_on=since)
        case _:
            delta = rest_delta(contract, Reverse(found.rest.paused_by if found.rest else ""), since, until)
            return _Rest(delta, delta.contract_value)


def _check_end(found: RunningContract, rests_at: datetime) -> None:
    """Raise `Rejected` for a pause where the contract is to end before it begins: that would count from it then."""
    for each in found.versions:
        if each.is_future and not each.preview.after and each.since < rests_at:
            day = f"{each.since.astimezone(found.zone):%Y-%m-%d}"
            reason = f"{each.id} is to end the contract on {day}, before the pause would begin: withdraw it first"
            raise Rejected("tiergate", reason, field="actions[0]")


def _check_periods(found: RunningContract, after: Sequence[PricedLine], at: datetime) -> None:
    """Raise `Rejected` for another price of what is charged by use where billing's periods of it are others than those
    in which it is summed up, as of a line that was added with a subscription of its own: the price would count for
    what was used before it, too."""
    first, kept = began(found.order, found.contract, found.zone), {each.id for each in after}
    for line in changed_by_use(found.contract.lines, after):
        if line.id in kept and line.interval != "one_time":
            starts_at, ends_at = period_at(first, line.billing_months or MONTHS[line.interval], at)
            if min(at - starts_at, ends_at - at) > APART:
                reason = (
                    f"{line.name} is summed up until {ends_at:%Y-%m-%d} and billed from {at:%Y-%m-%d} on, so what was "
                    "used before would cost the new price: remove the line, and add another one once it has gone"
                )
                raise Rejected("tiergate", reason, field="actions[0]")


def _postings(context: WorkflowContext, said: BillingPreview, closed: ClosedPeriod) -> tuple[Posting | None, ...]:
    """Return what the ERP would book for each invoice, None for one of a day to come that no fiscal year has yet."""
    found: list[Posting | None] = []
    for each in said.invoices:
        try:
            found.append(context.platforms.preview_erp_invoice(each.invoice, closed))
        except Conflict as fault:
            if fault.field != "fiscal_year" or each.invoice.issued_on <= context.clock().date():
                raise
            found.append(None)
    return tuple(found)


def _value(deltas: Sequence[Delta]) -> Money | None:
    """Return what the rest of the term is worth more than before, None for a contract without end."""
    worth = [each.contract_value for each in deltas if each.contract_value is not None]
    return total(worth, worth[0].currency) if worth else None


def _explained(one: InvoicePreview, platform: str, rule: ProrationRule, zone: ZoneInfo) -> list[Explanation]:
    return [
        _explanation(line, part, platform, rule, zone) for line, part in zip(one.invoice.lines, one.parts, strict=True)
    ]


def _explanation(
    line: InvoiceLine, part: ChargedPart, platform: str, rule: ProrationRule, zone: ZoneInfo
) -> Explanation:
    expected, how = part.price, WHOLE
    if part.prorated:
        period = Period(part.period_starts_at, part.period_ends_at, part.months)
        counted = share(rule, period, part.starts_at, part.ends_at, zone)
        step = smallest_charge(part.price.currency).amount
        expected, how = counted.of_price(part.price, step), counted.in_words()
    return Explanation(
        part.lines,
        line.description,
        platform,
        rule,
        how,
        part.price,
        line.net,
        expected,
        explained=line.net == expected,
    )


def _unexplained(one: Explanation) -> Finding:
    expected = f"{one.expected} ({one.price} × {one.share})"
    reason = f"{one.description}: {one.charged}, and by its rule of {one.rule} it would be {expected}"
    return Finding("billing.amount", reason, "billing")


def _differences(said: BillingPreview, postings: tuple[Posting | None, ...]) -> Iterator[Finding]:
    """Yield a finding for each invoice of which the ERP would book another amount."""
    for each, posting in zip(said.invoices, postings, strict=True):
        if posting is None:
            continue
        ours: tuple[tuple[str, Money, Money], ...] = (
            ("total", each.invoice.total, posting.total),
            ("tax", each.invoice.tax, posting.tax),
        )
        for what, charged, booked in ours:
            if charged != booked:
                reason = f"billing would charge a {what} of {charged}, and the ERP would book {booked}"
                yield Finding(f"erp.{what}", reason, "erp")
