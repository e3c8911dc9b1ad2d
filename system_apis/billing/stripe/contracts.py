"""Contracts as schedules of Stripe: prepared, started with what was delivered, and undone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import tzinfo

import msgspec

from canonical.billing import Contract
from canonical.faults import NotFound, Rejected
from canonical.ids import Clock
from policies.context import correlation
from system_apis.billing.stripe import mapping, parts
from system_apis.billing.stripe.client import Declined, Row, Settings, StripeClient, at
from system_apis.billing.stripe.parts import Part
from system_apis.billing.stripe.price_list import PriceList

FIRST_INVOICE = ["subscription.latest_invoice"]
NOT_COLLECTED = ("tiergate_collection", "stopped")
"""What people write to the metadata of an invoice that is not to be collected, as one that is in dispute."""
TWO_CURRENCIES = "combine currencies"
"""What Stripe says, without a code or a field, when a customer is billed in another currency already."""


class Contracts:
    """Put, start and cancel the contracts of one account."""

    def __init__(
        self,
        client: StripeClient,
        price_list: PriceList,
        settings: Settings,
        instance: str,
        clock: Clock,
        timezone: Callable[[str], tzinfo],
    ) -> None:
        self._client = client
        self._price_list = price_list
        self._automatic_tax = settings.automatic_tax
        self._instance = instance
        self._clock = clock
        self._timezone = timezone

    async def put(self, contract: Contract, correlation_id: str) -> Contract:
        """Create the schedules of a contract, which bill nothing yet."""
        owner = reference(contract, "customer")
        all_of_owner = await self.schedules_of(owner)
        known = _keyed(all_of_owner, contract)
        wanted = parts.split(contract.lines)
        keys = [mapping.contract_key(contract, place) for place in range(1, len(wanted) + 1)]
        if not known.keys() >= set(keys):
            self.check_tax(contract)
        buyer = await self.buyer(owner)
        held_until = mapping.held_until(contract, self._timezone(contract.legal_entity), self._clock())
        for key, part in zip(keys, wanted, strict=True):
            if key not in known:
                phase = await self.collected_phase(contract, part, buyer, correlation_id)
                known[key] = await self.create_schedule(owner, key, phase, held_until, correlation_id)
        await self._send_invoices_to(buyer, mapping.recipient([*all_of_owner, *known.values()]))
        return with_references(contract, "schedule", [known[key]["id"] for key in keys])

    async def create_schedule(self, owner: str, key: str, phase: Row, begins: int, correlation_id: str) -> Row:
        """Return the schedule of a natural key, which begins at a moment in seconds since 1970. When its phase is over
        its subscription goes on."""
        try:
            return await self._client.create(
                at("subscription_schedules"),
                f"schedule:{key}",
                customer=owner,
                start_date=begins,
                end_behavior="release",
                metadata={"tiergate_key": key, "tiergate_correlation": correlation_id},
                phases=[phase],
            )
        except Rejected as refused:
            if TWO_CURRENCIES not in refused.reason:
                raise
            raise Rejected("billing", refused.reason, field="currency") from refused

    def check_tax(self, contract: Contract) -> None:
        """Raise `Rejected` where the ERP's mapping and the settings do not say the same of who decides about tax."""
        if contract.taxed_by_billing == self._automatic_tax:
            return
        seller, setting = contract.legal_entity, f"automatic_tax of {self._instance}"
        reason = (
            f"the ERP's mapping leaves the tax of {seller} to billing: set {setting}, or give {seller} tax_rules"
            if contract.taxed_by_billing
            else f"the ERP's mapping has tax_rules for {seller}: take {setting} away, or name billed_taxes instead"
        )
        raise Rejected("billing", reason, field="tax")

    async def buyer(self, owner: str) -> Row:
        """Return the customer of a contract. Raises `NotFound` for one that was deleted."""
        customer = await self._client.get(at("customers", owner))
        if customer.get("deleted"):
            raise NotFound("billing", f"the customer {owner} was deleted", field="references.customer")
        return customer

    async def _send_invoices_to(self, buyer: Row, recipient: str) -> None:
        """Let invoices be sent to who gets all of a customer's, or else to its contact.

        Stripe sends each to the customer's own address, and has none for a contract (Send customer emails).
        """
        mail = recipient or buyer["metadata"].get("tiergate_email") or buyer["email"]
        if mail != buyer["email"]:
            key = f"email:{buyer['id']}:{mail}:{correlation.current()}"
            await self._client.post(at("customers", buyer["id"]), key, email=mail)

    async def schedules_of(self, owner: str) -> list[Row]:
        """Return all schedules of a customer, the newest first."""
        return await self._client.listed(at("subscription_schedules"), customer=owner)

    async def _schedules(self, contract: Contract) -> dict[str, Row]:
        """Return the schedules of a contract by their natural keys, the first one first."""
        return _keyed(await self.schedules_of(reference(contract, "customer")), contract)

    async def start(self, contract: Contract) -> Contract:
        """Move the schedules' start to the contract's first day, or to now when that has come, with the lines that were
        provisioned. The first invoices of what has begun are finalized; what begins later is billed by Stripe.

        A schedule of which no line was provisioned is cancelled. A declined card stops nothing here: the invoice stays
        open, and Stripe goes on trying to collect it.
        """
        reference(contract, "schedule")  # there is one, or it is refused
        held = [await self._client.get(at("subscription_schedules", each)) for each in contract.named("schedule")]
        left = [parts.delivered(each["phases"][0], contract.lines) for each in held]
        wanted = [(row, items) for row, items in zip(held, left, strict=True) if items] or [(held[0], ())]
        for row in held:
            if row["status"] == "not_started" and row["id"] not in [each["id"] for each, _ in wanted]:
                await self._client.post(at("subscription_schedules", row["id"], "cancel"), f"cancel:{row['id']}")
        started = [
            await self._start(contract, row, part)
            for (row, _), part in zip(
                wanted, parts.with_once([items for _, items in wanted], contract.lines), strict=True
            )
        ]
        active = msgspec.structs.replace(contract, state="active")
        begun = [each for each in started if each is not None]
        with_subscriptions = with_references(active, "subscription", [subscription for subscription, _ in begun])
        return with_references(with_subscriptions, "invoice", [invoice for _, invoice in begun if invoice])

    async def _start(self, contract: Contract, schedule: Row, part: Part) -> tuple[str, str] | None:
        """Start one schedule. Return the ids of its subscription and its first invoice, None when it begins later."""
        if schedule["status"] == "canceled":  # by people, or before a restore to an earlier moment
            raise Rejected("billing", f"the schedule of {contract.id} is canceled", field="state")
        begins = mapping.first_moment(contract, self._timezone(contract.legal_entity))
        begins_at = int(begins.timestamp()) if begins > self._clock() else "now"
        path = at("subscription_schedules", schedule["id"])
        if schedule["status"] == "not_started":
            held: Row = schedule["phases"][0]
            phase = await self._phase(contract, part, held["metadata"]["tiergate_correlation"]) | {
                "start_date": begins_at
            }
            if held["collection_method"]:
                days = held["invoice_settings"]["days_until_due"]
                by_invoice = {
                    "collection_method": held["collection_method"],
                    "invoice_settings": {"days_until_due": days},
                }
                phase = _collected(phase, by_invoice)
            key = f"start:{schedule['metadata']['tiergate_key']}"
            schedule = await self._client.post(path, key, phases=[phase], expand=FIRST_INVOICE)
        else:
            schedule = await self._client.get(path, expand=FIRST_INVOICE)
        if schedule["status"] == "not_started" and begins_at != "now":
            return None
        return await self.first_invoice(contract, schedule)

    async def first_invoice(self, contract: Contract, schedule: Row) -> tuple[str, str]:
        """Issue the first invoice of a schedule that has begun, which is expanded by `FIRST_INVOICE`. Return the ids of
        its subscription and of that invoice; an empty one where there is none, as of what is charged by use alone
        (Compare classic and flexible billing mode: Suppress zero-amount line items)."""
        subscription: Row | None = schedule["subscription"]
        if released := schedule["released_subscription"]:
            subscription = await self._client.get(at("subscriptions", released), expand=["latest_invoice"])
        if subscription is None:
            raise Rejected("billing", f"the schedule of {contract.id} is {schedule['status']}", field="state")
        invoice: Row | None = subscription["latest_invoice"]
        if invoice is None:
            return subscription["id"], ""
        await self.issue(invoice)
        return subscription["id"], invoice["id"]

    async def issue(self, invoice: Row) -> None:
        """Finalize an invoice that is a draft, and charge it where that is how it is collected and was not tried yet.

        A declined card stops nothing: the invoice stays open, and Stripe goes on trying to collect it.
        """
        if invoice["status"] == "draft":
            invoice = await self._client.post(at("invoices", invoice["id"], "finalize"), f"finalize:{invoice['id']}")
        by_itself = invoice["collection_method"] == "charge_automatically" and not invoice["attempted"]
        if invoice["status"] == "open" and by_itself:
            with contextlib.suppress(Declined):
                await self._client.post(at("invoices", invoice["id"], "pay"), f"pay:{invoice['id']}")

    async def cancel(self, contract: Contract) -> None:
        """Undo what was put and started of a contract. Do nothing for one that does not exist."""
        for schedule in (await self._schedules(contract)).values() if "customer" in contract.references else ():
            if schedule["status"] in ("not_started", "active"):
                await self._client.post(
                    at("subscription_schedules", schedule["id"], "cancel"), f"cancel:{schedule['id']}"
                )
            elif left := schedule["released_subscription"] or schedule["subscription"]:
                await self._end(left)

    async def collect(self, contract: Contract) -> None:
        """Let the open invoices of a contract be collected by Stripe again.

        Stripe stops that for all that a customer owes when any of its subscriptions is cancelled (API reference: Cancel
        a subscription). An invoice that people have marked as `NOT_COLLECTED` is left as it is.
        """
        owner = reference(contract, "customer")
        for each in await self._client.listed(at("invoices"), customer=owner, status="open"):
            is_stopped = not each["auto_advance"] and NOT_COLLECTED not in each["metadata"].items()
            if is_stopped and contract_of(each) == contract.id:
                key = f"collect:{each['id']}:{int(self._clock().timestamp())}"  # it may be stopped again soon
                await self._client.post(at("invoices", each["id"]), key, auto_advance=True)

    async def _end(self, subscription_id: str) -> None:
        """Cancel a subscription that has outlived its schedule, unless it is over."""
        subscription = await self._client.get(at("subscriptions", subscription_id))
        if subscription["status"] != "canceled":
            await self._client.delete(at("subscriptions", subscription_id))

    async def collected_phase(self, contract: Contract, part: Part, buyer: Row, correlation_id: str) -> Row:
        """Return the phase that bills a part of a contract, with how its invoices are collected from a customer."""
        phase = await self._phase(contract, part, correlation_id)
        return _collected(phase, _collection(buyer, contract.invoicing.days_until_due))

    async def _phase(self, contract: Contract, part: Part, correlation_id: str) -> Row:
        await self._price_list.ensure(contract, [each.lines[0] for each in part.items])
        return mapping.phase(contract, part, self._price_list.prices, self._price_list.tax_rates, correlation_id)


