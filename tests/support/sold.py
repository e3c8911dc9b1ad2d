"""A contract that was sold and invoiced, what billing and the books say of its money, and how finance corrects it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from canonical.money import exponent
from sandbox.salesperson import Sale, SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until

TEN_SEATS = (SaleLine("SEAT", 10, 100.0),)


class Sold:
    """A deal that was sold, of one line, and is booked in as many postings as `postings` says."""

    def __init__(
        self,
        environment: Environment,
        name: str,
        payment_method: str | None = "pm_card_visa",
        postings: int = 2,
        **changes: Any,
    ) -> None:
        facts = {"lines": TEN_SEATS, "payment_method": payment_method} | changes
        sale = environment.sale(name, **facts)
        _list_prices(environment, sale)
        _, deal = environment.sell(sale)
        order = environment.order_in(deal, "active")
        assert order.plan
        self.environment, self.order, self.currency = environment, order, sale.currency
        self.contract, self.invoice = order.plan.contract.id, order.plan.contract.references["invoice"]
        self.customer = order.plan.customer.references["stripe"]
        self.stripe: Any = environment.stripe.v1
        self.booked(postings)

    def booked(self, postings: int) -> None:
        """Wait until so many postings of the contract are there, and all are done."""

        def all_posted() -> bool:
            states = [each.state for each in self.environment.channels.postings(self.contract)]
            return states == ["posted"] * postings

        wait_until(all_posted, 100, f"{postings} postings of {self.contract}")

    def credit(self, quantity: int = 1, **params: Any) -> Any:
        """Issue a credit note of so many of what was invoiced."""
        (line,) = self.stripe.invoices.line_items.list(self.invoice).data
        of_line = {"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": quantity}
        return self.stripe.credit_notes.create({"invoice": self.invoice, "lines": [of_line], **params})

    def invoice_more(self, *amounts: int, pay: bool = True) -> str:
        """Invoice more of the contract at once, in minor units, and return the invoice's id."""
        made = self.draft_more(*amounts)
        self.stripe.invoices.finalize_invoice(made)
        if pay:
            self.stripe.invoices.pay(made)
        return made

    def draft_more(self, *amounts: int) -> str:
        """Return the id of a draft of an invoice over more of the contract, in minor units."""
        (line,) = self.stripe.invoices.line_items.list(self.invoice).data
        of_contract = {"customer": self.customer, "subscription": line.parent.subscription_item_details.subscription}
        rates = [each.tax_rate_details.tax_rate for each in line.taxes]
        for amount in amounts:
            price = {"currency": self.currency.lower(), "product": line.pricing.price_details.product}
            once = {"price": self.stripe.prices.create(price | {"unit_amount": amount}).id}
            self.stripe.invoice_items.create({**of_contract, "pricing": once, "quantity": 1, "tax_rates": rates})
        return str(self.stripe.invoices.create({**of_contract, "pending_invoice_items_behavior": "include"}).id)

    def intent(self) -> str:
        """Return the payment of the first invoice."""
        (payment,) = self.stripe.invoice_payments.list({"invoice": self.invoice, "status": "paid"}).data
        return str(payment.payment.payment_intent)

    def owed_in_billing(self, unexplained: int = 0) -> Decimal:
        """Return what billing says that the customer owes, with what was refunded without a credit note."""
        open_ones = self.stripe.invoices.list({"customer": self.customer, "status": "open"}).data
        balance = self.stripe.customers.retrieve(self.customer).balance
        return self.major(sum(each.amount_remaining for each in open_ones) + balance + unexplained)

    def owed_in_books(self) -> Decimal:
        """Return what the ERP says that the customer owes, in the currency of the contract."""
        of_it = ("party.code", "=", self.order.customer_id), ("account.type.receivable", "=", True)
        lines = self.environment.in_erp("account.move.line", *of_it, ("reconciliation", "=", None))
        if any(each.second_currency for each in lines):
            return sum((each.amount_second_currency or Decimal(0) for each in lines), Decimal(0))
        return sum((each.debit - each.credit for each in lines), Decimal(0))

    def agrees(self, owed: int, unexplained: int = 0) -> None:
        """Check that billing and the ERP say the same of what is owed, in minor units."""
        said = self.owed_in_books(), self.owed_in_billing(unexplained)
        assert said == (self.major(owed), self.major(owed)), said
        if self.currency == "EUR":  # the customer's account is in the currency of the company
            assert self.receivable() == self.major(owed)

    def major(self, minor: int) -> Decimal:
        return Decimal(minor).scaleb(-exponent(self.currency))

    def receivable(self) -> Decimal:
        """Return what the customer owes in all in the ERP, in the currency of the company."""
        (party,) = self.environment.in_erp("party.party", ("code", "=", self.order.customer_id))
        return party.receivable

    def notes(self) -> list[Any]:
        """Return the credit notes in the ERP."""
        of_it = ("party.code", "=", self.order.customer_id)
        return self.environment.in_erp("account.invoice", ("reference", "like", "cn_%"), of_it)

    def open_cases(self) -> list[str]:
        """Return the kinds of the open cases of its postings."""
        subjects = {f"{each.entry}:{each.id}" for each in self.environment.channels.postings(self.contract)}
        cases = (case for each in sorted(subjects) for case in self.environment.cases_of(each))
        return [each.kind for each in cases if each.state == "open"]


def _list_prices(environment: Environment, sale: Sale) -> None:
    """Let the price list have a price of each line in the currency of the sale."""
    for line in sale.lines:
        of_line = f"Product2.ProductCode = '{line.code}'"
        known = environment.crm.query(
            f"SELECT Pricebook2Id, Product2Id, CurrencyIsoCode FROM PricebookEntry WHERE {of_line}"
        )
        if sale.currency not in {each["CurrencyIsoCode"] for each in known}:
            entry = {name: known[0][name] for name in ("Pricebook2Id", "Product2Id")}
            listed = entry | {"UnitPrice": line.unit_price, "CurrencyIsoCode": sale.currency, "IsActive": True}
            environment.crm.create("PricebookEntry", **listed)
