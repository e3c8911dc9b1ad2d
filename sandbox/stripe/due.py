"""What is due: phases, periods, ends, pauses, drafts that finalize and payments (Billing: How subscriptions work)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from sandbox.stripe.account import Account
from sandbox.stripe.billing import Billing
from sandbox.stripe.dunning import Dunning
from sandbox.stripe.objects import Object
from sandbox.stripe.payments import SEPA_DAYS, Payments
from sandbox.stripe.periods import DAY
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.subscriptions import Subscriptions

GRACE = 5
"""Seconds in which the client that finalized an invoice may also charge it, before the platform does."""
RUNNING = ("active", "past_due", "unpaid", "incomplete")


class Later(Protocol):
    """What time does to one kind of object."""

    def tick(self, clock: str | None) -> None:
        """Do what is due."""
        ...

    def moments(self, clock: str | None) -> Iterator[int]:
        """Return when something is due."""
        ...


class Due:
    """Do what is due at the account's time, for what belongs to one test clock or to none."""

    def __init__(
        self,
        account: Account,
        billing: Billing,
        payments: Payments,
        subscriptions: Subscriptions,
        schedules: Schedules,
        later: Sequence[Later],
    ) -> None:
        self.account = account
        self.billing = billing
        self.invoicing = billing.invoicing
        self.payments = payments
        self.subscriptions = subscriptions
        self.schedules = schedules
        self.later = later
        self.dunning = Dunning(account, billing, subscriptions)

    def tick(self, clock: str | None = None) -> None:
        """Do what is due: start schedules, go on to phases and periods, finalize drafts, retry payments."""
        now = self.account.clock.seconds()
        for schedule in self._of("subscription_schedule", clock):
            if schedule["status"] == "not_started" and schedule["phases"][0]["start_date"] <= now:
                self.schedules.begin(schedule)
        for subscription in self._of("subscription", clock):
            self.go_on(subscription["id"], now)
        for each in self.payments.tick(clock):
            self.dunning.follow(each)
        for each in self._of("invoice", clock):
            self._collect(each, now)
        for each in self.later:
            each.tick(clock)
        self.payments.ledger.tick()

    def catch_up(self, clock: str | None, start: int, target: int) -> None:
        """Do all that is due from `start` to `target`, each at its own moment."""
        moment: int | None = start
        while moment is not None and moment < target:
            with self.account.at(moment):
                self.tick(clock)
            moment = self.next(clock, moment)
        with self.account.at(target):
            self.tick(clock)

    def _of(self, kind: str, clock: str | None) -> Iterator[Object]:
        return (each for each in self.account.all(kind) if self.account.clock_of(each["customer"]) == clock)

    def bill_next(self, clock: str | None, key: str) -> bool:
        """Go on to what is due next for a subscription or a schedule alone, and hold the time there.

        Return whether anything is.
        """
        moment = self.next(clock, self.account.clock.seconds(), key)
        if moment is None:
            return False
        self.account.clock.held = moment
        found = self.account.find("subscription_schedule", key)
        if found and found["status"] == "not_started":
            self.schedules.begin(found)
        else:
            self.go_on(found["subscription"] if found else key, moment)
        return True

    def next(self, clock: str | None, after: int, subscription: str | None = None) -> int | None:
        """Return the next moment `after` this one at which something is due, None where nothing is.

        With `subscription` only what bills that counts.
        """
        moments: list[int | None] = []
        for each in self._of("subscription_schedule", clock):
            if each["status"] == "not_started" and subscription in (None, each["id"]):
                moments.append(each["phases"][0]["start_date"])
            elif each["status"] == "active" and subscription in (None, each["id"], each["subscription"]):
                moments.append(each["current_phase"]["end_date"])
        for each in self._of("subscription", clock):
            if each["status"] in RUNNING and subscription in (None, each["id"], each["schedule"]):
                pause: Object = each["pause_collection"] or {"resumes_at": None}
                moments += [each["items"]["data"][0]["current_period_end"], pause["resumes_at"]]
        if subscription is None:
            moments += self._collections(clock)
        return min((each for each in moments if each is not None and each > after), default=None)

    def _collections(self, clock: str | None) -> Iterator[int | None]:
        """Return when invoices are finalized and collected."""
        for each in self._of("invoice", clock):
            if each["status"] == "draft" and each["auto_advance"]:
                yield each["automatically_finalizes_at"]
            elif each["status"] == "open" and each["next_payment_attempt"]:
                yield each["next_payment_attempt"] + GRACE
            elif _is_sent(each):
                yield each["due_date"]
        for each in self._of("charge", clock):
            if each["status"] == "pending":
                yield each["created"] + SEPA_DAYS * DAY
        for each in self.later:
            yield from each.moments(clock)

    def go_on(self, key: str, now: int) -> None:
        """Take a subscription through the phases and periods that have passed, in their order.

        A phase that ends with a period ends before it: the next period is billed as the next phase says.
        """
        while True:
            subscription = self.account.get("subscription", key)
            if subscription["status"] not in RUNNING:
                return
            schedule = self.account.find("subscription_schedule", subscription["schedule"] or "")
            period: int = subscription["items"]["data"][0]["current_period_end"]
            phase: int = schedule["current_phase"]["end_date"] if schedule else now + 1
            if self._resumed(subscription, min(phase, period, now)):
                continue
            if min(phase, period) > now:
                return
            if schedule and phase <= period:
                self.schedules.advance(schedule)
            elif subscription["status"] == "incomplete":
                return
            else:
                self.subscriptions.roll(subscription)

    def _resumed(self, subscription: Object, moment: int) -> bool:
        """End a pause whose time is over at a moment, and return whether it is: what is billed after that is collected
        (Pause payment collection)."""
        paused: Object | None = subscription["pause_collection"]
        if not paused or not paused["resumes_at"] or paused["resumes_at"] > moment:
            return False
        before = dict(subscription)
        self.account.save(subscription | {"pause_collection": None}, "customer.subscription.updated", before)
        return True

    def _collect(self, invoice: Object, now: int) -> None:
        if (
            invoice["status"] == "draft"
            and invoice["auto_advance"]
            and (invoice["automatically_finalizes_at"] or now + 1) <= now
        ):
            invoice = self.invoicing.finalize(invoice, by_itself=True)
            self._without_tax(invoice)
        if _is_sent(invoice) and invoice["due_date"] <= now and invoice["subscription"]:
            self.billing.follow(invoice["subscription"])
        attempt = invoice["next_payment_attempt"]
        if invoice["status"] == "open" and attempt and attempt + GRACE <= now:
            self.payments.collect(invoice)
            self.dunning.follow(invoice)

    def _without_tax(self, invoice: Object) -> None:
        """Stop to tax what went on without tax (Collect customer addresses: Invoice finalization errors)."""
        if not invoice["automatic_tax"]["disabled_reason"] or not invoice["subscription"]:
            return
        subscription = self.account.get("subscription", invoice["subscription"])
        off = {"enabled": False, "disabled_reason": "requires_location_inputs"}
        subscription["automatic_tax"] |= off
        self.account.save(subscription, "customer.subscription.updated")
        if schedule := self.account.find("subscription_schedule", subscription["schedule"] or ""):
            for each in (schedule["default_settings"], *_phases(schedule)):
                each["automatic_tax"] |= off
            self.account.save(schedule, "subscription_schedule.updated")

    # ---- the end of a customer

    def end_all(self, customer: Object) -> None:
        """Cancel all that bills a customer, and collect nothing more (API reference: Delete a customer)."""
        for schedule in self.account.all("subscription_schedule"):
            if schedule["customer"] == customer["id"] and schedule["status"] in ("not_started", "active"):
                self.schedules.cancel(schedule, {"prorate": "false", "invoice_now": "false"})
        for subscription in self.account.all("subscription"):
            if subscription["customer"] == customer["id"] and subscription["status"] != "canceled":
                self.subscriptions.cancel(subscription, {})
        self.invoicing.stop_collection(customer["id"], "draft", "open")


def _is_sent(invoice: Object) -> bool:
    """Return whether an invoice waits for the customer to pay it by a day."""
    return invoice["status"] == "open" and bool(invoice["due_date"])


def _phases(schedule: Object) -> Iterator[Object]:
    """Return the phases that are not over."""
    start = schedule["current_phase"]["start_date"] if schedule["current_phase"] else 0
    yield from (each for each in schedule["phases"] if each["start_date"] >= start)
