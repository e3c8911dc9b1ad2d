"""Amendments: how a contract that runs is changed, and what each change of it is worth.

Actions are added up in their order. What a change costs is said by the platforms alone: the deltas here are those of
the contract, and an explanation holds what a platform charges against the rule that it prorates by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, assert_never

import msgspec

from canonical.billing import Contract, Invoice, Posting
from canonical.cases import Finding
from canonical.deals import MONTHS, TOO_MUCH, DealLine, LineTerms, PricedLine, plain, priced_line, with_terms
from canonical.ids import Instant, Key
from canonical.money import Money, scaled_price, total
from canonical.proration import ProrationRule
from canonical.states import AmendmentState, ContractState
from canonical.tax import TaxTreatment

Effective = Literal["now", "date", "period_end"]
"""From when a change counts: from the moment at which it is accepted, from the start of a day, or from the end of the
period that is paid."""
Settlement = Literal["at_once", "next_invoice", "none"]
"""How the part of a period that is affected is settled: by an invoice of its own, with the next one, or not at all."""
RecurringInterval = Literal["month", "quarter", "half_year", "year"]
"""How often a line of a contract is billed."""
Quantity = Annotated[Decimal, msgspec.Meta(description="How much, in units of the product, as a decimal number.")]
Price = Annotated[
    Decimal, msgspec.Meta(description="The price of one unit in major units of the currency, net of tax.")
]
LineName = Annotated[str, msgspec.Meta(pattern=r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*\Z", max_length=255)]
"""What a line is called on invoices: it begins with no blank, and is one line."""
MOST_ACTIONS = 100
BEGUN_LATE = timedelta(days=16)
"""By how much later than the contract billing may have begun, with the delivery: each period, and so the last one of a
term, ends as much later. Half a month, so that of monthly periods one alone is meant."""
WHOLE = Decimal(100)
"""Percent."""
Meters = Mapping[str, str]
"""The names of the meters by which products are charged, by the product's number."""
NO_METERS: Meters = {}
MOST_DIGITS = 12
"""Digits after the point of a number: as many as billing takes in a price."""


class NumberRefused(ValueError):
    """A number that no contract has: `member` is the field that an action has it in."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(reason)
        self.member = member


def check_number(number: Decimal, member: str) -> None:
    """Raise `NumberRefused` for what is no number, and for one of which no computer should write all the digits."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise NumberRefused(member, "it is to be a number")
    if number.adjusted() >= TOO_MUCH.adjusted():
        raise NumberRefused(member, f"it is to be less than {plain(TOO_MUCH)}")
    if -exponent > MOST_DIGITS:
        raise NumberRefused(member, f"it is to have at most {MOST_DIGITS} digits after the point")


class AddLine(msgspec.Struct, frozen=True, tag_field="action", tag="add"):
    """A line more. `line` is its id, which no other line of the contract has or had."""

    line: Key
    sku: Key
    name: LineName
    quantity: Quantity
    unit_price: Price
    interval: RecurringInterval

    def __post_init__(self) -> None:
        check_number(self.quantity, "quantity")
        check_number(self.unit_price, "unit_price")


class RemoveLine(msgspec.Struct, frozen=True, tag_field="action", tag="remove"):
    """A line that ends. The others go on as they are."""

    line: Key
    """The id of the line."""


class ChangeQuantity(msgspec.Struct, frozen=True, tag_field="action", tag="quantity"):
    """Another quantity of a line, in all and not in addition."""

    line: Key
    """The id of the line."""
    quantity: Quantity

    def __post_init__(self) -> None:
        check_number(self.quantity, "quantity")


class ChangePrice(msgspec.Struct, frozen=True, tag_field="action", tag="price"):
    """Another price of one unit of a line, for each of its invoices. A discount from the former price ends with it."""

    line: Key
    """The id of the line."""
    unit_price: Price

    def __post_init__(self) -> None:
        check_number(self.unit_price, "unit_price")


class ChangeDiscount(msgspec.Struct, frozen=True, tag_field="action", tag="discount"):
    """Another discount of a line from its list price, in percent; 0 for none."""

    line: Key
    """The id of the line."""
    discount_percent: Annotated[Decimal, msgspec.Meta(description="The discount from the list price, in percent.")]

    def __post_init__(self) -> None:
        check_number(self.discount_percent, "discount_percent")


