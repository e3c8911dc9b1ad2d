"""Opens the books of a company in an empty Tryton, through Tryton's own client.

Run as a process of its own (``python -m sandbox.tryton.books CONFIG DATABASE YEAR SITE``, the site as JSON), so that no
process of ours ever holds Tryton's code. It knows Tryton's set-up wizards and nothing of Tiergate.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pycountry

from sandbox.site import Site

# Tryton's client makes its models at run time: there are no types to check.
proteus: Any = import_module("proteus")
Model, Wizard = proteus.Model, proteus.Wizard

CHART = "account.account_template_root_en"
PRODUCTS = {
    "Subscriptions": (
        ("PLATFORM", "Platform fee"),
        ("SEAT", "Seat"),
        ("ONBOARDING", "Onboarding"),
        ("SUPPORT", "Premium support"),
        ("CONSULTING", "Consulting"),
    ),
    "Printed matter": (("HANDBOOK", "Printed handbook"),),
}
"""Products by their accounting categories: printed matter bears the reduced rate."""
BY_THE_HOUR = {"CONSULTING"}
"""Products that are sold in hours, with parts of them; all others are sold in pieces."""
CURRENCIES = (("EUR", "Euro", 2), ("USD", "US Dollar", 2), ("JPY", "Yen", 0), ("KWD", "Kuwaiti Dinar", 3))


APPLICATION = "tiergate"
GROUPS = (
    "account.group_account",
    "product.group_product_admin",
    "account_product.group_account_product_admin",
)
"""The user of the books that Tiergate works as, and its groups. It may do what an accountant may, and create products,
and nothing else."""


def open_books(config: Any, year: int, site: Site, password: str) -> None:
    """Create company, chart, periods of `year - 1` to `year + 1`, taxes, journals, products, and a user that works with
    them and has the `password`."""
    currencies = _currencies()
    company = _company(currencies["EUR"], site)
    config._context = Model.get("res.user").get_preferences(True, config.context)
    accounts = _chart(company)
    for each in (year - 1, year, year + 1):
        _fiscal_year(company, each)
    taxes = _taxes(accounts["tax"], site)
    _configuration()
    _clearing(company, accounts)
    _write_off(company, accounts)
    _products(accounts, {"Subscriptions": taxes[site.tax_name], "Printed matter": taxes[site.reduced_name]})
    _payment_term()
    _application(company, password)


def _currencies() -> dict[str, Any]:
    Currency = Model.get("currency.currency")
    made: dict[str, Any] = {}
    for code, name, digits in CURRENCIES:
        currency = Currency(name=name, code=code, symbol=code, digits=digits, rounding=Decimal(1).scaleb(-digits))
        rate = currency.rates.new()
        rate.date, rate.rate = dt.date(2020, 1, 1), Decimal(1)
        currency.save()
        made[code] = currency
    return made


def _company(currency: Any, site: Site) -> Any:
    Country, Party = Model.get("country.country"), Model.get("party.party")
    Country.save([Country(code=each.alpha_2, name=each.name) for each in pycountry.countries])
    then = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)  # Tryton keeps instants naive, in UTC
    party = Party(name=site.company, code=site.code)
    identifier = party.identifiers.new()
    identifier.type, identifier.code = "eu_vat", site.tax_number
    identifier.eu_vat_valid, identifier.eu_vat_validated_at = True, then  # as VIES would say
    party.addresses[0].country = Country.find([("code", "=", site.country)])[0]
    party.save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party, wizard.form.currency = party, currency
    wizard.execute("add")
    (company,) = Model.get("company.company").find()
    User = Model.get("res.user")
    (user,) = User.find([("login", "=", "admin")])
    user.companies.append(company)
    user.company = company
    user.save()
    return Model.get("company.company")(company.id)


def _chart(company: Any) -> dict[str, Any]:
    Template, Account = Model.get("account.account.template"), Model.get("account.account")
    ModelData = Model.get("ir.model.data")
    wizard = Wizard("account.create_chart")
    wizard.execute("account")
    wizard.form.account_template = Template(ModelData.get_id(CHART, {}))
    wizard.form.company = company
    wizard.execute("create_account")

    def account(*domain: Any) -> Any:
        found = Account.find([("company", "=", company.id), ("closed", "!=", True), *domain], limit=1)
        if not found:
            raise SystemExit(f"the chart of accounts has no account for {domain}")
        return found[0]

    accounts = {
        "receivable": account(("type.receivable", "=", True), ("party_required", "=", True)),
        "payable": account(("type.payable", "=", True), ("party_required", "=", True)),
        "revenue": account(("type.revenue", "=", True)),
        "expense": account(("type.expense", "=", True)),
        "cash": account(("code", "=", "1.1.1")),
        "tax": account(("code", "=", "6.3.6")),
    }
    wizard.form.account_receivable = accounts["receivable"]
    wizard.form.account_payable = accounts["payable"]
    wizard.form.category_account_expense = accounts["expense"]
    wizard.form.category_account_revenue = accounts["revenue"]
    wizard.execute("create_properties")
    return accounts


def _fiscal_year(company: Any, year: int) -> None:
    Sequence, SequenceType = Model.get("ir.sequence.strict"), Model.get("ir.sequence.type")

    def sequence(kind: str, prefix: str) -> Any:
        (sequence_type,) = SequenceType.find([("name", "=", kind)], limit=1)
        made = Sequence(name=f"{kind} {year}", sequence_type=sequence_type, company=company, prefix=prefix, padding=5)
        made.save()
        return made

    fiscal_year = Model.get("account.fiscalyear")(name=str(year), company=company)
    fiscal_year.start_date, fiscal_year.end_date = dt.date(year, 1, 1), dt.date(year, 12, 31)
    fiscal_year.move_sequence = sequence("Account Move", "")
    (line,) = fiscal_year.invoice_sequences
    line.out_invoice_sequence = sequence("Invoice", f"RE-{year}-")
    line.out_credit_note_sequence = sequence("Invoice", f"GS-{year}-")
    line.in_invoice_sequence = sequence("Invoice", f"ER-{year}-")
    line.in_credit_note_sequence = sequence("Invoice", f"EG-{year}-")
    fiscal_year.save()
    fiscal_year.click("create_period")


def _taxes(account: Any, site: Site) -> dict[str, Any]:
    Tax = Model.get("account.tax")
    made: dict[str, Any] = {}
    for code, rate, note in (
        (site.tax_name, site.tax_percent / 100, None),
        (site.reduced_name, site.reduced_percent / 100, None),
        ("REVERSE", Decimal(0), "Steuerschuldnerschaft des Leistungsempfängers (reverse charge)"),
        ("EXPORT", Decimal(0), "Nicht im Inland steuerbare Leistung"),
    ):
        tax = Tax(name=code, description=code, type="percentage", rate=rate)
        tax.invoice_account = tax.credit_note_account = account
        if note:
            tax.legal_notice = note
        tax.save()
        made[code] = tax
    return made


def _configuration() -> None:
    configuration = Model.get("account.configuration")(1)
    configuration.tax_rounding = "line"  # as the billing platform rounds, or totals differ by a cent
    configuration.save()


def _clearing(company: Any, accounts: dict[str, Any]) -> None:
    """Create a clearing account for card payments: what the billing platform owes until it pays out."""
    Account, Journal = Model.get("account.account"), Model.get("account.journal")
    clearing = Account(name="Billing clearing", code="1.1.9", company=company)
    clearing.type, clearing.parent = accounts["cash"].type, accounts["cash"].parent
    clearing.reconcile = True
    clearing.save()
    (journal,) = Journal.find([("type", "=", "cash")], limit=1)
    method = Model.get("account.invoice.payment.method")(name="Billing", company=company, journal=journal)
    method.debit_account = method.credit_account = clearing
    method.save()


def _write_off(company: Any, accounts: dict[str, Any]) -> None:
    """Create the method by which claims are written off."""
    journal = Model.get("account.journal")(name="Write-Off", type="write-off")
    journal.save()
    method = Model.get("account.move.reconcile.write_off")(name="Bad debts", company=company, journal=journal)
    method.debit_account = method.credit_account = accounts["expense"]
    method.save()


def _products(accounts: dict[str, Any], taxes: dict[str, Any]) -> None:
    """Create the products, with the tax of each category."""
    Category, Template = Model.get("product.category"), Model.get("product.template")
    units = {each.name: each for each in Model.get("product.uom").find([("name", "in", ["Unit", "Hour"])])}
    for title, products in PRODUCTS.items():
        category = Category(name=title, accounting=True)
        category.account_revenue, category.account_expense = accounts["revenue"], accounts["expense"]
        category.customer_taxes.append(taxes[title])
        category.save()
        for code, name in products:
            unit = units["Hour" if code in BY_THE_HOUR else "Unit"]
            template = Template(name=name, code=code, type="service", default_uom=unit, list_price=Decimal(0))
            template.account_category = category
            template.save()


def _payment_term() -> None:
    for name, days in (("Immediate", 0), ("30 days", 30)):
        term = Model.get("account.invoice.payment_term")(name=name)
        line = term.lines.new(type="remainder")
        line.relativedeltas.new(days=days)
        term.save()


def _application(company: Any, password: str) -> None:
    user = Model.get("res.user")(name="Tiergate", login=APPLICATION, password=password)
    user.companies.append(Model.get("company.company")(company.id))
    for each in GROUPS:
        user.groups.append(Model.get("res.group")(Model.get("ir.model.data").get_id(each, {})))
    user.save()
    user.company = Model.get("company.company")(company.id)
    user.save()


if __name__ == "__main__":
    _, config_file, database, first_year, document = sys.argv
    selling = msgspec.json.decode(document, type=Site)
    kept = Path(os.environ["TRYTONPASSFILE"]).read_text().strip()
    open_books(proteus.config.set_trytond(database, config_file=config_file), int(first_year), selling, kept)
