"""What a contract is, was and will be: what was sold, and what each amendment has made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from canonical.amendments import (
    NO_METERS,
    ActionRefused,
    ContractFilter,
    ContractSummary,
    ContractTimeline,
    ContractVersion,
    Delta,
    Meters,
    Pause,
    Resume,
    Reverse,
    Transfer,
    amended,
    deltas,
    ends_on,
    mrr,
    renewed,
    reversal_deltas,
    reversed_lines,
    with_end,
)
from canonical.billing import Contract
from canonical.cases import Finding
from canonical.deals import PricedLine
from canonical.money import Money
from canonical.orders import Order, Page
from canonical.parties import Product, References
from canonical.states import ContractState
from policies.business.posting_windows import window_of
from policies.business.usage import meters_by_product
from policies.identity.authentication import Principal
from policies.problems import MISSING, ProblemError
from process_apis.records import cross_references, customers
from process_apis.records.amendments import Amendments, Applied, handovers
from process_apis.records.dunnings import Owing, owing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

READS = 4
"""How often a page of a list is read on for, where what it has read is not wanted."""


class NotPossible(Exception):
    """What is wrong with a change, each with its field."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings)
        self.findings = findings


class Rest(msgspec.Struct, frozen=True):
    """A time for which a contract is paused: from `since` up to `until`, null for one without end."""

    paused_by: str
    """The id of the amendment that has paused it."""
    since: datetime
    until: datetime | None
    resumed_by: str = ""
    """The id of the amendment that has taken it up again; empty where the pause itself has an end, or there is none."""

    def holds_at(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


class RunningContract(msgspec.Struct, frozen=True):
    """A contract with its order, and the zone of the books in which its days are counted."""

    order: Order
    contract: Contract
    """As it is now: its recurring lines, and what billing calls its records. It is `cancelled` when it was ended, and
    `expired` when nobody has renewed it."""
    since: datetime
    """From when it is that. An earlier change of it is not possible any more."""
    changed_by: str
    """The id of the amendment that made it so; empty for what was sold at first."""
    zone: ZoneInfo
    line_ids: frozenset[str]
    """The ids of all lines that it has or had, those that were not delivered included."""
    began_at: Mapping[str, Decimal]
    """The unit price at which each line began with its present product, by its id, for one invoice in major units."""
    versions: tuple[Applied, ...]
    """What amendments have made of it, and will make when their day comes."""
    read_at: datetime
    """The moment at which it is that."""
    today: date
    """The day that it is now in the zone of the books."""
    ends_at: datetime | None = None
    """The moment at which it ends, or has ended, where an amendment has agreed to that."""
    ended_by: str = ""
    """The id of the amendment that has agreed to its end, or to none, last."""
    lapses: bool = False
    """Whether it ends because nobody has renewed it."""
    rests: tuple[Rest, ...] = ()
    """When it rested, rests or will rest, the earliest first."""
    owing: Owing | None = None
    """What the customer owes for it who has it; None for one that is paid."""
    handover: Applied | None = None
    """The transfer by which it goes to another customer, where that is carried out and its moment is to come, or has
    come just now: the contract is the former customer's until then."""
    meters: Meters = NO_METERS
    """By which meters the lines are charged that it may get, by their products."""

    @property
    def is_over(self) -> bool:
        """Return whether it was ended, or nobody has renewed it."""
        return self.contract.state in ("cancelled", "expired")

    @property
    def is_after_term(self) -> bool:
        """Return whether its term is over: where nobody has ended it, it goes on."""
        until = ends_on(self.contract)
        return until is not None and until <= self.today

    @property
    def over_at(self) -> datetime | None:
        """Return the moment at which it is over, which may be to come; None where nobody has ended it."""
        return self.ends_at or (self.since if self.contract.state == "cancelled" else None)

    @property
    def rest(self) -> Rest | None:
        """Return the time for which it rests, or has agreed to rest; None for one that runs on."""
        last = self.rests[-1] if self.rests else None
        return last if last and (last.until is None or last.until > self.read_at) else None

    def rests_at(self, moment: datetime) -> bool:
        """Return whether it is paused at a moment."""
        return any(each.holds_at(moment) for each in self.rests)


def find(context: WorkflowContext, amendments: Amendments, contract_id: str, principal: Principal) -> RunningContract:
    """Return a contract that the caller may see. Raises `ProblemError` (404) when there is none."""
    order_id = order_of(context, contract_id)
    order = context.orders.visible(order_id, principal) if order_id else None
    if order is None or order.plan is None:
        raise ProblemError(MISSING, f"There is no contract {contract_id}.")
    return running(context, amendments, order)


def of_former(context: WorkflowContext, contract: Contract, customer_id: str) -> Contract | None:
    """Return a contract as billing knows it of a customer who had it before; None where billing is not known to have
    that customer."""
    known = customers.last_seen(context.database, customer_id)
    billing = context.live_catalogue.current.instance_for("billing", contract.legal_entity)
    reference = known.references.get(billing or "") if known else None
    if not reference:
        return None
    return msgspec.structs.replace(contract, customer_id=customer_id, references={"customer": reference})


def order_of(context: WorkflowContext, contract_id: str) -> str:
    """Return the id of the order of a contract, empty for a contract that is not known."""
    with context.database.connect() as connection:
        return connection.scalar(cross_references.foreign_ids("con", "order", (contract_id,))) or ""


def known_products(context: WorkflowContext, contract: Contract, lines: Iterable[PricedLine]) -> dict[str, Product]:
    """Return what the ERP says of the products of some lines. Of what is sold no more, a contract keeps what it has."""
    had = {each.sku for each in contract.lines}
    found = context.platforms.known_products(sorted({each.sku for each in lines}), contract.legal_entity)
    return {
        sku: msgspec.structs.replace(each, withdrawn=each.withdrawn and sku not in had) for sku, each in found.items()
    }


def running(context: WorkflowContext, amendments: Amendments, order: Order) -> RunningContract:
    """Return the contract of an accepted order, as it is now."""
    if order.plan is None:
        raise LookupError(f"the order {order.id} was not accepted yet")
    sold = order.plan.contract
    zone = ZoneInfo(window_of(context.live_catalogue.current, sold.legal_entity).timezone)
    versions = amendments.versions(sold.id)
    made = [each for each in versions if not each.is_future]
    delivered = _delivered(order)
    known = {line.id for each in made for line in (*each.preview.before, *each.preview.after)}
    if made:
        late = (line for line in delivered if made[-1].preview.after and line.id not in known)
        lines = (*made[-1].preview.after, *late)
    else:
        lines = delivered
    now = context.clock()
    counted = _counted(made, now)
    since, changed_by = (counted[-1].since, counted[-1].id) if counted else (began(order, sold, zone), "")
    contract = msgspec.structs.replace(sold, lines=lines, references=lasting(sold))
    terms = [each for each in made if each.preview.sets_end]
    ends_at, ended_by = (terms[-1].preview.ends_at, terms[-1].id) if terms and lines else (None, "")
    lapses = ends_at is not None and terms[-1].is_lapse
    for each in terms:
        until = each.preview.ends_on
        contract = renewed(contract, until) if until and each.preview.is_renewal else with_end(contract, until)
    is_over = bool(made and not lines) or (ends_at is not None and ends_at <= now)
    return RunningContract(
        order,
        msgspec.structs.replace(contract, state="expired" if lapses else "cancelled") if is_over else contract,
        since,
        changed_by,
        zone,
        frozenset(known.union(each.line.id for each in order.lines)),
        _first_prices(delivered, made),
        tuple(versions),
        now,
        now.astimezone(zone).date(),
        ends_at,
        ended_by,
        lapses,
        _rests(made),
        owing(context.database, contract.id, contract.customer_id),
        _on_its_way(made, contract),
        meters_by_product(context.live_catalogue.current),
    )


def _on_its_way(made: Iterable[Applied], contract: Contract) -> Applied | None:
    """Return the transfer of a contract to a customer that it is not handed over to yet."""
    last = next(reversed(handovers(made)), None)
    terms = last.preview.transfer if last else None
    return last if terms and terms.customer_id != contract.customer_id else None


def _counted(made: Iterable[Applied], now: datetime) -> list[Applied]:
    """Return the versions without those that were taken back before they counted, and what has taken them back."""
    left: list[Applied] = []
    for each in made:
        if left and now < left[-1].since == each.since and _takes_back(each, left[-1]):
            left.pop()
        else:
            left.append(each)
    return left


def _takes_back(later: Applied, earlier: Applied) -> bool:
    """Return whether a change that counts from the same moment as an earlier one takes that back. A pause leaves the
    lines as they are, as other changes do, and so does a transfer: what takes it back is its own reversal."""
    if later.preview.after != earlier.preview.before:
        return False
    first, keeps_lines = later.actions[0], earlier.preview.is_pause or earlier.preview.transfer is not None
    return not keeps_lines or (isinstance(first, Reverse) and first.amendment == earlier.id)


def _rests(made: Iterable[Applied]) -> tuple[Rest, ...]:
    """Return the times for which a contract is paused, the earliest first."""
    rests: list[Rest] = []
    last: Applied | None = None
    for each in made:
        if each.preview.is_pause:
            rests.append(Rest(each.id, each.since, each.preview.resumes_at))
            last = each
        elif last and each.since == last.since and _takes_back(each, last):
            rests.pop()
            last = None
        elif each.preview.is_resumption and rests:
            rests[-1] = msgspec.structs.replace(rests[-1], until=each.since, resumed_by=each.id)
    return tuple(rests)


def lasting(contract: Contract) -> References:
    """Return what billing calls the records of a contract, but for its invoices: those are of one moment."""
    return {name: each for name, each in contract.references.items() if name.partition(".")[0] != "invoice"}


def _first_prices(sold: Iterable[PricedLine], made: Iterable[Applied]) -> dict[str, Decimal]:
    """Return the unit price at which each line began with the product that it has now, by its id."""
    first: dict[str, PricedLine] = {}
    for line in (*sold, *(line for each in made for line in each.preview.after)):
        if line.id not in first or first[line.id].sku != line.sku:
            first[line.id] = line
    return {key: line.terms.unit_price for key, line in first.items()}


def _delivered(order: Order) -> tuple[PricedLine, ...]:
    """Return the recurring lines that were delivered, as they were sold."""
    return tuple(each.line for each in order.lines if each.state == "provisioned" and each.line.interval != "one_time")


def began(order: Order, contract: Contract, zone: ZoneInfo) -> datetime:
    """Return since when a contract counts: from its first day, or from the delivery that came later."""
    first = datetime.combine(contract.starts_on, time(), zone)
    delivered = [each.at for each in order.history if each.state in IN_FORCE]
    return max([first, *delivered[:1]])


def page(
    context: WorkflowContext,
    amendments: Amendments,
    principal: Principal,
    wanted: ContractFilter,
    cursor: str | None,
    limit: int,
) -> Page[ContractSummary]:
    """Return a page of the contracts that came into force, as they are now, newest first: those that are wanted and
    that the caller may see. What may be wanted is read `READS` times at the most: where few of that are, the page is
    shorter than `limit`, and its cursor goes on."""
    items: list[ContractSummary] = []
    for _ in range(READS):
        found = context.orders.page_with_lines(principal, IN_FORCE, wanted, cursor, limit - len(items))
        rows = (_summary(running(context, amendments, order)) for order in found.items)
        items += filter(wanted.takes, rows)
        cursor = found.next_cursor
        if cursor is None or len(items) == limit:
            break
    return Page(tuple(items), cursor)


def _summary(found: RunningContract) -> ContractSummary:
    """Return a contract as it is now; before its first day as it will be, and worth nothing yet."""
    contract, versions = found.contract, _versions(found)
    present = _counting(versions, found.read_at)
    shown = present or next(iter(versions), None)  # none while no recurring line is delivered
    return ContractSummary(
        contract.id,
        contract.order_id,
        contract.customer_id,
        found.order.name,
        contract.legal_entity,
        present.state if present else "pending",
        contract.starts_on,
        ends_on(contract),
        present.mrr if present else Money(0, contract.currency),
        tuple(dict.fromkeys(each.sku for each in shown.lines)) if shown else (),
    )


def timeline(amendments: Amendments, found: RunningContract, as_of: datetime) -> ContractTimeline:
    """Return a contract with all its versions, and which of them counts at `as_of`."""
    contract, versions = found.contract, _versions(found)
    return ContractTimeline(
        contract.id,
        contract.order_id,
        contract.customer_id,
        contract.legal_entity,
        contract.currency,
        contract.starts_on,
        ends_on(contract),
        as_of,
        _counting(versions, as_of),
        versions,
        amendments.undecided(contract.id),
    )


def _versions(found: RunningContract) -> tuple[ContractVersion, ...]:
    """Return what was sold, and what each amendment has made of it or will make."""
    contract, sold = found.contract, _delivered(found.order)
    until = ends_on(found.order.plan.contract if found.order.plan else contract)
    versions: list[ContractVersion] = []
    if sold:
        first = began(found.order, contract, found.zone)
        versions.append(_version(found, first, sold, until))
    for each in found.versions:
        after, worth = each.preview.after, each.preview.deltas
        if each.is_future and versions:
            to_come = _to_come(found, versions[-1].lines, each)
            if to_come is None:
                continue
            after, worth = to_come
        if each.is_future and versions and versions[-1].state == "cancelled":
            break
        until = each.preview.ends_on if each.preview.sets_end else until
        versions.append(_version(found, each.since, after, until, each.id, worth))
    for rest in found.rests:
        if rest.until and not rest.resumed_by:
            versions = [*_taken_up(found, versions, rest.paused_by, rest.until)]
    ends_at = found.ends_at
    if ends_at:
        versions = [each for each in versions if each.since < ends_at]  # what was to come after it does not come
    if ends_at and versions and versions[-1].state != "cancelled":
        over = _version(found, ends_at, (), until, found.ended_by)
        versions.append(msgspec.structs.replace(over, state="expired") if found.lapses else over)
    return tuple(_with_debts(found, _with_holders(found, versions)))


def _with_debts(found: RunningContract, versions: Iterable[ContractVersion]) -> Iterator[ContractVersion]:
    """Yield versions, of which that of now is past due where it runs and something is owed for it, from when on that
    was to be paid."""
    made = tuple(versions)
    present, owed = _counting(made, found.read_at), found.owing
    for each in made:
        if owed is None or each is not present or each.state != "active":
            yield each
            continue
        if each.since < owed.since:
            yield each
        late = max(each.since, owed.since)
        yield msgspec.structs.replace(
            each, state="past_due", since=late, deltas=() if late > each.since else each.deltas
        )


def _with_holders(found: RunningContract, versions: Iterable[ContractVersion]) -> Iterator[ContractVersion]:
    """Yield versions, each with the customer who has the contract then: of what is to come, as it is agreed by now."""
    done = handovers(found.versions)
    agreed = [*done, *(each for each in found.versions if each.is_future)]
    moves = [(each.since, terms) for each in agreed if (terms := each.preview.transfer)]
    first = moves[0][1].former_id if moves else found.contract.customer_id
    for each in versions:
        had = [terms.customer_id for since, terms in moves if since <= each.since]
        yield msgspec.structs.replace(each, customer_id=had[-1] if had else first)


def seen_by(principal: Principal, of: ContractTimeline) -> ContractTimeline:
    """Return what a caller sees of a contract: a partner nothing of when another customer had it, or is to have it."""
    if not principal.partner:
        return of
    own = tuple(each for each in of.versions if each.customer_id == of.customer_id)
    present = of.present if of.present in own else None
    return msgspec.structs.replace(of, versions=own, present=present)


def _version(
    found: RunningContract,
    since: datetime,
    lines: tuple[PricedLine, ...],
    until: date | None,
    amendment_id: str = "",
    deltas: tuple[Delta, ...] = (),
) -> ContractVersion:
    """Return what a contract is from a moment on. While it is paused it has its lines, and no revenue of them."""
    state: ContractState = "active" if lines else "cancelled"
    if lines and found.rests_at(since):
        state = "paused"
    revenue = mrr(lines if state == "active" else (), found.contract.currency)
    return ContractVersion(since, state, lines, revenue, amendment_id, deltas, until)


def _taken_up(
    found: RunningContract, versions: Sequence[ContractVersion], paused_by: str, moment: datetime
) -> Iterator[ContractVersion]:
    """Yield versions with that of a contract which goes on by itself at a moment, if it is there then."""
    before = [each for each in versions if each.since < moment]
    yield from before
    if before and before[-1].state != "cancelled":
        yield _version(found, moment, before[-1].lines, before[-1].ends_on, paused_by)
    yield from versions[len(before) :]


def _to_come(
    found: RunningContract, before: tuple[PricedLine, ...], change: Applied
) -> tuple[tuple[PricedLine, ...], tuple[Delta, ...]] | None:
    """Return the lines after a change of a day to come and what it is worth, of the lines that the contract will have
    by then: its preview is of those that it had when it was asked for. Return None for what cannot be any more, as
    another price of a line that ends before: it will be a case."""
    contract = msgspec.structs.replace(found.contract, lines=before)
    day, first, said = change.since.astimezone(found.zone).date(), change.actions[0], change.preview
    if isinstance(first, Pause | Resume | Transfer):
        return before, said.deltas
    if isinstance(first, Reverse):
        after = reversed_lines(before, said.after, said.before)
        return after, reversal_deltas(contract, first, after, day)
    try:
        after = amended(before, change.actions, contract.currency, found.meters)
        worth = deltas(contract, change.actions, day, found.meters)
    except ActionRefused:
        return None
    decided = {each.id: each for each in said.after}
    return tuple(decided[each.id] if _is_same(decided.get(each.id), each) else each for each in after), worth


def _is_same(decided: PricedLine | None, line: PricedLine) -> bool:
    """Return whether a line is as it was previewed, with the tax that was decided then."""
    return decided is not None and (decided.sku, decided.terms) == (line.sku, line.terms)


def _counting(versions: Iterable[ContractVersion], as_of: datetime) -> ContractVersion | None:
    """Return the version that counts at a moment, None before the first day."""
    counting = [each for each in versions if each.since <= as_of]
    return counting[-1] if counting else None
