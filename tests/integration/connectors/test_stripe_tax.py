"""What the Stripe connector does where Stripe Tax decides about tax."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.amendments import ContractChange
from canonical.billing import Contract, Invoice
from canonical.deals import PricedLine
from canonical.faults import Rejected
from canonical.money import Money
from canonical.parties import Address
from canonical.tax import ChargedTax
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from system_apis.billing import stripe
from system_apis.billing.port import Billing
from tests.support.connector_kit import samples
from tests.support.connector_kit.subject import Bench, run_over
from tests.support.stripe_account import API_KEY, SECRET, StripeAccount

Act = Callable[[Bench[Billing]], Awaitable[None]]
BOOKS = "txcd_35010000"
AUSTRIA = Address("Ring 2", "1010", "Wien", "AT")
NOWHERE = Address("1 Main Street", "", "Springfield", "US", "NY")


class TaxingAccount(StripeAccount):
    """An account that works out tax by itself, for a company in Germany, unless `automatic` is false."""

    automatic = True

    def settings(self, url: str) -> PlatformServer:
        secrets: Any = {"api_key": Secret(API_KEY), "webhook_secret": Secret(SECRET)}
        return stripe.Settings(url=url, automatic_tax=self.automatic, tax_codes={"reduced": BOOKS}, **secrets)

    def activate(self, *, registered: bool = True) -> None:
        self.api.v1.tax.settings.update({"head_office": {"address": {"country": "DE"}}})
        if registered:
            given: Any = {"country": "DE", "country_options": {"de": {"type": "standard"}}, "active_from": "now"}
            self.api.v1.tax.registrations.create(given)


@pytest.fixture
def account(tmp_path: Path) -> TaxingAccount:
    made = TaxingAccount(tmp_path)
    made.activate()
    return made


def line(sku: str = "SEAT", cents: int = 9_950, tax_class: str = "standard") -> PricedLine:
    made = samples.priced_line(f"lin_{sku}", sku, Money(cents, "EUR"))
    return msgspec.structs.replace(made, tax_class=tax_class)


async def put(made: Bench[Billing], *lines: PricedLine, by_billing: bool = True, **facts: Any) -> Contract:
    buyer = msgspec.structs.replace(samples.customer("cus_1"), **facts)
    reference = await made.call(lambda: made.connector.put_customer(buyer))
    wanted = samples.contract("con_1", "cus_1", reference, lines or (line(),), made.clock().date())
    wanted = msgspec.structs.replace(wanted, taxed_by_billing=by_billing)
    return await made.call(lambda: made.connector.put_contract(wanted, "correlation-1"))


async def invoiced(made: Bench[Billing], *lines: PricedLine, **facts: Any) -> Invoice:
    contract = await put(made, *lines, **facts)
    started = await made.call(lambda: made.connector.start(contract))
    return await made.call(lambda: made.connector.invoice(started.references["invoice"]))


def charged(invoice: Invoice) -> list[tuple[int, str, ChargedTax | None]]:
    """Return amount, code and origin of each tax of the lines of an invoice."""
    return [(each.amount.amount, each.code, each.charged) for line in invoice.lines for each in line.taxes]


def test_stripe_decides_by_place_number_and_product_and_the_invoice_says_what(
    account: TaxingAccount, tmp_path: Path
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = await invoiced(made, line(), line("BOOK", 1_000, "reduced"))

        full = ChargedTax(Decimal(19), "DE", "", "standard_rated")
        reduced = ChargedTax(Decimal(7), "DE", "", "reduced_rated")
        assert charged(invoice) == [(1_891, "", full), (70, "", reduced)]
        assert (invoice.tax, invoice.tax_treatment) == (Money(1_961, "EUR"), "standard")
        (schedule,) = account.api.v1.subscription_schedules.list().data
        assert schedule.phases[0].automatic_tax is not None
        assert (schedule.phases[0].automatic_tax.enabled, schedule.phases[0].default_tax_rates) == (True, [])
        assert {each.id: each.tax_code for each in account.api.v1.products.list().data} == {"SEAT": None, "BOOK": BOOKS}
        assert {each.tax_behavior for each in account.api.v1.prices.list().data} == {"exclusive"}

    run_over(account, tmp_path, act)


def test_a_change_is_taxed_by_stripe_as_it_was_previewed(account: TaxingAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        prepared = await put(made, line(), line("BOOK", 1_000, "reduced"))
        contract = await made.call(lambda: made.connector.start(prepared))
        dearer = line("BOOK", 3_000, "reduced")
        monthly = samples.priced_line("lin_m", "PEN", Money(777, "EUR"), "month")
        moment = made.clock().replace(microsecond=0)
        change = ContractChange("amd_1", contract, (line(), dearer, monthly), moment)
        preview = await made.call(lambda: made.connector.preview_change(change, "correlation-1"))
        changed = await made.call(lambda: made.connector.change(change, "correlation-1"))
        issued = [await made.call(lambda each=each: made.connector.invoice(each)) for each in changed.named("invoice")]

        assert [charged(each.invoice) for each in preview.invoices] == [charged(each) for each in issued]
        reduced = ChargedTax(Decimal(7), "DE", "", "reduced_rated")
        full = ChargedTax(Decimal(19), "DE", "", "standard_rated")
        assert [charged(each) for each in issued] == [[(-70, "", reduced), (210, "", reduced)], [(148, "", full)]]
        assert [each.invoice.tax_treatment for each in preview.invoices] == ["standard", "standard"]

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(
    ("facts", "treatment", "reason"),
    [
        ({"address": AUSTRIA, "tax_number": "ATU13585627"}, "reverse_charge", "reverse_charge"),
        ({"address": AUSTRIA}, "outside_scope", "not_collecting"),
        ({"tax_treatment": "outside_scope"}, "outside_scope", "customer_exempt"),
    ],
    ids=["a business in the Union", "where we are not registered", "exempt"],
)
def test_a_sale_without_tax_says_why(
    account: TaxingAccount, tmp_path: Path, facts: Any, treatment: str, reason: str
) -> None:
    async def act(made: Bench[Billing]) -> None:
        invoice = await invoiced(made, **facts)

        country = facts.get("address", Address(country="DE")).country
        assert charged(invoice) == [(0, "", ChargedTax(Decimal(0), country, "", reason))]
        assert (invoice.tax_treatment, invoice.total) == (treatment, Money(9_950, "EUR"))

    run_over(account, tmp_path, act)


def test_a_product_follows_its_class_and_an_older_price_says_that_tax_comes_on_top(
    account: TaxingAccount, tmp_path: Path
) -> None:
    account.api.v1.products.create({"id": "SEAT", "name": "Seat", "tax_code": "txcd_10103001"})
    old: Any = {"product": "SEAT", "currency": "eur", "unit_amount": 9_950, "recurring": {"interval": "year"}}
    price = account.api.v1.prices.create(old | {"lookup_key": "SEAT:EUR:year:9950"}).id

    async def act(made: Bench[Billing]) -> None:
        await put(made, line("SEAT", 9_950, "reduced"))

        assert account.api.v1.products.retrieve("SEAT").tax_code == BOOKS
        assert [(each.id, each.tax_behavior) for each in account.api.v1.prices.list().data] == [(price, "exclusive")]

    run_over(account, tmp_path, act)


def test_a_customer_whose_place_is_not_known_is_refused_at_its_address(account: TaxingAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        here = samples.customer("cus_1")
        lost = msgspec.structs.replace(here, address=NOWHERE)
        at_once = await made.fault(lambda: made.connector.put_customer(lost))
        known = await made.call(lambda: made.connector.put_customer(here))
        moved = await made.fault(lambda: made.connector.put_customer(lost))

        for fault in (at_once, moved):
            assert isinstance(fault, Rejected), repr(fault)
            assert (fault.field, "isn't recognized" in fault.reason) == ("customer.address", True)
        assert account.account.get("customer", known)["address"]["country"] == "DE"

    run_over(account, tmp_path, act)


def test_an_invoice_that_went_on_without_tax_says_so_in_place_of_a_tax(account: TaxingAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        contract = await put(made)
        customer = contract.references["customer"]
        started = await made.call(lambda: made.connector.start(contract))
        account.api.v1.customers.update(customer, {"address": {"country": ""}})
        account.wait(367 * 24 * 3600)  # the next year's invoice is made and finalized
        account.wait(3_700)
        (later,) = {str(each.id) for each in account.api.v1.invoices.list().data} - {started.references["invoice"]}
        invoice = await made.call(lambda: made.connector.invoice(later))

        nowhere = ChargedTax(Decimal(0), "", "", "finalization_requires_location_inputs")
        assert charged(invoice) == [(0, "", nowhere)]
        assert (invoice.state, invoice.tax_treatment) == ("open", "outside_scope")

    run_over(account, tmp_path, act)


@pytest.mark.parametrize(("automatic", "by_billing"), [(True, False), (False, True)])
def test_nothing_is_sold_where_the_mapping_and_the_settings_do_not_agree_who_decides(
    account: TaxingAccount, tmp_path: Path, automatic: object, by_billing: object
) -> None:
    account.automatic = automatic is True

    async def act(made: Bench[Billing]) -> None:
        fault = await made.fault(lambda: put(made, by_billing=by_billing is True))

        assert isinstance(fault, Rejected), repr(fault)
        assert fault.field == "tax"
        assert "automatic_tax" in fault.reason
        assert account.api.v1.subscription_schedules.list().data == []

    run_over(account, tmp_path, act)


def test_a_class_without_a_tax_code_is_refused_before_anything_is_made(account: TaxingAccount, tmp_path: Path) -> None:
    async def act(made: Bench[Billing]) -> None:
        fault = await made.fault(lambda: put(made, line("WINE", 900, "alcohol")))

        assert isinstance(fault, Rejected), repr(fault)
        assert "'alcohol'" in fault.reason
        assert account.api.v1.products.list().data == []

    run_over(account, tmp_path, act)


async def misfits(made: Bench[Any]) -> list[tuple[str, bool]]:
    found = await made.call(made.connector.misfits)
    return [(each.what, each.blocks) for each in found if "Stripe Tax" in each.what]


def test_the_doctor_says_that_stripe_tax_is_not_active_or_not_registered(tmp_path: Path) -> None:
    account = TaxingAccount(tmp_path)

    async def act(made: Bench[Any]) -> None:
        ((pending, blocks),) = await misfits(made)
        account.activate(registered=False)
        ((unregistered, blocks_too),) = await misfits(made)
        account.activate()

        assert ("pending: it lacks head_office" in pending, blocks) == (True, True)
        assert ("no active registration" in unregistered, blocks_too) == (True, False)
        assert await misfits(made) == []

    run_over(account, tmp_path, act)