async def subscriptions_of(client: StripeClient, owner: str) -> list[Row]:
    """Return all subscriptions that a customer has or had, the newest first. They may lack some of their items."""
    return await client.listed(at("subscriptions"), customer=owner, status="all")


async def with_all_items(client: StripeClient, subscriptions: list[Row]) -> list[Row]:
    """Return subscriptions with all of their items."""
    for each in subscriptions:
        path = at("subscription_items")
        each["items"]["data"] = await client.whole(each["items"], path, subscription=each["id"])
    return subscriptions


def is_of(subscription: Row, contract: Contract) -> bool:
    """Return whether a subscription, or the phase of a schedule, is of a contract."""
    metadata: Row = subscription["metadata"]
    return metadata.get("tiergate_contract") == contract.id


def contract_of(invoice: Row) -> str:
    """Return the id of the contract that an invoice is of, empty for one of no contract."""
    parent: Row = invoice["parent"] or {}
    details: Row = parent.get("subscription_details") or {}
    metadata: Row = details.get("metadata") or {}
    return metadata.get("tiergate_contract", "")


def _keyed(schedules: list[Row], contract: Contract) -> dict[str, Row]:
    """Return those schedules that are a contract's by their natural keys, the first one first."""
    key = mapping.contract_key(contract)
    keyed = {each["metadata"].get("tiergate_key", ""): each for each in reversed(schedules)}
    return {each: row for each, row in keyed.items() if each == key or each.startswith(f"{key}#")}