class ChangePlan(msgspec.Struct, frozen=True, tag_field="action", tag="plan"):
    """Another product in the place of a line's, in the same quantity and at the same interval."""

    line: Key
    """The id of the line."""
    sku: Key
    name: LineName
    unit_price: Price

    def __post_init__(self) -> None:
        check_number(self.unit_price, "unit_price")


EndedBy = Literal["customer", "us"]
"""Who ends a contract."""


class Cancel(msgspec.Struct, frozen=True, tag_field="action", tag="cancel"):
    """The end of the contract with all of its lines, by the customer or by us. It stands alone."""

    by: EndedBy = "customer"


class Reverse(msgspec.Struct, frozen=True, tag_field="action", tag="reverse"):
    """A change that was carried out is taken back: its lines are again what they were before it. It stands alone."""

    amendment: Annotated[Key, msgspec.Meta(description="The id of the amendment that is taken back.")]


class ChangeTerm(msgspec.Struct, frozen=True, tag_field="action", tag="term"):
    """Another end of the contract: `ends_on` is the first day on which it is over, null for one without end. Its lines
    and prices stay as they are. It stands alone."""

    ends_on: date | None
    grace_days: Annotated[
        int,
        msgspec.Meta(ge=0, le=90, description="How many days after the end the target keeps what was delivered."),
    ] = 0


class Pause(msgspec.Struct, frozen=True, tag_field="action", tag="pause"):
    """The contract rests from the end of the period that is paid: nothing is billed, and its service is suspended. On
    `until` it goes on by itself; null for a day on which somebody asks for that. It stands alone."""

    until: Annotated[
        date | None, msgspec.Meta(description="The day on which the contract goes on: one on which a period begins.")
    ] = None


class Resume(msgspec.Struct, frozen=True, tag_field="action", tag="resume"):
    """A contract that is paused goes on with its next period. It stands alone."""


class Transfer(msgspec.Struct, frozen=True, tag_field="action", tag="transfer"):
    """The contract goes to another customer, with the end of the period that is paid: its lines, prices and term stay
    as they are. It stands alone."""

    customer: Annotated[Key, msgspec.Meta(description="Our id of the customer that has the contract from then on.")]


class Renew(msgspec.Struct, frozen=True, tag_field="action", tag="renew"):
    """Another term, from the end of the one that runs up to `ends_on`: the first day on which it is over.

    It comes first, and the actions that follow count from the end of the term as well. Before them the price of every
    line rises by `uplift_percent`, rounded half up to its digits, or to the currency's where these are more. A line
    that is charged by use keeps its price.
    """

    ends_on: date
    uplift_percent: Annotated[
        Decimal,
        msgspec.Meta(
            description="By how much the price of every line rises that is not charged by use, from 0 to 100 percent."
        ),
    ] = Decimal(0)

    def __post_init__(self) -> None:
        check_number(self.uplift_percent, "uplift_percent")


OfContract = Cancel | Reverse | ChangeTerm | Renew | Pause | Resume | Transfer
"""An action on the contract as a whole, which names no line."""
Action = AddLine | RemoveLine | ChangeQuantity | ChangePrice | ChangeDiscount | ChangePlan | OfContract
LineAction = RemoveLine | ChangeQuantity | ChangePrice | ChangeDiscount | ChangePlan
"""An action on a line that the contract has."""


class AmendmentRequest(msgspec.Struct, frozen=True):
    """A change of a contract, as somebody asks for it.

    `effective_on` is the day for one that is `effective` at a date, and left out for any other.
    """

    actions: Annotated[tuple[Action, ...], msgspec.Meta(min_length=1, max_length=MOST_ACTIONS)]
    effective: Effective = "now"
    effective_on: date | None = None
    settlement: Settlement = "at_once"
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class NewAmendment(AmendmentRequest, frozen=True, kw_only=True):
    """A change that is to be carried out. The same `key` again is the same amendment."""

    key: Key


class Delta(msgspec.Struct, frozen=True):
    """What one action changes of a contract: its monthly recurring revenue, and what the rest of its term is worth.

    `contract_value` is at the prices agreed, `list_value` at those before discounts; both are null for a contract
    without end, and for a pause without one. All are net of tax, and of the contract: they are no charge.
    """

    action: str
    line: str
    quantity: Decimal
    mrr: Money
    contract_value: Money | None = None
    list_value: Money | None = None


