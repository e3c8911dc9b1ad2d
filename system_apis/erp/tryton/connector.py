"""The ERP port on Tryton."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from stdnum.eu import vat as eu_vat

from canonical.billing import ClosedPeriod, Invoice, InvoiceToPost, Payment, Posting
from canonical.credits import CreditNote, PaymentReversal
from canonical.disputes import DisputeFee
from canonical.faults import Conflict, NotFound, PlatformFault, Rejected
from canonical.money import Money
from canonical.parties import Credit, Customer, CustomerCopy, CustomerMatch, LegalEntity, Product
from canonical.products import CatalogueProduct, ProductMatch
from canonical.tax import Tax
from policies.context import correlation
from system_apis.connector import ConnectorContext, Misfit
from system_apis.erp.tryton import mapping, matching
from system_apis.erp.tryton.books import books
from system_apis.erp.tryton.catalogue import TrytonProducts
from system_apis.erp.tryton.client import Settings, TrytonClient
from system_apis.erp.tryton.credits import Credits
from system_apis.erp.tryton.fees import Fees
from system_apis.erp.tryton.invoices import Invoices, posted_of
from system_apis.erp.tryton.ledger import Ledger
from system_apis.erp.tryton.mapping import PAYMENT_METHOD, Row, from_decimal
from system_apis.erp.tryton.master_data import MasterData
from system_apis.erp.tryton.misfits import misfits
from system_apis.erp.tryton.user import ApplicationUser

log = structlog.get_logger("tiergate.erp")
REFUSED = (Rejected, NotFound)
P = ParamSpec("P")
T = TypeVar("T")


def _as_the_books_are(
    act: Callable[Concatenate[Tryton, P], Awaitable[T]],
) -> Callable[Concatenate[Tryton, P], Awaitable[T]]:
    """Let an act of the connector read master data again that is old, and everything after it was refused."""

    @wraps(act)
    async def acting(self: Tryton, *args: P.args, **kwargs: P.kwargs) -> T:
        self.master_data.expire()
        try:
            return await act(self, *args, **kwargs)
        except REFUSED:
            self.master_data.forget()
            raise

    return acting


class Tryton:
    """Implement `system_apis.erp.port.Erp`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._client = TrytonClient(settings, context.client)
        self._mapping = books(settings.mapping)
        self._instance = context.instance
        self._clock = context.clock
        self.master_data = MasterData(self._client, self._mapping, context.clock)

        def today(legal_entity: str) -> date:
            return context.clock().astimezone(context.timezone(legal_entity)).date()

        self._invoices = Invoices(self._client, self.master_data, self._mapping, context.clock, today)
        self._ledger = Ledger(self._client)
        self._credits = Credits(self._client, self.master_data, self._invoices, self._ledger)
        self._fees = Fees(self._client, self.master_data, self._invoices, self._ledger, self._mapping)
        self._catalogue = TrytonProducts(
            self._client, self.master_data, self._mapping.products, allowed=settings.products
        )
        self._user = ApplicationUser(self._client, settings, context.instance)

    @_as_the_books_are
    async def legal_entity(self, code: str) -> LegalEntity:
        company = await self.master_data.company(code)
        rows = await self._client.rows(
            "account.tax", [["company", "=", company["id"]]], ["name", "rate"], company["id"]
        )
        rates = {each["name"]: from_decimal(each["rate"]) * 100 for each in rows}
        named = self._mapping.of(code)
        taxes = tuple(
            Tax(tax, about.treatment, rates[about.record])
            for tax, about in (named.taxes.items() if named else ())
            if about.record in rates
        )
        return LegalEntity(
            code,
            company["name"],
            company["country"],
            company["currency"],
            {each.treatment: each.percent for each in reversed(taxes)},
            taxes,
            named.tax_rules if named else (),
            taxed_by_billing=named is not None and named.taxed_by_billing,
        )

    @_as_the_books_are
    async def known_products(self, skus: Sequence[str]) -> dict[str, Product]:
        found = await self.master_data.products(skus)
        return {sku: Product(each["tax_class"], each["digits"], not each["active"]) for sku, each in found.items()}

    @_as_the_books_are
    async def match_products(self, products: Sequence[CatalogueProduct]) -> tuple[ProductMatch, ...]:
        return await self._catalogue.match(products)

    @_as_the_books_are
    async def put_product(self, product: CatalogueProduct) -> CatalogueProduct:
        put = await self._catalogue.put(product)
        self.master_data.forget()  # it is another one than was read before
        return put

    @_as_the_books_are
    async def credit(
        self, customer_id: str, legal_entity: str, currencies: Collection[str], record: str = ""
    ) -> Credit:
        company = await self.master_data.company(legal_entity)
        fields = ["credit_amount", "credit_limit_amount", "code", "identifiers.code", "identifiers.active"]
        sought = matching.ours_or(customer_id, record)
        rows = await self._client.rows("party.party", sought, fields, company["id"])
        found = sorted(rows, key=lambda row: not matching.is_linked(row, customer_id))
        own: str = company["currency"]
        if not found:
            return Credit(Money.zero(own), None)
        limit = found[0]["credit_limit_amount"]
        used = Money.of(from_decimal(found[0]["credit_amount"]), own)
        if not limit:
            return Credit(used, None)
        others = sorted(set(currencies) - {own})
        rates = await self.master_data.rates(others, company) if others else {}
        return Credit(used, Money.of(from_decimal(limit), own), rates)

    # ---- customers

    @_as_the_books_are
    async def match_customer(self, customer: Customer) -> tuple[CustomerMatch, ...]:
        reference = customer.references.get(self._instance, "")
        alike = matching.similar(customer, reference)
        rows = await self._client.rows("party.party", alike, matching.FIELDS, 0, inactive=True)
        sellers = await self.master_data.sellers()
        others = [row for row in rows if row["id"] not in sellers]
        found = [each for row in others if (each := matching.match(row, customer, reference))]
        own = [each for each in found if each.customer_id]
        return tuple(own[:1] or found)

    async def customer_copy(self, customer: Customer) -> CustomerCopy:
        party = await self._record(customer)
        if party is None or not matching.is_linked(party, customer.id):
            raise NotFound("erp", f"there is no customer {customer.id}")
        own = [["party", "=", party["id"]]]
        addresses = await self._client.rows("party.address", own, mapping.ADDRESS, 0, 1)
        mails = await self._client.rows("party.contact_mechanism", [*own, ["type", "=", "email"]], ["value"], 0, 1)
        return mapping.customer_copy(party, addresses, mails, customer, matching.number_held(party, customer))

    @_as_the_books_are
    async def put_customer(self, customer: Customer) -> str:
        countries = await self.master_data.countries()
        if customer.address.country and customer.address.country not in countries:
            raise Rejected("erp", f"there is no country {customer.address.country}", field="customer.address")
        wanted = mapping.party(customer, countries, await self.master_data.identifier_types())
        found = await self._record(customer)
        if found is None:
            try:
                created = await self._client.call("model.party.party.create", [wanted])
            except Rejected:
                found = await self._party(customer.id)  # somebody else created it in this moment: its code is unique
                if found is None:
                    raise
                return str(found["id"])
            if customer.tax_number and eu_vat.is_valid(customer.tax_number):
                with contextlib.suppress(Rejected):  # then the first invoice is warned of, and answered
                    await self._client.confirm_numbers(created[0])
            return str(created[0])
        changes = await self._changes(customer, wanted, found)
        if changes:
            await self._client.call("model.party.party.write", [found["id"]], changes)
        return str(found["id"])

    async def _changes(self, customer: Customer, wanted: Row, party: Row) -> Row:
        """Return what to write to a party: differences in what the CRM owns and Tryton has a copy of."""
        own = [["party", "=", party["id"]]]
        changes: Row = {} if party["name"] == customer.name else {"name": customer.name}
        (address,) = wanted["addresses"][0][1]
        present = await self._client.rows("party.address", own, list(address), 0, 1)
        if not present:
            changes["addresses"] = wanted["addresses"]
        elif any(present[0][key] != value for key, value in address.items()):
            changes["addresses"] = [["write", [present[0]["id"]], address]]
        mail = customer.contact.email if customer.contact else ""
        known = await self._client.rows("party.contact_mechanism", [*own, ["type", "=", "email"]], ["value"], 0, 1)
        if mail and not known:
            changes["contact_mechanisms"] = wanted["contact_mechanisms"]
        elif mail and known[0]["value"] != mail:
            changes["contact_mechanisms"] = [["write", [known[0]["id"]], {"value": mail}]]
        elif known and not mail:
            changes["contact_mechanisms"] = [["delete", [known[0]["id"]]]]
        if not matching.is_linked(party, customer.id):
            changes["identifiers"] = [["create", [{"type": None, "code": customer.id}]]]
            if not matching.has_number(party, customer.tax_number or ""):
                changes["identifiers"] += wanted.get("identifiers", [])
        return changes

    async def _record(self, customer: Customer) -> Row | None:
        """Return the party that is the customer, or is to become it: the one that its references name, if it is in use
        and no other customer's."""
        reference = customer.references.get(self._instance, "")
        rows = await self._client.rows("party.party", matching.ours_or(customer.id, reference), matching.FIELDS, 0)
        own = [each for each in rows if matching.is_linked(each, customer.id)]
        return next(iter(own or [each for each in rows if matching.match(each, customer, reference)]), None)

    async def _party(self, customer_id: str) -> Row | None:
        found = await self._client.rows("party.party", matching.ours(customer_id), ["name", "addresses"], 0)
        return found[0] if found else None

    # ---- invoices

    async def put_invoices(self, batch: Sequence[InvoiceToPost], closed: ClosedPeriod) -> list[Posting | PlatformFault]:
        self.master_data.expire()
        try:
            results = await self._invoices.put(batch, closed)
        except REFUSED:
            self.master_data.forget()
            raise
        if any(isinstance(each, REFUSED) for each in results):
            self.master_data.forget()
        return results

    @_as_the_books_are
    async def preview_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        return await self._invoices.preview(InvoiceToPost(invoice, correlation.current()), closed)

    async def posting(self, invoice_id: str, legal_entity: str) -> Posting:
        found = await self._invoices.of(invoice_id, await self.master_data.company(legal_entity))
        posted = posted_of(found)
        if posted is None:
            raise NotFound("erp", f"the invoice {invoice_id} is not posted")
        return mapping.posting(posted)

    # ---- taking back

    @_as_the_books_are
    async def cancel_invoice(self, invoice: Invoice, closed: ClosedPeriod) -> Posting:
        company = await self.master_data.company(invoice.legal_entity)
        found = await self._invoices.of(invoice.id, company, mapping.CANCELLING)
        row = posted_of(found)
        if row is None:
            await self._invoices.delete_drafts(found, company)
            raise NotFound("erp", f"the invoice {invoice.id} is not posted")
        on = invoice.cancelled_on or invoice.issued_on
        if invoice.state == "void":
            if await self._undo_write_off(row, invoice.legal_entity, on, closed, company):
                row = posted_of(await self._invoices.of(invoice.id, company, mapping.CANCELLING)) or row
            if mapping.posting(row).balance.amount:
                await self._credit(invoice, row, closed, company)
        elif mapping.posting(row).balance.amount:
            await self._write_off(row, invoice.legal_entity, on, closed, company)
        return await self.posting(invoice.id, invoice.legal_entity)

    async def _credit(self, invoice: Invoice, row: Row, closed: ClosedPeriod, company: Row) -> None:
        """Post a credit note of a whole invoice, and reconcile the two."""
        if row["payment_lines"]:
            reason = f"{row['number']} is paid in part, and billing has voided it: credit what is left of it"
            raise Rejected("erp", reason, field="payments")
        note = mapping.credit_note(invoice)
        await self._invoices.put_one(note, closed)
        moves = [row["move"], *(each["move"] for each in await self._invoices.of(note.id, company, ["move"]))]
        await self._ledger.reconcile([["move", "in", moves], ["account", "=", row["account"]]], {}, company)

    async def _write_off(self, row: Row, legal_entity: str, on: date, closed: ClosedPeriod, company: Row) -> None:
        """Write off what is due of an invoice, with the method that the mapping names."""
        form = await self._write_off_form(row, legal_entity, on, closed, company)
        unpaid = [["move", "=", row["move"]], ["account", "=", row["account"]]]
        await self._ledger.reconcile(["OR", unpaid, [["id", "in", row["payment_lines"]]]], form, company)

    async def _write_off_form(
        self, row: Row, legal_entity: str, on: date, closed: ClosedPeriod, company: Row
    ) -> dict[str, Any]:
        """Return the form of Tryton's wizard for writing off. The move's description is billing's id."""
        named = self._mapping.of(legal_entity)
        if named is None or not named.write_off:
            reason = f"the mapping of {legal_entity} names no write_off: write {row['number']} off"
            raise Rejected("erp", reason, field="write_off")
        own = [["company", "=", company["id"]], ["name", "=", named.write_off]]
        methods = await self._client.rows("account.move.reconcile.write_off", own, ["id"], company["id"], 1)
        if not methods:
            reason = f"{company['name']} has no method to write off that is named {named.write_off}"
            raise Rejected("erp", reason, field="write_off")
        day = await self._invoices.open_day(on, closed, company)
        return {"writeoff": methods[0]["id"], "date": mapping.day(day), "description": row["reference"]}

    async def _undo_write_off(self, row: Row, legal_entity: str, on: date, closed: ClosedPeriod, company: Row) -> bool:
        """Let what is written off of an invoice be owed again. Return whether there was anything to undo.

        Its lines are parted from the write-off, which the same method then takes back on the day `on`: what comes in
        after all is on the account that the method credits. A run that was broken off between the two goes on here.
        Raises `Rejected` for what people have written off: they know why.
        """
        at = ["account", "=", row["account"]]
        settled = [["move", "=", row["move"]], at, ["reconciliation", "!=", None]]
        lines = await self._client.rows("account.move.line", settled, ["reconciliation"], company["id"])
        together = sorted({each["reconciliation"] for each in lines})
        which = ["OR", ["move.description", "=", row["reference"]], ["reconciliation", "in", together]]
        off = [at, ["move.company", "=", company["id"]], ["move.journal.type", "=", "write-off"], which]
        fields = ["reconciliation", "move.description", "move.number"]
        found = await self._client.rows("account.move.line", off, fields, company["id"])
        ours = [each for each in found if each["move."]["description"] == row["reference"]]
        by_people = [each["move."]["number"] for each in found if each not in ours]
        if by_people and not any(each["reconciliation"] in together for each in ours):
            reason = f"{row['number']} was written off by hand with {', '.join(by_people)}: cancel that, and retry"
            raise Rejected("erp", reason, field="write_off")
        joined = [each["id"] for each in found if each["reconciliation"] in together]
        left = [each["id"] for each in ours if each["reconciliation"] is None]
        if not joined and not left:
            return False
        form = await self._write_off_form(row, legal_entity, on, closed, company)
        if joined:
            await self._ledger.unreconcile(joined, company)
        await self._ledger.reconcile(["id", "in", [*joined, *left]], form, company)
        if not (await self.posting(row["reference"], legal_entity)).balance.amount:  # Tryton may do it a little later
            raise Conflict("erp", f"{row['number']} is not owed again yet", field="write_off")
        return True

    # ---- payments

    @_as_the_books_are
    async def put_payment(self, payment: Payment, legal_entity: str, closed: ClosedPeriod) -> Posting:
        """Book the payment with Tryton's own wizard, which reconciles it too.

        The move's description is the natural key.
        """
        company = await self.master_data.company(legal_entity)
        row, booked = await self._due(payment, company)
        on = payment.received_on
        if payment.recovered and not booked and await self._undo_write_off(row, legal_entity, on, closed, company):
            row, booked = await self._due(payment, company)
        if not booked and payment.amount.amount:
            await self._book(row, payment, closed, company)
        elif not payment.settles:
            return mapping.posting(row)
        if payment.settles:
            await self._settle_earlier(row, payment, company)
        return await self.posting(payment.invoice_id, legal_entity)

    async def _book(self, row: Row, payment: Payment, closed: ClosedPeriod, company: Row) -> None:
        try:
            await self._pay(row, payment, payment.received_on, company)
        except Rejected:
            row, booked = await self._due(payment, company)
            if not booked:  # nor by somebody else in this moment
                later = await self._invoices.open_day(payment.received_on, closed, company)
                if later == payment.received_on:
                    raise
                await self._pay(row, payment, later, company)

    async def _settle_earlier(self, invoice: Row, payment: Payment, company: Row) -> None:
        """Reconcile what earlier invoices left on the customer's account with the payment that settles it.

        What does not add up to nothing stays as it is: people have booked something there.
        """
        earlier = [["reference", "in", list(payment.settles)], ["type", "=", "out"], ["company", "=", company["id"]]]
        found = await self._client.rows("account.invoice", earlier, ["id"], company["id"])
        origins = [f"account.invoice,{each['id']}" for each in (invoice, *found)]
        left = [["account", "=", invoice["account"]], ["move.origin", "in", origins], ["move.state", "=", "posted"]]
        opened = [*left, ["reconciliation", "=", None]]
        fields = ["debit", "credit", "second_currency", "amount_second_currency"]
        lines = await self._client.rows("account.move.line", opened, fields, company["id"])
        if not lines or mapping.left_of(lines):
            return
        await self._ledger.reconcile(left, {}, company)

    async def _due(self, payment: Payment, company: Row) -> tuple[Row, bool]:
        """Return the posted invoice that is paid, and whether this payment of it is booked. Raises `Conflict` while
        it is not posted."""
        found = await self._invoices.of(payment.invoice_id, company, mapping.PAYING)
        row = posted_of(found)
        if row is None:
            raise Conflict("erp", f"the invoice {payment.invoice_id} is not posted yet", field="invoice_id")
        counted = payment.id in [each["move."]["description"] for each in row["payment_lines."]]
        # one that went back since is counted no more, and is booked all the same
        return row, counted or await self._ledger.is_booked(payment.id, company)

    async def _pay(self, invoice: Row, payment: Payment, on: date, company: Row) -> None:
        kind = mapping.payment_type(payment, mapping.posting(invoice).balance)
        form = mapping.payment(payment, invoice, on, (await self.master_data.opened(company))["payment_method"])
        await self._ledger.pay(invoice, form, kind, company)

    # ---- credit notes, and what went back

    @_as_the_books_are
    async def put_credit_note(self, note: CreditNote, closed: ClosedPeriod) -> Posting:
        company = await self.master_data.company(note.legal_entity)
        if note.given_up and note.state != "void":
            await self._let_be_owed(note, closed, company)
        return await self._credits.put(note, closed, company)

    async def _let_be_owed(self, note: CreditNote, closed: ClosedPeriod, company: Row) -> None:
        """Undo the write-off of an invoice before a credit note of it is counted, that was issued before and comes in
        later."""
        fields = [*mapping.CANCELLING, "lines_to_pay"]
        row = posted_of(await self._invoices.of(note.invoice_id, company, fields))
        own = posted_of(await self._invoices.of(note.id, company, fields))
        if row is None or mapping.posting(row).balance.amount >= note.off_due.amount:
            return
        if own is None or not set(own["lines_to_pay"]) & set(row["payment_lines"]):
            await self._undo_write_off(row, note.legal_entity, note.issued_on, closed, company)

    @_as_the_books_are
    async def put_reversal(self, reversal: PaymentReversal, closed: ClosedPeriod) -> Posting:
        return await self._credits.reverse(reversal, closed, await self.master_data.company(reversal.legal_entity))

    @_as_the_books_are
    async def put_fee(self, fee: DisputeFee, closed: ClosedPeriod) -> Posting:
        return await self._fees.put(fee, closed, await self.master_data.company(fee.legal_entity))

    async def check(self) -> None:
        await self._client.rows("company.company", [], ["id"], 0, 1)

    async def misfits(self) -> list[Misfit]:
        """Return what the mapping names and the books lack, the payment methods that are missing, and what our user may
        do too little or too much of."""
        companies = await self.master_data.companies()
        found = [*await self._user.misfits(companies), *await self.misfits_of_books()]
        for company in companies:
            method = [["company", "=", company["id"]], ["name", "=", PAYMENT_METHOD]]
            if not await self._client.rows("account.invoice.payment.method", method, ["id"], company["id"], 1):
                remedy = f"run `tiergate setup erp {self._instance}`, or create it on the account of what is paid out"
                what = f"{company['name']} has no payment method that is named {PAYMENT_METHOD!r}"
                found.append(Misfit(what, remedy))
        return found

    async def misfits_of_books(self) -> list[Misfit]:
        """Return what an accountant has to decide: companies, taxes, categories, an open period that the books lack."""
        companies = await self.master_data.load_companies()
        return await misfits(self._client, self._mapping, companies, self._clock().date())


def connect(settings: Settings, context: ConnectorContext) -> Tryton:
    """Return the connector of one Tryton."""
    return Tryton(settings, context)
