"""A contract that runs at a stand-in of Stripe: what tests of its changes and pauses begin with."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.amendments import BillingPreview, ContractChange
from canonical.billing import Contract, Invoice
from canonical.deals import PricedLine
from canonical.faults import TRANSIENT, Rejected
from canonical.money import Money
from system_apis.billing.port import Billing
from tests.support.connector_kit import samples
from tests.support.connector_kit.loopback import ALWAYS, Seen, Trouble
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import StripeAccount

DAY = 24 * 3600
AMENDMENT = "amd_1"


class Sale:
    """A contract of a customer that pays by card, which runs at a stand-in."""

    def __init__(self, account: StripeAccount, made: Bench[Billing], key: str = "1") -> None:
        self.account = account
        self.made = made
        self.key = key
        self.contract: Contract = samples.contract(f"con_{key}", "", "", (seat(),), made.clock().date())

    async def start(self, *lines: PricedLine, **terms: Any) -> Contract:
        buyer = samples.customer(f"cus_{self.key}", payment_method="pm_card_visa")
        reference = await self.made.call(lambda: self.made.connector.put_customer(buyer))
        wanted = samples.contract(f"con_{self.key}", buyer.id, reference, lines, self.made.clock().date())
        wanted = msgspec.structs.replace(wanted, **terms)
        put = await self.made.call(lambda: self.made.connector.put_contract(wanted, "correlation-1"))
        self.contract = await self.made.call(lambda: self.made.connector.start(put))
        return self.contract

    def wait(self, days: float) -> None:
        self.account.wait(days * DAY)
        self.made.offset += timedelta(days=days)

    def change(self, *lines: PricedLine, key: str = AMENDMENT, **how: Any) -> ContractChange:
        """Return a change to these lines, which counts from now on if nothing else is said."""
        how = {"effective_at": self.made.clock().replace(microsecond=0)} | how
        return ContractChange(key, self.contract, lines, **how)

    async def preview(self, change: ContractChange) -> BillingPreview:
        return await self.made.call(lambda: self.made.connector.preview_change(change, "correlation-1"))

    async def carry_out(self, change: ContractChange) -> Contract:
        return await self.made.call(lambda: self.made.connector.change(change, "correlation-1"))

    async def amend(self, change: ContractChange) -> list[Invoice]:
        """Carry out a change, let the contract be what it is then, and return the invoices of the change."""
        self.contract = await self.carry_out(change)
        return [await self.read(each) for each in self.contract.named("invoice")]

    async def refused(self, change: ContractChange) -> Rejected:
        """Return how a change is refused, whether it is previewed or carried out."""
        before = self.state()
        with pytest.raises(Rejected) as previewed:
            await self.preview(change)
        with pytest.raises(Rejected) as carried_out:
            await self.carry_out(change)
        assert str(previewed.value) == str(carried_out.value)
        assert self.state() == before
        return carried_out.value

    async def read(self, invoice: str) -> Invoice:
        return await self.made.call(lambda: self.made.connector.invoice(invoice))

    def own(self, kind: str) -> list[dict[str, Any]]:
        customer = self.contract.references["customer"]
        return [each for each in self.account.account.all(kind) if each["customer"] == customer]

    def subscriptions(self) -> list[dict[str, Any]]:
        return self.own("subscription")

    def items(self) -> list[list[tuple[int, int]]]:
        """Return amount and quantity of all items of each subscription that is not over."""
        return [
            [(each["price"]["unit_amount"], each["quantity"]) for each in subscription["items"]["data"]]
            for subscription in self.subscriptions()
            if subscription["status"] != "canceled"
        ]

    def statuses(self) -> list[tuple[str, bool]]:
        return [(each["status"], each["cancel_at_period_end"]) for each in self.subscriptions()]

    def totals(self) -> list[int]:
        return [each["subtotal"] for each in self.own("invoice")]

    def state(self) -> tuple[Any, ...]:
        """Return all that bills."""
        kinds = ("subscription", "subscription_schedule", "invoice", "invoiceitem")
        return tuple(self.own(each) for each in kinds)


Act = Callable[[Sale], Awaitable[None]]


def run(account: StripeAccount, folder: Path, act: Act) -> None:
    run_over(account, folder, lambda made: act(Sale(account, made)))


def seat(quantity: int = 10, cents: int = 1_000, key: str = "lin_1", interval: str = "month") -> PricedLine:
    return samples.priced_line(key, f"SKU-{key}", Money(cents, "EUR"), interval, quantity)


async def interrupted(sale: Sale, change: ContractChange, place: int) -> bool:
    """Carry a change out until the answer of this write, which is lost. Return whether it writes as much."""
    written, loopback = 0, sale.made.loopback

    def is_the_last(request: Seen) -> bool:
        nonlocal written
        written += sale.account.is_write(request)
        return sale.account.is_write(request) and written == place

    loopback.trouble(Trouble("no_answer", lambda _: written >= place, times=ALWAYS))
    loopback.trouble(Trouble("lost_answer", is_the_last))
    with contextlib.suppress(*TRANSIENT):
        await sale.made.call(lambda: sale.made.connector.change(change, "correlation-1"), 2.0)
    loopback.calm()
    return written >= place