class Handover(msgspec.Struct, frozen=True):
    """What a contract is for the customer that it goes to: with that one's taxes, and billing's id of it where billing
    knows it. Of one that is taken back before it counts, `taken_back` is the id of the change that it came with."""

    contract: Contract
    taken_back: str = ""


class ContractChange(msgspec.Struct, frozen=True):
    """What billing is to make of a contract: `lines` are those that it has from `effective_at` on; none when it ends.

    `contract` is as it runs until then, with the recurring lines that billing bills. `id` is the natural key: the same
    again is done once. With `at_period_end` what is paid already stays as it is, and nothing is prorated. With a `term`
    the lines stay as they are, and end on its day. With a `renewal` the lines count from the period that begins with
    the end of the term, at `effective_at`, and an end of billing that was agreed before is taken away. With a `pause`
    the lines stay as they are: nothing is billed from the end of the period that is paid, or everything again. Where
    that has to be a certain moment, it is `effective_at`: when the change is carried out. A contract that is `paused`
    then has paid nothing of the period.
    """

    id: Key
    contract: Contract
    lines: tuple[PricedLine, ...]
    effective_at: Instant
    at_period_end: bool = False
    settlement: Settlement = "at_once"
    term: ChangeTerm | None = None
    renewal: Renew | None = None
    pause: Pause | Resume | None = None
    paused: bool = False
    handover: Handover | None = None


class ChargedPart(msgspec.Struct, frozen=True):
    """What one line of a previewed invoice is for: the time from `starts_at` up to `ends_at`, of a period of billing.

    `price` is that of the whole period, from `period_starts_at` up to `period_ends_at`; it is negative for what is
    credited. Where a platform credits what it has charged before, they are those of that charge, which may be for a
    part of a period itself. `months` are those of the price. `lines` are the ids of the contract's lines.
    """

    lines: tuple[Key, ...]
    starts_at: Instant
    ends_at: Instant
    prorated: bool
    price: Money
    period_starts_at: Instant
    period_ends_at: Instant
    months: int


class InvoicePreview(msgspec.Struct, frozen=True):
    """An invoice that billing would issue, with a part for each of its lines. Nothing of it exists."""

    invoice: Invoice
    parts: tuple[ChargedPart, ...]


class BillingPreview(msgspec.Struct, frozen=True):
    """What billing would do: the invoices that it would issue, and the moment from which the change counts.

    Settled at once, the invoices are those that are issued at once; settled with the next invoice, they are the next
    ones, with all that they charge. There is none where nothing is charged for the change itself, as without a
    settlement and at the end of the period: the next invoice has the new lines then. New lines that begin a period of
    their own are invoiced for it at once, whatever the settlement. What ends has no next invoice: it is credited at
    once, and the customer has the credit. A renewal has the invoices of its first periods, once the last period of the
    term before runs; sooner there are none. `ends_at` is the moment at which a contract ends that gets another term,
    `resumes_at` that at which a period begins with which a pause is over; null for one without end.
    """

    effective_at: Instant
    invoices: tuple[InvoicePreview, ...]
    ends_at: Instant | None = None
    resumes_at: Instant | None = None


class Explanation(msgspec.Struct, frozen=True):
    """Why an amount of a previewed invoice is what it is.

    `charged` is what the platform says, `expected` what its declared rule makes of `price`, in `share` of the period as
    people read it. An amount that is `explained` is equal to it; `difference` says what it is off by otherwise.
    """

    lines: tuple[Key, ...]
    description: str
    platform: str
    rule: ProrationRule
    share: str
    price: Money
    charged: Money
    expected: Money
    explained: bool

    @property
    def difference(self) -> Money:
        return self.charged - self.expected


class TransferTerms(msgspec.Struct, frozen=True):
    """What a transfer agrees: who has the contract from `transfers_on` on, who had it before, and the tax of the
    contract from then on."""

    customer_id: str
    former_id: str
    transfers_on: date
    tax: TaxTreatment
    tax_percent: str
    taxed_by_billing: bool = False


