"""A deal is judged as a whole, before anything is created."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.billing import Contract
from canonical.deals import INTERVALS, Deal, DealLine, InvoiceTerms, priced_line
from canonical.money import Money, exponent, smallest_charge
from canonical.parties import Account, Address, LegalEntity, Product, Recipient
from canonical.tax import Tax, TaxRule
from process_apis.validation import compact, findings, plan, tax_number_is_valid

TAXES = (
    Tax("standard", "standard", Decimal(19)),
    Tax("reduced", "standard", Decimal(7)),
    Tax("reverse_charge", "reverse_charge", Decimal(0)),
    Tax("outside_scope", "outside_scope", Decimal(0)),
)
RULES = (
    TaxRule(tax="outside_scope", buyer="elsewhere"),
    TaxRule(tax="reverse_charge", buyer="union", registered=True),
    TaxRule(tax="reduced", product_classes=("books",)),
    TaxRule(tax="standard"),
)
SELLER = LegalEntity("DE01", "Seller GmbH", "DE", "EUR", {}, TAXES, RULES)
STARTS = (date(2025, 12, 25), date(2026, 12, 31))
PRODUCTS = {"SEAT": Product(), "SETUP": Product(), "BOOK": Product("books"), "HOURS": Product(quantity_digits=2)}


def line(**changes: Any) -> DealLine:
    good = DealLine("1", "SEAT", "Seat", Decimal(2), Decimal("240.00"), "year", listed=True)
    return msgspec.structs.replace(good, **changes)


def account(**changes: Any) -> Account:
    good = Account("001", "Buyer", Address(country="DE"), tax_number="DE129273398")
    return msgspec.structs.replace(good, **changes)


def deal(**changes: Any) -> Deal:
    good = Deal("006", "Deal", 1, account(), "EUR", "DE01", date(2026, 1, 1), 12, (line(),), won=True)
    return msgspec.structs.replace(good, **changes)


def fields(judged: Deal, seller: LegalEntity | None = SELLER, duplicates: tuple[str, ...] = ()) -> list[str]:
    return [each.field for each in findings(judged, seller, PRODUCTS, duplicates, STARTS)]


def planned(judged: Deal) -> Contract:
    return plan(judged, "crm-eu", SELLER, PRODUCTS, "ord_1", "cus_1", "con_1", None).contract


def test_a_good_deal_has_no_findings() -> None:
    assert fields(deal()) == []
    assert fields(deal(lines=tuple(line(interval=each) for each in INTERVALS))) == []
    assert fields(deal(evergreen=True, term_months=0)) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"won": False}, "deal.won"),
        ({"account": account(id="")}, "deal.account"),
        ({"account": account(ancestors=("002", "001"))}, "deal.account.ancestors"),
        ({"account": account(ancestors=("002", "003", "002"))}, "deal.account.ancestors"),
        ({"account": account(address=Address())}, "deal.account.address.country"),
        ({"account": account(address=Address(country="de"))}, "deal.account.address.country"),
        ({"account": account(address=Address(country="Germany"))}, "deal.account.address.country"),
        ({"starts_on": date(2025, 12, 24)}, "deal.starts_on"),
        ({"starts_on": date(2027, 1, 1)}, "deal.starts_on"),
        ({"starts_on": date(9999, 12, 31)}, "deal.starts_on"),
        ({"term_months": 0}, "deal.term_months"),
        ({"term_months": -1}, "deal.term_months"),
        ({"term_months": 1000}, "deal.term_months"),
        ({"evergreen": True, "term_months": 12}, "deal.term_months"),
        ({"invoicing": InvoiceTerms(days_until_due=-1)}, "deal.invoicing.days_until_due"),
        ({"invoicing": InvoiceTerms(days_until_due=400)}, "deal.invoicing.days_until_due"),
        ({"invoicing": InvoiceTerms("4" * 141)}, "deal.invoicing.purchase_order"),
        ({"invoicing": InvoiceTerms(bill_to=Recipient("", "", Address(country="DE")))}, "deal.invoicing.bill_to.name"),
        ({"invoicing": InvoiceTerms(bill_to=Recipient("Kim"))}, "deal.invoicing.bill_to.address.country"),
        ({"account": account(tax_number="FR40303265045")}, "deal.account.tax_number"),
        ({"lines": ()}, "deal.lines"),
        ({"lines": (line(sku="SETUP", interval="one_time"),)}, "deal.lines"),
        ({"lines": (line(interval="week"),)}, "deal.lines[0].interval"),
        ({"lines": (line(), line(unit_price=Decimal(-1)))}, "deal.lines[1].unit_price"),
        ({"lines": (line(quantity=Decimal(0)),)}, "deal.lines[0].quantity"),
        ({"lines": (line(quantity=Decimal("1E+300")),)}, "deal.lines[0].unit_price"),
        ({"lines": (line(unit_price=Decimal("1E+300")),)}, "deal.lines[0].unit_price"),
        ({"lines": (line(quantity=Decimal(10**9), unit_price=Decimal(10**6)),)}, "deal.lines[0].unit_price"),
        ({"lines": (line(listed=False),)}, "deal.lines[0].listed"),
        ({"currency": "JPY", "lines": (line(unit_price=Decimal("0.2")),)}, "deal.lines[0].unit_price"),
        ({"currency": "KWD", "lines": (line(unit_price=Decimal("1.005")),)}, "deal.lines[0].unit_price"),
        (
            {"currency": "MGA", "lines": (line(unit_price=Decimal("0.2"), quantity=Decimal(1)),)},
            "deal.lines[0].unit_price",
        ),
        ({"lines": (line(quantity=Decimal("2.5")),)}, "deal.lines[0].quantity"),
        ({"lines": (line(), line(sku="HOURS", quantity=Decimal("2.505")))}, "deal.lines[1].quantity"),
    ],
)
def test_each_fault_is_found_at_its_field(changes: dict[str, Any], field: str) -> None:
    assert fields(deal(**changes)) == [field]


@pytest.mark.parametrize("price", ["1.01", "0.010", "12345.670"])
def test_three_digits_of_which_the_last_is_nothing_can_be_billed(price: str) -> None:
    assert fields(deal(currency="KWD", lines=(line(unit_price=Decimal(price)),))) == []


@pytest.mark.parametrize(("exempt", "tax", "percent"), [(False, "standard", "19"), (True, "outside_scope", "0")])
def test_where_billing_decides_no_rule_is_asked_and_the_most_is_expected(
    exempt: object, tax: str, percent: str
) -> None:
    leaving = msgspec.structs.replace(SELLER, tax_rules=(), taxed_by_billing=True)
    abroad = deal(
        account=account(address=Address(country="US"), tax_number=None, tax_exempt=exempt is True),
        lines=(line(), line(id="2", sku="BOOK")),
    )

    contract = plan(abroad, "crm-eu", leaving, PRODUCTS, "ord_1", "cus_1", "con_1", None).contract

    assert fields(abroad, leaving) == []
    assert (contract.taxed_by_billing, contract.tax, contract.tax_percent) == (True, tax, percent)
    assert [(each.tax, each.tax_percent, each.tax_class) for each in contract.lines] == [
        ("", "", "standard"),
        ("", "", "books"),
    ]


def test_a_seller_without_the_tax_that_the_sale_needs_is_found() -> None:
    domestic_only = msgspec.structs.replace(SELLER, taxes=TAXES[:1])
    abroad = deal(account=account(address=Address(country="FR"), tax_number="FR40303265045"))

    assert fields(abroad, domestic_only) == ["deal.legal_entity"]
    assert fields(abroad) == []


def test_a_sale_that_no_rule_is_about_is_found_once() -> None:
    at_home = msgspec.structs.replace(SELLER, tax_rules=(TaxRule(tax="standard", buyer="home"),))
    abroad = account(address=Address(country="US"), tax_number=None)

    assert fields(deal(account=abroad, lines=(line(), line())), at_home) == ["deal.legal_entity"]


def test_each_line_of_a_plan_has_the_tax_of_its_product() -> None:
    judged = deal(lines=(line(sku="BOOK"), line()))

    contract = planned(judged)

    assert [contract.tax_of(each) for each in contract.lines] == [("reduced", "7"), ("standard", "19")]
    assert (contract.tax, contract.tax_percent) == ("standard", "19")
    assert contract.gross == contract.net + Money(480_00 * 26 // 100, "EUR")


def test_a_buyer_without_tax_has_none_on_any_line() -> None:
    contract = planned(deal(account=account(address=Address(country="CH"), tax_number=None)))

    assert (contract.tax, contract.gross) == ("outside_scope", contract.net)


def test_a_customer_with_the_same_tax_number_is_found() -> None:
    assert fields(deal(), duplicates=("cus_other",)) == ["deal.account.tax_number"]


@pytest.mark.parametrize(
    ("number", "country", "valid"),
    [
        ("DE129273398", "DE", True),
        ("DE 129 273 398", "DE", True),
        ("DE129273399", "DE", False),
        ("DE129273398", "FR", False),
        ("EL094259216", "GR", True),
        ("nonsense", "DE", False),
        ("CHE-107.787.577 IVA", "CH", True),
        ("CHE-107.787.578 IVA", "CH", False),
        ("anything", "US", True),
    ],
)
def test_tax_numbers_are_checked_by_the_rules_of_their_country(number: str, country: str, valid: object) -> None:
    assert tax_number_is_valid(number, country) is valid


@given(
    st.sampled_from(["JPY", "EUR", "KWD"]),
    st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 10**9)), min_size=1, max_size=10),
)
def test_a_plan_is_worth_exactly_what_was_sold(currency: str, sold: list[tuple[int, int]]) -> None:
    scale, step = -exponent(currency), smallest_charge(currency).amount
    lines = tuple(
        line(id=str(number), quantity=Decimal(quantity), unit_price=Decimal(price * step).scaleb(scale))
        for number, (quantity, price) in enumerate(sold)
    )
    judged = deal(currency=currency, lines=lines)

    assert fields(judged) == []
    contract = planned(judged)
    assert contract.net == Money(sum(quantity * price for quantity, price in sold) * step, currency)


def test_a_quantity_with_more_digits_than_its_unit_is_found_with_what_the_unit_takes() -> None:
    sold = (line(quantity=Decimal("2.50")), line(sku="HOURS", quantity=Decimal("0.125")))

    reasons = [each.reason for each in findings(deal(lines=sold), SELLER, PRODUCTS, (), STARTS)]

    assert reasons == [
        "2.5 cannot be posted: the ERP's unit of SEAT takes whole numbers",
        "0.125 cannot be posted: the ERP's unit of HOURS takes at most 2 digits after the point",
    ]


@pytest.mark.parametrize(
    ("sold", "charged", "said"),
    [
        (line(), (2, 240_00), None),
        (line(quantity=Decimal("2.5"), unit_price=Decimal("33.33")), (1, 83_33), "2.5 × 33.33 EUR"),
        (line(quantity=Decimal(10_000), unit_price=Decimal("0.0049")), (1, 49_00), "10000 × 0.0049 EUR"),
        (
            line(unit_price=Decimal(85), list_price=Decimal(100), discount_percent=Decimal(15)),
            (2, 85_00),
            "2 × 100.00 EUR less 15 %",
        ),
    ],
)
def test_a_line_is_charged_to_the_cent_and_says_what_was_agreed(
    sold: DealLine, charged: tuple[int, int], said: str | None
) -> None:
    priced = priced_line(sold, "EUR")

    assert (priced.quantity, priced.unit_price.amount) == charged
    assert priced.net == sold.terms.net("EUR")
    assert (priced.agreed and priced.agreed.in_words("EUR")) == said
    assert priced.terms == sold.terms


@pytest.mark.parametrize(
    ("written", "kept"), [("DE 129.273.398", "DE129273398"), ("applied for ", "applied for"), ("-", "-"), ("", None)]
)
def test_what_is_no_tax_number_is_kept_as_it_is_written(written: str, kept: str | None) -> None:
    assert compact(written, "DE") == kept


@pytest.mark.parametrize(("interval", "invoices", "months"), [("quarter", 4, 3), ("half_year", 2, 6)])
def test_a_line_billed_within_the_year_has_the_price_of_a_year_and_the_amount_of_each_invoice(
    interval: str, invoices: int, months: int
) -> None:
    sold = line(sku="HOURS", quantity=Decimal("2.5"), unit_price=Decimal("33.33"), interval=interval)
    contract = planned(deal(lines=(line(interval=interval), sold)))
    whole, part = contract.lines

    assert [(each.interval, each.billing_months) for each in contract.lines] == [("year", months)] * 2
    assert (whole.unit_price, whole.net) == (Money(240_00 * invoices, "EUR"), Money(480_00, "EUR"))
    assert (part.unit_price, part.net) == (Money(83_33 * invoices, "EUR"), Money(83_33, "EUR"))
    assert part.terms.in_words("EUR") == "2.5 × 33.33 EUR"
    assert part.agreed
    assert part.agreed.unit_price == Decimal("33.33") * invoices
    assert contract.net == Money(480_00 + 83_33, "EUR")


def test_a_custom_field_travels_to_the_contract_and_one_that_is_too_long_to_travel_is_a_finding() -> None:
    assert planned(deal(custom={"cost_center": "4711"})).custom == {"cost_center": "4711"}
    assert fields(deal(custom={"cost_center": "4711", "terms": "x" * 501})) == ["deal.custom.terms"]


def test_what_was_agreed_for_the_invoices_is_in_the_contract() -> None:
    agreed = InvoiceTerms("4500012345", 45, Recipient("Kim", "kim@example.com", Address(country="AT")))

    assert fields(deal(invoicing=agreed)) == []
    assert planned(deal(invoicing=agreed)).invoicing == agreed


def test_a_product_that_is_withdrawn_is_not_sold_any_more() -> None:
    products = PRODUCTS | {"SEAT": Product(withdrawn=True)}

    (found,) = findings(deal(), SELLER, products, (), STARTS)

    assert (found.field, "sold no more" in found.reason) == ("deal.lines[0].sku", True)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ([{"quantity": Decimal(1), "unit_price": Decimal("0.0049")}], []),
        ([{"quantity": Decimal(1), "interval": "quarter"}], []),
        ([{"quantity": Decimal(1), "unit_price": Decimal(0)}], []),
        ([{"quantity": Decimal(5)}], ["deal.lines[0].quantity"]),
        ([{"quantity": Decimal("0.5")}], ["deal.lines[0].quantity"]),
        ([{"quantity": Decimal(0)}], ["deal.lines[0].quantity"]),
        ([{"quantity": Decimal(1), "unit_price": Decimal(-1)}], ["deal.lines[0].unit_price"]),
        ([{"quantity": Decimal(1), "interval": "one_time"}], ["deal.lines", "deal.lines[0].interval"]),
        ([{"quantity": Decimal(1)}, {"quantity": Decimal(1), "id": "2"}], ["deal.lines[1].sku"]),
    ],
)
def test_what_is_charged_by_use_is_sold_once_at_the_price_of_one_unit(
    changes: list[dict[str, Any]], wrong: list[str]
) -> None:
    sold = deal(lines=tuple(line(**each) for each in changes))

    found = findings(sold, SELLER, PRODUCTS, (), STARTS, {"SEAT": "seat_hours"})

    assert [each.field for each in found] == wrong


def test_a_line_of_a_product_with_a_meter_is_charged_by_it_and_others_are_not() -> None:
    sold = deal(lines=(line(quantity=Decimal(1), unit_price=Decimal("0.0049")), line(sku="HOURS", id="2")))

    made = plan(sold, "crm-eu", SELLER, PRODUCTS, "ord_1", "cus_1", "con_1", None, {"SEAT": "seat_hours"}).contract

    assert [(each.meter, each.terms.unit_price) for each in made.lines] == [
        ("seat_hours", Decimal("0.0049")),
        ("", Decimal(240)),
    ]
    assert made.net == Money(48_000, "EUR")
