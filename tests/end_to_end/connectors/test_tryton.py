"""The Tryton connector passes the kit, on a real Tryton that the checks share: each has keys of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Generator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast, get_args

import httpx
import msgspec
import pytest

from canonical.billing import ClosedPeriod, Invoice, InvoiceToPost
from canonical.faults import Conflict, Misconfigured, Rejected, UnknownOutcome
from canonical.ids import identifiers, utc_now
from canonical.money import Money
from canonical.parties import Address, Contact, Credit, Recipient
from canonical.products import CatalogueProduct
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.site import GERMANY
from sandbox.tryton.server import DATABASE, TrytonServer
from system_apis.erp import tryton
from system_apis.erp.port import put_invoice
from system_apis.erp.tryton.books import SHIPPED
from system_apis.erp.tryton.client import READS
from system_apis.erp.tryton.connector import Tryton
from system_apis.erp.tryton.mapping import day, decimal, from_day
from tests.support.connector_kit import samples
from tests.support.connector_kit.erp import ErpKit, ErpSubject
from tests.support.connector_kit.kit import behaviour, behaviours, run
from tests.support.connector_kit.loopback import Seen
from tests.support.connector_kit.subject import INSTANCE, LEGAL_ENTITY, bench
from tests.support.drawn_invoices import by_code, contracts, invoicing, issued
from tiergate.dev.ports import free_port
from tiergate.dev.sandbox import secret_file
from tiergate.platforms import Connector

PERCENTS = {"standard": Decimal(19), "reduced": Decimal(7), "outside_scope": Decimal(0)}
RECORDS = {"standard": "VAT19", "reduced": "VAT7", "outside_scope": "EXPORT"}
"""Tryton's names of these taxes."""
NUMBERS = {
    "DE": ("DE136695976", "eu_vat"),
    "CH": ("CHE-116.281.710 MWST", "ch_vat"),
    "GB": ("GB980780684", "gb_vat"),
    "NO": ("NO 995 525 828 MVA", "no_vat"),
    "US": ("91-1144442", "us_ein"),
    "IN": ("27AAPFU0939F1ZV", "in_vat"),
    "IS": ("00621", "is_vat"),
    "KZ": ("whatever they write", None),
}
"""Tax numbers by country, each with Tryton's type of it."""
LONG = frozenset(
    {
        "a_credit_note_for_a_refund_that_was_there_before_it_takes_off_what_that_left_due",
        "a_credit_note_of_an_invoice_that_is_paid_in_part_is_taken_off_and_refunded",
        "a_credit_note_takes_off_what_is_due_and_pays_the_invoice_when_nothing_is_left",
        "a_credit_note_takes_off_what_refunds_have_left_due_also_of_those_that_come_later",
        "a_refund_for_several_credit_notes_pays_each_and_the_rest_is_due_again",
        "a_reversal_that_was_cut_short_before_its_credit_note_leaves_the_invoice_paid",
        "keys_that_look_alike_are_records_of_their_own",
        "money_that_went_back_without_a_credit_note_is_due_again_and_can_be_paid_again",
        "two_refunds_of_one_payment_at_once_leave_both_due",
        "what_a_void_credit_note_took_off_is_due_again",
        "what_earlier_invoices_left_is_settled_with_the_payment_that_includes_it",
        "what_was_written_off_is_owed_again_when_it_is_paid_or_voided_after_all",
    }
)
"""What takes as long in Tryton as all the rest: scenarios see most of it too."""
FOUND_BY = "DE811569869"
"""A tax number that no other check uses."""


