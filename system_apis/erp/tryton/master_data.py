"""What the books of a Tryton have that seldom changes: companies, accounts, taxes, products.

It is read again when it is old, and after a refusal: an accountant may have corrected what was refused.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from canonical.billing import Invoice, InvoiceLine, LineTax
from canonical.deals import plain
from canonical.faults import NotFound, Rejected
from canonical.ids import Clock
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.books import Books
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.mapping import PAYMENT_METHOD, RECEIVABLE, Row, from_decimal

OLD = timedelta(minutes=10)
"""When what was read is read again."""


class MasterData:
    """Read the records that postings name. Raises leaves of `PlatformFault`."""

    def __init__(self, client: TrytonClient, books: Books, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._mapping = books
        self._fresh: set[Hashable] = set()
        """What is not read again. What was read before is kept beside it, for postings that are on their way."""
        self._old_at: datetime | None = None
        self._companies: dict[str, Row] = {}
        self._opened_books: dict[int, Row] = {}
        self._products: dict[str, Row] = {}
        self._currencies: dict[str, int] = {}
        self._countries: dict[str, int] = {}
        self._payment_terms: dict[int, list[int]] = {}
        self._identifier_types: set[str] = set()

    def expire(self) -> None:
        """Let what is old be read again."""
        now = self._clock()
        if self._old_at is None or now >= self._old_at:
            self._old_at = now + OLD
            self.forget()

    def forget(self) -> None:
        """Let everything be read again."""
        self._fresh.clear()

    async def company(self, code: str) -> Row:
        """Return the company with the code of a legal entity. Raises `NotFound` when there is none."""
        if code not in self._companies or "companies" not in self._fresh:
            await self.load_companies()
        if code not in self._companies:
            raise NotFound("erp", f"there is no company with the code {code}")
        return self._companies[code]

    async def companies(self) -> list[Row]:
        """Return the companies whose books are here and that the mapping says something of."""
        return [each for code, each in (await self.load_companies()).items() if self._mapping.of(code)]

    async def load_companies(self) -> dict[str, Row]:
        """Return all companies by the codes of their parties, as they are now."""
        fields = ["currency.code", "party", "party.name", "party.tax_identifier.code", "party.code"]
        for each in await self._client.rows("company.company", [], fields, 0):
            about = each["party."]
            identifier: Row = about["tax_identifier."] or {}
            vat: str = identifier.get("code", "")
            self._companies[about["code"]] = {
                "id": each["id"],
                "party": each["party"],
                "currency": each["currency."]["code"],
                "name": about["name"],
                "country": vat[:2],
            }
        self._fresh.add("companies")
        return self._companies

    async def opened(self, company: Row) -> Row:
        """Return the ids that every posting of a company needs."""
        key = company["id"]
        if ("books", key) not in self._fresh:
            own = ["company", "=", key]

            async def first(model: str, *domain: Any) -> int:
                found = await self._client.rows(model, list(domain), ["id"], key, 1)
                if not found:
                    raise Rejected("erp", f"{company['name']} has no {model} for {domain}")
                return found[0]["id"]

            taxes = await self._client.rows("account.tax", [own], ["name"], key)
            self._opened_books[key] = {
                "company": key,
                "journal": await first("account.journal", ["type", "=", "revenue"]),
                "receivable": await first("account.account", own, *RECEIVABLE),
                "payment_method": await first("account.invoice.payment.method", own, ["name", "=", PAYMENT_METHOD]),
                "taxes": {each["name"]: each["id"] for each in taxes},
            }
            self._fresh.add(("books", key))
        return self._opened_books[key]

    def tax(self, code: str, legal_entity: str, company: Row) -> int:
        """Return the ERP's id of a tax of a company whose books are opened. Raises `Rejected` when there is none."""
        named = self._mapping.of(legal_entity)
        about = named.taxes.get(code) if named else None
        if about is None:
            what = f"a tax {code!r}" if code else "the tax that billing charged"
            raise Rejected("erp", f"the mapping of {legal_entity} does not know {what}", field="tax")
        found: dict[str, int] = self._opened_books[company["id"]]["taxes"]
        if about.record not in found:
            raise Rejected("erp", f"{company['name']} has no tax that is named {about.record}", field="tax")
        return found[about.record]

    def coded(self, invoice: Invoice) -> Invoice:
        """Return an invoice with a code for each tax that billing's own engine has charged. Raises `Rejected`."""
        lines = tuple(
            msgspec.structs.replace(line, taxes=tuple(self._coded(each, invoice) for each in line.taxes))
            for line in invoice.lines
        )
        return msgspec.structs.replace(invoice, lines=lines)

    def _coded(self, tax: LineTax, invoice: Invoice) -> LineTax:
        charged, named = tax.charged, self._mapping.of(invoice.legal_entity)
        if tax.code or charged is None or named is None:
            return tax
        code = named.code_of(charged)
        if code is None:
            place = charged.state or charged.country or "no known place"
            what = f"{plain(charged.percent)} % of {place} ({charged.reason}), which billing charged"
            raise Rejected("erp", f"no billed_taxes of {invoice.legal_entity} are about {what}", field="tax")
        return msgspec.structs.replace(tax, code=code)

    async def products(self, skus: Sequence[str]) -> dict[str, Row]:
        """Return those of `skus` that the ERP has, those that are out of use included."""
        await self.load_products(skus)
        return {sku: self._products[sku] for sku in skus if sku in self._products}

    async def load_products(self, skus: Sequence[str]) -> None:
        """Read products that are not known yet, those that are out of use included: contracts may have them."""
        missing = [sku for sku in skus if sku and ("product", sku) not in self._fresh]
        if not missing:
            return
        fields = [
            "code",
            "active",
            "template.active",
            "default_uom",
            "default_uom.digits",
            "account_category.account_revenue",
            "account_category.name",
        ]
        coded = [["code", "in", missing]]
        found = await self._client.rows("product.product", coded, fields, await self.any_company(), inactive=True)
        found.sort(key=is_on_sale)  # of several with a code, which are out of use but for one, that one counts
        for sku in set(missing) - {each["code"] for each in found}:
            self._products.pop(sku, None)
        for each in found:
            category: Row = each["account_category."] or {}
            self._products[each["code"]] = {
                "id": each["id"],
                "active": is_on_sale(each),
                "default_uom": each["default_uom"],
                "digits": each["default_uom."]["digits"],
                "account": category.get("account_revenue"),
                "tax_class": self._mapping.product_class(category.get("name", "")),
            }
            self._fresh.add(("product", each["code"]))

    async def any_company(self) -> int:
        """Return Tryton's id of a company: what is read of products depends on which, and is the same for all."""
        if known := next(iter(self._companies.values()), None):
            return known["id"]
        rows = await self._client.rows("company.company", [], ["id"], 0, 1)
        return rows[0]["id"]

    def product(self, line: InvoiceLine) -> Row:
        """Return the product of a line. Raises `Rejected`, naming the line: one that was made by hand has none."""
        if line.sku not in self._products:
            about = f"{line.description or 'without a description'}, {line.net}"
            reason = f"there is no product {line.sku}" if line.sku else f"the line ({about}) names no product"
            raise Rejected("erp", reason, field="sku")
        return self._products[line.sku]

    async def currency(self, code: str) -> int:
        """Return Tryton's id of a currency. Raises `Rejected` when there is none."""
        if code not in self._currencies or "currencies" not in self._fresh:
            rows = await self._client.rows("currency.currency", [], ["code"], 0)
            self._currencies = {each["code"]: each["id"] for each in rows}
            self._fresh.add("currencies")
        if code not in self._currencies:
            raise Rejected("erp", f"there is no currency {code}", field="currency")
        return self._currencies[code]

    async def payment_term(self, days: int) -> int | None:
        """Return Tryton's id of the only payment term by which all is due after so many days, None where there is none,
        or a choice that is not ours."""
        if "payment_terms" not in self._fresh:
            delta = [f"lines.relativedeltas.{name}" for name in mapping.DELTA]
            rows = await self._client.rows("account.invoice.payment_term", [], ["lines.type", *delta], 0)
            terms: dict[int, list[int]] = {}
            for each in rows:
                if (due_after := mapping.days_of_term(each)) is not None:
                    terms.setdefault(due_after, []).append(each["id"])
            self._payment_terms = terms
            self._fresh.add("payment_terms")
        found = self._payment_terms.get(days, [])
        return found[0] if len(found) == 1 else None

    async def rates(self, codes: Sequence[str], company: Row, on: date | None = None) -> dict[str, Decimal]:
        """Return what one unit of each currency is worth in that of a company on a day, today if none is said, by
        Tryton's rates. Raises `Rejected` for one that has none."""
        own: str = company["currency"]
        domain = [["code", "in", [own, *codes]]]
        rows = await self._client.rows("currency.currency", domain, ["code", "rate"], company["id"], on=on)
        rates = {each["code"]: from_decimal(each["rate"]) for each in rows}
        missing = [each for each in (own, *codes) if not rates.get(each)]
        if missing:
            what = f"Tryton has no rate of {', '.join(missing)} for {on or 'today'}"
            raise Rejected("erp", f"{what}: enter one at the currency, and retry", field="currency")
        return {each: rates[own] / rates[each] for each in codes}

    async def sellers(self) -> set[int]:
        """Return the parties that are companies: one that sells is no customer of its own."""
        if "companies" not in self._fresh:
            await self.load_companies()
        return {each["party"] for each in self._companies.values()}

    async def countries(self) -> dict[str, int]:
        """Return Tryton's ids of countries by their codes."""
        if "countries" not in self._fresh:
            rows = await self._client.rows("country.country", [], ["code"], 0)
            self._countries = {each["code"]: each["id"] for each in rows}
            self._fresh.add("countries")
        return self._countries

    async def identifier_types(self) -> set[str]:
        """Return the types that an identifier of a party can have."""
        if "identifier_types" not in self._fresh:
            types: list[Any] = await self._client.call("model.party.identifier.get_types")
            self._identifier_types = {kind for kind, _ in types if kind}
            self._fresh.add("identifier_types")
        return self._identifier_types


def is_on_sale(product: Row) -> bool:
    """Return whether a product that was read with its template is in use."""
    return bool(product["active"] and product["template."]["active"])