def _collection(buyer: Row, days_until_due: int | None) -> Row:
    """Return how a customer is asked for money: by its payment method, or by an invoice that it pays by itself, which
    it does where days for that were agreed."""
    if buyer["invoice_settings"]["default_payment_method"] is not None and days_until_due is None:
        return {}
    days = mapping.DAYS_UNTIL_DUE if days_until_due is None else days_until_due
    return {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": days}}


def _collected(phase: Row, by: Row) -> Row:
    """Return a phase with how its invoices are collected, beside what else is said of them."""
    settings: Row = phase.get("invoice_settings", {}) | by.get("invoice_settings", {})
    return phase | by | ({"invoice_settings": settings} if settings else {})


def reference(contract: Contract, name: str) -> str:
    """Return billing's own id of a record that a contract depends on.

    Raises `Rejected` when the contract does not name it.
    """
    if name not in contract.references:
        raise Rejected("billing", f"the contract {contract.id} names no {name}", field=f"references.{name}")
    return contract.references[name]


def with_references(contract: Contract, name: str, ids: list[str]) -> Contract:
    """Return a contract that names one or several records: `schedule`, `schedule.2`, and so on."""
    named = {name if place == 1 else f"{name}.{place}": each for place, each in enumerate(ids, 1)}
    return msgspec.structs.replace(contract, references=contract.references | named)
