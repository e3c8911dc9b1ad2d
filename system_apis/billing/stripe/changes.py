"""Changes of contracts that run: previewed by Stripe itself, and carried out by the same parameters.

Each subscription is changed by one request, which writes the id of the change to its metadata as well: a change that
was interrupted goes on with the next one. The schedule of a subscription that goes on is released first: it has done
its work when the contract has begun, its one phase would take nothing further, and Stripe lets nobody set the end of a
subscription that it manages (Update a subscription, `cancel_at_period_end`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec

from canonical.amendments import (
    BEGUN_LATE,
    BillingPreview,
    ContractChange,
    Handover,
    InvoicePreview,
    Pause,
    Resume,
    changed_by_use,
    ends_on,
    months_after,
    renewed,
    with_end,
)
from canonical.billing import Contract
from canonical.faults import Conflict, NotFound, PlatformFault, Rejected
from canonical.ids import Clock
from system_apis.billing.stripe import change_plan, invoices, mapping, parts, previews, rests, transfers
from system_apis.billing.stripe.change_plan import CHANGES, OVER, ChangedSubscription, Remaining
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.contracts import (
    Contracts,
    is_of,
    reference,
    subscriptions_of,
    with_all_items,
    with_references,
)
from system_apis.billing.stripe.parts import Item, Part
from system_apis.billing.stripe.periods import ends_near, moment_of, months_of, period_of
from system_apis.billing.stripe.previews import Sold
from system_apis.billing.stripe.price_list import PriceList
from system_apis.billing.stripe.rests import Rest
from system_apis.billing.stripe.transfers import TRANSFER

PRORATED = {"at_once": "always_invoice", "next_invoice": "create_prorations", "none": "none"}
"""How Stripe settles the part of a period that is affected (Update a subscription, `proration_behavior`)."""
PREVIEWED = ("cancel_at", "cancel_at_period_end", "items", "proration_behavior", "proration_date")
"""What a preview is given of the parameters of a change (Create a preview invoice, `subscription_details`)."""
A_MONTHS_END = timedelta(days=3, hours=2)
"""By how much a period's end may be off the end of the term that it belongs to: Stripe counts months in UTC from the
moment at which the first began, and the term is in days of the seller's books."""
UNTIL_BILLED = 600
"""Seconds until it is asked again whether a draft is issued."""
OF_A_CHANGE = ("subscription_update", "subscription_create")
"""Why an invoice was issued that a change has brought (The Invoice object, `billing_reason`)."""


class Known(msgspec.Struct, frozen=True):
    """What there is of a contract: its subscriptions, the oldest first, and the schedules of its customer."""

    subscriptions: Sequence[Row]
    schedules: Sequence[Row]

    @property
    def running(self) -> list[Row]:
        """Return the subscriptions that bill still."""
        return [each for each in self.subscriptions if each["status"] not in OVER]

    def of_change(self, change: ContractChange) -> dict[str, Row]:
        """Return the schedules that a change has made, by their natural keys."""
        rows = {each["metadata"].get("tiergate_key", ""): each for each in self.schedules}
        return {key: rows[key] for key in _keys(change, len(rows)) if key in rows}

    def end_of_period(self, change: ContractChange, concerned: Sequence[str]) -> datetime:
        """Return the end of the period that is paid, the latest of the subscriptions that a change is about."""
        rows = [each for each in self.subscriptions if each["id"] in concerned] or self.subscriptions
        ends = [period_of(each)[1] for each in rows if each["status"] not in OVER]
        return moment_of(max(ends)) if ends else change.effective_at


