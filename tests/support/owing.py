"""A contract whose payment fails, and what every system then says of it. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec

from canonical.cases import Case
from canonical.dunning import Dunning
from canonical.orders import Order, Page
from policies.catalogue.model import SHIPPED
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.support.amending import contract_of
from tests.support.environment import Environment
from tests.support.partners import NORD
from tests.support.platforms import proteus, wait_until

DECLINED = "pm_card_visa_chargeDeclinedInsufficientFunds"
POLICY = "suspend_after_days = 14\nfinal_after_days = 30\nlast_step = '{}'\nminimum = {{ EUR = 500 }}\n"
DAY = timedelta(days=1)


def govern(path: Path, policy: str) -> Path:
    """Write the shipped catalogue with a policy of DE01, or without one where it is empty. Return its path."""
    path.write_text(SHIPPED.read_text() + (f"\n[dunning.DE01]\n{policy}" if policy else ""))
    return path


def governed(folder: Path, templates: Path, policy: str) -> Environment:
    """Return an environment in virtual time under a policy of DE01."""
    catalogue = govern(folder / "catalogue.toml", policy)
    variables = {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)}
    return Environment(folder, templates, variables=variables, virtual_time=True)


class State(msgspec.Struct, frozen=True):
    """What every channel says of a contract."""

    id: str
    state: str


class Debtor:
    """A customer with a contract of 1,190.00 EUR a year, whose card its bank refuses."""

    def __init__(
        self, environment: Environment, name: str, payment_method: str = DECLINED, account: str | None = None
    ) -> None:
        """With `account`, the customer has a contract already: this is another one of it."""
        self.environment = environment
        lines = (SaleLine("SEAT", 10, 100.0),)
        sale = environment.sale(name, lines=lines, payment_method=payment_method, partner=NORD)
        self.account, self.deal = open_deal(environment.crm, sale, environment.wait(timedelta()).date(), account)
        close_deal(environment.crm, self.deal)
        self.order: Order = environment.order_in(self.deal, "active")
        contract = contract_of(self.order)
        self.contract, self.invoice = contract.id, contract.references["invoice"]
        self.customer = contract.references["customer"]
        self.stripe: Any = environment.stripe.v1

    # ---- what happens outside

    def control(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.environment.sandbox.url('control')}/billing/{path}", json=body, timeout=60)
        return answer.raise_for_status().json()

    def bank_says(self, code: str | None) -> None:
        """Let the bank refuse the customer's card from now on, for a reason, or no more."""
        (card,) = self.stripe.customers.payment_methods.list(self.customer).data
        self.control(f"payment_methods/{card.id}", code=code)

    def new_card(self) -> None:
        card = self.stripe.payment_methods.attach("pm_card_visa", {"customer": self.customer})
        self.stripe.customers.update(self.customer, {"invoice_settings": {"default_payment_method": card.id}})

    def tell_again(self, *types: str) -> None:
        """Let billing send all events of some types once more, the newest first."""
        for each in self.stripe.events.list({"types": list(types), "limit": 100}).data:
            self.control(f"events/{each.id}")

    def days(self, count: int) -> None:
        """Let days pass, a few at a time, so that all that is due is done at its time."""
        while count > 0:
            self.environment.wait(min(count, 3) * DAY)
            count -= 3

    # ---- what is seen

    def found(self) -> Dunning | None:
        path = f"/finance/v1/dunnings?customer_id={self.order.customer_id}"
        rows = self.environment.channels.get("finance-app", path, Page[Dunning]).items
        return next((each for each in rows if each.contract_id == self.contract), None)

    def dunning(self, *states: str, also: Callable[[Dunning], bool] = lambda _: True) -> Dunning:
        """Return the contract's dunning with its history, once it is in one of some states."""

        def look() -> Dunning | None:
            found = self.found()
            return found if found and found.state in states and also(found) else None

        key = wait_until(look, 60, f"the dunning of {self.order.name} in {states}").id
        return self.environment.channels.get("support-desk", f"/support/v1/dunnings/{key}", Dunning)

    def act(self, dunning: Dunning, action: str, until: date | None = None, reason: str = "agreed by phone") -> Dunning:
        body = {"action": action, "reason": reason} | ({"until": until.isoformat()} if until else {})
        path = f"/finance/v1/dunnings/{dunning.id}/actions"
        return self.environment.channels.post("finance-app", path, body, Dunning)

    def cases(self, dunning: Dunning) -> dict[str, Case]:
        """Return the open cases of a dunning by their kinds."""
        return {each.kind: each for each in self.environment.cases_of(dunning.id) if each.state == "open"}

    def until_cases(self, dunning: Dunning, *kinds: str) -> dict[str, Case]:
        """Return the open cases of a dunning once they are of some kinds, and no others."""

        def look() -> bool:
            return self.cases(dunning).keys() == set(kinds)

        wait_until(look, 30, f"the cases of {dunning.id}: {kinds}")
        return self.cases(dunning)

    def crm_shows(self, state: str) -> str:
        """Return the detail on the deal, once the CRM shows a state."""
        return str(self.environment.shown(self.deal, state)["TiergateDetail__c"] or "")

    def contract_is(self, state: str) -> None:
        """Check that the contract has a state for sales, and for the customer's partner."""
        of_customer = f"contracts?customer_id={self.order.customer_id}"
        for client, channel in (("sales-app", "sales/v1"), (NORD, "partners/v2")):
            found = self.environment.channels.get(client, f"/{channel}/{of_customer}", Page[State]).items
            assert [each.state for each in found if each.id == self.contract] == [state]

    def until_suspended(self, *, suspended: bool) -> None:
        what = f"the service of {self.order.name} is {'' if suspended else 'not '}suspended"
        wait_until(lambda: self.environment.is_suspended(self.order.id) == suspended, 30, what)

    def receivable(self) -> Decimal:
        """Return what the customer owes in the books, in euros."""
        (party,) = self.environment.in_erp("party.party", ("code", "=", self.order.customer_id))
        return Decimal(party.receivable)

    def booked(self) -> list[str]:
        """Return what of the contract is posted in the books."""
        return [each.kind for each in self.environment.channels.postings(self.contract) if each.state == "posted"]

    def pay_in_the_books(self) -> None:
        """Book a payment of the invoice by hand, as finance does for money that came in outside of billing."""
        (invoice,) = self.environment.in_erp("account.invoice", ("reference", "=", self.invoice))
        pay: Any = proteus.Wizard("account.invoice.pay", [invoice], config=self.environment.erp)
        (pay.form.payment_method,) = self.environment.in_erp("account.invoice.payment.method")
        pay.execute("choice")

    def invoice_is(self, state: str) -> None:
        assert self.stripe.invoices.retrieve(self.invoice).status == state