class Books(ErpSubject):
    connector = cast("Connector", tryton)
    sku = "PLATFORM"
    session: tuple[str, str] | None = None
    """Of all tests: Tryton takes its time over a password."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._password = password
        self.secrets = (password,)
        self._http = httpx.AsyncClient(base_url=url, timeout=20)

    def settings(self, url: str) -> PlatformServer:
        return tryton.Settings(
            url=url, database=DATABASE, user="tiergate", password=Secret(self._password), products=True
        )

    def platform(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, timeout=20)

    def is_write(self, request: Seen) -> bool:
        method = json.loads(request.body)["method"]
        return not method.endswith((*READS, "common.db.login"))

    async def customers(self, customer_id: str) -> list[str]:
        found = await self.rows("party.party", [["code", "=", customer_id]], ["name"])
        return [each["name"] for each in found]

    async def posted(self, invoice_id: str) -> int:
        wanted = [["reference", "=", invoice_id], ["state", "in", ["posted", "paid"]]]
        return len(await self.rows("account.invoice", wanted, ["number"]))

    async def records(self, invoice_id: str) -> int:
        of = ["OR", ["reference", "=", invoice_id], ["reference", "like", f"{invoice_id}/%"]]
        return len(await self.rows("account.invoice", of, ["state"]))

    async def comments(self, invoice_id: str) -> list[str]:
        found = await self.rows("account.invoice", [["reference", "=", invoice_id]], ["comment"])
        return [each["comment"] for each in found]

    async def booked(self, invoice_id: str) -> dict[str, Any]:
        """Return how an invoice is booked: of its lines quantity and price, of its taxes base and amount, and debit and
        credit of what the customer owes."""
        fields = ["sequence_type_cache", "lines.quantity", "lines.unit_price", "taxes.base", "taxes.amount", "move"]
        (found,) = await self.rows("account.invoice", [["reference", "=", invoice_id]], fields)
        of_move = [["move", "=", found["move"]]]
        moves = await self.rows("account.move.line", of_move, ["debit", "credit", "account.type.receivable"])
        amounts = [(_number(each["debit"]), _number(each["credit"]), each["account."]["type."]) for each in moves]
        assert sum(debit - credit for debit, credit, _ in amounts) == 0
        return {
            "sequence": found["sequence_type_cache"],
            "lines": [(each["quantity"], each["unit_price"]["decimal"]) for each in found["lines."]],
            "taxes": sorted((each["base"]["decimal"], each["amount"]["decimal"]) for each in found["taxes."]),
            "owed": next((str(debit), str(credit)) for debit, credit, kind in amounts if kind["receivable"]),
        }

    async def payments(self, payment_id: str) -> int:
        return len(await self.rows("account.move", [["description", "=", payment_id]], ["number"]))

    async def draft(self, key: str, on: date, amount: Decimal) -> None:
        """Leave a move as a run leaves one that Tryton has refused to post: on accounts that were named then."""
        (method, *_) = await self.rows("account.invoice.payment.method", [], ["journal", "debit_account", "company"])
        of = ["company", "=", method["company"]]
        another = [of, ["type.expense", "=", True], ["code", "!=", "5.1.3"], ["closed", "!=", True]]
        (expense, *_) = await self.rows("account.account", another, ["id"])
        (period, *_) = await self.rows("account.period", [of, ["start_date", "<=", day(on)]], ["id"])
        nothing, worth = decimal(Decimal(0)), decimal(amount)
        lines = [
            {"account": expense["id"], "debit": worth, "credit": nothing},
            {"account": method["debit_account"], "debit": nothing, "credit": worth},
        ]
        move = {"description": key, "journal": method["journal"], "date": day(on), "period": period["id"]}
        move |= {"company": method["company"], "lines": [["create", lines]]}
        await self.call("model.account.move.create", [move], {"company": method["company"]})

    async def put_right(self, key: str, change: str) -> str:
        """Let finance change the account of what a draft costs, in the form of its `line` or of the `move`, and return
        the code of the new one."""
        of = [["move.description", "=", key], ["account.type.expense", "=", True]]
        (line,) = await self.rows("account.move.line", of, ["move", "account"])
        (method, *_) = await self.rows("account.invoice.payment.method", [], ["company"])
        others = [["company", "=", method["company"]], ["type.expense", "=", True], ["closed", "!=", True]]
        others += [["code", "!=", "5.1.3"], ["id", "!=", line["account"]]]
        (account, *_) = await self.rows("account.account", others, ["code"])
        context, changed = {"company": method["company"]}, {"account": account["id"]}
        if change == "line":
            await self.call("model.account.move.line.write", [line["id"]], changed, context)
        else:
            lines = {"lines": [["write", [line["id"]], changed]]}
            await self.call("model.account.move.write", [line["move"]], lines, context)
        return account["code"]

    async def post_moves(self, key: str) -> None:
        """Post the moves that have `key` as their description, as another run does."""
        await self._act("post", key)

    async def delete_moves(self, key: str) -> None:
        """Delete the moves that have `key` as their description, as another run does."""
        await self._act("delete", key)

    async def _act(self, name: str, key: str) -> None:
        moves = await self.rows("account.move", [["description", "=", key]], ["company"])
        context = {"company": moves[0]["company"]}
        await self.call(f"model.account.move.{name}", [each["id"] for each in moves], context)

    async def moved(self, key: str) -> dict[str, Decimal]:
        """Return what a posted move has put on each account, debit less credit, by the account's code."""
        of = [["move.description", "=", key], ["move.state", "=", "posted"]]
        rows = await self.rows("account.move.line", of, ["account.code", "debit", "credit"])
        return {
            each["account."]["code"]: Decimal(each["debit"]["decimal"]) - Decimal(each["credit"]["decimal"])
            for each in rows
        }

    async def taxes(self, invoice_id: str) -> dict[str, tuple[Decimal, Decimal]]:
        """Return what is taxed and the tax, by the name of the tax."""
        of = [["invoice.reference", "=", invoice_id]]
        rows = await self.rows("account.invoice.tax", of, ["tax.name", "base", "amount"])
        return {
            each["tax."]["name"]: (Decimal(each["base"]["decimal"]), Decimal(each["amount"]["decimal"]))
            for each in rows
        }

    async def identifiers(self, customer_id: str) -> list[dict[str, Any]]:
        return await self.rows("party.identifier", [["party.code", "=", customer_id]], ["type", "code"])

    async def mail_addresses(self, customer_id: str) -> list[str]:
        wanted = [["party.code", "=", customer_id], ["type", "=", "email"]]
        return [each["value"] for each in await self.rows("party.contact_mechanism", wanted, ["value"])]

    async def agreed(self, customer_id: str) -> list[dict[str, Any]]:
        """Return what the posted invoices of a customer say of their terms, in their order."""
        fields = ["description", "invoice_address", "invoice_address.party_name", "move.lines.maturity_date"]
        fields.append("payment_term.name")
        rows = await self.rows("account.invoice", [["party.code", "=", customer_id]], [*fields, "reference"])
        return [
            {
                "description": each["description"],
                "address": each["invoice_address"],
                "to": each["invoice_address."]["party_name"],
                "term": each["payment_term."]["name"] if each["payment_term."] else "",
                "due": next(
                    from_day(line["maturity_date"]) for line in each["move."]["lines."] if line["maturity_date"]
                ),
            }
            for each in sorted(rows, key=lambda row: row["reference"])
        ]

    async def party(self, name: str, **facts: Any) -> str:
        """Return a party that the company has made by itself, which is in Bonn."""
        made: dict[str, Any] = {"name": name, "addresses": [["create", [{"city": "Bonn"}]]]}
        made |= {key: value if isinstance(value, str) else [["create", value]] for key, value in facts.items()}
        (party,) = await self.call("model.party.party.create", [made], {})
        return str(party)

    async def write_limit(self, party: str, limit: Decimal) -> None:
        (company,) = await self.rows("company.company", [], ["id"])
        values = {"credit_limit_amount": decimal(limit)}
        await self.call("model.party.party.write", [int(party)], values, {"company": company["id"]})

    async def currency(self, code: str, rates: dict[date, str]) -> None:
        """Create a currency with its rates, by the day from which each holds."""
        of_days = [{"date": day(on), "rate": decimal(Decimal(rate))} for on, rate in rates.items()]
        made = {"code": code, "name": code, "rates": [["create", of_days]] if of_days else []}
        await self.call("model.currency.currency.create", [made], {})

    async def book_exchange_differences(self) -> None:
        """Set the accounts for what is lost and gained where the rate of a currency has changed."""
        (company,) = await self.rows("company.company", [], ["id"])
        context = {"company": company["id"]}
        accounts: dict[str, int] = {}
        for name, kind in (("debit", "expense"), ("credit", "revenue")):
            of_kind = [[f"type.{kind}", "=", True], ["closed", "!=", True]]
            (account, *_) = await self.rows("account.account", of_kind, ["id"])
            accounts[f"currency_exchange_{name}_account"] = account["id"]
        await self.call("model.account.configuration.write", [1], accounts, context)

    async def put_out_of_use(self, party: str) -> str:
        await self.call("model.party.party.write", [int(party)], {"active": False}, {})
        return party

    async def off(self, invoice_id: str) -> list[tuple[Decimal, Decimal]]:
        """Return debit and credit of what was written off of an invoice, on the account of the losses."""
        of = [["move.description", "=", invoice_id], ["account.type.expense", "=", True]]
        rows = await self.rows("account.move.line", of, ["debit", "credit"])
        return [(Decimal(each["debit"]["decimal"]), Decimal(each["credit"]["decimal"])) for each in rows]

    async def receivable(self, invoice_id: str) -> list[int]:
        """Return the lines of a posted invoice that the customer owes."""
        (found,) = await self.rows("account.invoice", [["reference", "=", invoice_id]], ["move", "account"])
        of = [["move", "=", found["move"]], ["account", "=", found["account"]]]
        return [each["id"] for each in await self.rows("account.move.line", of, ["id"])]

    async def go(self, wizard: str, lines: list[int], form: dict[str, Any], state: str) -> None:
        """Let a person go through a wizard on lines, and confirm what Tryton warns of."""
        (company,) = await self.rows("company.company", [], ["id"])
        context = {"company": company["id"], "active_model": "account.move.line", "active_id": lines[0]}
        context["active_ids"] = lines
        session, *_ = await self.call(f"wizard.{wizard}.create", context)
        params: list[Any] = [session, form, state, context]
        while "error" in (answer := await self._answer(f"wizard.{wizard}.execute", params)):
            kind, (name, *_) = answer["error"]
            assert kind == "UserWarning", answer
            user = int((Books.session or ("0", ""))[0])
            await self.call("model.res.user.warning.create", [{"user": user, "name": name}], {})

    async def delete_customer(self, customer_id: str) -> None:
        (party,) = await self.rows("party.party", [["code", "=", customer_id]], ["id"])
        await self.call("model.party.party.delete", [party["id"]], {})

    async def rows(self, model: str, domain: list[Any], fields: list[str]) -> list[dict[str, Any]]:
        return await self.call(f"model.{model}.search_read", domain, 0, None, None, fields, {})

    async def call(self, method: str, *params: Any) -> Any:
        if Books.session is None:
            user, key, *_ = await self._post("common.db.login", ["admin", {"password": self._password}, "en"])
            Books.session = (str(user), str(key))
        return await self._post(method, list(params))

    async def _post(self, method: str, params: list[Any]) -> Any:
        answer = await self._answer(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def _answer(self, method: str, params: list[Any]) -> dict[str, Any]:
        headers: dict[str, str] = {}
        if Books.session:
            proof = base64.b64encode(f"admin:{':'.join(Books.session)}".encode()).decode()
            headers["authorization"] = f"Session {proof}"
        body = {"id": 1, "method": method, "params": params}
        answer = await self._http.post(f"/{DATABASE}/rpc/", json=body, headers=headers)
        return cast("dict[str, Any]", answer.raise_for_status().json())

    async def close(self) -> None:
        await self._http.aclose()


def _number(value: dict[str, str]) -> Decimal:
    return Decimal(value["decimal"])


class TrytonKit(ErpKit):
    """What is asked of this connector beside what is asked of all."""

    @behaviour
    async def the_first_invoice_of_a_customer_meets_no_warning_about_its_tax_number(self) -> None:
        await self.bench.settled(await self._invoice("before"))  # the first of all is warned of our own number
        customer = samples.customer("warned", tax_number="DE136695976")
        await self.bench.settled(lambda: self.connector.put_customer(customer))
        before = len(self.loopback.seen)

        await self.bench.settled(lambda: put_invoice(self.connector, self._sample("warned"), "next"))

        methods = [json.loads(each.body)["method"] for each in self.loopback.seen[before:]]
        assert methods.count("model.account.invoice.post") == 1
        assert "model.res.user.warning.skip" not in methods

    @behaviour
    async def a_posting_of_a_day_that_no_fiscal_year_has_is_no_wait_for_a_period(self) -> None:
        await self.bench.settled(await self._invoice("before"))
        far = msgspec.structs.replace(self._sample("no_year"), issued_on=date(utc_now().year + 3, 1, 2))
        await self.bench.settled(lambda: self.connector.put_customer(samples.customer("no_year")))
        for closed in get_args(ClosedPeriod):
            with pytest.raises(Conflict, match="no fiscal year has") as waits:
                await self.bench.call(lambda closed=closed: put_invoice(self.connector, far, closed))
            with pytest.raises(Conflict, match="no fiscal year has"):
                await self.bench.call(lambda closed=closed: self.connector.preview_invoice(far, closed))
            assert waits.value.field == "fiscal_year"

    @behaviour
    async def an_invoice_of_a_day_that_has_begun_in_its_books_alone_is_posted(self) -> None:
        """Tryton's own day begins where its server is, unless the company has a time zone. Here it is a day of the next
        fiscal year, whose numbers are apart from those of all other invoices."""
        await self.bench.settled(await self._customer("ahead"))
        self.bench.offset = timedelta((date(utc_now().year + 1, 1, 2) - utc_now().date()).days)
        begun = msgspec.structs.replace(self._sample("ahead"), id="in_ahead", issued_on=self._today())
        to_come = msgspec.structs.replace(begun, id="in_to_come", issued_on=self._today() + timedelta(days=1))

        posted = await self.bench.settled(lambda: put_invoice(self.connector, begun, "next"))
        with pytest.raises(Rejected, match="date in the future"):
            await self.bench.call(lambda: put_invoice(self.connector, to_come, "next"))
        self.bench.offset = timedelta()

        assert posted.posted_on == begun.issued_on

    @behaviour
    async def a_preview_of_a_closed_period_is_of_the_day_that_it_is_booked_on(self) -> None:
        books, year = cast("Books", self.subject), utc_now().year - 1
        january = [["start_date", "=", day(date(year, 1, 1))], ["type", "=", "standard"]]
        (period,) = await books.rows("account.period", january, ["id"])
        await books.call("model.account.period.close", [period["id"]], {})
        await self.bench.settled(await self._customer("closed"))
        made = msgspec.structs.replace(self._sample("closed"), issued_on=date(year, 1, 15))

        for act in (
            lambda: self.connector.preview_invoice(made, "wait"),
            lambda: put_invoice(self.connector, made, "wait"),
        ):
            fault = await self.bench.fault(act)
            assert isinstance(fault, Conflict), repr(fault)
            assert fault.field == "period"
        previewed = await self.bench.settled(lambda: self.connector.preview_invoice(made, "next"))
        booked = await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))
        assert previewed.posted_on == booked.posted_on == date(year, 2, 1)

    @behaviour
    async def the_draft_of_a_preview_that_nobody_asks_for_again_is_gone_with_the_next_posting(self) -> None:
        await self.bench.settled(await self._customer("left"))
        made = msgspec.structs.replace(self._sample("left"), id="amd_left:preview")
        self.lose_all_from(1)
        with pytest.raises(UnknownOutcome):
            await self.bench.call(lambda: self.connector.preview_invoice(made, "next"))
        self.loopback.calm()
        for wait, left in ((timedelta(), 1), (timedelta(hours=2), 0)):
            self.bench.offset = wait
            await self.bench.settled(lambda: put_invoice(self.connector, self._sample("left"), "next"))
            assert await self.subject.records(made.id) == left

    @behaviour
    async def a_credit_alone_is_a_credit_note_and_what_is_mixed_is_an_invoice(self) -> None:
        """Tryton chooses the sequence by itself (`_sequence_type` of `account.invoice`, 8.2)."""
        books = cast("Books", self.subject)
        await self.bench.settled(await self._customer("mixed_signs"))
        credit, mixed = (
            samples.prorated(f"in_mixed_signs_{place}", "mixed_signs", self.subject.sku, parts, self._today())
            for place, parts in enumerate(
                (
                    ((1000, Money(-299_99, "EUR")), (15, Money(-2_91, "EUR"))),
                    ((10, Money(-30_02, "EUR")), (15, Money(29_12, "EUR"))),
                )
            )
        )
        untaxed = tuple(msgspec.structs.replace(each, tax=each.tax - each.tax) for each in mixed.lines)
        reverse = samples.invoice_of("in_mixed_reverse", mixed.customer_id, untaxed, self._today())
        reverse = msgspec.structs.replace(reverse, tax_treatment="reverse_charge")
        batch = [InvoiceToPost(each, "cor_mixed_signs") for each in (credit, mixed, reverse)]

        await self.bench.settled(lambda: self.connector.put_invoices(batch, "next"))

        assert await books.booked(credit.id) == {
            "sequence": "credit_note",
            "lines": [(-1.0, "299.99"), (-15.0, "0.1940")],
            "taxes": [("-302.90", "-57.55")],
            "owed": ("0", "360.45"),
        }
        assert await books.booked(mixed.id) == {
            "sequence": "invoice",
            "lines": [(-10.0, "3.0020"), (15.0, "1.9413")],
            "taxes": [("-30.02", "-5.70"), ("29.12", "5.53")],
            "owed": ("0", "1.07"),
        }
        assert (await books.booked(reverse.id))["taxes"] == [("-30.02", "-0.00"), ("29.12", "0.00")]

    @behaviour
    async def what_an_accountant_corrects_is_seen_by_the_next_attempt(self) -> None:
        books = cast("Books", self.subject)
        put = await self._invoice("corrected")
        (tax,) = await books.rows("account.tax", [["name", "=", "VAT19"]], ["id"])
        await books.call("model.account.tax.write", [tax["id"]], {"name": "Another"}, {})
        cast("Tryton", self.connector).master_data.forget()
        with pytest.raises(Rejected, match="no tax that is named VAT19"):
            await self.bench.call(put)

        await books.call("model.account.tax.write", [tax["id"]], {"name": "VAT19"}, {})

        await self.bench.settled(put)
        assert await books.posted(self._sample("corrected").id) == 1

    @behaviour
    async def a_country_that_is_added_is_seen_by_the_next_attempt(self) -> None:
        books, connector = cast("Books", self.subject), cast("Tryton", self.connector)
        customer = samples.customer("of_a_new_country")
        (country,) = await books.rows("country.country", [["code", "=", customer.address.country]], ["id"])
        await books.call("model.country.country.write", [country["id"]], {"code": "XX"}, {})
        connector.master_data.forget()
        with pytest.raises(Rejected, match="there is no country"):
            await self.bench.call(lambda: connector.put_customer(customer))

        await books.call("model.country.country.write", [country["id"]], {"code": customer.address.country}, {})

        await self.bench.settled(lambda: connector.put_customer(customer))

    @behaviour
    async def the_address_of_a_contact_that_is_gone_is_gone(self) -> None:
        customer = samples.customer("gone_contact")
        for contact, kept in (
            (customer.contact, ["kim@example.com"]),
            (None, []),
            (customer.contact, ["kim@example.com"]),
        ):
            now = msgspec.structs.replace(customer, contact=contact)
            await self.bench.settled(lambda now=now: self.connector.put_customer(now))
            assert await cast("Books", self.subject).mail_addresses(customer.id) == kept

    @behaviour
    async def a_tax_number_of_any_country_is_kept_with_its_kind(self) -> None:
        for country, (number, kind) in NUMBERS.items():
            made = samples.customer(f"number.{country}", tax_number=number)
            abroad = msgspec.structs.replace(made, address=Address("Street 1", "1000", "City", country))
            await self.bench.settled(lambda abroad=abroad: self.connector.put_customer(abroad))
            (kept,) = await cast("Books", self.subject).identifiers(abroad.id)
            assert kept["type"] == kind, country
            assert re.sub(r"\W", "", kept["code"]) in re.sub(r"\W", "", number)  # Tryton writes them its own way

    @behaviour
    async def an_invoice_bears_what_was_agreed_for_it(self) -> None:
        books = cast("Books", self.subject)
        await self.bench.settled(await self._customer("terms"))
        issued, accounts = self._today(), Address("Parkring 2", "1010", "Wien", "AT")
        agreed_on = (("a", "Accounts Payable", 45), ("b", "Accounts Payable", 60), ("c", "", 30))
        for key, recipient, days in agreed_on:
            agreed = msgspec.structs.replace(
                self._sample("terms"),
                id=f"in_terms_{key}",
                due_on=issued + timedelta(days=days),
                purchase_order="4500012345",
                bill_to=Recipient(recipient, "ap@example.com", accounts) if recipient else None,
            )
            await self.bench.settled(lambda agreed=agreed: put_invoice(self.connector, agreed, "next"))

        booked = await books.agreed("terms")
        assert [each["to"] for each in booked] == ["Accounts Payable", "Accounts Payable", "Example GmbH"]
        assert booked[0]["address"] == booked[1]["address"] != booked[2]["address"]
        assert [(each["due"] - issued).days for each in booked] == [45, 60, 30]
        assert [each["term"] for each in booked] == ["", "Net 60 days", ""]  # there are two of 30 days
        assert all(each["description"].startswith("PO 4500012345 ") for each in booked)

    @behaviour
    async def what_was_overpaid_is_the_credit_of_the_customer(self) -> None:
        act = await self._invoice("overpaid")
        await self.bench.settled(act)
        made = self._sample("overpaid")
        more = Money(5_00, "EUR")
        paid = msgspec.structs.replace(samples.payment(made), amount=made.total + more, overpaid=more)
        for _ in ("once", "again"):
            posting = await self.bench.settled(lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"))
            assert posting.balance == Money.zero("EUR")

        credit = await self.bench.settled(lambda: self.connector.credit("overpaid", LEGAL_ENTITY, ["EUR"]))
        assert credit.used == Money(-5_00, "EUR")
        assert await self.subject.payments(paid.id) == 1

    @behaviour
    async def a_write_off_that_is_undone_by_half_is_undone(self) -> None:
        books = cast("Books", self.subject)
        await self.bench.settled(await self._invoice("half"))
        made = msgspec.structs.replace(self._sample("half"), state="uncollectible", cancelled_on=self._today())
        await self.bench.settled(lambda: self.connector.cancel_invoice(made, "next"))
        await books.go("account.move.unreconcile_lines", await books.receivable(made.id), {}, "unreconcile")
        paid = msgspec.structs.replace(samples.payment(made), recovered=True)

        posting = await self.bench.settled(lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"))

        owed, credit = made.total.decimal, await self.bench.call(lambda: self.connector.credit("half", "DE01", ["EUR"]))
        assert (posting.balance.amount, credit.used.amount) == (0, 0)
        assert sorted(await books.off(made.id)) == [(Decimal(0), owed), (owed, Decimal(0))]

    @behaviour
    async def what_people_have_written_off_they_undo(self) -> None:
        books = cast("Books", self.subject)
        await self.bench.settled(await self._invoice("hand"))
        made = msgspec.structs.replace(self._sample("hand"), state="void", cancelled_on=self._today())
        paid = msgspec.structs.replace(samples.payment(made), recovered=True)
        (method,) = await books.rows("account.move.reconcile.write_off", [], ["id"])
        form = {"writeoff": method["id"], "date": day(self._today()), "description": "They are bankrupt"}
        await books.go("account.move.reconcile_lines", await books.receivable(made.id), {"writeoff": form}, "reconcile")

        for act in (
            lambda: self.connector.cancel_invoice(made, "next"),
            lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"),
        ):
            fault = await self.bench.fault(act)
            assert isinstance(fault, Rejected), repr(fault)
            assert "was written off by hand with" in fault.reason

    @behaviour
    async def what_earlier_invoices_left_is_settled_with_the_payment_that_includes_it(self) -> None:
        await self.bench.settled(await self._customer("carried"))
        small, big, more = (
            samples.invoice(f"in_carried_{place}", "carried", self.subject.sku, (Money(cents, "EUR"),), self._today())
            for place, cents in enumerate((30, 100_00, 4_00))
        )
        for each in (small, big, more):
            await self.bench.settled(lambda each=each: put_invoice(self.connector, each, "next"))

        async def paid(of: Invoice, amount: Money, **facts: Any) -> None:
            payment = msgspec.structs.replace(samples.payment(of), amount=amount, **facts)
            for _ in ("once", "again"):
                await self.bench.settled(lambda: self.connector.put_payment(payment, LEGAL_ENTITY, "next"))

        async def left() -> list[int]:
            postings = [
                await self.bench.settled(lambda each=each: self.connector.posting(each.id, LEGAL_ENTITY))
                for each in (small, big, more)
            ]
            return [each.balance.amount for each in postings]

        over = Money(1_00, "EUR")
        await paid(big, big.total + small.total, overpaid=small.total)
        assert await left() == [36, 0, 4_76]
        await paid(big, big.total + small.total, overpaid=small.total, settles=(small.id,))
        assert await left() == [0, 0, 4_76]
        last = samples.invoice("in_carried_3", "carried", self.subject.sku, (Money(5_00, "EUR"),), self._today())
        await self.bench.settled(lambda: put_invoice(self.connector, last, "next"))
        await paid(more, more.total + over, overpaid=over)
        await paid(last, last.total - over, settles=(more.id,))
        assert await left() == [0, 0, 0]
        assert (await self.bench.settled(lambda: self.connector.posting(last.id, LEGAL_ENTITY))).balance.amount == 0

    @behaviour
    async def a_credit_in_another_currency_is_settled_whatever_that_is_worth_by_then(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        await books.currency("SEK", {date(2020, 1, 1): "11.37", today: "10.91"})
        await books.book_exchange_differences()
        await self.bench.settled(await self._customer("abroad"))
        parts = ((10, Money(-194_13, "SEK")), (15, Money(29_12, "SEK")), (7, Money(2_91, "SEK")))
        more = ((10, Money(294_13, "SEK")), (15, Money(-29_12, "SEK")), (7, Money(2_91, "SEK")))
        credit = samples.prorated("in_abroad_0", "abroad", self.subject.sku, parts, today - timedelta(days=1))
        made = samples.prorated("in_abroad_1", "abroad", self.subject.sku, more, today)
        for each in (credit, made):
            await self.bench.settled(lambda each=each: put_invoice(self.connector, each, "next"))
        rest = made.total + credit.total
        paid = msgspec.structs.replace(samples.payment(made), amount=rest, settles=(credit.id,))

        for _ in ("once", "again"):
            await self.bench.settled(lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"))

        for each in (credit, made):
            posting = await self.bench.settled(lambda each=each: self.connector.posting(each.id, LEGAL_ENTITY))
            assert posting.balance == Money.zero("SEK"), each.id
        owed = await self.bench.settled(lambda: self.connector.credit("abroad", LEGAL_ENTITY, ["EUR"]))
        assert owed.used == Money.zero("EUR")

    @behaviour
    async def what_went_back_of_an_invoice_in_another_currency_leaves_no_difference_of_rates(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        await books.currency("NOK", {date(2020, 1, 1): "11.37", today: "10.91"})
        await books.book_exchange_differences()
        await self.bench.settled(await self._customer("returned"))
        lines = (Money(1000_00, "NOK"),)
        made = samples.invoice("in_returned", "returned", self.subject.sku, lines, today - timedelta(days=1))
        paid = msgspec.structs.replace(samples.payment(made), received_on=today)
        await self.bench.settled(lambda: put_invoice(self.connector, made, "next"))

        async def owed() -> Money:
            found = await self.bench.settled(lambda: self.connector.credit("returned", LEGAL_ENTITY, ["EUR"]))
            return found.used

        before = await owed()
        await self.bench.settled(lambda: self.connector.put_payment(paid, LEGAL_ENTITY, "next"))
        assert await owed() == Money.zero("EUR")
        back = samples.reversal(paid, paid.amount)
        for _ in ("once", "again"):
            reopened = await self.bench.settled(lambda: self.connector.put_reversal(back, "next"))
            assert (reopened.balance, await owed()) == (made.total, before)
        again = msgspec.structs.replace(paid, id="pay_returned_again")
        await self.bench.settled(lambda: self.connector.put_payment(again, LEGAL_ENTITY, "next"))
        assert await owed() == Money.zero("EUR")

    @behaviour
    async def what_a_dispute_costs_is_an_expense_off_what_billing_owes_until_it_is_given_back(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        await books.currency("DKK", {date(2020, 1, 1): "7.40", today - timedelta(days=1): "8.00", today: "7.50"})
        for currency, on, worth in (
            ("EUR", today, "20"),
            ("DKK", today, "2.67"),
            ("DKK", today - timedelta(days=1), "2.5"),
        ):
            key, amount = f"txn_{currency}_{on}", Money(2000, currency)
            taken, back = samples.fee(key, amount, on), samples.fee(f"{key}_back", -amount, on)
            for each in (taken, back):
                for _ in ("once", "again"):
                    posted = await self.bench.settled(lambda each=each: self.connector.put_fee(each, "next"))
                    assert (posted.total, posted.balance.amount, posted.reference) == (each.amount, 0, each.id)
            expense, clearing = Decimal(worth), -Decimal(worth)
            assert await books.moved(taken.id) == {"5.1.3": expense, "1.1.9": clearing}
            assert await books.moved(back.id) == {"5.1.3": -expense, "1.1.9": -clearing}

    @behaviour
    async def a_fee_whose_account_is_not_named_or_not_there_is_refused(self) -> None:
        shipped = SHIPPED.read_text()
        for place, wrong in enumerate(("", 'payment_fees = "4711"', 'payment_fees = "1.1.9"')):
            self._map(shipped.replace('payment_fees = "5.1.3"', wrong), f"wrong-{place}")
            taken = samples.fee("txn_nowhere", Money(2000, "EUR"), self._today())
            connector = self.bench.connect()
            fault = await self.bench.fault(lambda connector=connector, taken=taken: connector.put_fee(taken, "next"))
            assert (type(fault), fault.field) == (Rejected, "payment_fees"), repr(fault)
            found = await self.bench.call(cast("Tryton", connector).misfits)
            assert ["payment_fees" in each.what for each in found] == [True] * bool(wrong)
        assert await self.subject.payments("txn_nowhere") == 0

    @behaviour
    async def a_fee_that_was_refused_is_booked_by_what_the_mapping_says_when_it_is_tried_again(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        taken = samples.fee("txn_refused", Money(2000, "EUR"), today)
        await books.draft(taken.id, today, Decimal(20))
        assert await books.moved(taken.id) == {}
        await self.bench.settled(lambda: self.connector.put_fee(taken, "next"))
        assert await books.moved(taken.id) == {"5.1.3": Decimal(20), "1.1.9": Decimal(-20)}
        assert await books.payments(taken.id) == 1

    @behaviour
    async def a_fee_that_finance_has_put_right_is_posted_as_it_is(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        for change in ("line", "move"):
            taken = samples.fee(f"txn_put_right_{change}", Money(2000, "EUR"), today)
            await books.draft(taken.id, today, Decimal(20))
            account = await books.put_right(taken.id, change)
            posted = await self.bench.settled(lambda each=taken: self.connector.put_fee(each, "next"))
            assert (posted.reference, await books.payments(taken.id)) == (taken.id, 1)
            assert await books.moved(taken.id) == {account: Decimal(20), "1.1.9": Decimal(-20)}

    @behaviour
    async def a_fee_that_another_run_posts_in_this_moment_is_booked_once_and_refused_by_nothing(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        taken = samples.fee("txn_just_posted", Money(2000, "EUR"), today)
        await books.draft(taken.id, today, Decimal(20))

        async def post(request: Seen) -> None:
            if json.loads(request.body)["method"] == "model.account.move.delete":
                self.bench.loopback.before = None
                await books.post_moves(taken.id)

        self.bench.loopback.before = post
        posted = await self.bench.call(lambda: self.connector.put_fee(taken, "next"))
        assert (posted.reference, await books.payments(taken.id)) == (taken.id, 1)

    @behaviour
    async def a_fee_whose_draft_another_run_deletes_in_this_moment_is_booked_once(self) -> None:
        books, today = cast("Books", self.subject), self._today()
        taken = samples.fee("txn_just_deleted", Money(2000, "EUR"), today)
        made = False

        async def delete(request: Seen) -> None:
            nonlocal made
            method = json.loads(request.body)["method"]
            if made and method == "model.account.move.search_read":
                self.bench.loopback.before = None
                await books.delete_moves(taken.id)
            made = made or method == "model.account.move.create"

        self.bench.loopback.before = delete
        await self.bench.settled(lambda: self.connector.put_fee(taken, "next"))
        assert (made, await books.payments(taken.id)) == (True, 1)

    @behaviour
    async def two_runs_of_a_fee_at_once_of_different_days_book_it_once(self) -> None:
        today = self._today()
        days = (today, today - timedelta(days=1))
        taken = [samples.fee("txn_two_days", Money(2000, "EUR"), each) for each in days]
        acts = [lambda each=each: self.connector.put_fee(each, "next") for each in taken]
        booked = await asyncio.gather(*(self.bench.settled(each) for each in acts))
        assert booked[0] == booked[1]
        assert await self.subject.payments("txn_two_days") == 1

    @behaviour
    async def what_its_mapping_names_and_the_books_lack_is_named_with_a_remedy(self) -> None:
        assert await self.bench.call(cast("Tryton", self.connector).misfits) == []
        wrong = SHIPPED.read_text().replace('"VAT19"', '"VAT 19"').replace("Printed matter", "Books")
        another = '[legal_entities.XX99]\ntaxes.export.record = "EXPORT"\ntax_rules = [{ tax = "export" }]\n'
        self._map(wrong + another + '[custom.invoice]\nproject = "projekt"\n')

        found = await self.bench.call(cast("Tryton", self.bench.connect()).misfits)

        keys = [each.what.partition(": ")[0] for each in found]
        assert keys == [
            "custom.invoice.project",
            'legal_entities."*".taxes.standard.record',
            "legal_entities.XX99",
            "product_classes.Books",
        ]
        assert "(did you mean VAT19?)" in found[1].remedy

    @behaviour
    async def custom_fields_are_lines_of_the_invoice_s_comment(self) -> None:
        await self.bench.settled(lambda: self.connector.put_customer(samples.customer("noted")))
        sample = msgspec.structs.replace(self._sample("noted"), custom={"cost_center": "4711", "project": "Süd"})

        await self.bench.settled(lambda: put_invoice(self.connector, sample, "next"))

        assert await cast("Books", self.subject).comments(sample.id) == ["cost_center: 4711\nproject: Süd"]

    @behaviour
    async def a_company_whose_books_they_are_is_never_taken_over(self) -> None:
        books = cast("Books", self.subject)
        (company,) = await books.rows("company.company", [], ["party", "party.name"])
        customer = samples.customer("seller", company["party."]["name"], tax_number=GERMANY.tax_number)

        found = await self.bench.settled(lambda: self.connector.match_customer(customer))

        assert str(company["party"]) not in [each.id for each in found]

    @behaviour
    async def who_may_be_the_customer_is_found_by_number_name_and_e_mail(self) -> None:
        books, new_id = cast("Books", self.subject), identifiers()
        name, mail = f"Sought {new_id('act')}", f"{new_id('act')}@example.com"
        customer = msgspec.structs.replace(
            samples.customer(new_id("cus"), name, tax_number=FOUND_BY), contact=Contact("Kim", mail)
        )
        typed = await books.party("T-1", identifiers=[{"type": "eu_vat", "code": FOUND_BY}])
        national = await books.party("T-2", identifiers=[{"type": "de_vat", "code": FOUND_BY[2:]}])
        written = await books.party("T-3", identifiers=[{"code": f"DE {FOUND_BY[2:5]}.{FOUND_BY[5:]}"}])
        inactive = await books.put_out_of_use(
            await books.party("T-4", identifiers=[{"type": "eu_vat", "code": FOUND_BY}])
        )
        named = await books.party(name.upper())
        mailed = await books.party("T-5", contact_mechanisms=[{"type": "email", "value": mail.upper()}])
        other = [{"code": new_id("cus")}, {"type": "eu_vat", "code": FOUND_BY}]
        taken = await books.party(name, identifiers=other)
        await books.party(name, code=new_id("cus"))
        await books.party("T-6", identifiers=[{"type": "eu_vat", "code": "DE136695976"}])

        found = await self.bench.settled(lambda: self.connector.match_customer(customer))

        assert {each.id: (each.same_tax_number, each.active) for each in found} == {
            typed: (True, True),
            national: (True, True),
            written: (True, True),
            inactive: (True, False),
            named: (False, True),
            mailed: (False, True),
        }
        assert {(each.email, each.city) for each in found if each.id == mailed} == {(mail.upper(), "Bonn")}
        assert taken not in [each.id for each in found]

    @behaviour
    async def a_party_is_taken_over_and_keeps_its_own_code(self) -> None:
        books, customer_id = cast("Books", self.subject), identifiers()("cus")
        theirs = await books.party("Old name", code=f"K-{customer_id}")
        customer = samples.customer(customer_id, tax_number="DE136695976", references={INSTANCE: theirs})

        put = await asyncio.gather(
            *(self.bench.settled(lambda: self.connector.put_customer(customer)) for _ in range(2))
        )
        alone = samples.customer(customer_id, "New name", tax_number="DE136695976")
        again = await self.bench.settled(lambda: self.connector.put_customer(alone))

        (now,) = await books.rows("party.party", [["id", "=", int(theirs)]], ["code", "name", "addresses.city"])
        codes = await books.rows("party.identifier", [["party", "=", int(theirs)]], ["type", "code"])
        assert {*put, again} == {theirs}
        assert (now["code"], now["name"], now["addresses."][0]["city"]) == (f"K-{customer_id}", "New name", "Berlin")
        assert {(each["type"], each["code"]) for each in codes} == {(None, customer_id), ("eu_vat", "DE136695976")}
        (ours,) = await self.bench.settled(lambda: self.connector.match_customer(alone))
        assert (ours.id, ours.customer_id) == (theirs, customer_id)
        posting = await self.bench.settled(lambda: put_invoice(self.connector, self._sample(customer_id), "next"))
        credit = await self.bench.settled(lambda: self.connector.credit(customer_id, LEGAL_ENTITY, ["EUR"]))
        assert credit.used == posting.total

    @behaviour
    async def credit_is_kept_in_the_currency_of_the_books_with_the_rates_of_the_day(self) -> None:
        books, new_id = cast("Books", self.subject), identifiers()
        theirs = await books.party("On credit")
        await books.write_limit(theirs, Decimal(5000))
        today = self._today()
        await books.currency("CHF", {today - timedelta(days=9): "0.5", today: "0.8", today + timedelta(days=1): "4"})
        await books.currency("GBP", {})

        async def credit(*currencies: str, record: str = "") -> Credit:
            return await self.bench.call(lambda: self.connector.credit(new_id("cus"), LEGAL_ENTITY, currencies, record))

        assert await credit("EUR", "GBP") == Credit(Money.zero("EUR"), None)
        known = await credit("CHF", "EUR", record=theirs)
        assert (known.limit, known.rates) == (Money(5000_00, "EUR"), {"CHF": Decimal("1.25")})
        assert known.in_books(Money(100_00, "CHF")) == Money(125_00, "EUR")
        fault = await self.bench.fault(lambda: credit("CHF", "GBP", record=theirs))
        assert isinstance(fault, Rejected), repr(fault)
        assert (fault.field, fault.reason.partition(":")[0]) == ("currency", "Tryton has no rate of GBP for today")

    @behaviour
    async def a_party_of_another_customer_or_out_of_use_is_not_taken_over(self) -> None:
        books, new_id = cast("Books", self.subject), identifiers()
        others = await books.party("Other", identifiers=[{"code": new_id("cus")}])
        unused = await books.put_out_of_use(await books.party("Unused"))

        for theirs in (others, unused, "999999", "cus_of_stripe"):
            customer = samples.customer(new_id("cus"), references={INSTANCE: theirs})
            assert await self.bench.settled(lambda customer=customer: self.connector.put_customer(customer)) != theirs

    @behaviour
    async def a_product_is_created_once_with_its_unit_and_category_and_then_renamed(self) -> None:
        wanted = CatalogueProduct("CREATED", "Created", "Hour", "Printed matter")
        await self.settled_twice(wanted)
        await self.bench.settled(lambda: self.connector.put_product(CatalogueProduct("CREATED", "Renamed")))

        assert await self.products("CREATED") == [("Renamed", True, "Hour", "Printed matter")]
        (match,) = await self.bench.settled(lambda: self.connector.match_products([wanted]))
        assert match.present == msgspec.structs.replace(wanted, name="Renamed")

    @behaviour
    async def a_product_that_is_withdrawn_is_put_out_of_use_and_is_posted_still(self) -> None:
        wanted = CatalogueProduct("WITHDRAWN", "Withdrawn", category="Subscriptions")
        unused = msgspec.structs.replace(wanted, active=False)
        await self.bench.settled(lambda: self.connector.put_product(wanted))
        await self.settled_twice(unused)
        await self.bench.settled(lambda: self.connector.put_customer(samples.customer("of_withdrawn")))
        sold = samples.invoice("in_withdrawn", "of_withdrawn", "WITHDRAWN", (Money(100, "EUR"),), utc_now().date())
        posting = await self.bench.settled(lambda: put_invoice(self.connector, sold, "next"))

        assert [active for _, active, _, _ in await self.products("WITHDRAWN")] == [False]
        assert posting.total == sold.total
        known = await self.bench.settled(lambda: self.connector.known_products(["WITHDRAWN", "PLATFORM"]))
        assert {sku: each.withdrawn for sku, each in known.items()} == {"WITHDRAWN": True, "PLATFORM": False}
        await self.bench.settled(lambda: self.connector.put_product(wanted))
        assert [active for _, active, _, _ in await self.products("WITHDRAWN")] == [True]

    @behaviour
    async def what_a_product_lacks_is_said_before_it_is_put_and_refused_after(self) -> None:
        refused = {
            "unit": CatalogueProduct("LACKING", "Lacking", "Parsec", "Subscriptions"),
            "category": CatalogueProduct("LACKING", "Lacking", category="Nothing"),
        }
        for field, each in refused.items():
            (match,) = await self.bench.settled(lambda each=each: self.connector.match_products([each]))
            fault = await self.bench.fault(lambda each=each: self.connector.put_product(each))
            assert [found.field for found in match.findings] == [field]
            assert isinstance(fault, Rejected)
            assert fault.field == field
        other_unit = CatalogueProduct("PLATFORM", "Platform fee", "Hour")
        fault = await self.bench.fault(lambda: self.connector.put_product(other_unit))
        assert "a unit in use is never changed" in fault.reason
        assert await self.products("LACKING") == []

    @behaviour
    async def a_product_that_is_sold_no_more_is_not_created(self) -> None:
        await self.settled_twice(CatalogueProduct("NEVER", "Never", category="Subscriptions", active=False))

        assert await self.products("NEVER") == []

    @behaviour
    async def products_are_written_only_where_the_settings_say_so(self) -> None:
        self.bench.settings = msgspec.structs.replace(self.bench.settings, products=False)
        connector = self.bench.connect()
        wanted = CatalogueProduct("UNWANTED", "Unwanted", category="Subscriptions")

        fault = await self.bench.fault(lambda: connector.put_product(wanted))
        there = CatalogueProduct("PLATFORM", "Platform fee")
        (match,) = await self.bench.settled(lambda: connector.match_products([there]))

        assert isinstance(fault, Rejected)
        assert fault.field == "products"
        assert match.findings == ()

    async def settled_twice(self, product: CatalogueProduct) -> None:
        for _ in range(2):
            await self.bench.settled(lambda: self.connector.put_product(product))

    async def products(self, sku: str) -> list[tuple[str, bool, str, str]]:
        """Return what Tryton has under a code: name, whether it is in use, unit and category."""
        fields = ["name", "active", "default_uom.name", "account_category.name"]
        rows = await cast("Books", self.subject).rows(
            "product.product", [["code", "=", sku], ["active", "in", [True, False]]], fields
        )
        return [
            (each["name"], bool(each["active"]), each["default_uom."]["name"], each["account_category."]["name"])
            for each in rows
        ]

    @behaviour
    async def a_wrong_password_is_named(self) -> None:
        self.bench.settings = msgspec.structs.replace(self.bench.settings, password=Secret("wrong"))

        fault = await self.bench.fault(self.bench.connect().check)

        assert isinstance(fault, Misconfigured)
        assert fault.reason == "Tryton refuses the log-in: correct user and password"

    def _map(self, text: str, name: str = "mapping") -> None:
        """Use a mapping, which is read once from its file."""
        file = self.bench.folder / f"{name}.toml"
        file.write_text(text)
        self.bench.settings = msgspec.structs.replace(self.bench.settings, mapping=str(file))


@pytest.fixture(scope="module")
def server(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[TrytonServer]:
    password = secret_file(templates / "erp_password")
    made = TrytonServer(tmp_path_factory.mktemp("tryton"), templates, free_port(), utc_now().year, password)
    made.wait()
    yield made
    made.stop()


@pytest.mark.parametrize(
    "behaviour",
    [pytest.param(each, marks=[pytest.mark.extended] if each in LONG else []) for each in behaviours(TrytonKit)],
)
def test_the_connector(behaviour: str, tmp_path: Path, templates: Path, server: TrytonServer) -> None:
    run(TrytonKit, Books(server.url, secret_file(templates / "erp_password")), behaviour, tmp_path)


@pytest.mark.parametrize(("count", "most_lines"), [(4, 5), pytest.param(50, 30, marks=pytest.mark.long)])
def test_drawn_invoices_are_booked_by_rate_as_billing_charges_them(
    count: int, most_lines: int, tmp_path: Path, templates: Path, server: TrytonServer
) -> None:
    billing = invoicing(tmp_path)

    async def case() -> None:
        books = Books(server.url, secret_file(templates / "erp_password"))
        async with bench(books, tmp_path) as made:
            await made.settled(lambda: made.connector.put_customer(samples.customer("drawn")))
            for contract in contracts(count, count, PERCENTS, most_lines):
                invoice = issued(contract, billing, utc_now().date())
                posting = await made.settled(lambda invoice=invoice: put_invoice(made.connector, invoice, "next"))
                assert (posting.total, posting.tax, posting.balance) == (invoice.total, invoice.tax, invoice.total)
                charged = {RECORDS[code]: amounts for code, amounts in by_code(invoice.lines).items()}
                assert await books.taxes(invoice.id) == {
                    name: (base.decimal, tax.decimal) for name, (base, tax) in charged.items()
                }

    asyncio.run(case())