class ContractChanges:
    """Preview and carry out the changes of one account's contracts."""

    def __init__(
        self,
        client: StripeClient,
        contracts: Contracts,
        price_list: PriceList,
        clock: Clock,
        timezone: Callable[[str], tzinfo],
    ) -> None:
        self._client = client
        self._contracts = contracts
        self._price_list = price_list
        self._clock = clock
        self._timezone = timezone

    async def preview(self, change: ContractChange, correlation_id: str) -> BillingPreview:
        """Return what a change would bill."""
        known = await self._known(change.contract)
        if change.handover is not None:
            return await self._preview_transfer(change, change.handover, known, correlation_id)
        transfers.check_keeps(change, known.running)
        plan = await self._planned(change, known)
        if charges_nothing := await self._without_invoice(change, plan, known):
            return charges_nothing
        if change.renewal is not None:
            begins = [self._term_end(change, each.subscription) for each in plan.to_change]
            change = msgspec.structs.replace(change, effective_at=max(begins, default=change.effective_at))
            if _before_last_period(change, plan, self._timezone(change.contract.legal_entity)):
                return BillingPreview(change.effective_at, ())
        made: list[InvoicePreview] = []
        for target in plan.to_change:
            if found := await self._preview(change, target, len(made)):
                made.append(found)
        for items in plan.to_begin:
            made += await self._preview_new(change, items, correlation_id, len(made))
        return BillingPreview(change.effective_at, tuple(made))

    async def _without_invoice(self, change: ContractChange, plan: Remaining, known: Known) -> BillingPreview | None:
        """Return what a change would be that charges nothing now; None for one that may."""
        if change.term is not None:
            ends = [self._end_of(change, each.subscription, change.term.ends_on) for each in plan.to_change]
            return BillingPreview(change.effective_at, (), max((each for each in ends if each), default=None))
        if change.pause is not None:
            found = self._rest(change, plan)
            turns_at = found.turns_at or known.end_of_period(change, plan.concerned)
            return BillingPreview(turns_at, (), resumes_at=found.resumes_at)
        if changed_by_use(change.contract.lines, change.lines):
            return BillingPreview(await self._billed_until(change, plan), ())
        if change.at_period_end and change.renewal is None:
            return BillingPreview(known.end_of_period(change, plan.concerned), ())
        return None

    async def carry_out(self, change: ContractChange, correlation_id: str) -> Contract:
        """Change the subscriptions of a contract, end those that bill nothing any more, and begin those that bill what
        no other can. Return the contract as it runs then."""
        known = await self._known(change.contract)
        if change.handover is not None:
            return await self._transfer(change, change.handover, known, correlation_id)
        transfers.check_keeps(change, known.running)
        plan = await self._planned_in_time(change, known)
        if plan.to_change and changed_by_use(change.contract.lines, change.lines):
            until = await self._billed_until(change, plan)
            if until > self._clock():
                reason = f"the period of {change.contract.id} until {until.isoformat()} runs, and is billed as it is"
                raise Rejected("billing", reason, field="effective_at")
        if change.renewal is not None and (
            early := _before_last_period(change, plan, self._timezone(change.contract.legal_entity))
        ):
            until = moment_of(period_of(early)[1]).isoformat()
            reason = f"{change.contract.id} is renewed in the last period of its term, and the one until {until} runs"
            raise Rejected("billing", reason, field="effective_at")
        for target in plan.to_change:
            await self._update(change, target)
        ended = [each.subscription for each in plan.to_change if each.ends and not change.at_period_end]
        for row in (*ended, *plan.to_cancel):
            await self._end(row)
        is_next = change.at_period_end and change.renewal is None  # a renewal says itself when its term begins
        begins = known.end_of_period(change, plan.concerned) if is_next else change.effective_at
        begun = known.of_change(change)
        for items, key in zip(plan.to_begin, _keys(change, len(plan.to_begin), begun), strict=True):
            begun[key] = await self._begin(change, items, key, int(begins.timestamp()), correlation_id)
        further = [key for each in begun.values() if (key := each["subscription"] or each["released_subscription"])]
        concerned = list(dict.fromkeys((*plan.concerned, *further)))
        issued = [invoice for key in concerned for invoice in await self._issued(change, key)]
        return _after(change, [each["id"] for each in begun.values()], further, issued)

    async def _planned_in_time(self, change: ContractChange, known: Known) -> Remaining:
        """Return what is left to be done. Raises `Rejected` for what cannot be done, and for a pause of which the
        period is over: what a part of the contract has of that already is taken back, since it will never be whole. A
        resumption that a part has already is completed, however late."""
        running = known.running
        done = [each for each in running if change_plan.has(each, change.id)]
        try:
            plan = await self._planned(change, known)
            if change.pause is not None and not (done and isinstance(change.pause, Resume)):
                rests.check_in_time(change, self._rest(change, plan), self._timezone(change.contract.legal_entity))
        except Rejected:
            for row in done if isinstance(change.pause, Pause) and len(done) < len(running) else ():
                await self._client.post(
                    at("subscriptions", row["id"]),
                    f"undo:{change.id}:{row['id']}",
                    pause_collection="",
                    metadata={CHANGES: change_plan.without_change(row["metadata"], change.id)},
                )
            raise
        return plan

    # ---- another customer

    async def _preview_transfer(
        self, change: ContractChange, handover: Handover, known: Known, correlation_id: str
    ) -> BillingPreview:
        """Return when a contract would go to another customer, and the first invoice of that one, if it is known."""
        row = await self._handed_over(change, handover, known)
        ends = moment_of(period_of(row)[1])
        if handover.taken_back or "customer" not in handover.contract.references:
            return BillingPreview(ends, ())
        asked = transfers.for_the_other(msgspec.structs.replace(change, effective_at=ends), handover.contract)
        items = transfers.items_of(handover.contract)
        return BillingPreview(ends, await self._preview_new(asked, items, correlation_id, 0))

    async def _transfer(
        self, change: ContractChange, handover: Handover, known: Known, correlation_id: str
    ) -> Contract:
        """Let a contract be billed to another customer from the end of the period that is paid, or let it stay after
        all. Return it as it runs then.

        The former subscription is to end before the other one is to begin: whatever happens in between, nobody is
        charged twice. Where the other is refused, the former goes on.
        """
        contract, key = handover.contract, transfers.schedule_key(change)
        if handover.taken_back:
            of_other = "customer" in contract.references  # else nothing can have been begun for it
            schedule = await self._schedule(contract, key) if of_other else None
            await self._stays(change, handover.taken_back, known, schedule)
            return change.contract
        schedule = await self._schedule(contract, key)
        done = [each for each in known.subscriptions if change_plan.has(each, change.id)]
        row = done[-1] if done else await self._handed_over(change, handover, known)
        if not done:
            transfers.check_in_time(change, row, self._timezone(change.contract.legal_entity))
            await self._end_with_period(change, row)
        if schedule and schedule["status"] == mapping.OVER:
            reason = f"{schedule['id']}, the schedule of the other customer, was cancelled: give the change up"
            gone = Rejected("billing", f"{reason}, and ask again")
            raise await self._goes_on(change, row, gone)
        if schedule is None:
            asked, begins = transfers.for_the_other(change, contract), int(change.effective_at.timestamp())
            try:
                self._contracts.check_tax(contract)
                schedule = await self._begin(asked, transfers.items_of(contract), key, begins, correlation_id)
            except (Rejected, NotFound) as refused:
                raise await self._goes_on(change, row, refused) from refused
        subscription = schedule["subscription"] or schedule["released_subscription"]
        names = {"customer": reference(contract, "customer"), "schedule": schedule["id"]} | (
            {"subscription": subscription} if subscription else {}
        )
        return msgspec.structs.replace(contract, state="active", references=names)

    async def _handed_over(self, change: ContractChange, handover: Handover, known: Known) -> Row:
        """Return the subscription that bills a contract which goes to another customer, or stays after all. Raises
        `Rejected` and `NotFound` for a contract that cannot go there, as it is billed now."""
        if not handover.taken_back:
            await self._planned(transfers.ending(change), known)
        row = transfers.the_only_one(change.contract, known.running)
        if not handover.taken_back:
            transfers.check_settled([await self._has_pending(row)])
        return row

    async def _end_with_period(self, change: ContractChange, row: Row) -> None:
        """End a subscription with its period. It may go on in between, so each time has a key of its own."""
        if row["schedule"]:
            path = at("subscription_schedules", row["schedule"], "release")
            await self._client.post(path, f"release:{row['schedule']}")
        await self._client.post(
            at("subscriptions", row["id"]),
            f"transfer:{change.id}:{row['id']}:{self._clock().timestamp()}",
            cancel_at_period_end=True,
            metadata={CHANGES: change_plan.with_change(row["metadata"], change.id), TRANSFER: change.id},
        )

    async def _schedule(self, contract: Contract, key: str) -> Row | None:
        """Return the schedule of a customer with a natural key."""
        every = await self._contracts.schedules_of(reference(contract, "customer"))
        return {each["metadata"].get("tiergate_key"): each for each in every}.get(key)

    async def _stays(self, change: ContractChange, transfer: str, known: Known, schedule: Row | None) -> None:
        """Let the former customer be billed on: what was to begin for the other one is taken back before. An end that
        came with something else stays. Raises `Rejected` where the other one is billed already, or where the last
        period of the former is over and nobody is billed since.

        A transfer may take back itself, where it was not completed: it can be tried again then."""
        if schedule and schedule["status"] == transfers.NOT_STARTED:
            path = at("subscription_schedules", schedule["id"], "cancel")
            await self._client.post(path, f"cancel:{schedule['id']}")
        elif schedule and schedule["status"] != mapping.OVER:
            then = "see to what else is refused, and try again" if change.id == transfer else "transfer it back"
            reason = f"{change.contract.id} is billed to the other customer already: {then}"
            raise Rejected("billing", reason, field="actions[0]")
        if not known.running:
            reason = (
                f"what bills {change.contract.id} has ended for the former customer, and for the other it was taken "
                "back before it began: nobody is billed. Give this up, and begin a subscription for the other in Stripe"
            )
            raise Rejected("billing", reason, field="actions[0]")
        row = next((each for each in known.running if change_plan.has(each, transfer)), None)
        if row and change.id == transfer:
            await self._bill_on(change, row)
        elif row and row["cancel_at_period_end"]:
            await self._client.post(
                at("subscriptions", row["id"]),
                f"change:{change.id}:{row['id']}",
                cancel_at_period_end=False,
                metadata={CHANGES: change_plan.with_change(row["metadata"], change.id), TRANSFER: ""},
            )

    async def _goes_on(self, change: ContractChange, row: Row, refused: PlatformFault) -> PlatformFault:
        """Let the former customer be billed on, where the other one cannot be, and return why. Where its last period is
        over by then, the reason says what stands."""
        if row["status"] in OVER:
            reason = f"{row['id']} of the former customer has ended, and nobody is billed since: {refused.reason}"
            return Rejected("billing", reason, field=refused.field)
        await self._bill_on(change, row)
        return refused

    async def _bill_on(self, change: ContractChange, row: Row) -> None:
        """Let a subscription go on as if a transfer had never ended it."""
        await self._client.post(
            at("subscriptions", row["id"]),
            f"undo:{change.id}:{row['id']}:{self._clock().timestamp()}",
            cancel_at_period_end=False,
            metadata={CHANGES: change_plan.without_change(row["metadata"], change.id), TRANSFER: ""},
        )

    # ---- what is there, and what is to be done

    async def _known(self, contract: Contract) -> Known:
        owner = reference(contract, "customer")
        newest_first = await subscriptions_of(self._client, owner)
        found = [each for each in reversed(newest_first) if is_of(each, contract)]
        return Known(await with_all_items(self._client, found), await self._contracts.schedules_of(owner))

    async def _planned(self, change: ContractChange, known: Known) -> Remaining:
        """Return what is left to be done, of prices and tax rates that are there then. Raises `Rejected` for what
        cannot be done."""
        contract = change.contract
        waiting = [
            each for each in known.schedules if each["status"] == "not_started" and is_of(each["phases"][0], contract)
        ]
        plan = change_plan.planned(change, known.subscriptions, waiting)
        if not change.at_period_end and change.term is None:
            self._check_moment(change, plan)
        if change.term is not None:
            for each in plan.to_change:
                self._end_of(change, each.subscription, change.term.ends_on)
        if change.renewal is not None:
            self._check_terms(change, plan, change.renewal.ends_on)
        if isinstance(change.pause, Pause):
            zone = self._timezone(contract.legal_entity)
            found = self._rest(change, plan)
            rests.check_begins(change, found, self._clock(), zone)
            others = [each for each in known.running if each["id"] not in plan.concerned]
            rests.check_paid(change, found, others, zone)
            rests.check_settled([await self._has_pending(each.subscription) for each in plan.to_change])
        _check_schedules(change, plan, known.schedules)
        items = [item for each in plan.to_change for item in each.items]
        items += [item for each in plan.to_begin for item in each]
        if items:
            self._contracts.check_tax(contract)
            await self._price_list.ensure(contract, [each.lines[0] for each in items])
        return plan

    def _check_moment(self, change: ContractChange, plan: Remaining) -> None:
        """Raise `Rejected` for a moment outside of the period that runs: what was before is billed, and what comes is
        not yet."""
        periods = [period_of(each.subscription) for each in plan.to_change]
        since = [starts for starts, _ in periods]
        since += [_earliest(items[0], self._clock()) for items in plan.to_begin]
        moment, what = int(change.effective_at.timestamp()), f"a change of {change.contract.id} may count"
        if since and moment < max(since):
            reason = f"{what} from {moment_of(max(since)).isoformat()} on: what was before is billed"
            raise Rejected("billing", reason, field="effective_at")
        if periods and moment > min(ends for _, ends in periods):
            until = moment_of(min(ends for _, ends in periods))
            reason = f"{what} until {until.isoformat()}, the end of the period that runs"
            raise Rejected("billing", reason, field="effective_at")

    def _check_terms(self, change: ContractChange, plan: Remaining, day: date) -> None:
        """Raise `Rejected` for a renewal of a term, or for another one, with which not all periods end."""
        last = [(each, self._term_end(change, each.subscription)) for each in plan.to_change]
        begins = [end for _, end in last]
        zone, begun = self._timezone(change.contract.legal_entity), max(begins, default=change.effective_at)
        term = _end_of_term(change, zone)
        if begins and max(begins) - min(begins) > A_MONTHS_END:
            days = " to ".join(f"{each.astimezone(zone):%Y-%m-%d}" for each in (min(begins), max(begins)))
            reason = f"the last periods of the term of {change.contract.id} end on different days, {days}"
            raise Rejected("billing", f"{reason}: remove what began later, and add it again", field="actions[0]")
        cycles = [
            (moment_of(each.subscription["billing_cycle_anchor"]), months_of(each.subscription), end - term)
            for each, end in last
            if not each.ends
        ]
        cycles += [(begun, parts.months(items[0].lines[0]) or 1, begun - term) for items in plan.to_begin if begins]
        until = datetime.combine(day, time(), zone)
        for anchor, months, later in cycles:
            ends = [each for each in ends_near(anchor, months, (until + later).date()) if each > begun]
            if not any(abs(each - later - until) <= A_MONTHS_END for each in ends):
                days = [f"{(each - later).astimezone(zone):%Y-%m-%d}" for each in ends]
                reason = f"a period of {months} months has to end with the new term: take {' or '.join(days)}"
                raise Rejected("billing", reason, field="actions[0].ends_on")

    def _end_of(self, change: ContractChange, row: Row, day: date | None) -> datetime | None:
        """Return when a subscription is to end that ends on `day`: with a period, so that nothing is prorated; None for
        one that has no end. The day on which the contract's own term is over is that of the period which ends next:
        billing may have begun days after the contract. Raises `Rejected` for any other day on which no period
        ends, or a period that is paid beyond."""
        if day is None:
            return None
        ends = ends_near(moment_of(row["billing_cycle_anchor"]), months_of(row), day)
        zone, paid = self._timezone(change.contract.legal_entity), moment_of(period_of(row)[1])
        if found := [each for each in ends if each.astimezone(zone).date() == day and each >= paid]:
            return found[0]
        if day == ends_on(change.contract):
            midnight = datetime.combine(day, time(), zone)
            next_one = min(each for each in (*ends, paid) if each >= max(paid, midnight - A_MONTHS_END))
            if next_one == paid or next_one - midnight <= BEGUN_LATE:
                return next_one
        days = [f"{each.astimezone(zone):%Y-%m-%d}" for each in ends if each >= paid]
        possible = " or ".join(days) or f"{paid.astimezone(zone):%Y-%m-%d}"
        reason = f"a period of {change.contract.id} has to end on the day: take {possible}"
        raise Rejected("billing", reason, field="actions[0].ends_on")

    def _term_end(self, change: ContractChange, row: Row) -> datetime:
        return term_end(change, row, self._timezone(change.contract.legal_entity))

    def _rest(self, change: ContractChange, plan: Remaining) -> Rest:
        rows = [each.subscription for each in plan.to_change]
        return rests.rest(change, rows, self._timezone(change.contract.legal_entity))

    # ---- what is charged by use

    async def _billed_until(self, change: ContractChange, plan: Remaining) -> datetime:
        """Return from when on what is charged by use may end, or have another price: from the end of the period that
        runs, or from its beginning, once what was used before it is billed and nothing of it is.

        Stripe bills what was reported until then at the former price, or not at all (Manage your usage-based billing
        setup: Update prices mid-cycle). Raises `Rejected` for any other moment, and `Conflict` before it is billed.
        """
        rows = [each.subscription for each in plan.to_change]
        begins, ends = {period_of(each)[0] for each in rows}, {period_of(each)[1] for each in rows}
        if not change.at_period_end or change.renewal is not None or len(ends) > 1:
            reason = f"what {change.contract.id} is charged for by use changes at the end of one period"
            raise Rejected("billing", reason, field="effective_at")
        starts_at, ends_at = moment_of(max(begins)), moment_of(max(ends))
        if change.effective_at < starts_at:
            reason = f"the period of {change.contract.id} ended on {starts_at:%Y-%m-%d}: give the change up, ask again"
            raise Rejected("billing", reason, field="effective_at")
        if change.effective_at > starts_at:
            return ends_at
        for each in rows:
            if await self._client.listed(at("invoices"), subscription=each["id"], status="draft"):
                reason = f"what was used before {starts_at.isoformat()} is not billed yet"
                raise Conflict("billing", reason, field="effective_at", retry_after=float(UNTIL_BILLED))
        return starts_at

    # ---- previews

    async def _preview(self, change: ContractChange, target: ChangedSubscription, place: int) -> InvoicePreview | None:
        """Return the invoice that a change of one subscription brings, None where it brings none."""
        row, how = target.subscription, _prorated(change, target)
        if how != "none" or (change.renewal is not None and not target.ends):
            details = {name: each for name, each in self._wanted(change, target).items() if name in PREVIEWED}
        elif target.ends and await self._has_pending(row):
            details = {"cancel_now": True, "proration_behavior": "none"}
        else:
            return None
        source = await self._client.previewed(subscription=row["id"], subscription_details=details)
        if source is None:
            return None
        lines = await self._lines(source)
        moment = int(change.effective_at.timestamp())
        is_for_it = any(previews.is_proration(each) and each["period"]["start"] >= moment for each in lines)
        if how == "always_invoice" and not is_for_it:
            return None  # it is the next regular one: nothing is charged for the change
        sold = Sold(
            change.contract.currency,
            {item["id"]: tuple(parts.line_ids(item["metadata"])) for item in row["items"]["data"]},
            self._sold_at(change.contract, target.items),
            period_of(row),
            await self._charges(source["id"], lines),
            self._price_list.months,
        )
        return await self._shown(change, source, lines, row["metadata"], sold, place)

    async def _preview_new(
        self, change: ContractChange, items: tuple[Item, ...], correlation_id: str, place: int
    ) -> tuple[InvoicePreview, ...]:
        """Return the first invoice of a subscription that is to begin: none where it is charged by use alone."""
        if all(each.quantity is None for each in items):
            return ()
        phase = await self._phase(change, items, correlation_id)
        settings: Row = phase.get("invoice_settings", {})
        asked = phase | {
            "start_date": int(change.effective_at.timestamp()),
            "invoice_settings": {"days_until_due": settings.get("days_until_due")},
        }
        owner = reference(change.contract, "customer")
        source = await self._client.previewed(customer=owner, schedule_details={"phases": [asked]})
        if source is None:
            raise Rejected("billing", f"Stripe would bill nothing for {items[0].lines[0].name}", field="lines")
        lines, currency = await self._lines(source), change.contract.currency
        sold_at = self._sold_at(change.contract, items)
        sold = Sold(currency, {}, sold_at, None, {}, self._price_list.months)
        shown = source | {"custom_fields": settings.get("custom_fields")}
        return (await self._shown(change, shown, lines, phase["metadata"], sold, place),)

    async def _shown(
        self, change: ContractChange, source: Row, lines: list[Row], metadata: Row, sold: Sold, place: int
    ) -> InvoicePreview:
        """Return a preview, by the same reading as that of an invoice which exists."""
        known = self._price_list
        await known.learn(lines)
        key = f"{change.id}:preview" if not place else f"{change.id}:preview.{place + 1}"
        named = source | {"id": key, "parent": {"subscription_details": {"metadata": metadata}}}
        nobodys = [each | {"id": ""} for each in lines]  # those of a preview are good for nothing
        invoice = invoices.invoice(named, nobodys, [], known.rates, known.terms, self._timezone)
        return InvoicePreview(invoice, tuple(previews.charged_part(each, sold) for each in lines))

    async def _lines(self, source: Row) -> list[Row]:
        return await self._client.whole(source["lines"], at("invoices", source["id"], "lines"))

    def _sold_at(self, contract: Contract, items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
        """Return the ids of the lines of items, by Stripe's ids of their prices."""
        prices = self._price_list.prices
        return {
            prices[parts.price_key(each.lines[0], contract.id)]: tuple(line.id for line in each.lines) for each in items
        }

    async def _charges(self, preview_id: str, lines: list[Row]) -> dict[str, Row]:
        """Return what was charged and is credited by lines of a preview, which may credit what stands in it as well."""
        found = {each["id"]: each for each in lines}
        for invoice in {earlier[0] for each in lines if (earlier := previews.credited(each))} - {preview_id}:
            if invoice != lines[0]["invoice"]:
                charged = await self._client.listed(at("invoices", invoice, "lines"))
                found |= {each["id"]: each for each in charged}
        return found

    async def _has_pending(self, row: Row) -> bool:
        """Return whether an earlier change has left something to the next invoice of a subscription."""
        pending = await self._client.listed(at("invoiceitems"), customer=row["customer"], pending=True)
        parents: list[Row] = [each["parent"] for each in pending if each["parent"]]
        details: list[Row] = [each["subscription_details"] for each in parents if each["subscription_details"]]
        return any(each["subscription"] == row["id"] for each in details)

    # ---- writes

    async def _update(self, change: ContractChange, target: ChangedSubscription) -> None:
        """Change one subscription, without its schedule from then on, unless that ends with it."""
        row = target.subscription
        if row["schedule"] and (change.at_period_end or not target.ends):
            path = at("subscription_schedules", row["schedule"], "release")
            await self._client.post(path, f"release:{row['schedule']}")
        await self._client.post(
            at("subscriptions", row["id"]),
            f"change:{change.id}:{row['id']}",
            **self._wanted(change, target),
            metadata={CHANGES: change_plan.with_change(row["metadata"], change.id)},
        )

    async def _end(self, row: Row) -> None:
        """Cancel a subscription that bills nothing any more, with its schedule, and bill what an earlier change has
        left to its next invoice."""
        how = {"invoice_now": True, "prorate": False}
        if row["schedule"]:
            path = at("subscription_schedules", row["schedule"], "cancel")
            await self._client.post(path, f"end:{row['schedule']}", **how)
        else:
            await self._client.delete(at("subscriptions", row["id"]), **how)

    def _wanted(self, change: ContractChange, target: ChangedSubscription) -> Row:
        """Return how one subscription is changed."""
        row, how = target.subscription, _prorated(change, target)
        if change.term is not None:
            ends = self._end_of(change, row, change.term.ends_on)
            return {"cancel_at": int(ends.timestamp()) if ends else "", "proration_behavior": "none"}
        if change.pause is not None:
            found = rests.rest(change, [row], self._timezone(change.contract.legal_entity))
            return {"pause_collection": rests.collection(change.pause, found)}
        if target.ends and change.at_period_end:
            return {"cancel_at_period_end": True}
        wanted: Row = {"proration_behavior": how}
        if how != "none":
            wanted |= {"proration_date": int(change.effective_at.timestamp()), "off_session": True}
        if target.ends:
            return wanted | {"items": mapping.ended_items(row)}
        if row["cancel_at_period_end"]:  # it was to end, and goes on: to the end that was agreed, if there is one
            agreed = self._end_of(change, row, change.contract.ends_on if change.renewal is None else None)
            wanted |= {"cancel_at": int(agreed.timestamp())} if agreed else {"cancel_at_period_end": False}
        elif change.renewal is not None and row["cancel_at"]:
            wanted["cancel_at"] = ""
        known = self._price_list
        wanted["items"] = mapping.changed_items(row, target.items, change.contract, known.prices, known.tax_rates)
        memo = mapping.memo(target.items)
        if memo != (row["invoice_settings"]["description"] or ""):
            wanted["invoice_settings"] = {"description": memo}
        return wanted

    async def _begin(
        self, change: ContractChange, items: tuple[Item, ...], key: str, begins: int, correlation_id: str
    ) -> Row:
        phase, owner = await self._phase(change, items, correlation_id), reference(change.contract, "customer")
        return await self._contracts.create_schedule(owner, key, phase, begins, correlation_id)

    async def _phase(self, change: ContractChange, items: tuple[Item, ...], correlation_id: str) -> Row:
        """Return the phase of a subscription that is to begin."""
        buyer = await self._contracts.buyer(reference(change.contract, "customer"))
        phase = await self._contracts.collected_phase(change.contract, Part(items), buyer, correlation_id)
        return phase | {"metadata": phase["metadata"] | {CHANGES: change.id}}

    async def _issued(self, change: ContractChange, subscription_id: str) -> list[str]:
        """Let the invoices of one subscription that a change has brought be issued. Return their ids, the first one
        first."""
        found: list[str] = []
        for each in reversed(await self._client.listed(at("invoices"), subscription=subscription_id)):
            named = change_plan.changes_of(each["parent"]["subscription_details"]["metadata"])
            if each["billing_reason"] in OF_A_CHANGE and named[-1:] == [change.id]:
                await self._contracts.issue(each)
                found.append(each["id"])
        return found


def _prorated(change: ContractChange, target: ChangedSubscription) -> str:
    """Return how the part of a period that is affected is settled. What ends has no next invoice."""
    if change.at_period_end or change.paused:  # of what is void, nothing is paid
        return "none"
    return "always_invoice" if target.ends and change.settlement != "none" else PRORATED[change.settlement]


def _check_schedules(change: ContractChange, plan: Remaining, schedules: Sequence[Row]) -> None:
    """Raise `Rejected` where a schedule is to do more than to end: a further phase would take the change back."""
    managing = {each.subscription["schedule"] for each in plan.to_change}
    for each in schedules:
        if each["id"] in managing and each["phases"][-1]["start_date"] > each["current_phase"]["start_date"]:
            reason = (
                f"people have planned further phases of {each['id']}, which bills {change.contract.id}: "
                "take them away in Stripe, or wait until they have begun"
            )
            raise Rejected("billing", reason, field="contract.references")


def _keys(change: ContractChange, count: int, taken: Sequence[str] | dict[str, Row] = ()) -> list[str]:
    """Return as many natural keys of schedules that a change makes as there can be, those that are taken left out."""
    group = msgspec.structs.replace(change.contract, group=change.id)
    keys = (mapping.contract_key(group, place) for place in range(1, count + len(taken) + 1))
    return [each for each in keys if each not in taken][:count]


def _after(
    change: ContractChange, schedules: list[str], subscriptions: list[str], invoices_of_it: list[str]
) -> Contract:
    """Return a contract as it runs after a change, which names the invoices of the change alone."""
    before = change.contract
    kept = {name: each for name, each in before.references.items() if name.partition(".")[0] != "invoice"}
    if change.term is not None:
        before = with_end(before, change.term.ends_on)
    if change.renewal is not None:
        before = renewed(before, change.renewal.ends_on)
    after = msgspec.structs.replace(
        before, lines=change.lines, state="active" if change.lines else "cancelled", references=kept
    )
    for name, more in (("schedule", schedules), ("subscription", subscriptions), ("invoice", invoices_of_it)):
        named = after.named(name)
        after = with_references(after, name, [*named, *(each for each in more if each not in named)])
    return after


def term_end(change: ContractChange, row: Row, zone: tzinfo) -> datetime:
    """Return the end of the last period of a subscription in the term that a renewal follows: within days of the term,
    or later by as much as billing began later than the contract. Raises `Rejected` where no period ends so."""
    paid, until = moment_of(period_of(row)[1]), _end_of_term(change, zone)
    for each in ends_near(moment_of(row["billing_cycle_anchor"]), months_of(row), until.date()):
        if -A_MONTHS_END <= each - until <= BEGUN_LATE and each >= paid:
            return each
    reason = (
        f"the term of {change.contract.id} ends on {ends_on(change.contract)}, and no period of {months_of(row)} "
        f"months ends with it: the one that runs ends on {paid:%Y-%m-%d}. Agree to that end first, with `term`"
    )
    raise Rejected("billing", reason, field="actions[0]")


def _end_of_term(change: ContractChange, zone: tzinfo) -> datetime:
    day = ends_on(change.contract)
    return datetime.combine(day, time(), zone) if day else change.effective_at


def _before_last_period(change: ContractChange, plan: Remaining, zone: tzinfo) -> Row | None:
    """Return a subscription that a renewal changes, and that has more periods in the term; None if there is none."""
    rows = (each.subscription for each in plan.to_change)
    return next((each for each in rows if moment_of(period_of(each)[1]) != term_end(change, each, zone)), None)


def _earliest(item: Item, now: datetime) -> int:
    """Return from when on a new item can begin, in seconds since 1970: its first period has to run still."""
    first = months_after(now.date(), -(parts.months(item.lines[0]) or 1)) + timedelta(days=1)
    return int(datetime.combine(first, time(), UTC).timestamp())