class AmendmentPreview(msgspec.Struct, frozen=True):
    """What a change would be on every platform. Nothing was written, but for a draft in the ERP that is gone.

    `invoices` are billing's, `postings` what the ERP would book for each of them. `differences` say where the two, or a
    platform and its rule, are not of one mind: such a change is not carried out. `approvals` say what somebody else has
    to approve. Of another term, `ends_on` is its day and `ends_at` the moment at which billing ends the contract then;
    both are null for one without end. Of a renewal, `ends_on` is the end of the new term. Of a pause, `pauses_on` is
    its first day and `resumes_on` the first one after it, at `resumes_at`; of what takes a contract up again,
    `resumes_on` is the day of that. Of a transfer, `transfer` says to whom, and `invoices` are the first that the other
    customer gets; there are none before both platforms know it.
    """

    contract_id: str
    effective_at: Instant
    before: tuple[PricedLine, ...]
    after: tuple[PricedLine, ...]
    deltas: tuple[Delta, ...]
    invoices: tuple[Invoice, ...] = ()
    postings: tuple[Posting, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    differences: tuple[Finding, ...] = ()
    approvals: tuple[str, ...] = ()
    ends_on: date | None = None
    ends_at: Instant | None = None
    ended_by: EndedBy | None = None
    pauses_on: date | None = None
    resumes_on: date | None = None
    resumes_at: Instant | None = None
    transfer: TransferTerms | None = None

    @property
    def is_pause(self) -> bool:
        """Return whether the change lets the contract rest."""
        return any(each.action == "pause" for each in self.deltas)

    @property
    def is_resumption(self) -> bool:
        """Return whether the change takes up a contract that rests."""
        return any(each.action == "resume" for each in self.deltas)

    @property
    def is_term(self) -> bool:
        """Return whether the change is one of the contract's end alone."""
        return any(each.action == "term" for each in self.deltas)

    @property
    def is_renewal(self) -> bool:
        """Return whether the change is a renewal, with whatever it changes besides."""
        return any(each.action == "renew" for each in self.deltas)

    @property
    def sets_end(self) -> bool:
        """Return whether the change has agreed to `ends_on`."""
        return self.is_term or self.is_renewal

    def in_words(self) -> str:
        """Return what the change is, as the CRM shows it: `Seat 10 → 15 from 2026-12-01`."""
        since = f"from {self.effective_at:%Y-%m-%d}"
        if self.transfer:
            return f"transferred to {self.transfer.customer_id} on {self.transfer.transfers_on}"
        if self.is_term:
            return f"ends on {self.ends_on}" if self.ends_on else f"without end {since}"
        if self.is_pause or self.is_resumption:
            until = f" until {self.resumes_on}" if self.resumes_on else ""
            return f"paused from {self.pauses_on}{until}" if self.is_pause else f"resumed from {self.resumes_on}"
        if not self.after:
            return f"ended {since}, by us" if self.ended_by == "us" else f"ended {since}"
        pairs = ((was, now) for was, now in changed_lines(self.before, self.after) if _is_seen(was, now))
        changed = ", ".join(_in_words(was, now) for was, now in pairs)
        if self.is_renewal:
            renewed = f"renewed until {self.ends_on}"
            return f"{renewed}: {changed}" if changed else renewed
        return f"{changed} {since}" if changed else "goes on as before"


def _is_seen(was: PricedLine | None, now: PricedLine | None) -> bool:
    """Return whether a line is another one in words: its tax is said by the invoice alone."""
    return was is None or now is None or (was.sku, was.terms) != (now.sku, now.terms)


def _in_words(was: PricedLine | None, now: PricedLine | None) -> str:
    """Return what becomes of a line, of which there is one before, after or both."""
    match was, now:
        case None, PricedLine():
            return f"{now.name} {now.in_words()}, new"
        case PricedLine(), None:
            return f"{was.name} ended"
        case PricedLine(), PricedLine():
            of_quantity = was.sku == now.sku and was.terms.unit_price == now.terms.unit_price
            before, after = (plain(each.terms.quantity) if of_quantity else each.in_words() for each in (was, now))
            return f"{now.name} {before} → {after}"
        case _:
            return ""


class Amendment(msgspec.Struct, frozen=True):
    """A change of a contract, and how far it has come.

    `blocked_reason` says in words what it waits for. `preview` is what every platform said before anything was written.
    """

    id: str
    contract_id: str
    order_id: str
    customer_id: str
    legal_entity: str
    state: AmendmentState
    request: NewAmendment
    requested_by: str
    requested_at: Instant
    updated_at: Instant
    correlation_id: str
    blocked_reason: str = msgspec.field(name="waits_for", default="")
    effective_at: Instant | None = None
    preview: AmendmentPreview | None = None
    invoices: tuple[str, ...] = ()
    """The ids of the invoices that billing has issued for it."""


class ContractVersion(msgspec.Struct, frozen=True):
    """What a contract is from a moment on, until the next of its versions."""

    since: Instant
    state: ContractState
    lines: tuple[PricedLine, ...]
    mrr: Money
    amendment_id: str = ""
    """The amendment that made it; empty for what was sold at first."""
    deltas: tuple[Delta, ...] = ()
    ends_on: date | None = None
    """The first day on which the contract is over, as was agreed then; null for one without end."""
    customer_id: str = ""
    """Who has it then."""


class ContractSummary(msgspec.Struct, frozen=True):
    """One row of a list of contracts, as each is now. `mrr` is its monthly recurring revenue, net of tax; `products`
    are the numbers of those that it has."""

    id: str
    order_id: str
    customer_id: str
    name: str
    legal_entity: str
    state: ContractState
    starts_on: date
    ends_on: date | None
    mrr: Money
    products: tuple[str, ...]


class ContractFilter(msgspec.Struct, frozen=True):
    """Which contracts are wanted, as each is now: those that have a product among their lines, are in a state, are
    billed in a currency, and so on. What is not said may be anything."""

    customer_id: str | None = None
    sku: str | None = None
    legal_entity: str | None = None
    state: ContractState | None = None
    currency: str | None = None

    def takes(self, found: ContractSummary) -> bool:
        """Return whether a contract is such as is wanted."""
        of_product = self.sku is None or self.sku in found.products
        asked = ((self.customer_id, found.customer_id), (self.legal_entity, found.legal_entity))
        asked = (*asked, (self.state, found.state), (self.currency, found.mrr.currency))
        return of_product and all(wanted in (None, present) for wanted, present in asked)


class ContractTimeline(msgspec.Struct, frozen=True):
    """A contract with what it was, is and will be: its versions, the earliest first, and what is still to be decided.

    `present` is the version that counts at the moment that was asked for; null before its first day.
    """

    id: str
    order_id: str
    customer_id: str
    legal_entity: str
    currency: str
    starts_on: date
    ends_on: date | None
    as_of: Instant
    present: ContractVersion | None
    versions: tuple[ContractVersion, ...]
    pending: tuple[str, ...] = ()
    """The ids of amendments that are neither carried out nor given up."""


class ActionRefused(ValueError):
    """An action that the contract does not allow: `field` is its place, `reason` says why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class AlreadySo(ActionRefused):
    """An action that changes nothing. In a renewal it is no fault: what was agreed for the next term is so already."""


def amended(
    lines: Sequence[PricedLine], actions: Sequence[Action], currency: str, meters: Meters = NO_METERS
) -> tuple[PricedLine, ...]:
    """Return the lines of a contract after the actions, each of them on what those before have left. Lines of the
    products of `meters` that are added are charged by use.

    Added lines and those with another product have the tax of the contract, which the caller decides again. Raises
    `ActionRefused` for the first action that the contract does not allow.
    """
    return _stages(lines, actions, currency, meters)[-1]


def changed_lines(
    before: Sequence[PricedLine], after: Sequence[PricedLine]
) -> Iterator[tuple[PricedLine | None, PricedLine | None]]:
    """Yield each line that is not the same in both, as it was and as it is then; None where there is none."""
    was, now = ({each.id: each for each in lines} for lines in (before, after))
    for key in dict.fromkeys((*was, *now)):
        if was.get(key) != now.get(key):
            yield was.get(key), now.get(key)


def touched_lines(before: Sequence[PricedLine], after: Sequence[PricedLine]) -> dict[str, PricedLine]:
    """Return each line that is not the same in both, by its id: as it is then, or as it was when it has ended."""
    return {line.id: line for pair in changed_lines(before, after) for line in pair if line}


def changed_by_use(before: Sequence[PricedLine], after: Sequence[PricedLine]) -> tuple[PricedLine, ...]:
    """Return the lines that are charged by use and end, or get another price, in a contract that goes on: as they were.

    What was used in a period is billed at its end, at one price."""
    pairs = changed_lines(before, after) if after else ()
    return tuple(was for was, now in pairs if was and was.meter and (now is None or now.terms != was.terms))


def reversed_lines(
    lines: Sequence[PricedLine], before: Sequence[PricedLine], after: Sequence[PricedLine]
) -> tuple[PricedLine, ...]:
    """Return the lines of a contract without a change that has made `after` of `before`: the lines that it changed are
    what they were before it, under their own ids, and the others are as they are."""
    changed = touched_lines(before, after)
    found = {each.id: each for each in lines if each.id not in changed}
    found |= {each.id: each for each in before if each.id in changed}
    order = dict.fromkeys(each.id for each in (*before, *lines))
    return tuple(found[key] for key in order if key in found)


def _stages(
    lines: Sequence[PricedLine], actions: Sequence[Action], currency: str, meters: Meters
) -> list[tuple[PricedLine, ...]]:
    """Return the lines at first, and after each action. Raises `ActionRefused` as `amended` does."""
    stages = [tuple(lines)]
    for place, action in enumerate(actions):
        try:
            stages.append(after_action(stages[-1], action, f"actions[{place}]", currency, meters))
        except AlreadySo:
            if not isinstance(actions[0], Renew):
                raise
            stages.append(stages[-1])
    return stages


def after_action(
    lines: tuple[PricedLine, ...], action: Action, field: str, currency: str, meters: Meters = NO_METERS
) -> tuple[PricedLine, ...]:
    """Return the lines after one action, which is named by `field` where it is refused with `ActionRefused`."""
    match action:
        case Cancel():
            return ()
        case Reverse():
            raise ActionRefused(field, "the reversal of a change stands alone")
        case ChangeTerm() | Pause() | Resume() | Transfer():
            return lines
        case Renew():
            if not 0 <= action.uplift_percent <= WHOLE:
                raise ActionRefused(f"{field}.uplift_percent", "prices rise by 0 to 100 percent")
            return tuple(_dearer(each, action.uplift_percent, currency) for each in lines)
        case AddLine():
            if any(each.id == action.line for each in lines):
                raise ActionRefused(f"{field}.line", f"the contract has a line {action.line} already")
            _positive(action.quantity, f"{field}.quantity")
            _not_negative(action.unit_price, f"{field}.unit_price")
            _check_amount(action.quantity, action.unit_price, f"{field}.unit_price")
            meter = meters.get(action.sku, "")
            _check_by_use(lines, action, meter, field)
            return (*lines, _added(action, currency, meter))
        case _:
            found = next((each for each in lines if each.id == action.line), None)
            if found is None:
                raise ActionRefused(f"{field}.line", f"the contract has no line {action.line}")
            if found.interval == "one_time":
                raise ActionRefused(f"{field}.line", f"{found.name} was charged once, and does not go on")
            _check_keeps_use(found, action, meters, field)
            changed = _changed(found, action, field)
            replaced = (changed if each.id == action.line else each for each in lines)
            return tuple(each for each in replaced if each is not None)


def _check_by_use(lines: Sequence[PricedLine], action: AddLine, meter: str, field: str) -> None:
    """Raise `ActionRefused` for what a line cannot be that is charged by use: what is measured is of one line."""
    if meter and action.quantity != 1:
        raise ActionRefused(f"{field}.quantity", f"{action.name} is charged by use: its quantity is 1")
    if meter and any(each.sku == action.sku for each in lines):
        reason = f"{action.sku} is charged by use, and the contract has a line of it already"
        raise ActionRefused(f"{field}.sku", reason)


def _check_keeps_use(line: PricedLine, action: LineAction, meters: Meters, field: str) -> None:
    """Raise `ActionRefused` for a quantity of what is charged by use, and for a product in the place of one of which
    either is charged so."""
    if isinstance(action, ChangeQuantity) and line.meter:
        raise ActionRefused(f"{field}.quantity", f"{line.name} is charged by use: it has no quantity to change")
    if isinstance(action, ChangePlan) and (line.meter or action.sku in meters):
        reason = f"{line.name if line.meter else action.name} is charged by use: remove the line, and add another one"
        raise ActionRefused(f"{field}.sku", reason)


def _changed(line: PricedLine, action: LineAction, field: str) -> PricedLine | None:
    """Return a line after an action on it, None for one that ends."""
    terms = line.terms
    match action:
        case RemoveLine():
            return None
        case ChangeQuantity():
            _positive(action.quantity, f"{field}.quantity")
            wanted = msgspec.structs.replace(terms, quantity=action.quantity)
        case ChangePrice():
            _not_negative(action.unit_price, f"{field}.unit_price")
            wanted = LineTerms(terms.quantity, action.unit_price)
        case ChangePlan():
            _not_negative(action.unit_price, f"{field}.unit_price")
            wanted = LineTerms(terms.quantity, action.unit_price)
            line = msgspec.structs.replace(line, sku=action.sku, name=action.name)
        case ChangeDiscount():
            if not 0 <= action.discount_percent <= WHOLE:
                raise ActionRefused(f"{field}.discount_percent", "a discount is from 0 to 100 percent")
            wanted = _discounted(terms, action.discount_percent)
        case _:
            assert_never(action)
    _check_amount(wanted.quantity, wanted.unit_price, field)
    changed = with_terms(line, wanted)
    if changed == line:
        raise AlreadySo(field, f"{line.name} is that already")
    return changed


def _discounted(terms: LineTerms, percent: Decimal) -> LineTerms:
    if not percent:
        return LineTerms(terms.quantity, terms.listed)
    return LineTerms(terms.quantity, terms.listed * (WHOLE - percent) / WHOLE, terms.listed, percent)


def _dearer(line: PricedLine, percent: Decimal, currency: str) -> PricedLine:
    """Return a line at a price that is higher by some percent. A discount from the former price ends with it. What is
    used up to the end of the term is billed at its end, at the price that the line has then: that one stays."""
    if not percent or line.interval == "one_time" or line.meter:
        return line
    raised = scaled_price(line.terms.unit_price, (WHOLE + percent) / WHOLE, currency)
    return with_terms(line, LineTerms(line.terms.quantity, raised))


def _added(action: AddLine, currency: str, meter: str) -> PricedLine:
    line = DealLine(
        action.line, action.sku, action.name, action.quantity, action.unit_price, action.interval, listed=True
    )
    return priced_line(line, currency, meter=meter)


def _positive(number: Decimal, field: str) -> None:
    if number <= 0:
        raise ActionRefused(field, "it has to be more than 0; a line that ends is removed")


def _not_negative(number: Decimal, field: str) -> None:
    if number < 0:
        raise ActionRefused(field, "it cannot be less than 0")


def _check_amount(quantity: Decimal, unit_price: Decimal, field: str) -> None:
    if quantity * unit_price >= TOO_MUCH:
        raise ActionRefused(field, f"the line would have an amount of {plain(TOO_MUCH)} or more")


def mrr(lines: Sequence[PricedLine], currency: str) -> Money:
    """Return the monthly recurring revenue of lines: the price of a month, each rounded half up.

    A yearly price is a twelfth of it each month; what is charged once, or by use, is none (ChartMogul: How MRR is
    calculated).
    """
    recurring = (each for each in lines if each.interval != "one_time")
    return total((_recurring(each).times(Fraction(1, MONTHS[each.interval])) for each in recurring), currency)


def _recurring(line: PricedLine) -> Money:
    """Return what a line costs for its interval."""
    return line.unit_price.times(line.quantity)


def contract_value(lines: Sequence[PricedLine], since: date, until: date, currency: str) -> Money:
    """Return what recurring lines are worth from `since` up to `until`, each rounded half up."""
    return _value(lines, months_between(since, until), currency)


def _value(lines: Sequence[PricedLine], months: Fraction, currency: str) -> Money:
    recurring = (each for each in lines if each.interval != "one_time")
    return total((_recurring(each).times(months / MONTHS[each.interval]) for each in recurring), currency)


def months_between(since: date, until: date) -> Fraction:
    """Return the months from `since` up to `until`: whole ones, and the days that are left as a part of the month that
    they are in. It is 0 for an `until` that is not after `since`."""
    if until <= since:
        return Fraction(0)
    whole = 12 * (until.year - since.year) + until.month - since.month
    if months_after(since, whole) > until:
        whole -= 1
    begun, next_one = months_after(since, whole), months_after(since, whole + 1)
    return whole + Fraction((until - begun).days, (next_one - begun).days)


def months_after(day: date, months: int) -> date:
    """Return the same day `months` later, or the last one of a month that has no such day."""
    month = day.month - 1 + months
    first = date(day.year + month // 12, month % 12 + 1, 1)
    following = (first + timedelta(days=31)).replace(day=1)
    return min(first + timedelta(days=day.day - 1), following - timedelta(days=1))


def ends_on(contract: Contract) -> date | None:
    """Return the day on which a contract is over, the first after its term; None for one without end."""
    if contract.ends_on is not None:
        return contract.ends_on
    if contract.renewed_until is not None:
        return contract.renewed_until
    return months_after(contract.starts_on, contract.term_months) if contract.term_months else None


def end_after(contract: Contract, months: int) -> date:
    """Return the end of another term of so many months after a contract's present one, which has an end. Whole months
    are counted from its first day, so that a shorter month moves no later one."""
    until = ends_on(contract)
    if until is None:
        raise ValueError(f"{contract.id} has no end")
    passed = months_between(contract.starts_on, until)
    if passed.denominator == 1:
        return months_after(contract.starts_on, passed.numerator + months)
    return months_after(until, months)


def with_end(contract: Contract, day: date | None) -> Contract:
    """Return a contract that is over on a day, or one without end for None."""
    if day is None:
        return msgspec.structs.replace(contract, term_months=0, ends_on=None, renewed_until=None)
    return msgspec.structs.replace(contract, ends_on=day)


def renewed(contract: Contract, day: date) -> Contract:
    """Return a contract with another term, which is over on a day; billing goes on with it."""
    return msgspec.structs.replace(contract, ends_on=None, renewed_until=day)


def deltas(contract: Contract, actions: Sequence[Action], since: date, meters: Meters = NO_METERS) -> tuple[Delta, ...]:
    """Return what each action changes of a contract from the day `since` on, one after the other: they add up to the
    difference of the whole.

    Raises `ActionRefused` as `amended` does.
    """
    stages = _stages(contract.lines, actions, contract.currency, meters)
    found: list[Delta] = []
    for action, (before, after) in zip(actions, pairwise(stages), strict=True):
        found.append(_delta(contract, action, before, after, since))
        if isinstance(action, Renew):
            contract = renewed(contract, action.ends_on)
    return tuple(found)


def reversal_deltas(contract: Contract, action: Reverse, after: Sequence[PricedLine], since: date) -> tuple[Delta, ...]:
    """Return what the reversal of a change, which leaves the lines `after`, changes of a contract from `since` on."""
    return (_delta(contract, action, contract.lines, after, since),)


def rest_delta(contract: Contract, action: Pause | Resume | Reverse, since: date, until: date | None) -> Delta:
    """Return what the rest of a contract from `since` up to `until` takes of it, with `Pause`, or else gives back. What
    a rest without end is worth is not known: it is null."""
    sign, currency = -1 if isinstance(action, Pause) else 1, contract.currency
    worth = listed = None
    if until is not None:
        start = contract.starts_on  # from which its months are counted: some have no day as late as that
        months = months_between(start, until) - months_between(start, since)
        ours = [_at_list_price(each) for each in contract.lines]
        worth, listed = (_value(each, months, currency).times(sign) for each in (contract.lines, ours))
    revenue = mrr(contract.lines, currency).times(sign)
    return Delta(str(action.__struct_config__.tag), "", Decimal(0), revenue, worth, listed)


def _delta(
    contract: Contract, action: Action, before: Sequence[PricedLine], after: Sequence[PricedLine], since: date
) -> Delta:
    line = "" if isinstance(action, OfContract) else action.line
    was, currency = ends_on(contract), contract.currency
    until = action.ends_on if isinstance(action, ChangeTerm | Renew) else was
    worth = listed = None
    if was is not None and until is not None:
        first = max(since, contract.starts_on)
        worth = contract_value(after, first, until, currency) - contract_value(before, first, was, currency)
        ours, theirs = ([_at_list_price(each) for each in lines] for lines in (after, before))
        listed = contract_value(ours, first, until, currency) - contract_value(theirs, first, was, currency)
    return Delta(
        str(action.__struct_config__.tag),
        line,
        _quantity(after, line) - _quantity(before, line),
        mrr(after, currency) - mrr(before, currency),
        worth,
        listed,
    )


def _at_list_price(line: PricedLine) -> PricedLine:
    terms = line.terms
    return line if terms.list_price is None else with_terms(line, LineTerms(terms.quantity, terms.list_price))


def _quantity(lines: Sequence[PricedLine], line_id: str) -> Decimal:
    """Return how much of a line there is, or of all lines when it is not named; nothing of what is charged by use."""
    counted = (each for each in lines if line_id in ("", each.id) and not each.meter)
    return sum((each.terms.quantity for each in counted), Decimal(0))
